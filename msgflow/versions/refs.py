"""Names of versions: an id, the beginning of one, or a tag."""

import re
from difflib import get_close_matches

from sqlalchemy import Connection, func, select

from msgflow.errors import AmbiguousVersion, TagNameError, VersionNotFound
from msgflow.versions.tables import commits, moves, states

ID = re.compile("[0-9a-f]{4,16}")
HEX = re.compile("[0-9a-f]+")
MAX_TAG = 100
SHOWN = 8  # candidates that an error lists
NEAR_AMONG = 200  # of the newest versions


def check_tag(name: str) -> None:
    """Raises TagNameError, or TypeError for what is no text."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a tag is text, not {type(name).__name__}")
    reason = _tag_fault(name)
    if reason:
        raise TagNameError(name, reason)


def _tag_fault(name: str) -> str:
    if not name or len(name) > MAX_TAG:
        return f"it has {len(name)} characters, and 1 to {MAX_TAG} are allowed"
    if not name.isprintable() or " " in name:
        return "it holds white space or characters that cannot be seen"
    if len(name) >= 4 and HEX.fullmatch(name.lower()):
        return "it looks like an id, which is made of the digits 0 to 9 and a to f"
    return ""


def resolve(connection: Connection, ref: str) -> str:
    """The id that a ref stands for. Raises VersionNotFound or AmbiguousVersion."""
    if not isinstance(ref, str):
        raise TypeError(f"a version is named by text, an id or a tag, not by {type(ref).__name__}")
    if ID.fullmatch(ref.lower()):
        begins_so = states.c.id.startswith(ref.lower())
        found = connection.scalars(select(states.c.id).where(begins_so).order_by(states.c.id).limit(SHOWN)).all()
        if len(found) > 1:
            raise AmbiguousVersion(ref, found)
        if found:
            return str(found[0])
    elif not _tag_fault(ref):
        stack = tag_stack(connection, ref, limit=1)
        if stack:
            return stack[0][1]
    raise VersionNotFound(ref, _near(connection, ref), _hint(ref))


def tag_stack(connection: Connection, name: str, *, limit: int) -> list[tuple[int, str]]:
    """Row and version of the moves of a tag that are not undone, newest first: where it points, and did before."""
    query = select(moves.c.seq, moves.c.version).where(moves.c.tag == name, moves.c.undone_at.is_(None))
    return [(row.seq, row.version) for row in connection.execute(query.order_by(moves.c.seq.desc()).limit(limit))]


def current_tags(connection: Connection) -> dict[str, str]:
    """Where every tag points, by name."""
    newest = select(func.max(moves.c.seq)).where(moves.c.undone_at.is_(None)).group_by(moves.c.tag)
    rows = connection.execute(select(moves.c.tag, moves.c.version).where(moves.c.seq.in_(newest)))
    return dict(sorted((row.tag, row.version) for row in rows))


def _near(connection: Connection, ref: str) -> list[str]:
    newest = connection.scalars(select(commits.c.version).order_by(commits.c.seq.desc()).limit(NEAR_AMONG))
    # An id is near where its beginning is.
    names = {id_[: max(len(ref), 4)]: id_ for id_ in newest} | {tag: tag for tag in current_tags(connection)}
    return [names[name] for name in get_close_matches(ref[:MAX_TAG].lower(), names, n=3)]


def _hint(ref: str) -> str:
    return "An id is given by at least 4 of its digits." if len(ref) < 4 and HEX.fullmatch(ref.lower()) else ""
