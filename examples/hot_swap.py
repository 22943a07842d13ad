"""Prompts changed by another process while calls run, and rolled back: python examples/hot_swap.py

A service follows the tag "production" of a store. The other process is the command `msgflow state`, as somebody would
use it in a shell on another machine. The model is scripted, so this needs no key and no network.
"""

import asyncio
import contextlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable

import msgflow as mf
import msgflow.nn as nn
from msgflow.models import ScriptedModel
from msgflow.versions import Follower, Store


class Reply(nn.Module):
    """Two model calls, one after the other: a swap in between must not give them different prompts."""

    def __init__(self, model: ScriptedModel) -> None:
        super().__init__()
        self.writer = nn.Agent("writer", model, "tone 1")
        self.checker = nn.Agent("checker", model, "tone 1")

    async def aforward(self, between: Awaitable[object]) -> str:
        written = await self.writer.acall("Write to the customer.")
        await between
        checked = await self.checker.acall("Check the letter.")
        return f"{self.digest()} written in {written}, checked in {checked}"


async def serve(reply: Reply, until: Callable[[str], bool]) -> None:
    """Answer one call after the other; print each answer that is unlike the one before."""
    answer = ""
    while not until(answer):
        before, answer = answer, await reply.acall(asyncio.sleep(0.02))
        if answer != before:
            print(f"  {answer}")


def msgflow_state(*arguments: str) -> subprocess.Popen[bytes]:
    """Start `msgflow state ...` in a process of its own."""
    print("$ msgflow state", *arguments, flush=True)
    command = [sys.executable, "-m", "msgflow.cli", "state", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def main(reply: Reply, follower: Follower) -> None:
    await serve(reply, until=lambda answer: "tone 1" in answer)
    gate = asyncio.Event()
    in_flight = asyncio.create_task(reply.acall(gate.wait()))
    await asyncio.sleep(0.1)

    print("\nA new version, while a call is in flight:")
    tones = {"writer.instructions": "tone 2", "checker.instructions": "tone 2"}
    mf.save({**reply.state_dict(), **tones}, "new.toml")
    with msgflow_state("commit", "prompts.db", "new.toml", "-m", "Tone", "--tag", "production"):
        await serve(reply, until=lambda answer: "tone 2" in answer)
    gate.set()
    print(f"the call that was in flight:\n  {await in_flight}")

    print("\nBack to the version before:")
    with msgflow_state("rollback", "prompts.db", "production"):
        await serve(reply, until=lambda answer: "tone 1" in answer)

    print("\nA version that does not fit:")
    mf.save({"writer.instructions": "tone 3"}, "broken.toml")
    with msgflow_state("commit", "prompts.db", "broken.toml", "-m", "Oops", "--tag", "production"):
        await serve(reply, until=lambda _: follower.refused is not None)
    print(f"refused: {follower.refused.error}")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # refusals are logged, and here they are printed
    reply = Reply(ScriptedModel(lambda request: request.messages[0].text, loop=True))
    # A look into the store that had begun when the follower was stopped may still touch its files.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.chdir(folder):
        store = Store("prompts.db")
        store.tag("production", store.commit(reply.state_dict(), "First"))
        with store.follow(reply, "production", poll_s=0.05) as follower:
            asyncio.run(asyncio.wait_for(main(reply, follower), timeout=60))
