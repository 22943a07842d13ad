"""One workflow, written as plain code, for many calls at a time: python examples/many_calls.py [provider/model]"""

import asyncio
import sys
import time

import msgflow.nn as nn

COUNTRIES = ["France", "Italy", "Spain", "Japan"]


class CapitalAndLanguage(nn.Module):
    """Two questions, one after the other; while one call waits, the others run."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.agent = nn.Agent("geographer", model, "Answer in one short sentence.", settings={"max_tokens": 40})

    def forward(self, country: str) -> str:
        capital = self.agent(f"What is the capital of {country}?")
        language = self.agent(f"Which language do people in {country} speak?")
        return f"{capital} {language}"


async def main(model: str = "local/smollm2") -> None:
    workflow, start = CapitalAndLanguage(model), time.perf_counter()
    for country, answer in zip(COUNTRIES, await asyncio.gather(*map(workflow.acall, COUNTRIES)), strict=True):
        print(f"{country}: {answer}")
    print(f"{len(COUNTRIES)} calls at once in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
