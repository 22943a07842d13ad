"""A parameter has identity and a frozen value; a text one reads as text."""

import copy
import json
import pickle
import re

import pytest

import msgflow.nn as nn


class Prompted(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("Be kind", "system_prompt")
        self.examples = nn.Parameter([{"q": 1}], "examples")


def test_a_text_parameter_reads_as_text():
    text = Prompted().prompt
    assert isinstance(text, str) and text == "Be kind" and hash(text) == hash("Be kind")
    assert (f"{text}!", text + "!", "kind" in text) == ("Be kind!", "Be kind!", True)
    assert (text.upper(), text[3:], len(text), text.split()) == ("BE KIND", "kind", 7, ["Be", "kind"])
    assert re.sub("kind", "brief", text) == "Be brief" and json.dumps([text]) == '["Be kind"]'
    assert {text: 1}["Be kind"] == 1 and repr(text) == "'Be kind'" and "/".join([text, text]) == "Be kind/Be kind"


def test_a_text_read_from_a_parameter_knows_it():
    module = Prompted()
    text, parameter = module.prompt, module.get_parameter("prompt")
    parameter.grad = "feedback"
    assert (text.data, text.spec, text.requires_grad, text.grad) == ("Be kind", "system_prompt", True, "feedback")
    assert text.parameter is parameter and type(text.data) is type(str(text)) is str


def test_a_text_stays_what_it_was_when_its_parameter_changes():
    module = Prompted()
    before = module.prompt
    module.prompt = "Be brief"
    assert before == "Be kind" and module.prompt == "Be brief"


def test_assigning_through_the_text_object_changes_the_parameter():
    module = Prompted()
    module.prompt.data = "Be brief"
    assert module.prompt == "Be brief" and module.get_parameter("prompt").data == "Be brief"


def test_assigning_to_the_name_keeps_the_parameter():
    module = Prompted()
    parameter = module.get_parameter("prompt")
    module.prompt = "Be brief"
    assert module.get_parameter("prompt") is parameter and parameter.spec == "system_prompt"


def test_parameters_have_identity():
    assert nn.Parameter("same") != nn.Parameter("same")
    assert len({nn.Parameter("same"), nn.Parameter("same")}) == 2


def test_a_json_parameter_is_frozen():
    module, examples = Prompted(), [{"q": 2}]
    with pytest.raises(TypeError, match="published whole"):
        module.examples[0]["q"] = 5
    module.examples = examples
    examples.append({"q": 3})
    assert module.examples == [{"q": 2}]


@pytest.mark.parametrize("data", [None, True, 3, 2.5, [], {}, {"a": [1, None]}])
def test_every_json_value_can_be_a_parameter(data):
    parameter = nn.Parameter(data)
    assert parameter.data == data and not parameter.is_text


def test_what_no_file_can_hold_is_refused():
    with pytest.raises(TypeError, match="a parameter is of type set"):
        nn.Parameter({1, 2})
    with pytest.raises(TypeError, match=r"a parameter\['f'\] is of type"):
        nn.Parameter({"f": print})


def test_text_cannot_become_something_else_nor_the_other_way_round():
    module = Prompted()
    with pytest.raises(TypeError, match="holds text and cannot become int"):
        module.prompt = 5
    with pytest.raises(TypeError, match="holds not text and cannot become text"):
        module.examples = "text"
    assert module.prompt == "Be kind" and module.examples == [{"q": 1}]


def test_requires_grad_can_be_switched():
    parameter = nn.Parameter("x", requires_grad=False)
    assert not parameter.requires_grad
    assert parameter.requires_grad_() is parameter and parameter.requires_grad
    assert not parameter.requires_grad_(False).requires_grad


def test_repr_shows_what_was_given():
    assert repr(nn.Parameter("x")) == "Parameter('x')"
    assert repr(nn.Parameter([1], "examples", requires_grad=False)) == (
        "Parameter([1], spec='examples', requires_grad=False)"
    )


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("data", ["text", {"a": [1]}])
def test_a_copy_is_a_parameter_of_its_own(again, data):
    original = nn.Parameter(data, "spec", requires_grad=False)
    original.grad = ["feedback"]
    copied = again(original)
    assert copied is not original
    assert (copied.data, copied.spec, copied.requires_grad, copied.grad) == (data, "spec", False, ["feedback"])
    hash(copied.data)


def test_a_copy_of_a_text_is_plain_text():
    text = Prompted().prompt
    for copied in (copy.copy(text), copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert type(copied) is str and copied == "Be kind"
