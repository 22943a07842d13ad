"""Dotted paths through a tree: what is at one, and changing it."""

from collections.abc import Mapping
from typing import Any

from msgflow._message.tree import (
    MISSING,
    NODES,
    ReadOnlyDict,
    ReadOnlyList,
    owned_copy,
    read_only_dict,
    shown,
)
from msgflow.errors import MessageError, MessageKeyError

_SHOWN_KEYS = 12


def split(key: Any) -> list[str]:
    """The parts of a dotted path."""
    if not isinstance(key, str):
        raise TypeError(
            f"a path in a Message is text such as 'user.text', not {key!r:.80} of type {type(key).__name__}"
        )
    parts = key.split(".")
    if "" in parts:
        raise MessageError(
            f"{shown(key)} is no path: there is nothing between two dots, before the first or after the last. "
            "Write names and list indexes with single dots between them, such as 'user.text' or 'items.0'",
            key=key,
        )
    return parts


def index_of(part: str, length: int) -> int | None:
    """The place in a list, from its end where negative; None where there is none."""
    digits = part.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(length)):
        return None
    index = int(part) + (length if part[0] == "-" else 0)
    return index if 0 <= index < length else None


def below(node: Any, part: str) -> Any:
    """What is at a part of a path: a key of a mapping, an index of a list or tuple, a field of a dataclass or model."""
    if isinstance(node, ReadOnlyDict):
        return node.get(part, MISSING)
    if isinstance(node, ReadOnlyList) or type(node) is tuple:
        index = index_of(part, len(node))
        return MISSING if index is None else node[index]
    if isinstance(node, Mapping):
        return node.get(part, MISSING)
    for table in ("__dataclass_fields__", "__pydantic_fields__"):
        fields = getattr(type(node), table, None)
        if isinstance(fields, dict) and part in fields:
            return getattr(node, part, MISSING)
    return MISSING


def look_up(node: Any, parts: list[str]) -> Any:
    """What is at a path, or MISSING."""
    for part in parts:
        node = below(node, part)
        if node is MISSING:
            break
    return node


def own_way(node: Any, owner: object, parts: list[str], key: str, below: int = 0) -> tuple[Any, Any]:
    """The node that holds the last part of a path, and the part as its key or index.

    All nodes on the way are the owner's afterwards, and dicts that were missing are made; `below` is the height of the
    value that comes there. `node` must be the owner's. Raises MessageError, and then the values are as before.
    """
    *way, last = parts
    need = len(parts) + below
    for depth, part in enumerate(way):
        if node.height < need - depth:
            node.height = need - depth
        place = part if isinstance(node, dict) else _index(node, parts, depth, key)
        child = node.get(place, MISSING) if isinstance(node, dict) else node[place]
        if child is MISSING:
            child = put(node, place, read_only_dict({}, owner))
        elif not isinstance(child, NODES):
            raise _no_way(parts, depth, key, child)
        elif child.owner is not owner:
            child = put(node, place, owned_copy(child, owner))
        node = child
    node.height = max(node.height, 1 + below)
    return node, last if isinstance(node, dict) else _index(node, parts, len(way), key)


def put(node: Any, place: Any, value: Any) -> Any:
    (dict if isinstance(node, dict) else list).__setitem__(node, place, value)
    return value


def take_out(node: Any, place: Any) -> None:
    (dict if isinstance(node, dict) else list).__delitem__(node, place)


def _index(node: list[Any], parts: list[str], depth: int, key: str) -> int:
    index = index_of(parts[depth], len(node))
    if index is None:
        where = shown(".".join(parts[:depth]))
        raise MessageKeyError(
            f"{shown(key)} cannot be changed: {where} is a list of {len(node)} items without an item "
            f"{shown(parts[depth])}; to make it longer, assign a new list to {where}",
            key=key,
        )
    return index


def _no_way(parts: list[str], depth: int, key: str, value: Any) -> MessageError:
    where = shown(".".join(parts[: depth + 1]))
    return MessageError(
        f"{shown(key)} cannot be changed: {where} is of type {type(value).__name__}, of which a Message changes no "
        f"parts; assign a dict, or another value, to {where}",
        key=key,
    )


def missing(tree: Any, key: str, parts: list[str]) -> MessageKeyError:
    """Says where a path ends, and what is there instead."""
    depth = 0
    while (node := below(tree, parts[depth])) is not MISSING:
        tree, depth = node, depth + 1
    where, rest = ".".join(parts[:depth]), ".".join(parts[depth:])
    subject = shown(where) if where else "the message"
    if isinstance(tree, ReadOnlyDict):
        if rest in tree:
            what = f"{subject} has the key {shown(rest)}, but no path leads to a key with dots; read it from that dict"
        else:
            what = f"{subject} has {_names(list(tree))}"
    elif isinstance(tree, ReadOnlyList | tuple):
        what = f"{subject} has {len(tree)} items, counted from 0"
    else:
        what = f"{subject} is of type {type(tree).__name__}"
    return MessageKeyError(f"there is nothing at {shown(key)}: {what}", key=key)


def _names(keys: list[Any]) -> str:
    names = ", ".join(f"{key!r:.40}" for key in keys[:_SHOWN_KEYS])
    return f"{names} and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else names or "no keys"
