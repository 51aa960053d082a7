"""What can be said of the documents without running them."""

import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)|\]\(#([^)\s]+)\)")
FENCED = re.compile(r"^(`{3,})([a-z]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def check(root, jeton):
    """Every mistake, in words."""
    documents = {path: path.read_text() for path in sorted([root / "README.md", *(root / "docs").rglob("*.md")])}
    return [
        *links(documents),
        *summary(root),
        *commands(documents, root, jeton),
        *references(root),
    ]


# --- links ---------------------------------------------------------------------------------------------


def links(documents):
    anchors = {path: set(headings(text)) for path, text in documents.items()}
    for path, text in documents.items():
        for target, anchor, own in LINK.findall(FENCED.sub("", text)):
            if "://" in target:
                continue
            there = (path.parent / target).resolve() if target else path
            anchor = anchor or own
            if not there.exists():
                yield f"{path}: links to {target}, which is not there"
            elif anchor and there in anchors and anchor not in anchors[there]:
                yield f"{path}: links to {target}#{anchor}, which is no heading there"


def headings(text):
    """The anchors that GitHub and mdBook give to headings alike."""
    for line in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", line).replace("`", "").strip().lower()
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


# --- the book's table of contents ----------------------------------------------------------------------


def summary(root):
    docs = root / "docs"
    text = (docs / "SUMMARY.md").read_text()
    listed = set(re.findall(r"\]\(([^)]+\.md)\)", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)))
    there = {str(path.relative_to(docs)) for path in docs.rglob("*.md")} - {"SUMMARY.md"}
    for missing in sorted(there - listed):
        yield f"docs/SUMMARY.md lacks {missing}: add it, or take its line out of the comment"
    for gone in sorted(listed - there):
        yield f"docs/SUMMARY.md has {gone}, which is not there"


# --- the command lines of all documents ----------------------------------------------------------------


def commands(documents, root, jeton):
    """Each `jeton …` has to be a command line that it takes. With `--help` behind it nothing is done: what comes before
    is read first, and refused if it is unknown."""
    found = {}
    for path, text in documents.items():
        for command in printed_commands(text):
            found.setdefault(command, path)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda command: understood(jeton, command), found)
        for command, answer in zip(found, answers):
            if answer:
                yield f"{found[command].relative_to(root)}: `jeton {shlex.join(command)}` is no command line: {answer}"


def printed_commands(text):
    for _, language, block in FENCED.findall(text):
        if language not in ("sh", "console"):
            continue
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if language == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            for words in re.findall(r"(?:^|[;&|($]|\s)jeton\s+((?:'[^']*'|\"[^\"]*\"|[^|&;<>)#'\"])*)", line):
                try:
                    split = shlex.split(words)
                except ValueError:
                    continue
                if split and re.fullmatch(r"[a-z-]+", split[0]):
                    # A number of lines says no more than its redirections: those are not Jeton's.
                    yield tuple(word for word in split if word != "2")


def understood(jeton, command):
    """The complaint about it, if there is one."""
    tried = subprocess.run([jeton, *command, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return None if tried.returncode == 0 else tried.stderr.strip().splitlines()[0]


# --- the pages that are made ---------------------------------------------------------------------------


def references(root):
    made = subprocess.run([root / "scripts" / "reference", "--check"], capture_output=True, text=True)
    return [line for line in (made.stdout + made.stderr).splitlines() if line] if made.returncode else []
