"""Moving the tensors of a tree: what has a method `to` is one."""

from dataclasses import dataclass, replace

import pytest

import msgflow.nn as nn


@dataclass(frozen=True)
class Moved:
    """Says where it was moved."""

    device: str = "cpu"
    dtype: str = "float32"

    def to(self, *, device, dtype):
        return replace(self, **{name: value for name, value in (("device", device), ("dtype", dtype)) if value})


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("stays")
        self.register_buffer("weight", Moved())
        self.register_buffer("cache", Moved(), persistent=False)
        self.register_buffer("names", ["stays"])

    def _buffer_value(self, name, value):
        return value if isinstance(value, Moved) else super()._buffer_value(name, value)

    def forward(self, between):
        before = self.weight
        between()
        return before, self.weight, self.cache


async def test_all_tensors_of_the_tree_move_in_one_publish(door):
    root = nn.Module()
    root.holder = Holder()
    moved = await door(root.holder, lambda: root.to("cuda", dtype="float16"))
    assert moved == (Moved(), Moved(), Moved()), "a running call keeps what it began with"
    assert (root.holder.weight, root.holder.cache) == (Moved("cuda", "float16"), Moved("cuda", "float16"))
    assert root.cpu() is root and root.holder.weight == Moved("cpu", "float16")
    assert (root.holder.prompt, root.holder.names) == ("stays", ["stays"])


def test_a_tree_of_text_stays_as_it_is():
    module = nn.Module()
    module.prompt = nn.Parameter("text")
    digest = module.digest()
    assert module.to("cuda") is module and module.digest() == digest


def test_to_needs_to_be_told_what():
    with pytest.raises(TypeError, match="a device, a dtype or both"):
        nn.Module().to()
