"""On a GPU a plan is captured as CUDA graphs: the same numbers as on the processor, from fixed addresses."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import RecordError
from tests.tensor_backends import gpu

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def device():
    if reason := gpu():
        pytest.skip(reason)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return mt.layernorm(self.second(mt.relu(self.first(x))) + x)


def numbers(seed, shape=(4, 16)):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("dtype", [mt.float32, mt.float16, mt.bfloat16])
def test_a_graph_sees_new_inputs_and_newly_loaded_weights(dtype):
    block, other = Block().to(dtype=dtype), Block().to(dtype=dtype)
    there = Block().to(dtype=dtype).to("cuda")
    x, runtime = mt.zeros((4, 16), dtype, device="cuda"), mt.Runtime()
    with runtime:
        out = there(x)
    runtime.launch()
    for turn, weights in enumerate((block, block, other)):
        there.load_state_dict(weights.state_dict())
        x.from_numpy(numbers(turn))
        runtime.run(iter=2)
        expected = weights(mt.tensor(numbers(turn)).to(dtype=dtype)).to_numpy()
        np.testing.assert_allclose(out.to_numpy(), expected, atol=1e-5 if dtype is mt.float32 else 0.1)


def test_numbers_of_a_graph_that_somebody_holds_are_not_written_over():
    x, runtime = mt.zeros(3, device="cuda"), mt.Runtime()
    with runtime:
        out = mt.exp(x) + x
    runtime.launch()
    runtime.run()
    held, array = out.detach(), out.array
    x.from_numpy([1.0, 2.0, 3.0])
    runtime.run()
    assert held.tolist() == [1.0, 1.0, 1.0] and out.array is not array
    array = out.array
    del held
    runtime.run()
    assert out.to_numpy() == pytest.approx([np.exp(number) + number for number in (1, 2, 3)])
    runtime.stop()
    runtime.launch()
    runtime.run()
    assert out.to_numpy() == pytest.approx([np.exp(number) + number for number in (1, 2, 3)])


def test_an_index_from_numbers_of_the_gpu_is_captured():
    x, runtime = mt.tensor(numbers(0), device="cuda"), mt.Runtime()
    with runtime:
        out = mt.sort(mt.take(x, mt.argmax(x, axis=1), axis=1)).values
    runtime.launch()
    x.from_numpy(numbers(1))
    runtime.run()
    host = mt.tensor(numbers(1))
    np.testing.assert_array_equal(out.to_numpy(), mt.sort(mt.take(host, mt.argmax(host, axis=1), axis=1)).values)


def test_random_numbers_are_refused_in_a_graph():
    x, runtime = mt.ones(8, device="cuda"), mt.Runtime()
    with runtime:
        out = mt.dropout(x)
    with pytest.raises(RecordError, match=r"call eval\(\)"):
        runtime.launch()
    assert out.shape == (8,)


def test_a_forward_on_two_devices_is_refused():
    x, runtime = mt.ones(8, device="cuda"), mt.Runtime()
    with runtime:
        out = x.cpu() * 2
    with pytest.raises(RecordError, match="uses cupy on cuda:0 and numpy on cpu"):
        runtime.launch()
    assert out.shape == (8,)
