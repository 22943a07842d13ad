"""Train, deploy, evaluate: what a module tree does beside being called.

Each walks the tree, children before their parents, and a shared module once. A submodule whose class has an `update`,
`start`, `stop`, `eval` or `train` of its own is left to it, with all that is below it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, cast

from msgflow._bridge import current_flow, shielded, wait
from msgflow._leaf import call_leaf, resolved
from msgflow._limits import count_or_none
from msgflow._version_clock import one_version, pinned
from msgflow.nn.evaluation import items_of, outputs

if TYPE_CHECKING:
    from msgflow.nn.module import Module


LIMIT = 32  # items of a test set at once


class Lifecycle:
    """What Module inherits. All of it works in plain code and in a `def forward` under `acall`.

    It is about the newest values: inside a call, too, which itself goes on reading those that it began with.
    """

    training: bool
    _modules: dict[str, "Module"]
    _choose_overlay: Any
    _test_set: list[Any] | None = None
    _eval_result: list[Any] | None = None
    _deployed: "tuple[_Task, ...]" = ()

    def _get_train_tasks(self) -> Any:
        """What trains this module: a callable without arguments (plain, `async def`, a module), or a list of them."""

    def _get_deploy_tasks(self) -> Any:
        """What deploys this module, as `_get_train_tasks`.

        A task may return what undoes it: something with a `stop()` or `close()`, a callable, or several of these.
        """

    def update(self) -> Self:
        """Run every train task of the tree, then every deploy task, then the evaluation; `training` stays as it was.

        Raises what a task raises, with a note that says whose it was; nothing after it is run.
        """
        with _newest_version():
            _train(self)
            if _has_own(self, "start"):
                resolved(self.start())
            else:
                _deploy(self, apart_from="update")
            with _modes_kept(self):
                if _has_own(self, "eval"):
                    resolved(self.eval())
                else:
                    self.train(False)
                    _evaluate(self, LIMIT, False, apart_from="update")
        return self

    def start(self) -> Self:
        """Run every deploy task of the tree; what was deployed before is undone first.

        Where one fails, what this call has deployed is undone.
        """
        with _newest_version():
            _deploy(self)
        return self

    def stop(self) -> Self:
        """Undo what was deployed, the newest first; where something cannot be undone, the rest is nevertheless."""
        with _newest_version():
            _undo(reversed(_parts(self, "stop")))
        return self

    def train(self, mode: bool = True) -> Self:
        if not isinstance(mode, bool):
            raise TypeError(f"train(mode) takes True or False, not {mode!r}")
        for part in _parts(self, "train", mode):
            if part.is_own:
                part.module.train(mode)
            else:
                part.module.training = mode
        return self

    def eval(self, *, limit: int | None = LIMIT, progress: bool = False) -> Self:
        """Switch the tree to evaluation mode, and run every test set in it; the outputs are then in `eval_result`.

        At most `limit` items run at once, all of them read one version of the values, and `progress` shows a bar on the
        terminal. A TaskError stands for an item that failed.
        """
        count_or_none(limit)
        self.train(False)
        with _newest_version():
            _evaluate(self, limit, progress)
        return self

    def evalset(self, data: "Iterable[Any] | str | PathLike[str] | None") -> Self:
        """Attach a test set: items, or a .jsonl or .csv file of them; None takes it away.

        A dict gives the arguments of one call, anything else is the one argument. All is read here, once.
        """
        self.__dict__["_test_set"] = None if data is None else items_of(data)
        return self

    @property
    def eval_result(self) -> list[Any] | None:
        """The outputs of the last evaluation, in the order of the test set; None before it. Copies do not have them."""
        return self._eval_result

    @eval_result.setter
    def eval_result(self, value: list[Any] | None) -> None:
        self.__dict__["_eval_result"] = value  # here, where modules in it are not taken for submodules


# --- walking the tree ------------------------------------------------------------------------------------------------

_Task = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """A module of a tree; `is_own` says that it has a method of its own for what is done with the tree."""

    place: str
    module: Lifecycle
    is_own: bool

    def tasks(self, kind: str) -> list[_Task]:
        """What `_get_train_tasks` or `_get_deploy_tasks` gives. Raises TypeError where one of them cannot be called."""
        given = resolved(getattr(self.module, f"_get_{kind}_tasks")())
        several = isinstance(given, Iterable) and not callable(given)
        tasks = [task for task in (given if several else [given]) if task is not None]
        for task in tasks:
            if not callable(task) or (isinstance(task, type) and issubclass(task, Lifecycle)):
                raise TypeError(
                    f"_get_{kind}_tasks of {self.place} gave {task!r:.80} of type {type(task).__name__}; "
                    "a task is a function or a module, and is called without arguments"
                )
        return tasks

    def undoing(self) -> list[_Task]:
        """What undoes the deployment of this module, the newest first. It is forgotten here, so that it runs once."""
        if self.is_own:
            return [lambda: resolved(self.module.stop())]
        return [partial(_called, undo) for undo in reversed(self.module.__dict__.pop("_deployed", ()))]

    @contextmanager
    def noted(self, work: str) -> Iterator[None]:
        """What is raised in the block says where it was."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"while {work} {self.place}")
            raise


def _parts(root: Lifecycle, method: str = "", *args: object, apart_from: str = "") -> list[_Part]:
    """The tree, children before parents. Nothing below a module that has the method, or `apart_from`, itself.

    The one that has `apart_from` is left out, too.
    """
    seen: set[Lifecycle] = set()
    parts: list[_Part] = []

    def visit(path: str, module: Lifecycle) -> None:
        seen.add(module)
        is_below = module is not root
        if is_below and apart_from and _has_own(module, apart_from):
            return
        is_own = is_below and bool(method) and _has_own(module, method, *args)
        below: list[tuple[str, Lifecycle]] = [] if is_own else list(module._modules.items())
        for name, child in below:
            if child not in seen:
                visit(f"{path}{name}.", child)
        place = f"{path.removesuffix('.')} of {type(root).__name__}" if is_below else type(root).__name__
        parts.append(_Part(place, module, is_own))

    visit("", root)
    return parts


def _has_own(module: Lifecycle, name: str, *args: object) -> bool:
    """Whether a module's class has such a method of its own. One that asks for arguments (`ModuleDict.update`) does
    something else.
    """
    method = getattr(type(module), name)
    if method is getattr(Lifecycle, name) or not callable(method):
        return False
    try:
        signature(method).bind(module, *args)
    except (TypeError, ValueError):
        return False
    return True


# --- tasks -----------------------------------------------------------------------------------------------------------


def _called(task: _Task) -> Any:
    """Call a task: in place in plain code, so that the block is the caller's; in a Flow as a leaf, so that none is."""
    return resolved(task()) if current_flow() is None else wait(call_leaf(task))


def _train(root: Lifecycle) -> None:
    for part in _parts(root, "update"):
        with part.noted("training"):
            if part.is_own:
                resolved(part.module.update())
            else:
                for task in part.tasks("train"):
                    _called(task)


def _deploy(root: Lifecycle, *, apart_from: str = "") -> None:
    parts, begun = _parts(root, "start", apart_from=apart_from), list[_Part]()
    _undo(part for part in reversed(parts) if not part.is_own)
    try:
        for part in parts:
            with part.noted("deploying"):
                if part.is_own:
                    resolved(part.module.start())
                begun.append(part)
                if not part.is_own:
                    _deploy_one(part)
    except BaseException as error:
        try:
            _undo(reversed(begun))
        except Exception as other:
            error.add_note(f"undoing what was deployed before failed, too: {other!r}")
        raise


def _deploy_one(part: _Part) -> None:
    for task in part.tasks("deploy"):
        undoing = tuple(_undoing(_called(task)))
        part.module.__dict__["_deployed"] = (*part.module._deployed, *undoing)


def _undoing(result: Any) -> Iterator[_Task]:
    """What undoes a deploy task, by what it returned; flows return several results at once."""
    if isinstance(result, list | tuple | Mapping):
        for each in result.values() if isinstance(result, Mapping) else result:
            yield from _undoing(each)
    elif not isinstance(result, type):
        ways = (getattr(result, "stop", None), getattr(result, "close", None), result)
        yield from [way for way in ways if callable(way)][:1]


def _undo(parts: Iterable[_Part]) -> None:
    """Undo everything, even where something fails or is cancelled. Raises the first failure."""
    failures: list[BaseException] = []
    with shielded():
        for part in parts:
            for undo in part.undoing():
                try:
                    with part.noted("stopping"):
                        undo()
                except BaseException as error:
                    failures.append(error)
    if failures:
        # Ctrl-C and cancellation come first: somebody waits for them.
        first, *others = sorted(failures, key=lambda failure: isinstance(failure, Exception))
        for other in others:
            first.add_note(f"something else could not be undone, either: {other!r}")
        raise first


# --- evaluation ------------------------------------------------------------------------------------------------------


@contextmanager
def _newest_version() -> Iterator[None]:
    """Outside of the version that a call reads. What a transaction has assigned so far, or a split, is still read."""
    outer = pinned.get()
    if outer is None or outer.own is not None or not outer.inside:
        yield
        return
    token = pinned.set(None)
    try:
        yield
    finally:
        pinned.reset(token)


@contextmanager
def _modes_kept(root: Lifecycle) -> Iterator[None]:
    modes = [(part.module, part.module.training) for part in _parts(root)]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _evaluate(root: Lifecycle, limit: int | None, progress: bool, *, apart_from: str = "") -> None:
    parts = _parts(root, "eval", apart_from=apart_from)
    # With values of its own, if only of none: a split of versions would choose some for each item.
    is_split = pinned.get() is None and any(part.module._choose_overlay is not None for part in parts)
    with one_version({} if is_split else None):
        for part in parts:
            if part.is_own:
                options = {"limit": limit, "progress": progress}
                resolved(part.module.eval(**_accepted(part.module.eval, options)))
            elif part.module._test_set is not None:
                title = f"evaluate {part.place}" if progress else None
                part.module.eval_result = outputs(cast("Module", part.module), part.module._test_set, limit, title)


def _accepted(method: Callable[..., Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that an `eval` of a module's own takes."""
    parameters = signature(method).parameters
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in options.items() if takes_all or name in parameters}
