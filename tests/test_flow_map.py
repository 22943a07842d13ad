"""Map calls its step for each item."""

import asyncio
import threading
import tracemalloc

import anyio
import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import BridgeError
from msgflow.nn.functional import TaskError


def add_one(x):
    return x + 1


class Prompted(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("Hello")

    async def aforward(self, name):
        return f"{self.prompt} {name}"


async def items_from_afar():
    for number in range(3):
        yield number


@pytest.mark.parametrize("items", [[0, 1, 2], (0, 1, 2), range(3), dict.fromkeys(range(3)).keys()], ids=type)
async def test_each_item_is_mapped_in_order(door, items):
    assert await door(flow.Map(add_one), items) == [1, 2, 3]


async def test_generators_may_be_plain_or_async(door):
    assert await door(flow.Map(add_one), (x for x in range(3))) == [1, 2, 3]
    assert await door(flow.Map(add_one), items_from_afar()) == [1, 2, 3]
    assert await door(flow.Map(add_one), []) == []


async def test_its_step_is_part_of_the_tree(door):
    made = flow.Map(Prompted())
    assert await door(made, ["you"]) == ["Hello you"] and made.state_dict() == {"step.prompt": "Hello"}


async def test_further_arguments_go_to_each_call(door):
    assert await door(flow.Map(lambda x, *args, **kwargs: (x, args, kwargs)), [1, 2], 3, b=4) == [
        (1, (3,), {"b": 4}),
        (2, (3,), {"b": 4}),
    ]


async def test_a_step_can_refer_to_results_around_it(door):
    made = flow.Pipeline(a=add_one, items=lambda a: [a, a], each=flow.Map(flow.bind(max, flow.ref("a"), flow.previous)))
    assert await door(made, 1) == [2, 2]


async def test_order_is_kept_whoever_is_first(door):
    async def later_first(x):
        await anyio.sleep((5 - x) / 500)
        return x

    assert await door(flow.Map(later_first), range(5)) == [0, 1, 2, 3, 4]


async def test_at_most_limit_items_at_a_time(door):
    running, most = [], []

    async def step(x):
        running.append(x)
        most.append(len(running))
        await anyio.sleep(0.001)
        running.remove(x)

    await door(flow.Map(step, limit=4), range(20))
    assert max(most) == 4


async def test_the_first_failure_says_which_item_it_was(door):
    ran = []

    def step(x):
        ran.append(x)
        return 1 / (x - 2)

    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(each=flow.Map(mf.nonblocking(step), limit=1)), range(10))
    assert caught.value.__notes__ == ["in step each.step[2] of Pipeline"] and ran == [0, 1, 2]


async def test_failures_can_be_collected_in_place_of_results(door):
    made = await door(flow.Map(lambda x: 1 / x, on_error="collect"), [1, 0, 2])
    assert (made[0], made[2]) == (1.0, 0.5) and isinstance(made[1], TaskError) and made[1].index == 1


@pytest.mark.parametrize("items", ["text", b"bytes", {"a": 1}, 3, None])
async def test_what_is_no_list_of_items_is_refused(door, items):
    with pytest.raises(TypeError, match="Map is called with a list of items, not with"):
        await door(flow.Map(add_one), items)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": "2"}, {"on_error": "skip"}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises((TypeError, ValueError), match=r"limit is|on_error is"):
        flow.Map(add_one, **options)


def test_options_are_shown():
    assert repr(flow.Map(add_one, limit=3, on_error="collect")).startswith("Map(\n  limit=3, on_error=collect\n")


async def test_ten_thousand_items_take_little_memory(door):
    tracemalloc.start()
    try:
        assert sum(await door(flow.Map(mf.nonblocking(add_one), limit=100), range(10_000))) == 50_005_000
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


async def test_progress_is_shown_when_asked(door, monkeypatch):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def bar(title, total):
        seen.append((title, total))
        yield lambda: seen.append("one")

    monkeypatch.setattr("msgflow.flow.map.progress_bar", bar)
    await door(flow.Map(add_one, progress=True), range(3))
    assert seen == [("Map", 3), "one", "one", "one"]


# --- streams ---------------------------------------------------------------------------------------------------------


def in_order_of_delay():
    async def step(delay):
        await anyio.sleep(delay / 20)
        return -delay

    return flow.Map(step)


def test_finished_items_can_be_streamed_in_plain_code():
    assert list(in_order_of_delay().stream([2, 0, 1])) == [(1, 0), (2, -1), (0, -2)]


async def test_finished_items_can_be_streamed_in_async_code():
    assert [pair async for pair in in_order_of_delay().stream([2, 0, 1])] == [(1, 0), (2, -1), (0, -2)]


def test_leaving_a_stream_early_cancels_the_rest():
    cancelled, begun = threading.Event(), []

    async def step(x):
        begun.append(x)
        if x == 0:
            return x
        try:
            await anyio.sleep(30)
        finally:
            cancelled.set()

    with flow.Map(step, limit=2).stream(range(100)) as stream:
        for pair in stream:
            assert pair == (0, 0)
            break
    assert cancelled.wait(10) and len(begun) < 10


def test_a_slow_reader_holds_up_the_items():
    begun = []

    async def step(x):
        begun.append(x)
        return x

    stream = iter(flow.Map(step, limit=3).stream(range(100)))
    assert next(stream) == (0, 0) and len(begun) <= 5
    assert len(list(stream)) == 99


async def test_a_failure_ends_a_stream_and_may_be_collected():
    made = flow.Map(lambda x: 1 / x, limit=1)
    with pytest.raises(ZeroDivisionError) as caught:
        [pair async for pair in made.stream([1, 0])]
    assert caught.value.__notes__ == ["in step step[1] of Map"]
    made.on_error = "collect"
    pairs = dict([pair async for pair in made.stream([1, 0])])
    assert pairs[0] == 1.0 and isinstance(pairs[1], TaskError)


def test_a_stream_is_a_call_with_hooks_spans_and_one_version(tracing):
    made = flow.Map(Prompted())
    seen = []
    made.register_forward_hook(lambda module, args, kwargs, output: seen.append(len(output)))
    stream = iter(made.stream(["a", "b"]))
    first = next(stream)
    made.step.prompt = "Bye"
    assert {first, *stream} == {(0, "Hello a"), (1, "Hello b")} and seen == [2]
    assert [span.name for span in tracing.spans] == ["Prompted", "Prompted", "invoke_workflow Map"]


def test_a_stream_is_read_once():
    stream = flow.Map(add_one).stream([1])
    assert list(stream) == [(0, 2)]
    with pytest.raises(BridgeError):
        list(stream)


async def test_cancelling_cancels_the_items():
    cancelled = []

    async def slow(x):
        try:
            await anyio.sleep(30)
        finally:
            cancelled.append(x)

    task = asyncio.create_task(flow.Map(slow, limit=3).acall(range(10)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [0, 1, 2]
