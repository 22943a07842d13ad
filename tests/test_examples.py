"""Every example runs, as its own docstring says, on the embedded model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fences import embedded_model_missing

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PRINTS = {
    "many_calls.py": "4 calls at once in",
    "swap_prompt.py": 'instructions = "Answer in one short sentence."',
    "tools.py": "called: add",
    "typed_output.py": "Ticket topic=",
}


def test_there_is_a_claim_about_every_example():
    assert {example.name for example in EXAMPLES} == PRINTS.keys()


@pytest.mark.embedded
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_and_prints_what_it_is_about(example, tmp_path):
    reason = embedded_model_missing()
    if reason:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert PRINTS[example.name] in done.stdout
