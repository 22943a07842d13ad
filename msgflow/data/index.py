"""Indexes: from queries to the documents that answer them best."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgflow.data.documents import Document
from msgflow.errors import DataError

# Scripts that are written without spaces, or that glue particles to words: ideographs, kana, hangul, Thai, Lao,
# Burmese, Khmer.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found. Scores compare within one search only; higher is better."""

    id: str
    text: str
    score: float
    metadata: Mapping[str, Any]


class Index(Protocol):
    """Finds documents by text."""

    def search(self, queries: Sequence[str], top_k: int) -> list[list[Hit]]:
        """For each query, in order, at most `top_k` hits, best first."""
        ...


class BM25:
    """An index by words: no model, no network, and an exact name is found as it is written.

    Words are compared without regard to case and to Unicode's variants of a letter; `snake_case` and `dotted.names`
    are found as a whole and by their parts; text in Chinese, Japanese, Korean, Thai, Lao, Burmese or Khmer by its
    characters and pairs of them. English stop words are left out.

    Raises DataError where there is no document, no word in any of them, or an id comes twice.
    Source: the variant of Lucene, Kamphuis et al. 2020, doi:10.1007/978-3-030-45442-5_4; k1 = 1.5, b = 0.75.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        import bm25s
        from bm25s.stopwords import STOPWORDS_EN

        self._documents = _checked(documents)
        self._stop_words = frozenset(STOPWORDS_EN)
        self._word_ids: dict[str, int] = {}
        word_ids = [
            [self._word_ids.setdefault(word, len(self._word_ids)) for word in self._words(document.text)]
            for document in self._documents
        ]
        if not self._word_ids:
            raise DataError(f"no word to search for in {len(self._documents)} document(s); give documents with text")
        # Not BM25.index(), which writes debug records to whatever log the application has set up.
        self._bm25 = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64", backend="numpy")
        self._bm25.scores = self._bm25.build_index_from_ids(
            list(self._word_ids.values()), word_ids, show_progress=False
        )

    def __repr__(self) -> str:
        return f"BM25({len(self._documents)} documents)"

    def search(self, queries: Sequence[str], top_k: int) -> list[list[Hit]]:
        """For each query, in order, at most `top_k` hits, best first; equal scores in the documents' order.

        A document that shares no word with the query is no hit. Raises ValueError where top_k is no whole number
        of at least 1, and TypeError where queries is no sequence of texts.
        """
        if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
            raise ValueError(f"top_k is a number of hits, at least 1; got {top_k!r}")
        if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
            raise TypeError(f"search takes a list of texts, such as ['how to install']; got {queries!r}")
        return [self._search(query, top_k) for query in queries]

    def _search(self, query: str, top_k: int) -> list[Hit]:
        import numpy as np

        word_ids = [self._word_ids[word] for word in self._words(query) if word in self._word_ids]
        scores = self._bm25.get_scores_from_ids(word_ids)
        found = np.flatnonzero(scores > 0)
        best = found[np.argsort(-scores[found], kind="stable")][:top_k]
        return [self._hit(self._documents[place], float(scores[place])) for place in best]

    def _hit(self, document: Document, score: float) -> Hit:
        return Hit(document.id, document.text, score, document.metadata)

    def _words(self, text: str) -> Iterator[str]:
        return (word for word in words(text) if word not in self._stop_words)


def _checked(documents: Iterable[Document]) -> list[Document]:
    documents = list(documents)
    for document in documents:
        if not isinstance(document, Document):
            raise TypeError(f"an index takes Documents; got {document!r}. Write Document('some id', 'the text')")
    if not documents:
        raise DataError("an index of no documents finds nothing; give at least one Document")
    twice = [id for id, count in Counter(document.id for document in documents).items() if count > 1]
    if twice:
        raise DataError(
            f"{len(twice)} id(s) come twice, such as {twice[0]!r}; a hit could not be told apart. Give each its own"
        )
    return documents


def words(text: str) -> Iterator[str]:
    """The words of a text as they are compared; a compound name first as a whole, then by its parts."""
    for name in unicodedata.normalize("NFKC", text).casefold().translate(_SEPARATORS).split():
        for script, part in _runs(name.strip("._")):
            yield from _pairs(part) if script else _parts(part)


class _Separators(dict[int, str | None]):
    """A table for str.translate, filled as characters come: all but letters, digits and what joins them is a space."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        # Marks are vowels in many scripts. Format characters, such as a soft hyphen, are within a word but not of it.
        kind = unicodedata.category(char)
        self[code] = char if kind[0] in "LMN" or char in "._" else (None if kind == "Cf" else " ")
        return self[code]


_SEPARATORS = _Separators()


def _runs(name: str) -> Iterator[tuple[bool, str]]:
    """The stretches of a name, each with whether its script is one without spaces."""
    at = 0
    for match in _UNSPACED.finditer(name):
        yield False, name[at : match.start()]
        yield True, match[0]
        at = match.end()
    yield False, name[at:]


def _pairs(run: str) -> Iterator[str]:
    yield from run
    yield from (run[at : at + 2] for at in range(len(run) - 1))


def _parts(name: str) -> Iterator[str]:
    """`nn.map_gather`, `nn`, `map_gather`, `map`, `gather`."""
    if "." in name:
        yield name
    for dotted in filter(None, name.split(".")):
        if "_" in dotted:
            yield dotted
        yield from filter(None, dotted.split("_"))
