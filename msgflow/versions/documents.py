"""What a store keeps of a state: a document that knows tensors by their content.

{"prompt": "Be kind.", "n": 1}                                        without tensors: the values, as JSON
[["prompt", "Be kind."], ["w", "float32", [2, 3], "9b1e..."]]         with tensors: keys in their order
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgflow.errors import NotJson, VersionDamaged
from msgflow.state.digest import digest_of, fingerprint
from msgflow.state.values import split


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor of a stored state, whose numbers have not been read."""

    dtype: str
    shape: tuple[int, ...]
    fingerprint: str


class Contents:
    """A state that is to be kept: its id, its document, and its tensors by their fingerprints."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Raises NotJson (a TypeError) with the key of a value that is none, and no tensor."""
        values, found = split(state)
        refs = {key: TensorRef(each.dtype, each.shape, fingerprint(each)) for key, each in found.items()}
        self.tensors = {refs[key].fingerprint: each for key, each in found.items()}
        self.state: dict[str, Any] = {key: refs[key] if key in refs else values[key] for key in map(str.__str__, state)}
        self.document = _document(values, self.state if refs else None)
        self.id = id_of(self.state)


def id_of(state: Mapping[str, Any]) -> str:
    """The digest of a state whose tensors are refs."""
    refs = {key: value.fingerprint for key, value in state.items() if isinstance(value, TensorRef)}
    return digest_of({key: value for key, value in state.items() if key not in refs}, refs)


def _document(values: Mapping[str, Any], state: Mapping[str, Any] | None) -> bytes:
    """Raises NotJson with the key of an int that has more digits than Python writes."""
    for key, value in values.items():
        try:
            json.dumps(value)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"{key!r} cannot be written as JSON: {error}") from None
    made = values if state is None else [_entry(key, value) for key, value in state.items()]
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _entry(key: str, value: Any) -> list[Any]:
    return [key, value.dtype, value.shape, value.fingerprint] if isinstance(value, TensorRef) else [key, value]


def parsed(id_: str, document: object) -> dict[str, Any]:
    """The state of a document, its tensors as refs. Raises VersionDamaged for what no commit has written."""
    try:
        read = json.loads(document.decode("utf-8", "surrogatepass")) if isinstance(document, bytes) else None
        state = dict(map(_read_entry, read)) if isinstance(read, list) else read
    except (ValueError, TypeError, OverflowError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise VersionDamaged(id_, "is stored as something that is no state; the database was edited by hand")
    return state


def _read_entry(entry: Any) -> tuple[str, Any]:
    """Raises ValueError or TypeError for what is no entry."""
    key, value, *more = entry
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is no key")
    if not more:
        return key, value
    shape, name = more
    return key, TensorRef(str(value), tuple(map(int, shape)), str(name))


def without_tensors_of(state: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The state without those tensors that another one has as well, under the same keys."""
    return {key: value for key, value in state.items() if not isinstance(value, TensorRef) or other.get(key) != value}
