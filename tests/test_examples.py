"""Every example runs as its own docstring says, most of them on the embedded model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fences import embedded_model_missing

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PRINTS = {
    "flows.py": """mail on 'refund', files on 'refund',
no facts needed for: Hello there
state: {'key.words': ['refund', 'money', 'invoice']}
flowchart TD
""",
    "hot_swap.py": """
A new version, while a call is in flight:
$ msgflow state commit prompts.db new.toml -m Tone --tag production
  fec5ce793c67c5cf written in tone 1, checked in tone 1
  9ffdedd58dd18a66 written in tone 2, checked in tone 2
the call that was in flight:
  fec5ce793c67c5cf written in tone 1, checked in tone 1

Back to the version before:
$ msgflow state rollback prompts.db production
  9ffdedd58dd18a66 written in tone 2, checked in tone 2
  fec5ce793c67c5cf written in tone 1, checked in tone 1

A version that does not fit:
$ msgflow state commit prompts.db broken.toml -m Oops --tag production
  fec5ce793c67c5cf written in tone 1, checked in tone 1
refused: the state does not fit Reply; nothing was changed:
  writer.model: missing
""",
    "many_calls.py": "4 calls at once in",
    "swap_prompt.py": 'instructions = "Answer in one short sentence."',
    "tools.py": "called: add",
    "train_router.py": """6 of 6 held-out messages go to the right team
checkpoint: state.toml, tensors.safetensors
My login is locked -> login
""",
    "typed_output.py": "Ticket topic=",
}


def test_there_is_a_claim_about_every_example():
    assert {example.name for example in EXAMPLES} == PRINTS.keys()


WITHOUT_A_MODEL = {"flows.py", "hot_swap.py"}


@pytest.mark.embedded
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_and_prints_what_it_is_about(example, tmp_path):
    reason = embedded_model_missing()
    if reason and example.name not in WITHOUT_A_MODEL:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert PRINTS[example.name] in done.stdout
    assert not list(tmp_path.iterdir())
