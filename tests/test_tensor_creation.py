"""New tensors: of numbers, of arrays, of one number, and random ones that a seed repeats."""

import math
from array import array

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DeviceError, DTypeError, ShapeError
from tests.tensor_backends import backend, gpu  # noqa: F401 # a fixture


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        *(
            (1.5, "float32"),
            (2, "int64"),
            (True, "bool"),
            ([1.0, 2.0], "float32"),
            ([[1, 2]], "int64"),
            ([], "float32"),
        ),
        *((np.float64(1), "float64"), (np.ones(2), "float64"), (np.ones(2, ">f4"), "float32"), (range(3), "int64")),
        *((array("f", [1, 2]), "float32"), (np.ones(2, "float16"), "float16"), ([np.float32(1)], "float32")),
    ],
)
def test_pythons_floats_are_float32_and_arrays_keep_their_type(data, dtype):
    made = mt.tensor(data)
    assert made.dtype.name == dtype and made.tolist() == np.asarray(data).tolist()


def test_a_type_that_is_asked_for_is_given_without_a_detour():
    assert mt.tensor([0.1], dtype="float64").item() == 0.1
    assert mt.tensor(2**53 + 1, dtype=mt.int64).item() == 2**53 + 1
    assert mt.tensor([1, 2], dtype=mt.bf16).dtype is mt.bfloat16


def test_a_tensor_has_a_copy_of_its_data(backend):  # noqa: F811 # the fixture
    numbers = np.zeros(2)
    made = mt.tensor(numbers)
    numbers[0] = 1
    assert made.tolist() == [0, 0]
    x = backend(np.ones(2), requires_grad=True)
    again = mt.tensor(x, "float32", requires_grad=True)
    assert again is not x and again.is_leaf and again.requires_grad and x.requires_grad and again.dtype is mt.float32
    assert mt.tensor(x.array).tolist() == [1, 1] and not mt.tensor(x).requires_grad
    assert mt.tensor(nn.Parameter(x)).tolist() == [1, 1]


@pytest.mark.parametrize("data", ["text", None, [1, "a"], [None], 1j, object, {"a": 1}, [1, 2**70]], ids=repr)
def test_what_holds_no_numbers_is_refused(data):
    with pytest.raises(DTypeError, match="made of numbers, not of"):
        mt.tensor(data)


def test_lists_of_unequal_lengths_and_foreign_types_are_refused():
    with pytest.raises(ShapeError, match="unequal lengths"):
        mt.tensor([[1, 2], [3]])
    for name in ["uint16", "int16", "uint64"]:
        with pytest.raises(DTypeError, match=f"cannot hold {name}"):
            mt.tensor(np.ones(2, name))


def test_zeros_ones_and_full_have_a_shape_and_a_type():
    assert mt.zeros((2, 2)).tolist() == [[0, 0], [0, 0]] and mt.zeros(3).dtype is mt.float32
    assert mt.ones((1, 2), "int8").tolist() == [[1, 1]] and mt.ones((), mt.bf16).item() == 1
    assert [mt.full(2, value).dtype for value in (1.5, 7, True)] == [mt.float32, mt.int64, mt.bool]
    assert mt.full([2], -2, mt.bf16).tolist() == [-2, -2] and mt.full((0,), 1.0).shape == (0,)
    assert mt.empty((2, 3)).from_numpy(np.ones((2, 3))).tolist() == [[1] * 3] * 2
    assert all(make(1, requires_grad=True).requires_grad for make in (mt.zeros, mt.ones, mt.empty))
    assert mt.full(1, 2.0, requires_grad=True).requires_grad


@pytest.mark.parametrize("shape", [-1, (2, -3), (1.5,), "ab", None], ids=repr)
def test_what_is_no_shape_is_refused(shape):
    for make in (mt.zeros, mt.ones, lambda shape: mt.full(shape, 2)):
        with pytest.raises(ShapeError, match="is no shape, which is whole numbers from 0"):
            make(shape)


@pytest.mark.parametrize(
    ("given", "dtype"), [((5,), "int64"), ((1, 7, 2), "int64"), ((0, 1, 0.25), "float32"), ((5, 0, -2), "int64")]
)
def test_arange_is_numpys(given, dtype):
    made = mt.arange(*given)
    assert made.tolist() == np.arange(*given).tolist() and made.dtype.name == dtype
    assert mt.arange(*given, dtype=mt.float16).dtype is mt.float16


def test_the_diagonal_is_one():
    assert mt.eye(2).tolist() == [[1, 0], [0, 1]] and mt.eye(1, 2, mt.bf16).tolist() == [[1, 0]]
    with pytest.raises(ShapeError, match="eye: -1 is no shape"):
        mt.eye(-1)


def test_a_range_needs_steps():
    with pytest.raises(ShapeError, match="the step is 0"):
        mt.arange(0, 5, 0)


def test_zeros_and_ones_like_a_tensor(backend):  # noqa: F811 # the fixture
    x = backend(np.full((2, 3), 7, "int32"))
    assert mt.zeros_like(x).tolist() == [[0] * 3] * 2 and mt.ones_like(x).dtype is mt.int32
    assert type(mt.ones_like(x).array) is type(x.array)
    assert mt.ones_like(x, mt.bf16).dtype is mt.bfloat16
    assert mt.zeros_like(mt.ones(2, mt.bf16)).tolist() == [0, 0] and mt.ones_like(mt.zeros(2, mt.bf16)).tolist() == [
        1,
        1,
    ]
    assert not mt.zeros_like(mt.ones(2, requires_grad=True)).requires_grad


def test_a_seed_repeats_all_that_is_random():
    mt.manual_seed(7)
    first = [mt.normal((2, 2)).tolist(), mt.glorot_uniform((3, 2)).tolist(), mt.uniform(3, mt.float64).tolist()]
    mt.manual_seed(7)
    assert first == [mt.normal((2, 2)).tolist(), mt.glorot_uniform((3, 2)).tolist(), mt.uniform(3, mt.float64).tolist()]
    assert first != [mt.normal((2, 2)).tolist(), mt.glorot_uniform((3, 2)).tolist(), mt.uniform(3, mt.float64).tolist()]


def test_16_bit_floats_are_those_of_float32_rounded():
    for dtype in [mt.float16, mt.bfloat16]:
        mt.manual_seed(0)
        wide = mt.normal((3, 3)).to(dtype)
        mt.manual_seed(0)
        assert mt.normal((3, 3), dtype).tolist() == wide.tolist()


def test_random_numbers_have_the_moments_and_bounds_asked_for():
    mt.manual_seed(0)
    drawn = mt.normal(40_000, mt.float64, mean=3.0, std=2.0).to_numpy()
    # The standard error of the mean is 0.01, of the deviation 0.007.
    assert abs(drawn.mean() - 3) < 0.05 and abs(drawn.std() - 2) < 0.035
    drawn = mt.uniform(40_000, low=-1.0, high=3.0).to_numpy()
    assert drawn.dtype == "float32" and drawn.min() >= -1 and drawn.max() <= 3
    assert abs(drawn.mean() - 1) < 0.03 and drawn.min() < -0.99 and drawn.max() > 2.99


@pytest.mark.parametrize("shape", [(300, 200), (20, 30, 5, 7)])
@pytest.mark.parametrize("name", ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"])
def test_initialisers_have_the_variance_that_the_fans_give(name, shape):
    mt.manual_seed(0)
    drawn = getattr(mt, name)(shape, mt.float64).to_numpy()
    kernel = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * kernel, shape[0] * kernel
    variance = 4 / (fan_in + fan_out) / 2 if name.startswith("glorot") else 2 / fan_in
    assert drawn.var() == pytest.approx(variance, rel=0.05)
    if name.endswith("uniform"):
        assert np.abs(drawn).max() <= math.sqrt(3 * variance) and np.abs(drawn).max() > 0.99 * math.sqrt(3 * variance)


def test_weights_have_two_axes_and_random_numbers_are_floats():
    with pytest.raises(ShapeError, match=r"he_normal.*\(3,\).*at least two axes, \(out, in\)"):
        mt.he_normal((3,))
    with pytest.raises(DTypeError, match="normal gives floats, not int8"):
        mt.normal((3,), mt.int8)
    assert mt.glorot_uniform((0, 0)).shape == (0, 0) and mt.normal(()).shape == mt.uniform(()).shape == ()
    assert mt.Tensor.of(np.float32(2)).shape == ()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "tpu:0", ""])
def test_a_device_that_there_is_not_is_named_with_those_that_there_are(device):
    with pytest.raises(DeviceError, match=r"no device.*'cpu', 'cuda'"):
        mt.zeros(1, device=device)


def test_a_gpu_that_is_not_there_says_what_is_missing():
    if gpu() is None:
        pytest.skip("there is one")
    with pytest.raises(DeviceError, match=r"pip install 'msgflow\[gpu\]'|driver"):
        mt.ones(1).cuda()


WITHOUT_A_SHAPE = {
    "normal": lambda: mt.normal((-1, 2)),
    "uniform": lambda: mt.uniform("text"),
    "zeros": lambda: mt.zeros((2.5,)),
    "zeros of too many axes": lambda: mt.zeros((1,) * 70),
    "arange to nan": lambda: mt.arange(float("nan")),
    "arange to infinity": lambda: mt.arange(float("inf")),
    "arange beyond int64": lambda: mt.arange(2**70, 2**70 + 2),
}


@pytest.mark.parametrize("make", WITHOUT_A_SHAPE.values(), ids=WITHOUT_A_SHAPE)
def test_what_is_no_shape_is_a_shape_error_that_names_the_function(make, request):
    with pytest.raises(ShapeError, match=request.node.callspec.id.partition(" ")[0]):
        make()
