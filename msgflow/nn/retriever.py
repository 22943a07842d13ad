"""Retriever: passages for a query, from an index."""

import json
from collections.abc import Sequence
from typing import Any

from msgflow.data import Hit, Index
from msgflow.nn.module import Module
from msgflow.nn.on_message import Reads, declare
from msgflow.trace import captured, current_span, names, tracer


class Retriever(Module):
    """The `top_k` best passages of an index: a list of Hit for a query, a list of such lists for a list of queries.

    `top_k` is a buffer, so it can be swapped; `name` is what spans call the source.
    """

    blocking = True  # an index computes, or asks a database

    def __init__(
        self,
        index: Index,
        top_k: int = 4,
        *,
        name: str | None = None,
        reads: Reads = None,
        writes: str | None = None,
    ) -> None:
        super().__init__()
        declare(self, reads, writes)
        if not callable(getattr(index, "search", None)):
            raise TypeError(f"a Retriever takes an index, which has `search`, such as BM25; not {type(index).__name__}")
        self.index = index
        self.name = type(index).__name__ if name is None else name
        self.register_buffer("top_k", top_k)

    def _buffer_value(self, name: str, value: Any) -> Any:
        return _checked_top_k(value) if name == "top_k" else super()._buffer_value(name, value)

    def forward(self, query: str | Sequence[str], *, top_k: int | None = None) -> list[Hit] | list[list[Hit]]:
        queries = _queries(query)
        top_k = self.top_k if top_k is None else _checked_top_k(top_k)
        found = self.index.search(queries, top_k) if queries else []
        if tracer() is not None:
            current_span().set_attributes({names.TOP_K: top_k, **(_content(queries, found) if captured() else {})})
        return found[0] if isinstance(query, str) else found

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        start = {names.OPERATION: "retrieval", names.SOURCE_ID: self.name, names.TOP_K: self.top_k}
        return "retrieval", self.name, start

    def extra_repr(self) -> str:
        return f"{self.name!r}, top_k={self.top_k}"


def _checked_top_k(top_k: Any) -> int:
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise TypeError(f"top_k is a whole number of at least 1, not {top_k!r}")
    return top_k


def _queries(query: Any) -> list[str]:
    queries = [query] if isinstance(query, str) else list(query) if isinstance(query, Sequence) else None
    if queries is None or not all(isinstance(query, str) for query in queries):
        raise TypeError(f"a query is text, or a list of texts, not {query!r:.80}")
    return queries


def _content(queries: list[str], found: list[list[Hit]]) -> dict[str, str]:
    hits = [{"id": hit.id, "score": float(hit.score)} for hits in found for hit in hits]
    return {names.QUERY_TEXT: "\n".join(queries), names.DOCUMENTS: json.dumps(hits)}
