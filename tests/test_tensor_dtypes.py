"""Types of numbers: numpy's rules for operands of two types, and 16-bit floats that are computed in float32."""

import operator
import warnings
from enum import IntEnum
from itertools import product

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DTypeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture

TYPES = ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"]
NUMBERS = [2, 2.5, True]
OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
    *(operator.and_, operator.or_, operator.xor),
]
FUNCTIONS = ["maximum", "minimum", "logical_and", "logical_or", "logical_xor"]


def left(dtype):
    return np.array([1, 0, 1] if dtype == "bool" else [5, 2, 3]).astype(dtype)


def right(dtype):
    return np.array([1, 1, 0] if dtype == "bool" else [2, 3, 7]).astype(dtype)


def outcome(function, *operands):
    """The result as an array; None where the types cannot be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # division by 0, which is numpy's in both cases
        try:
            return np.asarray(function(*operands))
        except TypeError:
            return None


def assert_as_numpy(ours, numpys, tolerance=1e-7):
    if numpys is None:
        assert ours is None
        return
    # There is no int16, which numpy makes of int8 and uint8.
    assert ours.dtype == ("int32" if numpys.dtype == "int16" else numpys.dtype)
    np.testing.assert_allclose(ours.astype("float64"), numpys.astype("float64"), rtol=tolerance)


@pytest.mark.parametrize("function", [*OPERATORS, *FUNCTIONS], ids=lambda given: getattr(given, "__name__", given))
def test_two_types_meet_as_in_numpy(function):
    ours, numpys = (getattr(mt, function), getattr(np, function)) if isinstance(function, str) else (function, function)
    for one, other in product(TYPES, TYPES):
        x, y = left(one), right(other)
        # Of two float16, numpy rounds each step of a power and a remainder, and we the result.
        tolerance = 2e-3 if "float16" in (one, other) else 1e-7
        assert_as_numpy(outcome(ours, mt.tensor(x), mt.tensor(y)), outcome(numpys, x, y), tolerance)
        assert_as_numpy(outcome(ours, mt.tensor(x), y), outcome(numpys, x, y), tolerance)
    for dtype, number in product(TYPES, NUMBERS):
        x, tolerance = left(dtype), 2e-3 if dtype == "float16" else 1e-7
        assert_as_numpy(outcome(ours, mt.tensor(x), number), outcome(numpys, x, number), tolerance)
        assert_as_numpy(outcome(ours, number, mt.tensor(x)), outcome(numpys, number, x), tolerance)


@pytest.mark.parametrize("function", [*OPERATORS, *FUNCTIONS], ids=lambda given: getattr(given, "__name__", given))
def test_the_bare_standard_gives_what_numpy_gives_where_it_gives_anything(backend, function):  # noqa: F811 # the fixture
    ours, numpys = (getattr(mt, function), getattr(np, function)) if isinstance(function, str) else (function, function)
    types = [dtype for dtype in TYPES if dtype != "float16"]
    for one, other in product(types, [*types, *NUMBERS]):
        x, y = left(one), right(other) if isinstance(other, str) else other
        given = outcome(ours, backend(x), backend(y) if isinstance(other, str) else y)
        # The standard has no arithmetic with bools; and numpy makes int8 of the square of one, but int64 of its cube.
        if given is not None and (function, one) != (operator.pow, "bool"):
            assert_as_numpy(given, outcome(numpys, x, y))


def test_where_is_of_the_types_that_it_chooses_from(backend):  # noqa: F811 # the fixture
    condition = backend(np.array([True, False]))
    ints, floats = backend(np.array([1, 2], "int32")), backend(np.array([0.5, 1.5], "float32"))
    assert mt.where(condition, ints, floats).dtype is mt.float64
    assert mt.where(condition, floats, 0).dtype is mt.float32
    assert mt.where(condition, 2, ints).tolist() == [2, 2]
    assert [mt.where(condition, x, y).dtype for x, y in [(1.0, 0), (1, 0), (True, False)]] == [
        mt.float32,
        mt.int64,
        mt.bool,
    ]
    assert mt.where(ints - 1, 1.5, 0.5).tolist() == [0.5, 1.5]


@pytest.mark.parametrize("function", ["exp", "log1p", "sqrt", "rsqrt", "sin", "tanh", "erf", "gelu", "sigmoid", "silu"])
def test_functions_of_integers_are_float64(backend, function):  # noqa: F811 # the fixture
    expected = getattr(mt, function)(mt.tensor([1, 1, 1], mt.float64))
    for dtype in ["int64", "int8", "uint8", "bool"]:
        given = getattr(mt, function)(backend(np.array([1, 1, 1]).astype(dtype)))
        assert given.dtype is mt.float64
        np.testing.assert_allclose(given, expected, rtol=1e-15)


def test_integers_overflow_as_in_numpy():
    assert (mt.tensor([100], dtype="int8") + mt.tensor([100], dtype="int8")).tolist() == [-56]
    assert (mt.tensor([200], dtype="uint8") * 2).tolist() == [144]
    assert (mt.tensor([2**62]) * 2).tolist() == [-(2**63)]
    with pytest.raises(DTypeError, match="300"):
        mt.tensor([100], dtype="int8") + 300


def test_whole_numbers_are_divided_and_rounded_down_as_in_python():
    x, y = mt.tensor([7, -7, 7, -7]), mt.tensor([2, 2, -2, -2])
    assert (x // y).tolist() == [3, -4, -4, 3] and (x % y).tolist() == [1, 1, -1, -1]
    assert (x / y).tolist() == [3.5, -3.5, -3.5, 3.5] and (x / y).dtype is mt.float64


def test_an_integer_to_a_negative_integer_power_says_so():
    with pytest.raises(DTypeError, match=r"power of int64.*negative integer power"):
        mt.tensor([2]) ** -1


def test_pythons_and_numpys_numbers_of_other_classes_are_numbers():
    class Level(IntEnum):
        HIGH = 3

    x = mt.tensor([1.0, 2.0])
    assert (x * Level.HIGH).tolist() == [3, 6] and (x * Level.HIGH).dtype is mt.float32
    assert (x * np.float32(3)).dtype is mt.float32
    assert (x * np.float64(3)).dtype is mt.float64  # as in numpy, whose scalars have types


def half_way_cases():
    """float32 numbers at, and next to, the middle between two of bfloat16; and the ends of the scale."""
    upper = np.array([0x0000, 0x0001, 0x007F, 0x3F80, 0x3F81, 0x7F7E, 0x7F7F], "uint32")
    lower = np.array([0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF], "uint32")
    bits = (upper[:, None] << 16 | lower).reshape(-1)
    return np.concatenate([bits, bits | 0x80000000]).view("float32")


def test_bfloat16_is_rounded_to_the_nearest_and_to_even(backend):  # noqa: F811 # the fixture
    numbers = half_way_cases()
    rounded = backend(numbers).to(mt.bfloat16).to_numpy().astype("float64")
    for number, found in zip(numbers, rounded, strict=True):
        bits = int(number.view("uint32")) & 0xFFFF0000
        toward_zero, away = (
            np.array(end, "uint32").view("float32").astype("float64") for end in (bits, bits + 0x10000)
        )
        away = away if np.isfinite(away) else np.copysign(2.0**128, float(number))  # the next one, were there one
        even, odd = (toward_zero, away) if not bits & 0x10000 else (away, toward_zero)
        nearest = even if abs(even - float(number)) <= abs(odd - float(number)) else odd
        assert found == (nearest if abs(nearest) < 2.0**128 else np.copysign(np.inf, float(number)))


def test_bfloat16_keeps_infinities_nans_and_zeros(backend):  # noqa: F811 # the fixture
    nans = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0xFF800001], "uint32").view("float32")
    assert np.isnan(backend(nans).to(mt.bfloat16).to_numpy()).all()
    kept = backend(np.array([np.inf, -np.inf, -0.0], "float32")).to(mt.bfloat16).to_numpy()
    assert kept.tolist() == [np.inf, -np.inf, 0.0] and np.signbit(kept[2])


def test_every_bfloat16_comes_back_from_float32(backend):  # noqa: F811 # the fixture
    every = np.arange(2**16, dtype="uint32")
    numbers = (every << 16).view("float32")
    again = backend(numbers).to(mt.bfloat16).to(mt.float32).to_numpy()
    np.testing.assert_array_equal(again, numbers)


def test_bfloat16_is_computed_in_float32_and_rounded_once(backend):  # noqa: F811 # the fixture
    rng = np.random.default_rng(0)
    x, w = (backend(rng.standard_normal(shape).astype("float32")).to(mt.bfloat16) for shape in [(4, 300), (300, 3)])
    wide = x.to(mt.float32), w.to(mt.float32)
    for function in [
        mt.matmul,
        lambda x, w: (x + 1.5) * w.mT[:1],
        lambda x, w: mt.gelu(x).mean(),
        lambda x, w: x.sum(1),
    ]:
        given = function(x, w)
        assert given.dtype is mt.bfloat16
    np.testing.assert_array_equal((x @ w).to_numpy(), (wide[0] @ wide[1]).to(mt.bfloat16).to_numpy())
    assert (x + backend(np.array([1], "int8"))).dtype is mt.bfloat16
    assert (x + backend(np.array([1], "int32"))).dtype is mt.float64
    assert (x > 0).dtype is mt.bool and x.argmax().dtype is mt.int64


def test_float16_and_bfloat16_meet_in_float32():
    met = mt.ones(2, mt.float16) + mt.ones(2, mt.bfloat16)
    assert met.dtype is mt.float32 and met.tolist() == [2, 2]
    assert (mt.ones(2, mt.float16) + mt.ones(2, mt.bfloat16) + mt.ones(2, mt.int64)).dtype is mt.float64


def test_float16_products_and_sums_are_of_float32():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 4096)).astype("float16"), rng.standard_normal((4096, 8)).astype("float16")
    exact = x.astype("float64") @ w.astype("float64")
    given = (mt.tensor(x) @ mt.tensor(w)).to_numpy()
    assert given.dtype == "float16"
    # Half a unit in the last place is the rounding of the result; what float32 adds is a thousandth of that.
    assert np.all(np.abs(given - exact) <= np.spacing(np.abs(exact).astype("float16")).astype("float64") * 0.51)
    assert mt.full((4096,), 16, mt.float16).mean().item() == 16  # their sum, 65536, is no float16


def test_16_bit_floats_have_gradients_of_their_type(backend):  # noqa: F811 # the fixture
    x = backend(np.array([[0.5, -2.0], [1.5, 3.0]], "float32")).to(mt.bfloat16).requires_grad_()
    (mt.relu(x @ x).sum() * 2 + (x * 3).max()).backward()
    assert x.grad.dtype is mt.bfloat16
    # 2 (G xT + xT G), where G marks what is above 0 in x x = [[-2.75, -7], [5.25, 6]]; and 3 for the largest.
    assert x.grad.tolist() == [[3, 3], [3, 15 + 3]]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *(
            ("fp16", "float16"),
            ("bf16", "bfloat16"),
            ("torch.int64", "int64"),
            ("mt.byte", "uint8"),
            (mt.half, "float16"),
        ),
        *((float, "float32"), (int, "int64"), (bool, "bool"), (np.int8, "int8"), (np.dtype("float64"), "float64")),
    ],
)
def test_types_go_by_many_names(given, meant):
    assert repr(mt.zeros(1, given).dtype) == f"mt.{meant}"


def test_the_package_has_the_types_under_their_names():
    assert (mt.fp32, mt.fp16, mt.bf16, mt.byte) == (mt.float32, mt.float16, mt.bfloat16, mt.uint8)
    assert (mt.double, mt.float, mt.half, mt.long, mt.int, mt.bool) == (
        *(mt.float64, mt.float32, mt.float16, mt.int64, mt.int32),
        mt.bool_,
    )
    assert [mt.bfloat16.itemsize, mt.int8.itemsize, mt.bool.is_floating, mt.bf16.is_floating] == [2, 1, False, True]


@pytest.mark.parametrize("given", ["complex64", "uint16", np.uint16, "nonsense", 3, np.array([1])], ids=repr)
def test_a_type_that_there_is_not_is_refused_with_those_that_there_are(given):
    with pytest.raises(DTypeError, match="float64, float32, float16, bfloat16, int64, int32, int8, uint8, bool"):
        mt.zeros(2, given)
