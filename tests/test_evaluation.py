"""eval with a test set: every item is called, many at once, and the outputs are kept in order."""

import asyncio
import copy
import json
import os
import pickle
import signal
import threading
from functools import partial

import anyio
import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow import versions
from msgflow._frozen import FrozenDict
from msgflow.nn.functional import TaskError
from tests.lifecycle_logs import PLACES, Does, directly


@pytest.fixture(params=PLACES)
def within(request, door):
    """Runs a function in each place from which users call `eval`."""
    return directly if request.param == PLACES[0] else door


class Shout(nn.Module):
    def forward(self, text):
        return text.upper()


class Waits(nn.Module):
    """Waits for as many milliseconds as it is called with; `running` and `most` count the calls under way."""

    def __init__(self):
        super().__init__()
        self.running = self.most = 0

    async def aforward(self, ms):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(ms / 1000)
        finally:
            self.running -= 1
        return ms


class Takes(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


# --- what is called, and what is kept --------------------------------------------------------------------------------


async def test_the_outputs_are_kept_in_the_order_of_the_items(within):
    module = Waits().evalset([20, 0, 10])
    assert await within(Does(), module.eval) is module
    assert module.eval_result == [20, 0, 10] and module.training is False


async def test_a_dict_gives_the_arguments_and_anything_else_is_the_one_argument(within):
    message = mf.Message(a=1)
    items = [{"x": 1, "limit": 2}, FrozenDict(x=3), (1, 2), [3], None, message, {}]
    await within(Does(), Takes().evalset(items).eval)
    takes = Takes().evalset(items).eval()
    assert takes.eval_result == [
        *[((), {"x": 1, "limit": 2}), ((), {"x": 3})],
        *[(((1, 2),), {}), (([3],), {}), ((None,), {}), ((message,), {}), ((), {})],
    ]


async def test_an_item_that_fails_is_recorded_with_its_error_and_the_others_go_on(within):
    module = Shout().evalset(["a", 5, {"wrong": 1}, "d"])
    await within(Does(), module.eval)
    first, second, third, last = module.eval_result
    assert (first, last) == ("A", "D") and not second and not third
    assert isinstance(second, TaskError) and isinstance(second.exception, AttributeError) and second.index == 1
    assert isinstance(third.exception, TypeError) and third.index == 2


async def test_no_more_items_run_at_once_than_the_limit(within):
    module = Waits().evalset([1] * 100)
    await within(Does(), partial(module.eval, limit=7))
    assert module.most == 7
    module.eval(limit=None)
    assert module.most == 100


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_limit_that_is_none_is_refused_before_anything_happens(limit, error):
    module = Shout().evalset(["a"])
    with pytest.raises(error, match="limit is"):
        module.eval(limit=limit)
    assert module.training is True and module.eval_result is None


def test_plain_functions_that_block_overlap():
    barrier = threading.Barrier(8, timeout=10)

    class Blocks(nn.Module):
        blocking = True

        def forward(self, item):
            return barrier.wait() >= 0

    assert Blocks().evalset(range(8)).eval().eval_result == [True] * 8


def test_without_a_test_set_only_the_mode_changes_as_in_pytorch():
    root = nn.Sequential(Shout())
    assert root.eval() is root and root.eval_result is None
    assert not any(module.training for module in root.modules())


def test_the_items_run_in_evaluation_mode_and_update_goes_back_to_the_mode_before():
    class Mode(nn.Module):
        def forward(self, item):
            return self.training

    module = Mode().evalset([1, 2])
    assert module.update().eval_result == [False, False] and module.training is True


def test_every_test_set_in_the_tree_runs_children_first():
    log = []

    class Logged(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, item):
            log.append(self.name)
            return item

    root, child = nn.Sequential(Logged("child")), Logged("parent")
    root.append(child)
    root[0].evalset([1])
    child.evalset([2])
    root.evalset([3]).eval()
    assert log == ["child", "parent", "child", "parent"]
    assert [root[0].eval_result, child.eval_result, root.eval_result] == [[1], [2], [3]]


def test_a_submodule_with_an_eval_of_its_own_gets_the_options_that_it_takes():
    seen = []

    class Torch(nn.Module):
        def eval(self):
            seen.append("torch")
            return super().eval()

    class Limits(nn.Module):
        def eval(self, *, limit=3):
            seen.append(limit)

    class All(nn.Module):
        async def eval(self, **options):
            seen.append(options)

    nn.Sequential(Torch(), Limits(), All()).eval(limit=5, progress=False)
    assert seen == ["torch", 5, {"limit": 5, "progress": False}]


# --- the test set ----------------------------------------------------------------------------------------------------


def test_a_generator_is_read_once_and_evaluated_as_often_as_asked_for():
    module = Shout().evalset(letter for letter in "ab")
    assert module.eval().eval() is module and module.eval_result == ["A", "B"]


def test_an_empty_test_set_has_no_outputs_and_none_takes_a_test_set_away():
    module = Shout().evalset([])
    assert module.eval().eval_result == []
    module.eval_result = None
    assert module.evalset(None).eval().eval_result is None


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", '{"text": "a"}\n"b"\n'), ("a.csv", "text\na\nb\n")])
def test_a_test_set_is_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert Shout().evalset(tmp_path / name).eval().eval_result == ["A", "B"]
    assert Shout().evalset(str(tmp_path / name)).eval().eval_result == ["A", "B"]


def test_a_broken_file_is_refused_when_it_is_attached_and_the_test_set_before_stays(tmp_path):
    (tmp_path / "a.jsonl").write_text('"a"\n{')
    module = Shout().evalset(["kept"])
    with pytest.raises(mf.errors.DataError, match=r"a.jsonl, line 2: no JSON value"):
        module.evalset(tmp_path / "a.jsonl")
    assert module.eval().eval_result == ["KEPT"]


@pytest.mark.parametrize("wrong", [5, b"abc", {"a": 1}, nn.Sequential(), print], ids=repr)
def test_what_is_no_test_set_is_refused(wrong):
    with pytest.raises(TypeError, match=r"a test set is a list of items or the path of a \.jsonl or \.csv file, not"):
        Shout().evalset(wrong)


def test_the_test_set_and_its_results_are_no_state_and_modules_in_them_no_submodules():
    module = Shout().evalset([Shout(), Shout()])
    module.eval_result = [Shout()]
    assert module.state_dict() == {} and len(list(module.modules())) == 1 and repr(module) == "Shout()"
    with pytest.raises(KeyError):
        module.register_module("eval_result", Shout())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_keeps_the_test_set_and_has_not_been_evaluated(again):
    module = Takes().evalset([["a"], 5]).eval()
    module.eval_result.append(threading.Lock())
    copied = again(module)
    module._test_set[0].append("b")
    assert copied.eval_result is None and copied.eval().eval_result == [((["a"],), {}), ((5,), {})]


# --- how it ends -----------------------------------------------------------------------------------------------------


async def test_cancelling_ends_every_item_and_leaves_the_results_before():
    module = Waits().evalset([0]).eval()
    module.evalset([30_000] * 50)
    with anyio.move_on_after(0.05) as scope:
        await Does().acall(module.eval)
    assert scope.cancelled_caught and module.running == 0 and module.eval_result == [0]


def test_ctrl_c_ends_every_item_and_nothing_is_recorded():
    module = Waits().evalset([30_000] * 50)
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        module.eval()
    assert module.running == 0 and module.most == 32 and module.eval_result is None


def test_an_item_that_exits_ends_the_evaluation():
    class Exits(nn.Module):
        def forward(self, item):
            raise SystemExit(item)

    with pytest.raises(SystemExit, match="3"):
        Exits().evalset([3]).eval()


async def test_an_evaluation_inside_of_an_item_of_another_is_no_deadlock(within):
    inner = Waits().evalset([1, 2])

    class Outer(nn.Module):
        def forward(self, item):
            return inner.eval(limit=1).eval_result

    outer = Outer().evalset(range(40))
    await within(Does(), outer.eval)
    assert outer.eval_result == [[1, 2]] * 40


# --- versions --------------------------------------------------------------------------------------------------------


class Prompted(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("old")

    def forward(self, item):
        return self.prompt


async def test_all_items_of_all_test_sets_read_one_version_however_often_it_is_swapped(within):
    child = Prompted().evalset(range(3))

    class Swaps(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = child

        def forward(self, item):
            child.prompt = f"new {item}"
            return child.prompt

    root = nn.Sequential(Swaps().evalset(range(3)), child)
    await within(Does(), partial(root.eval, limit=1))
    assert root[0].eval_result == child.eval_result == ["old"] * 3 and child.prompt == "new 2"


async def test_an_evaluation_in_a_call_reads_what_was_assigned_in_it_and_the_call_does_not(door):
    module = Prompted().evalset([1])

    class Trains(nn.Module):
        def forward(self):
            assert module.prompt == "old"
            module.prompt = "new"
            return module.eval().eval_result, module.prompt

    assert await door(Trains()) == (["new"], "old")


def test_an_evaluation_in_a_transaction_tries_what_was_assigned_so_far():
    module = Prompted().evalset([1])
    tried = []

    def attempt():
        with module.transaction():
            module.prompt = "candidate"
            tried.extend(module.eval().eval_result)
            raise ValueError("worse")

    with pytest.raises(ValueError, match="worse"):
        attempt()
    assert tried == ["candidate"] and module.eval().eval_result == ["old"]


def test_an_evaluation_of_a_module_that_is_split_reads_its_own_values():
    module = Prompted().evalset(range(20))
    with versions.split(module, {"new": 0.5}, key=str, source={"new": {"prompt": "new"}}):
        assert set(module.eval().eval_result) == {"old"}
        assert len({module(item) for item in range(20)}) == 2


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress_counts_the_items_of_each_test_set(monkeypatch):
    shown = []

    class Bar:
        def __init__(self, title, total):
            shown.append([title, total, 0])

        def __enter__(self):
            return lambda: shown[-1].__setitem__(2, shown[-1][2] + 1)

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("msgflow.nn.evaluation.progress_bar", Bar)
    root = nn.Sequential(Shout().evalset(["a", 5])).evalset(["c"])
    root.eval(progress=True)
    assert shown == [["evaluate 0 of Sequential", 2, 2], ["evaluate Sequential", 1, 1]]
    root.eval()
    assert len(shown) == 2


def test_ten_thousand_items_need_no_ten_thousand_tasks_at_once():
    counts = []

    class Counts(nn.Module):
        async def aforward(self, item):
            counts.append(len(asyncio.all_tasks()))
            await asyncio.sleep(0)
            return item

    module = Counts().evalset(range(10_000)).eval(limit=50)
    assert module.eval_result == list(range(10_000)) and max(counts) < 100


def test_results_of_plain_values_are_plain_lists_that_json_takes():
    assert json.dumps(Shout().evalset(["a"]).eval().eval_result) == '["A"]'
