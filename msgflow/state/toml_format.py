"""A state as TOML that people edit: nested tables for dotted keys, prompts as multi-line strings.

    instructions = \"\"\"
    Translate the text.
    Keep its line breaks.\"\"\"          the key "instructions"

    [steps.0]                         (a table nests)
    examples = [{ q = "2+2", a = 4 }] the key "steps.0.examples", a list of dicts

A table under a `[header]`, or one made by a dotted key, nests: its keys are keys of the state. An inline table
`{ ... }` and an array of tables `[[header]]` are values: a dict, a list of dicts. Dicts are always written inline, so
the two cannot be mixed up. Where "a" and "a.b" are both keys, the longer one is written in quotes: `"a.b" = 1`.
"""

import tomllib
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from msgflow._frozen import freeze
from msgflow.errors import NotJson, StateFileError
from msgflow.state.toml_document import Document, tables_above
from msgflow.state.toml_text import refuse_overlong
from msgflow.state.toml_values import toml_value
from msgflow.state.values import depth, first_difference, same

# tomllib can read more, but how much more depends on how deep the stack of its caller is.
MAX_NESTING = 100


def dumps(state: Mapping[str, Any], old: str = "") -> str:
    """The text of a file that gives back exactly this state, as an edit of the `old` text.

    Comments, the order of keys and whatever did not change stay as they are.
    Raises StateFileError with the key at fault: None, lone surrogates, an int of more than 4300 digits, a value
    nested more than a hundred levels deep; or where the old text is not TOML.
    """
    before = loads(old)
    text = _edited(state, before, old.replace("\r\n", "\n"))
    try:
        different = first_difference(state, loads(text))
    except StateFileError as error:
        raise StateFileError(f"the file cannot be edited as it stands ({error}); save to a new file") from None
    if different is not None:
        raise StateFileError(f"{different!r} cannot be changed in the file as it stands; save to a new file")
    return text.replace("\n", "\r\n") if "\r\n" in old else text


def _edited(state: Mapping[str, Any], before: Mapping[str, Any], old: str) -> str:
    document = Document(old)
    stays = {key for key in before if key in state and (key in document or same(state[key], before[key]))}
    # A new value may need the name of a table: what was in the table is written anew beside it.
    stays -= {key for key in stays if any(name in state and name not in stays for name in tables_above(key))}
    document.remove(key for key in before if key not in stays)
    for key in state:
        if key in stays and not same(state[key], before[key]):
            document.replace(key, _written(key, state[key]))
    document.add({key: _written(key, value) for key, value in state.items() if key not in stays}, names=state)
    return document.text() or "\n"


def _written(key: str, value: Any) -> str:
    """The text of a value. Raises StateFileError with the key."""
    try:
        if depth(value) > MAX_NESTING:
            raise ValueError(f"it is nested more than {MAX_NESTING} levels deep; use a .json file")
        text = toml_value(value)
        f"{key}{text}".encode()
    except (ValueError, RecursionError) as error:
        raise StateFileError(f"{key!r} cannot be written as TOML: {error}") from None
    return text


def loads(text: str) -> dict[str, Any]:
    """The state in the text. Raises StateFileError with line and column, or with the key at fault.

    Line ends are read as newlines, whatever the editor or git made of them; a carriage return of a value is an escape.
    """
    text = text.replace("\r\n", "\n")
    refuse_overlong(text)
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise StateFileError("the TOML is nested too deep") from None
    except ValueError as error:
        raise StateFileError(f"not valid TOML: {error}") from None
    state: dict[str, Any] = {}
    for path in Document(text).paths:
        key = ".".join(path)
        if key in state:
            raise StateFileError(f"the key {key!r} is there twice, once in quotes and once in a table; keep one")
        state[key] = reduce(getitem, path, tree)
        try:
            freeze(state[key], repr(key))
        except NotJson as error:
            raise StateFileError(f"{error}. A date is text when it is in quotes") from None
    return state
