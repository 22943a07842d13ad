"""Retriever: passages from any index."""

import json
import threading
from types import MappingProxyType

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.data import BM25, Document, Hit
from msgflow.errors import StateDictError

FRUIT = BM25([Document("a", "red apples"), Document("b", "red red pears"), Document("c", "green leaves")])


class Index:
    """An index of one's own: it remembers what it was asked, and where."""

    def __init__(self, score=0.5):
        self.asked, self.threads, self.score = [], [], score

    def search(self, queries, top_k):
        self.asked.append((queries, top_k))
        self.threads.append(threading.current_thread().name)
        return [
            [Hit(f"{query}-{n}", query, self.score, MappingProxyType({})) for n in range(top_k)] for query in queries
        ]


async def test_one_query_gives_hits_and_several_give_a_list_of_hits_each(door):
    retriever = nn.Retriever(FRUIT, top_k=2)
    assert [hit.id for hit in await door(retriever, "red")] == ["b", "a"]
    both = await door(retriever, ["green", "apples", "nothing"])
    assert [[hit.id for hit in hits] for hits in both] == [["c"], ["a"], []]
    assert await door(retriever, []) == [] and await door(retriever, "") == []


async def test_top_k_can_be_given_for_one_call(door):
    index = Index()
    assert len(await door(nn.Retriever(index, top_k=3), "x", top_k=1)) == 1
    assert index.asked == [(["x"], 1)]


@pytest.mark.parametrize("top_k", [0, -1, True, 1.0, "2", None])
def test_top_k_is_a_whole_number_of_at_least_1_wherever_it_comes_from(top_k):
    retriever = nn.Retriever(Index(), top_k=3)
    with pytest.raises(TypeError, match="top_k is a whole number of at least 1, not"):
        nn.Retriever(Index(), top_k=top_k)
    with pytest.raises(TypeError, match="top_k is a whole number"):
        retriever.top_k = top_k
    with pytest.raises(StateDictError, match="top_k: "):
        retriever.load_state_dict({"top_k": top_k})
    assert retriever.top_k == 3 and len(retriever("x")) == 3
    if top_k is not None:
        with pytest.raises(TypeError, match="top_k is a whole number"):
            retriever("x", top_k=top_k)


def test_top_k_is_state_and_can_be_swapped():
    retriever = nn.Retriever(Index(), top_k=3)
    assert retriever.state_dict() == {"top_k": 3}
    retriever.load_state_dict({"top_k": 1})
    assert len(retriever("x")) == 1


@pytest.mark.parametrize("query", [None, 5, b"red", [1], ["a", None], {"a": "b"}, {"a"}])
async def test_a_query_of_another_type_is_refused(door, query):
    with pytest.raises(TypeError, match="a query is text, or a list of texts, not"):
        await door(nn.Retriever(FRUIT), query)


@pytest.mark.parametrize("index", [None, [], "docs"])
def test_what_cannot_search_is_refused(index):
    with pytest.raises(TypeError, match="a Retriever takes an index, which has `search`"):
        nn.Retriever(index)


async def test_searching_does_not_hold_the_loop():
    index = Index()
    await nn.Retriever(index).acall("x")
    assert index.threads == ["msgflow worker"]


async def test_an_index_that_is_a_module_is_part_of_the_tree(door):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("text", "hello")

        def search(self, queries, top_k):
            return [[Hit("a", self.text, 1.0, {})] for _ in queries]

    retriever = nn.Retriever(Fixed())
    assert retriever.state_dict() == {"top_k": 4, "index.text": "hello"}
    assert (await door(retriever, "x"))[0].text == "hello"


def test_an_error_of_the_index_is_its_own():
    class Broken:
        def search(self, queries, top_k):
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        nn.Retriever(Broken())("x")


def test_repr_shows_source_and_top_k():
    assert repr(nn.Retriever(FRUIT)) == "Retriever('BM25', top_k=4)"
    assert repr(nn.Retriever(FRUIT, 2, name="docs")) == "Retriever('docs', top_k=2)"


async def test_its_span_says_source_top_k_and_content_only_when_captured(door):
    for content in (False, True):
        with mf.trace.configure(exporter="memory", content=content) as tracing:
            await door(nn.Retriever(Index(np.float32(0.5)), name="docs"), ["x", "y"], top_k=1)
            span = next(span for span in tracing.spans if span.name == "retrieval docs")
        assert span.attributes["gen_ai.retrieval.top_k"] == 1
        assert span.attributes["gen_ai.data_source.id"] == "docs"
        assert ("gen_ai.retrieval.query.text" in span.attributes) is content
    assert span.attributes["gen_ai.retrieval.query.text"] == "x\ny"
    documents = json.loads(span.attributes["gen_ai.retrieval.documents"])
    assert documents == [{"id": "x-0", "score": 0.5}, {"id": "y-0", "score": 0.5}]
