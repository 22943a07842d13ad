"""Predictor: one typed call of a model by a signature, or of an estimator."""

import asyncio
import copy
import pickle
from typing import Literal

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.errors import OutputError, SchemaError, StateDictError
from msgflow.messages import assistant, system, user
from msgflow.models import ScriptedModel


class Route(mf.Signature):
    """Decide who answers."""

    message: str = mf.InputField("what the customer wrote")
    team: Literal["sales", "support"] = mf.OutputField("who should answer")


async def test_the_outputs_are_attributes_of_their_types(door):
    model = ScriptedModel('{"stars": 4, "reason": "It works."}')
    answer = await door(nn.Predictor("review -> stars: int, reason", model), review="Good")
    assert (answer.stars, answer.reason) == (4, "It works.")
    assert model.requests[0].messages == (
        system("Given review, answer with stars, reason."),
        user("review: Good"),
    )


async def test_inputs_are_given_by_name_or_in_order(door):
    model = ScriptedModel.repeat('{"answer": 1}')
    predictor = nn.Predictor("question, context: list[str] -> answer: float", model)
    await door(predictor, "why?", ["a", "b"])
    await door(predictor, "why?", context=["a", "b"])
    await door(predictor, context=["a", "b"], question="why?")
    assert {request.messages[1] for request in model.requests} == {user('question: why?\n\ncontext: ["a","b"]')}


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "takes the inputs a, b: a missing; b missing"),
        ((1,), {}, "b missing"),
        ((1, 2, 3), {}, r"takes 2 inputs \(a, b\), got 3"),
        ((1,), {"a": 1, "b": 2}, "a given twice"),
        ((1, 2), {"c": 3}, "c unexpected"),
    ],
)
async def test_wrong_inputs_are_refused_by_name(door, args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        await door(nn.Predictor("a, b -> c", ScriptedModel("never"), name="p"), *args, **kwargs)


def test_a_signature_class_says_instructions_and_fields():
    model = ScriptedModel('{"team": "support"}')
    predictor = nn.Predictor(Route, model)
    assert predictor(message="It is broken.").team == "support" and predictor.name == "Route"
    said = model.requests[0].messages[0].text
    assert said == "Decide who answers.\n\nFields:\n- message: what the customer wrote\n- team: who should answer"


def test_without_instructions_and_descriptions_there_is_no_system_message():
    model = ScriptedModel('{"b": "x"}')
    nn.Predictor("a -> b", model, instructions="")("x")
    assert model.requests[0].messages == (user("a: x"),)


def test_a_signature_may_have_no_inputs():
    model = ScriptedModel('{"number": 7}')
    assert nn.Predictor("-> number: int", model)().number == 7
    assert model.requests[0].messages[0] == system("Answer with number.")


def test_values_with_braces_and_falsy_values_are_shown_as_they_are():
    model = ScriptedModel('{"c": "x"}')
    nn.Predictor("a, b -> c", model)("{{ a }} {% x %}", 0)
    assert model.requests[0].messages[1] == user("a: {{ a }} {% x %}\n\nb: 0")


@pytest.mark.parametrize(("retries", "asked"), [(-1, 1), (0, 1), (2, 3)])
def test_a_bad_answer_is_shown_to_the_model_and_then_an_error(retries, asked):
    model = ScriptedModel.repeat('{"team": "nobody"}')
    with pytest.raises(OutputError, match="'sales' or 'support'") as caught:
        nn.Predictor(Route, model, output_retries=retries)("Hi")
    assert caught.value.text == '{"team": "nobody"}' and len(model.requests) == asked
    assert all("That was not a valid answer" in request.messages[-1].text for request in model.requests[1:])


def test_an_answer_that_was_put_right_counts():
    model = ScriptedModel("sales", '{"team": "sales"}')
    assert nn.Predictor(Route, model)("Hi").team == "sales"
    assert model.requests[1].messages[2] == assistant("sales")


# --- examples and state ----------------------------------------------------------------------------------------------

EXAMPLES = [{"message": "How much?", "team": "sales"}]


def test_examples_are_shown_as_earlier_turns():
    model = ScriptedModel('{"team": "support"}')
    nn.Predictor(Route, model, examples=EXAMPLES)("Broken")
    assert model.requests[0].messages[1:] == (
        user("message: How much?"),
        assistant('{"team": "sales"}'),
        user("message: Broken"),
    )


def test_instructions_examples_model_and_settings_are_state_and_can_be_swapped():
    predictor = nn.Predictor(Route, ScriptedModel("x", name="first"), settings={"seed": 1})
    assert predictor.state_dict() == {
        "instructions": "Decide who answers.",
        "examples": [],
        "model": "test/first",
        "settings": {"seed": 1},
    }
    other = ScriptedModel('{"team": "sales"}', name="other")
    state = {"instructions": "Choose.", "examples": EXAMPLES, "model": "test/other", "settings": {"seed": 2}}
    predictor.load_state_dict(state)
    assert predictor("Hi").team == "sales" and predictor.state_dict() == state
    (request,) = other.requests
    assert request.messages[0].text.startswith("Choose.") and len(request.messages) == 4
    assert request.settings == {"seed": 2}


BAD_EXAMPLES = [[{"message": "How much?"}], [{"team": "sales"}], ["text"], [None]]


@pytest.mark.parametrize("examples", [*BAD_EXAMPLES, {"message": "x", "team": "sales"}, "text", None, 5])
def test_examples_that_do_not_fit_the_signature_are_refused_wherever_they_come_from(examples):
    predictor = nn.Predictor(Route, ScriptedModel('{"team": "sales"}'), examples=EXAMPLES)
    with pytest.raises((TypeError, ValueError)):
        predictor.examples = examples
    with pytest.raises(StateDictError, match="examples"):
        predictor.load_state_dict({**predictor.state_dict(), "examples": examples})
    assert predictor.examples == EXAMPLES and predictor("x").team == "sales"


def test_examples_that_lack_a_field_are_refused_when_the_predictor_is_made():
    with pytest.raises(ValueError, match="example 0 lacks team; each has all inputs and outputs"):
        nn.Predictor(Route, ScriptedModel("x"), examples=BAD_EXAMPLES[0])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copied_examples_are_still_checked(again):
    examples = nn.Predictor(Route, ScriptedModel("x"), examples=EXAMPLES).get_parameter("examples")
    examples.grad = "shorter"
    copied = again(examples)
    assert (copied.data, copied.spec, copied.grad) == (EXAMPLES, "few_shot_examples", "shorter")
    with pytest.raises(ValueError, match="lacks"):
        copied.data = BAD_EXAMPLES[0]


def test_a_deep_copy_answers_with_a_state_of_its_own():
    predictor = nn.Predictor(Route, ScriptedModel.repeat('{"team": "sales"}'), examples=EXAMPLES)
    copied = copy.deepcopy(predictor)
    copied.instructions = "Choose."
    assert copied("x").team == "sales" and predictor.instructions == "Decide who answers."


# --- what it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", ["question", "a -> ", "-> a, a"])
def test_a_text_that_is_no_signature_is_refused(signature):
    with pytest.raises(SchemaError):
        nn.Predictor(signature, ScriptedModel("x"))


def test_a_signature_without_a_model_is_refused():
    with pytest.raises(TypeError, match="a signature needs a model that answers it"):
        nn.Predictor("a -> b")


@pytest.mark.parametrize("what", [5, None, print, object()])
def test_what_has_no_predict_is_refused(what):
    with pytest.raises(TypeError, match="a Predictor takes a signature and a model, or an object with `predict`"):
        nn.Predictor(what)


class Halves:
    def predict(self, x, *, times=1):
        return [value / 2 * times for value in x]


class AsyncHalves:
    async def predict(self, x):
        await asyncio.sleep(0)
        return [value / 2 for value in x]


async def test_an_estimator_is_called_with_what_predict_takes(door):
    assert await door(nn.Predictor(Halves()), [2, 4], times=3) == [3, 6]
    assert await door(nn.Predictor(AsyncHalves()), [2, 4]) == [1, 2]


def test_an_estimator_takes_no_model():
    with pytest.raises(TypeError, match="an estimator predicts by itself"):
        nn.Predictor(Halves(), ScriptedModel("x"))


def test_an_estimators_error_is_its_own():
    with pytest.raises(TypeError, match="unsupported operand"):
        nn.Predictor(Halves())(["x"])


def test_both_kinds_are_predictors_and_say_what_they_are():
    typed, estimator = nn.Predictor("a, b -> c: int", ScriptedModel("x")), nn.Predictor(Halves())
    assert isinstance(typed, nn.Predictor) and isinstance(estimator, nn.Predictor)
    assert repr(typed) == "SignaturePredictor('a, b -> c', model='test/scripted')"
    assert repr(estimator) == "EstimatorPredictor(Halves)"


def test_a_subclass_writes_its_own_forward():
    class Shouts(nn.Predictor):
        def forward(self, x):
            return x.upper()

    assert Shouts("anything")("x") == "X"


def test_its_spans_are_a_step_with_a_chat(tracing):
    predictor = nn.Predictor(Route, ScriptedModel('{"team": "sales"}'))
    predictor("x")
    chat, root = tracing.spans
    assert (chat.name, root.name) == ("chat scripted", "invoke_workflow SignaturePredictor")
    assert chat.parent.span_id == root.context.span_id
    assert chat.attributes["gen_ai.prompt.name"] == "Route.instructions"
    assert chat.attributes["gen_ai.output.type"] == "json"
