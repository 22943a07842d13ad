"""Learning rates over time, and gradients kept small, by their formulas."""

import math

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import optim
from msgflow.errors import GradientError
from msgflow.optim import lr_scheduler
from tests.tensor_backends import backend  # noqa: F401 # a fixture


def optimizer(*rates):
    return optim.SGD([{"params": mt.tensor([1.0]).requires_grad_(), "lr": rate} for rate in rates])


def rates(schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append(schedule.get_last_lr()[0])
        schedule.step()
    return seen


def test_a_cosine_goes_down_within_t_max_steps_and_up_again():
    seen = rates(lr_scheduler.CosineAnnealingLR(optimizer(0.5), T_max=4, eta_min=0.1), 9)
    expected = [0.1 + 0.4 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(9)]
    assert seen == pytest.approx(expected) and seen[4] == pytest.approx(0.1) and seen[8] == pytest.approx(0.5)


def test_a_warm_up_is_linear_and_stays_at_its_end():
    seen = rates(lr_scheduler.LinearLR(optimizer(0.8), 0.25, 1.0, total_iters=3), 6)
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_a_function_gives_the_factor_of_each_group():
    schedule = lr_scheduler.LambdaLR(optimizer(1.0, 2.0), [lambda step: 1 / (1 + step), lambda step: 0.5**step])
    schedule.step()
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([1 / 3, 0.5])


def test_one_schedule_follows_the_other_at_the_milestone():
    trained = optimizer(0.8)
    warm_up = lr_scheduler.LinearLR(trained, 0.5, total_iters=2)
    cosine = lr_scheduler.CosineAnnealingLR(trained, T_max=2)
    seen = rates(lr_scheduler.SequentialLR(trained, [warm_up, cosine], milestones=[2]), 5)
    assert seen == pytest.approx([0.4, 0.6, 0.8, 0.4, 0.0])


def test_a_group_that_is_added_later_is_scheduled_from_its_own_rate():
    trained = optimizer(0.8)
    schedule = lr_scheduler.LinearLR(trained, 0.5, total_iters=2)
    trained.add_param_group({"params": mt.tensor([1.0]).requires_grad_(), "lr": 0.4})
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.6, 0.3])


def test_a_schedule_goes_on_where_its_state_says():
    first, second = (lr_scheduler.CosineAnnealingLR(optimizer(0.5), T_max=10) for _ in range(2))
    rates(first, 4)
    second.load_state_dict(first.state_dict())
    assert first.state_dict() == {"last_epoch": 4} and second.get_last_lr() == first.get_last_lr()
    assert rates(second, 3) == rates(first, 3)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=0), "T_max is 0; it has to be at least 1"),
        (lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=5, eta_min=-1), "eta_min is -1"),
        (lambda opt: lr_scheduler.LinearLR(opt, start_factor=-1), "start_factor is -1"),
        (lambda opt: lr_scheduler.LambdaLR(opt, [abs, abs]), "lr_lambda has 2 functions; expected 1"),
        (lambda opt: lr_scheduler.SequentialLR(opt, [], []), "a sequence needs at least one schedule"),
        (lambda opt: sequence(opt, opt, [1, 2]), "2 schedules need 1 milestones between them, not 2"),
        (lambda opt: sequence(opt, optimizer(1.0), [1]), "a schedule in the sequence is of another optimiser"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made(optimizer(0.5))


def sequence(first, second, milestones):
    return lr_scheduler.SequentialLR(
        first, [lr_scheduler.LinearLR(first), lr_scheduler.LinearLR(second)], milestones=milestones
    )


def test_milestones_have_to_rise():
    trained = optimizer(0.5)
    parts = [lr_scheduler.LinearLR(trained) for _ in range(3)]
    with pytest.raises(ValueError, match=r"milestones is \[3, 2\]; it has to be rising"):
        lr_scheduler.SequentialLR(trained, parts, milestones=[3, 2])


# --- clipping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm_type", "norm"), [(2, 13.0), (1, 19.0), (math.inf, 12.0)])
def test_gradients_are_scaled_to_the_norm(norm_type, norm, backend):  # noqa: F811 # a fixture
    first, second = (backend(np.array(grad)).requires_grad_() for grad in ([0.0, 0.0], [[0.0]]))
    first.grad, second.grad = backend(np.array([3.0, -4.0])), backend(np.array([[12.0]]))
    assert optim.clip_grad_norm_([first, second], 1.0, norm_type).item() == pytest.approx(norm)
    np.testing.assert_allclose(first.grad.to_numpy(), np.array([3.0, -4.0]) / norm, rtol=1e-6)
    np.testing.assert_allclose(second.grad.to_numpy(), [[12.0 / norm]], rtol=1e-6)


def test_gradients_within_the_norm_stay_the_very_same():
    module = nn.Linear(2, 2)
    for parameter in module.parameters():
        parameter.grad = mt.zeros(parameter.data.shape)
    before = [parameter.grad for parameter in module.parameters()]
    assert optim.clip_grad_norm_(module, 0.5).item() == 0
    assert all(parameter.grad is grad for parameter, grad in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("empty", [mt.tensor([1.0]).requires_grad_(), mt.zeros((0,)).requires_grad_()])
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
def test_no_gradients_have_the_norm_0(empty, norm_type):
    if not empty.size:
        empty.grad = mt.zeros((0,))
    assert optim.clip_grad_norm_([empty], 1.0, norm_type).item() == 0


def test_large_float32_gradients_do_not_overflow_on_their_way():
    a = mt.tensor([0.0, 0.0]).requires_grad_()
    a.grad = mt.tensor([3e30, 4e30])
    assert optim.clip_grad_norm_([a], 1.0).item() == pytest.approx(5e30)
    np.testing.assert_allclose(a.grad.to_numpy(), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_gradients_are_clipped_in_float32(dtype):
    a = mt.tensor([0.0, 0.0]).to(dtype=dtype).requires_grad_()
    a.grad = mt.tensor([300.0, 400.0]).to(dtype=dtype)
    assert optim.clip_grad_norm_([a], 5.0).item() == pytest.approx(500.0)
    assert a.grad.tolist() == [3.0, 4.0] and a.grad.dtype is a.dtype
    optim.clip_grad_value_([a], 3.5)
    assert a.grad.tolist() == [3.0, 3.5] and a.grad.dtype is a.dtype


def test_values_are_brought_into_a_range(backend):  # noqa: F811 # a fixture
    a, b = (backend(np.zeros(3)).requires_grad_() for _ in range(2))
    a.grad = backend(np.array([-3.0, 0.5, math.nan]))
    optim.clip_grad_value_([a, b], 1.0)
    np.testing.assert_array_equal(a.grad.to_numpy(), [-1.0, 0.5, math.nan])
    assert b.grad is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
def test_a_norm_that_is_not_finite_is_an_error_where_asked_for(wrong, norm_type):
    a = mt.tensor([0.0, 0.0]).requires_grad_()
    a.grad = grad = mt.tensor([wrong, 1.0])
    with pytest.raises(GradientError, match=f"the norm of the gradients is {wrong}, so that they cannot be clipped"):
        optim.clip_grad_norm_([a], 1.0, norm_type, error_if_nonfinite=True)
    assert a.grad is grad


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (lambda a: optim.clip_grad_norm_(a, -1.0), "max_norm is -1.0"),
        (lambda a: optim.clip_grad_norm_(a, 1.0, 0), "norm_type is 0; it has to be above 0, or inf"),
        (lambda a: optim.clip_grad_norm_(a, 1.0, -1), "norm_type is -1"),
        (lambda a: optim.clip_grad_value_(a, math.nan), "clip_value is nan"),
    ],
)
def test_limits_that_make_no_sense_are_refused(clip, message):
    with pytest.raises(ValueError, match=message):
        clip(mt.tensor([1.0]).requires_grad_())
