import itertools
import time
from textwrap import dedent

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from msgflow.data import Document, split


def chunks(text: str, **options: int) -> list[Document]:
    return split([Document("guide.md", dedent(text).strip("\n"))], **options)


def body(chunk: Document) -> str:
    """The chunk's text without its trail."""
    trail = " > ".join(chunk.metadata["headings"])
    assert chunk.text.startswith(trail)
    return chunk.text[len(trail) :].removeprefix("\n\n") if trail else chunk.text


def bodies(text: str, **options: int) -> list[str]:
    return [body(chunk) for chunk in chunks(text, **options)]


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_chunk_begins_with_its_trail_of_headings():
    found = chunks("""
        # Guide
        Welcome.
        ## Install
        Run pip.
        # Reference
        See below.
    """)
    assert [chunk.text for chunk in found] == [
        "Guide\n\nWelcome.",
        "Guide > Install\n\nRun pip.",
        "Reference\n\nSee below.",
    ]
    assert [chunk.metadata["headings"] for chunk in found] == [["Guide"], ["Guide", "Install"], ["Reference"]]


def test_ids_are_the_documents_and_the_anchor_of_the_heading():
    found = chunks("Before.\n\n# What's new?\na\n\n# Install\nb\n\n# Install\nc\n\n# !?\nd\n\n# Über_uns & mehr\ne")
    assert [chunk.id for chunk in found] == [
        "guide.md",
        "guide.md#whats-new",
        "guide.md#install",
        "guide.md#install-2",
        "guide.md#section",
        "guide.md#über_uns-mehr",
    ]


def test_ids_stay_unique_beside_headings_and_documents_that_end_in_a_number():
    text = "# Install\na\n# Install 2\nb\n# Install\nc\n# Install\nd"
    ids = [chunk.id for chunk in split([Document("a.md", text), Document("a.md", text), Document("a.md#install", "e")])]
    assert ids[:4] == ["a.md#install", "a.md#install-2", "a.md#install-3", "a.md#install-4"]
    assert len(set(ids)) == 9


def test_text_without_headings_is_numbered():
    found = split([Document("notes.txt", "One.\n\nTwo.\n\nThree.")], max_chars=6)
    assert [(chunk.id, chunk.text) for chunk in found] == [
        ("notes.txt", "One."),
        ("notes.txt#2", "Two."),
        ("notes.txt#3", "Three."),
    ]
    assert all(chunk.metadata["headings"] == [] for chunk in found)


def test_metadata_of_the_document_is_kept():
    found = split([Document("a.md", "# T\nx", {"source": "docs/a.md"})])
    assert found[0].metadata == {"source": "docs/a.md", "headings": ["T"]}


@pytest.mark.parametrize("text", ["", " \n\t\n", "# Only\n\n## Headings\n", "---\ntitle: x\n---\n"])
def test_what_has_no_text_gives_no_chunk(text):
    assert split([Document("a.md", text)]) == []


def test_no_documents_give_no_chunks():
    assert split([]) == []


def test_an_empty_section_is_in_the_trail_of_its_subsections():
    assert [chunk.text for chunk in chunks("# A\n## B\n#### D\ntext\n## E\nmore")] == [
        "A > B > D\n\ntext",
        "A > E\n\nmore",
    ]


def test_setext_headings_count_and_an_empty_heading_ends_a_section_without_a_name():
    assert [chunk.text for chunk in chunks("Guide\n=====\na\n\nInstall\n---\nb\n\n##\nc")] == [
        "Guide\n\na",
        "Guide > Install\n\nb",
        "Guide\n\nc",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# a comment\n```",
        "~~~sh\n\n# a comment\n\nTitle\n=====",
        "    # indented code",
        "<div>\n# inside\n</div>",
        "<!--\n\n# out of use\n\n-->",
        "> # quoted",
        "- # in a list\n\n  # still in it",
        "- item\n---",
        "#hashtag",
        "\\# escaped",
        "Two lines of prose\nand a rule right under them.\n---",
        "# " + "long " * 50,
    ],
)
def test_what_only_looks_like_a_heading_is_text(text):
    assert [chunk.text for chunk in split([Document("a.md", text)])] == [text.rstrip()]


def test_front_matter_is_no_text():
    assert bodies("---\ntitle: Guide\ntags:\n  - a\n---\n\nText.") == ["Text."]
    assert bodies("---\r\ntitle: x\r\n...\r\nText.") == ["Text."]
    assert bodies("---\n---\nText.") == ["Text."]


@pytest.mark.parametrize(
    "text", ["---\n\nA rule.\n\n---\n\nText.", "---\ntitle: never closed", "---\nhttp://x\n\n---\nb"]
)
def test_a_rule_at_the_top_is_no_front_matter(text):
    assert squeezed("".join(bodies(text))) == squeezed(text)


def test_paragraphs_are_put_together_as_long_as_they_fit():
    assert bodies("aaaa\n\nbbbb\n\ncccc", max_chars=10) == ["aaaa\n\nbbbb", "cccc"]


def test_max_chars_counts_the_body_and_not_its_trail():
    assert [chunk.text for chunk in chunks("# A long heading\naaaa\n\nbbbb", max_chars=4)] == [
        "A long heading\n\naaaa",
        "A long heading\n\nbbbb",
    ]


def test_a_long_paragraph_is_cut_between_sentences():
    assert bodies('One is. "Two is!" Three is (so?) Four', max_chars=18) == [
        'One is. "Two is!"',
        "Three is (so?)",
        "Four",
    ]
    assert bodies("\u4e00\u4e8c\u3002\u4e09\u56db\u3002", max_chars=4) == ["\u4e00\u4e8c\u3002", "\u4e09\u56db\u3002"]


def test_a_long_sentence_is_cut_between_words_and_a_long_word_where_it_must_be():
    assert bodies("one two three", max_chars=8) == ["one two", "three"]
    assert bodies("a abcdefgh b", max_chars=3) == ["a", "abc", "def", "gh", "b"]


def test_a_list_and_a_table_are_cut_between_items():
    assert bodies("- One. Two.\n- Three. Four.\n1. Five. Six.", max_chars=16) == [
        "- One. Two.",
        "- Three. Four.",
        "1. Five. Six.",
    ]
    assert bodies("| a. b | c |\n|---|---|\n| d. e | f |", max_chars=24) == ["| a. b | c |\n|---|---|", "| d. e | f |"]


def test_code_is_kept_whole_where_it_fits():
    fence = "```python\na = 1.\n\n\nb = 2.\n```"
    assert bodies(f"Some text.\n\n{fence}\n\nMore text.", max_chars=len(fence)) == ["Some text.", fence, "More text."]


def test_code_in_a_list_is_kept_whole_and_keeps_its_indentation():
    fence = "   ```sh\n   one\n\n   two\n   ```"
    assert bodies(f"1. Do this:\n\n{fence}\n\n2. Then that.", max_chars=len(fence)) == [
        "1. Do this:",
        fence,
        "2. Then that.",
    ]


def test_long_code_is_cut_between_lines_and_keeps_its_indentation():
    assert bodies("```\ndef f():\n    return 1. + x\n```", max_chars=18) == [
        "```\ndef f():",
        "    return 1. + x",
        "```",
    ]
    assert bodies("x\n\n    one = 1\n\n    two = 2", max_chars=11) == ["x", "    one = 1", "    two = 2"]


def test_white_space_at_a_cut_is_dropped_and_inside_a_chunk_kept():
    assert bodies("a" + "\n" * 50 + "b", max_chars=20) == ["a", "b"]
    assert bodies("a  b\n\n\n\nc", max_chars=20) == ["a  b\n\n\n\nc"]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "1200", None, True])
def test_a_wrong_limit_is_refused(wrong):
    with pytest.raises(ValueError, match="max_chars is a number of characters, at least 1; got"):
        split([], max_chars=wrong)


def without_headings(text: str) -> str:
    """The oracle: all lines but the headings that CommonMark finds with link definitions read as text."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tokens = MarkdownIt("commonmark").disable("reference").parse(text)
    for token, inline in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and "\n" not in inline.content:
            lines[token.map[0] : token.map[1]] = [""] * (token.map[1] - token.map[0])
    return "\n".join(lines)


BLOCKS = [
    *("# A", "## B b", "###", "C\n===", "D\n---", "", " ", "word", "Two words. More!", "- item", "  - deep", "> quote"),
    *("```", "```py\nx = 1\n\n# y\n```", "    code", "\tcode", "<div>", "</div>", "<!--", "-->", "***", "| a | b |"),
    *("\u6f22\u5b57\u3002\u6f22", "\u00a0", "\x0c", "\u2028", "[a]: b", "1. one", "line\r\nline\rline", "x" * 30, "\\"),
]
MARKDOWN = st.lists(st.sampled_from(BLOCKS), max_size=30).map("\n".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(MARKDOWN, st.text(max_size=200)), st.integers(1, 60))
@example("- ```\n  a\n\n  b\n- c", 5)
def test_no_text_is_lost_or_twice_and_no_chunk_is_too_long(text, max_chars):
    found = split([Document("a.md", text)], max_chars=max_chars)
    if not text.startswith("---"):
        assert squeezed("".join(map(body, found))) == squeezed(without_headings(text))
    assert all(0 < len(body(chunk)) <= max_chars for chunk in found)
    assert len({chunk.id for chunk in found}) == len(found)


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        unit * (MEGABYTE // len(unit))
        for unit in ("#", "[", ">", "`", "-", "* ", "> ", "<a ", ". ", "...", "(", "|", "\t")
    ]
    + [unit * 10_000 for unit in ("# a\n", "- a\n", "```\n", "\n", "a\n", "> a\nb\n", "# a\n\ntext\n", "<div>\n\n")]
    + [
        "a" * 10 * MEGABYTE,
        "word " * 2 * MEGABYTE,
        "Title " * MEGABYTE + "\n---\n" + "text " * 1000,
        "---\na" + ":" * MEGABYTE,
        "---\na: b\n" + "c\n" * 10_000,
        "a.\n" + " " * MEGABYTE + "b",
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_text_takes_linear_time(text):
    """The bound is generous: the slowest needs a few seconds, and quadratic time would be an hour."""
    started = time.perf_counter()
    split([Document("a.md", text)])
    assert time.perf_counter() - started < 30
