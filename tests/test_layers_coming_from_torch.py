"""docs/coming-from/pytorch.md: PyTorch's programs do what ours beside them do, line by line."""

import re

import pytest

from tests.fences import ROOT, clean_environment, execute, find_fences, session

torch = pytest.importorskip("torch", reason="the oracle of these programs: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)

PAGE = "docs/coming-from/pytorch.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
FENCES = find_fences(TEXT, PAGE)
THEIRS = [fence for fence in FENCES if fence.options == {"of": "PyTorch"}]
OURS = [fence for fence in FENCES if fence.language == "python" and not fence.options]
SHOWN = [fence for fence in FENCES if fence.language == "text"]


def test_each_program_of_theirs_is_followed_by_ours():
    assert len(THEIRS) == len(OURS) == len(SHOWN) == 3


@pytest.mark.parametrize("index", range(len(OURS)))
def test_both_programs_have_the_same_lines(index):
    """But for imports and blank lines, where the libraries are named."""
    theirs, ours = (
        [line for line in text.splitlines() if line and not line.startswith(("import ", "from "))]
        for text in (THEIRS[index].text, OURS[index].text)
    )
    assert len(theirs) == len(ours)
    for line, other in zip(theirs, ours, strict=True):
        # A line differs in the name of its library, in its file, or in a shape that is a tuple.
        assert re.match(r"\W*\w*", line)[0].replace("torch", "mt") == re.match(r"\W*\w*", other)[0].replace("mf", "mt")


def test_their_programs_print_what_ours_print(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with clean_environment(), session(TEXT, PAGE) as namespace:
        for program, shown in zip(THEIRS, SHOWN, strict=True):
            printed, error = execute(program, namespace)
            assert error is None, error
            # Shapes are tuples here, and types have the names of this library.
            assert re.sub(r"torch\.Size\(\[(.*?)\]\)", r"(\1)", printed).replace("torch.", "mt.") == shown.text
