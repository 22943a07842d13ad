"""Tensors in the tree of modules: parameters, buffers and attributes, beside prompts."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, GradientError, NotJson, ShapeError


class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("Route", "system_prompt")
        self.weight = nn.Parameter(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), "router")
        self.scale = mt.tensor([1.0, 2.0])
        self.register_buffer("mask", mt.tensor([True, False]))
        self.register_buffer("cache", mt.tensor([1, 2]), persistent=False)

    def forward(self, x):
        return x @ self.weight


@pytest.fixture
def router():
    return Router()


def parameters(module):
    return [name for name, _ in module.named_parameters()]


def buffers(module):
    return [name for name, _ in module.named_buffers()]


# --- parameters ------------------------------------------------------------------------------------------------------


def test_a_tensor_parameter_reads_as_a_tensor_and_is_in_the_tree_with_the_prompts(router):
    assert isinstance(router.weight, mt.Tensor) and router.weight.tolist() == [[1, 2], [3, 4]]
    assert parameters(router) == ["prompt", "weight"] and buffers(router) == ["scale", "mask", "cache"]
    assert list(router.state_dict()) == ["prompt", "weight", "scale", "mask"]


async def test_a_call_computes_with_it_through_both_doors(router, door):
    assert (await door(router, mt.tensor([1.0, 1.0]))).tolist() == [4, 6]


def test_gradients_go_to_the_parameter_and_are_read_through_the_tensor(router):
    (router.weight * 2.0).sum().backward()
    parameter = router.get_parameter("weight")
    assert router.weight.grad.tolist() == parameter.grad.tolist() == [[2, 2], [2, 2]]
    router.weight.sum().backward()
    assert parameter.grad.tolist() == [[3, 3], [3, 3]]
    router.zero_grad()
    assert router.weight.grad is None and parameter.grad is None
    router.weight.grad = mt.zeros((2, 2))
    assert parameter.grad.tolist() == [[0, 0], [0, 0]]


def test_the_tensor_knows_what_its_parameter_is_for(router):
    assert (router.weight.spec, router.weight.requires_grad, router.scale.spec) == ("router", True, None)
    assert router.weight.data.tolist() == [[1, 2], [3, 4]] and not router.weight.data.requires_grad


def test_requires_grad_is_the_same_of_the_parameter_and_of_its_tensor(router):
    parameter = router.get_parameter("weight")
    parameter.requires_grad = False
    assert not router.weight.requires_grad and not (router.weight * 2.0).requires_grad
    router.weight.requires_grad_()
    assert parameter.requires_grad and (router.weight * 2.0).requires_grad
    router.weight.requires_grad = False
    assert not parameter.requires_grad


def test_the_data_of_a_tensor_parameter_are_its_numbers_without_history(router):
    parameter = router.get_parameter("weight")
    parameter.data.from_numpy(np.zeros((2, 2)))
    assert not parameter.data.requires_grad and parameter.data.tolist() == [[1, 2], [3, 4]]
    assert repr(parameter) == "Parameter(tensor float32 (2, 2), spec='router')"
    assert repr(nn.Parameter(mt.tensor(1), requires_grad=False)) == "Parameter(tensor int64 (), requires_grad=False)"


NEW = {
    "tensor": mt.zeros((2, 2)),
    "result of an operation": mt.zeros((2, 2), requires_grad=True) * 2.0,
    "array": np.zeros((2, 2), "float32"),
    "big-endian array": np.zeros((2, 2), ">f4"),
}


@pytest.mark.parametrize("new", NEW.values(), ids=NEW)
@pytest.mark.parametrize("assign", ["name", "tensor.data", "parameter.data"])
def test_assigning_publishes_new_numbers_of_the_same_parameter(router, assign, new):
    parameter, before = router.get_parameter("weight"), router.weight
    if assign == "name":
        router.weight = new
    elif assign == "tensor.data":
        router.weight.data = new
    else:
        parameter.data = new
    assert router.get_parameter("weight") is parameter and router.weight.tolist() == [[0, 0], [0, 0]]
    assert router.weight.is_leaf and router.weight.requires_grad
    assert before.tolist() == [[1, 2], [3, 4]], "whoever has it already keeps it"


def test_an_array_that_is_changed_later_does_not_change_the_state(router):
    numbers = np.zeros((2, 2), "float32")
    router.weight = numbers
    numbers += 1
    router.state_dict()["weight"].from_numpy(numbers)
    assert router.weight.tolist() == [[0, 0], [0, 0]]


WRONG = {
    "shape": (mt.zeros((3, 2)), ShapeError, r"expected float32 \(2, 2\), got float32 \(3, 2\)"),
    "type": (mt.zeros((2, 2), mt.float16), DTypeError, r"expected float32 \(2, 2\), got float16 .*to\(dtype"),
    "array of another shape": (np.zeros(4, "float32"), ShapeError, r"expected float32 \(2, 2\), got float32 \(4,\)"),
    "array of another type": (np.zeros((2, 2)), DTypeError, r"expected float32 \(2, 2\), got float64"),
    "array of no tensor's type": (np.zeros((2, 2), "uint32"), DTypeError, "tensors cannot hold uint32"),
    "array of the bits of bfloat16": (np.zeros((2, 2), "uint16"), DTypeError, "tensors cannot hold uint16"),
    "text": ("Route", DTypeError, r"expected a tensor, float32 \(2, 2\), got 'Route'"),
    "list": ([[0.0, 0.0], [0.0, 0.0]], DTypeError, r"expected a tensor.*mt\.tensor"),
    "None": (None, DTypeError, "expected a tensor"),
}


@pytest.mark.parametrize(("value", "error", "said"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_with_what_was_expected(router, value, error, said):
    with pytest.raises(error, match=said):
        router.weight = value
    assert router.weight.tolist() == [[1, 2], [3, 4]]


def test_text_cannot_become_a_tensor(router):
    with pytest.raises(TypeError, match="holds text and cannot become a tensor"):
        router.prompt = mt.zeros(2)
    router.examples = nn.Parameter([1.0])
    with pytest.raises(TypeError, match="holds not text and cannot become a tensor"):
        router.examples = mt.zeros(1)


def test_whole_numbers_are_parameters_only_without_a_gradient(router):
    with pytest.raises(GradientError, match="not int64; leave it at requires_grad=False"):
        nn.Parameter(mt.tensor([1, 2]))
    router.ids = nn.Parameter(mt.tensor([1, 2]), requires_grad=False)
    with pytest.raises(GradientError, match="requires_grad=False"):
        router.ids.requires_grad_()
    router.requires_grad_(False).requires_grad_()
    assert not router.ids.requires_grad and router.weight.requires_grad


def test_arrays_are_no_values_of_a_state_until_they_are_tensors():
    with pytest.raises(NotJson, match=r"a parameter is of type ndarray.*mt\.tensor"):
        nn.Parameter(np.zeros(2))


def test_a_tensor_in_a_list_or_dict_is_refused_with_the_remedy(router):
    with pytest.raises(NotJson, match=r"'heads'\['a'\]\[0\] is of type Tensor.*give it a name of its own"):
        router.register_buffer("heads", {"a": [mt.zeros(2)]})
    with pytest.raises(NotJson, match=r"a parameter\[0\].*a name of its own"):
        nn.Parameter([mt.zeros(2)])


# --- attributes ------------------------------------------------------------------------------------------------------


def test_an_attribute_is_a_parameter_or_a_buffer_by_what_it_requires_now(router):
    assert router.get_buffer("scale").tolist() == [1, 2]
    with pytest.raises(AttributeError, match="has no parameter 'scale'; it has: prompt, weight"):
        router.get_parameter("scale")
    router.scale.requires_grad_()
    assert parameters(router) == ["prompt", "weight", "scale"] and buffers(router) == ["mask", "cache"]
    assert router.get_parameter("scale").data.tolist() == [1, 2]
    router.scale.sum().backward()
    assert router.scale.grad.tolist() == [1, 1]
    router.scale.requires_grad_(False)
    assert parameters(router) == ["prompt", "weight"] and list(router.state_dict())[2] == "scale"


def test_freezing_a_tree_and_back_gives_the_parameters_that_there_were(router):
    router.gain = mt.zeros(2, requires_grad=True)
    before = parameters(router)
    router.requires_grad_(False)
    assert parameters(router) == ["prompt", "weight"] and not any(p.requires_grad for p in router.parameters())
    assert not any(tensor.requires_grad for tensor in (router.weight, router.gain, router.scale))
    assert parameters(router.requires_grad_()) == before and not router.scale.requires_grad


def test_frozen_parameters_lose_their_gradients_as_well(router):
    router.gain = mt.zeros(2, requires_grad=True)
    router.gain.sum().backward()
    router.requires_grad_(False).zero_grad()
    assert router.requires_grad_().gain.grad is None


def test_an_attribute_takes_new_numbers_and_what_they_require(router):
    router.scale.requires_grad_()
    cell = router.get_parameter("scale")
    router.scale = np.array([5, 6], "float32")
    assert router.scale.requires_grad and router.scale.tolist() == [5, 6]
    router.scale = mt.tensor([7.0, 8.0])
    assert not router.scale.requires_grad and cell.data.tolist() == [7, 8]
    router.scale = mt.tensor([7.0, 8.0], requires_grad=True)
    assert router.get_parameter("scale") is cell


@pytest.mark.parametrize(
    "new", [mt.zeros((3, 3)), mt.tensor([1, 2]), mt.zeros(2, mt.float64)], ids=lambda t: t.described()
)
def test_a_tensor_of_another_shape_or_type_takes_the_place_of_an_attribute(router, new):
    router.scale = new
    assert router.scale.described() == new.described() and list(router.state_dict())[2] == "scale"


@pytest.mark.parametrize("new", [None, 5, "text", [1.0], {}])
def test_what_is_no_tensor_takes_the_place_of_an_attribute_and_leaves_the_state(router, new):
    router.scale = new
    assert router.scale == new and "scale" not in router.state_dict() and "scale" not in buffers(router)


def test_an_array_of_another_shape_for_an_attribute_is_refused(router):
    with pytest.raises(ShapeError, match=r"expected float32 \(2,\), got float32 \(3,\)"):
        router.scale = np.zeros(3, "float32")


def test_an_attribute_can_be_deleted_and_become_a_module(router):
    del router.scale
    assert "scale" not in router.state_dict() and not hasattr(router, "scale")
    router.scale = mt.zeros(2)
    router.scale = Router()
    assert "scale.weight" in router.state_dict() and "scale" not in buffers(router)


def test_what_an_operation_made_is_no_state_and_keeps_its_history(router):
    router.hidden = router.weight * 2.0
    assert "hidden" not in router.state_dict()
    router.hidden.sum().backward()
    assert router.weight.grad.tolist() == [[2, 2], [2, 2]]


class Scratch(nn.Module):
    """Keeps what a call works out, as recurrent layers do, and builds a layer in its first call."""

    def forward(self, x):
        if not hasattr(self, "built"):
            self.built = Router()
        with mt.no_grad():
            self.hidden = x * 2.0
        return self.hidden.tolist()


async def test_what_a_call_works_out_is_no_state_but_modules_that_it_builds_have_theirs(door):
    scratch = Scratch()
    assert [await door(scratch, mt.tensor([number])) for number in (1.0, 2.0)] == [[2], [4]]
    assert list(scratch.state_dict()) == ["built.prompt", "built.weight", "built.scale", "built.mask"]


@pytest.mark.parametrize("several", [list, tuple, lambda tensors: dict(zip("ab", tensors, strict=True))])
def test_a_list_of_tensors_to_be_trained_is_warned_about(router, several):
    with pytest.warns(UserWarning, match="'heads' holds tensors to be trained.*a name of its own"):
        router.heads = several([mt.zeros(2, requires_grad=True), mt.zeros(2)])
    assert "heads" not in router.state_dict()


def test_a_list_of_other_tensors_is_a_plain_attribute(router):
    router.history = [router.weight, router.weight * 2.0, mt.zeros(2), 5]
    assert router.history[-1] == 5 and not any("history" in name for name in router.state_dict())


# --- buffers ---------------------------------------------------------------------------------------------------------


def test_a_buffer_takes_any_tensor_and_is_never_trained(router):
    router.mask = np.array([False, True])
    assert router.mask.tolist() == [False, True] and router.mask.requires_grad is False
    router.mask = mt.zeros(3, requires_grad=True)
    assert router.mask.tolist() == [0, 0, 0] and not router.mask.requires_grad and "mask" in buffers(router)
    with pytest.raises(GradientError, match=r"a buffer is not trained.*Parameter"):
        router.mask.requires_grad_()
    router.mask.requires_grad_(False)
    with pytest.raises(ShapeError, match=r"the buffer 'mask': expected float32 \(3,\), got float32 \(2,\)"):
        router.mask = np.zeros(2, "float32")
    router.mask.from_numpy([1, 2, 3])
    assert router.mask.tolist() == [1, 2, 3]


# --- weights that modules share --------------------------------------------------------------------------------------


def test_assigning_the_weight_of_another_module_shares_it(router):
    other = Router()
    other.weight = router.weight
    assert other.get_parameter("weight") is router.get_parameter("weight")
    root = nn.ModuleList([router, other])
    assert parameters(root) == ["0.prompt", "0.weight", "1.prompt"]
    other.weight = np.zeros((2, 2), "float32")
    assert router.weight.tolist() == [[0, 0], [0, 0]]


def test_a_tensor_that_is_not_trained_is_copied_to_another_name(router):
    router.before = router.scale
    router.scale = mt.zeros(2)
    assert router.before.tolist() == [1, 2] and router.scale.tolist() == [0, 0]


def test_an_older_value_of_a_parameter_can_be_assigned_to_it_again(router):
    older = router.weight
    router.weight = mt.zeros((2, 2))
    router.weight = older
    assert router.weight.tolist() == [[1, 2], [3, 4]]
