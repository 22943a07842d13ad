"""mt.convert_state_dict: the same state in the tensors of another library."""

import sys

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DeviceError, DTypeError, MsgflowError, NotJson, TensorError
from tests.tensor_backends import gpu

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"]


def test_all_keys_stay_in_their_order_and_what_is_no_tensor_stays_what_it_is():
    state = {"z": "Be kind.", "w": mt.ones((2,)), "a": None, "n": 3, "examples": [{"q": "1", "a": True}]}
    converted = mt.convert_state_dict(state, "numpy")
    assert list(converted) == list(state)
    assert converted["w"].tolist() == [1, 1] and type(converted["w"]) is np.ndarray
    del converted["w"], state["w"]
    assert converted == state


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_goes_there_and_back(dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    there = mt.convert_state_dict({"a": array, "none": array[:0], "one": array[1, 2]}, "msgflow")
    assert {tensor.dtype.name for tensor in there.values()} == {dtype}
    back = mt.convert_state_dict(there, "numpy")
    assert [(value.dtype, value.tolist()) for value in back.values()] == [
        (np.dtype(dtype), value) for value in (array.tolist(), [], array[1, 2].tolist())
    ]


def test_bfloat16_becomes_float32_in_numpy_and_stays_bfloat16_here():
    state = {"w": mt.tensor([1.0, 1.0078125, -3e38], mt.bfloat16)}
    as_numpy = mt.convert_state_dict(state, "numpy")["w"]
    assert as_numpy.dtype == "float32" and as_numpy.tolist() == state["w"].tolist()
    kept = mt.convert_state_dict(state, "msgflow")["w"]
    assert kept.dtype is mt.bfloat16 and kept.tolist() == state["w"].tolist()


def test_dtype_converts_floating_point_numbers_and_no_others():
    state = {"w": np.array([1.5]), "h": mt.tensor([2.5], mt.float16), "ids": np.array([1]), "text": "hi"}
    converted = mt.convert_state_dict(state, "msgflow", dtype="bf16")
    assert [getattr(value, "dtype", None) for value in converted.values()] == [mt.bfloat16, mt.bfloat16, mt.int64, None]
    assert [value.tolist() for value in list(converted.values())[:3]] == [[1.5], [2.5], [1]]


def test_a_checkpoint_of_another_type_loads_after_it():
    layer, wide = nn.Linear(4, 3, dtype=mt.float16), nn.Linear(4, 3, dtype=mt.float64)
    with pytest.raises(MsgflowError, match="float64"):
        layer.load_state_dict(wide.state_dict())
    layer.load_state_dict(mt.convert_state_dict(wide.state_dict(), "msgflow", dtype=mt.float16))
    np.testing.assert_allclose(layer.weight.to_numpy(), wide.weight.to_numpy(), atol=1e-3)


def test_arrays_of_any_layout_and_byte_order_are_taken():
    array = np.arange(6.0).reshape(2, 3)
    state = {"turned": array.T, "skipped": array[:, ::2], "foreign": array.astype(">f8"), "scalar": array[1, 2]}
    for kind in ("numpy", "msgflow"):
        converted = mt.convert_state_dict(state, kind)
        assert [value.tolist() for value in converted.values()] == [value.tolist() for value in state.values()]
    assert converted["foreign"].dtype is mt.float64


def test_what_comes_out_is_a_copy(tmp_path):
    array, tensor = np.ones(3), mt.ones((3,))
    state = {"a": array, "t": tensor, "examples": [1]}
    for kind in ("numpy", "msgflow"):
        converted = mt.convert_state_dict(state, kind)
        if kind == "numpy":
            converted["a"][:] = converted["t"][:] = 5
        else:
            converted["t"].from_numpy(np.zeros(3))
        converted["examples"].append(2)
        array[0] += 1
        assert converted["a"].tolist()[0] != array[0] and tensor.tolist() == [1, 1, 1]
        assert state["examples"] == [1]
        array[0] -= 1


def test_parameters_are_converted_as_what_they_hold():
    layer = nn.Linear(2, 2)
    layer.prompt = nn.Parameter("Be kind.")
    converted = mt.convert_state_dict(dict(layer.named_parameters()), "numpy")
    assert converted["weight"].tolist() == layer.weight.tolist() and converted["prompt"] == "Be kind."


def test_arrays_of_the_standard_are_taken():
    xp = pytest.importorskip("array_api_strict", reason="pip install array-api-strict: arrays of the bare standard")
    state = {"w": xp.asarray([1.0, 2.0]), "ids": xp.asarray([3])}
    assert mt.convert_state_dict(state, "numpy")["w"].tolist() == [1, 2]
    assert mt.convert_state_dict(state, "msgflow")["ids"].dtype is mt.int64


def test_a_state_of_text_and_tensors_goes_through_a_file(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    module.prompt = nn.Parameter("Route it.", "system_prompt")
    as_numpy = mt.convert_state_dict(module.state_dict(), "numpy")
    mf.save(as_numpy, tmp_path / "checkpoint.safetensors")
    before = module.digest()
    module.load_state_dict(mf.load(tmp_path / "checkpoint.safetensors"))
    assert module.digest() == before


@pytest.mark.parametrize("kind", ["foo", "", None, 5, ["numpy"]])
def test_another_kind_is_refused_by_name(kind):
    with pytest.raises(DTypeError, match="there are numpy, torch, cupy, msgflow") as caught:
        mt.convert_state_dict({}, kind)
    assert repr(kind) in str(caught.value)


@pytest.mark.parametrize("dtype", ["int64", bool, "float99"])
def test_only_floating_point_types_are_converted_to(dtype):
    with pytest.raises(DTypeError):
        mt.convert_state_dict({}, "numpy", dtype=dtype)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros(2, "complex64"), "complex64"),
        (np.zeros(2, "uint16"), "uint16"),
        (np.array(["text"]), "str"),
        (np.array([object()]), "object"),
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (object(), "object"),
        ({"nested": np.zeros(2)}, "ndarray"),
        (np.ma.masked_array([1.0], [True]), "MaskedArray"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_value_that_no_state_has_is_refused_with_its_key(value, reason):
    with pytest.raises((DTypeError, NotJson), match=rf"encoder\.weight.*{reason}"):
        mt.convert_state_dict({"prompt": "hi", "encoder.weight": value}, "msgflow")


def test_what_is_no_mapping_is_refused():
    with pytest.raises(DTypeError, match="a mapping of keys to values, not list"):
        mt.convert_state_dict([("a", 1)], "numpy")


def test_without_torch_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TensorError, match="pip install torch"):
        mt.convert_state_dict({"w": mt.ones((2,))}, "torch")


def test_without_a_gpu_the_error_says_what_is_missing():
    if not gpu():
        pytest.skip("there is a GPU, and cupy")
    with pytest.raises(DeviceError, match="cuda"):
        mt.convert_state_dict({"w": mt.ones((2,))}, "cupy")


@pytest.mark.gpu
def test_tensors_go_to_cupy_and_back():
    if reason := gpu():
        pytest.skip(reason)
    import cupy

    state = {"w": mt.tensor([1.0, 2.0]), "b": mt.tensor([0.5], mt.bfloat16), "text": "hi"}
    there = mt.convert_state_dict(state, "cupy")
    assert isinstance(there["w"], cupy.ndarray) and there["b"].dtype == "float32" and there["text"] == "hi"
    assert mt.convert_state_dict(there, "numpy")["w"].tolist() == [1, 2]
    assert mt.convert_state_dict(there, "msgflow")["b"].device == "cuda:0"
