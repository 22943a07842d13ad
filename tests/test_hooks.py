"""Hooks around a call: before, after, of one module or of all, through every door."""

import asyncio
import copy
import pickle

import pytest

import msgflow.nn as nn
import msgflow.nn.functional as F
from tests.functional_doors import until
from tests.in_python import run_script


class Echo(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


class Upper(nn.Module):
    async def aforward(self, text):
        await asyncio.sleep(0)
        return text.upper()


class Fails(nn.Module):
    async def aforward(self, *_):
        await asyncio.sleep(0)
        raise ValueError("the call itself")


def keeps_the_output(module, args, kwargs, output):
    """At module level, so that pickle finds it."""


def noting(log, label):
    def hook(module, args, kwargs, output="none yet"):
        log.append(label)

    return hook


async def test_a_pre_hook_may_replace_the_arguments(door):
    echo = Echo()
    echo.register_forward_pre_hook(lambda module, args, kwargs: ((*args, 2), {**kwargs, "b": 2}))
    assert await door(echo, 1, a=1) == ((1, 2), {"a": 1, "b": 2})


async def test_a_post_hook_may_replace_the_output(door):
    shout = Upper()
    shout.register_forward_hook(lambda module, args, kwargs, output: output + "!")
    assert await door(shout, "hi") == "HI!"


async def test_hooks_that_return_none_change_nothing_and_see_the_module(door):
    upper, seen = Upper(), []
    upper.register_forward_pre_hook(lambda *given: seen.append(given))
    upper.register_forward_hook(lambda *given: seen.append(given))
    assert await door(upper, "hi") == "HI"
    assert seen == [(upper, ("hi",), {}), (upper, ("hi",), {}, "HI")]


async def test_async_hooks_work_through_every_door(door):
    async def pre(module, args, kwargs):
        await asyncio.sleep(0)
        return (args[0] + " there",), kwargs

    async def post(module, args, kwargs, output):
        await asyncio.sleep(0)
        return output + "!"

    upper = Upper()
    upper.register_forward_pre_hook(pre)
    upper.register_forward_hook(post)
    assert await door(upper, "hi") == "HI THERE!"


async def test_hooks_run_in_the_order_of_registration_and_prepended_ones_first(door):
    echo, log = Echo(), []
    for label in ("a", "b"):
        echo.register_forward_pre_hook(noting(log, f"pre {label}"))
        echo.register_forward_hook(noting(log, f"post {label}"))
    echo.register_forward_pre_hook(noting(log, "pre first"), prepend=True)
    echo.register_forward_hook(noting(log, "post first"), prepend=True)
    await door(echo)
    assert log == ["pre first", "pre a", "pre b", "post first", "post a", "post b"]


async def test_each_hook_sees_what_the_one_before_it_made(door):
    upper = Upper()
    for end in "abc":
        upper.register_forward_hook(lambda module, args, kwargs, output, end=end: output + end)
    assert await door(upper, "x") == "Xabc"


def test_removing_takes_one_hook_off_any_number_of_times():
    echo, log = Echo(), []
    first, _ = (echo.register_forward_hook(noting(log, label), always_call=True) for label in "ab")
    first.remove()
    first.remove()
    echo()
    assert log == ["b"] and len(echo._forward_hooks) == len(echo._forward_hooks.always) == 1


def test_a_handle_takes_its_hook_off_at_the_end_of_a_with_block():
    echo, log = Echo(), []
    with echo.register_forward_pre_hook(noting(log, "pre")), echo.register_forward_hook(noting(log, "post")):
        echo()
    echo()
    assert log == ["pre", "post"] and not echo._forward_hooks and not echo._forward_pre_hooks


async def test_hooks_may_remove_themselves_and_others_while_they_run(door):
    echo, log, handles = Echo(), [], []

    def removes_all(module, args, kwargs, output):
        log.append("removes")
        for handle in handles:
            handle.remove()

    handles.append(echo.register_forward_hook(removes_all))
    handles.append(echo.register_forward_hook(noting(log, "was there when the call began")))
    await door(echo)
    await door(echo)
    assert log == ["removes", "was there when the call began"]


async def test_hooks_may_remove_others_after_a_failure(door):
    fails, log, handles = Fails(), [], []
    fails.register_forward_hook(lambda *_: [handle.remove() for handle in handles] and None, always_call=True)
    handles.append(fails.register_forward_hook(noting(log, "still called"), always_call=True))
    with pytest.raises(ValueError, match="the call itself"):
        await door(fails)
    assert log == ["still called"]


async def test_a_hook_that_a_hook_adds_runs_from_the_next_call_on(door):
    echo, log = Echo(), []
    echo.register_forward_hook(lambda module, *_: module.register_forward_hook(noting(log, "added")) and None)
    await door(echo)
    assert log == []
    await door(echo)
    assert log == ["added"]


# --- failures ------------------------------------------------------------------------------------------------------


async def test_an_always_called_hook_runs_after_a_failure_with_no_output(door):
    fails, seen = Fails(), []

    async def hook(module, args, kwargs, output):
        await asyncio.sleep(0)
        seen.append((args, output))
        return "is not the output"

    fails.register_forward_hook(lambda *_: seen.append("not called"))
    fails.register_forward_hook(hook, always_call=True)
    with pytest.raises(ValueError, match="the call itself"):
        await door(fails, 1)
    assert seen == [((1,), None)]


async def test_an_always_called_hook_runs_once_and_sees_the_output_so_far(door):
    upper, seen = Upper(), []

    def fails(*_):
        raise ValueError("in a hook")

    upper.register_forward_hook(lambda *given: seen.append(("before", given[-1])), always_call=True)
    upper.register_forward_hook(fails)
    upper.register_forward_hook(lambda *given: seen.append(("after", given[-1])), always_call=True)
    with pytest.raises(ValueError, match="in a hook"):
        await door(upper, "x")
    assert seen == [("before", "X"), ("after", "X")]


async def test_always_called_hooks_run_when_a_pre_hook_fails(door):
    echo, log = Echo(), []

    def fails(*_):
        raise ValueError("in a pre hook")

    echo.register_forward_pre_hook(fails)
    echo.register_forward_hook(noting(log, "after"), always_call=True)
    with pytest.raises(ValueError, match="in a pre hook"):
        await door(echo)
    assert log == ["after"]


async def test_an_always_called_hook_that_fails_is_warned_about_and_does_not_hide_the_failure(door):
    fails = Fails()

    def fails_too(*_):
        raise KeyError("too")

    fails.register_forward_hook(fails_too, always_call=True)
    with (
        pytest.warns(RuntimeWarning, match=r"an always_call hook of Fails failed, too: KeyError\('too'\)"),
        pytest.raises(ValueError, match="the call itself"),
    ):
        await door(fails)


class Slow(nn.Module):
    async def aforward(self):
        await asyncio.sleep(30)


def cleaning_up(log):
    """An async hook that waits, as one that closes a connection does."""

    async def hook(*_):
        await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        log.append("cleaned up")

    return hook


async def test_always_called_hooks_run_when_the_call_is_cancelled():
    slow, log = Slow(), []
    for _ in range(2):
        slow.register_forward_hook(cleaning_up(log), always_call=True)
    task = asyncio.create_task(nn.Sequential(slow).acall())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up"] * 2


async def test_always_called_hooks_may_wait_when_a_time_limit_ends_the_call(door):
    class Limited(nn.Module):
        def forward(self, call):
            return F.wait_for(call, timeout=0.02)

    slow, log = Slow(), []
    for _ in range(2):
        slow.register_forward_hook(cleaning_up(log), always_call=True)
    with pytest.raises(TimeoutError):
        await door(Limited(), slow)
    assert log == ["cleaned up"] * 2


async def test_always_called_hooks_may_wait_when_the_thread_that_they_run_in_is_given_up(door):
    class Limited(nn.Module):
        def forward(self, call):
            return F.wait_for(call, timeout=0.02)

    slow, log = Slow(), []
    slow.register_forward_hook(cleaning_up(log), always_call=True)

    def in_a_worker_thread():
        return slow()

    with pytest.raises(TimeoutError):
        await door(Limited(), in_a_worker_thread)
    await until(lambda: log == ["cleaned up"])


@pytest.mark.parametrize("wrong", [1, "ab", (1,), (1, {}), ((1,), 2), [(1,), {}], ((1,), {}, None)])
async def test_a_pre_hook_that_returns_something_else_is_refused(door, wrong):
    echo = Echo()

    def pre_hook(module, args, kwargs):
        return wrong

    echo.register_forward_pre_hook(pre_hook)
    with pytest.raises(TypeError, match=r"the pre hook 'pre_hook' returned .*a tuple of arguments and a dict"):
        await door(echo)


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_must_be_callable(register):
    with pytest.raises(TypeError, match="a hook is a function, not str"):
        getattr(Echo(), register)("hook")


# --- all modules ---------------------------------------------------------------------------------------------------


async def test_hooks_for_all_modules_run_before_each_modules_own(door):
    log = []
    inner = Echo()
    inner.register_forward_pre_hook(noting(log, "own pre"))
    inner.register_forward_hook(noting(log, "own post"))

    def note(label):
        def hook(module, *_):
            log.append(f"{label} {type(module).__name__}")

        return hook

    with (
        nn.hooks.register_module_forward_pre_hook(note("pre")),
        nn.hooks.register_module_forward_hook(note("post")),
    ):
        await door(nn.Sequential(inner))
    seen = [entry for entry in log if "Caller" not in entry]
    assert seen == ["pre Sequential", "pre Echo", "own pre", "post Echo", "own post", "post Sequential"]
    log.clear()
    await door(nn.Sequential(Echo()))
    assert log == []


async def test_hooks_for_all_modules_may_be_always_called(door):
    log = []
    with (
        nn.hooks.register_module_forward_hook(
            lambda module, args, kwargs, output: log.append((type(module).__name__, output)), always_call=True
        ),
        pytest.raises(ValueError, match="the call itself"),
    ):
        await door(nn.Sequential(Fails()), 1)
    assert log[:2] == [("Fails", None), ("Sequential", None)]


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copied_module_keeps_its_hooks_apart_from_the_originals(again):
    echo = Echo()
    handle = echo.register_forward_hook(keeps_the_output, always_call=True)
    copied = again(echo)
    handle.remove()
    assert list(copied._forward_hooks.values()) == [keeps_the_output] and len(copied._forward_hooks.always) == 1
    copied.register_forward_hook(keeps_the_output).remove()
    assert len(copied._forward_hooks) == 1


def test_a_hook_added_after_unpickling_in_another_process_replaces_none(tmp_path):
    echo = nn.Sequential()
    for _ in range(3):
        echo.register_forward_hook(keeps_the_output)
    table = echo._forward_hooks
    renumbered = pickle.loads(pickle.dumps(table))
    for number, key in enumerate(list(renumbered)):
        renumbered[number] = renumbered.pop(key)
    echo.__dict__["_forward_hooks"] = renumbered
    (tmp_path / "echo.pickle").write_bytes(pickle.dumps(echo))
    script = """
        import pickle, sys
        from pathlib import Path
        echo = pickle.loads(Path(sys.argv[1]).read_bytes())
        echo.register_forward_hook(print)
        print(len(echo._forward_hooks))
    """
    assert run_script(script, str(tmp_path / "echo.pickle")) == "4"
