"""What the runner makes of a page: scripts/guides runs these first."""

import tempfile
import unittest
from pathlib import Path

from pages import Mistake, Page
from static import headings, printed_commands


def page(text):
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "page.md"
        path.write_text(text)
        return Page.read(path, Path(root))


class Pages(unittest.TestCase):
    def test_a_script_has_the_line_numbers_of_its_page(self):
        script = page("# A\n\n```sh\nfalse\n```\n").script().splitlines()
        self.assertEqual(script[3], "false")
        self.assertTrue(script[2].startswith("exec >"))

    def test_a_file_is_written_as_it_stands(self):
        read = page("Save it as `a.py`.\n\n<!-- guide: file: a.py -->\n```python\nprint('$x')\n```\n")
        self.assertEqual([each.action for each in read.blocks], ["file"])
        self.assertIn("print('$x')", read.script().splitlines())

    def test_what_is_wrong_with_a_page_is_said(self):
        for text, words in {
            "```go\npackage main\n```\n": "say whether this is run",
            "```\nls\n```\n": "name the block's language",
            "<!-- guide: file: a.py -->\n```python\n```\n": "say in the text",
            "<!-- guide: skip -->\n```sh\nls\n```\n": "skip: REASON",
            "<!-- guide: expect -->\n```text\nx\n```\n": "nothing was run",
            "<!-- guide: skip: why -->\n\nWords.\n": "has to follow",
            "<!-- guide: after: docs/b.md -->\n": "link to docs/b.md",
            "<!-- guide: frobnicate: x -->\n": "no directive frobnicate",
            "<!-- guide skip -->\n": "this is no directive",
            "```sh\nls\n": "has no end",
        }.items():
            with self.assertRaises(Mistake, msg=text) as caught:
                page(text)
            self.assertIn(words, str(caught.exception))

    def test_what_is_expected_fits_or_does_not(self):
        def fits(expected, printed):
            text = f"```sh\nls\n```\n\n<!-- guide: expect -->\n```text\n{expected}\n```\n"
            return page(text).blocks[1].fits(printed)

        self.assertTrue(fits("200\n401", "200\n401\n"))
        self.assertFalse(fits("200\n401", "200\n"))
        self.assertFalse(fits("200", "2000\n"))
        self.assertFalse(fits("200", "200\n401\n"))
        self.assertTrue(fits("401 …", "401 Signature has expired\n"))
        self.assertFalse(fits("401 …", "200 for billing\n"))
        self.assertTrue(fits("…\nok", "one\ntwo\nok\n"))
        self.assertTrue(fits("…\nok", "ok\n"))
        self.assertFalse(fits("a.c", "abc\n"))
        self.assertTrue(fits("200", "\x1b[0m200\n"))

    def test_what_is_not_run_is_remarked(self):
        read = page("<!-- guide: stand-in: kubectl -->\n<!-- guide: skip: no cluster -->\n```sh\nls\n```\n")
        self.assertEqual(read.remarks(), ["line 3: not run: no cluster", "kubectl is a stand-in"])


class Documents(unittest.TestCase):
    def test_commands_are_found_where_they_stand(self):
        text = """
```sh
SECRET=$(jeton clients create billing --json | jq -r .secret)  # jeton is not here
JETON_LISTEN=x jeton serve > log 2>&1 &
until jeton health 2> /dev/null; do sleep 1; done
aws --name jeton --audience x
```

```console
$ jeton keys \\
    list
jeton: an error
```

Run `jeton migrate`, or `jeton tokens revoke --client`, or `jeton …`.
"""
        found = [
            ("clients", "create", "billing", "--json"), ("serve",), ("health",), ("keys", "list"), ("migrate",),
            ("tokens", "revoke"),
        ]  # fmt: skip
        self.assertEqual(list(printed_commands(text)), found)

    def test_anchors_are_those_of_the_headings(self):
        text = "# `a_b`: [x](y.md), z!\n```sh\n# none\n```\n"
        self.assertEqual(list(headings(text)), ["a_b-x-z"])


if __name__ == "__main__":
    unittest.main()
