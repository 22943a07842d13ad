"""Retriever: passages for a query, from an index."""

import json
from collections.abc import Sequence
from typing import Any

from msgflow.data import Hit, Index
from msgflow.nn.module import Module
from msgflow.trace import captured, current_span, names, tracer


class Retriever(Module):
    """The `top_k` best passages of an index: a list of Hit for a query, a list of such lists for a list of queries.

    `top_k` is a buffer, so it can be swapped; `name` is what spans call the source.
    """

    blocking = True  # an index computes, or asks a database

    def __init__(self, index: Index, top_k: int = 4, *, name: str | None = None) -> None:
        super().__init__()
        self.index = index
        self.name = type(index).__name__ if name is None else name
        self.register_buffer("top_k", top_k)

    def _buffer_value(self, name: str, value: Any) -> Any:
        if name == "top_k" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise TypeError(f"top_k is a whole number of at least 1, not {value!r}")
        return super()._buffer_value(name, value)

    def forward(self, query: str | Sequence[str], *, top_k: int | None = None) -> list[Hit] | list[list[Hit]]:
        queries = [query] if isinstance(query, str) else list(query)
        if not all(isinstance(query, str) for query in queries):
            raise TypeError(f"a query is text, or a list of texts, not {query!r:.80}")
        found = self.index.search(queries, self.top_k if top_k is None else top_k) if queries else []
        if tracer() is not None and captured():
            hits = [{"id": hit.id, "score": hit.score} for hits in found for hit in hits]
            span = current_span()
            span.set_attribute(names.QUERY_TEXT, "\n".join(queries))
            span.set_attribute(names.DOCUMENTS, json.dumps(hits))
        return found[0] if isinstance(query, str) else found

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        start = {names.OPERATION: "retrieval", names.SOURCE_ID: self.name, names.TOP_K: self.top_k}
        return "retrieval", self.name, start

    def extra_repr(self) -> str:
        return f"{self.name!r}, top_k={self.top_k}"
