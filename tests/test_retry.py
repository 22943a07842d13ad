"""Asking again, without waiting: the sleep is given."""

import asyncio
import subprocess
import sys

import pytest

from msgflow.errors import BadModelResponse, ModelOverloaded, ModelRefused, ModelTimeout, ModelUnreachable
from msgflow.messages import Finished, Request, TextDelta, user
from msgflow.models import Model, Retried, ScriptedModel

HELLO = Request((user("hello"),))


def gone() -> ModelUnreachable:
    return ModelUnreachable("gone")


def busy(retry_after_s: float | None = None) -> ModelOverloaded:
    return ModelOverloaded("busy", status=429, retry_after_s=retry_after_s)


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(params=["complete", "stream"])
def ask(request):
    async def complete(model):
        return (await model.complete(HELLO)).text

    async def stream(model):
        return "".join([event.text async for event in model.stream(HELLO) if isinstance(event, TextDelta)])

    return {"complete": complete, "stream": stream}[request.param]


async def test_a_retried_model_is_a_model():
    model = Retried(ScriptedModel("hi"))
    assert isinstance(model, Model)
    assert (model.spec, model.provider, model.name) == ("test/scripted", "test", "scripted")
    assert repr(model).startswith("Retried(<ScriptedModel")


async def test_errors_that_pass_are_asked_about_again(ask):
    sleeps = Sleeps()
    assert await ask(Retried(ScriptedModel(gone(), ModelTimeout("late"), "hi"), sleep=sleeps)) == "hi"
    assert len(sleeps) == 2


async def test_the_last_error_is_raised_with_a_note(ask):
    with pytest.raises(ModelOverloaded) as caught:
        await ask(Retried(ScriptedModel(gone(), gone(), busy()), sleep=Sleeps()))
    assert caught.value.__notes__ == ["test/scripted gave up after 3 attempts over 0.0 s"]


async def test_an_error_that_does_not_pass_is_raised_at_once_and_bare(ask):
    model = ScriptedModel(ModelRefused("no", status=400), "hi")
    with pytest.raises(ModelRefused) as caught:
        await ask(Retried(model, sleep=Sleeps()))
    assert len(model.requests) == 1 and not hasattr(caught.value, "__notes__")


async def test_an_error_that_does_not_pass_ends_the_attempts(ask):
    model = ScriptedModel(gone(), ModelRefused("no", status=400), "hi")
    with pytest.raises(ModelRefused) as caught:
        await ask(Retried(model, sleep=Sleeps()))
    assert len(model.requests) == 2
    assert "after 2 attempts" in caught.value.__notes__[0]


async def test_errors_that_are_not_the_models_are_left_alone(ask):
    model = ScriptedModel(KeyError("bug"), "hi")
    with pytest.raises(KeyError):
        await ask(Retried(model, sleep=Sleeps()))
    assert len(model.requests) == 1


async def test_waits_are_never_shorter_than_the_server_asked(ask):
    sleeps = Sleeps()
    await ask(Retried(ScriptedModel(busy(20.0), busy(0.0), "hi"), sleep=sleeps))
    assert sleeps[0] == 20.0 and 0 <= sleeps[1] <= 1.0


async def test_waits_grow_to_at_most_max_wait_s(ask):
    sleeps = Sleeps()
    with pytest.raises(ModelUnreachable):
        await ask(Retried(ScriptedModel.repeat(gone()), attempts=12, max_wait_s=2.0, sleep=sleeps))
    assert len(sleeps) == 11 and max(sleeps) <= 2.0
    assert sleeps[0] <= 0.5


async def test_a_server_that_asks_for_too_much_is_not_waited_for(ask):
    sleeps = Sleeps()
    with pytest.raises(ModelOverloaded) as caught:
        await ask(Retried(ScriptedModel(busy(3600.0), "hi"), sleep=sleeps))
    assert sleeps == [] and caught.value.retry_after_s == 3600.0
    assert "after 1 attempt over" in caught.value.__notes__[0]
    assert "asked for 3600 s" in caught.value.__notes__[0]


async def test_one_attempt_is_one_attempt(ask):
    model = ScriptedModel(gone(), "hi")
    with pytest.raises(ModelUnreachable):
        await ask(Retried(model, attempts=1, sleep=Sleeps()))
    assert len(model.requests) == 1


def test_no_attempts_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Retried(ScriptedModel("hi"), attempts=0)


async def test_cancellation_is_never_retried(ask):
    model = ScriptedModel(asyncio.CancelledError(), "hi")
    with pytest.raises(asyncio.CancelledError):
        await ask(Retried(model, sleep=Sleeps()))
    assert len(model.requests) == 1


async def test_cancellation_of_a_second_attempt_is_never_retried(ask):
    model = ScriptedModel(gone(), asyncio.CancelledError(), "hi")
    with pytest.raises(asyncio.CancelledError):
        await ask(Retried(model, sleep=Sleeps()))
    assert len(model.requests) == 2


class Streams(ScriptedModel):
    """Each script item is the list of events of one stream; an exception among them is raised."""

    def __init__(self, *streams):
        super().__init__()
        self.streams, self.closed = list(streams), 0

    async def stream(self, request):
        self.requests.append(request)
        try:
            for event in self.streams.pop(0):
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1


async def test_a_stream_is_not_begun_again_after_its_first_event():
    model = Streams([TextDelta("a"), gone()], [TextDelta("b")])
    events = Retried(model, sleep=Sleeps()).stream(HELLO)
    assert await anext(events) == TextDelta("a")
    with pytest.raises(ModelUnreachable):
        await anext(events)
    assert len(model.requests) == 1


async def test_a_stream_that_is_left_early_is_closed():
    model = Streams([TextDelta("a"), TextDelta("b")])
    events = Retried(model).stream(HELLO)
    assert await anext(events) == TextDelta("a")
    await events.aclose()
    assert model.closed == 1


async def test_every_stream_that_was_begun_is_closed():
    whole = Finished(await ScriptedModel("hi").complete(HELLO))
    model = Streams([gone()], [gone()], [whole])
    assert [event async for event in Retried(model, sleep=Sleeps()).stream(HELLO)] == [whole]
    assert model.closed == 3


async def test_a_stream_of_nothing_at_all_is_named():
    with pytest.raises(BadModelResponse, match="streamed nothing"):
        await anext(Retried(Streams([])).stream(HELLO))


async def test_streams_that_are_no_generators_are_read_too():
    class Plain(ScriptedModel):
        def stream(self, request):
            events = super().stream(request)

            class Events:
                def __aiter__(self):
                    return self

                def __anext__(self):
                    return anext(events)

            return Events()

    assert len([event async for event in Retried(Plain("one two")).stream(HELLO)]) == 3


def test_a_first_attempt_that_succeeds_does_not_load_tenacity():
    code = (
        "import asyncio, sys\n"
        "from msgflow.messages import Request, user\n"
        "from msgflow.models import Retried, ScriptedModel\n"
        "asyncio.run(Retried(ScriptedModel('hi')).complete(Request((user('x'),))))\n"
        "print([name for name in ('tenacity', 'aiohttp', 'httpx', 'openai', 'pydantic') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
