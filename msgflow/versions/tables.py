"""The tables of a store. Rows are added and never removed."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, DateTime, Dialect, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

SCHEMA = 1  # the number in the one row of msgflow_store; another one means tables of another shape


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite keeps it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value.replace(tzinfo=None) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

# Its only row is locked by whoever writes, so that writers of PostgreSQL come one after the other.
store = Table("msgflow_store", metadata, Column("schema", Integer, primary_key=True, autoincrement=False))

# `state` is a document (documents.py), in UTF-8. Bytes, because no text column of PostgreSQL holds what a prompt may
# hold: surrogates.
states = Table(
    "msgflow_states",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("state", LargeBinary, nullable=False),
)

# The bytes of tensors, in parts from 0, under the fingerprints that documents know them by. A store that was made
# before there were tensors gets the table with its first one.
tensors = Table(
    "msgflow_tensors",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

commits = Table(
    "msgflow_commits",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("version", String(16), ForeignKey(states.c.id), nullable=False),
    Column("message", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("time", UtcTime, nullable=False),
)

# The moves of a tag that are not undone are a stack: the newest one says where the tag points.
moves = Table(
    "msgflow_tag_moves",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("tag", Text, nullable=False),
    Column("version", String(16), ForeignKey(states.c.id), nullable=False),
    Column("author", Text, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("undone_at", UtcTime),
    Column("undone_by", Text, nullable=False, default=""),
    Index("msgflow_tag_moves_by_tag", "tag", "seq"),
)
