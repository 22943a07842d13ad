"""Memory for results, assigned once: what is no longer needed makes place for what comes later."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes for a result, from the step that makes it to the last one that reads it.

    It may take the place of one of those in `over`, results of the same size that this step reads for the last time.
    One that is `kept` has a buffer for itself.
    """

    key: str
    nbytes: int
    first: int
    last: int
    over: tuple[str, ...] = ()
    kept: bool = False


def assigned(needs: Iterable[Need]) -> tuple[dict[str, int], tuple[int, ...]]:
    """The number of the buffer of each, and the bytes of each buffer. The needs come in the order of their steps.

    The smallest that is free and large enough is taken; else the largest free one grows; else there is a new one.
    """
    places: dict[str, int] = {}
    sizes: list[int] = []
    free: list[int] = []
    taken: dict[int, int] = {}  # until which step
    for need in needs:
        for buffer in [buffer for buffer, last in taken.items() if last < need.first]:
            del taken[buffer]
            free.append(buffer)
        given_up = [key for key in need.over if taken.get(places[key]) == need.first]
        if given_up and not need.kept:
            buffer = places[given_up[0]]
        elif free and not need.kept:
            buffer = _best(free, sizes, need.nbytes)
            free.remove(buffer)
        else:
            buffer = len(sizes)
            sizes.append(0)
        places[need.key], sizes[buffer] = buffer, max(sizes[buffer], need.nbytes)
        if not need.kept:
            taken[buffer] = need.last
    return places, tuple(sizes)


def _best(free: list[int], sizes: list[int], nbytes: int) -> int:
    fitting = [buffer for buffer in free if sizes[buffer] >= nbytes]
    return min(fitting, key=sizes.__getitem__) if fitting else max(free, key=sizes.__getitem__)
