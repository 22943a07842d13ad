"""Text files as bytes: UTF-8, of a bounded size."""

from msgflow.errors import StateFileError

MAX_TOML_BYTES = 8 * 2**20
MAX_JSON_BYTES = 64 * 2**20


def encoded(text: str, most: int) -> bytes:
    """The bytes of a file that can be loaded again. Raises StateFileError where they are more than that may have."""
    data = text.encode()
    if len(data) > most:
        raise StateFileError(f"the state takes {len(data)} bytes; such a file may have {most}")
    return data


def decoded(data: bytes) -> str:
    """The text of a file, line ends and all, without a byte order mark. Raises StateFileError with line and byte."""
    if not data:
        raise StateFileError("the file is empty; even a state without keys is not: this one was cut off")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise StateFileError(f"not UTF-8 at line {line}, byte {column}: {error.reason}") from None
