"""One chat call: a bare aiohttp POST, the openai SDK, and an agent, without and with spans."""

import asyncio
from collections.abc import Sequence

import aiohttp
import openai
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import msgflow as mf
from bench.measure import side_by_side
from bench.stub import chat_endpoint
from msgflow import models, nn

INSTRUCTIONS, TASK = "Answer in one short sentence.", "What is the capital of France?"
LIMITS = {"agent": "1.5", "agent, spans": "2.2"}
CALLS, ROUNDS = 2000, 9


class NullExporter(SpanExporter):
    """Takes spans and drops them, so that only recording and batching are measured."""

    def export(self, spans: Sequence[object]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def compare(url: str, concurrent: int) -> dict[str, tuple[float, float]]:
    """Of each contestant: microseconds a call, and how many times the bare POST of the same rounds."""
    payload = {
        "model": "stub",
        "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": TASK}],
    }
    agent = nn.Agent("asker", models.OpenAIChat("stub", base_url=url, api_key="none"), INSTRUCTIONS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as sdk,
    ):

        async def post() -> object:
            async with session.post(f"{url}/chat/completions", json=payload) as response:
                return await response.json()

        async def by_sdk() -> object:
            return await sdk.chat.completions.create(**payload)  # type: ignore[call-overload]

        async def by_agent() -> object:
            return await agent.acall(TASK)

        assert await by_agent() == "Paris."
        plain = await side_by_side(
            {"aiohttp": post, "agent": by_agent}, concurrent=concurrent, calls=CALLS, rounds=ROUNDS
        )
        slow = await side_by_side(
            {"aiohttp": post, "openai SDK": by_sdk}, concurrent=concurrent, calls=CALLS // 5, rounds=3
        )
        with mf.trace.configure(NullExporter()):
            traced = await side_by_side(
                {"aiohttp": post, "agent, spans": by_agent}, concurrent=concurrent, calls=CALLS, rounds=ROUNDS
            )
    return {
        name: (taken, taken / rounds["aiohttp"]) for rounds in (slow, traced, plain) for name, taken in rounds.items()
    }


def main() -> list[str]:
    """Rows of a Markdown table."""
    rows = ["| concurrent | contestant | us a call | times aiohttp | at most |", "|---|---|---|---|---|"]
    with chat_endpoint() as url:
        for concurrent in (1, 32, 256):
            result = asyncio.run(compare(url, concurrent))
            for name in ("aiohttp", "agent", "agent, spans", "openai SDK"):
                taken, ratio = result[name]
                rows.append(f"| {concurrent} | {name} | {taken:.0f} | {ratio:.2f} | {LIMITS.get(name, '')} |")
    return rows


if __name__ == "__main__":
    print("\n".join(main()))
