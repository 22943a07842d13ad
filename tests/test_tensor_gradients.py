"""The tape: what backward() adds up, what is kept for it and what not, and what cannot have a gradient."""

import contextvars
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import GradientError, ShapeError
from msgflow.tensor.operations import Operation, apply
from tests.tensor_backends import backend  # noqa: F401 # a fixture


def variable(*numbers):
    return mt.tensor(numbers, dtype=mt.float64, requires_grad=True)


def test_a_gradient_reaches_every_tensor_that_requires_one(backend):  # noqa: F811 # a fixture
    x, y = (backend(np.array(numbers), requires_grad=True) for numbers in ([[1.0, 2.0]], [[3.0], [4.0]]))
    constant = backend(np.array([5.0, 6.0]))
    (x * y + constant).sum().backward()  # broadcast to (2, 2)
    assert x.grad.tolist() == [[7, 7]] and y.grad.tolist() == [[3], [3]] and constant.grad is None


def test_a_tensor_that_is_used_many_times_gets_the_sum():
    x = variable(3.0)
    y = x * x
    (y * x + y + x).sum().backward()
    assert x.grad.item() == 3 * 9 + 2 * 3 + 1


def test_several_backwards_add_up_until_the_gradient_is_forgotten():
    x = variable(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    y.backward()
    (x * 10).sum().backward()
    assert x.grad.tolist() == [14, 18]
    x.grad = None
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_accumulating_does_not_change_a_gradient_that_somebody_has():
    x = variable(1.0)
    x.sum().backward()
    had = x.grad
    x.sum().backward()
    assert had.item() == 1 and x.grad.item() == 2


def test_several_numbers_need_a_gradient_of_their_shape():
    x = variable(1.0, 2.0)
    y = x * x
    y.backward(mt.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 40]
    with pytest.raises(GradientError, match=r"only a tensor of one number .* shape \(2,\); take its sum\(\)"):
        y.backward()
    with pytest.raises(ShapeError, match=r"\(1,\) and \(2,\): the gradient has the shape of the tensor"):
        y.backward(mt.tensor([1.0]))


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16])
def test_16_bit_tensors_have_16_bit_gradients(dtype):
    x = mt.tensor([1.5, 2.5]).to(dtype).requires_grad_()
    (x * x).sum().backward()
    assert x.grad.dtype is dtype and x.grad.tolist() == [3, 5]


def test_what_was_promoted_has_a_gradient_of_its_own_type():
    x, y = mt.tensor([1.0], requires_grad=True), variable(2.0)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (mt.float32, mt.float64)


def test_an_input_that_an_operation_has_no_gradient_for_gets_none():
    moved = Operation("moved", lambda xp, x, by: x + by, [lambda grad, out, x, by: grad, None])
    x, by = variable(1.0), variable(2.0)
    apply(moved, x, by * 2).sum().backward()
    assert x.grad.item() == 1 and by.grad is None


# --- long and wide ---------------------------------------------------------------------------------------------------


def test_a_chain_of_10_000_operations_has_a_gradient_and_is_freed():
    x = y = variable(1.0)
    for _ in range(10_000):
        y = y + x
    y.sum().backward()
    assert x.grad.item() == 10_001
    last = weakref.ref(y)
    del y
    assert last() is None  # and no recursion on the way


def test_a_graph_is_freed_without_the_garbage_collector():
    x = variable(1.0)
    middle = x * 2
    seen = weakref.ref(middle)
    loss = (middle * 3).sum()
    gc.disable()
    try:
        loss.backward()
        del loss, middle
        assert seen() is None
    finally:
        gc.enable()


def test_paths_that_double_at_every_operation_are_gone_through_once():
    """2 to the power of 100 paths, and 100 operations."""
    x = y = variable(1.0)
    for _ in range(100):
        y = y + y
    y.sum().backward()
    assert x.grad.item() == 2.0**100


# --- without a tape --------------------------------------------------------------------------------------------------


def test_no_grad_keeps_nothing_and_enable_grad_inside_of_it_does():
    x = variable(2.0)
    with mt.no_grad():
        without = x * x
        with mt.enable_grad():
            inside = x * x
            with mt.no_grad():
                deepest = x * x
        after = x * x
    outside = x * x
    assert [y.requires_grad for y in (without, inside, deepest, after, outside)] == [False, True, False, False, True]
    inside.sum().backward()
    assert x.grad.item() == 4


def test_no_grad_decorates_a_function():
    @mt.no_grad()
    def square(x):
        return x * x

    x = variable(2.0)
    assert not square(x).requires_grad and (x * x).requires_grad


def test_an_exception_ends_no_grad():
    x = variable(2.0)
    with pytest.raises(ShapeError), mt.no_grad():
        x @ mt.zeros((3, 3), mt.float64)
    assert (x * x).requires_grad


def test_another_thread_keeps_its_tape():
    x = variable(2.0)
    with mt.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (x * x).requires_grad).result()
        inherited = contextvars.copy_context()
        assert not pool.submit(inherited.run, lambda: (x * x).requires_grad).result()


def test_threads_that_train_on_their_own_do_not_mix():
    def gradient(number):
        x = variable(float(number))
        start.wait(10)
        for _ in range(20):
            (x * x).sum().backward()
        return x.grad.item()

    start = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(gradient, range(4))) == [20 * 2.0 * number for number in range(4)]


def test_detach_cuts_the_history_and_keeps_the_numbers():
    x = variable(3.0)
    y = x * x
    (y.detach() * x).sum().backward()
    assert x.grad.item() == 9 and y.detach().is_leaf and not y.detach().requires_grad


def test_a_detached_tensor_may_require_a_gradient_of_its_own():
    x = variable(3.0)
    y = (x * x).detach().requires_grad_()
    (y * 2).sum().backward()
    assert y.grad.item() == 2 and x.grad is None


def test_results_of_operations_keep_no_gradient():
    x = variable(3.0)
    y = x * x
    y.sum().backward()
    assert y.grad is None and y.requires_grad and not y.is_leaf


# --- refused ---------------------------------------------------------------------------------------------------------


def test_a_constant_has_no_gradient():
    with pytest.raises(GradientError, match="nothing that this tensor was made from requires one"):
        mt.tensor([1.0]).sum().backward()
    with mt.no_grad():
        y = variable(1.0).sum()
    with pytest.raises(GradientError, match="no_grad"):
        y.backward()


@pytest.mark.parametrize("dtype", [mt.int64, mt.bool])
def test_whole_numbers_have_no_gradient(dtype):
    with pytest.raises(GradientError, match=f"only floating-point tensors have gradients, not {dtype.name}"):
        mt.zeros((2,), dtype).requires_grad_()


def test_the_result_of_an_operation_cannot_be_told_to_require_none():
    y = variable(1.0) * 2
    assert y.requires_grad_() is y
    with pytest.raises(GradientError, match=r"take .detach\(\) of it"):
        y.requires_grad_(False)
    with pytest.raises(GradientError, match="this tensor keeps no gradient"):
        y.grad = mt.tensor([1.0])


@pytest.mark.parametrize("changed", [0, 1])
def test_numbers_given_after_their_use_are_an_error(changed):
    """Also those of a constant: the gradient of the other would be of its new numbers."""
    given = [variable(2.0), mt.tensor([3.0], dtype=mt.float64)]
    y = (given[0] * given[1]).sum()
    given[changed].from_numpy([5.0])
    with pytest.raises(GradientError, match=r"a tensor that multiply was computed from has been given other numbers"):
        y.backward()


def test_numbers_given_to_a_result_are_an_error():
    with pytest.raises(GradientError, match="this tensor is the result of an operation"):
        (variable(1.0) * 2).from_numpy([1.0])


def test_weights_that_are_loaded_after_their_use_leave_the_gradient_as_it_was():
    module = nn.Module()
    module.weight = nn.Parameter(mt.tensor([2.0]))
    y = (module.weight * module.weight).sum()
    module.load_state_dict({"weight": mt.tensor([100.0])})
    y.backward()
    assert module.get_parameter("weight").grad.item() == 4


def test_a_gradient_that_fails_leaves_no_gradients_and_the_tape_on():
    x, constant = variable(2.0), mt.tensor([3.0], dtype=mt.float64)
    y = ((x * constant) * x).sum()
    constant.from_numpy([4.0])
    with pytest.raises(GradientError):
        y.backward()
    assert x.grad is None and (x * x).requires_grad
