"""A module's attributes, its place in the tree, and what it looks like."""

import asyncio
import copy
import pickle
import warnings
from collections import OrderedDict

import pytest

import msgflow.nn as nn


class Step(nn.Module):
    def __init__(self, prompt="Be kind"):
        super().__init__()
        self.prompt = nn.Parameter(prompt, "system_prompt")

    def forward(self, x):
        return x


class Tied(nn.Module):
    """Shares a step and a parameter; at module level, because pickle finds classes by name."""

    def __init__(self):
        super().__init__()
        self.one = Step()
        self.two = self.one
        self.tied = self.one.get_parameter("prompt")
        self.register_buffer("limits", {"max": [3]})
        self.register_buffer("scratch", 0, persistent=False)
        self.note = {"plain": True}

    def forward(self, x):
        return x


# --- attributes ----------------------------------------------------------------------------------------------------


def test_a_subclass_that_forgets_super_init_works():
    class Forgets(nn.Module):
        def __init__(self, prompt):
            self.prompt = nn.Parameter(prompt)
            self.step = Step()

        def forward(self, x):
            return self.step(x)

    assert Forgets("hi").state_dict() == {"prompt": "hi", "step.prompt": "Be kind"} and Forgets("hi")(1) == 1


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_or_tuple_of_modules_is_registered(kind):
    module = nn.Module()
    module.steps = kind([Step("a"), Step("b")])
    assert isinstance(module.steps, nn.ModuleList) and module.state_dict() == {
        "steps.0.prompt": "a",
        "steps.1.prompt": "b",
    }


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_dict_of_modules_is_registered(kind):
    module = nn.Module()
    module.steps = kind(first=Step("a"))
    assert isinstance(module.steps, nn.ModuleDict) and module.state_dict() == {"steps.first.prompt": "a"}


def test_other_lists_and_dicts_stay_what_they_are():
    module = nn.Module()
    module.empty, module.numbers, module.table = [], [1, 2], {"a": 1}
    assert (module.empty, module.numbers, module.table) == ([], [1, 2], {"a": 1}) and not list(module.children())


def test_a_mix_of_modules_and_other_values_is_warned_about():
    module = nn.Module()
    with pytest.warns(UserWarning, match=r"'steps' mixes Modules with other values.*in no state dict") as caught:
        module.steps = [Step(), print]
    assert caught[0].filename == __file__ and isinstance(module.steps, list)


def test_reassigning_a_name_replaces_whatever_it_was():
    module = nn.Module()
    for value, kind in [
        (Step(), "module"),
        (nn.Parameter("x"), "parameter"),
        (Step(), "module"),
        (5, "plain"),
        (nn.Parameter("x"), "parameter"),
    ]:
        module.part = value
        kinds = {"module": module._modules, "parameter": module._parameters, "plain": module.__dict__}
        assert [name for name, table in kinds.items() if "part" in table] == [kind]


def test_a_module_replaced_by_none_is_gone_from_the_tree():
    module = Tied()
    module.one = module.two = None
    assert module.one is None and list(module.state_dict()) == ["tied", "limits"]


def test_deleting_a_name_removes_it_from_the_state():
    module = Tied()
    del module.tied, module.limits, module.one, module.two, module.note
    assert module.state_dict() == {} and not hasattr(module, "limits") and not hasattr(module, "note")
    with pytest.raises(AttributeError, match="limits"):
        del module.limits


def test_assigning_to_a_buffer_updates_it():
    module = Tied()
    module.limits = {"max": [4]}
    assert module.state_dict()["limits"] == {"max": [4]}
    with pytest.raises(TypeError, match=r"Tied: the buffer 'limits'\['f'\] is of type builtin_function"):
        module.limits = {"f": print}


def test_a_parameter_that_takes_a_buffers_name_is_saved_even_if_the_buffer_was_not():
    module = Tied()
    module.scratch = nn.Parameter("kept")
    assert module.state_dict()["scratch"] == "kept"


def test_a_property_of_the_class_is_set_as_a_property():
    class WithProperty(nn.Module):
        @property
        def size(self):
            return self.stored

        @size.setter
        def size(self, value):
            self.stored = value * 2

    module = WithProperty()
    module.size = 4
    assert module.size == 8


def test_a_missing_attribute_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'Step' object has no attribute 'promt'"):
        _ = Step().promt
    assert getattr(Step(), "nope", 3) == 3


def test_dir_lists_parameters_buffers_and_modules():
    assert {"one", "two", "tied", "limits", "note", "forward", "state_dict"} <= set(dir(Tied()))


@pytest.mark.parametrize("name", ["", "a.b", "forward", "training", "_modules", "_parameters", "_digest"])
def test_names_that_cannot_name_a_part_are_refused(name):
    module = nn.Module()
    for register, value in [
        (module.register_parameter, nn.Parameter("x")),
        (module.register_buffer, 1),
        (module.register_module, Step()),
    ]:
        with pytest.raises(KeyError):
            register(name, value)
    assert module.train().training is True and module.state_dict() == {}


def test_registering_the_wrong_type_is_refused():
    module = nn.Module()
    with pytest.raises(TypeError, match=r"'p' is of type str; wrap the value in nn.Parameter"):
        module.register_parameter("p", "text")
    with pytest.raises(TypeError, match="'m' is of type function, not a Module"):
        module.add_module("m", lambda x: x)
    with pytest.raises(TypeError, match="a name is text, not int"):
        module.register_buffer(1, "x")


# --- forward -------------------------------------------------------------------------------------------------------


def test_an_async_def_forward_is_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"Wrong.forward is `async def`; name it `aforward`"):

        class Wrong(nn.Module):
            async def forward(self, x):
                return x


async def test_a_missing_forward_is_an_error_that_names_the_class(door):
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has neither `def forward` nor `async def aforward`"):
        await door(Empty())


async def test_a_new_forward_is_not_passed_over_for_an_inherited_aforward(door):
    class Parent(nn.Module):
        async def aforward(self, x):
            await asyncio.sleep(0)
            return [x]

    class Child(Parent):
        def forward(self, x):
            return ["child", *super().forward(x)]

    assert await door(Child(), 1) == ["child", 1]


async def test_a_new_aforward_is_not_passed_over_for_an_inherited_forward(door):
    class Parent(nn.Module):
        def forward(self, x):
            return [x]

    class Child(Parent):
        async def aforward(self, x):
            await asyncio.sleep(0)
            return ["child", *await super().aforward(x)]

    class Grandchild(Child):
        pass

    assert await door(Grandchild(), 1) == ["child", 1]


async def test_arguments_may_have_any_name(door):
    class Keywords(nn.Module):
        def forward(this, *args, **kwargs):
            return args, kwargs

    given = {"module": 1, "args": 2, "run": 3, "function": 4}
    assert await door(Keywords(), 1, **given) == ((1,), given)


# --- the tree ------------------------------------------------------------------------------------------------------


def test_the_tree_is_walked_parents_first_and_shared_parts_once():
    module = Tied()
    module.last = nn.Sequential(Step("z"))
    assert [name for name, _ in module.named_modules()] == ["", "one", "last", "last.0"]
    assert [name for name, _ in module.named_modules(prefix="root")] == ["root", "root.one", "root.last", "root.last.0"]
    assert [name for name, _ in module.named_modules(remove_duplicate=False)] == ["", "one", "two", "last", "last.0"]
    assert next(iter(module.modules())) is module and [name for name, _ in module.named_children()] == ["one", "last"]


def test_parameters_come_in_order_own_first_and_shared_ones_once():
    module = Tied()
    assert [name for name, _ in module.named_parameters()] == ["tied"]
    assert [name for name, _ in module.named_parameters(remove_duplicate=False)] == ["tied", "one.prompt", "two.prompt"]
    assert [name for name, _ in module.named_parameters(prefix="p", recurse=False)] == ["p.tied"]
    assert list(module.parameters()) == [module.get_parameter("one.prompt")]


def test_buffers_come_as_copies_persistent_or_not():
    module = Tied()
    assert dict(module.named_buffers()) == {"limits": {"max": [3]}, "scratch": 0}
    next(module.buffers())["max"].append(4)
    module.get_buffer("limits")["max"].append(5)
    assert module.limits == {"max": [3]} and list(module.buffers(recurse=False)) == [{"max": [3]}, 0]


def test_parts_are_found_by_dotted_path():
    module = nn.Sequential(Tied())
    assert module.get_submodule("") is module and module.get_submodule("0.one") is module[0].one
    assert module.get_parameter("0.one.prompt").data == "Be kind" and module.get_buffer("0.limits") == {"max": [3]}


def test_a_path_that_leads_nowhere_says_what_there_is():
    module = nn.Sequential(Tied())
    with pytest.raises(AttributeError, match=r"Tied has no submodule 'three' of '0.three.x'; it has: one, two"):
        module.get_submodule("0.three.x")
    with pytest.raises(AttributeError, match=r"Step has no submodule 'x' of '0.one.x'; it has: none"):
        module.get_submodule("0.one.x")
    with pytest.raises(AttributeError, match=r"no parameter '0.limits'; it has: tied"):
        module.get_parameter("0.limits")
    with pytest.raises(AttributeError, match=r"no buffer '0.tied'; it has: limits, scratch"):
        module.get_buffer("0.tied")


def test_set_submodule_replaces_or_adds_at_a_path():
    module = nn.Sequential(Tied())
    module.set_submodule("0.one", Step("new"))
    module.set_submodule("1", Step("last"))
    assert module[0].one.prompt == "new" and module[1].prompt == "last"
    with pytest.raises(AttributeError, match="nowhere"):
        module.set_submodule("0.nowhere.x", Step())


def test_apply_calls_children_before_parents_and_returns_the_module():
    module, seen = nn.Sequential(Tied(), Step()), []
    assert module.apply(seen.append) is module
    assert [type(each).__name__ for each in seen] == ["Step", "Tied", "Step", "Sequential"]


def test_train_and_eval_switch_the_whole_tree():
    module = nn.Sequential(Tied())
    assert module.eval() is module and not any(each.training for each in module.modules())
    assert all(each.training for each in module.train().modules())
    with pytest.raises(TypeError, match="takes True or False, not 'yes'"):
        module.train("yes")


def test_train_and_eval_go_through_a_train_of_a_modules_own():
    class Frozen(nn.Module):
        def train(self, mode=True):
            return super().train(False)

    outer = nn.Sequential(nn.Module(), Frozen())
    outer.train()
    assert [module.training for module in outer.modules()] == [True, True, False]


def test_requires_grad_and_zero_grad_reach_every_parameter():
    module = nn.Sequential(Step(), Step())
    for parameter in module.parameters():
        parameter.grad = "feedback"
    module.zero_grad()
    assert module.requires_grad_(False) is module
    assert [(each.grad, each.requires_grad) for each in module.parameters()] == [(None, False)] * 2


# --- copies and looks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_shares_nothing_with_the_original_and_keeps_its_own_sharing(again):
    module = Tied()
    module.digest()
    copied = again(module)
    assert copied.state_dict() == module.state_dict() and copied.digest() == module.digest()
    copied.one.prompt = "changed"
    copied.limits = {"max": [9]}
    assert copied.two.prompt == copied.tied == "changed" and copied.one is copied.two
    assert module.tied == "Be kind" and module.limits == {"max": [3]}
    assert "scratch" not in copied.state_dict() and copied.note == {"plain": True} and copied.note is not module.note


def test_a_copys_values_are_as_frozen_as_the_originals():
    with pytest.raises(TypeError, match="published whole"):
        copy.deepcopy(Tied()).limits["max"] = [9]


def test_repr_draws_the_tree_and_folds_runs_of_equal_children():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.tail = Step(), Step()
            self.steps = [Step(), Step(), nn.Sequential(), Step()]

        def extra_repr(self):
            return "depth=2"

    assert repr(Named()) == (
        "Named(\n"
        "  depth=2\n"
        "  (head): Step()\n"
        "  (tail): Step()\n"
        "  (steps): ModuleList(\n"
        "    (0-1): 2 x Step()\n"
        "    (2): Sequential()\n"
        "    (3): Step()\n"
        "  )\n"
        ")"
    )


def test_extra_repr_of_a_leaf_stands_in_its_parentheses():
    class Leaf(nn.Module):
        def extra_repr(self):
            return "top_k=4"

    assert repr(Leaf()) == "Leaf(top_k=4)" and repr(nn.Module()) == "Module()"


def test_nn_shows_its_public_names_and_refuses_others():
    assert dir(nn) == sorted(nn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Linea'"):
        _ = nn.Linea
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(hasattr(nn, name) for name in nn.__all__)
