"""`msgflow state`: look at states in files and stores, and change them."""

import argparse
import json
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgflow._printable import printable
from msgflow.cli import editing
from msgflow.cli.places import opened, read
from msgflow.cli.printing import as_json, indented, shown
from msgflow.errors import StateError
from msgflow.versions.difference import difference

if TYPE_CHECKING:
    from msgflow.versions import Store, TagMove, Version

DIFFERENT = 3

PLACES = """\
PLACE is where a state is:
  prompts.toml                        a file: .toml, .json or .safetensors
  prompts                             a folder that holds state.toml
  prompts.db#production               a version in a store: a tag, or at least
  prompts.db#3f2a                     the first four digits of an id
  prompts.db                          the version that was committed last
  'postgresql://user@host/db#3f2a'    the same in a PostgreSQL database, whose
                                      password may be in PGPASSWORD or ~/.pgpass
STORE is a store without a version.
"""
EDITOR = """
The state is opened as TOML in $VISUAL or $EDITOR. What you save is written back
to the file, or committed as a new version to the store. Without a change nothing
is written. What cannot be written stays in the draft, and its path is printed.
An editor that returns at once needs its option to wait: EDITOR='code --wait'.
"""


def add_command(commands: Any) -> None:
    parser = commands.add_parser("state", help="show, compare, edit and release states in files and version stores")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    show = _action(actions, "show", show_state, "print the keys and values of a state")
    show.add_argument("place", metavar="PLACE")
    show.add_argument("keys", metavar="KEY", nargs="*", help="a key, or the beginning of keys: agent for agent.model")
    show.add_argument("--json", action="store_true", help="print a JSON object, for other programs")

    diff = _action(
        actions, "diff", diff_states, "compare two states, texts line by line; status 0: equal, 3: different, 1: error"
    )
    diff.add_argument("a", metavar="PLACE", help="the old state")
    diff.add_argument("b", metavar="PLACE", help="the new state")

    log = _action(actions, "log", print_log, "list the versions of a store, or the moves of a tag, newest first")
    log.add_argument("store", metavar="STORE")
    log.add_argument("--tag", metavar="NAME", help="list where this tag pointed, and who moved it")
    log.add_argument("--limit", metavar="N", type=_count, help="at most so many")

    tag = _action(actions, "tag", tag_version, "let a tag point at a version, or list the tags")
    tag.add_argument("store", metavar="STORE")
    tag.add_argument("name", metavar="NAME", nargs="?", help="the tag, such as production")
    tag.add_argument("ref", metavar="REF", nargs="?", help="an id, the beginning of one, or another tag")
    tag.set_defaults(misused=tag.error)

    rollback = _action(actions, "rollback", roll_back, "let a tag point at what it pointed at before")
    rollback.add_argument("store", metavar="STORE")
    rollback.add_argument("name", metavar="NAME", help="the tag")

    commit = _action(actions, "commit", commit_state, "keep a state as a new version; the store is made on first use")
    commit.add_argument("store", metavar="STORE")
    commit.add_argument("place", metavar="PLACE", help="the state")
    commit.add_argument("-m", "--message", required=True, help="what was changed, and why")
    commit.add_argument("--tag", metavar="NAME", help="let this tag point at the new version")

    edit = _action(actions, "edit", editing.edit, "change a state in your editor", EDITOR)
    edit.add_argument("place", metavar="PLACE")
    edit.add_argument("-m", "--message", default="", help="what was changed, and why (for a store)")
    edit.add_argument("--tag", metavar="NAME", help="let this tag point at the new version (for a store)")
    edit.set_defaults(misused=edit.error)


def _action(actions: Any, name: str, run: Any, does: str, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=PLACES + more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries")
    return int(text)


def show_state(chosen: argparse.Namespace) -> None:
    name, state = read(chosen.place)
    if chosen.keys:
        state = _under(chosen.keys, state, name)
    if chosen.json:
        print(json.dumps(as_json(state), indent=2))
        return
    for key, value in state.items():
        print("\n".join(shown(key, value)))


def _under(names: list[str], state: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What is at or below the names, in the order of the state. Raises StateError for a name that nothing is at."""
    for name in names:
        if not any(_is_under(name, key) for key in state):
            near = ", ".join(get_close_matches(name, state, n=3)) or ", ".join(islice(state, 3)) or "no keys at all"
            raise StateError(f"{place} has no key {name!r}; it has {near}")
    return {key: value for key, value in state.items() if any(_is_under(name, key) for name in names)}


def _is_under(name: str, key: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def diff_states(chosen: argparse.Namespace) -> int:
    (a, before), (b, after) = read(chosen.a), read(chosen.b)
    different = difference(printable(a), before, printable(b), after)
    if not different:
        return 0
    print(different)
    return DIFFERENT


def print_log(chosen: argparse.Namespace) -> None:
    with opened(chosen.store) as store:
        if chosen.tag is None:
            entries = [_version_line(version) for version in store.log(chosen.limit)]
        else:
            entries = _moves(store, chosen.tag)[: chosen.limit]
    for entry in entries:
        print(entry)


def _version_line(version: "Version") -> str:
    tags = f"  [{', '.join(version.tags)}]" if version.tags else ""
    first = printable(f"{version.id}  {_time(version.time)}  {version.author}{tags}")
    return "\n".join([first, *indented(version.message)] if version.message else [first])


def _moves(store: "Store", tag: str) -> list[str]:
    moves = store.tag_log(tag)
    current = next((move for move in moves if move.undone_at is None), None)
    return [_move_line(move, is_current=move is current) for move in moves]


def _move_line(move: "TagMove", *, is_current: bool) -> str:
    line = f"{move.id}  {_time(move.time)}  {move.author}"
    if move.undone_at is not None:
        line += f"  (rolled back {_time(move.undone_at)} by {move.undone_by})"
    return printable(line + "  [now]" * is_current)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def tag_version(chosen: argparse.Namespace) -> None:
    if chosen.name is not None and chosen.ref is None:
        chosen.misused("give REF as well: the version that the tag is to point at")
    with opened(chosen.store) as store:
        tags = store.tags() if chosen.name is None else {chosen.name: store.tag(chosen.name, chosen.ref)}
    for name, id_ in tags.items():
        print(printable(f"{id_}  {name}"))


def roll_back(chosen: argparse.Namespace) -> None:
    with opened(chosen.store) as store:
        print(printable(f"{store.rollback(chosen.name)}  {chosen.name}"))


def commit_state(chosen: argparse.Namespace) -> None:
    _, state = read(chosen.place)
    with opened(chosen.store, new=True) as store:
        if chosen.tag is not None:
            editing.moves_of(store, chosen.tag)  # a name that no tag can have is refused before anything is written
        id_ = store.commit(state, chosen.message)
        print(editing.released(store, id_, chosen.tag))
