"""The tensors of a store: their bytes, each of them once, under their fingerprints.

They are kept in parts, because databases have no room for more than a gigabyte in one place.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from msgflow.errors import VersionDamaged
from msgflow.state.arrays import KINDS, StoredTensor, from_bytes
from msgflow.state.digest import fingerprint_of
from msgflow.versions.documents import TensorRef
from msgflow.versions.tables import tensors

PART_BYTES = 16 * 2**20
ASKED_AT_ONCE = 500  # a statement of SQLite takes so many values, and some more


def keep(connection: Connection, found: Mapping[str, StoredTensor]) -> None:
    """Write the tensors that are not there yet."""
    if not found:
        return
    tensors.create(connection, checkfirst=True)  # a store may be older than its first tensor
    for name in found.keys() - _known(connection, list(found)):
        data = found[name].array.tobytes()
        for part, begin in enumerate(range(0, len(data) or 1, PART_BYTES)):
            piece = data[begin : begin + PART_BYTES]
            connection.execute(insert(tensors).values(fingerprint=name, part=part, data=piece))


def _known(connection: Connection, names: list[str]) -> set[str]:
    """Those of the fingerprints that are there."""
    known = set[str]()
    for begin in range(0, len(names), ASKED_AT_ONCE):
        asked = names[begin : begin + ASKED_AT_ONCE]
        first = select(tensors.c.fingerprint).where(tensors.c.part == 0, tensors.c.fingerprint.in_(asked))
        known.update(connection.scalars(first))
    return known


def with_tensors(connection: Connection, id_: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with its tensors as `mf.load` gives them. Raises VersionDamaged for one that is not what it was."""
    return {
        key: _fetched(connection, id_, key, value) if isinstance(value, TensorRef) else value
        for key, value in state.items()
    }


def _fetched(connection: Connection, id_: str, key: str, ref: TensorRef) -> Any:
    pieces = select(tensors.c.data).where(tensors.c.fingerprint == ref.fingerprint).order_by(tensors.c.part)
    data = bytearray()
    for piece in connection.scalars(pieces):
        data += piece if isinstance(piece, bytes) else b"?"
    if ref.dtype not in KINDS or fingerprint_of(ref.dtype, ref.shape, data) != ref.fingerprint:
        raise VersionDamaged(
            id_, f"is stored with other numbers in its tensor {key!r}, or none; the database was edited by hand"
        )
    return from_bytes(data, KINDS[ref.dtype], ref.shape)
