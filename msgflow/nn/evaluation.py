"""Running a test set: one call for each item, many at once, the outputs in order."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from msgflow._bridge import gather, wait
from msgflow._progress import progress_bar
from msgflow.data.rows import read_rows
from msgflow.nn.functional import TaskError

if TYPE_CHECKING:
    from msgflow.nn.module import Module


def items_of(data: Any) -> list[Any]:
    """The items of a test set, which may be a file of them. Raises TypeError for what is none, and as `read_rows`."""
    if isinstance(data, str | PathLike):
        return list(read_rows(data))
    if isinstance(data, bytes | Mapping) or hasattr(data, "acall") or not isinstance(data, Iterable):
        raise TypeError(
            f"a test set is a list of items or the path of a .jsonl or .csv file, not {data!r:.80} of type "
            f"{type(data).__name__}"
        )
    return list(data)


def outputs(module: "Module", items: list[Any], limit: int | None, title: str | None) -> list[Any]:
    """The output of each item, or a TaskError; a title asks for a bar on the terminal."""
    with nullcontext(bool) if title is None else progress_bar(title, len(items)) as advance:
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(_output, module, index, item, advance) for index, item in enumerate(items)
        ]
        return wait(gather(calls, limit=limit, lone_in_place=False, as_flows=False))


async def _output(module: "Module", index: int, item: Any, advance: Callable[[], object]) -> Any:
    try:
        return await (module.acall(**item) if isinstance(item, dict) else module.acall(item))
    except Exception as error:
        return TaskError(error, index)
    finally:
        advance()
