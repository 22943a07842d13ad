"""Any program of operations gives in a run what it gives by itself, whatever is fused, shared or overwritten."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import msgflow.tensor as mt
from msgflow.tensor.runtime import chain

SIZE = 8
OPERATIONS = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (y * y + 1.0),
    "scale": lambda x, y: x * 0.5 - 1.0,
    "relu": lambda x, y: mt.relu(x),
    "gelu": lambda x, y: mt.gelu(x),
    "clip": lambda x, y: mt.clip(x, -1.0, 1.0),
    "choose": lambda x, y: mt.where(x > y, x, 0.5),
    "compare": lambda x, y: mt.where(x > 0.0, y, x),
    "product": lambda x, y: mt.tanh(x @ y),
    "bias": lambda x, y: mt.relu(x @ y * 0.1 + y[0]),
    "normalise": lambda x, y: mt.layernorm(x + y),
    "rows": lambda x, y: mt.softmax(x),
    "columns": lambda x, y: mt.softmax(x, axis=0),
    "turn": lambda x, y: x.T,
    "regroup": lambda x, y: x.reshape(2, 4, SIZE).permute(1, 0, 2).reshape(SIZE, SIZE),
    "total": lambda x, y: x.sum(axis=0, keepdims=True) + y,
    "part": lambda x, y: mt.concat([x[:3], y[3:]]),
    "row": lambda x, y: x[2] + y,
    "detach": lambda x, y: x.detach() + 0.0,
    "there and back": lambda x, y: x.to(dtype=mt.float64).to(dtype=x.dtype) * 1.0,
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 99), st.integers(0, 99)), min_size=1)


def carried_out(steps, kept, inputs):
    """The results that are kept; each step takes two of the inputs and of the results before it."""
    values = list(inputs)
    for operation, first, second in steps:
        values.append(OPERATIONS[operation](values[first % len(values)], values[second % len(values)]))
    made = values[len(inputs) :]
    return [made[number] for number in sorted({number % len(made) for number in kept})]


def numbers(rng):
    return rng.standard_normal((SIZE, SIZE)).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, kept=st.lists(st.integers(0, 99), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_runs_give_what_operations_give(monkeypatch, dtype, steps, kept, seed):
    """Held results stay what they were; the plan's text, read back, fits and gives the same numbers."""
    monkeypatch.setattr(chain, "PART", 64)  # so that there are several parts
    monkeypatch.setattr(chain, "SMALL_PART", 32)
    rng = np.random.default_rng(seed)
    changing = [mt.tensor(numbers(rng), dtype) for _ in range(3)]
    constant = numbers(rng)
    runtime = mt.Runtime()
    with runtime:
        outs = carried_out(steps, kept, [*changing, mt.tensor(constant, dtype)])
    runtime.launch()
    held = []
    for turn in range(3):
        for tensor in changing:
            tensor.from_numpy(numbers(rng))
        runtime.run()
        expected = carried_out(steps, kept, [*changing, mt.tensor(constant, dtype)])
        for out, wanted in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out.to_numpy(), wanted.to_numpy(), rtol=1e-4, atol=1e-5)
        if turn == 1:
            runtime.stop()
            runtime.launch(plan=mt.Plan.from_json(runtime.plan.to_json()))
        held += [(out.detach(), out.to_numpy()) for out in outs[:1]]
    for tensor, was in held:
        np.testing.assert_array_equal(tensor.to_numpy(), was)
