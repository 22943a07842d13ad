"""What pydantic found wrong with a model's JSON, in words that the model can act on."""

import json
from typing import Any

MAX_FAULTS = 10
MAX_SHOWN = 200


def faults_of(error: Any) -> list[str]:
    """A line for each thing wrong, of a pydantic ValidationError."""
    details = error.errors(include_url=False, include_context=False)
    lines = [_fault(detail) for detail in details[:MAX_FAULTS]]
    return lines + [f"and {len(details) - MAX_FAULTS} more"] * (len(details) > MAX_FAULTS)


def _fault(detail: Any) -> str:
    place = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"{place}: missing"
    if detail["type"] == "extra_forbidden":
        return f"{place}: unexpected, there is no such argument"
    if detail["type"] == "json_invalid":
        return str(detail["msg"])
    fault = f"{detail['msg']}, not {shortened(_json(detail['input']))}"
    return f"{place}: {fault}" if place else fault


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text.encode(errors="backslashreplace").decode()


def shortened(text: str, limit: int = MAX_SHOWN) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"
