"""Guards: what they let pass, what they refuse, and what a refusal says."""

import asyncio
import copy
import pickle
from types import MappingProxyType

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.errors import GuardRefused
from msgflow.models import ScriptedModel


class Upper(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, text, *, end=""):
        self.calls += 1
        return text.upper() + end


def is_polite(text, **_):
    return "damn" not in text.lower()


def returning(verdict):
    def check(*_, **__):
        return verdict

    return check


PLACES = ["pre", "post"]
REFUSED = [False, None, 1, 1.0, "", "True", "safe", {}, [], [True], (), Ellipsis, np.True_, Exception("safe")]
REFUSED += [{"safe": verdict} for verdict in (False, None, 1, "true", {}, [True])] + [{"Safe": True}, [("safe", True)]]


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("verdict", [True, {"safe": True, "reason": "kind"}, MappingProxyType({"safe": True})])
async def test_true_and_a_mapping_that_says_safe_pass(door, on, verdict):
    upper = Upper()
    nn.Guard(returning(verdict), on=on).register(upper)
    assert await door(upper, "hi", end="!") == "HI!"


async def test_a_check_of_the_input_gets_all_arguments_of_the_call(door):
    seen = []

    def check(*args, **kwargs):
        seen.append((args, kwargs))
        return True

    upper = Upper()
    nn.Guard(check).register(upper)
    await door(upper, "hi", end="!")
    assert seen == [(("hi",), {"end": "!"})]


async def test_a_check_of_the_output_gets_the_output(door):
    seen = []
    upper = Upper()
    nn.Guard(lambda output: seen.append(output) or True, on="post").register(upper)
    await door(upper, "hi")
    assert seen == ["HI"]


class Judge(nn.Module):
    async def aforward(self, text, **_):
        await asyncio.sleep(0)
        return {"safe": is_polite(text)}


async def is_polite_async(text, **_):
    await asyncio.sleep(0)
    return is_polite(text)


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("check", [is_polite, is_polite_async, Judge()], ids=["def", "async def", "module"])
async def test_a_check_is_plain_or_async_or_a_module(door, check, on):
    upper = Upper()
    nn.Guard(check, on=on).register(upper)
    assert await door(upper, "hello") == "HELLO"
    with pytest.raises(GuardRefused):
        await door(upper, "damn")
    assert upper.calls == (1 if on == "pre" else 2)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("verdict", REFUSED, ids=repr)
def test_whatever_is_not_clearly_true_refuses(on, verdict):
    upper = Upper()
    nn.Guard(returning(verdict), on=on).register(upper)
    with pytest.raises(GuardRefused):
        upper("hi")


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("verdict", [False, None, {}, {"safe": 1}])
async def test_an_async_check_that_is_not_clearly_true_refuses(door, on, verdict):
    async def check(*_, **__):
        return verdict

    upper = Upper()
    nn.Guard(check, on=on).register(upper)
    with pytest.raises(GuardRefused):
        await door(upper, "hi")


@pytest.mark.parametrize("on", PLACES)
async def test_a_check_that_raises_refuses_and_is_the_cause(door, on):
    wrong = KeyError("lexicon")

    def fails(*_, **__):
        raise wrong

    async def fails_later(*_, **__):
        await asyncio.sleep(0)
        raise wrong

    for check in (fails, fails_later):
        upper = Upper()
        nn.Guard(check, on=on).register(upper)
        with pytest.raises(GuardRefused, match=r"because its check raised KeyError: 'lexicon'$") as caught:
            await door(upper, "hi")
        assert caught.value.__cause__ is wrong


def test_a_check_that_does_not_take_the_whole_input_refuses():
    upper = Upper()
    nn.Guard(lambda text: True).register(upper)
    assert upper("hi") == "HI"
    with pytest.raises(GuardRefused, match=r"TypeError.*unexpected keyword argument 'end'"):
        upper("hi", end="!")


def test_a_mapping_that_fails_when_it_is_read_refuses():
    class Hostile(dict):
        def get(self, *_):
            raise RuntimeError("no")

    upper = Upper()
    nn.Guard(returning(Hostile(safe=True))).register(upper)
    with pytest.raises(GuardRefused) as caught:
        upper("hi")
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_being_cancelled_in_a_check_is_no_refusal():
    async def waits(*_):
        await asyncio.sleep(30)

    upper = Upper()
    nn.Guard(waits).register(upper)
    task = asyncio.create_task(upper.acall("hi"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upper.calls == 0


# --- what a refusal says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on", "what"), [("pre", "input"), ("post", "output")])
async def test_a_refusal_says_what_was_refused_and_where(door, on, what):
    upper = Upper()
    nn.Guard(returning(False), on=on).register(upper)
    with pytest.raises(GuardRefused, match=f"^a guard refused the {what} of Upper$") as caught:
        await door(upper, "hi")
    error = caught.value
    assert (error.module, error.on, error.message) == ("Upper", on, None)
    assert isinstance(error, ValueError) and isinstance(error, mf.errors.MsgflowError)


@pytest.mark.parametrize("message", ["Let us stay polite.", ""])
async def test_the_message_of_a_guard_is_the_text_of_its_refusal(door, message):
    upper = Upper()
    nn.Guard(lambda *_: 1 / 0, message=message).register(upper)
    with pytest.raises(GuardRefused) as caught:
        await door(upper, "hi")
    assert str(caught.value) == caught.value.message == message


def test_a_guard_of_an_agent_refuses_before_the_model_is_asked_and_after_it_has_answered():
    model = ScriptedModel("fine", "damn fine")
    agent = nn.Agent("helper", model, "Be {{ tone }}.")
    nn.Guard(is_polite, on="pre", message="no").register(agent)
    nn.Guard(is_polite, on="post").register(agent)
    assert agent("hello", vars={"tone": "kind"}) == "fine"
    with pytest.raises(GuardRefused, match=r"^no$"):
        agent("damn")
    assert len(model.requests) == 1
    with pytest.raises(GuardRefused, match="the output of Agent"):
        agent.run("hello")


def test_a_stream_is_refused_before_it_starts():
    model = ScriptedModel("never asked")
    agent = nn.Agent("helper", model)
    nn.Guard(is_polite).register(agent)
    with pytest.raises(GuardRefused):
        list(agent.stream("damn"))
    assert model.requests == []


# --- its place among other hooks -------------------------------------------------------------------------------------


async def test_a_guard_sees_what_the_hooks_before_it_made_and_those_after_it_see_what_it_let_pass(door):
    seen = []
    upper = Upper()
    upper.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] + " b",), kwargs))
    upper.register_forward_pre_hook(nn.Guard(lambda text: seen.append(text) or True))
    upper.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] + " d",), kwargs))
    nn.Guard(lambda text: seen.append(text) or True).register(upper, prepend=True)
    upper.register_forward_hook(lambda module, args, kwargs, output: output + "!")
    upper.register_forward_hook(nn.Guard(lambda output: seen.append(output) or True, on="post"))
    assert await door(upper, "a") == "A B D!"
    assert seen == ["a", "a b", "A B D!"]


async def test_nothing_behind_a_guard_that_refuses_runs(door):
    log, upper = [], Upper()
    nn.Guard(returning(False)).register(upper)
    upper.register_forward_pre_hook(lambda *_: log.append("pre"))
    upper.register_forward_hook(lambda *_: log.append("post"))
    with pytest.raises(GuardRefused):
        await door(upper, "hi")
    assert log == [] and upper.calls == 0


@pytest.mark.parametrize("on", PLACES)
def test_a_guard_is_removed_by_its_handle(on):
    upper = Upper()
    with nn.Guard(returning(False), on=on).register(upper), pytest.raises(GuardRefused):
        upper("hi")
    assert upper("hi") == "HI"


async def test_a_guard_may_stand_before_every_module(door):
    with nn.hooks.register_module_forward_pre_hook(nn.Guard(returning(False))), pytest.raises(GuardRefused):
        await door(Upper(), "hi")


async def test_a_guard_in_the_wrong_place_lets_nothing_pass(door):
    for guard, register, right in (
        (nn.Guard(is_polite), "register_forward_hook", "register_forward_pre_hook"),
        (nn.Guard(is_polite, on="post"), "register_forward_pre_hook", "register_forward_hook"),
    ):
        upper = Upper()
        getattr(upper, register)(guard)
        with pytest.raises(TypeError, match=f"use {right}, or guard.register"):
            await door(upper, "hi")


# --- making one ------------------------------------------------------------------------------------------------------


def test_a_guard_says_what_it_cannot_be_made_from():
    with pytest.raises(TypeError, match="a check is a function or a Module, not str"):
        nn.Guard("polite")
    with pytest.raises(ValueError, match=r"on 'pre' \(the input\) or on 'post' \(the output\), not 'both'"):
        nn.Guard(is_polite, on="both")
    with pytest.raises(TypeError, match="a guard's message is text, not int"):
        nn.Guard(is_polite, message=3)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copied_module_is_guarded_too(again):
    upper = Upper()
    nn.Guard(is_polite, message="no").register(upper)
    copied = again(upper)
    assert copied("hi") == "HI"
    with pytest.raises(GuardRefused, match=r"^no$"):
        copied("damn")
