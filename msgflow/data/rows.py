"""Rows of a file, one at a time: JSON lines, or CSV with a header."""

import csv
import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn

from msgflow.errors import DataError

LONGEST_LINE = 64 * 2**20  # bytes


def read_rows(path: str | PathLike[str]) -> Iterator[Any]:
    """The rows of a UTF-8 file, in order: of a .jsonl or .ndjson file the JSON value of each line that is not empty, of
    a .csv file a dict of texts by the names in its first row.

    The file is read while the rows are taken. Raises DataError, naming the file, the line and the reason, for what
    cannot be read exactly: a JSON object that has a key twice, a CSV row with more or fewer fields than the header.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(
            f"{file} is no file of rows: its suffix is {file.suffix or 'missing'}, and known are "
            f"{', '.join(_READERS)}. Give the path of such a file, or the items themselves in a list"
        )
    if file.exists() and not file.is_file():
        raise DataError(f"{file} is no regular file; give the path of a file")  # opening a pipe would wait for ever
    return reader(file)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1, and its end."""
    try:
        with path.open("rb") as file:
            yield from _decoded(path, file)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); give a file that exists and may be read. "
            f"Relative paths begin at {Path.cwd()}"
        ) from error


def _decoded(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            _refuse(path, number, f"the line is longer than {LONGEST_LINE // 2**20} MiB")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            _refuse(path, number, f"no UTF-8 text (byte {error.start} of the line); convert the file to UTF-8")
        if "\0" in text:
            _refuse(path, number, "a NUL character, so this is no text; convert the file to UTF-8")
        yield number, text


def _refuse(path: Path, line: int, reason: str) -> NoReturn:
    raise DataError(f"{path}, line {line}: {reason}") from None


# --- JSON lines ------------------------------------------------------------------------------------------------------


def _json_rows(path: Path) -> Iterator[Any]:
    for number, line in _lines(path):
        if line.strip():
            yield _parsed(path, number, line)


def _parsed(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_object)
    except RecursionError:
        _refuse(path, number, "nested too deep")
    except ValueError as error:
        _refuse(path, number, f'no JSON value ({error}); each line is one, such as {{"question": "..."}}')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"the key {_twice([key for key, _ in pairs])!r} is there twice")
    return value


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    names: list[str] | None = None
    for number, fields in _records(path):
        if names is None:
            names = _header(path, number, fields)
        elif len(fields) != len(names):
            _refuse(path, number, f"{len(fields)} fields for the {len(names)} columns {', '.join(names)}")
        else:
            yield dict(zip(names, fields, strict=True))
    if names is None:
        raise DataError(f"{path} is empty; its first row names the columns")


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line: a field in quotes may have several."""
    lines = (line for _, line in _lines(path))
    reader = csv.reader(lines, strict=True)
    first = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            hint = "; write it as JSON lines" if "limit" in str(error) else ""
            _refuse(path, first, f"no CSV ({error}){hint}")
        if fields is None:
            return
        if fields:
            yield first, fields
        first = reader.line_num + 1


def _header(path: Path, number: int, names: list[str]) -> list[str]:
    if "" in names:
        _refuse(path, number, f"column {names.index('') + 1} has no name; the first row names the columns")
    if len(set(names)) < len(names):
        _refuse(path, number, f"two columns are named {_twice(names)!r}")
    if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
        _refuse(path, number, f"the columns are separated by {other!r}; separate them by ','")
    return names


def _twice(names: Sequence[str]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])


_READERS = {".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows}
