"""A cache that makes each value once, even when threads race for it."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


def once(function: Callable[[K], T]) -> Callable[[K], T]:
    """Like functools.cache for one argument, but the function is called once per key: others wait for the first.

    A call that raises is forgotten, so the next one tries again. A forked child begins anew.
    """
    made: dict[K, Future[T]] = {}
    os.register_at_fork(after_in_child=made.clear)

    def called(key: K) -> T:
        mine: Future[T] = Future()
        future = made.setdefault(key, mine)
        if future is mine:
            try:
                mine.set_result(function(key))
            except BaseException as error:
                made.pop(key, None)
                mine.set_exception(error)
        return future.result()

    return called
