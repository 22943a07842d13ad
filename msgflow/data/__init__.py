"""Documents, their chunks, the indexes that find them, and rows of a file."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.data.split import split  # a submodule has its name, so it must be there first

if TYPE_CHECKING:
    from msgflow.data.documents import Document, read_folder
    from msgflow.data.index import BM25, Hit, Index
    from msgflow.data.rows import read_rows

__all__ = ["BM25", "Document", "Hit", "Index", "read_folder", "read_rows", "split"]

__getattr__ = _lazily(
    __name__,
    {
        "BM25": "index",
        "Document": "documents",
        "Hit": "index",
        "Index": "index",
        "read_folder": "documents",
        "read_rows": "rows",
    },
)


def __dir__() -> list[str]:
    return __all__
