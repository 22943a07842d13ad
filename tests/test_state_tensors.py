"""Tensors of modules in files: exact, bfloat16 included, and refused by name where a file holds none."""

import json

import numpy as np
import pytest
from safetensors.numpy import save

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import StateFileError
from msgflow.state import json_format, safetensors_format
from msgflow.state.arrays import NUMPY_TYPES, as_stored
from msgflow.state.digest import digest
from msgflow.state.values import split
from tests.tensor_backends import backend  # noqa: F401 # a fixture

PLACES = pytest.mark.parametrize("name", ["s.safetensors", "folder"])
TYPES = [mt.float64, mt.float32, mt.float16, mt.int64, mt.int32, mt.int8, mt.uint8, mt.bool]
# Numbers of bfloat16: one, a third, the smallest, minus zero, infinity, and a NaN with bits of its own.
BFLOAT16 = np.array([0x3F80, 0x3EAB, 0x0001, 0x8000, 0x7F80, 0x7FC1], "uint16")


def saved(path, state):
    mf.save(state, path)
    return mf.load(path)


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@PLACES
@pytest.mark.parametrize("dtype", TYPES, ids=repr)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
def test_a_tensor_comes_back_as_an_array_of_its_type_and_bits(tmp_path, name, dtype, shape):
    tensor = mt.tensor(np.arange(6)[: np.prod(shape, dtype=int)].reshape(shape) - 2).to(dtype)
    loaded = saved(tmp_path / name, {"prompt": "Hi", "w": tensor})["w"]
    assert type(loaded) is np.ndarray and (loaded.dtype.name, loaded.shape) == (dtype.name, shape)
    assert loaded.tobytes() == tensor.to_numpy().tobytes()


@PLACES
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0, 2)], ids=str)
def test_bfloat16_comes_back_to_the_bit_as_a_tensor(tmp_path, name, shape):
    bits = BFLOAT16[: np.prod(shape)].reshape(shape)
    loaded = saved(tmp_path / name, {"w": mt.Tensor.of(bits)})["w"]
    assert isinstance(loaded, mt.Tensor) and (loaded.dtype, loaded.shape) == (mt.bfloat16, shape)
    assert loaded.array.tobytes() == bits.tobytes()


def test_other_tools_find_bfloat16_by_its_name(tmp_path):
    mf.save({"w": mt.Tensor.of(BFLOAT16)}, tmp_path / "s.safetensors")
    assert header(tmp_path / "s.safetensors") == {"w": {"dtype": "BF16", "shape": [6], "data_offsets": [0, 12]}}


def test_the_bytes_are_those_that_the_library_of_safetensors_writes():
    arrays = {f'\u00e9 "{n}\n{k}': np.arange(k).astype(n) for n in NUMPY_TYPES.values() for k in (0, 3)}
    text = {"prompt": 'Say "hi"\n\u00e9'}
    expected = save(arrays, {"msgflow.state": json_format.dumps(text)})
    assert safetensors_format.dumps(split(text | arrays)) == expected
    assert safetensors_format.dumps(split({})) == save({})


@PLACES
def test_a_module_of_text_and_tensors_is_loaded_from_its_file(tmp_path, name):
    module, twin = nn.Module(), nn.Module()
    for part, number in ((module, 1.0), (twin, 0.0)):
        part.prompt = nn.Parameter(str(number))
        part.weight = nn.Parameter(mt.tensor([number] * 3, mt.bfloat16))
        part.scale = mt.tensor([number])
        part.register_buffer("ids", mt.tensor([int(number)]))
    twin.load_state_dict(saved(tmp_path / name, module.state_dict()))
    assert twin.digest() == module.digest() == digest(mf.load(tmp_path / name)) and twin.weight.requires_grad
    assert (twin.prompt, twin.weight.tolist(), twin.scale.tolist(), twin.ids.tolist()) == ("1.0", [1] * 3, [1], [1])


def test_arrays_of_every_library_are_saved(tmp_path, backend):  # noqa: F811
    tensor = backend(np.arange(6, dtype="float32").reshape(2, 3)).T
    assert saved(tmp_path / "s.safetensors", {"w": tensor})["w"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_numbers_in_this_memory_are_not_copied_on_their_way():
    for tensor in (mt.zeros((2, 3)), mt.zeros(3, mt.bfloat16), mt.zeros(3, requires_grad=True)):
        assert np.shares_memory(as_stored(tensor, "w").array, tensor.array)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_text_file_refuses_a_tensor_by_its_key(tmp_path, suffix):
    with pytest.raises(StateFileError, match=r"'a\.w' is a tensor \(bfloat16, shape \(2, 3\)\).*\.safetensors.*folder"):
        mf.save({"fine": 1, "a.w": mt.zeros((2, 3), mt.bfloat16)}, tmp_path / f"s.{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_tensor_in_a_list_is_refused_with_its_place(tmp_path):
    with pytest.raises(TypeError, match=r"'heads'\[0\] is of type Tensor.*a name of its own"):
        mf.save({"heads": [mt.zeros(2)]}, tmp_path / "s.safetensors")
