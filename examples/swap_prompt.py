"""Prompts in a file that people edit, loaded into a living workflow: python examples/swap_prompt.py [provider/model]"""

import sys
import tempfile
from pathlib import Path

import msgflow as mf
import msgflow.nn as nn


def main(model: str = "local/smollm2") -> None:
    agent = nn.Agent("helper", model, "Answer in one short sentence.", settings={"max_tokens": 60})
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder, "helper.toml")
        mf.save(agent.state_dict(), prompts)
        print(prompts.read_text())
        print(agent.digest(), agent("What is a prompt?"))

        # Somebody edits the file, and the running program loads it.
        prompts.write_text(prompts.read_text().replace("Answer in one short sentence.", "Explain it to a child."))
        agent.load_state_dict(mf.load(prompts))
        print(agent.digest(), agent("What is a prompt?"))


if __name__ == "__main__":
    main(*sys.argv[1:])
