"""Loop: a step again and again."""

from collections.abc import Callable
from typing import Any, Literal

from msgflow._limits import checked_count
from msgflow.errors import LoopLimit
from msgflow.flow.choices import Choosing, shown
from msgflow.flow.refs import given
from msgflow.flow.steps import At

MAX_STEPS = 100


class Loop(Choosing):
    """Calls its body with the input, then with what that returned, until `until` holds for what was returned.

    The body runs at least once. Where `until` does not hold after `max_steps` rounds (100, unless said otherwise),
    LoopLimit is raised, or with `on_limit="return"` the last result is returned. Without `until` the body runs
    `max_steps` times.
    """

    def __init__(
        self,
        body: Any,
        *,
        until: Callable[[Any], Any] | None = None,
        max_steps: int | None = None,
        on_limit: Literal["raise", "return"] = "raise",
    ) -> None:
        super().__init__()
        if until is None and max_steps is None:
            raise TypeError("a loop has to end: give until=, a predicate on what the body returns, or max_steps=")
        if on_limit not in ("raise", "return"):
            raise ValueError(f'on_limit is "raise" or "return", not {on_limit!r:.80}')
        self.max_steps = MAX_STEPS if max_steps is None else checked_count(max_steps, "max_steps")
        self.on_limit = on_limit
        if until is not None:
            self._set_question("until", until)
        self._set_step("body", body)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        asks = self._asks("until")
        with self._scope(args, kwargs):
            for _ in range(self.max_steps):
                with At(self, "body") as body:
                    args, kwargs = self._arguments("body", args, kwargs)
                    args, kwargs = (body(*args, **kwargs),), {}
                if asks and self._ask("until", args, kwargs):
                    return args[0]
        if asks and self.on_limit == "raise":
            raise LoopLimit(
                self.max_steps,
                f"until={shown(self['until'] if 'until' in self._modules else self.until)} held for none of its "
                'results. Raise max_steps, or take the last result with on_limit="return".',
            )
        return given(args, kwargs)

    def extra_repr(self) -> str:
        until = f"until={shown(self.until)}, " if "until" in self.__dict__ else ""
        return f"{until}max_steps={self.max_steps}"
