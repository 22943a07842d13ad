"""Optimisers follow their formulas, written out here number by number."""

import math

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow import optim
from msgflow.errors import GradientError
from msgflow.optim import arrays
from tests.in_python import run_script
from tests.tensor_backends import backend  # noqa: F401 # a fixture

RANDOM = np.random.default_rng(0)


def sgd(value, grads, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Sutskever et al. 2013, with the gradient in the place of the step, as PyTorch writes it."""
    velocity = None
    for grad in grads:
        grad = grad + weight_decay * value
        velocity = grad if velocity is None else momentum * velocity + (1 - dampening) * grad
        value = value - lr * (grad + momentum * velocity if nesterov else velocity)
        if not momentum:
            velocity = None
    return value


def adamw(value, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    """Loshchilov and Hutter 2019, algorithm 2."""
    mean = square = 0.0
    for step, grad in enumerate(grads, 1):
        mean = betas[0] * mean + (1 - betas[0]) * grad
        square = betas[1] * square + (1 - betas[1]) * grad**2
        unbiased, spread = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
        value = value - lr * weight_decay * value - lr * unbiased / (math.sqrt(spread) + eps)
    return value


RULES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    (optim.AdamW, adamw, {"lr": 0.1}),
    (optim.AdamW, adamw, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.0}),
]


def trained(kind, options, values, all_grads, make=mt.tensor):
    parameter = make(values).requires_grad_()
    optimizer = kind([parameter], **options)
    for grads in all_grads:
        parameter.grad = make(grads)
        optimizer.step()
    return parameter.to_numpy()


@pytest.mark.parametrize(("kind", "rule", "options"), RULES)
def test_every_number_follows_the_formula(kind, rule, options, backend):  # noqa: F811 # a fixture
    values, grads = RANDOM.standard_normal((2, 3)), RANDOM.standard_normal((20, 2, 3))
    expected = [[rule(values[i, j], grads[:, i, j], **options) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(trained(kind, options, values, grads, backend), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_arrays_in_pieces_are_stepped_as_whole_ones(kind, monkeypatch):
    # Gradients as views of any layout, because those of a transposed product are.
    values, grads = RANDOM.standard_normal((7, 11)), RANDOM.standard_normal((5, 11, 7)).transpose(0, 2, 1)
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    whole = trained(kind, options, values.T.copy().T, grads)
    monkeypatch.setattr(arrays, "CHUNK", 5)
    np.testing.assert_array_equal(trained(kind, options, values.T.copy().T, grads), whole)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,)])
def test_shapes_at_the_edge(shape):
    values, grads = np.full(shape, 2.0), np.full((3, *shape), 0.5)
    expected = np.full(shape, adamw(2.0, [0.5] * 3))
    np.testing.assert_allclose(trained(optim.AdamW, {}, values, grads), expected, rtol=1e-15)


@pytest.mark.parametrize("shape", [(3,), ()])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_parameters_are_stepped_in_float32_and_rounded(dtype, shape):
    """Steps that are too small for 16 bits one by one still add up."""
    values, grads = np.ones(shape, "float32"), np.full((100, *shape), 0.5, "float32")
    expected = np.full(shape, sgd(1.0, [0.5] * 100, 1e-4), "float32")
    made = trained(optim.SGD, {"lr": 1e-4}, values, grads, lambda array: mt.tensor(array).to(dtype=dtype))
    np.testing.assert_array_equal(made, mt.tensor(expected).to(dtype=dtype).to_numpy())
    assert (made < 1).all()


def test_a_16_bit_parameter_that_is_given_another_value_goes_on_from_that():
    parameter = mt.tensor([1.0, 2.0]).to(dtype="float16").requires_grad_()
    optimizer = optim.SGD([parameter], lr=0.5)
    for value in (1.0, 8.0):
        parameter.from_numpy([value, value])
        parameter.grad = mt.tensor([1.0, 1.0]).to(dtype="float16")
        optimizer.step()
        assert parameter.tolist() == [value - 0.5] * 2


def test_parameters_that_become_wider_take_their_moments_with_them():
    narrow, wide = (mt.tensor([1.0, 2.0], dtype=dtype).requires_grad_() for dtype in ("float32", "float64"))
    of_narrow, of_wide = (optim.AdamW([parameter], lr=0.1) for parameter in (narrow, wide))
    for optimizer, parameter in ((of_narrow, narrow), (of_wide, wide)):
        parameter.grad = mt.tensor([0.5, 0.25])
        optimizer.step()
    narrow.array = narrow.array.astype("float64")  # as a module's .to(dtype=) does
    for optimizer, parameter in ((of_narrow, narrow), (of_wide, wide)):
        optimizer.step()
        assert parameter.dtype is wide.dtype
    np.testing.assert_allclose(narrow.to_numpy(), wide.to_numpy(), rtol=1e-6)


# --- which parameters ------------------------------------------------------------------------------------------------


def test_parameters_without_a_gradient_and_frozen_ones_stay():
    a, b, c = (mt.tensor([1.0]).requires_grad_() for _ in range(3))
    optimizer = optim.AdamW([a, b, c], lr=0.1)
    a.grad = c.grad = mt.tensor([1.0])
    c.requires_grad_(False)
    optimizer.step()
    assert a.item() != 1 and b.item() == c.item() == 1


def test_a_group_has_options_of_its_own_and_the_others_defaults():
    a, b = (mt.tensor([1.0]).requires_grad_() for _ in range(2))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b, "name": "heads"}], lr=0.1)
    a.grad = b.grad = mt.tensor([1.0])
    optimizer.step()
    assert [a.item(), b.item()] == pytest.approx([0.5, 0.9])
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]
    optimizer.param_groups[1]["lr"] = 0.2
    optimizer.step()
    assert b.item() == pytest.approx(0.7)


def test_a_group_that_is_added_later_is_trained_from_then_on():
    a, b = (mt.tensor([1.0]).requires_grad_() for _ in range(2))
    optimizer = optim.SGD([a], lr=0.1)
    b.grad = mt.tensor([1.0])
    optimizer.step()
    optimizer.add_param_group({"params": [("b", b)], "lr": 0.5})
    optimizer.step()
    assert b.item() == 0.5 and optimizer.param_groups[1]["param_names"] == ["b"]


def test_a_parameter_given_twice_is_stepped_once():
    a = mt.tensor([1.0]).requires_grad_()
    optimizer = optim.SGD([a, a], lr=0.1)
    a.grad = mt.tensor([1.0])
    optimizer.step()
    assert a.item() == pytest.approx(0.9)
    with pytest.raises(ValueError, match="w: in two groups; a parameter is stepped once"):
        optimizer.add_param_group({"params": [("w", a)]})


def test_zero_grad_forgets_gradients():
    a = mt.tensor([1.0]).requires_grad_()
    a.grad = mt.tensor([1.0])
    optim.SGD([a], lr=0.1).zero_grad()
    assert a.grad is None


def test_a_closure_computes_the_loss_and_is_given_back():
    a = mt.tensor([3.0]).requires_grad_()

    def closure():
        loss = (a * a).sum()
        loss.backward()
        return loss

    with mt.no_grad():
        loss = optim.SGD([a], lr=0.1).step(closure)
    assert loss.item() == 9 and a.item() == pytest.approx(3 - 0.1 * 6)


def test_gradients_that_are_not_finite_reach_the_parameter():
    a = mt.tensor([1.0, 1.0]).requires_grad_()
    a.grad = mt.tensor([math.nan, 1.0])
    optim.AdamW([a]).step()
    assert math.isnan(a.tolist()[0]) and math.isfinite(a.tolist()[1])


def test_a_gradient_of_another_type_is_converted():
    a = mt.tensor([1.0], dtype="float64").requires_grad_()
    a.grad = mt.tensor([0.5])
    optim.SGD([a], lr=1.0).step()
    assert a.item() == 0.5


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.SGD, {"lr": -1}, "lr is -1; it has to be at least 0"),
        (optim.SGD, {"lr": math.nan}, "lr is nan; it has to be at least 0"),
        (optim.SGD, {"lr": 0.1, "momentum": -0.5}, "momentum is -0.5"),
        (optim.SGD, {"lr": 0.1, "weight_decay": math.inf}, "weight_decay is inf"),
        (
            optim.SGD,
            {"lr": 0.1, "nesterov": True},
            "nesterov needs a momentum above 0 and no dampening, not momentum=0",
        ),
        (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "nesterov": True}, "and dampening=0.1"),
        (optim.AdamW, {"betas": (0.9, 1.0)}, r"betas\[1\] is 1.0; it has to be at least 0 and below 1"),
        (optim.AdamW, {"betas": 0.9}, "betas is 0.9; it has to be two numbers"),
        (optim.AdamW, {"eps": -1e-8}, "eps is -1e-08"),
    ],
)
def test_options_out_of_range_are_refused_by_name(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind([mt.tensor([1.0]).requires_grad_()], **options)


def test_an_option_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match=r"lr is a number, not '0.1' of type str"):
        optim.SGD([mt.tensor([1.0]).requires_grad_()], lr="0.1")


def test_numbers_of_numpy_are_options():
    a = mt.tensor([1.0]).requires_grad_()
    optimizer = optim.SGD([a], lr=np.float32(0.5), momentum=np.int64(0))
    assert [type(optimizer.param_groups[0][name]) for name in ("lr", "momentum")] == [float, float]


def test_an_unknown_option_of_a_group_is_refused_with_the_near_one():
    a = mt.tensor([1.0]).requires_grad_()
    with pytest.raises(ValueError, match="AdamW has no option 'weight_decai'; did you mean 'weight_decay'"):
        optim.AdamW([{"params": [a], "weight_decai": 0.1}])
    with pytest.raises(ValueError, match="SGD has no option 'amsgrad'; there are lr, momentum"):
        optim.SGD([{"params": [a], "amsgrad": True}])


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "SGD was given no parameter that holds a tensor"),
        (5, TypeError, r"an optimiser takes module.parameters\(\), a module, or a list of groups, not int"),
        ("weights", TypeError, "not str"),
        ({"params": []}, TypeError, "not dict"),
        (["Be kind"], TypeError, r"parameter 0 is of type str; an optimiser takes Parameters: module.parameters\(\)"),
        ([("w", 1.0)], TypeError, "w is of type float"),
        ([mt.tensor([1.0])], GradientError, "parameter 0 is a tensor that requires no gradient; call requires_grad_"),
        ([mt.tensor([1.0]).requires_grad_() * 2], GradientError, "parameter 0 is the result of an operation"),
        ([{"params": []}, mt.tensor([1.0])], TypeError, "parameters and groups are mixed"),
        ([{"lr": 0.1}], TypeError, "a group of parameters is a dict with 'params'"),
    ],
)
def test_what_cannot_be_trained_is_refused(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params, lr=0.1)


def test_importing_the_room_loads_no_numpy():
    assert run_script("import sys, msgflow.optim; print('numpy' in sys.modules)") == "False"


def test_an_optimiser_shows_its_groups():
    shown = repr(optim.AdamW([mt.tensor([1.0]).requires_grad_()], lr=0.5))
    assert shown == "AdamW (\n  0: 1 parameters, lr=0.5, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01\n)"
