import itertools
import logging
import math
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgflow.data import BM25, Document, Hit, Index
from msgflow.errors import DataError
from tests.in_python import run_script


def index(*texts: str) -> BM25:
    """An index whose ids are the places of the texts."""
    return BM25([Document(str(place), text) for place, text in enumerate(texts)])


def found(query: str, *texts: str, top_k: int = 10) -> list[str]:
    """The ids of the hits."""
    return [hit.id for hit in index(*texts).search([query], top_k)[0]]


def oracle(query: list[str], documents: list[list[str]], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """The formula of Kamphuis et al. 2020, table 1, variant "Lucene (accurate)", document by document."""
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            frequency = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
            tf = Counter(document)[term]
            score += idf * tf / (tf + k1 * (1 - b + b * len(document) / average))
        scores.append(score)
    return scores


WORDS = st.lists(st.sampled_from(["cat", "dog", "fish", "bird"]), max_size=8)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.lists(WORDS, min_size=1, max_size=8).filter(any), st.integers(1, 10))
def test_scores_and_order_are_those_of_the_formula(query, documents, top_k):
    """Within 1e-12: both sum the same few terms in double precision, in the order of the query's words."""
    hits = index(*map(" ".join, documents)).search([" ".join(query)], top_k)[0]
    scores = oracle(query, documents)
    assert len(hits) == min(top_k, sum(score > 0 for score in scores))
    assert [hit.score for hit in hits] == pytest.approx(sorted(scores, reverse=True)[: len(hits)], rel=1e-12)
    for hit in hits:
        assert hit.score == pytest.approx(scores[int(hit.id)], rel=1e-12)
    for better, worse in itertools.pairwise(hits):
        assert (-better.score, int(better.id)) < (-worse.score, int(worse.id))


def test_a_hit_is_the_document_with_a_plain_number():
    hits = BM25([Document("a", "the cat", {"source": "a.md"})]).search(["cat"], 1)
    assert hits == [[Hit("a", "the cat", hits[0][0].score, {"source": "a.md"})]]
    assert type(hits[0][0].score) is float


def test_each_query_is_answered_in_its_place():
    answers = index("cat", "dog").search(["dog", "", "cat"], 3)
    assert [[hit.id for hit in hits] for hits in answers] == [["1"], [], ["0"]]
    assert index("cat").search([], 3) == []


def test_it_is_an_index():
    store: Index = index("cat")
    assert len(store.search(queries=["cat"], top_k=1)) == 1
    assert repr(store) == "BM25(1 documents)"


def test_equal_scores_keep_the_documents_order():
    assert found("cat", *["cat"] * 30) == [str(place) for place in range(10)]


def test_more_hits_than_documents_may_be_asked_for():
    assert found("cat", "cat", "dog", top_k=10**9) == ["0"]


@pytest.mark.parametrize(
    "query", ["", "  ", "the", "to be or not to be? It is!", "unicorn", "?!", "\U0001f680", "\0", "_", "..."]
)
def test_a_query_without_a_known_word_has_no_hits(query):
    assert found(query, "the cat is here", "dog ...") == []


def test_a_document_without_a_word_is_never_found():
    assert found("cat", "", "the", "cat") == ["2"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ÜBERRASCHUNG", "Eine Überraschung!"),
        ("U\u0308berraschung", "\u00dcberraschung"),
        ("straße", "STRASSE"),
        ("Überraschung", "Über\u00adraschung"),
        ("\uff22\uff2d\uff12\uff15", "bm25"),
        ("snake_case", "call snake_case() now"),
        ("snake", "call snake_case() now"),
        ("case", "`snake_case`"),
        ("dotted.names", "see dotted.names."),
        ("names", "see dotted.names"),
        ("map_gather", "F.map_gather(f)"),
        ("init", "__init__.py"),
        ("3.11", "Python 3.11"),
        ("11", "Python 3.11"),
        ("\u6771\u4eac", "\u79c1\u306f\u6771\u4eac\u306b\u4f4f\u3080"),
        ("\u4eac", "\u6771\u4eac"),
        ("tower", "\u6771\u4eactower"),
        ("\ud559\uad50", "\ud559\uad50\uc5d0"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e"),
        ("\u043c\u0438\u0440", "\u041c\u0418\u0420"),
    ],
)
def test_words_are_found_in_all_their_forms(query, text):
    assert found(query, "something else", text) == ["1"]


@pytest.mark.parametrize(
    ("query", "best", "other"),
    [
        ("snake_case", "a snake_case name", "a case of a snake"),
        ("nn.Module", "the nn.Module class", "a module of nn"),
        ("\u6771\u4eac", "\u6771\u4eac\u90fd", "\u4eac\u90fd\u6771"),
    ],
)
def test_a_name_as_a_whole_counts_for_more_than_its_parts(query, best, other):
    assert found(query, other, best) == ["1", "0"]


def test_a_vowel_sign_tells_words_apart():
    assert found("\u0915\u093f", "\u0915\u093e", "\u0915\u093f") == ["1"]


@pytest.mark.parametrize(
    ("documents", "problem"),
    [
        ([], "an index of no documents finds nothing"),
        ([Document("a", ""), Document("b", "the !")], r"no word to search for in 2 document\(s\)"),
        ([Document("a", "x"), Document("b", "y"), Document("a", "z")], r"1 id\(s\) come twice, such as 'a'"),
    ],
)
def test_documents_that_make_no_index_are_refused(documents, problem):
    with pytest.raises(DataError, match=problem):
        BM25(documents)


@pytest.mark.parametrize("documents", [["text"], [("a", "text")], "text"])
def test_what_is_no_document_is_refused(documents):
    with pytest.raises(TypeError, match=r"an index takes Documents; got .*Write Document\("):
        BM25(documents)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "3", None, True])
def test_a_wrong_top_k_is_refused(top_k):
    with pytest.raises(ValueError, match="top_k is a number of hits, at least 1; got"):
        index("cat").search(["cat"], top_k)


@pytest.mark.parametrize("queries", ["cat", [None], [b"cat"]])
def test_queries_that_are_no_list_of_texts_are_refused(queries):
    with pytest.raises(TypeError, match=r"search takes a list of texts, such as \['how to install'\]; got"):
        index("cat").search(queries, 1)


def test_nothing_is_printed_or_logged(capfd, caplog):
    caplog.set_level(logging.DEBUG)
    assert found("cat", "cat", "") == ["0"]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("unit", ["a", "a.", "a_", "._", ". ", "\u6771", "a\u0308", "\ufdfa"])
def test_hostile_text_takes_linear_time(unit):
    started = time.perf_counter()
    index(unit * 100_000, "cat").search(["cat", unit * 10_000], 1)
    assert time.perf_counter() - started < 20


def test_importing_the_room_loads_no_heavy_library():
    script = "import sys, msgflow.data; print(*sys.modules.keys() & {'numpy', 'bm25s', 'markdown_it', 'pydantic'})"
    assert run_script(script) == ""
