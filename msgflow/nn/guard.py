"""Guard: a hook that refuses what goes into a module, or what comes out of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Literal

from msgflow._frozen import StateValue
from msgflow.errors import GuardRefused
from msgflow.nn.hooks import RemovableHandle
from msgflow.nn.module import Module

_MISPLACED = {
    "pre": "a guard on 'pre' was registered to run after the call; use register_forward_pre_hook, or guard.register",
    "post": "a guard on 'post' was registered to run before the call; use register_forward_hook, or guard.register",
}


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Lets a call go on only where its check says so, clearly.

    On "pre" the check gets the arguments of the call, all of them; on "post" the output. It is plain or `async def`,
    and may be a Module. True passes, as a tensor as well, and so does a mapping whose "safe" is True, such as the
    answer of a judging model. Everything else refuses: False, None, 1, an empty dict, a check that raises
    (`__cause__` is its exception).

    A refusal is raised as GuardRefused, with `message` as its text where that is given.
    """

    check: Callable[..., Any]
    on: Literal["pre", "post"] = "pre"
    message: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.check):
            raise TypeError(f"a check is a function or a Module, not {type(self.check).__name__}")
        if self.on not in ("pre", "post"):
            raise ValueError(f"a guard is on 'pre' (the input) or on 'post' (the output), not {self.on!r:.80}")
        if not isinstance(self.message, str | None):
            raise TypeError(f"a guard's message is text, not {type(self.message).__name__}")

    def register(self, module: Module, *, prepend: bool = False) -> RemovableHandle:
        """Guard a module, after the hooks that it has, or before them. The handle's `remove()` ends it."""
        if self.on == "pre":
            return module.register_forward_pre_hook(self, prepend=prepend)
        return module.register_forward_hook(self, prepend=prepend)

    def __call__(
        self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], *output: Any
    ) -> Awaitable[None] | None:
        if bool(output) != (self.on == "post"):
            raise TypeError(_MISPLACED[self.on])
        try:
            verdict = self.check(*output) if output else self.check(*args, **kwargs)
            if isawaitable(verdict):
                return self._await(module, verdict)
            passed = _passes(verdict)
        except Exception as error:
            raise self._refusal(module, error) from error
        if not passed:
            raise self._refusal(module)
        return None

    async def _await(self, module: Module, verdict: Awaitable[Any]) -> None:
        try:
            passed = _passes(await verdict)
        except Exception as error:
            raise self._refusal(module, error) from error
        if not passed:
            raise self._refusal(module)

    def _refusal(self, module: Module, cause: Exception | None = None) -> GuardRefused:
        return GuardRefused(type(module).__name__, self.on, self.message, cause)


def _passes(verdict: object) -> bool:
    if isinstance(verdict, StateValue):  # what comparing tensors gives; that of several numbers raises
        return verdict.raw()[0] == "bool" and bool(verdict)
    return verdict is True or (isinstance(verdict, Mapping) and verdict.get("safe") is True)
