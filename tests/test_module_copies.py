"""Copies of modules in memory, by deepcopy and by pickle: whole, and apart from the original."""

import asyncio
import copy
import pickle

import pytest

import msgflow.nn as nn
from msgflow.models import ScriptedModel


class Step(nn.Module):
    """At module level, as all here, because pickle finds classes by name."""

    def __init__(self, text="Be kind."):
        super().__init__()
        self.prompt = nn.Parameter(text, "system_prompt")
        self.register_buffer("limits", {"max": [1, 2]})
        self.register_buffer("scratch", "not saved", persistent=False)

    def forward(self, x):
        return f"{self.prompt} {x}"


class Counting(Step):
    """Its hook is a method of its own, and it keeps the handle."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.counting = self.register_forward_hook(self.count)

    def count(self, module, args, kwargs, output):
        assert module is self
        self.calls.append(args)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Step()
        self.second = self.first
        self.third = Step("other")
        self.third.register_parameter("prompt", self.first.get_parameter("prompt"))
        self.layers = [self.first, Step()]

    def forward(self, x):
        return [self.first(x), self.second(x), self.third(x)]


class Slow(Step):
    async def aforward(self, begun, go_on):
        before = str(self.prompt)
        begun.set()
        await go_on.wait()
        return before, str(self.prompt)


def shout(module, args, kwargs, output):
    return output.upper()


def polite(module, args, kwargs):
    return (f"please {args[0]}",), kwargs


def by_protocol(protocol):
    return lambda module: pickle.loads(pickle.dumps(module, protocol))


WAYS = {"deepcopy": copy.deepcopy, **{f"pickle {number}": by_protocol(number) for number in range(2, 6)}}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def again(request):
    return request.param


async def test_a_copy_works_as_the_original_does(door, again):
    assert await door(again(nn.Sequential(Step(), Step("And short."))), "x") == "And short. Be kind. x"


def test_a_copy_has_the_state_the_digest_and_the_kinds_of_the_original(again):
    step = Step()
    step.get_parameter("prompt").requires_grad_(False).grad = "too long"
    copied = again(step)
    assert copied.state_dict() == step.state_dict() and copied.digest() == step.digest()
    parameter = copied.get_parameter("prompt")
    assert (parameter.spec, parameter.requires_grad, parameter.grad) == ("system_prompt", False, "too long")
    assert copied.scratch == "not saved" and "scratch" not in copied.state_dict()
    copied.scratch = "another"
    assert "scratch" not in copied.state_dict() and step.scratch == "not saved"


def test_a_swap_in_a_copy_or_in_the_original_does_not_reach_the_other(again):
    step = Step()
    copied = again(step)
    step.prompt, step.limits = "one", {"max": [3]}
    copied.load_state_dict({"prompt": "two", "limits": {"max": [4]}})
    assert (step("x"), copied("x")) == ("one x", "two x")
    assert (step.limits, copied.limits) == ({"max": [3]}, {"max": [4]})


def test_what_is_shared_inside_stays_shared_inside_the_copy_only(again):
    tied = Tied()
    copied = again(tied)
    assert copied.first is copied.second is copied.layers[0] and copied.first is not tied.first
    assert copied.third.get_parameter("prompt") is copied.first.get_parameter("prompt")
    copied.first.prompt = "new"
    assert copied("x") == ["new x"] * 3 and tied("x") == ["Be kind. x"] * 3
    assert len(list(copied.parameters())) == len(list(tied.parameters())) == 2


def test_modules_that_are_copied_together_stay_shared(again):
    encoder = Step()
    one, two = again([nn.Sequential(encoder), nn.ModuleDict({"encoder": encoder})])
    assert one[0] is two["encoder"] and one[0] is not encoder


def test_training_is_copied_module_by_module(again):
    tied = Tied()
    tied.third.eval()
    copied = again(tied)
    assert [module.training for module in copied.modules()] == [module.training for module in tied.modules()]
    copied.eval()
    assert tied.training and not tied.third.training


@pytest.mark.parametrize(
    "container",
    [nn.Sequential(Step("a"), Step("b")), nn.Sequential({"x": Step("a"), "1": Step("b")}), nn.ModuleList([Step("a")])],
)
def test_lists_of_modules_are_copied_with_names_and_order(again, container):
    copied = again(container)
    assert list(copied.state_dict()) == list(container.state_dict()) and repr(copied) == repr(container)
    copied.append(Step("c"))
    del copied[0]
    assert len(copied) == len(container)


def test_dicts_of_modules_are_copied(again):
    steps = nn.ModuleDict({"keys": Step("a"), "b": Step("b")})
    copied = again(steps)
    copied.pop("keys")
    assert list(copied) == ["b"] and list(steps) == ["keys", "b"]


def test_an_agent_is_copied_with_its_tools():
    def search(word: str) -> str:
        """Search."""

    agent = nn.Agent("helper", ScriptedModel("one", "two"), "Be kind.", tools=[search])
    copied = copy.deepcopy(agent)
    copied.instructions = "Be brief."
    assert agent.instructions == "Be kind." and list(copied.tools) == ["search"]
    assert copied.tools["search"] is not agent.tools["search"]


# --- hooks -----------------------------------------------------------------------------------------------------------


async def test_hooks_are_copied_in_their_order_and_apart(door, again):
    step = Step()
    step.register_forward_hook(shout)
    handle = step.register_forward_pre_hook(polite)
    copied = again(step)
    handle.remove()
    copied.register_forward_hook(lambda module, args, kwargs, output: output + "!")
    assert await door(copied, "x") == "BE KIND. PLEASE X!" and await door(step, "x") == "BE KIND. X"


def test_a_hook_that_is_a_method_of_the_module_becomes_one_of_the_copy(again):
    original = Counting()
    copied = again(original)
    copied("x")
    assert copied.calls == [("x",)] and original.calls == []


def test_a_handle_that_is_copied_along_takes_the_hook_off_the_copy(again):
    original = Counting()
    copied = again(original)
    copied.counting.remove()
    copied("x")
    original("y")
    assert copied.calls == [] and original.calls == [("y",)]


def test_hooks_that_are_always_called_stay_so(again):
    step = nn.Sequential(Counting())
    step.register_forward_hook(shout, always_call=True)
    table = again(step)._forward_hooks
    assert table.always == set(table)


def test_a_deep_copy_takes_along_hooks_that_pickle_cannot():
    step, seen = Step(), []
    step.register_forward_hook(lambda *given: seen.append(given[-1]))
    copied = copy.deepcopy(step)
    copied("x")
    assert seen == ["Be kind. x"]


@pytest.mark.parametrize("kind", ["local function", "lambda"])
def test_a_hook_that_cannot_be_pickled_is_named(kind):
    def local_hook(*_):
        pass

    step = nn.Sequential(Step())
    step[0].register_forward_hook({"local function": local_hook, "lambda": lambda *_: None}[kind])
    with pytest.raises((pickle.PicklingError, AttributeError), match="local_hook" if kind != "lambda" else "<lambda>"):
        pickle.dumps(step)


# --- trees of unusual shape ------------------------------------------------------------------------------------------


def test_a_module_below_itself_is_copied_with_its_circle(again):
    outer = nn.Sequential(Step())
    outer.append(outer)
    copied = again(outer)
    assert copied[1] is copied and copied is not outer and len(list(copied.modules())) == 2
    assert "(1): ..." in repr(copied)


def test_a_copy_of_a_copy_is_whole(again):
    assert again(again(again(Tied())))("x") == ["Be kind. x"] * 3


async def test_a_module_can_be_copied_while_a_call_of_it_waits(again):
    slow, begun, go_on = Slow(), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(slow.acall(begun, go_on))
    await begun.wait()
    slow.prompt = "newer"
    copied = again(slow)
    go_on.set()
    assert await task == ("Be kind.", "Be kind.") and copied.prompt == "newer"


def test_a_copy_that_fails_leaves_the_original_as_it_was():
    class Unwilling:
        def __deepcopy__(self, memo):
            raise RuntimeError("not me")

    tied = Tied()
    before = tied.state_dict()
    tied.plain = Unwilling()
    with pytest.raises(RuntimeError, match="not me"):
        copy.deepcopy(tied)
    assert tied.state_dict() == before and tied("x") == ["Be kind. x"] * 3
