"""A state as safetensors: the tensors as they are, all other values as JSON text in the metadata.

    safe_open(path, framework="numpy").metadata()["msgflow.state"]     {"instructions": "Be kind.", "settings": {}}

The text is what a .json file would hold. It is one entry and not an entry a key, because the order of entries is
random: a state has the same bytes each time. Metadata of other tools is left alone, and is no state.
"""

import json
from collections.abc import Mapping
from typing import Any

from msgflow.errors import StateFileError
from msgflow.state import json_format
from msgflow.state.arrays import StoredTensor, from_bytes
from msgflow.state.values import State

ENTRY = "msgflow.state"
# What a hostile header can cost grows with it: about 20 bytes of memory a byte.
MAX_HEADER_BYTES = 16 * 2**20
_WIDTHS = ["BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"]


def dumps(state: State) -> bytes:
    """The bytes of a file that gives back exactly this state.

    Raises StateFileError that names the key: what JSON cannot hold, and names that the header cannot hold.
    """
    for key in state.tensors:
        if key == "__metadata__":
            raise StateFileError("a tensor cannot have the key '__metadata__', which safetensors needs for itself")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise StateFileError(f"the tensor's key {key!r} holds a surrogate, which UTF-8 cannot hold") from None
    metadata = {ENTRY: json_format.dumps(state.values)} if state.values else None
    header = _header(state.tensors, metadata)
    size = len(header)
    if size > MAX_HEADER_BYTES:
        longest = max([*state.values, *state.tensors], key=lambda key: len(key) + len(repr(state.values.get(key))))
        raise StateFileError(
            f"the values, names and shapes take {size} bytes, and {longest[:80]!r} the most of them; "
            f"a safetensors file has room for {MAX_HEADER_BYTES}, and a .json file for more"
        )
    in_order = [state.tensors[key].array.data for key in _order(state.tensors)]
    return b"".join([size.to_bytes(8, "little"), header, *in_order])


def _order(tensors: Mapping[str, StoredTensor]) -> list[str]:
    """As the library of safetensors has it: the widest numbers first, so that all of them are aligned."""
    return sorted(tensors, key=lambda key: (-_WIDTHS.index(tensors[key].kind), key))


def _header(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str] | None) -> bytes:
    """Source: https://github.com/huggingface/safetensors, format."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    begin = 0
    for key in _order(tensors):
        tensor = tensors[key]
        end = begin + tensor.array.nbytes
        entries[key] = {"dtype": tensor.kind, "shape": tensor.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def loads(data: bytes) -> dict[str, Any]:
    """The state in a file, of this library or of any other: values, then tensors in the order of their names.

    Raises StateFileError, with the key where it is known.
    """
    from safetensors import SafetensorError, deserialize

    size = _header_size(data)
    if size > min(len(data) - 8, MAX_HEADER_BYTES):
        raise StateFileError(
            f"not a safetensors file: a header of {size} bytes in a file of {len(data)}; "
            f"it may have {MAX_HEADER_BYTES}, and must be whole"
        )
    try:
        views = deserialize(data)  # type: ignore[no-untyped-call] # it is not annotated
        header = json.loads(data[8 : 8 + size].decode(), object_pairs_hook=json_format.without_duplicates)
    except SafetensorError as error:
        raise StateFileError(f"not a safetensors file: {error}") from None
    state = _values(header)
    for key, view in sorted(views, key=lambda named: named[0]):
        if key in state:
            raise StateFileError(f"{key!r} is there twice, as a tensor and as a value")
        try:
            state[key] = from_bytes(view["data"], view["dtype"], view["shape"])
        except (ValueError, OverflowError) as error:
            raise StateFileError(f"the tensor {key!r} cannot be loaded: {error}") from None
    return state


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _values(header: dict[str, Any]) -> dict[str, Any]:
    text = (header.get("__metadata__") or {}).get(ENTRY)
    if text is None:
        return {}
    try:
        return json_format.loads(text)
    except StateFileError as error:
        raise StateFileError(f"the entry {ENTRY!r} of the metadata: {error}") from None
