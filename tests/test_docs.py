"""What README.md and docs/ show is what happens."""

from pathlib import Path

import pytest

from tests.fences import ROOT, run_page, skip_reason

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])


def test_there_is_a_readme_to_run():
    assert "README.md" in PAGES


@pytest.mark.timeout(300)  # a page may wait for the embedded model many times
@pytest.mark.parametrize("page", PAGES)
def test_every_fence_of_a_page_does_what_the_page_says(page: str, tmp_path: Path):
    text = (ROOT / page).read_text(encoding="utf-8")
    reason = skip_reason(text, page)
    if reason:
        pytest.skip(reason)
    run_page(text, page, tmp_path)
