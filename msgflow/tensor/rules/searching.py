"""Where the largest and the smallest numbers are. NaN counts as the largest; of equal numbers the first comes first."""

from math import prod

from msgflow.tensor.backends import Array, Namespace, may_be_looked_at, order_of
from msgflow.tensor.operations import Operation


def _argsort(xp: Namespace, x: Array, *, axis: int, descending: bool) -> Array:
    return order_of(_comparable(xp, x), axis, descending=descending)


def _comparable(xp: Namespace, x: Array) -> Array:
    return xp.astype(x, xp.uint8) if x.dtype == xp.bool else x


def _topk(xp: Namespace, x: Array, *, k: int, axis: int, largest: bool) -> Array:
    x = xp.moveaxis(_comparable(xp, x), axis, -1)
    count = x.shape[-1]
    if 0 < k <= count // 4 and may_be_looked_at(x):
        rows = xp.reshape(x, (prod(x.shape[:-1]), count))
        found = xp.reshape(_few(xp, rows, k, largest), (*x.shape[:-1], k))
    else:
        found = order_of(x, -1, descending=largest)[..., :k]
    return xp.moveaxis(found, -1, axis)


def _few(xp: Namespace, x: Array, k: int, largest: bool) -> Array:
    """A few places out of many, in each row, without sorting the rows.

    If a row is dealt out into groups, the k-th largest of the groups' largest has at least k numbers that are not
    smaller. There are hardly more than that, and only these are sorted.
    """
    rows, count = x.shape
    places = xp.nonzero(xp.reshape(_candidates(xp, x, k, largest), (-1,)))[0]
    values = xp.take(xp.reshape(x, (-1,)), places)
    best_first = order_of(values, 0, descending=largest)
    row_of = places // count
    row_by_row = xp.take(best_first, order_of(xp.take(row_of, best_first), 0, descending=False))
    starts = xp.searchsorted(row_of, xp.arange(rows))
    chosen = xp.reshape(starts, (rows, 1)) + xp.arange(k)
    return xp.reshape(xp.take(places, xp.take(row_by_row, xp.reshape(chosen, (-1,)))), (rows, k)) % count


_GROUPS = 1024  # or more; sorting so many takes no longer than one look at all numbers of a row that is worth grouping


def _candidates(xp: Namespace, x: Array, k: int, largest: bool) -> Array:
    """For each number whether it may be among the first k of its row. NaN always may."""
    rows, count = x.shape
    groups = max(8 * k, _GROUPS)
    if count >= 4 * groups:
        dealt = xp.reshape(x[:, : count // groups * groups], (rows, count // groups, groups))
        best = (xp.max if largest else xp.min)(dealt, axis=1)
    else:
        best = x
    ranked = xp.sort(best, axis=-1)
    if largest:
        return ~(x < ranked[:, -k][:, None])
    return ~(x > ranked[:, k - 1][:, None])


ARGSORT = Operation("argsort", _argsort)
TOPK = Operation("topk", _topk)
