"""Message: the record that a flow carries.

    message.py      the handle: reading and changing by dotted paths, copies, views, merging
    tree.py         the unchangeable tree that a handle is on
    paths.py        what is at a path in it, and changing that
    merging.py      the changes of several branches, in one tree
    json_text.py    JSON, exactly or not at all

All but message.py are functions of values.
"""

from msgflow._message.message import Message

__all__ = ["Message"]
