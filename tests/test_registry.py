"""The registry: functions and classes that are found by name."""

import copy
import inspect
import pickle
from functools import partial

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.errors import MsgflowError, RegistryError, RegistryLookupError
from tests.in_python import run_script


class Shout(nn.Module):
    def __init__(self, mark="!"):
        super().__init__()
        self.mark = mark

    def forward(self, text):
        return text + self.mark


def shout(text):
    return text.upper()


@pytest.fixture
def registry():
    """One of its own, with the group `steps`."""
    made = type(mf.registry)()
    made.new_group("steps")
    return made


# --- what is registered ----------------------------------------------------------------------------------------------


async def test_a_function_becomes_a_module_a_new_one_each_time(registry, door):
    assert registry.register("steps")(shout) is shout
    module = registry.steps.shout()
    assert isinstance(module, nn.Module) and module is not registry.steps.shout()
    assert await door(module, "hi") == "HI"


async def test_an_async_function_becomes_a_module_as_well(registry, door):
    @registry.register("steps")
    async def later(text):
        return f"later {text}"

    assert await door(registry.steps.later(), "hi") == "later hi"


async def test_a_class_of_modules_gets_the_arguments(registry, door):
    assert registry.register("steps")(Shout) is Shout
    assert registry.steps.Shout is Shout
    assert await door(registry.steps.Shout(mark="?"), "hi") == "hi?"


def test_any_other_class_is_there_as_it_is(registry):
    registry.register("steps", "table")(dict)
    assert registry.steps.table(a=1) == {"a": 1}


def test_a_module_that_is_made_already_is_given_as_it_is(registry):
    module = registry.register("steps", "loud")(Shout())
    assert registry.steps.loud() is module


def test_a_given_name_wins(registry):
    registry.register("steps", "cry")(shout)
    registry.register("steps", name="add")(partial(max, 1))
    registry.register("steps", "quiet")(lambda text: text.lower())
    assert registry.steps.cry()("hi") == "HI" and registry.steps.add()(2) == 2 and registry.steps.quiet()("A") == "a"
    assert "shout" not in registry.steps


def test_modules_made_by_the_registry_can_be_copied_and_pickled(registry):
    registry.register("steps")(shout)
    module = registry.steps.shout()
    assert pickle.loads(pickle.dumps(module))("a") == copy.deepcopy(module)("a") == "A"


@pytest.mark.parametrize("thing", [5, None, "shout", object()])
def test_what_cannot_be_called_is_refused(registry, thing):
    with pytest.raises(TypeError, match="a function or a class is expected, not "):
        registry.register("steps", "thing")(thing)


def test_the_arguments_of_a_function_are_for_the_module(registry):
    registry.register("steps")(shout)
    with pytest.raises(TypeError, match=r"takes no arguments: .* write name\(\)\(\.\.\.\)"):
        registry.steps.shout("hi")


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_group_of_that_name_may_not_be_there(registry):
    with pytest.raises(RegistryError, match="there is a group 'steps' already"):
        registry.new_group("steps")


def test_a_thing_of_that_name_may_not_be_there_and_the_first_one_stays(registry):
    registry.register("steps")(shout)
    with pytest.raises(RegistryError, match=r"the group 'steps' has 'shout' already: Factory.*del registry\.steps"):
        registry.register("steps")(shout)
    with pytest.raises(RegistryError, match="already"):
        registry.register("steps", "shout")(Shout)
    assert registry.steps.shout()("a") == "A"


def test_a_name_that_was_deleted_can_be_given_again(registry):
    registry.register("steps")(shout)
    del registry.steps["shout"]
    registry.register("steps", "shout")(Shout)
    assert registry.steps.shout is Shout
    del registry["steps"]
    assert "steps" not in registry and "shout" not in registry.new_group("steps")


BAD_NAMES = ["", "a b", "a.b", "1st", "class", "_private", "__init__", "<lambda>", "a\n", "x" * 100_000 + "!"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_attribute_can_have_is_refused(registry, name):
    with pytest.raises(RegistryError, match=r"cannot be looked up as an attribute; .* registry\.new_group") as caught:
        registry.new_group(name)
    assert len(str(caught.value)) < 300
    with pytest.raises(RegistryError, match=r"cannot be looked up .*: @registry\.register\('steps', 'name'\)"):
        registry.register("steps", name)(shout)


def test_what_has_no_name_needs_one(registry):
    for thing in (lambda: 1, partial(max, 1), Shout()):
        with pytest.raises(RegistryError, match=r"give a name .*@registry\.register\('steps', 'name'\)"):
            registry.register("steps")(thing)


@pytest.mark.parametrize("name", ["register", "new_group"])
def test_a_group_cannot_have_the_name_of_a_method(registry, name):
    with pytest.raises(RegistryError, match="is what every Registry has"):
        registry.new_group(name)
    registry.register("steps", name)(shout)
    assert registry.steps[name]()("a") == "A"


def test_names_are_text(registry):
    with pytest.raises(TypeError, match="a name is text, not 5 of type int"):
        registry.new_group(5)
    with pytest.raises(TypeError, match="a name is text, not 5 of type int"):
        registry.register("steps", 5)(shout)


def test_the_decorator_needs_a_group():
    with pytest.raises(TypeError, match=r"as in @registry.register\('checks'\), not <function shout"):
        mf.registry.register(shout)


# --- looking up ------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_an_attribute_error_that_names_what_is(registry):
    registry.register("steps")(shout)
    with pytest.raises(
        RegistryLookupError, match=r"the registry has no 'stepz'; it has: steps\. registry\.new"
    ) as group:
        registry.stepz  # noqa: B018  # reading it is the test
    with pytest.raises(
        RegistryLookupError, match=r"the group 'steps' has no 'shot'; it has: shout\. @registry"
    ) as name:
        registry["steps"]["shot"]
    assert isinstance(group.value, AttributeError) and isinstance(name.value, MsgflowError)
    assert (name.value.wanted, name.value.known) == ("shot", ["shout"])
    assert not hasattr(registry, "stepz") and getattr(registry.steps, "shot", None) is None


def test_nothing_is_put_into_or_taken_out_of_a_group_that_is_not_there(registry):
    with pytest.raises(RegistryLookupError, match="has no 'checks'; it has: steps"):
        registry.register("checks")
    with pytest.raises(RegistryLookupError, match="has no 'checks'"):
        del registry["checks"]
    with pytest.raises(RegistryLookupError, match="it has: nothing yet"):
        del registry.steps["shout"]
    with pytest.raises(RegistryLookupError, match="has no 5"):
        registry[5]


def test_a_registry_can_be_looked_through(registry):
    registry.register("steps")(shout)
    registry.register("steps")(Shout)
    assert list(registry) == ["steps"] and list(registry.steps) == ["shout", "Shout"]
    assert "steps" in registry and "shout" in registry["steps"] and 5 not in registry
    assert {"steps", "new_group"} <= set(dir(registry)) and {"shout", "Shout"} <= set(dir(registry.steps))
    assert repr(registry) == "Registry(Group('steps': shout, Shout))"
    assert repr(type(registry)()) == "Registry(empty)" and repr(registry.new_group("more")) == "Group('more': empty)"


def test_a_registry_can_be_copied_pickled_and_asked_for_what_notebooks_ask(registry):
    registry.register("steps")(shout)
    for twin in (copy.copy(registry), copy.deepcopy(registry), pickle.loads(pickle.dumps(registry))):
        assert twin.steps.shout()("a") == "A"
    assert not hasattr(registry, "_repr_html_") and not hasattr(registry.steps, "__wrapped__")
    assert inspect.unwrap(registry.steps) is registry.steps


def test_it_is_made_when_it_is_first_asked_for():
    script = "import sys, msgflow as mf\nbefore = 'msgflow._registry' in sys.modules\n"
    assert run_script(f"{script}mf.registry.new_group('a')\nprint(before, list(mf.registry))") == "False ['a']"
