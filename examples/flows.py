"""A help desk as one flow: python examples/flows.py

Four ways of composing: a router, branches at once, a loop, and a step that may fail. It needs no model.
"""

import asyncio

import msgflow.nn as nn
from msgflow import flow


class Topic(nn.Module):
    """Says what a question is about: here by a word, in earnest by an agent. Its words are state."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Parameter(["refund", "money", "invoice"])

    def forward(self, question: str) -> str:
        return "billing" if any(word in question.lower() for word in self.words) else "other"


class LookUp(nn.Module):
    """A slow source of facts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    async def aforward(self, question: str) -> str:
        await asyncio.sleep(0.05)
        return f"{self.source} on {question.split()[-1]!r}"


class Shorten(nn.Module):
    """Takes words off the end."""

    def forward(self, text: str) -> str:
        return text.rsplit(maxsplit=1)[0]


def is_short(text: str) -> bool:
    return len(text) < 40


calls = []


def unreliable(question: str) -> str:
    calls.append(question)
    if len(calls) % 2:
        raise ConnectionError("the ledger did not answer")
    return f"ledger on {question.split()[-1]!r}"


facts = flow.Parallel(
    mail=LookUp("mail"),
    files=LookUp("files"),
    ledger=flow.retry(unreliable, times=3, backoff=0.01, on=ConnectionError),
    reduce=", ".join,
)
billing = flow.Pipeline(facts=facts, short=flow.Loop(Shorten(), until=is_short))
desk = flow.Switch({"billing": billing}, default="no facts needed for: {}".format, key=Topic())

if __name__ == "__main__":
    print(desk("Where is my refund"))
    print(desk("Hello there"))
    print("state:", desk.state_dict())
    print(nn.diagram(desk))
