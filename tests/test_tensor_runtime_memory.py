"""What a run takes and writes: no new outputs, never over numbers that somebody holds, one thread at a time."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import RecordError
from tests.recorded import recorded


def block(x, w1, w2):
    return mt.layernorm(mt.matmul(mt.matmul(x, w1, is_relu=True), w2) + x)


def peak(function):
    """Bytes that a call takes at most, beyond what is taken before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_run_takes_no_memory_for_its_results():
    """What it takes are numpy's 32 KiB for broadcasting, and a number for each of 64 rows."""
    x, w1, w2 = mt.zeros((1, 64, 512)), mt.ones((512, 2048)), mt.ones((2048, 512))
    runtime, out = recorded(block, x, w1, w2)
    runtime.run()
    array, address = id(out.array), out.array.ctypes.data
    assert peak(lambda: runtime.run(iter=5)) < 40_000 < out.array.nbytes // 3
    assert (id(out.array), out.array.ctypes.data) == (array, address)
    assert peak(lambda: block(x, w1, w2)) > 500_000


def test_memory_begins_at_cache_lines():
    x = mt.zeros((3, 5))
    runtime, outs = recorded(lambda x: [x + 1, x[:1] * 2, x.sum(axis=0)], x)
    runtime.run()
    assert all(out.array.ctypes.data % 64 == 0 for out in outs)


HOLDS = {
    "detach": lambda out: out.detach(),
    "a view": lambda out: out.reshape(4)[1:],
    "an array": lambda out: np.asarray(out),
    "a view of an array": lambda out: np.asarray(out)[:, 0],
    "DLPack": lambda out: np.from_dlpack(out),
    "a copy": lambda out: mt.tensor(out),
    "another tensor": lambda out: mt.zeros((2, 2)).from_numpy(out),
}


@pytest.mark.parametrize("name", HOLDS)
def test_numbers_that_somebody_holds_are_not_written_over(name):
    x = mt.zeros((2, 2))
    runtime, out = recorded(lambda x: x + 1, x)
    held = []
    for number in (1.0, 2.0, 3.0):
        x.from_numpy(np.full((2, 2), number))
        runtime.run()
        held.append(HOLDS[name](out))
    assert [float(np.asarray(one).reshape(-1)[0]) for one in held] == [2.0, 3.0, 4.0]


def test_an_output_that_became_state_stays_what_it_was():
    module, x = nn.Linear(2, 1, bias=False), mt.zeros((1, 2))
    runtime, out = recorded(lambda x: x + 1, x)
    runtime.run()
    module.weight = out
    state = module.state_dict()
    x.from_numpy([[5.0, 6.0]])
    runtime.run()
    assert module.weight.tolist() == state["weight"].tolist() == [[1.0, 1.0]] and out.tolist() == [[6.0, 7.0]]


def test_views_of_one_buffer_are_outputs_together():
    x = mt.zeros((2, 2))

    def two(x):
        y = x + 1
        return y, y.T, y.reshape(4)

    runtime, outs = recorded(two, x)
    for number in (1.0, 2.0):
        x.from_numpy(np.full((2, 2), number))
        runtime.run()
        assert all((out.to_numpy() == number + 1).all() for out in outs)
    held = outs[2].detach()
    runtime.run()
    x.from_numpy(np.zeros((2, 2)))
    runtime.run()
    assert held.tolist() == [3.0] * 4 and outs[0].tolist() == [[1.0, 1.0]] * 2


def test_numbers_given_to_an_output_are_written_over_by_the_next_run():
    x = mt.zeros(2)
    runtime, out = recorded(lambda x: x + 1, x)
    runtime.run()
    given = mt.tensor([7.0, 8.0])
    out.from_numpy(given)
    assert out.tolist() == [7.0, 8.0]
    runtime.run()
    assert (out.tolist(), given.tolist()) == ([1.0, 1.0], [7.0, 8.0])


def test_after_other_memory_was_taken_what_depends_on_state_is_not_computed_again():
    mt.manual_seed(0)
    linear, x = nn.Linear(2, 2, dtype=mt.float16), mt.ones((1, 2), mt.float16)
    runtime, out = recorded(lambda x: linear(x) + linear.bias, x)
    runtime.run()
    held = out.detach()
    runtime.run()
    np.testing.assert_array_equal(held.to_numpy(), out.to_numpy())
    linear.bias = mt.ones(2, mt.float16)
    runtime.run()
    assert (held.to_numpy() != out.to_numpy()).any()


def test_a_stopped_runtime_holds_no_memory_but_its_outputs():
    x = mt.zeros((64, 64))
    runtime, out = recorded(lambda x: mt.exp(x) @ x, x)
    runtime.run()
    hidden = weakref.ref(out.array.base)
    runtime.stop()
    del out
    gc.collect()
    assert hidden() is None


def test_a_recording_holds_no_intermediate_result():
    alive = []

    def deep(x):
        for _ in range(3):
            x = mt.exp(x)
            alive.append(weakref.ref(x))
        return x

    _, out = recorded(deep, mt.zeros(3))
    assert [one() is not None for one in alive] == [False, False, True] and out is alive[-1]()


def test_runtimes_in_threads_are_independent():
    def work(number, results):
        x = mt.zeros(3)
        runtime, out = recorded(lambda x: mt.layernorm(x * number) + number, x)
        for step in range(20):
            x.from_numpy([step, step + 1.0, step + 2.0])
            runtime.run()
        results[number] = out.to_numpy()

    results = {}
    threads = [threading.Thread(target=work, args=(number, results)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in results.items():
        expected = (mt.layernorm(mt.tensor([19.0, 20.0, 21.0]) * number) + number).to_numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_one_runtime_in_two_threads_is_refused():
    """Its outputs are one set of arrays: the second run would write over what the first is read from."""
    inside, goes_on = threading.Event(), threading.Event()

    class Waiting(nn.Parameter):
        @property
        def value(self):
            inside.set()
            goes_on.wait(10)
            return super().value

    goes_on.set()
    weight, x = Waiting(mt.ones(2)), mt.ones(2)
    runtime, out = recorded(lambda x: x * weight.value, x)
    inside.clear()
    goes_on.clear()
    thread = threading.Thread(target=runtime.run)
    thread.start()
    assert inside.wait(10)
    for use in (runtime.run, runtime.stop, runtime.launch):
        with pytest.raises(RecordError, match="in use in another thread"):
            use()
    goes_on.set()
    thread.join()
    runtime.run()
    assert out.tolist() == [1.0, 1.0]
