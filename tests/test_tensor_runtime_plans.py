"""What a Runtime plans: order, fusion, memory; and the plan as text."""

import json

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import RecordError
from msgflow.tensor.runtime import acts, chain
from msgflow.tensor.runtime.program import described


def planned(function, *placeholders):
    runtime = mt.Runtime()
    with runtime:
        out = function(*placeholders)
    runtime.launch()
    return runtime.plan, runtime, out


def operations(plan):
    return [step.operation for step in plan.steps]


def block(x, w1, w2):
    return mt.layernorm(mt.matmul(mt.matmul(x, w1, is_relu=True), w2) + x)


def block_inputs(dtype=mt.float32):
    return mt.zeros((2, 4, 6), dtype), mt.zeros((6, 8), dtype), mt.zeros((8, 6), dtype)


# --- what is done ----------------------------------------------------------------------------------------------------


def test_products_with_bias_and_relu_and_sums_with_their_normalisation_are_one_step():
    x, w1, w2 = block_inputs()
    plan, _, _ = planned(block, x, w1, w2)
    assert operations(plan) == ["matmul+relu", "matmul", "add+normalise"]
    assert [step.fuses for step in plan.steps] == [(0, 1), (2,), (3, 4)]
    b = mt.zeros(8)
    for function, expected in (
        (lambda x: mt.relu(x @ w1 + b), "matmul+bias+relu"),
        (lambda x: x @ w1 + b, "matmul+bias"),
        (lambda x: mt.gelu(b + x @ w1) * 2.0, "matmul+bias+gelu+multiply"),
        (lambda x: mt.softmax(x * 0.5 - 1.0), "multiply+subtract+softmax"),
        (lambda x: mt.layernorm(x, x[0, 0], x[0, 1])[0], "normalise+multiply+add"),
    ):
        assert expected in operations(planned(function, x)[0])


def test_what_somebody_else_needs_is_not_fused_away():
    x, w, b = mt.zeros((2, 4)), mt.zeros((4, 4)), mt.zeros(4)

    def both(x):
        product = x @ w
        return product + b, product * 2

    assert operations(planned(both, x)[0]) == ["matmul", "add", "multiply"]
    held = []
    assert operations(planned(lambda x: mt.relu(held.append(x @ w) or held[0]), x)[0]) == ["matmul", "relu"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: mt.softmax(x + y, axis=0),
        lambda x, y: (x + y[0]).sum(axis=0),
        lambda x, y: (x[0] + y[0]) * x,
        lambda x, y: (x > y) & (y > x),
        lambda x, y: mt.where(x + y > 0.0, x, y),
        lambda x, y: (x + y).T * 2.0,
    ],
)
def test_operations_of_other_shapes_axes_or_types_are_steps_of_their_own(function):
    x, y = (mt.tensor(np.random.default_rng(seed).standard_normal((3, 3)).astype("float32")) for seed in (0, 1))
    plan, runtime, out = planned(function, x, y)
    assert all("+" not in operation for operation in operations(plan))
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), function(x, y).to_numpy(), rtol=1e-6)


def test_what_leads_to_no_output_is_not_done():
    x = mt.zeros(3)

    def wasteful(x):
        mt.exp(mt.sin(x))
        return x + 1

    plan, _, _ = planned(wasteful, x)
    assert operations(plan) == ["add"] and len(plan.program.operations) == 3


def test_steps_keep_the_order_in_which_they_were_recorded():
    x = mt.zeros((2, 3))
    plan, _, _ = planned(lambda x: [mt.exp(x), mt.sin(x), mt.exp(x).sum(axis=0), mt.cos(x)], x)
    last = [max(step.fuses) for step in plan.steps]
    assert last == sorted(last)


def test_what_depends_on_state_alone_is_computed_when_that_changes():
    linear, x = nn.Linear(3, 3), mt.ones((1, 3))
    mask = np.tri(3, dtype=np.float32)
    plan, runtime, out = planned(lambda x: x @ (linear.weight * mt.tensor(mask) * 2.0), x)
    assert [(step.operation, step.when) for step in plan.steps] == [("multiply+multiply", "change"), ("matmul", "run")]
    assert [source.kind for source in plan.program.sources] == ["state", "constant", "placeholder"]
    for seed in (1, 2):
        numbers = np.random.default_rng(seed).random((3, 3), np.float32)
        linear.weight = mt.tensor(numbers)
        for _ in range(2):
            runtime.run()
            np.testing.assert_allclose(out.to_numpy(), np.ones((1, 3)) @ (numbers * mask * 2), rtol=1e-6)


def test_what_depends_on_state_alone_may_be_an_output_and_be_read_on():
    linear, x = nn.Linear(2, 2, bias=False), mt.ones((1, 2))

    def both(x):
        doubled = linear.weight * 2
        return doubled, x @ (doubled + 1)

    _, runtime, (doubled, out) = planned(both, x)
    linear.weight = mt.tensor([[1.0, 2.0], [3.0, 4.0]])
    runtime.run()
    assert (doubled.tolist(), out.tolist()) == ([[2.0, 4.0], [6.0, 8.0]], [[10.0, 14.0]])


def test_16_bit_weights_are_widened_once_for_each_value(monkeypatch):
    mt.manual_seed(0)
    linear, x = nn.Linear(4, 4, dtype=mt.float16), mt.ones((2, 4), mt.float16)
    plan, runtime, out = planned(linear, x)
    assert [step.when for step in plan.steps if step.operation == "widen"] == ["change", "change", "run"]
    counted = []
    monkeypatch.setattr(acts, "widened", lambda array, widened=acts.widened: counted.append(1) or widened(array))
    runtime.run(iter=3)
    once = len(counted)
    linear.weight, linear.bias = linear.weight * 2, linear.bias * 2
    runtime.run(iter=3)
    assert (once, len(counted)) == (2, 4)
    np.testing.assert_allclose(out.to_numpy(), linear(x).to_numpy(), rtol=2**-10)  # rounded once more


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16])
def test_a_fused_step_of_16_bit_floats_is_rounded_once(dtype):
    """Of 1 + 2**-12 added up in 16 bits nothing is left; in float32 it is."""
    x = mt.ones(1, dtype=dtype)
    small, large = mt.tensor([2.0**-12]).to(dtype=dtype), mt.tensor([2.0**12]).to(dtype=dtype)
    _, runtime, out = planned(lambda x: (x + small - 1.0) * large, x)
    runtime.run()
    assert out.tolist() == [1.0] and ((x + small - 1.0) * large).tolist() == [0.0]


def test_16_bit_results_that_are_only_computed_with_are_not_rounded_at_all():
    """Three times what 1/3 is in float16 lies between two numbers of float16, and is no result that is kept."""
    x, third = mt.ones((1, 1), mt.float16), mt.tensor([[1 / 3]]).to(dtype=mt.float16)

    def difference(x):
        return 1.0 - (x @ third * 3.0) @ x

    plan, runtime, out = planned(difference, x)
    runtime.run()
    exact = 1.0 - 3 * third.item()
    assert [(step.operation, step.dtype) for step in plan.steps[2:]] == [
        ("matmul+multiply", "float32"),
        ("matmul+subtract", "float16"),
    ]
    assert out.item() == exact != difference(x).item()


# --- where results are -----------------------------------------------------------------------------------------------


def test_buffers_are_reused_where_their_numbers_are_not_needed_any_more():
    x, w = mt.zeros((16, 16)), mt.zeros((16, 16))

    def deep(x):
        for _ in range(20):
            x = x @ w
        return x

    plan, _, _ = planned(deep, x)
    assert len(plan.steps) == 20 and plan.buffers == (1024, 1024, 1024)
    assert plan.nbytes == 3072


def test_numbers_are_written_over_an_input_that_nobody_needs_any_more():
    x = mt.zeros((16, 16))
    plan, _, _ = planned(lambda x: (x @ x + x).sum(axis=0), x)
    assert [(step.operation, step.place) for step in plan.steps] == [("matmul", 0), ("add", 0), ("sum", 1)]
    plan, _, _ = planned(lambda x: ((x @ x).T + (x @ x)).sum(axis=0), x)  # a view is read in another order
    assert {step.operation: step.place for step in plan.steps}["add"] == 1


def test_a_smaller_result_takes_the_smallest_buffer_that_fits():
    x = mt.zeros((8, 8))

    def sized(x):
        large = mt.concat([x @ x, x @ x])
        small = large[:2] @ x
        return (small @ x).sum()

    plan, _, _ = planned(sized, x)
    sizes = sorted(plan.buffers)
    assert sizes == sorted([256, 256, 512, 4])


def test_views_of_buffers_take_no_step_at_a_run_and_keep_the_buffer():
    x = mt.zeros((4, 6))

    def viewing(x):
        hidden = mt.exp(x)
        turned = hidden.T.reshape(3, 8)[0]
        other = mt.sin(x) + mt.cos(x)
        return turned * 2.0, other

    plan, runtime, (out, _) = planned(viewing, x)
    places = {step.operation: step.place for step in plan.steps}
    assert places["permute"] == places["index"] == "view" and isinstance(places["reshape"], int)
    x.from_numpy(np.arange(24.0).reshape(4, 6) / 24)
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), viewing(x)[0].to_numpy(), rtol=1e-6)


def test_a_plan_may_take_a_reshape_for_a_view_that_is_none():
    """A plan from elsewhere: the numbers are copied at each run, and are right."""
    x = mt.zeros((4, 6))
    plan, runtime, out = planned(lambda x: mt.exp(x).T.reshape(3, 8) * 2.0, x)
    runtime.stop()
    copied = plan.steps[2]
    assert (copied.operation, copied.place, plan.steps[3].place) == ("reshape", 1, 2)
    text = plan.to_json().replace('"place": 1', '"place": "view"').replace('"place": 2', '"place": 1')
    runtime.launch(plan=mt.Plan.from_json(text.replace("[96, 96, 96]", "[96, 96]")))
    x.from_numpy(np.arange(24.0).reshape(4, 6))
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), (mt.exp(x).T.reshape(3, 8) * 2.0).to_numpy(), rtol=1e-6)


def test_a_step_in_parts_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(chain, "PART", 64)
    monkeypatch.setattr(chain, "SMALL_PART", 64)
    rng = np.random.default_rng(0)
    x, w = mt.tensor(rng.random((1, 13, 8), np.float32)), mt.tensor(rng.random((8, 8), np.float32))
    y = mt.tensor(rng.random((13, 8), np.float32))

    def parted(x):
        hidden = mt.gelu(x @ w + w[0])
        return mt.softmax(mt.layernorm(hidden + y, w[1], w[2]) * hidden[:, :, :1]), mt.relu(x.reshape(104) + 1.0)

    plan, runtime, outs = planned(parted, x)
    assert {"matmul+bias+gelu", "add+normalise+multiply+add+multiply+softmax", "add+relu"} <= set(operations(plan))
    runtime.run()
    for out, expected in zip(outs, parted(x), strict=True):
        np.testing.assert_allclose(out.to_numpy(), expected.to_numpy(), rtol=1e-5, atol=1e-6)


# --- as text ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_a_table():
    plan, _, _ = planned(block, *block_inputs())
    assert str(plan) == (
        "5 recorded operations in 3 steps, with numpy on cpu\n"
        "from 3 placeholder; outputs %7; 3 buffers of 640 bytes in all\n"
        "result  operation      inputs  shape      dtype    place     every  of recorded\n"
        "%4      matmul+relu    %0 %1   (2, 4, 8)  float32  buffer 0  run    0 1\n"
        "%5      matmul         %4 %2   (2, 4, 6)  float32  buffer 1  run    2\n"
        "%7      add+normalise  %5 %0   (2, 4, 6)  float32  buffer 2  run    3 4"
    )


@pytest.mark.parametrize("dtype", [mt.float32, mt.bfloat16])
def test_a_plan_goes_to_json_and_back_and_to_a_file(tmp_path, dtype):
    plan, _, _ = planned(lambda *given: mt.where(block(*given) > float("-inf"), 1.0, 2.5), *block_inputs(dtype))
    text = plan.to_json()
    assert mt.Plan.from_json(text) == plan and mt.Plan.from_json(text).to_json() == text
    assert json.loads(text)["recorded"][-2]["inputs"] == ["%7", "-inf"]
    path = tmp_path / "block.json"
    plan.save(path)
    assert mt.Plan.load(path) == plan and [file.name for file in tmp_path.iterdir()] == ["block.json"]
    assert mt.Plan.load(str(path)).diff(plan) == []


def test_a_diff_says_what_is_done_otherwise():
    x, w1, w2 = block_inputs()
    fused, _, _ = planned(block, x, w1, w2)
    scaled, _, _ = planned(lambda x: mt.layernorm(mt.matmul(mt.relu(x @ w1 * 1), w2) + x), x)
    lines = fused.diff(scaled)
    assert any(line.startswith("-%4 = matmul+relu(%0, %1)") for line in lines)
    assert any(line.startswith("+%5 = matmul+multiply+relu(%0, %1, 1)") for line in lines)


def test_settings_of_all_kinds_are_shown():
    x = mt.zeros((2, 2))
    plan, _, _ = planned(lambda x: mt.softmax(x[::-1, None, 0].to(dtype=mt.float64), axis=np.int64(0)), x)
    assert [dict(recorded.settings) for recorded in plan.program.operations][1:] == [{"dtype": "float64"}, {"axis": 0}]
    assert described(object()) == "<object>"


def test_equal_programs_have_equal_plans():
    plans = [planned(block, *block_inputs())[0] for _ in range(2)]
    assert plans[0] == plans[1] and hash(plans[0]) == hash(plans[1])


def test_a_saved_plan_is_used_for_the_same_forward():
    x, w1, w2 = block_inputs()
    plan, first, _ = planned(block, x, w1, w2)
    runtime = mt.Runtime()
    with runtime:
        out = block(x, w1, w2)
    runtime.launch(plan=mt.Plan.from_json(plan.to_json()))
    for given in (x, w1, w2):
        given.from_numpy(np.random.default_rng(1).random(given.shape))
    runtime.run()
    np.testing.assert_allclose(out.to_numpy(), block(x, w1, w2).to_numpy(), atol=1e-5)
    first.stop()
    first.launch(plan=runtime.plan)


@pytest.mark.parametrize(
    ("function", "shape", "what"),
    [
        (lambda x, w1, w2: mt.layernorm(mt.matmul(mt.relu(x @ w1 * 1), w2) + x), (2, 4, 6), "operation 1 is"),
        (lambda x, w1, w2: mt.layernorm(mt.matmul(mt.relu(x @ w1), w2) + x, eps=1e-6), (2, 4, 6), "operation 4 is"),
        (block, (1, 4, 6), "value from outside 0 is"),
        (lambda x, w1, w2: [block(x, w1, w2), mt.exp(x)], (2, 4, 6), "operation 5 is exp.*, and in the plan not there"),
        (lambda x, w1, w2: mt.matmul(mt.relu(x @ w1), w2), (2, 4, 6), "operation 3 is not there"),
    ],
)
def test_a_saved_plan_for_another_forward_is_refused_with_what_is_different(function, shape, what):
    _, w1, w2 = block_inputs()
    plan, _, _ = planned(block, *block_inputs())
    x, runtime = mt.zeros(shape), mt.Runtime()
    with runtime:
        out = function(x, w1, w2)
    with pytest.raises(RecordError, match=f"does not fit what was recorded: {what}"):
        runtime.launch(plan=plan)
    runtime.launch()
    runtime.run()
    assert out is not None
