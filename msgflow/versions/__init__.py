"""Versions of a state, with history: commit, compare, tag, roll back, and follow a tag from running modules.

    store = Store("prompts.db")
    store.tag("production", store.commit(module.state_dict(), "Kinder tone"))
    store.follow(module, "production")

A store is a SQLite file or a PostgreSQL database, and any number of processes may use it at once.
"""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily

if TYPE_CHECKING:
    from msgflow.versions.applying import Refusal
    from msgflow.versions.difference import Diff
    from msgflow.versions.following import Follower
    from msgflow.versions.records import TagMove, Version
    from msgflow.versions.splitting import Split, split
    from msgflow.versions.store import Store
    from msgflow.versions.watching import Watcher, watch

__all__ = ["Diff", "Follower", "Refusal", "Split", "Store", "TagMove", "Version", "Watcher", "split", "watch"]

__getattr__ = _lazily(
    __name__,
    {
        "Diff": "difference",
        "Follower": "following",
        "Refusal": "applying",
        "Split": "splitting",
        "Store": "store",
        "TagMove": "records",
        "Version": "records",
        "Watcher": "watching",
        "split": "splitting",
        "watch": "watching",
    },
)


def __dir__() -> list[str]:
    return list(__all__)
