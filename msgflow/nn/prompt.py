"""Prompts: putting values into them, and telling one version from another."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_VARIABLE = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")


def render(text: str, values: Mapping[str, Any] | None) -> str:
    """Replace each `{{ name }}` of a given value by its text, in one pass.

    A value is never itself rendered, so text that users or documents bring cannot inject anything. Braces that are
    no `{{ name }}` of a given value stay as they are.
    """
    if not values or "{{" not in text:
        return text
    return _VARIABLE.sub(lambda match: str(values[match[1]]) if match[1] in values else match[0], text)


@lru_cache(maxsize=1024)
def prompt_version(text: str) -> str:
    """A name for one wording: 12 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
