"""A page of Markdown as a guide: its blocks, what is to be done with each, and the script that does it."""

import re
from dataclasses import dataclass, field

DIRECTIVE = re.compile(r"^<!-- guide: ([a-z-]+)(?:: (.+?))? -->$")
FENCE = re.compile(r"^(`{3,})([a-z]*)$")
# Programs and configurations: whoever prints one says whether it is run.
CODE = {"go", "java", "python", "js", "rust", "csharp", "nginx", "apache", "haproxy", "lua"}
END = "END-OF-THE-FILE"


class Mistake(Exception):
    """What a page has wrong, with its line."""


@dataclass
class Block:
    language: str
    line: int
    lines: list[str]
    action: str
    argument: str = ""
    # Of what is expected: the line of the block that prints it.
    of: int = 0

    def commands(self):
        """How many lines begin a command."""
        joined = re.sub(r"\\\n", " ", "\n".join(self.lines))
        return sum(1 for line in joined.splitlines() if line and not line.startswith((" ", "#", "}", ")")))

    def fits(self, printed):
        """Whether this is what was printed; `…` stands for any text of a line, and alone for any lines."""
        pattern = ""
        for line in self.lines:
            if line.strip() == "…":
                pattern += r"(?:.*\n)*"
            else:
                pattern += ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
        # Some tools colour what they print, also where nobody sees it.
        printed = re.sub(r"\x1b\[[0-9;]*m", "", printed)
        printed = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
        return re.fullmatch(pattern, printed) is not None


@dataclass
class Page:
    name: str
    text: str
    blocks: list[Block] = field(default_factory=list)
    after: str = ""
    needs: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    stand_ins: list[str] = field(default_factory=list)
    chain_stand_ins: list[str] = field(default_factory=list)
    packages: bool = False
    all: str = ""

    @classmethod
    def read(cls, path, root):
        page = cls(str(path.relative_to(root)), path.read_text())
        page._parse()
        return page

    @property
    def key(self):
        return self.name.replace("/", "-").replace(".", "_")

    def chain(self, pages):
        """This page, and before it those on whose end it goes on."""
        chain = [self]
        while after := chain[0].after:
            found = [page for page in pages if page.name == after]
            if not found or found[0] in chain:
                raise Mistake(f"{chain[0].name}: there is no guide {after} to go on from")
            chain.insert(0, found[0])
        self.chain_stand_ins = [name for page in chain for name in page.stand_ins]
        return chain

    def remarks(self):
        """What is not run, and what is not the real thing."""
        said = [f"line {block.line}: not run: {block.argument}" for block in self.blocks if block.action == "skip"]
        return said + [f"{name} is a stand-in" for name in self.stand_ins]

    def script(self):
        """Bash whose lines have the numbers of the page's."""
        lines = [""] * (len(self.text.splitlines()) + 1)
        for block in self.blocks:
            first, last = block.line - 1, block.line + len(block.lines)
            if block.action == "run":
                said = f'"$GUIDE_SAID/{self.key}.{block.line}'
                lines[first] = f'exec >{said}.out" 2>{said}.err"'
            elif block.action == "file":
                lines[first], lines[last] = f"cat > '{block.argument}' <<'{END}'", END
            else:
                continue
            lines[first + 1 : last] = block.lines
        return "\n".join(lines) + "\n"

    def _parse(self):
        directive, fence, ran = None, None, 0
        for number, line in enumerate(self.text.splitlines(), 1):
            if fence:
                if line == fence[0]:
                    ran = self._finish(fence[1], directive, ran)
                    directive, fence = None, None
                else:
                    fence[1].lines.append(line)
                continue
            if found := DIRECTIVE.match(line):
                directive = self._directive(found[1], found[2] or "", number)
            elif found := FENCE.match(line):
                fence = (found[1], Block(found[2], number, [], ""))
            elif "<!-- guide" in line:
                raise Mistake(f"{self.name}, line {number}: this is no directive: {line}")
            elif line.strip() and directive:
                raise Mistake(f"{self.name}, line {number}: a block has to follow the directive before it")
        if fence or directive:
            raise Mistake(f"{self.name}: a block or a directive has no end")

    def _directive(self, word, argument, number):
        """One about the next block is answered; one about the page is done."""
        if word in ("file", "expect", "skip"):
            if (word == "expect") == bool(argument):
                raise Mistake(f"{self.name}, line {number}: write `skip: REASON`, `file: NAME` or `expect`")
            return word, argument
        if word == "after":
            target = argument.rsplit("/", 1)[-1]
            if f"({target})" not in self.text and f"/{target})" not in self.text:
                raise Mistake(f"{self.name}, line {number}: link to {argument}, whose reader goes on here")
            self.after = argument
        elif word in ("needs", "optional"):
            (self.needs if word == "needs" else self.optional).append(argument)
        elif word == "stand-in":
            self.stand_ins.append(argument)
        elif word == "packages":
            self.packages = True
        elif word == "all" and argument:
            self.all = argument
        else:
            raise Mistake(f"{self.name}, line {number}: there is no directive {word}")
        return None

    def _finish(self, block, directive, ran):
        """Decides what is done with a block, and returns the line of the last one that is run."""
        word, argument = directive or (None, "")
        where = f"{self.name}, line {block.line}"
        if word == "expect":
            if not ran:
                raise Mistake(f"{where}: nothing was run that could have printed this")
            block.action, block.of = "expect", ran
        elif word == "file":
            # Whoever copies the block has to be told where to.
            if f"`{argument}`" not in self.text:
                raise Mistake(f"{where}: say in the text that this is `{argument}`")
            block.action, block.argument = "file", argument
        elif word == "skip":
            block.action, block.argument = "skip", argument
        elif block.language == "sh":
            block.action, ran = "run", block.line
        elif block.language in CODE:
            raise Mistake(f"{where}: say whether this is run: guide: file: NAME, or guide: skip: REASON")
        elif not block.language:
            raise Mistake(f"{where}: name the block's language (text, console, json, yaml …)")
        else:
            block.action = "data"
        self.blocks.append(block)
        return ran
