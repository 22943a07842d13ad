"""Documents, their chunks, and the indexes that find them."""

from msgflow.data.documents import Document, read_folder
from msgflow.data.index import BM25, Hit, Index
from msgflow.data.split import split

__all__ = ["BM25", "Document", "Hit", "Index", "read_folder", "split"]
