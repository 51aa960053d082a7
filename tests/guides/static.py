"""What can be said of the documents without running them."""

import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)|\]\(#([^)\s]+)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# `jeton` and its words, in the place of a command.
COMMAND = re.compile(
    r"(?:^|[;&|(]\s*|\b(?:until|while|then|do|if|exec)\s+)(?:[A-Z_]+=\S*\s+)*jeton\s+((?:'[^']*'|\"[^\"]*\"|[^|&;<>)'\"])*)"
)
# What a reader is to fill in.
EXAMPLES = {"TIME": "2027-01-01T00:00:00Z", "PLATFORM": "github", "SECONDS": "60"}
EXAMPLE = "ghtimjkq"
FENCED = re.compile(r"^(`{3,})([a-z]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def check(root, jeton):
    """Every mistake, in words."""
    documents = {path: path.read_text() for path in sorted([root / "README.md", *(root / "docs").rglob("*.md")])}
    return [
        *own_tests(root),
        *links(documents),
        *summary(root),
        *commands(documents, root, jeton),
        *references(root),
        *book(root),
    ]


def own_tests(root):
    command = [sys.executable, "-m", "unittest", "discover", "--quiet", "--start-directory", "tests/guides"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return [f"the tests of tests/guides fail:\n{run.stderr}"] if run.returncode else []


# --- links ---------------------------------------------------------------------------------------------


def links(documents):
    anchors = {path: set(headings(text)) for path, text in documents.items()}
    for path, text in documents.items():
        for target, anchor, own in LINK.findall(COMMENT.sub("", FENCED.sub("", text))):
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
    listed = set(re.findall(r"\]\(([^)]+\.md)\)", COMMENT.sub("", text)))
    there = {str(path.relative_to(docs)) for path in docs.rglob("*.md")} - {"SUMMARY.md"}
    for missing in sorted(there - listed):
        yield f"docs/SUMMARY.md lacks {missing}: run scripts/reference, or add its line where it belongs"
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
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if language == "sh" or (language == "console" and line.startswith("$ ")):
                for words in COMMAND.findall(line.removeprefix("$ ")):
                    yield from split(words)
    for words in re.findall(r"`jeton ([^`…|<>\[]+?)(?: --[a-z-]+)?`", FENCED.sub("", text)):
        # In a sentence the last option often stands without its value.
        yield from split(words)


def split(words):
    """The words of a command, with something that is well-formed in the place of what the reader is to fill in."""
    try:
        # The 2 of `2> FILE` is not Jeton's.
        found = [word for word in shlex.split(words, comments=True) if word not in ("2", "&")]
    except ValueError:
        return
    if found and re.fullmatch(r"[a-z-]+", found[0]):
        yield tuple(EXAMPLES.get(word, EXAMPLE) if re.fullmatch(r"\$\w+|[A-Z_]{2,}", word) else word for word in found)


def understood(jeton, command):
    """The complaint about it, if there is one."""
    with tempfile.TemporaryDirectory() as nothing_here:
        environment = {"PATH": "/usr/bin:/bin"}
        tried = subprocess.run(
            [jeton, *command, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=nothing_here,
            env=environment,
        )  # fmt: skip
    # A binary without the feature pkcs11 lacks the one; the other begins what is hashed of an event.
    if tried.returncode == 0 or command[:2] in (("keys", "create-master"), ("audit", "event")):
        return None
    return tried.stderr.strip().splitlines()[0]


# --- what is made of them -------------------------------------------------------------------------------


def references(root):
    made = subprocess.run([root / "scripts" / "reference", "--check"], capture_output=True, text=True)
    return [line for line in (made.stdout + made.stderr).splitlines() if line] if made.returncode else []


def book(root):
    built = subprocess.run([root / "scripts" / "book"], capture_output=True, text=True)
    return [f"the book is not built: {built.stderr.strip()}"] if built.returncode else []
