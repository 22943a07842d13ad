"""Documents cut into chunks along their Markdown headings.

Only the block structure of Markdown is parsed, and only to learn which lines begin what; the text of a chunk is
always a slice of the document, so that nothing can be lost or changed on the way.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from msgflow.data.documents import Document

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# No inline rules: `*`, `[` and backticks inside a line say nothing about headings, and are slow to pair up. No link
# definitions either: the parser gives no token for them, and their text would be lost.
_BLOCKS = ("code", "fence", "blockquote", "hr", "list", "html_block", "heading", "lheading")

# A longer line is prose that happens to look like a heading, and a heading is repeated in every chunk below it.
_LONGEST_HEADING = 200
_LONGEST_ANCHOR = 60

# The second line must begin a YAML mapping: a document may also open with a rule. This pattern, and those below, can
# match a run of characters in one way only, which keeps them linear on hostile text.
_FRONT_MATTER = re.compile(
    r"---[ \t]*\n(?:[\w\"'][^\n:]*:(?=[ \t\n])[^\n]*\n(?:[^\n]*\n)*?)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
)

# Where a block that is too long may be cut, best first.
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+>][ \t]|\d{1,9}[.)][ \t]|\|))")  # of a list, a quote or a table
_CLOSING = r"\"')\]\u2019\u201d"  # quotes and brackets that may follow a full stop
_CJK_STOP = r"(?<=[\u3002\uff01\uff1f])"  # no space follows it
_SENTENCE = re.compile(rf"(?:(?<=[.!?…])|(?<=[.!?…][{_CLOSING}]))\s+|{_CJK_STOP}")
_LINE = re.compile(r"\n")
_PROSE_CUTS = (_BLANK_LINES, _ITEM, _SENTENCE)
_CODE_CUTS = (_BLANK_LINES, _LINE)
_CODE_TOKENS = ("fence", "code_block", "html_block")

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Block:
    """What begins at a line of a document."""

    line: int
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class _Heading:
    """A heading from its line up to the line `end`. Level 1 is the highest."""

    line: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class _Section:
    """The text between two headings. The blocks cover it, but for white space; each knows whether it is code."""

    headings: list[str]
    body: str
    blocks: list[tuple[Span, bool]]


def split(documents: Iterable[Document], *, max_chars: int = 1200) -> list[Document]:
    """Cut documents into chunks of at most `max_chars` characters, each within one section.

    A chunk's text is its trail of headings ("Guide > Install"), an empty line and a slice of the section; the
    slice is what `max_chars` counts. metadata is the document's, and metadata["headings"] is the trail as a list.
    Ids are those of the document and the heading's anchor: `guide.md#install`, `guide.md#install-2`, and
    `notes.txt`, `notes.txt#2` for text without headings.

    A long section is cut between paragraphs, else between sentences, else between words; code is cut only where it
    does not fit, between lines. White space at a cut is dropped, and so is YAML front matter; no other character of
    the text is, and none is in two chunks. A section without text gives no chunk, but is in the trail of its
    subsections. Headings are those of CommonMark of one line and at most 200 characters, outside of lists and quotes.

    Raises ValueError where max_chars is no whole number of at least 1.
    """
    if not isinstance(max_chars, int) or isinstance(max_chars, bool) or max_chars < 1:
        raise ValueError(f"max_chars is a number of characters, at least 1; got {max_chars!r}. The default is 1200")
    markdown = _block_parser()
    taken: dict[str, int] = {}
    return [chunk for document in documents for chunk in _chunks(document, markdown, max_chars, taken)]


def _block_parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("zero", {"html": True}).enable(_BLOCKS)
    markdown.core.ruler.enableOnly(["normalize", "block"])
    return markdown


def _chunks(document: Document, markdown: "MarkdownIt", limit: int, taken: dict[str, int]) -> Iterator[Document]:
    for section in _sections(document.text, markdown):
        body, trail = section.body, " > ".join(section.headings)
        spans = [
            span
            for block, is_code in section.blocks
            for span in _fit(body, block, limit, _CODE_CUTS if is_code else _PROSE_CUTS)
        ]
        for start, end in _joined(spans, limit):
            yield Document(
                _unused_id(document.id, section.headings, taken),
                f"{trail}\n\n{body[start:end]}" if trail else body[start:end],
                {**document.metadata, "headings": section.headings},
            )


def _sections(text: str, markdown: "MarkdownIt") -> Iterator[_Section]:
    text = re.sub(r"\r\n?", "\n", text)  # as the parser counts lines
    front_matter = _FRONT_MATTER.match(text)
    text = text[front_matter.end() if front_matter else 0 :]
    lines = text.split("\n")
    trail: list[_Heading] = []
    first, blocks = 0, list[_Block]()
    # A heading at the end closes the last section as any heading does.
    for block in [*_blocks(text, markdown), _Heading(len(lines), len(lines), 1, "")]:
        if isinstance(block, _Block):
            blocks.append(block)
            continue
        yield _section([heading.title for heading in trail if heading.title], lines[first : block.line], first, blocks)
        trail = [*(heading for heading in trail if heading.level < block.level), block]
        first, blocks = block.end, []


def _section(headings: list[str], lines: list[str], first: int, blocks: list[_Block]) -> _Section:
    """A section whose lines begin at line `first` of the document."""
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    starts = [offsets[block.line - first] for block in blocks]
    ends = [*starts[1:], offsets[-1]]
    spans = [((start, end), block.is_code) for start, end, block in zip(starts, ends, blocks, strict=False)]
    return _Section(headings, "\n".join(lines), spans)


def _blocks(text: str, markdown: "MarkdownIt") -> Iterator[_Block | _Heading]:
    """The outermost blocks in order; code also inside of lists and quotes, followed by a block that is none."""
    tokens = markdown.parse(text)
    for index, token in enumerate(tokens):
        if not token.map:
            continue
        start, end = token.map
        if token.type in _CODE_TOKENS:
            yield _Block(start, is_code=True)
            yield _Block(end)
        elif token.level == 0:
            title = tokens[index + 1].content if token.type == "heading_open" else None
            if title is not None and _is_short(title):
                yield _Heading(start, end, level=int(token.tag[1:]), title=title)
            else:
                yield _Block(start)


def _is_short(title: str) -> bool:
    # A paragraph with a rule right under it parses as a heading of several lines.
    return len(title) <= _LONGEST_HEADING and "\n" not in title


def _fit(text: str, span: Span, limit: int, cuts: tuple[re.Pattern[str], ...]) -> list[Span]:
    """The span in pieces of at most `limit` characters, cut at the first pattern that is enough, else at words."""
    start, end = _stripped(text, span)
    if end - start <= limit:
        return [(start, end)] if start < end else []
    if not cuts:
        return [match.span() for match in _words_of(limit).finditer(text, start, end)]
    pieces = []
    for match in cuts[0].finditer(text, start, end):
        pieces += _fit(text, (start, match.start()), limit, cuts[1:])
        start = match.end()
    pieces += _fit(text, (start, end), limit, cuts[1:])
    return _joined(pieces, limit)


def _words_of(limit: int) -> re.Pattern[str]:
    """As many whole words as fit, or as much of one that does not."""
    return re.compile(rf"\S(?:[\s\S]{{0,{limit - 2}}}\S)?(?!\S)|\S{{{limit}}}" if limit > 1 else r"\S")


def _stripped(text: str, span: Span) -> Span:
    """The span without white space at its ends, but with the indentation of its first line."""
    part = text[span[0] : span[1]]
    content = part.lstrip()
    indentation = len(part) - len(content)
    start = span[0] + part.rfind("\n", 0, indentation) + 1
    return start, start + len(text[start : span[1]].rstrip())


def _joined(pieces: list[Span], limit: int) -> list[Span]:
    """Neighbours put together as long as they fit, with the white space between them."""
    joined: list[Span] = []
    for start, end in pieces:
        if joined and end - joined[-1][0] <= limit:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _unused_id(document: str, headings: list[str], taken: dict[str, int]) -> str:
    """An id as the anchor of a heading has it, with a number from the second on."""
    words = re.sub(r"[^\w\s-]", "", headings[-1].lower()) if headings else ""
    anchor = re.sub(r"[\s-]+", "-", words)[:_LONGEST_ANCHOR].strip("-")
    id = f"{document}#{anchor or 'section'}" if headings else document
    separator = "-" if headings else "#"
    candidate = id
    while candidate in taken:
        taken[id] += 1
        candidate = f"{id}{separator}{taken[id]}"
    taken[candidate] = 1
    return candidate
