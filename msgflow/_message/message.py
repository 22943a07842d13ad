"""The handle on a tree: what flows and modules read and write."""

import operator
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

from msgflow._message.json_text import dumps, loads
from msgflow._message.merging import merged, same
from msgflow._message.paths import look_up, missing, own_way, put, split, take_out
from msgflow._message.tree import (
    MAX_DEPTH,
    MISSING,
    Holder,
    ReadOnlyDict,
    ReadOnlyList,
    Root,
    Taken,
    freeze,
    height,
    measure,
    owned_root,
    root,
    thawed,
    too_deep,
)
from msgflow.errors import MessageFrozen, MessageKeyError

_set = object.__setattr__


class Message(Holder, MutableMapping[str, Any]):
    """What a flow carries from step to step: a mapping whose keys are dotted paths, such as "user.text" or "items.0".

    Dicts and lists in it cannot be changed in place, and other objects are kept as they are, so `copy()` and `view()`
    cost the same for any size. A frozen one refuses every change. Iteration is over the names at the top.

    A Message is changed by one thread at a time; give each branch of work a copy, and `merge` them.

    Raises MessageKeyError where nothing is at a path, MessageError for what is no path or leads through a value that
    has no parts, MessageFrozen.
    """

    __slots__ = ("__weakref__", "_ancestors", "_frozen", "_here", "_owner", "_tree")
    _tree: Root
    _owner: object  # the token of the nodes that only this Message can reach; None: there are none
    _ancestors: tuple[Taken, ...]  # the states that this Message came from, oldest first
    _here: Taken | None  # its present state, where copies were taken from it
    _frozen: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Here and not in __init__, which could be called again.
        return object.__new__(cls)._start(root({}), (), False)

    def __init__(self, data: Mapping[str, Any] | None = None, /, *, frozen: bool = False, **fields: Any) -> None:
        self.update({} if data is None else data, **fields)
        if frozen:
            self._shared()
            _set(self, "_frozen", True)

    def _start(self, tree: Root, ancestors: tuple[Taken, ...], frozen: bool) -> Self:
        _set(self, "_tree", tree)
        _set(self, "_owner", None)
        _set(self, "_ancestors", ancestors)
        _set(self, "_here", None)
        _set(self, "_frozen", frozen)
        return self

    # --- reading ---------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        parts = split(key)
        value = self._at(parts)
        if value is MISSING:
            raise missing(self._tree, key, parts)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        value = self._at(split(key))
        return default if value is MISSING else value

    def _at(self, parts: list[str]) -> Any:
        value = look_up(self._tree, parts)
        if isinstance(value, ReadOnlyDict | ReadOnlyList):
            self._shared()
        return value

    def __contains__(self, key: object) -> bool:
        return look_up(self._tree, split(key)) is not MISSING

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def __eq__(self, other: object) -> bool:
        return bool(self._tree == (other._tree if isinstance(other, Message) else other))

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._tree!r}{', frozen=True' if self._frozen else ''})"

    @property
    def frozen(self) -> bool:
        """Whether it refuses every change."""
        return self._frozen

    # --- changing --------------------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        """Makes the dicts that are missing on the way; in a list it replaces an item that is there."""
        self._check_not_frozen()
        parts = split(key)
        value = freeze(value, key)
        below = height(value)
        if len(parts) + below > MAX_DEPTH:
            below = measure(value, set())
            if len(parts) + below > MAX_DEPTH:
                raise too_deep(key)
        put(*own_way(*self._own_root(), parts, key, below), value)

    def __delitem__(self, key: str) -> None:
        self._check_not_frozen()
        parts = split(key)
        if look_up(self._tree, parts) is MISSING:
            raise missing(self._tree, key, parts)
        take_out(*own_way(*self._own_root(), parts, key))

    def update(self, other: Any = (), /, **fields: Any) -> None:
        """Set every path of a mapping, in its order; a value that is a mapping replaces what is there as a whole.

        Where one of them cannot be set, none is.
        """
        self._check_not_frozen()
        tree = self._shared()
        try:
            for key, value in _items(other, fields):
                self[key] = value
        except BaseException:
            self._become(tree)
            raise

    def pop(self, key: str, default: Any = MISSING) -> Any:
        self._check_not_frozen()
        value = self.get(key, default)
        if value is MISSING:
            raise missing(self._tree, key, split(key))
        if key in self:
            del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out the last name at the top."""
        self._check_not_frozen()
        if not self._tree:
            raise MessageKeyError("the message is empty")
        name = next(reversed(self._tree))
        return name, self.pop(name)

    def clear(self) -> None:
        self._check_not_frozen()
        self._become(root({}))

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._check_not_frozen()
        if key not in self:
            self[key] = default
        return self[key]

    def _check_not_frozen(self) -> None:
        if self._frozen:
            raise MessageFrozen("this Message is frozen; message.copy() gives one that can be changed")

    def _own_root(self) -> tuple[Root, object]:
        """The root, as a node of its own, and the token of such nodes."""
        owner = self._owner
        if owner is None:
            owner = object()
            _set(self, "_tree", owned_root(self._tree, owner))
            _set(self, "_here", None)
            _set(self, "_owner", owner)
        return self._tree, owner

    def _shared(self) -> Root:
        """The tree, to be shown to others: from now on nothing in it is changed in place."""
        if self._owner is not None:
            _set(self, "_owner", None)
        return self._tree

    def _become(self, tree: Root) -> None:
        _set(self, "_tree", tree)
        _set(self, "_here", None)
        _set(self, "_owner", None)

    if not TYPE_CHECKING:  # a type checker is to find wrong names by itself

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"a Message has no attribute {name!r}; a value is read as message[{name!r}]", name=name, obj=self
            )

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(
                f"a Message has no attribute {name!r} to set; a value is set as message[{name!r}] = ..., and "
                "frozen=True is given when a Message is made",
                name=name,
                obj=self,
            )

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a Message has no attribute {name!r} to delete", name=name, obj=self)

    # --- copies ----------------------------------------------------------------------------------------------------

    def copy(self) -> Self:
        """A changeable Message in the same state."""
        return self._taken(False)

    def view(self) -> Self:
        """A frozen Message of this moment: later changes are not seen in it."""
        return self if self._frozen else self._taken(True)

    def _taken(self, frozen: bool) -> Self:
        tree = self._shared()
        if self._here is None:
            _set(self, "_here", Taken(tree))
        # A state that nobody else came from can be forgotten, so that a long row of copies keeps few old values alive.
        ancestors = [taken for taken in self._ancestors if taken.is_shared]
        return object.__new__(type(self))._start(tree, (*ancestors, Taken(tree)), frozen)

    @classmethod
    def merge(cls, branches: Iterable["Message"]) -> Self:
        """A new Message with the changes of all branches, which are copies of one and the same state of a Message.

        A branch may be a copy of a copy, and so on. Deletions are changes. Two branches may give one path equal
        values, and may set different names in one dict, new or not; a list of the same length is merged item by item.
        Raises MessageConflict, and ValueError for branches that have no state in common.
        """
        given = list(branches)
        for branch in given:
            if not isinstance(branch, Message):
                raise TypeError(
                    f"branches are Messages, copies of one, not {branch!r:.80} of type {type(branch).__name__}"
                )
        origin, ancestors = _common_state(given)
        tree = merged(origin, [(number, branch._shared()) for number, branch in enumerate(given)])
        return object.__new__(cls)._start(root(tree), ancestors, False)

    def __copy__(self) -> Self:
        return self if self._frozen else self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # With the states that it came from, so that a branch that was sent to another process can be merged.
        ancestors = [taken.tree for taken in self._ancestors]
        return _restored, (type(self), self._shared(), ancestors, self._frozen)

    # --- as plain values -------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """A copy with plain dicts and lists, which can be changed; other objects are the same."""
        plain: dict[str, Any] = thawed(self._tree)
        return plain

    def to_json(self) -> str:
        """JSON that `from_json` gives back as an equal Message.

        Raises MessageError, naming the key, for what JSON would lose: a tuple, NaN, an object, a key that is no text.
        """
        return dumps(self._tree)

    @classmethod
    def from_json(cls, text: str | bytes, *, frozen: bool = False) -> Self:
        """Raises MessageError for what is no JSON object, has one key twice or holds NaN."""
        return cls(loads(text), frozen=frozen)


def _items(other: Any, fields: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    try:
        return dict(other, **fields).items()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"a mapping of paths to values is expected, not {other!r:.80} of type {type(other).__name__}"
        ) from error


def _common_state(branches: list[Message]) -> tuple[Root, tuple[Taken, ...]]:
    """The last state that all branches came from, or still are in, and the states before it."""
    if not branches:
        raise ValueError("there are no branches to merge; give at least one copy of a Message")
    histories = [[*(taken.tree for taken in branch._ancestors), branch._tree] for branch in branches]
    first, *others = histories
    for alike in (operator.is_, same):  # `same` for branches that come from other processes
        for age in reversed(range(len(first))):
            if all(any(alike(first[age], tree) for tree in reversed(other)) for other in others):
                return first[age], branches[0]._ancestors[: age + 1]
    raise ValueError(
        "these Messages have no state in common; branches are copies of one Message in one state: "
        "branches = [message.copy(), message.copy()]"
    )


def _restored(kind: type[Message], tree: ReadOnlyDict, ancestors: list[ReadOnlyDict], frozen: bool) -> Message:
    return object.__new__(kind)._start(root(tree), tuple(Taken(root(old)) for old in ancestors), frozen)
