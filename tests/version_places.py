"""Where the tests of the version store keep their versions: every test that takes `place` runs on both databases."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import msgflow.nn as nn
from msgflow.versions import Store
from tests.postgres import require_postgres


def new_place(kind: str, folder: Path) -> str:
    return str(folder / "prompts.db") if kind == "sqlite" else require_postgres().new_schema()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: waiting for the disk, at every commit, would take most of the tests' time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="msgflow") as folder:
        yield Path(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_place(request.param, tmp_path)


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    store = Store(place)
    yield store
    store.close()


class Prompts(nn.Module):
    """A module with a prompt and a setting."""

    def __init__(self, prompt: str = "Be helpful.", limit: int = 1) -> None:
        super().__init__()
        self.prompt = nn.Parameter(prompt)
        self.register_buffer("limit", limit)

    def forward(self, question: str) -> str:
        return f"{self.prompt} {question}"
