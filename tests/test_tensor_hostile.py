"""Numbers, arrays and keys as nobody should give them: a clear error, or the right numbers."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, GradientError, NotJson, ShapeError, TensorError
from msgflow.flow import IfElse, Inline, Switch

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    "taken",
    [
        lambda: mt.tensor(MASKED),
        lambda: mt.ones(2) + MASKED,
        lambda: MASKED * mt.ones(2),
        lambda: mt.ones(2).from_numpy(MASKED),
        lambda: mt.mse_loss(mt.ones(2), MASKED),
    ],
)
def test_a_masked_array_does_not_lose_its_mask_silently(taken):
    with pytest.raises(DTypeError, match="a tensor has no mask"):
        taken()


@pytest.mark.parametrize("number", [2**64, -(2**70), 10**400])
@pytest.mark.parametrize(
    "operation",
    [
        lambda x, number: x + number,
        lambda x, number: number - x,
        lambda x, number: x.clip(0, number),
        lambda x, number: x.masked_fill(x > 1, number),
        lambda x, number: mt.pad(x, [(1, 1)], number),
    ],
)
def test_a_whole_number_that_the_type_does_not_have_is_refused_by_name(operation, number):
    with pytest.raises(DTypeError, match=r"(add|subtract|clip|where|pad) of int64"):
        operation(mt.arange(3), number)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_number_too_large_for_floats_is_refused(requires_grad):
    with pytest.raises(DTypeError, match="add of float32: int too large"):
        mt.ones(2, requires_grad=requires_grad) + 10**400


def test_a_number_out_of_range_of_a_small_type_is_refused_and_compared_all_the_same():
    small = mt.tensor([1, 2], dtype=mt.uint8)
    with pytest.raises(DTypeError, match="add of uint8"):
        small + 300
    assert (small < 300).tolist() == [True, True]


class Lies:
    def __array__(self, dtype=None, copy=None):
        return [1, 2]


@pytest.mark.parametrize(
    "data",
    [
        "text",
        b"bytes",
        None,
        [None, 1.0],
        {1: 2},
        {1, 2},
        1j,
        2**64,
        (number for number in range(3)),
        Lies(),
        np.zeros(2, dtype=[("field", "f4")]),
        np.array(["a"]),
        np.int16(2),
        np.ones(2, "uint16"),
        np.array("2026-01-01", "datetime64[D]"),
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_holds_no_numbers_makes_no_tensor(data):
    with pytest.raises((DTypeError, ShapeError)):
        mt.tensor(data)


def test_lists_that_are_too_deep_or_contain_themselves_make_no_tensor():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    endless = []
    endless.append(endless)
    for data in (deep, endless):
        with pytest.raises(ShapeError):
            mt.tensor(data)


@pytest.mark.parametrize("shape", [(-1, 2), (1.5,), "ab", None, (10**20,), (1,) * 65])
def test_what_is_no_shape_is_refused(shape):
    for make in (mt.zeros, mt.ones, mt.empty):
        with pytest.raises(ShapeError):
            make(shape)


def test_a_tensor_larger_than_any_memory_is_refused():
    with pytest.raises(MemoryError):
        mt.zeros((10**9, 10**9))


def test_64_axes_are_computed_with_and_one_more_is_refused():
    x = mt.ones((1,) * 64, requires_grad=True)
    (x * 2).sum().backward()
    assert (x @ x.mT).ndim == 64
    assert x.grad.sum().item() == 2
    for more in (lambda: x.unsqueeze(0), lambda: mt.stack([x]), lambda: x[None]):
        with pytest.raises(ShapeError):
            more()


@pytest.mark.parametrize(
    "key", ["a", 1.0, 2**70, -(2**70), slice(None, None, 0), slice("a", None), (0, 0), {0: 1}, np.array([0.0])]
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_is_no_key_is_refused(key, requires_grad):
    with pytest.raises(TensorError):
        mt.ones(3, requires_grad=requires_grad)[key]


@pytest.mark.parametrize("function", [mt.softmax, mt.log_softmax, mt.layernorm, mt.rmsnorm, mt.relu, mt.normalize])
def test_no_rows_and_no_columns_give_none_and_a_gradient_of_none(function):
    for shape in [(0, 3), (3, 0)]:
        x = mt.zeros(shape, requires_grad=True)
        function(x).sum().backward()
        assert x.grad.shape == shape


# --- in files --------------------------------------------------------------------------------------------------------

GRID = np.arange(24, dtype="float32").reshape(4, 6)
ODD = {
    "reversed": GRID[::-1, ::-2],
    "fortran": np.asfortranarray(GRID),
    "transposed": GRID.T,
    "big-endian": GRID.astype(">f4"),
    "big-endian half": GRID.astype(">f2"),
    "big-endian whole": np.arange(3).astype(">i8"),
    "broadcast": np.broadcast_to(np.float32(1), (2, 3)),
    "no axes": np.array(3.0),
    "empty": np.zeros((0, 3), "float32"),
    "bools": (GRID > 3)[:, ::2],
    "not finite": np.array([np.nan, np.inf, -np.inf, -0.0]),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", ["state", "state.safetensors"])
def test_arrays_of_any_order_are_saved_and_loaded_as_their_numbers(tmp_path, name, place):
    array = ODD[name]
    given = {
        "array": array,
        "tensor": mt.tensor(array),
        "view": mt.tensor(array).T,
        "half": mt.tensor(array).to(dtype="bf16"),
    }
    mf.save(given, tmp_path / place)
    found = mf.load(tmp_path / place)
    for key, value in given.items():
        there = found[key]
        np.testing.assert_array_equal(np.asarray(there), np.asarray(value))
        assert np.asarray(there).shape == value.shape


def test_a_read_only_and_a_mapped_array_are_copied(tmp_path):
    mapped = np.memmap(tmp_path / "numbers", dtype="float32", mode="w+", shape=(3,))
    mapped[:] = 5
    made = mt.tensor(mapped)
    mapped[:] = 6
    read_only = GRID[0].copy()
    read_only.flags.writeable = False
    assert made.tolist() == [5, 5, 5]
    assert (mt.tensor(read_only) + 1).tolist() == (read_only + 1).tolist()


def test_what_is_done_to_a_loaded_state_and_to_a_saved_one_never_reaches_the_module():
    linear = nn.Linear(2, 1)
    ours = np.ones((1, 2), "float32")
    linear.load_state_dict({"weight": ours, "bias": np.zeros(1, "float32")})
    ours[:] = 7
    state = linear.state_dict()
    state["weight"].from_numpy(np.full((1, 2), 8.0))
    linear.weight.to_numpy()[:] = 9
    assert linear.weight.tolist() == [[1.0, 1.0]]


def test_a_module_with_tensors_is_the_same_in_another_process(tmp_path):
    module = nn.Sequential(nn.LoRA(nn.Linear(2, 2, dtype=mt.bfloat16), rank=1))
    (tmp_path / "module").write_bytes(pickle.dumps(module))
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).digest())"
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "module")], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == module.digest()


# --- where something else is expected --------------------------------------------------------------------------------


def test_a_tensor_is_no_json():
    for put in (lambda: nn.Parameter([mt.ones(2)]), lambda: nn.Identity().register_buffer("b", {"x": mt.ones(2)})):
        with pytest.raises(NotJson, match="give it a name of its own"):
            put()
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"x": mt.ones(2)})


def test_conditions_on_several_numbers_say_what_to_ask_instead():
    x = mt.tensor([1.0, -1.0])
    for flow in (IfElse(lambda x: x > 0, nn.ReLU()), Switch({1: nn.ReLU()}, key=lambda x: x)):
        with pytest.raises(ShapeError, match=r"use mt\.any or mt\.all"):
            flow(x)
    assert IfElse(lambda x: (x > 0).any(), nn.ReLU())(x).tolist() == [1.0, 0.0]
    assert Switch({0: nn.ReLU(), 1: nn.Tanh()}, key=lambda x: x.argmax())(x).tolist() == [1.0, 0.0]


def test_a_condition_in_an_inline_flow_takes_a_tensor_of_one_number():
    def took(name):
        return nn.Function(lambda message: message.update(took=name))

    flow = Inline("{score > 0.5 ? a, b}", {"a": took("a"), "b": took("b")})
    assert [flow(mf.Message(score=mt.tensor(score)))["took"] for score in (0.7, 0.2)] == ["a", "b"]


@pytest.mark.parametrize(
    "value", [mt.ones(3), mt.ones(2, mt.float64), np.ones(3, "float32"), "text", 5.0, None, [1.0, 2.0]]
)
def test_a_parameter_of_a_tensor_takes_nothing_else(value):
    module = nn.Identity()
    module.weight = nn.Parameter(mt.zeros(2))
    with pytest.raises((DTypeError, ShapeError)):
        module.weight = value
    assert module.weight.tolist() == [0.0, 0.0]


def test_an_attribute_of_a_tensor_becomes_whatever_it_is_given():
    module = nn.Identity()
    kinds = []
    for value in (mt.ones(2), 5, mt.ones(3), "text", nn.Parameter("prompt"), nn.Linear(1, 1), mt.ones(1)):
        module.thing = value
        kinds.append(list(module.state_dict()))
    del module.thing
    assert kinds == [["thing"], [], ["thing"], [], ["thing"], ["thing.weight", "thing.bias"], ["thing"]]
    assert list(module.state_dict()) == []
    assert not hasattr(module, "thing")


def test_an_attribute_is_a_parameter_while_it_requires_a_gradient():
    module = nn.Identity()
    module.thing = mt.ones(2)
    found = []
    for requires_grad in (True, False, True):
        module.thing.requires_grad = requires_grad
        found.append([name for name, _ in module.named_parameters()])
    assert found == [["thing"], [], ["thing"]]
    with pytest.raises(GradientError):
        mt.arange(2).requires_grad_()
