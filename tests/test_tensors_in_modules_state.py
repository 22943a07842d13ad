"""States with tensors: loaded whole, read as one version, hashed, moved and copied."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import versions
from msgflow._version_clock import inside_call
from msgflow.errors import DeviceError, DTypeError, StateDictError
from msgflow.state import digest as digests
from msgflow.state.digest import digest


class Head(nn.Module):
    """At module level, because pickle finds classes by name."""

    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("0")
        self.weight = nn.Parameter(mt.zeros((2, 3)), "router")
        self.bias = mt.zeros(3, requires_grad=True)
        self.scale = mt.zeros(3)
        self.register_buffer("ids", mt.tensor([0, 0]))
        self.register_buffer("names", None)

    def forward(self, between=lambda: None):
        before = str(self.prompt)
        between()
        return before, self.weight.tolist()[0][0], self.ids.tolist()[0], str(self.prompt)


@pytest.fixture
def head():
    return Head()


def filled(number):
    """A state for Head: the number everywhere, once as text, as arrays and as tensors."""
    return {
        "prompt": str(number),
        "weight": np.full((2, 3), number, "float32"),
        "bias": mt.tensor([float(number)] * 3),
        "scale": np.full(3, number, "float32"),
        "ids": np.full(2, number),
        "names": None,
    }


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_state_gives_tensors_and_takes_tensors_and_arrays(head):
    head.load_state_dict(filled(1))
    state = head.state_dict()
    assert list(state) == ["prompt", "weight", "bias", "scale", "ids", "names"]
    assert isinstance(state["weight"], mt.Tensor) and state["weight"].tolist() == [[1, 1, 1]] * 2
    assert not state["bias"].requires_grad and head.bias.requires_grad and not head.scale.requires_grad
    Head().load_state_dict(state)


def test_all_that_does_not_fit_is_said_at_once_and_nothing_is_changed(head):
    state = {**filled(1), "prompt": mt.zeros(2), "weight": np.zeros((3, 2), "float32"), "bias": "text", "ids": 5}
    with pytest.raises(StateDictError) as error:
        head.load_state_dict({**state, "scale": np.zeros(3), "names": mt.zeros(1), "more": mt.zeros(1)})
    assert str(error.value).splitlines()[1:-1] == [
        "  more: unexpected, Head has no such key",
        "  prompt: expected text, got a tensor (float32 (2,))",
        "  weight: expected float32 (2, 3), got float32 (3, 2)",
        "  bias: expected a tensor, float32 (3,), got 'text'; make one with mt.tensor(...), or all of a state with "
        "mt.convert_state_dict(state, 'numpy')",
        "  scale: expected float32 (3,), got float64 (3,); convert the module with module.to(dtype=...), or the value "
        "with .to()",
        "  ids: expected a tensor, int64 (2,), got 5; make one with mt.tensor(...), or all of a state with "
        "mt.convert_state_dict(state, 'numpy')",
    ]
    assert head.digest() == Head().digest()


def test_a_lenient_load_takes_what_fits(head):
    report = head.load_state_dict({"weight": np.zeros(3), "ids": np.array([1, 2])}, strict=False)
    assert report.missing == ["prompt", "bias", "scale", "names"] and report.mismatched[0].startswith("weight: ")
    assert head.ids.tolist() == [1, 2]


def test_a_buffer_of_nothing_takes_a_tensor_and_the_other_way_round(head):
    head.load_state_dict({**filled(1), "names": mt.tensor([1]), "ids": None})
    assert head.names.tolist() == [1] and head.ids is None
    head.register_buffer("limits", {"max": 5})
    with pytest.raises(StateDictError, match=r"limits: expected a dict, got a tensor \(int64 \(1,\)\)"):
        head.load_state_dict({**head.state_dict(), "limits": mt.tensor([1])})


def test_a_json_parameter_does_not_become_a_tensor_by_way_of_nothing(head):
    head.examples = nn.Parameter(None)
    with pytest.raises(StateDictError, match="examples: expected nothing, got a tensor"):
        head.load_state_dict({**head.state_dict(), "examples": mt.zeros(1)})


# --- one version -----------------------------------------------------------------------------------------------------


async def test_a_call_reads_one_version_of_text_and_tensors(head, door):
    swapped = await door(head, lambda: head.load_state_dict(filled(1)))
    assert swapped == ("0", 0, 0, "0") and await door(head) == ("1", 1, 1, "1")


def test_no_call_sees_the_text_of_one_version_beside_the_tensors_of_another(head):
    states, seen = [filled(0), filled(1)], set()

    def swap():
        for turn in range(300):
            head.load_state_dict(states[turn % 2])

    swapping = threading.Thread(target=swap)
    swapping.start()
    while swapping.is_alive():
        seen.add(head())
    swapping.join()
    assert seen <= {("0", 0, 0, "0"), ("1", 1, 1, "1")}


class Fitted(Head):
    """Trains itself while it is called."""

    def forward(self):
        outside = inside_call()
        with self.transaction():
            for _ in range(3):
                (self.bias - 4.0).sum().backward()
                self.bias.data = self.bias.data - self.bias.grad
                self.zero_grad()
                inside = inside_call(), self.bias.tolist()
        return outside, *inside, self.bias.tolist()


async def test_training_in_a_transaction_reads_its_own_steps_and_is_published_at_its_end(door):
    fitted = Fitted()
    assert await door(fitted) == (True, False, [-3, -3, -3], [0, 0, 0])
    assert fitted.bias.tolist() == [-3, -3, -3] and not inside_call()


def test_a_transaction_that_fails_leaves_numbers_and_what_they_require(head):
    def fail():
        with head.transaction():
            head.bias = mt.tensor([1.0, 1.0, 1.0])
            assert not head.bias.requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert head.bias.requires_grad and head.bias.tolist() == [0, 0, 0]


def test_a_share_of_the_calls_runs_on_other_tensors(head):
    with versions.split(head, {"v1": 1.0}, key=lambda *_: "user", source={"v1": filled(1)}):
        assert head() == ("1", 1, 1, "1")
    assert head() == ("0", 0, 0, "0")


def test_a_replaced_tensor_is_freed_at_once(head):
    kept = [weakref.ref(head.weight), weakref.ref(head.scale), weakref.ref(head.ids)]
    head.digest()
    gc.disable()
    try:
        head.load_state_dict(filled(1))
        assert [reference() for reference in kept] == [None, None, None]
    finally:
        gc.enable()


# --- the digest ------------------------------------------------------------------------------------------------------


def test_equal_tensors_have_equal_digests_whatever_holds_them(head):
    head.load_state_dict(filled(1))
    state = head.state_dict()
    as_arrays = {key: value.to_numpy() if isinstance(value, mt.Tensor) else value for key, value in state.items()}
    turned = {**as_arrays, "weight": np.asfortranarray(as_arrays["weight"]).astype(">f4")}
    assert head.digest() == digest(state) == digest(as_arrays) == digest(turned)


DIFFERENT = {
    "number": mt.tensor([0.0, 1.0]),
    "signed zero": mt.tensor([0.0, -0.0]),
    "shape": mt.zeros((1, 2)),
    "shape without numbers": mt.zeros((2, 0)),
    "type": mt.zeros(2, mt.float16),
    "type of as many bits": mt.zeros(2, mt.bfloat16),
    "text": "tensor",
    "what it is hashed as": ["float32", 2],
}


def test_tensors_differ_by_type_shape_and_bits():
    digests = {name: digest({"w": value}) for name, value in {"": mt.zeros(2), **DIFFERENT}.items()}
    assert len(set(digests.values())) == len(digests)


def test_the_digest_of_text_alone_is_what_it_always_was():
    assert digest({"prompt": "Be kind.", "n": [1, 1.0]}) == "ff9b7e0ec2969f41"


def test_the_digest_follows_every_change(head):
    seen = {head.digest()}
    for change in (lambda: head.load_state_dict(filled(1)), lambda: head.weight.from_numpy(np.ones((2, 3)) * 2)):
        change()
        assert head.digest() == digest(head.state_dict())
        seen.add(head.digest())
    assert len(seen) == 3


def test_tensors_that_stayed_are_not_hashed_again(head, monkeypatch):
    hashed = []

    def counting(tensor, fingerprint=digests.fingerprint):
        hashed.append(tensor.shape)
        return fingerprint(tensor)

    monkeypatch.setattr(digests, "fingerprint", counting)
    for change in (lambda: None, lambda: setattr(head, "prompt", "new"), lambda: setattr(head, "scale", mt.zeros(3))):
        change()
        assert head.digest() == head.digest()
    assert hashed == [(2, 3), (3,), (3,), (2,), (3,)]


# --- moving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to", [lambda m: m.to(mt.float16), lambda m: m.to(dtype="fp16"), lambda m: m.to("cpu", "half")]
)
def test_floats_are_converted_with_their_gradients_and_all_else_stays(head, to):
    (head.weight.sum() + head.bias.sum()).backward()
    names = [name for name, _ in head.named_parameters()]
    assert to(head) is head and [name for name, _ in head.named_parameters()] == names
    assert {head.weight.dtype, head.scale.dtype, head.bias.dtype, head.bias.grad.dtype} == {mt.float16}
    assert head.ids.dtype is mt.int64 and head.prompt == "0"
    head.to(mt.float32)
    assert head.weight.grad.tolist() == [[1, 1, 1]] * 2 and head.weight.dtype is mt.float32


async def test_all_tensors_of_the_tree_are_converted_in_one_publish(head, door):
    root = nn.Module()
    root.head = head
    await door(head, lambda: root.to(mt.float64))
    assert {tensor.dtype for tensor in (head.weight, head.bias, head.scale)} == {mt.float64}


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"dtype": mt.int64}, TypeError, "another type of float, not to int64"),
        ({"dtype": "nonsense"}, DTypeError, "'nonsense' is no type"),
        ({"device": "float16"}, DeviceError, "there is no device 'float16'"),
        ({}, TypeError, "a device, a dtype or both"),
    ],
)
def test_what_cannot_be_done_changes_nothing(head, asked, error, said):
    with pytest.raises(error, match=said):
        head.to(**asked)
    assert {head.weight.dtype, head.bias.dtype} == {mt.float32} and head.cpu() is head


def test_a_tree_of_text_stays_as_it_is():
    module = nn.Module()
    module.prompt = nn.Parameter("text")
    digest = module.digest()
    assert module.to("cuda") is module and module.digest() == digest


# --- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_has_tensors_of_its_own_and_shares_what_was_shared(head, again):
    head.load_state_dict(filled(1))
    head.tied = Head()
    head.tied.weight = head.weight
    head.bias.sum().backward()
    head.requires_grad_(False)
    twin = again(head)
    assert twin.digest() == head.digest() and twin.get_parameter("weight") is twin.tied.get_parameter("weight")
    assert (twin.weight.spec, twin.bias.requires_grad, twin.bias.grad) == ("router", False, None)
    twin.requires_grad_()
    assert [name for name, _ in twin.named_parameters()] == ["prompt", "weight", "bias", "tied.prompt", "tied.bias"]
    twin.load_state_dict({**twin.state_dict(), **filled(2)})
    assert head.weight.tolist() == [[1, 1, 1]] * 2 and twin.tied.weight.tolist() == [[2, 2, 2]] * 2


def test_a_copy_of_a_tensor_is_no_part_of_the_module(head):
    twin = copy.deepcopy(head.weight)
    twin.from_numpy(np.ones((2, 3)))
    assert twin.requires_grad and head.weight.tolist() == [[0, 0, 0]] * 2
