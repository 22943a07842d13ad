"""Switch and IfElse choose a step; Loop repeats one."""

import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import FlowStructureError, LoopLimit, NoMatch


def double(x):
    return x * 2


def negative(x):
    return -x


async def is_positive(x):
    return x > 0


class Topic(nn.Module):
    """A router with a prompt."""

    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("Which topic?")

    async def aforward(self, text):
        return text.split()[0]


class Long(nn.Module):
    def forward(self, x):
        return len(str(x)) > 2


# --- IfElse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [lambda x: x > 0, is_positive, mf.nonblocking(lambda x: [x] if x > 0 else [])])
@pytest.mark.parametrize(("given", "result"), [(3, 6), (-5, 5)])
async def test_the_condition_says_which_step_is_called(door, condition, given, result):
    assert await door(flow.IfElse(condition, double, negative), given) == result


async def test_without_an_else_the_input_is_returned(door):
    choice = flow.IfElse(lambda *args: args[0] > 0, lambda *args: "then")
    assert [await door(choice, 1), await door(choice, -1), await door(choice, -1, 2)] == ["then", -1, (-1, 2)]


async def test_a_module_that_is_a_condition_is_part_of_the_tree(door):
    choice = flow.IfElse(Long(), str, negative)
    assert (await door(choice, 1000), await door(choice, 1)) == ("1000", -1)
    assert [name for name, _ in choice.named_children()] == ["condition", "then", "otherwise"]


async def test_only_the_step_that_is_chosen_runs(door):
    ran = []
    await door(flow.IfElse(bool, lambda x: ran.append("then"), lambda x: ran.append("otherwise")), 1)
    assert ran == ["then"]


async def test_a_condition_that_fails_is_an_error(door):
    with pytest.raises(ZeroDivisionError):
        await door(flow.IfElse(lambda x: 1 / x, str), 0)


@pytest.mark.parametrize("wrong", [True, None, "x > 0", 3])
def test_a_condition_that_is_none_is_refused(wrong):
    with pytest.raises(TypeError, match="condition is a function or a Module, not"):
        flow.IfElse(wrong, str)


def test_a_class_of_modules_is_no_condition():
    with pytest.raises(FlowStructureError, match=r"give a module, such as Long\(\)"):
        flow.IfElse(Long, str)


# --- Switch ----------------------------------------------------------------------------------------------------------


def is_big(x):
    return isinstance(x, int) and x > 5


async def is_odd(x):
    return isinstance(x, int) and x % 2 == 1


@pytest.mark.parametrize(
    ("given", "result"),
    [(1, "one"), (9, "big"), (3, "odd"), ("a", "letter"), (2.5, "a float"), (None, "nothing"), (4, "other")],
)
async def test_the_first_case_that_fits_is_called(door, given, result):
    switch = flow.Switch(
        {
            1: lambda x: "one",
            is_big: lambda x: "big",
            is_odd: lambda x: "odd",
            "a": lambda x: "letter",
            float: lambda x: "a float",
            None: lambda x: "nothing",
        },
        default=lambda x: "other",
    )
    assert await door(switch, given) == result


async def test_no_match_and_no_default_is_an_error_that_says_what_there_is(door):
    with pytest.raises(
        NoMatch, match=r"no case fits 2; there are: 1, is_big. Add the case, or give default="
    ) as caught:
        await door(flow.Switch({1: str, is_big: str}), 2)
    assert caught.value.value == 2 and isinstance(caught.value, LookupError)
    with pytest.raises(NoMatch, match="there are: none"):
        await door(flow.Switch({}), 2)


async def test_the_cases_are_compared_with_what_key_returns_and_the_step_gets_the_input(door):
    switch = flow.Switch({"billing": str.upper, (lambda topic: len(topic) > 8): str.title}, key=lambda x: x.split()[0])
    assert await door(switch, "billing please") == "BILLING PLEASE"
    assert await door(switch, "extraordinary words") == "Extraordinary Words"


async def test_a_module_can_be_the_key_and_its_prompt_is_state(door):
    switch = flow.Switch({"billing": str.upper}, default=str.title, key=Topic())
    assert (await door(switch, "billing a"), await door(switch, "other a")) == ("BILLING A", "Other A")
    assert switch.state_dict() == {"key.prompt": "Which topic?"}


async def test_unhashable_cases_come_as_pairs(door):
    switch = flow.Switch([([1], lambda x: "a list"), ({"a": 1}, lambda x: "a dict")])
    assert (await door(switch, [1]), await door(switch, {"a": 1})) == ("a list", "a dict")


async def test_several_arguments_are_compared_as_a_tuple(door):
    assert await door(flow.Switch({(1, 2): lambda a, b: a + b}), 1, 2) == 3


def test_steps_are_named_after_their_cases():
    switch = flow.Switch(
        {"billing": str, "a b": str, 1: str, -1: str, True + 1: str, is_big: str, str: str, "key": str, "_x": str},
        default=str,
    )
    assert [name for name, _ in switch.named_children()] == [
        "billing",
        "case_1",
        "1",
        "case_3",
        "2",
        "is_big",
        "str",
        "case_7",
        "case_8",
        "default",
    ]


async def test_an_error_names_the_case(door):
    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(route=flow.Switch({"a": lambda x: 1 / 0})), "a")
    assert caught.value.__notes__ == ["in step route.a of Pipeline"]


def test_a_module_is_no_case():
    with pytest.raises(FlowStructureError, match="give it as key="):
        flow.Switch({Long(): str})


async def test_a_case_that_was_removed_fits_nothing(door):
    switch = flow.Switch({"a": str, "b": str.upper})
    del switch.a
    with pytest.raises(NoMatch):
        await door(switch, "a")


# --- Loop ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "result"), [(1, 16), (8, 16), (11, 22)], ids=["several rounds", "one", "the body runs at least once"]
)
async def test_the_body_runs_until_the_condition_holds_for_its_result(door, given, result):
    assert await door(flow.Loop(double, until=lambda x: x > 10, max_steps=10), given) == result


async def test_without_a_condition_it_runs_that_many_times(door):
    assert await door(flow.Loop(double, max_steps=1), 1) == 2
    assert await door(flow.Loop(double, max_steps=5), 1) == 32


async def test_the_first_round_gets_all_arguments(door):
    assert await door(flow.Loop(lambda *args: sum(args), max_steps=2), 1, 2, 3) == 6


async def test_the_limit_is_an_error_that_says_what_to_do(door):
    with pytest.raises(LoopLimit, match=r"not done after 3 rounds, .* until=is_big held for none") as caught:
        await door(flow.Loop(negative, until=is_big, max_steps=3), 1)
    assert caught.value.steps == 3
    with pytest.raises(LoopLimit, match="after 100 rounds"):
        await door(flow.Loop(mf.nonblocking(negative), until=is_big), 1)


async def test_at_the_limit_the_last_result_may_be_returned(door):
    assert await door(flow.Loop(double, until=lambda x: False, max_steps=3, on_limit="return"), 1) == 8


async def test_a_module_can_decide_when_to_stop(door):
    loop = flow.Loop(double, until=Long())
    assert await door(loop, 1) == 128 and [name for name, _ in loop.named_children()] == ["until", "body"]
    with pytest.raises(LoopLimit, match=r"until=Long\(\)"):
        await door(flow.Loop(str, until=Long(), max_steps=2), 1)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, TypeError, "a loop has to end"),
        ({"max_steps": 0}, ValueError, "max_steps is 0; it has to be at least 1"),
        ({"max_steps": True}, TypeError, "max_steps is a whole number, not True"),
        ({"max_steps": 2.5}, TypeError, "max_steps is a whole number"),
        ({"until": 3}, TypeError, "until is a function or a Module"),
        ({"max_steps": 1, "on_limit": "stop"}, ValueError, 'on_limit is "raise" or "return"'),
    ],
)
def test_a_loop_that_cannot_be_is_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        flow.Loop(double, **options)


async def test_choices_show_what_they_ask():
    assert repr(flow.Loop(str, until=is_big, max_steps=3)).startswith("Loop(\n  until=is_big, max_steps=3")
    assert "is_big" in repr(flow.IfElse(is_big, str)) and "key=is_big" in repr(flow.Switch({}, key=is_big))


async def test_steps_of_choices_can_refer_to_results_around_them(door):
    pair = flow.bind(lambda *seen: seen, flow.ref("a"), flow.input, flow.previous)
    for choice in (
        flow.IfElse(bool, pair),
        flow.Switch({int: pair}),
        flow.Loop(pair, max_steps=1),
        flow.retry(pair),
        flow.fallback(lambda x: 1 / 0, pair),
        flow.timeout(pair, 30),
    ):
        pipeline = flow.Pipeline(a=lambda x: x + 1, b=double, c=choice)
        assert await door(pipeline, 1) == (2, 4, 4)
