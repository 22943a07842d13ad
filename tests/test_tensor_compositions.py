"""Tensors, modules, optimisers and modes used together: the gradients are those of what the forward has read."""

import asyncio
import copy
import pickle

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import optim
from msgflow.errors import GradientError, GuardRefused


class Square(nn.Module):
    """The square of a weight, whose gradient tells which weight was read."""

    def __init__(self, value=3.0):
        super().__init__()
        self.w = nn.Parameter(mt.tensor([value]))

    def forward(self):
        return (self.w * self.w).sum()


def assign(module):
    module.w = mt.tensor([10.0])


def load(module):
    module.load_state_dict({"w": mt.tensor([10.0])})


def step(module):
    module.w.grad = mt.tensor([1.0])
    optim.SGD(module.parameters(), lr=1.0).step()
    module.zero_grad()


def convert(module):
    module.to(mt.float64)


@pytest.mark.parametrize("change", [assign, load, step, convert])
def test_a_change_between_forward_and_backward_leaves_the_gradient_of_what_was_read(change):
    module = Square()
    loss = module()
    change(module)
    loss.backward()
    assert module.w.grad.tolist() == [6.0]


def test_a_tensor_of_ones_own_that_got_other_numbers_before_backward_is_refused():
    w = mt.tensor([3.0], requires_grad=True)
    loss = (w * w).sum()
    w.from_numpy([10.0])
    with pytest.raises(GradientError, match="call backward\\(\\) before from_numpy"):
        loss.backward()


def test_a_failed_transaction_leaves_the_weights_and_the_gradient_of_what_it_read():
    module = Square()

    def failing():
        with module.transaction():
            module.w = mt.tensor([5.0])
            module().backward()
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert (module.w.tolist(), module.w.grad.tolist()) == ([3.0], [10.0])


def test_a_linear_in_two_places_gets_the_gradients_of_both():
    shared = nn.Linear(2, 2, bias=False)
    shared.weight = mt.tensor([[1.0, 2.0], [3.0, 4.0]])
    nn.Sequential(shared, shared)(mt.tensor([[1.0, 0.0]])).sum().backward()
    # Of 1^T W W e: (W^T 1) e^T from the inner one, 1 (W e)^T from the outer one.
    assert shared.weight.grad.tolist() == [[1 + 4, 3 + 0], [1 + 6, 3 + 0]]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_keep_tied_weights_tied(copied):
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    twin = copied(nn.Sequential(first, second))
    twin[0].weight = mt.zeros((2, 2))
    assert not twin[1].weight.to_numpy().any()
    assert first.weight.to_numpy().any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_of_half_trained_16_bit_weights_goes_on_as_the_original_does(copied):
    module = nn.Linear(2, 2, dtype=mt.float16)
    optimizer = optim.AdamW(module.parameters(), lr=1e-4)

    def train(module, optimizer):
        for _ in range(20):
            optimizer.zero_grad()
            module(mt.ones((1, 2), mt.float16)).sum().backward()
            optimizer.step()

    train(module, optimizer)
    twin, other = copied((module, optimizer))
    train(module, optimizer)
    train(twin, other)
    assert twin.weight.tolist() == module.weight.tolist()


def test_a_tensor_and_what_was_made_of_it_both_have_gradients():
    x = mt.tensor(3.0, requires_grad=True)
    doubled = x * 2
    square = doubled * doubled
    assert [grad.item() for grad in mt.grad(square, [x, doubled, square])] == [24.0, 12.0, 1.0]


def test_the_third_derivative_of_a_normalisation_is_its_slope():
    weights = mt.tensor([0.3, -1.2, 0.8, 0.5], dtype=mt.float64)

    def first(x):
        return mt.grad((mt.sin(mt.layernorm(x)) * weights).sum(), [x], create_graph=True)[0]

    def second(x):
        return mt.grad((mt.sin(first(x)) * weights).sum(), [x], create_graph=True)[0]

    assert mt.gradcheck(second, [mt.tensor([0.5, -0.3, 1.1, 2.0])], rtol=1e-4)


@pytest.mark.parametrize("kind", [mt.int64, mt.uint8, mt.bool])
def test_what_was_rounded_to_whole_numbers_hands_no_gradient_on(kind):
    x = mt.tensor([1.5, 2.5], requires_grad=True)
    assert not x.to(kind).requires_grad
    (x.to(kind).to(mt.float32) * x).sum().backward()
    assert x.grad.tolist() == x.to(kind).to(mt.float32).tolist()


@pytest.mark.parametrize("gradient", [np.ones(2), 1.0, [1.0, 1.0]])
def test_a_gradient_that_is_no_tensor_is_refused(gradient):
    with pytest.raises(GradientError, match="a gradient that is a tensor, not"):
        mt.ones(2, requires_grad=True).backward(gradient)


# --- modes -----------------------------------------------------------------------------------------------------------


@mt.no_grad()
def plainly(x):
    return x * 2


@mt.no_grad
def barely(x):
    return x * 2


@mt.no_grad()
async def asynchronously(x):
    await asyncio.sleep(0)
    return x * 2


X = mt.ones(1, requires_grad=True)


@pytest.mark.parametrize("function", [plainly, barely, lambda x: asyncio.run(asynchronously(x))])
def test_a_decorated_function_keeps_no_tape_and_its_caller_does(function):
    assert not function(X).requires_grad
    assert (X * 2).requires_grad


def test_a_decorated_function_keeps_its_tape_again_under_enable_grad():
    assert mt.no_grad(mt.enable_grad(lambda x: x * 2))(X).requires_grad
    assert asynchronously.__name__ == "asynchronously"


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(mt.ones(2))

    @mt.no_grad()
    async def aforward(self, x):
        await asyncio.sleep(0)
        return x * self.w


async def test_a_decorated_async_forward_keeps_no_tape_through_both_doors(door):
    assert not (await door(Frozen(), mt.ones(2))).requires_grad


def generated():
    yield X * 2


async def generated_asynchronously():
    with mt.no_grad():
        yield 1
        yield 2


@pytest.mark.parametrize("thing", [generated, generated_asynchronously, nn.Linear])
def test_generators_and_classes_are_not_decorated(thing):
    with pytest.raises(TypeError, match="and not classes or generators"):
        mt.no_grad()(thing)


def test_one_block_is_not_entered_twice_at_once_but_again_later():
    block = mt.no_grad()
    with block, pytest.raises(RuntimeError, match="in force already"):
        block.__enter__()
    with block:
        assert not (X * 2).requires_grad
    assert (X * 2).requires_grad


async def test_a_generator_that_is_closed_in_another_task_closes_quietly():
    numbers = generated_asynchronously()
    await anext(numbers)
    await asyncio.create_task(close(numbers))


async def close(numbers):
    await numbers.aclose()


async def test_no_grad_in_one_task_is_not_in_force_in_others():
    module = nn.Linear(1, 1)
    inside, seen = asyncio.Event(), asyncio.Event()

    async def without():
        with mt.no_grad():
            inside.set()
            await seen.wait()
            return (await module.acall(mt.ones((1, 1)))).requires_grad

    async def beside():
        await inside.wait()
        found = (await module.acall(mt.ones((1, 1)))).requires_grad
        seen.set()
        return found

    assert await asyncio.gather(without(), beside()) == [False, True]


# --- guards ----------------------------------------------------------------------------------------------------------


async def test_a_guard_takes_what_comparing_tensors_gives(door):
    module = nn.Identity()
    nn.Guard(lambda x: x.sum() > 0).register(module)
    assert (await door(module, mt.ones(2))).tolist() == [1.0, 1.0]
    with pytest.raises(GuardRefused):
        await door(module, -mt.ones(2))


@pytest.mark.parametrize("verdict", [mt.tensor([True, True]), mt.tensor(1.0), mt.tensor(1)])
def test_a_guard_refuses_tensors_that_do_not_say_so_clearly(verdict):
    module = nn.Identity()
    nn.Guard(lambda x: verdict).register(module)
    with pytest.raises(GuardRefused):
        module(mt.ones(2))
