"""What attention does not look at, as numbers that are added to the scores: 0, or -inf."""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError


def added_mask(
    layer: object,
    scores: tuple[int, int, int, int],
    queries: mt.Tensor,
    key_padding_mask: Any,
    attn_mask: Any,
    is_causal: bool,
) -> mt.Tensor | None:
    """All masks of a call in one, for scores of these queries; None where nothing is hidden.

    Masks of bool hide where they are True, those of floats are added. `layer` is for errors.
    Shape: scores is (batch, heads, queries, keys), and the result broadcasts to it; key_padding_mask (batch, keys);
    without a batch (keys,); attn_mask (queries, keys) or (batch * heads, queries, keys).
    Raises ShapeError for others, DTypeError for masks of whole numbers.
    """
    batch, heads, rows, keys = scores
    parts = []
    if attn_mask is not None:
        mask = _added(layer, attn_mask, queries)
        _expect(layer, "attn_mask", mask.shape, [(rows, keys), (batch * heads, rows, keys)])
        parts.append(mask.reshape(*scores) if mask.ndim == 3 else mask)
    if is_causal:
        parts.append(_added(layer, np.triu(np.ones((rows, keys), bool), 1), queries))
    if key_padding_mask is not None:
        mask = _added(layer, key_padding_mask, queries)
        _expect(layer, "key_padding_mask", mask.shape, [(batch, keys), *[(keys,)] * (batch == 1)])
        parts.append(mask.reshape(batch, 1, 1, keys))
    return sum(parts[1:], parts[0]) if parts else None


def _expect(layer: object, name: str, shape: tuple[int, ...], expected: Sequence[tuple[int, ...]]) -> None:
    if shape not in expected:
        reason = f"the first is that of {name}; it has to be one of the others"
        raise ShapeError(repr(layer), [shape, *expected], reason)


def _added(layer: object, mask: Any, queries: mt.Tensor) -> mt.Tensor:
    # Scores of 16-bit floats are float32, in which masks of -1e9 have their place.
    dtype = mt.float32 if queries.dtype.is_half else queries.dtype
    given: mt.Tensor = mask if isinstance(mask, mt.Tensor) else queries.beside(np.array(mask))
    given = given.to(device=queries.device)
    if given.dtype is mt.bool_:
        return mt.where(given, -inf, queries.beside(np.zeros((), dtype.storage)))
    if not given.dtype.is_floating:
        reason = f"a mask is of bool (True hides) or of floats (which are added), not {given.dtype.name}"
        raise DTypeError(f"{layer!r}: {reason}")
    return given.to(dtype=dtype)
