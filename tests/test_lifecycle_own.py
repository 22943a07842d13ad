"""Submodules whose class has an update, start, stop, eval or train of its own are left to it."""

import pytest

import msgflow.nn as nn
from tests.lifecycle_logs import PLACES, Does, Logs, directly


@pytest.fixture(params=PLACES)
def within(request, door):
    return directly if request.param == PLACES[0] else door


@pytest.fixture
def log():
    return []


def test_a_submodule_with_an_update_of_its_own_is_left_to_it_with_all_below(log):
    class Own(Logs):
        def update(self):
            log.append("own update")
            return super().update()

    root = Logs("root", log, Own("own", log, Logs("below", log)), Logs("last", log))
    root.update()
    assert log == [
        *("own update", "train below", "train own", "deploy below", "deploy own"),
        *("train last", "train root", "deploy last", "deploy root"),
    ]
    log.clear()
    root.children_[0].update()
    assert log[0] == "own update"


@pytest.mark.parametrize("form", ["def", "async def"])
async def test_a_submodule_is_started_and_stopped_by_its_own_start_and_stop(within, log, form):
    class Plain(Logs):
        def start(self):
            log.append("own start")

        def stop(self):
            log.append("own stop")

    class Async(Logs):
        async def start(self):
            log.append("own start")

        async def stop(self):
            log.append("own stop")

    own = (Plain if form == "def" else Async)("own", log, Logs("below", log))
    root = Logs("root", log, own)
    await within(Does(), root.update)
    await within(Does(), root.stop)
    assert log == ["train below", "train own", "train root", "own start", "deploy root", "undo root", "own stop"]


async def test_a_submodule_that_began_by_its_own_start_is_stopped_where_a_later_one_fails(within, log):
    class Own(nn.Module):
        def start(self):
            log.append("own start")

        def stop(self):
            log.append("own stop")

    class Fails(nn.Module):
        def start(self):
            raise ValueError("no port")

        stop = Own.stop

    with pytest.raises(ValueError, match="no port"):
        await within(Does(), nn.Sequential(Own(), Fails()).start)
    assert log == ["own start", "own stop"]


def test_update_starts_and_evaluates_by_the_modules_own_methods(log):
    class Own(Logs):
        def start(self):
            log.append("own start")
            return super().start()

        def eval(self):
            log.append("own eval")
            return super().eval()

    module = Own("m", log)
    assert module.update().training is True and log == ["train m", "own start", "deploy m", "own eval"]


def test_methods_and_values_that_only_have_such_a_name_are_no_part_of_it(log):
    class Memory(Logs):
        start = 5

        def update(self, fact):
            log.append(fact)

        def eval(self, *facts, about):
            log.append(about)

        stop = property(lambda self: 7)

    class Range(Logs):
        def __init__(self, name, log):
            super().__init__(name, log)
            self.start = 1

    root = nn.ModuleDict({"memory": Memory("memory", log), "range": Range("range", log)})
    nn.Sequential(root).update().stop().eval()
    names = ["memory", "range"]
    assert log == [
        *(f"train {name}" for name in names),
        *(f"deploy {name}" for name in names),
        "undo range",
        "undo memory",
    ]


def test_update_leaves_each_training_flag_as_it_was_even_where_it_fails():
    class Breaks(nn.Module):
        def eval(self):
            raise ValueError("no")

    root = nn.Sequential(nn.Module(), nn.Module())
    root[0].eval()
    assert [module.training for module in root.update().modules()] == [True, False, True]
    root.append(Breaks())
    with pytest.raises(ValueError, match="no"):
        root.update()
    assert [module.training for module in root.modules()] == [True, False, True, True]


def test_train_leaves_to_a_submodule_what_is_below_it():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            return super().train(False)

    root = nn.Sequential(Frozen(nn.Module()), nn.Module()).train()
    assert [module.training for module in root.modules()] == [True, False, False, True]
