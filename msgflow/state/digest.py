"""A short name for the content of a state: equal states have the same one, in any process."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGITS = 16


def digest(state: Mapping[str, Any]) -> str:
    """The first 16 hex digits (64 bits) of the SHA-256 of the state as JSON with sorted keys.

    1 and 1.0 differ, 0.0 and -0.0 differ; the order of keys does not matter. The value of every key is one that JSON
    can write, NaN and infinities included.
    """
    text = json.dumps(dict(state), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
