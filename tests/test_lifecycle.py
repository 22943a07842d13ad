"""update, start and stop: what trains and deploys a module tree, in which order, and how it is undone."""

import asyncio
import copy
import threading
import time
from functools import partial

import anyio
import pytest

import msgflow as mf
import msgflow.nn as nn
from tests.lifecycle_logs import PLACES, Does, Logs, directly


@pytest.fixture(params=PLACES)
def within(request, door):
    """Runs a function in each place from which users call `update` and its like."""
    return directly if request.param == PLACES[0] else door


@pytest.fixture
def log():
    return []


@pytest.fixture
def tree(log):
    return Logs("root", log, Logs("a", log, Logs("a1", log)), Logs("b", log))


# --- the order -------------------------------------------------------------------------------------------------------


async def test_update_trains_children_before_parents_and_all_before_it_deploys(within, tree, log):
    assert await within(Does(), tree.update) is tree
    names = ["a1", "a", "b", "root"]
    assert log == [f"train {name}" for name in names] + [f"deploy {name}" for name in names]


async def test_start_only_deploys_and_stop_undoes_parents_before_children(within, tree, log):
    assert await within(Does(), tree.start) is tree
    assert log == ["deploy a1", "deploy a", "deploy b", "deploy root"]
    log.clear()
    assert await within(Does(), tree.stop) is tree
    assert log == ["undo root", "undo b", "undo a", "undo a1"]
    tree.stop()
    assert len(log) == 4


def test_a_second_start_undoes_the_first_before_it_deploys(log):
    module = Logs("m", log)
    module.start().start().update()
    assert log == ["deploy m", "undo m", "deploy m", "train m", "undo m", "deploy m"]


def test_a_part_of_the_tree_is_stopped_by_itself(tree, log):
    tree.start()
    log.clear()
    tree.children_[0].stop()
    tree.stop()
    assert log == ["undo a", "undo a1", "undo root", "undo b"]


def test_shared_modules_and_one_below_itself_are_visited_once(log):
    shared = Logs("shared", log)
    first, second = Logs("first", log, shared), Logs("second", log, shared)
    shared.back = first
    Logs("root", log, first, second).update()
    assert log[:4] == ["train shared", "train first", "train second", "train root"] and len(log) == 8


def test_tasks_are_asked_for_when_their_turn_comes():
    class Child(nn.Module):
        def __init__(self):
            super().__init__()
            self.prompt = nn.Parameter("raw")

        def _get_train_tasks(self):
            return partial(setattr, self, "prompt", "trained")

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.child, self.seen = Child(), []

        def _get_train_tasks(self):
            self.seen.append(self.child.prompt)

    assert Parent().update().seen == ["trained"]


def test_a_module_without_tasks_is_updated_and_stopped_all_the_same():
    module = nn.Sequential(nn.Module())
    assert module.update().start().stop() is module and module.training is True and module.eval_result is None


# --- tasks -----------------------------------------------------------------------------------------------------------


class Trains(nn.Module):
    def __init__(self, tasks):
        super().__init__()
        self.__dict__["tasks"] = tasks

    def _get_train_tasks(self):
        return self.tasks


class Step(nn.Module):
    def __init__(self, log):
        super().__init__()
        self.log = log

    def forward(self):
        self.log.append("module")


@pytest.mark.parametrize("wrap", [lambda tasks: tasks, tuple, iter], ids=["list", "tuple", "generator"])
async def test_a_task_is_plain_async_or_a_module_and_several_run_in_order(within, log, wrap):
    async def in_async():
        await asyncio.sleep(0.001)
        log.append("async")

    tasks = wrap([lambda: log.append("plain"), in_async, None, Step(log), mf.nonblocking(lambda: log.append("quick"))])
    await within(Does(), Trains(tasks).update)
    assert log == ["plain", "async", "module", "quick"]


async def test_the_tasks_may_be_got_by_an_async_def(within, log):
    class Async(nn.Module):
        async def _get_train_tasks(self):
            return Step(log)

    await within(Does(), Async().update)
    assert log == ["module"]


async def test_a_plain_task_runs_in_the_callers_thread_and_under_acall_in_a_worker_thread():
    seen = []
    trains = Trains(lambda: seen.append(threading.current_thread()))
    trains.update()
    await Does().acall(trains.update)
    assert seen[0] is threading.current_thread() is not seen[1]


async def test_a_task_that_blocks_does_not_hold_up_the_loop_under_acall():
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    await Does().acall(Trains(partial(time.sleep, 0.2)).update)
    ticking.cancel()
    assert len(ticks) > 5


@pytest.mark.parametrize("wrong", ["abc", 7, [print, 7], nn.Module, {"a": print}], ids=repr)
def test_what_is_no_task_is_refused_with_its_place_before_any_task_of_it_runs(wrong, log):
    tasks = [partial(log.append, "ran"), *wrong] if isinstance(wrong, list) else wrong
    with pytest.raises(
        TypeError, match=r"_get_train_tasks of 0 of Sequential gave .* a task is a function or a module"
    ):
        nn.Sequential(Trains(tasks)).update()
    assert log == []


async def test_an_error_keeps_its_type_says_where_it_was_and_nothing_is_deployed(within, log):
    root = nn.Sequential(Logs("first", log), nn.Sequential(Trains(lambda: 1 / 0)))
    with pytest.raises(ZeroDivisionError) as caught:
        await within(Does(), root.update)
    assert "while training 1.0 of Sequential" in caught.value.__notes__ and log == ["train first"]


# --- deploying and undoing -------------------------------------------------------------------------------------------


class Deploys(nn.Module):
    def __init__(self, *results):
        super().__init__()
        self.__dict__["results"] = results

    def _get_deploy_tasks(self):
        return [partial(self.result, result) for result in self.results]

    def result(self, result):
        if isinstance(result, BaseException):
            raise result
        return result


class Server:
    def __init__(self, log):
        self.log = log

    def stop(self):
        self.log.append("stopped")


class AsyncServer:
    def __init__(self, log):
        self.log = log

    async def close(self):
        await asyncio.sleep(0.001)
        self.log.append("closed")

    def __call__(self):
        self.log.append("called")


async def test_what_a_deploy_task_returns_undoes_it_the_newest_first(within, log):
    module = Deploys(Server(log), AsyncServer(log), partial(log.append, "undone"), None, "text", 3, Server)
    await within(Does(), module.start)
    await within(Does(), module.stop)
    assert log == ["undone", "closed", "stopped"]


def test_several_results_of_a_flow_are_all_undone(log):
    module = Deploys((Server(log), [AsyncServer(log)]), {"left": partial(log.append, "left"), "right": None})
    module.start().stop()
    assert log == ["left", "closed", "stopped"]


async def test_a_start_that_fails_half_way_undoes_what_it_had_deployed(within, log):
    root = nn.Sequential(Logs("a", log), Deploys(Server(log), ValueError("no port"), Server(log)), Logs("c", log))
    with pytest.raises(ValueError, match="no port") as caught:
        await within(Does(), root.start)
    assert "while deploying 1 of Sequential" in caught.value.__notes__
    assert log == ["deploy a", "stopped", "undo a"]
    root.stop()
    assert len(log) == 3


def test_what_cannot_be_undone_after_a_failed_start_is_noted_on_its_error():
    module = Deploys(partial(int, "x"), ValueError("no port"))
    with pytest.raises(ValueError, match="no port") as caught:
        module.start()
    assert any("undoing what was deployed before failed, too: ValueError" in note for note in caught.value.__notes__)


async def test_stop_undoes_the_rest_where_something_fails_and_raises_the_first_failure(within, log):
    root = nn.Sequential(Logs("a", log), Deploys(partial(int, "x")), Deploys(partial(divmod, 1, 0)), Logs("d", log))
    root.start()
    with pytest.raises(ZeroDivisionError) as caught:
        await within(Does(), root.stop)
    assert log[-2:] == ["undo d", "undo a"]
    assert "while stopping 2 of Sequential" in caught.value.__notes__
    assert any("could not be undone, either: ValueError" in note for note in caught.value.__notes__)
    root.stop()


def test_ctrl_c_while_stopping_is_raised_before_other_failures_and_the_rest_is_undone(log):
    def interrupted():
        raise KeyboardInterrupt

    root = nn.Sequential(Logs("a", log), Deploys(interrupted), Deploys(partial(int, "x")))
    root.start()
    with pytest.raises(KeyboardInterrupt):
        root.stop()
    assert log[-1] == "undo a"


async def test_what_was_deployed_before_is_undone_although_the_start_is_cancelled(log):
    async def hangs():
        await asyncio.sleep(30)

    async def undo():
        await asyncio.sleep(0.001)
        log.append("undone")

    class Hangs(nn.Module):
        def _get_deploy_tasks(self):
            return hangs

    with anyio.move_on_after(0.05) as scope:
        await Does().acall(nn.Sequential(Deploys(undo), Hangs()).start)
    assert scope.cancelled_caught and log == ["undone"]


def test_a_copy_is_not_deployed(tree, log):
    tree.start()
    copy.deepcopy(tree).stop()
    assert "undo root" not in log and tree.stop() is tree and "undo root" in log
