"""The tree that a Message holds: dicts and lists that cannot be changed.

A change copies the nodes on the way to it and shares all others with the tree before, so a copy of a Message costs
nothing. A node that a Message has made itself and has shown to nobody since carries that Message's token as `owner`,
and is changed in place: a thousand changes of one dict copy it once.
"""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from weakref import ref

from msgflow.errors import MessageError, MessageFrozen

MAX_DEPTH = 100
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()

_PLAIN = frozenset((str, int, float, bool, type(None)))
_FIXED: dict[type, Callable[[Any], Any]] = {set: frozenset, bytearray: bytes}


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise MessageFrozen(
        "what a Message holds is not changed in place: assign to a path, such as message['items'] = [*items, new], "
        "or take a changeable copy with message.to_dict()"
    )


class ReadOnlyDict(dict[str, Any]):
    """A dict that compares, prints and serialises as one, and cannot be changed."""

    __slots__ = ("height", "owner")
    height: int  # of the longest way down; after a deletion it may be less than that
    owner: object
    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __copy__(self) -> "ReadOnlyDict":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReadOnlyDict":
        from copy import deepcopy

        copied = {key: deepcopy(item, memo) for key, item in self.items()}
        return self if all(copied[key] is item for key, item in self.items()) else read_only_dict(copied)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return read_only_dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A list that compares, prints and serialises as one, and cannot be changed."""

    __slots__ = ("height", "owner")
    height: int
    owner: object
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __copy__(self) -> "ReadOnlyList":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReadOnlyList":
        from copy import deepcopy

        copied = [deepcopy(item, memo) for item in self]
        return self if all(map(_is, copied, self)) else read_only_list(copied)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return read_only_list, (list(self),)


def _is(first: object, second: object) -> bool:
    return first is second


NODES = (ReadOnlyDict, ReadOnlyList)


class Root(ReadOnlyDict):
    """The top of a tree. `takers` are weak references to all Taken of it that are alive."""

    __slots__ = ("takers",)
    takers: list["ref[Taken]"]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return root, (dict(self),)


class Taken:
    """Says that messages were taken from a state: one for each copy, one for the message that still is in this state.

    Messages can be merged where they share such a state. One that has a single Taken is shared by nobody any more.
    """

    __slots__ = ("__weakref__", "tree")

    def __init__(self, tree: Root) -> None:
        self.tree = tree
        tree.takers.append(ref(self, tree.takers.remove))

    @property
    def is_shared(self) -> bool:
        return len(self.tree.takers) > 1


class Holder:
    """What holds a tree, and gives it away when it is put into another."""

    __slots__ = ()
    _shared: Callable[[], Root]


# --- making nodes -----------------------------------------------------------------------------------------------------


def read_only_dict(items: dict[str, Any], owner: object = None, kind: type[ReadOnlyDict] = ReadOnlyDict) -> Any:
    """A node of items that are frozen already."""
    node = kind(items)
    node.height = 1 + _greatest(items.values())
    node.owner = owner
    return node


def read_only_list(items: list[Any]) -> ReadOnlyList:
    node = ReadOnlyList(items)
    node.height = 1 + _greatest(items)
    node.owner = None
    return node


def root(items: dict[str, Any]) -> Root:
    node: Root = items if isinstance(items, Root) else read_only_dict(items, None, Root)
    if node is not items:
        node.takers = []
    return node


def owned_root(node: Root, owner: object) -> Root:
    copied: Root = owned_copy(node, owner)
    copied.takers = []
    return copied


def owned_copy(node: Any, owner: object) -> Any:
    """A node that its owner may change in place."""
    copied = type(node)(node)
    copied.height, copied.owner = node.height, owner
    return copied


def height(value: Any, seen: dict[int, int] | None = None) -> int:
    """How many dicts, lists and tuples lie on the longest way into a frozen value."""
    if isinstance(value, NODES):
        nodes: int = value.height
        return nodes
    if type(value) is not tuple:
        return 0
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = 1 + _greatest(value, seen)
    return seen[id(value)]


def _greatest(values: Iterable[Any], seen: dict[int, int] | None = None) -> int:
    greatest = 0
    for value in values:
        if type(value) not in _PLAIN:
            greatest = max(greatest, height(value, seen))
    return greatest


def measure(value: Any, seen: set[int]) -> int:
    """As `height`, counted anew, because deletions leave it too great; what was `seen` is not counted again."""
    if (isinstance(value, NODES) or type(value) is tuple) and id(value) not in seen:
        seen.add(id(value))
        items = value.values() if isinstance(value, dict) else value
        for item in items:
            measure(item, seen)
        if isinstance(value, NODES):
            value.height = 1 + _greatest(items)
    return height(value)


def freeze(value: Any, key: str) -> Any:
    """The value with dicts, lists, tuples, sets and Messages in it made unchangeable; other objects stay as they are.

    Raises MessageError, naming the key, for one that is nested too deep or contains itself.
    """
    return value if type(value) in _PLAIN else _freeze(value, {}, MAX_DEPTH, key)


def _freeze(value: Any, seen: dict[int, Any], levels: int, key: str) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Holder):
        return value._shared()
    if kind in _FIXED:
        return _FIXED[kind](value)
    if isinstance(value, NODES) and hasattr(value, "height"):
        return value  # one that was made elsewhere, by its class, has none
    if not isinstance(value, dict | list) and kind is not tuple:
        return value
    if id(value) not in seen:
        if not levels:
            raise too_deep(key)
        # With the value itself, so that its id stays taken. What is shared stays shared: a list that holds one list
        # twice, which holds one list twice, and so on, would otherwise take for ever.
        seen[id(value)] = value, _node(value, seen, levels - 1, key)
    return seen[id(value)][1]


def _node(value: Any, seen: dict[int, Any], levels: int, key: str) -> Any:
    if isinstance(value, dict):
        return read_only_dict({name: _freeze(item, seen, levels, key) for name, item in value.items()})
    items = [_freeze(item, seen, levels, key) for item in value]
    if isinstance(value, list):
        return read_only_list(items)
    return value if all(map(_is, items, value)) else tuple(items)


def too_deep(key: str) -> MessageError:
    return MessageError(
        f"{shown(key)} cannot be set: a Message is at most {MAX_DEPTH} levels deep, "
        "and this goes deeper or contains itself",
        key=key,
    )


def thawed(value: Any) -> Any:
    """The value with plain, changeable dicts and lists."""
    if isinstance(value, ReadOnlyDict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, ReadOnlyList):
        return [thawed(item) for item in value]
    return tuple(map(thawed, value)) if type(value) is tuple else value


def shown(key: str) -> str:
    """The key for an error message, cut where it is long."""
    return repr(key) if len(key) <= 80 else f"{key[:80]!r}..."
