"""Modules that are declared against a Message: `reads` says what of it they are called with, `writes` where the output
goes.

    reads = "user.text"                       forward(message["user.text"])
    reads = ("question", "hits.0.text")       forward(message["question"], message["hits.0.text"])
    reads = {"task": "user.text"}             forward(task=message["user.text"])
    reads = None                              forward(message)
    writes = "answers.first"                  the call returns a copy of the Message with the output there
    writes = None                             the call returns the output
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from msgflow._message import Message
from msgflow._message.paths import split
from msgflow.errors import MessageError

if TYPE_CHECKING:
    from msgflow.nn.module import Module

Reads: TypeAlias = str | Sequence[str] | Mapping[str, str] | None


class Given(tuple[Any, ...]):
    """Arguments as `forward` takes them, in which nothing is to be read any more."""

    __slots__ = ()


def on_message(module: "Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a module that has `reads` or `writes`; called with anything but a single Message, it runs as any other."""
    message = None if kwargs or len(args) != 1 else args[0]
    if not isinstance(message, Message):
        return module._run(Given(args), kwargs)
    output = module._run(*read(module, args, kwargs))
    if module.writes is None:
        return output
    written = message.copy()
    try:
        written[module.writes] = output
    except (MessageError, TypeError) as error:
        error.add_note(f"{type(module).__name__} writes {module.writes!r} of the Message that it is called with")
        raise
    return written.view() if message.frozen else written


def read(module: "Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Given, dict[str, Any]]:
    """The arguments that `module.reads` names, where the only positional one is a Message; else the same again."""
    reads = module.reads
    if reads is None or len(args) != 1 or not isinstance(args[0], Message):
        return Given(args), kwargs
    message = args[0]
    try:
        if isinstance(reads, str):
            return Given((message[reads],)), kwargs
        if isinstance(reads, Mapping):
            return Given(), {**kwargs, **{name: message[path] for name, path in reads.items()}}
        return Given(message[path] for path in reads), kwargs
    except (MessageError, TypeError) as error:
        error.add_note(f"{type(module).__name__} reads {reads!r} of the Message that it is called with")
        raise


def declare(module: "Module", reads: Reads, writes: str | None) -> None:
    """Keep what is given, and what the class says otherwise. Raises MessageError or TypeError for what is no path."""
    if reads is not None:
        for path in [reads] if isinstance(reads, str) else reads.values() if isinstance(reads, Mapping) else reads:
            split(path)
        module.reads = reads
    if writes is not None:
        split(writes)
        module.writes = writes
