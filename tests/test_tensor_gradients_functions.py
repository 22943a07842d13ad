"""grad, value_and_grad and gradcheck: gradients of functions."""

from typing import NamedTuple

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import GradientError, RecordError
from tests.tensor_backends import backend  # noqa: F401 # a fixture


def cube(x):
    return (x * x * x).sum()


@pytest.fixture
def x():
    return mt.tensor([1.0, 2.0, 3.0], dtype=mt.float64)


def test_a_gradient_is_a_function_of_what_the_function_takes(backend):  # noqa: F811 # a fixture
    x = backend(np.array([1.0, 2.0]))
    value, gradient = mt.value_and_grad(cube)(x)
    assert value.item() == 9 and gradient.tolist() == mt.grad(cube)(x).tolist() == [3, 12]
    assert not value.requires_grad and not gradient.requires_grad and not x.requires_grad


def test_gradients_of_gradients(x):
    second = mt.grad(lambda x: mt.grad(cube)(x).sum())
    third = mt.grad(lambda x: second(x).sum())
    assert second(x).tolist() == [6, 12, 18] and third(x).tolist() == [6, 6, 6]


def test_a_hessian_row_by_row(x):
    def f(x):
        return (x * x).sum() * x.sum()

    def row(index):
        return mt.grad(lambda x: mt.grad(f)(x)[index])(x).tolist()

    total, identity = 6.0, np.eye(3)
    expected = 2 * total * identity + 2 * (np.add.outer([1, 2, 3], [1, 2, 3]))
    np.testing.assert_allclose([row(index) for index in range(3)], expected)


def test_an_argument_that_requires_a_gradient_gets_it_through_the_gradient(x):
    x.requires_grad_()
    mt.grad(cube)(x).sum().backward()
    assert x.grad.tolist() == [6, 12, 18]


def test_a_tensor_that_is_known_from_elsewhere_counts_as_a_constant(x):
    assert mt.grad(lambda y: (x * y).sum())(x).tolist() == [1, 2, 3]
    nested = mt.grad(lambda x: mt.grad(lambda y: (x * y).sum())(x).sum())(x)
    assert nested.tolist() == [1, 1, 1]


class Pair(NamedTuple):
    left: mt.Tensor
    right: mt.Tensor


def test_gradients_have_the_form_of_the_argument(x):
    def f(tree, factor):
        return (tree["pair"].left * factor + tree["list"][0] * tree["list"][1]).sum()

    tree = {"pair": Pair(x, x), "list": [x, 2.0], "tuple": (x,)}
    gradients, of_factor = mt.grad(f, argnums=(0, 1))(tree, 4.0)
    assert gradients["pair"].left.tolist() == [4, 4, 4] and gradients["pair"].right.tolist() == [0, 0, 0]
    assert gradients["list"][0].tolist() == [2, 2, 2] and gradients["list"][1].item() == 6
    assert gradients["tuple"][0].tolist() == [0, 0, 0] and of_factor.item() == 6


def test_argnums_says_which_arguments(x):
    def f(a, b, *, c):
        return (a * b * c).sum()

    assert mt.grad(f, 1)(x, x, c=2.0).tolist() == [2, 4, 6]
    (last,) = mt.grad(f, argnums=[-1])(x, mt.tensor([0.0, 0.0, 1.0]), c=x)
    assert last.tolist() == [1, 4, 9]
    with pytest.raises(TypeError, match="argnums names the argument 2, and 2 were given by place"):
        mt.grad(f, 2)(x, x, c=x)


def test_numbers_and_arrays_are_arguments_too():
    assert mt.grad(cube)(2.0).item() == 12
    assert mt.grad(cube)(np.array([2.0])).tolist() == [12]


def test_a_function_that_does_not_depend_on_it_has_the_gradient_0(x):
    assert mt.grad(lambda x: mt.tensor(1.0))(x).tolist() == [0, 0, 0]


def test_under_no_grad_a_gradient_is_taken_all_the_same(x):
    with mt.no_grad():
        assert mt.grad(cube)(x).tolist() == [3, 12, 27]


def test_a_gradient_keeps_the_name_of_its_function():
    assert mt.grad(cube).__name__ == "cube"


# --- of modules ------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("Be kind")
        self.weight = nn.Parameter(mt.tensor([1.0, 2.0, 3.0], dtype=mt.float64))
        self.frozen = nn.Parameter(mt.tensor([1.0], dtype=mt.float64), requires_grad=False)

    def forward(self, x):
        return (self.weight * self.weight * x * self.frozen).sum()


def test_the_gradient_of_a_module_is_a_dict_by_name(x):
    model = Model()
    value, gradients = mt.value_and_grad(lambda model, x: model(x))(model, x)
    assert value.item() == 36 and {name: g.tolist() for name, g in gradients.items()} == {"weight": [2, 8, 18]}
    assert model.get_parameter("weight").grad is None


def test_modules_have_second_derivatives(x):
    def norm(model):
        return (mt.grad(lambda model: model(x))(model)["weight"] * x).sum()

    assert mt.grad(norm)(Model())["weight"].tolist() == [2, 8, 18]


def test_modules_may_be_in_trees_and_given_twice(x):
    model = Model()
    both = mt.grad(lambda a, b: a["m"](x) + b(x), argnums=(0, 1))({"m": model}, model)
    assert both[0]["m"]["weight"].tolist() == both[1]["weight"].tolist() == [4, 16, 36]


def test_in_a_transaction_a_gradient_is_of_what_was_assigned(x):
    model = Model()
    with model.transaction():
        model.weight = mt.tensor([0.0, 0.0, 1.0], dtype=mt.float64)
        model.frozen = mt.tensor([10.0], dtype=mt.float64)
        assert mt.grad(lambda model: model(x))(model)["weight"].tolist() == [0, 0, 60]


def test_a_gradient_is_of_one_version_whatever_is_loaded_meanwhile(x):
    model = Model()

    def loss(model):
        before = model(x)
        model.load_state_dict({**model.state_dict(), "weight": model.weight * 10})
        return before + model(x)

    assert mt.grad(loss)(model)["weight"].tolist() == [4, 16, 36]
    assert model.weight.tolist() == [10, 20, 30]


def test_a_parameter_by_itself_is_an_argument(x):
    assert mt.grad(cube)(nn.Parameter(x)).tolist() == [3, 12, 27]


# --- of a tensor that is there already -------------------------------------------------------------------------------


def test_gradients_of_a_tensor_are_a_tuple_as_in_pytorch(x):
    a, b = x.detach().requires_grad_(), x.detach().requires_grad_()
    y = (a * a * b).sum()
    of_a, of_b = mt.grad(y, [a, b])
    assert of_a.tolist() == [2, 8, 18] and of_b.tolist() == [1, 4, 9] and a.grad is None
    assert [g.tolist() for g in mt.grad(y, a)] == [of_a.tolist()]


def test_of_a_tensor_second_derivatives_are_asked_for(x):
    x.requires_grad_()
    (first,) = mt.grad(cube(x), x, create_graph=True)
    assert mt.grad(first.sum(), inputs=x)[0].tolist() == [6, 12, 18]
    assert not mt.grad(cube(x), x)[0].requires_grad


def test_what_lies_between_has_a_gradient_too(x):
    middle = x.requires_grad_() * 2
    y = (middle * middle).sum()
    assert mt.grad(y, [middle])[0].tolist() == [4, 8, 12]
    assert mt.grad(y, [y, x])[0].item() == 1


def test_modules_and_parameters_are_inputs(x):
    model = Model()
    y = model(x)
    assert mt.grad(y, model)["weight"].tolist() == [2, 8, 18]
    assert mt.grad(y, [model.get_parameter("weight")])[0].tolist() == [2, 8, 18]
    assert mt.grad(y, {"w": model.weight})["w"].tolist() == [2, 8, 18]


def test_an_input_that_was_not_used_is_an_error_or_none(x):
    x.requires_grad_()
    other = mt.tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="the tensor was not made from input 1, or that requires no gradient"):
        mt.grad(cube(x), [x, other])
    assert mt.grad(cube(x), [x, other], allow_unused=True)[1] is None


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "argument", "error", "message"),
    [
        (lambda x: x * 2, mt.tensor([1.0, 2.0]), GradientError, r"this one gave a tensor of shape \(2,\)"),
        (lambda x: 5, mt.tensor([1.0]), GradientError, "gives one number; this one gave 5"),
        (cube, mt.tensor([1, 2]), GradientError, "argument 0 is of int64"),
        (cube, {"a": [mt.tensor([1])]}, GradientError, r"argument 0\['a'\]\[0\] is of int64"),
        (cube, "text", GradientError, "argument 0 is of type str; gradients are of tensors, floats, modules"),
    ],
)
def test_functions_without_a_gradient_are_refused(f, argument, error, message):
    with pytest.raises(error, match=message):
        mt.grad(f)(argument)


def test_what_is_neither_a_function_nor_a_tensor_is_refused():
    with pytest.raises(TypeError, match="a gradient is of a function or of a tensor, not of 5"):
        mt.grad(5)
    with pytest.raises(TypeError, match="the input 0 is 5"):
        mt.grad(cube(mt.tensor([1.0], requires_grad=True)), [5])


def test_an_exception_in_the_function_leaves_no_trace(x):
    def fails(x):
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        mt.grad(fails)(x)
    assert not mt.grad(cube)(x).requires_grad  # as it would be inside of another gradient


def test_a_runtime_that_records_takes_no_gradients(x):
    with pytest.raises(RecordError, match="a Runtime records here"), mt.Runtime():
        mt.grad(cube)(x)


# --- gradcheck -------------------------------------------------------------------------------------------------------


def test_right_gradients_pass_the_check(backend):  # noqa: F811 # a fixture
    a, b = backend(np.array([[1.0, 2.0]])), backend(np.array([[3.0], [4.0]]))
    assert mt.gradcheck(lambda a, b: (a @ b, a * b, b.sum()), [a, b])
    assert mt.gradcheck(cube, a.to(mt.float32))


def test_a_wrong_gradient_fails_with_the_worst_place():
    def wrong(a, b):
        return b, a * (a.detach() + b)  # d/da of a * (a + b) without half of it

    a, b = mt.tensor([[1.0, 5.0]]), mt.tensor([1.0])
    with pytest.raises(GradientError) as error:
        mt.gradcheck(wrong, [a, b])
    assert str(error.value).startswith(
        "gradcheck: the gradient of output 1 at (0, 1) for input 0 at (0, 1) is 6, and finite differences give 11"
    )


def test_a_gradient_that_is_not_a_number_fails():
    with pytest.raises(GradientError, match="is nan"):
        mt.gradcheck(lambda x: x * mt.tensor(float("nan")), mt.tensor([1.0]))


def test_whole_numbers_and_empty_tensors_are_only_passed_on():
    index, empty = mt.tensor([1, 0]), mt.zeros((0,))
    assert mt.gradcheck(lambda x, index, empty: (x[index], empty * 2), [mt.tensor([1.0, 2.0]), index, empty])


def test_outputs_without_a_gradient_count_as_constants():
    assert mt.gradcheck(lambda x: (x > 10.0, x.detach() * 0), mt.tensor([1.0, 2.0]))
