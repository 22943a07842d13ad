"""A Runtime in wrong use says what came, and what to do instead."""

import contextvars
import copy
import pickle

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import RecordError, ShapeError
from tests.recorded import recorded


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(mt.zeros((3, 2)))
        self.scale = nn.Parameter(mt.zeros(2))

    def forward(self, x):
        return mt.relu(x @ self.weight) + self.scale


def test_run_before_launch_and_after_stop_says_to_launch():
    x, runtime = mt.zeros(1), mt.Runtime()
    with pytest.raises(RecordError, match=r"run\(\) before launch\(\)"):
        runtime.run()
    with runtime:
        out = x + 1
    with pytest.raises(RecordError, match=r"run\(\) before launch\(\)"):
        runtime.run()
    runtime.launch()
    runtime.stop()
    with pytest.raises(RecordError, match=r"run\(\) after stop\(\): launch\(\) it again"):
        runtime.run()
    assert out.tolist() == [1.0]


def test_launch_twice_or_of_nothing_is_refused():
    x, runtime = mt.zeros(1), mt.Runtime()
    with pytest.raises(RecordError, match="before anything was recorded"):
        runtime.launch()
    with pytest.raises(RecordError, match="from launch"):
        runtime.plan  # noqa: B018 # asking is what raises
    with runtime:
        with pytest.raises(RecordError, match="leave the block"):
            runtime.launch()
        out = x + 1
    runtime.launch()
    with pytest.raises(RecordError, match="stop"):
        runtime.launch()
    assert out.tolist() == [1.0]


def test_a_block_without_operations_or_without_results_cannot_be_launched():
    nothing, unheld = mt.Runtime(), mt.Runtime()
    with nothing:
        mt.zeros(3)
    with pytest.raises(RecordError, match="nothing was recorded"):
        nothing.launch()
    with unheld:
        mt.exp(mt.zeros(3))
    with pytest.raises(RecordError, match="nobody holds a result"):
        unheld.launch()


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, "2", None])
def test_iter_is_a_whole_number_from_1(wrong):
    runtime, _ = recorded(lambda x: x + 1, mt.zeros(1))
    with pytest.raises(RecordError, match="iter"):
        runtime.run(iter=wrong)


def test_a_runtime_has_one_recording():
    runtime, _ = recorded(lambda x: x + 1, mt.zeros(1))
    with pytest.raises(RecordError, match="has a recording"), runtime:
        pass


def test_two_runtimes_cannot_record_at_once():
    with mt.Runtime(), pytest.raises(RecordError, match="another Runtime records"), mt.Runtime():
        pass
    with mt.Runtime() as again:  # the one before has let go
        out = mt.zeros(1) + 1
    again.launch()
    again.run()
    assert out.tolist() == [1.0]


def test_a_run_is_no_operation_to_record():
    runtime, _ = recorded(lambda x: x + 1, mt.zeros(1))
    with mt.Runtime(), pytest.raises(RecordError, match="while a Runtime records"):
        runtime.run()


def test_an_exception_in_the_block_discards_what_was_recorded():
    x, runtime, kept = mt.zeros(1), mt.Runtime(), []
    with pytest.raises(ShapeError), runtime:
        kept.append(x + 1) or mt.zeros(2) @ mt.zeros(3)
    with pytest.raises(RecordError, match="before anything was recorded"):
        runtime.launch()
    with runtime:
        out = x + 2
    runtime.launch()
    runtime.run()
    assert (kept[0].tolist(), out.tolist()) == ([1.0], [2.0])


def test_an_operation_after_the_block_is_not_recorded():
    x, runtime = mt.zeros(1), mt.Runtime()
    with runtime:
        out = x + 1
    after = out * 10
    runtime.launch()
    x.from_numpy([1.0])
    runtime.run()
    assert (out.tolist(), after.tolist()) == ([2.0], [10.0])


def test_a_weight_of_another_type_is_refused():
    block, x = Block(), mt.ones((1, 3))
    runtime, out = recorded(block, x)
    block.to(dtype=mt.float64)
    with pytest.raises(RecordError, match=r"a state, is now float64 \(3, 2\) on cpu.*record the forward anew"):
        runtime.run()
    assert out.tolist() == [[0.0, 0.0]]


def test_looking_at_the_numbers_of_a_result_while_recording_is_refused():
    x = mt.tensor([1.0])
    for look in (mt.Tensor.item, mt.Tensor.tolist, mt.Tensor.to_numpy, bool, float, np.asarray, lambda t: 1.0 in t):
        with pytest.raises(RecordError, match=r"result of add.*mt\.where"), mt.Runtime():
            look((x + 1).detach())
    with mt.Runtime():
        assert repr(x + 1) == "tensor([2.])"


def test_a_forward_that_looked_at_an_input_runs_while_that_has_the_same_numbers():
    x, flag = mt.zeros(1), mt.tensor(True)
    runtime, out = recorded(lambda x: x + 1 if flag else x - 1, x)
    flag.from_numpy(True)
    runtime.run()
    assert out.tolist() == [1.0]
    flag.from_numpy(False)
    with pytest.raises(RecordError, match="looked at"):
        runtime.run()


def test_a_recorded_result_cannot_become_state_or_be_replaced_while_recording():
    """A run would not do it again, and nobody would notice."""
    block, x = Block(), mt.zeros(2)
    with pytest.raises(RecordError, match="module's state"), mt.Runtime():
        block.scale = x + 1
    with pytest.raises(RecordError, match="asked for"), mt.Runtime():
        mt.zeros(2).from_numpy(x + 1)
    with pytest.raises(RecordError, match="other numbers by from_numpy"), mt.Runtime():
        (x + 1).from_numpy([1.0, 2.0]) * 2


def test_a_buffer_that_is_no_tensor_any_more_is_refused():
    module, x = nn.Module(), mt.ones(2)
    module.register_buffer("offset", mt.ones(2))
    runtime, _ = recorded(lambda x: x + module.offset, x)
    module.offset = "none"
    with pytest.raises(RecordError, match="a state, is now no tensor at all, and was float32"):
        runtime.run()


def test_a_buffer_that_was_looked_at_and_is_no_tensor_any_more_is_refused():
    module, x = nn.Module(), mt.ones(2)
    module.register_buffer("flag", mt.tensor(True))
    runtime, _ = recorded(lambda x: x + 1 if module.flag else x - 1, x)
    module.flag = "none"
    with pytest.raises(RecordError, match="looked at"):
        runtime.run()


def test_a_forward_on_arrays_of_two_libraries_is_refused():
    xp = pytest.importorskip("array_api_strict", reason="pip install array-api-strict: arrays of the bare standard")
    runtime = mt.Runtime()
    with runtime:
        outs = mt.ones(2) + 1, mt.tensor(xp.ones(2)) + 1
    with pytest.raises(RecordError, match="uses array_api_strict on cpu and numpy on cpu"):
        runtime.launch()
    assert len(outs) == 2


def test_a_task_that_goes_on_after_the_block_is_not_recorded():
    x, runtime = mt.zeros(1), mt.Runtime()
    with runtime:
        out, inside = x + 1, contextvars.copy_context()
    runtime.launch()
    assert inside.run(lambda: (x + 41).item()) == 41.0
    inside.run(runtime.run)
    assert len(runtime.plan.program.operations) == 1 and out.tolist() == [1.0]


def test_a_runtime_is_not_copied_or_pickled():
    runtime, _ = recorded(lambda x: x + 1, mt.zeros(1))
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="record the forward of the copy"):
            copying(runtime)
