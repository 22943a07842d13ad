"""Checks of time limits and counts that users give."""

from typing import Any

LONGEST_S = 1e9  # event loops count in floats, which a larger integer need not fit


def checked_seconds(value: Any, name: str, or_none: str = "") -> float:
    """A number of seconds above 0. `or_none` says in the message what None would mean, where that may be given."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds{or_none}, not {value!r:.80} of type {type(value).__name__}")
    if not value > 0:  # NaN is not, either
        raise ValueError(f"{name} is {value}; give a number of seconds above 0{or_none}")
    return min(value, LONGEST_S)


def seconds_or_none(value: Any, name: str) -> float | None:
    return None if value is None else checked_seconds(value, name, ", or None for no limit")


def checked_count(value: Any, name: str, or_none: str = "") -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number{or_none}, not {value!r:.80} of type {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} is {value}; it has to be at least 1{or_none}")
    return value


def count_or_none(value: Any, name: str = "limit") -> int | None:
    return None if value is None else checked_count(value, name, ", or None for all at once")
