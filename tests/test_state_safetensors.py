"""States as safetensors: tensors as they are, all else as text in the metadata, and the files of other tools."""

import json

import numpy
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import msgflow as mf
from msgflow.errors import NotJson, StateFileError
from msgflow.state import safetensors_format
from msgflow.state.arrays import NUMPY_TYPES
from msgflow.state.values import split


def saved(tmp_path, state):
    mf.save(state, tmp_path / "s.safetensors")
    return mf.load(tmp_path / "s.safetensors")


def raw_file(path, header, data=b""):
    """A file with a header that no library would write."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("dtype", NUMPY_TYPES.values())
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 3), (2, 3, 4)], ids=str)
def test_tensors_come_back_with_their_type_shape_and_bytes(tmp_path, dtype, shape):
    array = numpy.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    loaded = saved(tmp_path, {"layer.weight": array})["layer.weight"]
    assert type(loaded) is numpy.ndarray and (loaded.dtype, loaded.shape) == (array.dtype, shape)
    assert loaded.tobytes() == array.tobytes() and loaded.flags.writeable


def test_nan_and_signed_zeros_come_back_to_the_bit(tmp_path):
    bits = numpy.array([0x7FF8000000000001, 0x8000000000000000, 0xFFF0000000000000], "uint64")
    assert saved(tmp_path, {"w": bits.view("float64")})["w"].view("uint64").tolist() == bits.tolist()


LAYOUTS = {
    "transposed": lambda array: array.T,
    "reversed": lambda array: array[::-1],
    "every other": lambda array: array[:, ::2],
    "column order": numpy.asfortranarray,
    "repeated": lambda array: numpy.broadcast_to(array[0], (5, 4)),
    "big-endian": lambda array: array.astype(">f4"),
    "big-endian, transposed": lambda array: array.astype(">f4").T,
    "read-only": lambda array: (array.setflags(write=False), array)[1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_of_any_layout_comes_back_with_its_values_in_native_byte_order(tmp_path, layout):
    array = LAYOUTS[layout](numpy.arange(12, dtype="float32").reshape(3, 4))
    before = array.tobytes()
    loaded = saved(tmp_path, {"w": array})["w"]
    assert loaded.dtype == numpy.float32 and numpy.array_equal(loaded, array) and array.tobytes() == before


def test_an_array_that_is_mapped_from_a_file_is_saved(tmp_path):
    array = numpy.memmap(tmp_path / "m", dtype="int16", mode="w+", shape=(2, 2))
    assert type(saved(tmp_path, {"w": array})["w"]) is numpy.ndarray


def test_values_that_are_no_tensors_come_back_with_their_types_beside_tensors(tmp_path):
    state = {"prompt": 'Say "hi"\n\u00e9\x00', "n": 1, "x": 1.0, "on": True, "none": None, "l": [{"a": []}], "": {}}
    loaded = saved(tmp_path, {"w": numpy.ones(2), **state})
    assert list(loaded) == [*state, "w"] and repr({key: loaded[key] for key in state}) == repr(state)


def test_a_state_without_tensors_or_without_anything_comes_back(tmp_path):
    assert saved(tmp_path, {"a": "text"}) == {"a": "text"}
    assert saved(tmp_path, {}) == {}


def test_another_tool_reads_the_tensors_and_the_text(tmp_path):
    saved(tmp_path, {"prompt": "Be \u00e9 kind.", "settings": {"n": 1}, "w": numpy.arange(3.0)})
    assert load_file(tmp_path / "s.safetensors")["w"].tolist() == [0, 1, 2]
    with safe_open(tmp_path / "s.safetensors", framework="numpy") as file:
        text = file.metadata()["msgflow.state"]
    assert text == '{\n  "prompt": "Be \u00e9 kind.",\n  "settings": {\n    "n": 1\n  }\n}\n'


def test_a_state_has_the_same_bytes_whatever_the_order_of_its_tensors(tmp_path):
    tensors = {key: numpy.full(3, ord(key), "int8") for key in "cab"}
    texts = {"p": "x", "q": "y"}
    first = safetensors_format.dumps(split({**texts, **tensors}))
    assert first == safetensors_format.dumps(split({**dict(sorted(tensors.items())), **texts}))


class Tensor:
    """What another library calls a tensor."""

    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array


def test_whatever_gives_a_numpy_array_is_a_tensor(tmp_path):
    assert saved(tmp_path, {"w": Tensor(numpy.arange(3))})["w"].tolist() == [0, 1, 2]


UNFIT = {
    "object": numpy.array([{}], dtype=object),
    "text": numpy.array(["a"]),
    "bytes": numpy.array([b"a"]),
    "complex64": numpy.zeros(2, "complex64"),
    "complex": numpy.zeros(2, complex),
    "datetime": numpy.array(["2020-01-01"], "datetime64[D]"),
    "timedelta": numpy.zeros(1, "timedelta64[s]"),
    "structured": numpy.zeros(1, [("a", "i4"), ("b", "f4")]),
    "longdouble": numpy.zeros(1, "longdouble"),
    "masked": numpy.ma.masked_array([1, 2], [True, False]),
    "matrix subclass": numpy.zeros(2).view(type("Mine", (numpy.ndarray,), {})),
    "numpy scalar": numpy.float32(1),
    "to_numpy of a wrong type": Tensor([1]),
    "class with to_numpy": Tensor,
    "array in a list": [1, {"x": numpy.zeros(2)}],
    "tuple": (1, 2),
}


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("name", ["s.safetensors", "folder", "s.toml", "s.json"])
def test_what_no_file_can_hold_exactly_is_refused_with_its_key(tmp_path, kind, name):
    with pytest.raises(NotJson, match=r"'layer\.w'"):
        mf.save({"fine": 1, "layer.w": UNFIT[kind]}, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_text_file_refuses_a_tensor_and_says_which_files_hold_one(tmp_path, suffix):
    with pytest.raises(StateFileError, match=r"'a\.w' is a tensor \(float16, shape \(2, 3\)\).*\.safetensors.*folder"):
        mf.save({"fine": 1, "a.w": numpy.zeros((2, 3), "float16")}, tmp_path / f"s.{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["__metadata__", "a\ud800"])
@pytest.mark.parametrize("name", ["s.safetensors", "folder"])
def test_a_tensor_with_a_name_that_the_header_cannot_hold_is_refused(tmp_path, key, name):
    with pytest.raises(StateFileError, match=r"__metadata__|a.ud800"):
        mf.save({key: numpy.zeros(1)}, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_names_of_the_header_are_free_for_values_that_are_no_tensors(tmp_path):
    state = {"__metadata__": "x", "msgflow.state": 1, "a\ud800": "\udfff"}
    assert saved(tmp_path, state) == state


def test_what_json_cannot_hold_is_refused_with_its_key(tmp_path):
    with pytest.raises(StateFileError, match=r"s\.safetensors was not written: 'a\.x'"):
        saved(tmp_path, {"a.x": float("nan"), "w": numpy.zeros(1)})


def test_more_text_than_a_header_may_have_is_refused_with_the_longest_key(tmp_path):
    with pytest.raises(StateFileError, match="'long' the most"):
        saved(tmp_path, {"a": "x", "long": "x" * 17 * 2**20})
    assert not list(tmp_path.iterdir())


def test_the_file_of_another_tool_gives_its_tensors_and_none_of_its_metadata(tmp_path):
    tensors = {"b": numpy.ones((2, 2), "float16"), "a": numpy.zeros(0, "uint8")}
    for metadata in (None, {}, {"format": "pt", "state": '{"x": 1}', "a": "text"}):
        save_file(tensors, tmp_path / "s.safetensors", metadata)
        loaded = mf.load(tmp_path / "s.safetensors")
        assert list(loaded) == ["a", "b"] and all(numpy.array_equal(loaded[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_a_tensor_of_a_type_that_no_tensor_has_is_refused_with_its_key(tmp_path, kind, size):
    header = {"layer.w": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}}
    raw_file(tmp_path / "s.safetensors", header, bytes(2 * size))
    with pytest.raises(StateFileError, match=rf"s\.safetensors: the tensor 'layer\.w'.*type {kind}, which"):
        mf.load(tmp_path / "s.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1, "a": 2}', '{"a": NaN}'])
def test_metadata_of_ours_that_is_no_state_is_refused(tmp_path, text):
    save_file({}, tmp_path / "s.safetensors", {"msgflow.state": text})
    with pytest.raises(StateFileError, match=r"the entry 'msgflow\.state'"):
        mf.load(tmp_path / "s.safetensors")


def test_a_key_that_is_a_tensor_and_a_value_is_refused(tmp_path):
    save_file({"a": numpy.zeros(1)}, tmp_path / "s.safetensors", {"msgflow.state": '{"a": 1}'})
    with pytest.raises(StateFileError, match="'a' is there twice"):
        mf.load(tmp_path / "s.safetensors")


def test_a_damaged_file_can_be_written_over(tmp_path):
    (tmp_path / "s.safetensors").write_bytes(b"\xff")
    assert saved(tmp_path, {"a": 1}) == {"a": 1}
