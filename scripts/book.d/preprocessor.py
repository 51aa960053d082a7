"""Makes pages that are written for the repository fit for the book (mdBook's preprocessor interface).

Links out of docs/ become links to the repository, and the comments by which scripts/guides runs a page go.
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"\]\(([^)#\s:]+)((?:#[^)\s]*)?)\)")
DIRECTIVE = re.compile(r"^<!-- guide: .* -->\n", re.MULTILINE)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]

    def rewrite(chapter):
        folder = posixpath.dirname(chapter["path"] or "")

        def link(found):
            target = posixpath.normpath(posixpath.join("docs", folder, found[1]))
            return found[0] if target.startswith("docs/") else f"]({repository}/blob/main/{target}{found[2]})"

        chapter["content"] = LINK.sub(link, DIRECTIVE.sub("", chapter["content"]))
        walk(chapter["sub_items"])

    def walk(items):
        for item in items:
            if isinstance(item, dict) and "Chapter" in item:
                rewrite(item["Chapter"])

    # mdBook 0.4 called them sections.
    walk(book.get("items") or book["sections"])
    json.dump(book, sys.stdout)


main()
