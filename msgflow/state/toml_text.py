"""The text of a TOML file in parts that can be edited one by one: lines, and sections of them.

tomllib says what a file means; where its parts stand in the text is found here, so that an edit touches nothing but
the keys it is about. All text must be TOML that tomllib has accepted, but for `refuse_overlong`.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgflow.errors import StateFileError
from msgflow.state.toml_values import toml_key

Path = tuple[str, ...]

# tomllib's time grows with the square of a key's parts, and a number's digits take a hundred times their memory.
MAX_PARTS = 100
MAX_BARE = 5000

STRING = (
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+"{3,5}'''
    r"""|'''(?:[^']++|'(?!''))*+'{3,5}"""
    r'''|"(?:[^"\\]++|\\.)*+"'''
    r"""|'[^']*+'"""
)
TOKEN = re.compile(rf"""{STRING}|#[^\n]*+|[][{{}}=\n]|[^]["'#{{}}=\n]++""", re.DOTALL)
BARE = rf"[A-Za-z0-9_-]{{1,{MAX_BARE}}}+(?![A-Za-z0-9_-])"
PART = rf"""(?:"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'|{BARE})"""
DOT = r"[ \t]*+\.[ \t]*+"
KEY_PART = re.compile(PART)
# Text without keys or numbers that are too long; it ends, too, at a quote that begins no string.
SHORT = re.compile(
    rf"""(?:(?:{STRING}|{BARE})(?!{DOT})|{PART}(?:{DOT}{PART}){{1,{MAX_PARTS - 1}}}+(?!{DOT})"""
    r"""|#[^\n]*+|[^A-Za-z0-9_"'#-]++)*+""",
    re.DOTALL,
)
LONG_KEY = re.compile(rf"{PART}(?:{DOT}{PART}){{{MAX_PARTS}}}", re.DOTALL)
LONG_BARE = re.compile(rf"(?:{PART}{DOT})*+[A-Za-z0-9_-]{{{MAX_BARE + 1}}}", re.DOTALL)
DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}


@dataclass(slots=True)
class Line:
    """A statement with its line end: a key and its value (of one line or many), a header, a comment or nothing.

    `head` is what stands before the value, `tail` the comment behind it and the line end; `path` is the key, and empty
    where there is none.
    """

    value: str
    head: str = ""
    tail: str = "\n"
    path: Path = ()

    @property
    def text(self) -> str:
        return self.head + self.value + self.tail

    def is_header(self) -> bool:
        return bool(self.path) and "=" not in self.head

    def clear(self) -> None:
        self.value = self.head = self.tail = ""
        self.path = ()


@dataclass(slots=True)
class Section:
    """A header and the lines under it; the first section of a file has no header.

    `array` is the key of the array of tables that the section is a part of. Sections are a linked list, so that a new
    one finds its place in constant time.
    """

    path: Path
    header: Line | None = None
    array: str | None = None
    new: bool = False
    lines: list[Line] = field(default_factory=list)
    next: "Section | None" = None

    def has_keys(self) -> bool:
        return any(line.path for line in self.lines)

    def insert(self, path: Path, value: str, tail: str) -> None:
        """A new line behind the last key: comments after it may be about the next table."""
        ends = (index + 1 for index in reversed(range(len(self.lines))) if self.lines[index].path)
        place = next(ends, None) or self._first_place()
        self.lines.insert(place, Line(value, ".".join(map(toml_key, path)) + " = ", tail, path))

    def _first_place(self) -> int:
        # A file may begin with a comment about all of it, set off by an empty line.
        blank = (index + 1 for index, line in enumerate(self.lines) if not line.text.strip())
        return 0 if self.header else next(blank, 0)

    def drop_header(self) -> None:
        """End the table; its comments stay, as comments."""
        if self.header is not None and "#" in self.header.tail:
            self.lines.insert(0, Line("", tail=self.header.tail.lstrip()))
        elif not any(line.text.strip() for line in self.lines):
            self.lines.clear()
        self.header = None

    def follow(self, path: Path) -> "Section":
        """A new section behind this one; a comment that touches the next header stays with that one."""
        new = Section(path, Line(f"[{'.'.join(map(toml_key, path))}]"), new=True, next=self.next)
        if self.next is not None:
            split = len(self.lines)
            while split and not self.lines[split - 1].path and self.lines[split - 1].text.strip():
                split -= 1
            new.lines = [Line(""), *self.lines[split:]]
            del self.lines[split:]
        self.next = new
        return new


def refuse_overlong(text: str) -> None:
    """Raise StateFileError for what tomllib would take very long to read, in any text and in linear time.

    That is a dotted key of more than a hundred parts, and a bare key or a number of more than 5000 characters.
    """
    short = SHORT.match(text)
    end = short.end() if short else 0
    if LONG_KEY.match(text, end):
        problem = f"a key is nested more than {MAX_PARTS} tables deep"
    elif LONG_BARE.match(text, end):
        problem = f"a number or a key without quotes has more than {MAX_BARE} characters"
    else:
        return
    line = text.count("\n", 0, end) + 1
    raise StateFileError(f"not valid TOML at line {line}: {problem}")


def split_lines(text: str) -> Iterator[Line]:
    """Every statement of the text, in order; the last one gets a line end where it has none."""
    start = depth = 0
    equals = comment = None
    text = text if text.endswith("\n") or not text else text + "\n"
    for token in TOKEN.finditer(text):
        kind = token[0]
        depth += DEPTH.get(kind, 0)
        if depth:
            continue
        if kind == "=" and equals is None:
            equals = token.end()
        elif kind.startswith("#"):
            comment = token.start()
        elif kind == "\n":
            end = token.start() if comment is None else comment
            yield _line(text[start:end], text[start : token.end()], equals and equals - start)
            start, equals, comment = token.end(), None, None


def _line(statement: str, text: str, equals: int | None) -> Line:
    statement = statement.rstrip()
    tail = text[len(statement) :]
    if not statement:
        return Line("", tail=tail)
    if equals is None:
        header = statement.lstrip()
        return Line(header, statement[: -len(header)], tail, _path(header))
    value = statement[equals:].lstrip()
    return Line(value, statement[: len(statement) - len(value)], tail, _path(statement[:equals]))


def _path(key: str) -> Path:
    return tuple(map(_key_part, KEY_PART.findall(key)))


def _key_part(part: str) -> str:
    return str(tomllib.loads(f"key = {part}")["key"]) if part[0] == '"' else part.strip("'")
