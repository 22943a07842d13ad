"""Agents on a real model: the embedded one, which runs in this process."""

import asyncio
from typing import Literal

import pytest
from pydantic import BaseModel, Field

import msgflow.nn as nn
from msgflow.messages import TextDelta, ToolFinished
from tests.embedded import require_smollm2

pytestmark = pytest.mark.embedded
MODEL = "local/smollm2"


@pytest.fixture(autouse=True)
def _weights():
    require_smollm2()


async def test_a_question_is_answered_through_every_door(door):
    agent = nn.Agent("a", MODEL, "Answer in one short sentence.", settings={"max_tokens": 40})
    assert "Paris" in await door(agent, "What is the capital of France?")


def test_a_conversation_goes_on():
    agent = nn.Agent("a", MODEL, settings={"max_tokens": 30})
    first = agent.run("My name is Ada.")
    second = agent.run("What is my name?", messages=first.messages)
    assert second.output and second.usage.input > first.usage.input > 0
    assert [message.role for message in second.messages] == ["user", "assistant", "user", "assistant"]


class Review(BaseModel):
    city: str = Field(min_length=1, max_length=40)
    stars: int = Field(ge=1, le=5)
    mood: Literal["good", "bad"]


def test_structured_output_follows_the_schema():
    agent = nn.Agent("a", MODEL, "Extract what the review says.", output=Review, settings={"max_tokens": 100})
    review = agent("I stayed in Paris for a week and loved it. Five stars!")
    assert isinstance(review, Review) and "Paris" in review.city


def test_a_predictor_gives_typed_outputs():
    predictor = nn.Predictor("review -> mood: Literal['good', 'bad']", MODEL, settings={"max_tokens": 30})
    assert predictor("It broke after a day, and nobody helped me.").mood in ("good", "bad")


def test_the_loop_runs_a_tool_and_answers_from_its_result():
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: The first number.
            b: The second number.
        """
        return a + b

    agent = nn.Agent("a", MODEL, "Use the tool to add numbers.", tools=[add], settings={"max_tokens": 80})
    *events, result = agent.stream("What is 17 + 25?")
    answered = [event.text for event in events if isinstance(event, ToolFinished)]
    assert answered and answered[0].isdecimal() and result.output


def test_a_stream_comes_in_pieces_that_make_up_the_output():
    agent = nn.Agent("a", MODEL, settings={"max_tokens": 12})
    *deltas, result = agent.stream("Name three colours.")
    assert len(deltas) > 1 and all(isinstance(delta, TextDelta) for delta in deltas)
    assert "".join(delta.text for delta in deltas) == result.output != ""


async def test_calls_at_once_are_all_answered():
    agent = nn.Agent("a", MODEL, settings={"max_tokens": 4})
    outputs = await asyncio.gather(*(agent.acall(f"Say {n}.") for n in range(8)))
    assert all(outputs)
