"""Any state comes back from each kind of file exactly, or is refused with the key of a value that the file cannot hold.

What a file can hold is said here a second time, from the specifications of the formats, as an oracle.
"""

import math
import re
import shutil

import numpy
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import msgflow as mf
from msgflow.errors import StateFileError
from msgflow.state.arrays import NUMPY_TYPES

CONTROL = "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff\ufffe"
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
AWKWARD_TEXT = st.text(st.sampled_from(CONTROL + "\"\\'#=[]{},. ax\ud83d\ude00"), max_size=12)
TEXT = ANY_TEXT | AWKWARD_TEXT
PARTS = st.sampled_from(["a", "b", "", "0", 'q"', "\u00e9", "#", "a b", "\n", "x" * 6000, "1" * 6000, "__metadata__"])
# Few parts, so that keys are often tables of each other; and keys of very many parts.
KEYS = st.lists(PARTS, min_size=1, max_size=4).map(".".join) | TEXT | st.integers(30, 400).map("a.".__mul__)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(4299).map((10).__pow__)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ARRAYS = st.sampled_from(
    [numpy.dtype(name).newbyteorder(order) for name in NUMPY_TYPES.values() for order in "<>"]
).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3)))
LAYOUTS = st.sampled_from(
    [lambda array: array, numpy.transpose, lambda array: array[..., ::2] if array.ndim else array]
)
TENSORS = st.builds(lambda array, layout: layout(array), ARRAYS, LAYOUTS)
STATES = st.dictionaries(KEYS, VALUES, max_size=5)
TENSOR_STATES = st.dictionaries(KEYS, VALUES | TENSORS, max_size=5)

EXAMPLES = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def texts(value):
    """All text in a value, keys of dicts and all."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in inner:
        yield from texts(item)


def scalars(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return [value]
    return [scalar for item in inner for scalar in scalars(item)]


def json_can_hold(key, value):
    """RFC 8259: no NaN or infinities, and two escapes of a pair of surrogates are one character."""
    numbers = [scalar for scalar in scalars(value) if isinstance(scalar, float)]
    pairs = any(re.search("[\ud800-\udbff][\udc00-\udfff]", text) for text in [key, *texts(value)])
    return all(map(math.isfinite, numbers)) and not pairs


def toml_can_hold(key, value):
    """TOML 1.0: no null, and only Unicode scalar values."""
    surrogates = any(re.search("[\ud800-\udfff]", text) for text in [key, *texts(value)])
    return None not in scalars(value) and not surrogates


def header_can_hold(key):
    return key != "__metadata__" and not re.search("[\ud800-\udfff]", key)


def unfit(state, can_hold):
    """The keys that a file must refuse."""
    return [
        key
        for key, value in state.items()
        if not (header_can_hold(key) if isinstance(value, numpy.ndarray) else can_hold(key, value))
    ]


def exact(state):
    """Types, signs, bits and the order in dicts; the order of the keys of the state is the file's to choose."""
    return {
        key: (value.dtype.name, value.shape, value.astype(value.dtype.newbyteorder("<")).tobytes())
        if isinstance(value, numpy.ndarray)
        else repr(value)
        for key, value in state.items()
    }


def check(path, state, can_hold):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    refusals = unfit(state, can_hold)
    if refusals:
        with pytest.raises(StateFileError) as caught:
            mf.save(state, path)
        assert any(repr(key)[1:-1] in str(caught.value) for key in refusals) and not path.exists()
    else:
        mf.save(state, path)
        assert exact(mf.load(path)) == exact(state)


@given(STATES)
@EXAMPLES
@example({"k": CONTROL, CONTROL: [CONTROL, {CONTROL: CONTROL}], "lone": "\udfff\ud800"})
def test_any_state_comes_back_from_json(tmp_path, state):
    check(tmp_path / "s.json", state, json_can_hold)


@given(STATES)
@EXAMPLES
@example(
    {"k": CONTROL, CONTROL: [CONTROL, {CONTROL: CONTROL}], "x." * 40: 1, "y" * 6000: 2, "1" * 6000: {"1" * 6000: 3}}
)
def test_any_state_comes_back_from_toml(tmp_path, state):
    check(tmp_path / "s.toml", state, toml_can_hold)


@given(TENSOR_STATES)
@EXAMPLES
@example({"k": CONTROL, CONTROL: numpy.zeros(()), "": numpy.zeros((0, 2), bool), "__metadata__": {"a": None}})
def test_any_state_comes_back_from_safetensors(tmp_path, state):
    check(tmp_path / "s.safetensors", state, json_can_hold)


@given(TENSOR_STATES)
@EXAMPLES
@example({"k": CONTROL, CONTROL: numpy.zeros(()), "": numpy.zeros((0, 2), bool), "msgflow": 1, "x." * 40: 1})
def test_any_state_comes_back_from_a_folder(tmp_path, state):
    check(tmp_path / "folder", state, toml_can_hold)


@pytest.mark.parametrize("name", ["s.safetensors", "folder"])
@given(TENSOR_STATES, TENSOR_STATES)
@settings(EXAMPLES, max_examples=20)
@example({"a.b": 1}, {"a." * depth: depth for depth in (30, 62, 63, 64, 200)})
def test_any_state_takes_the_place_of_any_other(tmp_path, name, first, second):
    can_hold = toml_can_hold if name == "folder" else json_can_hold
    first, second = (
        {key: value for key, value in state.items() if key not in unfit(state, can_hold)} for state in (first, second)
    )
    for state in (first, second):
        mf.save(state, tmp_path / name)
        assert exact(mf.load(tmp_path / name)) == exact(state)
