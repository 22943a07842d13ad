"""Waiting for what happens in the background."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], within_s: float = 10.0) -> float:
    """Wait until something holds; returns after how many seconds. Fails where it does not come true in time."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - began
