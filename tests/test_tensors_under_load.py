"""Tensors while threads and tasks call, swap and train; and what is still in memory afterwards."""

import asyncio
import copy
import gc
import sys
import threading
from contextlib import contextmanager
from weakref import ref

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import optim
from msgflow.errors import GradientError


class Marked(nn.Module):
    """Every value of its state has the number of the version that it belongs to."""

    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("0")
        self.weight = nn.Parameter(mt.zeros((2, 2)))
        self.register_buffer("scale", mt.zeros(2))
        self.offset = mt.zeros(3)
        self.linear = nn.Linear(2, 2, bias=False)
        self.linear.weight = mt.zeros((2, 2))

    def forward(self):
        """The numbers of the versions that are read, which should be one."""
        first = {self.weight[0, 0].item(), self.offset[1].item()}
        through_linear = self.linear(mt.ones(2, self.linear.weight.dtype))[0].item() / 2
        return first | {through_linear, self.scale[1].item(), float(self.prompt)}

    def state(self, number):
        return {
            key: str(number) if key == "prompt" else mt.full(value.shape, float(number), value.dtype)
            for key, value in self.state_dict().items()
        }


@pytest.fixture
def often_switching():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@contextmanager
def beside(*functions):
    """Each function runs in a thread of its own, again and again until the block ends; the first failure is raised."""
    ended, failures = threading.Event(), []

    def repeated(function):
        while not ended.is_set():
            try:
                function()
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=repeated, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("often_switching")
def test_no_call_sees_tensors_or_texts_of_two_versions_while_they_are_swapped_and_converted():
    module, seen = Marked(), []

    def call():
        seen.append(module())

    def call_in_tasks():
        async def calls():
            return await asyncio.gather(*[module.acall() for _ in range(50)])

        seen.extend(asyncio.run(calls()))

    with beside(call, call, call, call, call_in_tasks):
        for number in range(1, 61):
            if number % 3 == 0:
                module.to(mt.float64 if number % 2 else mt.float32)
            elif number % 3 == 1:
                module.load_state_dict(module.state(number))
            else:
                with module.transaction():
                    for key, value in module.state(number).items():
                        place, _, name = key.rpartition(".")
                        setattr(module.get_submodule(place), name, value)
            seen.append(copy.deepcopy(module)())
    assert {len(versions) for versions in seen} == {1}


@pytest.mark.usefixtures("often_switching")
def test_calls_and_copies_go_on_while_a_thread_trains():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = optim.AdamW(module.parameters(), lr=0.01)
    x = mt.ones((4, 3))

    def look():
        with mt.no_grad():
            assert not module(x).requires_grad
        twin = copy.deepcopy(module)
        assert twin.digest() == twin.digest()
        assert module(x).requires_grad

    with beside(look, look):
        for _ in range(60):
            optimizer.zero_grad()
            loss = module(x).sum()
            loss.backward()
            optimizer.step()
    assert loss.item() > module(x).sum().item()


@pytest.mark.usefixtures("often_switching")
def test_no_gradient_is_lost_where_threads_go_back_to_one_parameter():
    linear = nn.Linear(1, 1, bias=False)

    def many():
        for _ in range(250):
            linear(mt.ones((1, 1))).sum().backward()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert linear.weight.grad.item() == 1000


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def uncollected():
    """Nothing is freed but by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_thousand_training_steps_leave_nothing_behind():
    module = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.1), nn.LoRA(nn.Linear(8, 3)))
    optimizer = optim.AdamW(module.parameters(), lr=1e-3)
    x = mt.ones((2, 4))

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            mt.cross_entropy(module(x), [0, 2]).backward()
            optimizer.step()

    train(10)
    before = len(gc.get_objects())
    train(1000)
    assert len(gc.get_objects()) - before < 100


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_dropped_loss_frees_what_it_was_made_from(create_graph):
    w = mt.ones(3, requires_grad=True)
    cubes = w * w * w
    seen = ref(cubes)
    loss = cubes.sum()
    loss.backward(create_graph=create_graph)
    del cubes
    assert seen() is not None
    del loss
    assert seen() is None


@pytest.mark.usefixtures("uncollected")
def test_a_gradient_function_frees_what_it_computed():
    seen = []

    def squares(x):
        y = x * x
        seen.append(ref(y))
        return y.sum()

    mt.grad(lambda x: mt.grad(squares)(x).sum())(mt.ones(2))
    assert [each() for each in seen] == [None]


@pytest.mark.usefixtures("uncollected")
def test_a_swapped_weight_is_freed_with_the_last_graph_that_reads_it():
    linear = nn.Linear(2, 2)
    seen = ref(linear.weight.array)
    out = linear(mt.ones(2))
    linear.weight = mt.zeros((2, 2))
    assert seen() is not None
    del out
    assert seen() is None


@pytest.mark.usefixtures("uncollected")
def test_a_tape_of_any_length_is_walked_and_freed():
    w = mt.ones(1, requires_grad=True)
    total = w * 1.0
    seen = ref(total)
    for _ in range(30_000):
        total = total + 1.0
    total.backward()
    del total
    assert (w.grad.tolist(), seen()) == ([1.0], None)


def test_an_optimiser_shares_no_array_with_a_gradient_that_two_parameters_share():
    a, b = mt.ones(3, requires_grad=True), mt.ones(3, requires_grad=True)
    optimizer = optim.SGD([a, b], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (a + b).sum().backward()
        optimizer.step()
        np.testing.assert_array_equal(a.grad.to_numpy(), np.ones(3))
    np.testing.assert_array_equal(a.to_numpy(), b.to_numpy())


@pytest.mark.usefixtures("uncollected")
def test_weights_go_with_their_module_and_wait_for_no_garbage_collector():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.scale = mt.ones(3)
            self.register_buffer("table", mt.zeros(3))

    steps = Steps()
    arrays = [ref(tensor.array) for tensor in (steps.layer.weight, steps.scale, steps.table)]
    del steps
    assert [array() for array in arrays] == [None] * 3


def test_a_weight_may_outlive_its_module():
    weight = nn.Linear(2, 2).weight
    (weight * 3.0).sum().backward()
    assert weight.grad.tolist() == [[3.0, 3.0]] * 2 and weight.requires_grad and weight.spec is None
    assert weight.from_numpy(np.ones((2, 2))).tolist() == [[1.0, 1.0]] * 2
    loss = nn.Linear(2, 2)(mt.ones(2)).sum()
    loss.backward()


def test_a_buffers_tensor_keeps_no_gradient():
    module = nn.Module()
    module.register_buffer("table", mt.zeros(3))
    with pytest.raises(GradientError, match="keeps no gradient"):
        module.table.grad = mt.ones(3)


@pytest.mark.parametrize("wrong", [np.ones((2, 3)), 1.0, mt.ones((3, 2))], ids=["an array", "a number", "a shape"])
def test_what_is_no_gradient_is_refused_at_once(wrong):
    layer = nn.Linear(3, 2)
    for kept in (layer.weight, layer.get_parameter("weight")):
        with pytest.raises(GradientError, match=r"the gradient of float32 \(2, 3\) is a tensor of its shape, or None"):
            kept.grad = wrong
    layer.get_parameter("weight").grad = mt.ones((2, 3))
    assert layer.weight.grad.tolist() == [[1.0] * 3] * 2
