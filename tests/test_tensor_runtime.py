"""A forward is recorded once and run many times, on the numbers that placeholders and modules hold at each run."""

import threading
import warnings

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import flow
from tests.recorded import recorded


class Block(nn.Module):
    def __init__(self, dtype=mt.float32):
        super().__init__()
        self.weight = nn.Parameter(mt.zeros((3, 2), dtype))
        self.scale = nn.Parameter(mt.zeros(2, dtype))

    def forward(self, x):
        return mt.relu(x @ self.weight) + self.scale


def state(seed=0):
    rng = np.random.default_rng(seed)
    return {"weight": rng.random((3, 2), np.float32), "scale": rng.random(2, np.float32)}


async def test_a_run_sees_new_inputs_and_newly_loaded_weights(door):
    block, x, runtime = Block(), mt.empty((4, 3)), mt.Runtime()
    with runtime:
        out = await door(block, x)
    runtime.launch()
    for seed in (1, 2):
        x.from_numpy(np.full((4, 3), seed, np.float32))
        block.load_state_dict(state(seed))
        runtime.run()
        np.testing.assert_allclose(out.to_numpy(), block(x).to_numpy(), rtol=1e-6)


def test_recording_computes_as_ever():
    x, runtime = mt.tensor([1.0, 2.0]), mt.Runtime()
    with runtime:
        out = x * 3
    assert out.tolist() == [3.0, 6.0]


def test_outputs_are_what_is_still_held_at_launch():
    x, runtime = mt.tensor([1.0]), mt.Runtime()
    with runtime:
        first, lost, second = x + 1, x + 2, mt.exp(x)
    del lost
    runtime.launch()
    x.from_numpy([0.0])
    runtime.run()
    assert (first.tolist(), second.tolist()) == ([1.0], [1.0])
    assert len(runtime.plan.program.outputs) == 2


def test_an_input_may_be_used_for_nothing_but_a_view():
    x = mt.zeros((2, 3))
    runtime, out = recorded(lambda x: x.T, x)
    x.from_numpy([[1, 2, 3], [4, 5, 6]])
    runtime.run()
    held = out.array
    x.from_numpy(np.zeros((2, 3)))
    runtime.run()
    assert held.tolist() == [[1, 4], [2, 5], [3, 6]] and out.tolist() == np.zeros((3, 2)).tolist()


def test_a_weight_read_through_data_or_detach_is_the_weight_of_now():
    block, x = Block(), mt.ones((1, 3))
    runtime, out = recorded(lambda x: x @ block.weight.data + block.get_parameter("scale").data.detach(), x)
    block.load_state_dict(state())
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), np.ones((1, 3)) @ state()["weight"] + state()["scale"], rtol=1e-6)


def test_a_weight_that_is_assigned_later_is_seen():
    linear, x = nn.Linear(2, 1), mt.ones((1, 2))
    runtime, out = recorded(linear, x)
    linear.weight = mt.tensor([[2.0, 3.0]])
    linear.bias = mt.tensor([1.0])
    runtime.run()
    assert out.tolist() == [[6.0]]


def test_a_run_inside_a_call_reads_the_version_of_that_call():
    """A swap in the middle of a call is for the calls after it."""

    class Doubled(nn.Module):
        def __init__(self, block, runtime, out):
            super().__init__()
            self.block = block
            self.run = lambda: (runtime.run(), out.to_numpy())[1]

        def forward(self):
            before = self.run()
            self.block.load_state_dict(state(9))
            return before, self.run()

    block, x = Block(), mt.ones((1, 3))
    block.load_state_dict(state(1))
    runtime, out = recorded(block, x)
    before, after = Doubled(block, runtime, out)()
    np.testing.assert_array_equal(before, after)
    runtime.run()
    assert (out.to_numpy() != before).all()


def test_a_run_under_a_transaction_reads_what_has_been_assigned_in_it():
    block, x = Block(), mt.ones((1, 3))
    runtime, out = recorded(block, x)
    with block.transaction():
        block.load_state_dict(state())
        runtime.run()
    np.testing.assert_allclose(out.to_numpy(), np.ones((1, 3)) @ state()["weight"] + state()["scale"], rtol=1e-6)


def test_the_threads_of_a_flow_are_recorded():
    """Functions in the branches of Parallel run in worker threads."""
    threads = set()

    def doubled(x):
        threads.add(threading.get_ident())
        return x * 2

    def increased(x):
        threads.add(threading.get_ident())
        return x + 1

    x = mt.zeros(2)
    runtime, (twice, more) = recorded(flow.Parallel(doubled, increased), x)
    x.from_numpy([3.0, 4.0])
    runtime.run()
    assert threading.get_ident() not in threads
    assert (twice.tolist(), more.tolist()) == ([6.0, 8.0], [4.0, 5.0])


def test_a_run_as_often_as_wanted():
    x = mt.zeros(2)
    runtime, out = recorded(lambda x: x + 1, x)
    runtime.run(iter=3)
    assert out.tolist() == [1.0, 1.0]


def test_outputs_have_no_gradient_and_no_tape_is_kept():
    linear, x = nn.Linear(2, 2), mt.zeros((1, 2))
    with mt.Runtime():
        with mt.enable_grad():
            out = linear(x)
        with mt.no_grad():
            inner = linear(x)
    assert not out.requires_grad and not inner.requires_grad and linear(x).requires_grad


def test_placeholders_of_zeros_warn_of_nothing():
    x = mt.zeros(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime, _out = recorded(lambda x: mt.log(x) + 1 / x, x)
        runtime.run()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        mt.log(x)


def test_one_runtime_goes_on_with_the_results_of_another():
    x = mt.zeros(2)
    first, hidden = recorded(lambda x: x + 1, x)
    second, out = recorded(lambda x: x * 10, hidden)
    for number in (1.0, 2.0):
        x.from_numpy([number, number])
        first.run()
        second.run()
        assert out.tolist() == [(number + 1) * 10] * 2


def test_a_result_may_be_the_next_input():
    """Numbers that somebody holds are not written to, so that a loop over its own state is exact."""
    x = mt.ones(2)
    runtime, out = recorded(lambda x: mt.concat([x[1:], x[:1] + x[1:]]), x)
    for _ in range(8):
        runtime.run()
        x.from_numpy(out)
    assert x.tolist() == [34.0, 55.0]


def test_after_stop_outputs_keep_their_numbers_and_it_can_be_launched_again():
    x = mt.zeros(2)
    runtime, out = recorded(lambda x: x + 1, x)
    runtime.run()
    runtime.stop()
    runtime.stop()
    assert out.tolist() == [1.0, 1.0]
    x.from_numpy([5.0, 5.0])
    runtime.launch()
    assert out.tolist() == [1.0, 1.0]
    runtime.run()
    assert out.tolist() == [6.0, 6.0]


def test_loading_weights_while_recording_is_for_the_recording_only():
    block, x = Block(), mt.ones((1, 3))
    with mt.Runtime() as runtime:
        block.load_state_dict(state(1))
        out = block(x)
    runtime.launch()
    block.load_state_dict(state(2))
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), block(x).to_numpy(), rtol=1e-6)
