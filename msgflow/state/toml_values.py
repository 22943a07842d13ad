"""JSON values as TOML text, written to be read: prompts keep their line breaks, long lists get a line an item."""

import re
from collections.abc import Mapping
from typing import Any

WIDTH = 80
BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,1000}")
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
CONTROL = r"\x00-\x08\x0b-\x1f\x7f"
# Inside three quotes, a quote needs an escape only where it would end the string: the third of a run, or the last.
IN_LINE = re.compile(rf'[\\"\n\t{CONTROL}]')
IN_LINES = re.compile(rf'[\\{CONTROL}]|(?<="")"|"\Z')


def toml_value(value: Any, indent: str = "") -> str:
    """The text of a value. Raises ValueError for None, which TOML does not have."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return _inline_table(value, indent)
    if isinstance(value, list):
        return _array(value, indent)
    raise ValueError("TOML has no None; use a .json file, or leave the key out")


def toml_key(name: str) -> str:
    """One part of a key, in quotes where it needs them."""
    return name if BARE_KEY.fullmatch(name) else _in_line(name)


def _string(value: str) -> str:
    if "\n" not in value:
        return _in_line(value)
    # The newline after the opening quotes is not part of the string, and so the text begins on a line of its own.
    return '"""\n' + IN_LINES.sub(_escape, value) + '"""'


def _in_line(value: str) -> str:
    return '"' + IN_LINE.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return ESCAPES.get(character) or f"\\u{ord(character):04x}"


def _inline_table(value: Mapping[str, Any], indent: str) -> str:
    # No newline but one inside a string or a list may stand between the braces (TOML 1.0).
    pairs = [f"{toml_key(name)} = {toml_value(item, indent)}" for name, item in value.items()]
    return "{ " + ", ".join(pairs) + " }" if pairs else "{}"


def _array(value: list[Any], indent: str) -> str:
    deeper = indent + "    "
    items = [toml_value(item, deeper) for item in value]
    line = "[" + ", ".join(items) + "]"
    if len(indent) + len(line) <= WIDTH and "\n" not in line:
        return line
    return "[\n" + "".join(f"{deeper}{item},\n" for item in items) + indent + "]"
