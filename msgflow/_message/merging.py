"""What branches have changed in one tree, all in one tree again."""

from itertools import chain
from typing import Any, TypeAlias

from msgflow._message.tree import MISSING, ReadOnlyDict, ReadOnlyList, read_only_dict, read_only_list, shown
from msgflow.errors import MessageConflict

# What each branch has at one path, by the branch's number.
Values: TypeAlias = list[tuple[int, Any]]


def merged(origin: Any, values: Values, path: tuple[str, ...] = ()) -> Any:
    """What the branches made of `origin`; MISSING stands for nothing there, in `origin` and in branches.

    A subtree that a branch has not touched is the very object that `origin` has, so only what was changed is visited.
    Raises MessageConflict.
    """
    changed = [(number, value) for number, value in values if value is not origin]
    if len(changed) < 2:
        return changed[0][1] if changed else origin
    if (origin is MISSING or isinstance(origin, ReadOnlyDict)) and _all(ReadOnlyDict, changed):
        return _merged_dicts({} if origin is MISSING else origin, changed, path)
    if isinstance(origin, ReadOnlyList) and _all(ReadOnlyList, changed) and _all_long(len(origin), changed):
        return _merged_lists(origin, changed, path)
    changed = [(number, value) for number, value in changed if not same(origin, value)]
    if any(not same(changed[0][1], value) for _, value in changed[1:]):
        raise _conflict(changed, ".".join(path))
    return changed[0][1] if changed else origin


def _merged_dicts(origin: dict[str, Any], changed: Values, path: tuple[str, ...]) -> ReadOnlyDict:
    items = {}
    for key in dict.fromkeys(chain(origin, *(value for _, value in changed))):
        versions = [(number, value.get(key, MISSING)) for number, value in changed]
        item = merged(origin.get(key, MISSING), versions, (*path, str(key)))
        if item is not MISSING:
            items[key] = item
    node: ReadOnlyDict = read_only_dict(items)
    return node


def _merged_lists(origin: list[Any], changed: Values, path: tuple[str, ...]) -> ReadOnlyList:
    return read_only_list(
        [
            merged(item, [(number, value[index]) for number, value in changed], (*path, str(index)))
            for index, item in enumerate(origin)
        ]
    )


def _all(kind: type, values: Values) -> bool:
    return all(isinstance(value, kind) for _, value in values)


def _all_long(length: int, values: Values) -> bool:
    return all(len(value) == length for _, value in values)


def _conflict(changed: Values, key: str) -> MessageConflict:
    numbers = [str(number) for number, _ in changed]
    each = ", ".join(f"{number}: {'deleted' if value is MISSING else repr(value)[:60]}" for number, value in changed)
    return MessageConflict(
        f"the branches {', '.join(numbers[:-1])} and {numbers[-1]} changed {shown(key)} differently ({each}). "
        "Let each write to a path of its own, and choose between them after the merge",
        key=key,
        branches=[number for number, _ in changed],
    )


def same(first: Any, second: Any) -> bool:
    """Whether two frozen values are equal, and of the same types: True is another value than 1."""
    if first is second:
        return True
    if isinstance(first, ReadOnlyDict) and isinstance(second, ReadOnlyDict):
        return len(first) == len(second) and all(same(item, second.get(key, MISSING)) for key, item in first.items())
    if type(first) is not type(second):
        return False
    if isinstance(first, ReadOnlyList | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    try:
        return bool(first == second)
    except Exception:  # arrays have no single answer, and what cannot be compared is taken for another value
        return False
