"""Which error a server means: by its status, its headers and its own words."""

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from msgflow.errors import BadModelResponse, ModelError, ModelOverloaded, ModelRefused

EXCERPT = 300
LOOKED_AT = 1200
WORTH_ANOTHER_TRY = (408, 409, 429)


def excerpt(value: object) -> str:
    """A value for an error message, shortened to 300 characters; where something is missing it ends in dots."""
    if isinstance(value, bytes | bytearray):
        text = bytes(value[: LOOKED_AT + 1]).decode("utf-8", "replace")
    else:
        text = value if isinstance(value, str) else repr(value)
    shown = " ".join(text[:LOOKED_AT].split())
    return f"{shown[:EXCERPT]}..." if len(text) > LOOKED_AT or len(shown) > EXCERPT else shown


def status_error(status: int, headers: Mapping[str, str], body: bytes, key_variable: str | None = None) -> ModelError:
    """The error for a status other than 2xx. `key_variable` is where the API key came from, if that is known."""
    by_name = {name.lower(): value for name, value in headers.items()}
    said = _said(body)
    if status in WORTH_ANOTHER_TRY or status >= 500:
        return ModelOverloaded(
            f"the server answered {status}: {said}", status=status, retry_after_s=retry_after(by_name)
        )
    if status < 400:
        said = f"it points to {excerpt(by_name.get('location'))}. Redirects are not followed; give the final base_url="
    message = f"the server refused the request with {status}: {said}{_advice(status, key_variable)}"
    return ModelRefused(message, status=status)


def _advice(status: int, key_variable: str | None) -> str:
    if status in (401, 403):
        return f" (Check the API key in {key_variable}.)" if key_variable else " (Check the API key, api_key=.)"
    if status == 404:
        return " (Is the model not found there, or base_url wrong?)"
    return ""


def _said(body: bytes) -> str:
    """The server's own words, out of the envelopes in use."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return excerpt(body) or "(an empty body)"
    return _words(payload) or excerpt(body)


def _words(payload: object) -> str:
    if isinstance(payload, str):
        return excerpt(payload)
    if isinstance(payload, list):
        return _words(payload[0]) if payload else ""
    if isinstance(payload, dict):
        for name in ("error", "message", "detail"):
            if payload.get(name):
                return _words(payload[name])
        return excerpt(payload)
    return excerpt(payload)


def reported_error(payload: Mapping[str, Any]) -> ModelError:
    """The error for an `error` object where an answer was expected: under status 200, or in the middle of a stream."""
    error = payload["error"]
    message = f"the server reported an error in place of an answer: {_words(error)}"
    status = _reported_status(error) if isinstance(error, dict) else None
    if status is None:
        return BadModelResponse(f"{message} Nothing in it says whether another try would help.")
    if status in WORTH_ANOTHER_TRY or status >= 500:
        return ModelOverloaded(message, status=status)
    return ModelRefused(message, status=status)


def _reported_status(error: Mapping[str, Any]) -> int | None:
    for name in ("code", "status"):
        code = error.get(name)
        if isinstance(code, int | str) and str(code).isdecimal() and 400 <= int(code) < 600:
            return int(code)
    kind = f"{error.get('type')} {error.get('code')}".lower()
    if "rate_limit" in kind:
        return 429
    if any(word in kind for word in ("server_error", "overloaded", "unavailable", "timeout")):
        return 503
    return 400 if "invalid_request" in kind else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None
