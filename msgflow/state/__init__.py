"""State dicts in files that people read, edit and review.

    save(module.state_dict(), "prompts.toml")
    module.load_state_dict(load("prompts.toml"))

The suffix says the format: .toml for people, .json for programs, .safetensors for tensors, and none for a folder of
text and tensors.

What comes back equals what was saved, to the type and the last character; a state that a format cannot hold exactly
is refused with the key at fault, and nothing on disk changes.
"""

from msgflow.state.files import load, save

__all__ = ["load", "save"]
