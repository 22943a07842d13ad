"""mt.convert_state_dict from and to tensors of torch, of every type and layout."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_goes_there_and_back_bit_by_bit(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)) / (3 if "float" in dtype else 1)
    tensor = tensor.to(getattr(torch, dtype))
    state = {"w": tensor, "none": tensor[:0], "one": tensor[1, 2]}
    ours = mt.convert_state_dict(state, "msgflow")
    assert {value.dtype.name for value in ours.values()} == {dtype}
    back = mt.convert_state_dict(ours, "torch")
    for key, value in state.items():
        assert back[key].dtype is value.dtype and torch.equal(back[key], value)
        expected = value.float() if dtype == "bfloat16" else value
        np.testing.assert_array_equal(mt.convert_state_dict(state, "numpy")[key], expected.numpy())


def test_tensors_with_gradients_and_strides_are_taken():
    leaf = torch.arange(6.0).reshape(2, 3).requires_grad_()
    state = {
        "parameter": torch.nn.Parameter(leaf.detach()),
        "result": leaf * 2,
        "turned": leaf.T,
        "broadcast": leaf[:1].expand(4, 3),
        "bits": leaf.bfloat16().T,
    }
    for key, value in mt.convert_state_dict(state, "msgflow").items():
        assert value.tolist() == state[key].tolist() and not value.requires_grad


@pytest.mark.parametrize("kind", ["numpy", "msgflow", "torch"])
def test_what_comes_out_shares_no_memory_with_what_went_in(kind):
    theirs = torch.ones(3)
    converted = mt.convert_state_dict({"w": theirs}, kind)
    theirs += 1
    assert converted["w"].tolist() == [1, 1, 1]
    ours = mt.ones((3,))
    mt.convert_state_dict({"w": ours}, "torch")["w"].add_(1)
    assert ours.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2).to(torch.float8_e4m3fn),
    ],
    ids=["complex", "sparse", "meta", "float8"],
)
def test_tensors_without_plain_numbers_are_refused_with_their_key(value):
    with pytest.raises(DTypeError, match=r"encoder\.weight: "):
        mt.convert_state_dict({"encoder.weight": value}, "msgflow")


def test_text_beside_tensors_stays_text():
    module = nn.Sequential(nn.Linear(2, 2))
    module.prompt = nn.Parameter("Route it.")
    converted = mt.convert_state_dict(module.state_dict(), "torch")
    assert converted["prompt"] == "Route it." and isinstance(converted["0.weight"], torch.Tensor)
    # torch takes the tensors of it, which are under keys of their own.
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 2))
    theirs.load_state_dict({key: value for key, value in converted.items() if key != "prompt"}, strict=True)


def test_dtype_converts_on_the_way():
    state = torch.nn.Linear(4, 3).state_dict()
    layer = nn.Linear(4, 3, dtype=mt.bfloat16)
    layer.load_state_dict(mt.convert_state_dict(state, "msgflow", dtype=mt.bfloat16))
    back = mt.convert_state_dict(layer.state_dict(), "torch", dtype="float32")
    assert torch.equal(back["weight"], state["weight"].bfloat16().float())
