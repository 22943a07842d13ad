"""Inline: a workflow whose shape is text, and so is state: saved, versioned and swapped like a prompt."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

from msgflow._bridge import in_flow, wait
from msgflow._limits import checked_count
from msgflow._message import Message
from msgflow.errors import ExpressionError, FlowStructureError, LoopLimit, MessageConflict
from msgflow.flow.branches import run_branches
from msgflow.flow.conditions import error_at, holds, place
from msgflow.flow.expression import Chain, Expression, Fork, Repeat, Step, steps_of
from msgflow.flow.mistakes import spelled
from msgflow.flow.steps import At, Flow

T = TypeVar("T")
SHOWN_STEPS = 12


class Inline(Flow):
    """A flow that is written as an expression over named steps; the buffer `expression` holds it.

        a -> b                    one after the other
        [a, b -> c]               branches at once, each with a copy of the message; their changes are merged
        {score > 0.9 ? a, b}      one of two; without `, b` nothing happens where the condition does not hold
        @{n < 3}: a -> b;         again and again while the condition holds, at most `max_steps` times

    Every step gets the Message and returns its changes, a mapping of paths to values, or None; what it changes in
    the Message itself counts as well. The result is a new Message: the one that was given stays as it is. A mapping
    that is given in its place is made a Message.

    Raises ExpressionError, when the expression is set, for one that cannot be read or names a step that is not there,
    and in a call for a condition that has no answer; LoopLimit; MessageConflict for branches that disagree.
    """

    def __init__(self, expression: str, steps: Mapping[str, Any], *, max_steps: int = 1000) -> None:
        super().__init__()
        if not isinstance(steps, Mapping):
            raise TypeError(
                f"the steps are a dict of names to Modules and functions, not {steps!r:.80} of type "
                f"{type(steps).__name__}"
            )
        self.max_steps = checked_count(max_steps, "max_steps")
        for name, step in steps.items():
            self._add(name, step)
        self.register_buffer("expression", expression)

    def _register(self, table: dict[str, T], name: str, value: T) -> None:
        self._check_name(name)
        if table is not self._buffers and (name == "expression" or not name.isidentifier()):
            raise FlowStructureError(
                f"a step cannot be named {name!r:.80}: names in an expression are those of Python variables, and "
                "'expression' is the expression itself"
            )
        super()._register(table, name, value)

    def _buffer_value(self, name: str, value: Any) -> Any:
        """An expression is kept with the tree that it stands for, so that a call has nothing left to read or check."""
        if name != "expression":
            return super()._buffer_value(name, value)
        if not isinstance(value, str):
            raise TypeError(
                f"an expression is text such as 'prepare -> answer', not {value!r:.80} of type {type(value).__name__}"
            )
        expression = Expression(value)
        for step in steps_of(expression.chain):
            if step.name not in self._modules:
                raise self._unknown(step, expression)
        return expression

    def _unknown(self, step: Step, expression: str) -> ExpressionError:
        names = list(self._modules)
        near = get_close_matches(step.name, names)
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            more = f" and {len(names) - SHOWN_STEPS} more" if len(names) > SHOWN_STEPS else ""
            hint = f"there are: {', '.join(names[:SHOWN_STEPS]) or 'none'}{more}"
        return error_at(expression, step.at, f"there is no step {spelled(step.name[:80])}; {hint}")

    # --- a call ----------------------------------------------------------------------------------------------------

    def forward(self, message: Message | Mapping[str, Any]) -> Message:
        if isinstance(message, Message):
            mine = message.copy()
        elif isinstance(message, Mapping):
            mine = Message(message)
        else:
            raise TypeError(
                f"an Inline is called with a Message, or with a dict to make one of, not with {message!r:.80} of type "
                f"{type(message).__name__}"
            )
        expression: Expression = self.expression
        with self._scope((message,), {}):
            return self._follow(expression.chain, mine, expression)

    def _follow(self, chain: Chain, message: Message, expression: Expression) -> Message:
        for stage in chain.stages:
            if isinstance(stage, Step):
                message = self._changed_by(stage, message, expression)
            elif isinstance(stage, Fork):
                message = self._merged(stage, message, expression)
            elif isinstance(stage, Repeat):
                message = self._repeated(stage, message, expression)
            elif holds(stage.condition, message, expression):
                message = self._follow(stage.then, message, expression)
            elif stage.otherwise is not None:
                message = self._follow(stage.otherwise, message, expression)
        return message

    def _changed_by(self, step: Step, message: Message, expression: Expression) -> Message:
        name = step.name
        if name not in self._modules:  # it has been taken out since the expression was set
            raise self._unknown(step, expression)
        with At(self, name) as module:
            args, kwargs = self._arguments(name, (message,), {})
            changes = module(*args, **kwargs)
            return message if changes is None or changes is message else _with_changes(message, changes)

    def _merged(self, fork: Fork, message: Message, expression: Expression) -> Message:
        calls = [partial(in_flow, self._follow, (branch, message.copy(), expression), {}) for branch in fork.branches]
        branches = wait(run_branches(calls, None))
        try:
            return type(message).merge(branches)
        except MessageConflict as conflict:
            conflict.add_note(
                "in the branches of {} at line {}, column {}".format(type(self).__name__, *place(expression, fork.at))
            )
            raise

    def _repeated(self, loop: Repeat, message: Message, expression: Expression) -> Message:
        for _ in range(self.max_steps):
            if not holds(loop.condition, message, expression):
                return message
            message = self._follow(loop.body, message, expression)
        if holds(loop.condition, message, expression):
            line, column = place(expression, loop.at)
            raise LoopLimit(
                self.max_steps,
                f"{loop.condition} still holds, at line {line}, column {column}. Let a step in the loop change what it "
                "asks about, or raise max_steps.",
            )
        return message

    def extra_repr(self) -> str:
        return f"{str(self.expression)!r:.200}"


def _with_changes(message: Message, changes: Any) -> Message:
    """The message after a step that has returned these changes."""
    if not isinstance(changes, Mapping):
        raise TypeError(
            f"a step returns its changes, a mapping such as {{'answer': 42}}, or None, not {changes!r:.80} of type "
            f"{type(changes).__name__}"
        )
    if isinstance(changes, Message) and _comes_from(message, changes):
        return changes.copy()  # with what was deleted in it, which an update would not know
    message.update(changes)
    return message


def _comes_from(message: Message, copy: Message) -> bool:
    """Whether one Message is a copy of the other, or a copy of a copy, as that one is now."""
    return copy._tree is message._tree or any(state.tree is message._tree for state in copy._ancestors)
