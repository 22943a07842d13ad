"""What LazyLLM 1.4 does with flows, written with ours. Where ours differs on purpose, the test shows what ours does."""

import threading
import time

import pytest

from msgflow import flow, nn
from msgflow.errors import FlowStructureError, InputMismatch, LoopLimit, NoMatch


def half(x):
    return x / 2


def plus_three(x):
    return x + 3


def squared(x):
    return x * x


def is_even(x):
    return x % 2 == 0


def all_of(*args):
    return args


# --- pipeline --------------------------------------------------------------------------------------------------------


async def test_functions_follow_each_other(door):
    assert await door(flow.Pipeline(plus_three, squared, half), 1) == 8


async def test_a_with_block_names_the_steps_which_are_then_attributes(door):
    with flow.Pipeline() as words:
        words.split = str.split
        words.count = len
    assert await door(words, "to be or not") == 4 and words.count("abc") == 3


async def test_a_flow_without_steps_gives_back_its_input(door):
    assert (await door(flow.Pipeline(), "x"), await door(flow.Pipeline(), 1, 2)) == ("x", (1, 2))


async def test_all_arguments_go_to_the_first_step_and_to_no_other(door):
    pipeline = flow.Pipeline(lambda price, tax=0: price + tax, lambda price, tax=0: (price, tax))
    assert await door(pipeline, 10, tax=2) == (12, 0)


async def test_only_a_reference_takes_a_result_apart(door):
    def both(x):
        return x, -x

    assert await door(flow.Pipeline(both, len), 5) == 2
    apart = flow.bind(lambda a, b: a - b, flow.previous[0], flow.previous[1])
    assert await door(flow.Pipeline(both, apart), 5) == 10


def test_a_list_is_no_step_and_its_items_are_given_one_by_one():
    with pytest.raises(FlowStructureError, match="of type list"):
        flow.Pipeline([half, half])
    assert flow.Pipeline(*[half, half])(8) == 2


async def test_a_class_is_called_and_not_made_an_instance(door):
    assert await door(flow.Pipeline(str, len), 1000) == 4
    with pytest.raises(FlowStructureError, match=r"give a module, such as Sequential\(\)"):
        flow.Pipeline(nn.Sequential)


async def test_a_hook_sees_the_result_after_the_last_step(door):
    seen, pipeline = [], flow.Pipeline(plus_three)
    pipeline.register_forward_hook(lambda module, args, kwargs, output: seen.append(output))
    assert await door(pipeline, 1) == 4 and seen == [4]


async def test_a_name_is_given_once_and_may_be_given_a_new_step(door):
    pipeline = flow.Pipeline(f=half)
    with pytest.raises(FlowStructureError, match="has a step 'f' already"):
        pipeline.add("f", squared)
    pipeline.f = squared
    assert await door(pipeline, 4) == 16


async def test_an_async_function_is_awaited(door):
    async def answer(x):
        return x + 1

    assert await door(flow.Pipeline(answer, squared), 1) == 4


async def test_an_error_is_the_one_that_was_raised(door):
    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(inverse=lambda x: 1 / x), 0)
    assert caught.value.__notes__ == ["in step inverse of Pipeline"]


# --- parallel --------------------------------------------------------------------------------------------------------


async def test_every_branch_gets_the_input(door):
    assert await door(flow.Parallel(half, squared), 4) == (2, 16)


async def test_the_results_of_branches_are_shaped(door):
    branches = {"half": half, "squared": squared}
    assert await door(flow.Parallel(**branches, as_dict=True), 4) == {"half": 2, "squared": 16}
    assert await door(flow.Parallel(**branches, reduce=list), 4) == [2, 16]
    assert await door(flow.Parallel(**branches, reduce=sum), 4) == 18
    assert await door(flow.Parallel(str, repr, reduce="-".join), "x") == "x-'x'"
    assert await door(flow.Parallel(half, squared, as_dict=True), 4) == {"0": 2, "1": 16}


async def test_results_of_nested_branches_keep_their_shape(door):
    pairs = flow.Parallel(half, squared), flow.Parallel(plus_three)
    assert await door(flow.Parallel(*pairs), 4) == ((2, 16), (7,))
    assert await door(flow.Parallel(*pairs, reduce=lambda results: sum(results, ())), 4) == (2, 16, 7)


async def test_the_step_after_branches_gets_one_tuple(door):
    assert await door(flow.Pipeline(flow.Parallel(half, squared), sum), 4) == 18
    apart = flow.bind(lambda a, b: f"{a} and {b}", flow.previous[0], flow.previous[1])
    assert await door(flow.Pipeline(flow.Parallel(str, squared), apart), 4) == "4 and 16"


async def test_one_at_a_time_is_a_limit(door):
    running, order = [], []

    def branch(name):
        def run(x):
            running.append(name)
            assert running == [name]
            time.sleep(0.002)
            order.append(running.pop())
            return name

        return run

    assert await door(flow.Parallel(branch("a"), branch("b"), branch("c"), limit=1), 1) == ("a", "b", "c")
    assert order == ["a", "b", "c"]


async def test_more_than_five_branches_run_at_once(door):
    met = threading.Barrier(12)
    assert await door(flow.Parallel(*[lambda x: met.wait(10) >= 0] * 12), 1) == (True,) * 12


async def test_some_of_the_branches_are_another_flow_of_the_same_modules(door):
    every = flow.Parallel(a=half, b=squared, c=plus_three)
    some = flow.Parallel(**{name: every[name] for name in ("a", "c")}, as_dict=True)
    assert await door(some, 4) == {"a": 2, "c": 7} and some.a is every.a


# --- diverter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((4, 5, 6), {}), (([4, 5, 6],), {}), (({"c": 6, "a": 4, "b": 5},), {}), ((), {"b": 5, "c": 6, "a": 4})],
    ids=["arguments", "a list", "a dict", "keywords"],
)
async def test_each_branch_gets_an_input_of_its_own(door, args, kwargs):
    branches = {"a": half, "b": squared, "c": plus_three}
    assert await door(flow.Diverter(**branches), *args, **kwargs) == (2, 25, 9)
    assert await door(flow.Diverter(**branches, as_dict=True), *args, **kwargs) == {"a": 2, "b": 25, "c": 9}


@pytest.mark.parametrize("inputs", [(1, 2, 3), ([1],), (1,), ({"a": 1, "b": 2, "z": 3},), ({"a": 1},)])
async def test_inputs_that_do_not_fit_the_branches_are_an_error(door, inputs):
    with pytest.raises(InputMismatch):
        await door(flow.Diverter(a=half, b=squared), *inputs)


# --- warp ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [[2, 4, 6], (2, 4, 6), range(2, 7, 2)], ids=["a list", "a tuple", "a range"])
async def test_one_step_is_called_for_each_item(door, items):
    assert await door(flow.Map(half), items) == [1, 2, 3]


async def test_several_steps_for_each_item_are_a_pipeline(door):
    assert await door(flow.Map(flow.Pipeline(plus_three, squared)), [0, 1]) == [9, 16]


async def test_no_items_give_an_empty_list(door):
    assert await door(flow.Map(half), []) == []


async def test_an_item_is_one_value_even_where_it_is_a_pair(door):
    assert await door(flow.Map(sum), [(1, 2), (10, 20)]) == [3, 30]
    apart = flow.bind(lambda a, b: a * b, flow.previous[0], flow.previous[1])
    assert await door(flow.Map(apart), [(1, 2), (10, 20)]) == [2, 200]


async def test_the_results_of_items_are_reduced_by_a_step_after_them(door):
    assert await door(flow.Pipeline(flow.Map(squared), sum), [1, 2, 3]) == 14


# --- switch and ifs --------------------------------------------------------------------------------------------------


async def test_the_first_condition_that_holds_chooses(door):
    switch = flow.Switch({is_even: half, (lambda x: x > 10): squared}, default=plus_three)
    assert [await door(switch, x) for x in (8, 11, 3)] == [4, 121, 6]


async def test_conditions_may_come_as_pairs_and_may_be_values(door):
    switch = flow.Switch([(1, str), (is_even, half), ("default", len)])
    assert [await door(switch, x) for x in (1, 8)] == ["1", 4]


async def test_what_no_condition_holds_for_is_an_error(door):
    with pytest.raises(NoMatch, match="no case fits 3; there are: is_even"):
        await door(flow.Switch({is_even: half}), 3)


async def test_the_conditions_may_look_at_something_computed_from_the_input(door):
    switch = flow.Switch({1: squared, 2: half}, key=lambda x: x // 10)
    assert (await door(switch, 12), await door(switch, 20)) == (144, 10)


async def test_the_conditions_may_look_at_the_first_argument_only(door):
    switch = flow.Switch(
        {"half": flow.bind(half, flow.input[1]), "square": flow.bind(squared, flow.input[1])}, key=lambda name, x: name
    )
    assert (await door(switch, "half", 6), await door(switch, "square", 6)) == (3, 36)


async def test_a_condition_holds_for_what_python_calls_true(door):
    assert await door(flow.Switch({(lambda x: [x]): squared}, default=half), 4) == 16


async def test_default_is_a_name_of_an_option_and_not_a_case(door):
    switch = flow.Switch({"default": str.upper, "other": str.title})
    assert (await door(switch, "default"), await door(switch, "other")) == ("DEFAULT", "Other")


async def test_a_condition_chooses_one_of_two(door):
    choice = flow.IfElse(is_even, half, squared)
    assert (await door(choice, 8), await door(choice, 3)) == (4, 9)
    assert await door(flow.IfElse(is_even, half), 3) == 3


def test_a_constant_is_no_condition():
    with pytest.raises(TypeError, match="condition is a function or a Module, not True"):
        flow.IfElse(True, half, squared)


# --- loop ------------------------------------------------------------------------------------------------------------


async def test_a_count_of_rounds(door):
    assert await door(flow.Loop(squared, max_steps=3), 2) == 256
    assert await door(flow.Loop(flow.Pipeline(plus_three, half), max_steps=2), 1) == 2.5
    assert await door(flow.Loop(squared, max_steps=1), 3) == 9


async def test_rounds_until_a_condition_holds(door):
    assert await door(flow.Loop(flow.Pipeline(plus_three, squared), until=lambda x: x > 99), 0) == 144


async def test_a_condition_may_look_at_a_part_of_the_result(door):
    def longer(state):
        return len(state[1]) > 2, state[1] + "x"

    assert await door(flow.Loop(longer, until=lambda state: state[0]), (False, "")) == (True, "xxxx")


async def test_a_condition_that_never_holds_is_an_error_or_gives_the_last_result(door):
    with pytest.raises(LoopLimit, match="not done after 3 rounds"):
        await door(flow.Loop(plus_three, until=is_never, max_steps=3), 0)
    assert await door(flow.Loop(plus_three, until=is_never, max_steps=3, on_limit="return"), 0) == 9


def is_never(x):
    return False


# --- barrier ---------------------------------------------------------------------------------------------------------


async def test_branches_of_unequal_length_wait_at_each_barrier(door):
    log = []

    def note(round_):
        def step(x):
            time.sleep(0.002)
            log.append(round_)
            return x + 1

        return step

    def branch(*counts):
        steps = []
        for round_, count in enumerate(counts):
            steps += [note(round_)] * count + [flow.barrier()]
        return flow.Pipeline(*steps[:-1])

    assert await door(flow.Parallel(branch(1, 1, 2), branch(1, 4, 1)), 0) == (4, 6)
    assert log == sorted(log) and len(log) == 10


async def test_six_branches_meet_and_one_without_a_barrier_is_not_waited_for(door):
    meets = [flow.Pipeline(plus_three, flow.barrier(), half) for _ in range(6)]
    assert await door(flow.Parallel(*meets, plus_three), 1) == (2,) * 6 + (4,)


# --- graph -----------------------------------------------------------------------------------------------------------


async def test_results_come_in_the_order_of_the_edges_however_long_a_node_takes(door):
    def slow(x):
        time.sleep(0.02)
        return f"slow {x}"

    graph = flow.Graph()
    graph.add("slow", slow)
    graph.add("fast", lambda x: f"fast {x}")
    graph.add("third", lambda x: f"third {x}")
    graph.add("pair", lambda a, b: f"{a}, {b}", after=["slow", "fast"])
    graph.add("end", lambda a, b: [a, b], after=["pair", "third"])
    assert await door(graph, 7) == ["slow 7, fast 7", "third 7"]


async def test_a_node_may_get_a_part_a_constant_and_names(door):
    graph = flow.Graph()
    graph.add("reply", lambda x: {"text": x, "score": 2})
    graph.add("end", lambda n, plus, *, text: f"{text}: {n + plus}", flow.ref("reply")["score"], 40, text=flow.input)
    assert await door(graph, "total") == "total: 42"


async def test_several_ends_are_a_dict_by_name_and_a_node_without_edges_runs(door):
    graph = flow.Graph().add("a", half).add("b", squared, after="a").add("alone", plus_three)
    assert await door(graph, 4) == {"b": 4, "alone": 7}


def test_a_cycle_is_refused_while_the_graph_is_made():
    with pytest.raises(FlowStructureError, match="cycle"):
        flow.Graph().add("a", half, after="b").add("b", half, after="a")
