"""What the history of a store is made of."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of the log. `id` is the digest of the state, `time` is in UTC, `tags` are those that point here now."""

    id: str
    message: str
    author: str
    time: datetime
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag was set to a version, and maybe rolled back later, which `undone_at` (UTC) and `undone_by` tell."""

    tag: str
    id: str
    author: str
    time: datetime
    undone_at: datetime | None = None
    undone_by: str = ""
