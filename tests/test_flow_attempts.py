"""Steps that fail are tried again, given a time limit, or replaced."""

import threading
import time

import anyio
import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import FlowStructureError


class Flaky(nn.Module):
    """Fails so many times, then returns its input."""

    def __init__(self, failures, error=OSError):
        super().__init__()
        self.left, self.error, self.calls = failures, error, 0

    def forward(self, x):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error("not yet")
        return x


# --- retry -----------------------------------------------------------------------------------------------------------


async def test_a_step_that_fails_is_called_again(door):
    step = Flaky(2)
    assert await door(flow.retry(step, times=3, backoff=0), "x") == "x" and step.calls == 3


async def test_the_last_error_is_raised_with_the_number_of_calls(door):
    step = Flaky(5)
    with pytest.raises(OSError, match="not yet") as caught:
        await door(flow.Pipeline(fetch=flow.retry(step, times=3, backoff=0)), "x")
    assert step.calls == 3
    assert caught.value.__notes__ == ["it was tried 3 times", "in step fetch.step of Pipeline"]


@pytest.mark.parametrize("on", [OSError, (KeyError, OSError), (Exception,)])
async def test_only_the_named_errors_are_tried_again(door, on):
    assert await door(flow.retry(Flaky(1), backoff=0, on=on), "x") == "x"
    step = Flaky(1, ValueError)
    if on != (Exception,):
        with pytest.raises(ValueError, match="not yet"):
            await door(flow.retry(step, backoff=0, on=on), "x")
        assert step.calls == 1


async def test_the_pauses_grow_and_a_function_may_say_them(door, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("msgflow.flow.attempts.anyio.sleep", sleep)
    await door(flow.retry(Flaky(9), times=10, backoff=1), "x")
    longest = [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True)), pauses
    pauses.clear()
    await door(flow.retry(Flaky(3), times=4, backoff=lambda made: made / 10), "x")
    assert pauses == [0.1, 0.2, 0.3]


async def test_cancelling_is_not_an_error_to_try_again(door):
    calls = []

    async def slow():
        calls.append(1)
        await anyio.sleep(30)

    with pytest.raises(TimeoutError):
        await door(flow.timeout(flow.retry(slow, backoff=0), 0.05))
    assert calls == [1]


async def test_each_attempt_is_an_event_of_the_span(door, tracing):
    await door(flow.retry(Flaky(1), backoff=0), "x")
    (span,) = [span for span in tracing.spans if span.name.endswith("Retry")]
    (event,) = span.events
    assert event.name == "retry" and event.attributes == {"attempt": 1, "error.type": "OSError", "pause_s": 0.0}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"times": 0}, ValueError),
        ({"times": "3"}, TypeError),
        ({"backoff": -1}, ValueError),
        ({"backoff": "1"}, TypeError),
        ({"backoff": float("nan")}, ValueError),
        ({"on": "OSError"}, TypeError),
        ({"on": BaseException}, TypeError),
        ({"on": (OSError, 3)}, TypeError),
    ],
)
def test_policies_that_cannot_be_are_refused(options, kind):
    with pytest.raises(kind, match=r"times|backoff|on is"):
        flow.retry(str, **options)


async def test_a_pause_that_is_none_is_an_error(door):
    with pytest.raises(TypeError, match="backoff is a number of seconds, not None"):
        await door(flow.retry(Flaky(1), backoff=lambda made: None), "x")


# --- timeout ---------------------------------------------------------------------------------------------------------


class Sleeps(nn.Module):
    async def aforward(self, seconds):
        await anyio.sleep(seconds)
        return "done"


async def test_a_step_that_is_done_in_time_returns_its_result(door):
    assert await door(flow.timeout(Sleeps(), 30), 0) == "done"
    assert await door(flow.timeout(lambda x: x, 30), 1) == 1


@pytest.mark.parametrize(
    ("step", "name"), [(Sleeps(), "Sleeps"), (time.sleep, "sleep"), (flow.Pipeline(Sleeps()), "Pipeline")]
)
async def test_a_step_that_takes_too_long_is_a_timeout_error(door, step, name):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=f"{name} was not done within 0.05 s"):
        await door(flow.timeout(step, 0.05), 20)
    assert time.monotonic() - began < 10


async def test_what_takes_too_long_is_cancelled_and_cleans_up(door):
    cleaned = threading.Event()

    async def slow():
        try:
            await anyio.sleep(30)
        finally:
            cleaned.set()

    with pytest.raises(TimeoutError):
        await door(flow.timeout(flow.Parallel(slow, slow), 0.05))
    assert cleaned.is_set()


async def test_an_error_of_the_step_is_its_own(door):
    def fails():
        raise TimeoutError("of the server")

    with pytest.raises(TimeoutError, match="of the server"):
        await door(flow.timeout(fails, 30))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "1", None, True])
def test_a_limit_that_is_none_is_refused(seconds):
    with pytest.raises((ValueError, TypeError), match="seconds is"):
        flow.timeout(str, seconds)


# --- fallback --------------------------------------------------------------------------------------------------------


async def test_the_first_step_that_does_not_fail_gives_the_result(door):
    steps = Flaky(9), Flaky(9), Flaky(0), Flaky(0)
    assert await door(flow.fallback(*steps), "x") == "x" and [step.calls for step in steps] == [1, 1, 1, 0]


async def test_where_all_fail_the_last_error_is_raised_and_the_others_are_noted(door):
    with pytest.raises(KeyError) as caught:
        await door(flow.fallback(first=Flaky(9), second=Flaky(9, KeyError)), "x")
    assert caught.value.__notes__ == ["in step second of Fallback", "step first failed before: OSError('not yet')"]


async def test_errors_that_are_not_named_are_raised_at_once(door):
    second = Flaky(0)
    with pytest.raises(OSError, match="not yet"):
        await door(flow.fallback(Flaky(9), second, on=KeyError), "x")
    assert second.calls == 0


async def test_a_step_that_was_passed_over_is_an_event_of_the_span(door, tracing):
    await door(flow.fallback(Flaky(9), Flaky(0)), "x")
    (span,) = [span for span in tracing.spans if span.name.endswith("Fallback")]
    assert [(event.name, dict(event.attributes)) for event in span.events] == [
        ("fallback", {"step": "0", "error.type": "OSError"})
    ]


def test_a_fallback_without_steps_is_refused():
    with pytest.raises(TypeError, match="needs steps to call"):
        flow.fallback()
    with pytest.raises(FlowStructureError):
        flow.fallback(str, 3)


async def test_wrappers_nest_and_are_modules_with_the_state_of_their_step(door):
    class Prompted(Flaky):
        def __init__(self, failures):
            super().__init__(failures)
            self.prompt = nn.Parameter("Hello")

    step = Prompted(1)
    made = flow.fallback(flow.timeout(flow.retry(step, backoff=0), 30), mf.nonblocking(str))
    assert await door(made, "x") == "x" and step.calls == 2
    assert made.state_dict() == {"0.step.step.prompt": "Hello"}
    assert repr(made).startswith("Fallback(\n  (0): Timeout(\n    30 s\n    (step): Retry(\n      times=3\n")
