"""Keeps coverage from hanging on Python 3.11 where threads that have used greenlets end.

Coverage knows greenlets by weak references, and greenlet drops a dead thread's main greenlet in a pending call of the
main thread: so Python code runs there. If another thread ends just then, its pending call cannot start, the
interpreter's "something is pending" flag stays up, and Python 3.11 begins no traced function while it is up: it looks
again and again, for ever. A main greenlet that stays alive calls nobody.
"""

import sys
import threading

import greenlet

_kept: list[list[greenlet.greenlet]] = []
_begin = threading.Thread._bootstrap_inner  # and not `run`, which subclasses have of their own


def keep() -> None:
    """For every thread from here on, where it is needed."""
    if sys.version_info < (3, 12) and "coverage" in sys.modules:
        threading.Thread._bootstrap_inner = _keep_and_begin


def _keep_and_begin(thread: threading.Thread) -> None:
    # In a list of its own: greenlet asks the collector who refers to it, which does not look at what is frozen.
    _kept.append([greenlet.getcurrent()])
    _begin(thread)
