import inspect
import os
import sys
from pathlib import Path

import pytest

from msgflow.data import Document, read_folder
from msgflow.errors import DataError


def write(folder: Path, **files: str | bytes) -> Path:
    """Files in a folder, made with their folders; `__` in a name is a slash, `_md` at its end the suffix."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_md", ".md").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_files_are_read_in_the_order_of_their_ids(tmp_path):
    write(tmp_path, b__z_md="deep", c_txt="last", a_md="first", picture="no document")
    documents = read_folder(tmp_path)
    assert [(document.id, document.text) for document in documents] == [
        ("a.md", "first"),
        ("b/z.md", "deep"),
        ("c.txt", "last"),
    ]


def test_the_source_is_the_path_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path, docs__a_md="text"))
    assert read_folder("docs") == [Document("a.md", "text", {"source": "docs/a.md"})]


def test_one_file_is_a_document_whatever_its_suffix(tmp_path):
    (tmp_path / "notes.log").write_text("text")
    assert [document.id for document in read_folder(tmp_path / "notes.log")] == ["notes.log"]


@pytest.mark.parametrize("patterns", [("*.log",), "*.log", ("logs/*.LOG",)])
def test_patterns_choose_files(tmp_path, patterns):
    write(tmp_path, a_md="no")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/Run.Log").write_text("yes")
    assert [document.id for document in read_folder(tmp_path, patterns=patterns)] == ["logs/Run.Log"]


def test_line_ends_become_newlines_and_a_byte_order_mark_is_dropped(tmp_path):
    write(tmp_path, a_md=b"\xef\xbb\xbfone\r\ntwo\rthree")
    assert read_folder(tmp_path)[0].text == "one\ntwo\nthree"


def test_an_empty_file_beside_others_is_an_empty_document(tmp_path):
    write(tmp_path, a_md="", b_md="text")
    assert [document.text for document in read_folder(tmp_path)] == ["", "text"]


def test_names_that_begin_with_a_dot_are_no_documents(tmp_path):
    write(tmp_path, a_md="text")
    write(tmp_path / ".git", b_md="hidden")
    (tmp_path / ".c.md").write_text("hidden")
    assert [document.id for document in read_folder(tmp_path)] == ["a.md"]


def test_a_folder_that_is_hidden_itself_may_be_named(tmp_path):
    assert len(read_folder(write(tmp_path / ".docs", a_md="text"))) == 1


def test_a_link_inside_the_folder_is_read(tmp_path):
    write(tmp_path, a_md="text")
    (tmp_path / "b.md").symlink_to("a.md")
    assert [document.id for document in read_folder(tmp_path)] == ["a.md", "b.md"]


def test_a_link_to_a_folder_inside_is_not_entered_so_a_circle_of_links_ends(tmp_path):
    write(tmp_path, sub__a_md="text")
    (tmp_path / "sub/up").symlink_to(tmp_path)
    assert [document.id for document in read_folder(tmp_path)] == ["sub/a.md"]


def test_a_folder_that_is_reached_by_a_link_is_read(tmp_path):
    write(tmp_path, docs__a_md="text")
    (tmp_path / "b.md").symlink_to(tmp_path / "docs")
    assert [document.id for document in read_folder(tmp_path / "b.md")] == ["a.md"]


@pytest.mark.parametrize("target", ["secret.md", "secrets"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path, target):
    write(tmp_path, secret_md="key", secrets__a_md="key", docs__a_md="text")
    (tmp_path / "docs/b.md").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"docs/b\.md is a link that leaves"):
        read_folder(tmp_path / "docs")


@pytest.mark.parametrize("target", ["nowhere.md", "loop.md"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, target):
    (tmp_path / "loop.md").symlink_to(target)
    with pytest.raises(DataError, match=r"loop\.md cannot be read"):
        read_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.md")
    with pytest.raises(DataError, match=r"a\.md is no regular file"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("café".encode("latin-1"), r"a\.md is no UTF-8 text \(byte 3\)"),
        ("text".encode("utf-16"), "is no UTF-8 text"),
        (b"PK\x03\x04\0\0", "holds NUL characters"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, content, problem):
    with pytest.raises(DataError, match=problem):
        read_folder(write(tmp_path, a_md=content))


def test_a_missing_folder_is_named_with_the_place_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"docs cannot be read .*{tmp_path.name}"):
        read_folder("docs")


def test_a_folder_without_a_match_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"matches \*\.md, .*patterns="):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="matches an empty list of patterns"):
        read_folder(tmp_path, patterns=())


def test_a_folder_of_empty_files_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"all 2 file\(s\) in .* are empty"):
        read_folder(write(tmp_path, a_md="", b_md=" \n"))


def test_folders_may_be_nested_deeper_than_pythons_calls(tmp_path):
    depth, limit = 200, sys.getrecursionlimit()
    (tmp_path / ("d/" * depth)).mkdir(parents=True)
    (tmp_path / ("d/" * depth) / "a.md").write_text("text")
    sys.setrecursionlimit(len(inspect.stack()) + depth // 2)
    try:
        found = read_folder(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert [document.id for document in found] == ["d/" * depth + "a.md"]


def test_documents_are_equal_and_hashable_by_content():
    one, other = (Document("a", "text", {"tags": ["x"]}) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != Document("a", "text")


def test_a_documents_metadata_is_its_own_and_cannot_be_changed():
    given = {"tags": ["x"]}
    document = Document("a", "text", given)
    given["tags"].append("y")
    assert document.metadata == {"tags": ["x"]}
    with pytest.raises(TypeError, match="assign a new value"):
        document.metadata["tags"] = []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((1, "text"), "a Document's id is text; got 1 of type int"),
        (("a", None), "a Document's text is text; got None of type NoneType"),
        (("a", b"text"), "of type bytes"),
        (("a", "text", {"path": Path("x")}), r"metadata\['path'\] is of type \w*Path"),
    ],
)
def test_a_document_of_wrong_types_is_refused(arguments, problem):
    with pytest.raises(TypeError, match=problem):
        Document(*arguments)
