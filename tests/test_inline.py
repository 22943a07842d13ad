"""Inline: what an expression does with a message, and that it is state."""

import copy
import pickle

import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import ExpressionError, FlowStructureError, LoopLimit, MessageError, NotJson, StateDictError


def inc(message):
    return {"n": message.get("n", 0) + 1}


def double(message):
    return {"n": message["n"] * 2}


def inline(expression, **steps):
    """An Inline whose steps `inc` and `double` change "n"; a step of any other name notes it in "seen"."""
    names = {name: seen_by(name) for name in "abcdxyz"}
    return flow.Inline(expression, {"inc": inc, "double": double, **names, **steps})


def seen_by(name):
    return lambda message: {"seen": message.get("seen", "") + name}


# --- what an expression does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "given", "result"),
    [
        ("", {"n": 1}, {"n": 1}),
        (" \n ", {"n": 1}, {"n": 1}),
        ("inc", {"n": 1}, {"n": 2}),
        ("inc -> double -> inc", {"n": 1}, {"n": 5}),
        ("inc->double\r\n\t-> inc", {"n": 1}, {"n": 5}),
        ("{n > 1 ? inc, double}", {"n": 1}, {"n": 2}),
        ("{n > 0 ? inc -> double, double} -> inc", {"n": 1}, {"n": 5}),
        ("{n > 1 ? inc}", {"n": 1}, {"n": 1}),
        ("{n > 1 ? inc, {n > 0 ? double -> double, inc}}", {"n": 1}, {"n": 4}),
        ("@{n < 20}: double;", {"n": 1}, {"n": 32}),
        ("@ { n < 20 } : inc -> double ;", {"n": 1}, {"n": 22}),
        ("@{n > 1}: inc;", {"n": 1}, {"n": 1}),
        ("@{n < 3}: @{seen is None}: a; -> inc;", {"n": 1}, {"n": 3, "seen": "a"}),
        ("@{n < 9}: {n == 2 ? double, inc}; -> inc", {"n": 1}, {"n": 10}),
        ("[a]", {}, {"seen": "a"}),
        ("[a -> b, inc] -> c", {}, {"seen": "abc", "n": 1}),
        ("[{n > 0 ? a -> [b, inc]}, @{m < 3}: up;]", {"n": 1, "m": 0}, {"n": 2, "m": 3, "seen": "ab"}),
    ],
)
async def test_an_expression_says_which_steps_run(door, expression, given, result):
    workflow = inline(expression, up=lambda message: {"m": message["m"] + 1})
    assert await door(workflow, mf.Message(given)) == result


async def test_steps_are_modules_and_functions_that_wait_or_not(door):
    class Plain(nn.Module):
        def forward(self, message):
            return {"plain": message["given"]}

    class Waits(nn.Module):
        async def aforward(self, message):
            return {"waits": message["plain"]}

    async def later(message):
        return {"later": message["waits"]}

    workflow = flow.Inline("plain -> waits -> later", {"plain": Plain(), "waits": Waits(), "later": later})
    assert await door(workflow, mf.Message(given=1)) == {"given": 1, "plain": 1, "waits": 1, "later": 1}


async def test_a_step_may_be_a_module_that_reads_and_writes_paths(door):
    class Shout(nn.Module):
        def forward(self, text):
            return text.upper()

    shout = Shout()
    shout.reads, shout.writes = "user.text", "answers.first"
    result = await door(flow.Inline("shout", {"shout": shout}), mf.Message({"user.text": "hi"}))
    assert result == {"user": {"text": "hi"}, "answers": {"first": "HI"}}


def deletes_in_place(message):
    del message["scratch"]
    message["done"] = True


def deletes_in_a_copy(message):
    changed = message.copy()
    deletes_in_place(changed)
    return changed.view()


@pytest.mark.parametrize(
    "step",
    [
        deletes_in_place,
        deletes_in_a_copy,
        flow.Inline("clean", {"clean": deletes_in_place}),
        lambda message: deletes_in_place(message) or message,
    ],
    ids=["in place", "in a copy", "nested", "in what it returns"],
)
async def test_what_a_step_does_to_the_message_counts_deletions_too(door, step):
    given = mf.Message(scratch=1, kept=2)
    assert await door(flow.Inline("a -> step", {"a": inc, "step": step}), given) == {"kept": 2, "n": 1, "done": True}
    assert given == {"scratch": 1, "kept": 2}


async def test_returned_changes_are_merged_by_their_paths(door):
    steps = {
        "dict": lambda message: {"a.b": 1, "c": {"d": 2}},
        "fresh": lambda message: mf.Message({"a.e": 3, "c": 4}),
        "both": lambda message: message.update(b=5) or {"f": 6},
    }
    result = await door(flow.Inline("dict -> fresh -> both", steps), {"a.x": 0})
    assert result == {"a": {"e": 3}, "c": 4, "b": 5, "f": 6}


async def test_the_message_that_was_given_is_never_changed(door):
    given = mf.Message(n=1)
    result = await door(inline("inc -> [a, inc]"), given)
    assert (given, result) == ({"n": 1}, {"n": 3, "seen": "a"})


async def test_a_frozen_message_is_taken_and_the_result_can_be_changed(door):
    result = await door(inline("inc"), mf.Message({"n": 1}, frozen=True))
    result["n"] = 5
    assert result == {"n": 5} and not result.frozen


async def test_a_mapping_is_made_a_message(door):
    assert await door(inline("inc"), {"n": 1, "user.name": "Ada"}) == {"n": 2, "user": {"name": "Ada"}}


@pytest.mark.parametrize("given", [1, "n", None, [("n", 1)]])
async def test_anything_else_is_refused(door, given):
    with pytest.raises(TypeError, match="an Inline is called with a Message, or with a dict to make one of, not with"):
        await door(inline("inc"), given)


@pytest.mark.parametrize("result", [1, "text", [("n", 1)], True])
async def test_a_step_that_returns_no_changes_is_named(door, result):
    with pytest.raises(TypeError, match=r"a step returns its changes, a mapping such as .* or None, not") as caught:
        await door(inline("inc -> bad", bad=lambda message: result), {})
    assert caught.value.__notes__ == ["in step bad of Inline"]


async def test_changes_that_no_message_can_hold_name_the_step(door):
    with pytest.raises(MessageError, match=r"'n\.x' cannot be changed") as caught:
        await door(inline("bad", bad=lambda message: {"n.x": 1}), {"n": 1})
    assert caught.value.__notes__ == ["in step bad of Inline"]


async def test_an_error_keeps_its_type_and_says_in_which_step(door):
    def broken(message):
        return 1 / 0

    inner = inline("inc -> [a, {n ? broken}]", broken=broken)
    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(first=dict, second=inline("inner", inner=inner)), {"n": 1})
    assert caught.value.__notes__ == ["in step second.inner.broken of Pipeline"]


async def test_a_loop_that_does_not_end_is_stopped(door):
    workflow = flow.Inline("inc ->\n @{n > 0}: inc;", {"inc": inc}, max_steps=5)
    with pytest.raises(LoopLimit, match=r"after 5 rounds.* n > 0 still holds, at line 2, column 2") as caught:
        await door(workflow, {})
    assert caught.value.steps == 5


async def test_a_loop_may_take_as_many_rounds_as_it_is_allowed(door):
    assert await door(flow.Inline("@{n < 5}: inc;", {"inc": inc}, max_steps=5), {"n": 0}) == {"n": 5}


async def test_steps_may_refer_to_what_the_flow_was_given(door):
    first = flow.bind(lambda message, given: {"first": given["n"], "now": message["n"]}, flow.previous, flow.input)
    assert await door(inline("inc -> first", first=first), {"n": 1}) == {"n": 2, "first": 1, "now": 2}


@pytest.mark.parametrize(
    "expression",
    [
        "{n ? " * 200 + "inc" + "}" * 200,
        "@{n < 5}: " * 199 + "inc" + ";" * 199,
        "[" * 200 + "inc" + "]" * 200,
        "{" + "not (" * 198 + "n == 0" + ")" * 198 + " ? double, inc}",
    ],
    ids=["choices", "loops", "forks", "condition"],
)
async def test_200_levels_run(door, expression):
    assert (await door(flow.Inline(expression, {"inc": inc, "double": double}), {"n": 4}))["n"] == 5


# --- steps and their names -------------------------------------------------------------------------------------------


def test_a_step_may_be_named_like_a_method_or_a_word_of_conditions():
    workflow = flow.Inline("update -> not -> {not n ? train}", dict.fromkeys(("update", "not", "train"), inc))
    assert workflow({}) == {"n": 2} and workflow.train(False).training is False


@pytest.mark.parametrize("name", ["expression", "max_steps", "training", "a b", "a.b", "a-b", "1", "", "_hidden"])
def test_a_name_that_no_expression_can_hold_is_refused(name):
    with pytest.raises((FlowStructureError, KeyError), match=r"named|cannot name|cannot have|attribute of the class"):
        flow.Inline("", {name: inc})


def test_a_step_cannot_take_the_place_of_the_expression():
    workflow = inline("inc")
    for register in (workflow.register_module, workflow.add_module, lambda *pair: setattr(workflow, *pair)):
        for value in (nn.Module(), nn.Parameter("inc")):
            with pytest.raises((FlowStructureError, TypeError), match="'expression' is"):
                register("expression", value)
    assert workflow({}) == {"n": 1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("inc", [inc]), "the steps are a dict of names to Modules and functions, not .* of type list"),
        ((inc, {"inc": inc}), "an expression is text such as 'prepare -> answer', not .* of type function"),
        (("inc", {"inc": 5}), "a step is a Module or a function, not 5 of type int"),
        (("inc", {5: inc}), "a name is text, not int"),
    ],
)
def test_what_is_no_expression_or_no_steps_is_refused(arguments, problem):
    with pytest.raises((TypeError, FlowStructureError), match=problem):
        flow.Inline(*arguments)


@pytest.mark.parametrize("max_steps", [0, -1, 1.5, True, None])
def test_the_most_rounds_are_a_whole_number_of_at_least_1(max_steps):
    with pytest.raises((TypeError, ValueError), match="max_steps is"):
        flow.Inline("", {}, max_steps=max_steps)


async def test_a_step_that_was_taken_out_is_named_when_its_turn_comes(door):
    workflow = inline("inc -> double")
    del workflow.double
    with pytest.raises(ExpressionError, match="line 1, column 8: there is no step 'double'"):
        await door(workflow, {})


# --- the expression is state -----------------------------------------------------------------------------------------


async def test_the_expression_is_a_buffer_and_can_be_swapped(door):
    workflow = inline("inc")
    assert workflow.state_dict() == {"expression": "inc"} and type(workflow.state_dict()["expression"]) is str
    workflow.load_state_dict({"expression": "inc -> double"})
    assert await door(workflow, {"n": 1}) == {"n": 4}
    workflow.expression = "double"
    assert await door(workflow, {"n": 1}) == {"n": 2}
    assert dict(workflow.named_buffers()) == {"expression": "double"} and workflow.expression == "double"


async def test_prompts_of_steps_are_part_of_the_state(door):
    class Prompted(nn.Module):
        def __init__(self):
            super().__init__()
            self.prompt = nn.Parameter("Hello")

        def forward(self, message):
            return {"text": str(self.prompt)}

    workflow = flow.Inline("greet", {"greet": Prompted()})
    workflow.load_state_dict({"expression": "greet -> greet", "greet.prompt": "Bye"})
    assert await door(workflow, {}) == {"text": "Bye"}


@pytest.mark.parametrize("bad", ["inc -> -> double", "inc -> nope", "[inc", None, 5, ["inc"], {}])
async def test_a_bad_expression_is_refused_whole_and_the_old_one_keeps_running(door, bad):
    whole = nn.ModuleDict({"flow": inline("inc"), "other": inline("inc")})
    with pytest.raises(StateDictError, match=r"flow\.expression"):
        whole.load_state_dict({"flow.expression": bad, "other.expression": "double"})
    with pytest.raises((ExpressionError, TypeError, NotJson)):
        whole["flow"].expression = bad
    assert whole.state_dict() == {"flow.expression": "inc", "other.expression": "inc"}
    assert await door(whole["flow"], {"n": 1}) == {"n": 2}


def test_other_buffers_may_be_added():
    workflow = inline("inc")
    workflow.register_buffer("limit", 3)
    assert workflow.state_dict() == {"expression": "inc", "limit": 3}


async def test_a_call_keeps_the_shape_that_it_began_with(door):
    workflow = inline("swap -> inc", swap=lambda message: setattr(workflow, "expression", "double"))
    assert await door(workflow, {"n": 5}) == {"n": 6}
    assert await door(workflow, {"n": 5}) == {"n": 10}


async def test_copies_have_an_expression_of_their_own(door):
    workflow = flow.Inline("inc", {"inc": inc, "double": double})
    for twin in (copy.deepcopy(workflow), pickle.loads(pickle.dumps(workflow))):
        workflow.expression = "inc -> inc"
        assert await door(twin, {"n": 1}) == {"n": 2}
        twin.expression = "double"
        assert await door(workflow, {"n": 1}) == {"n": 3}
        workflow.expression = "inc"


def test_an_expression_that_was_read_stays_one_when_it_is_copied():
    expression = inline("inc -> double").expression
    assert copy.deepcopy(expression) is expression
    assert pickle.loads(pickle.dumps(expression)).chain == expression.chain


def test_it_shows_its_expression():
    assert repr(flow.Inline("inc ->\n inc", {"inc": inc})) == "Inline(\n  'inc ->\\n inc'\n  (inc): Function(inc)\n)"
