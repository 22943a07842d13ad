"""A TOML file whose keys can be replaced, removed and added while all else stays as it is."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from re import finditer
from typing import TypeAlias

from msgflow.state.toml_text import Line, Path, Section, split_lines

# A table by the prefix of its keys, with its dot: the section it is written in, and the dotted way from there.
Tables: TypeAlias = dict[str, tuple[Section, Path]]

# Tables nest at most so deep; whatever more a key has of dots stays in its last part, in quotes.
MAX_DEPTH = 32


class Document:
    """The sections of a file. Keys are the state's: flat, dotted.

    `paths` are the keys of the text by the tables that they are in, in the order of the text.
    """

    def __init__(self, text: str) -> None:
        self.paths: list[Path] = []
        self._first = section = Section(())
        self._array_paths: set[Path] = set()
        self._arrays: dict[str, list[Section]] = {}
        self._lines: dict[str, tuple[Section, Line]] = {}
        self._removed_tails: dict[str, str] = {}
        for line in split_lines(text):
            if line.is_header():
                section.next = self._section(line)
                section = section.next
            else:
                section.lines.append(line)
                if line.path and section.array is None:
                    self.paths.append(section.path + line.path)
                    self._lines[".".join(section.path + line.path)] = (section, line)

    def __contains__(self, key: str) -> bool:
        """Whether a line of its own sets the key, one that can be replaced."""
        return key in self._lines

    def text(self) -> str:
        parts: list[str] = []
        for section in self._sections():
            if section.new and parts and not parts[-1].endswith("\n\n") and parts[-1] != "\n":
                parts.append("\n")
            lines = [section.header, *section.lines] if section.header else section.lines
            parts += [line.text for line in lines if line.text]
        return "".join(parts)

    def replace(self, key: str, value: str) -> None:
        """Give a key another value; its comment stays."""
        self._lines[key][1].value = value

    def remove(self, keys: Iterable[str]) -> None:
        """Take keys out, and the headers of tables that are left without any. Comments of their own lines stay."""
        touched = {}
        for key in keys:
            for section in self._arrays.pop(key, []):
                section.array = None
                touched[id(section)] = section
                for line in section.lines:
                    if line.path:
                        line.clear()
            if key in self._lines:
                section, line = self._lines.pop(key)
                self._removed_tails[key] = line.tail
                line.clear()
                touched[id(section)] = section
        for section in touched.values():
            if not section.has_keys():
                section.drop_header()

    def add(self, values: Mapping[str, str], *, names: Container[str]) -> None:
        """Write new keys: in the table that they belong to, where there is one, or in a new one behind its relatives.

        `names` are all keys of the state: no table may have the name of one of them.
        """
        for section in self._sections():
            if section.header and any(".".join(path) in values for path in _prefixes(section.path)[1:]):
                section.drop_header()
        tables = self._tables()
        last_under = {path: section for section in self._sections() for path in _prefixes(section.path)}
        for key, value in values.items():
            prefix = _nearest(key, tables)
            section, inside = tables[prefix]
            parents, leaf = _nested(key, prefix, names)
            if parents and not inside:
                path = section.path + parents
                neighbour = next(above for above in reversed(_prefixes(path)) if above in last_under)
                before = last_under[neighbour]
                section, parents = before.follow(path), ()
                last_under |= {above: section for above in _prefixes(path) if last_under.get(above, before) is before}
            path = (*inside, *parents, leaf)
            section.insert(path, value, self._removed_tails.get(key, "\n"))
            tables |= _tables_on(section, path)

    def _section(self, header: Line) -> Section:
        section = Section(header.path, header)
        array = next((path for path in _prefixes(header.path) if path in self._array_paths), None)
        if array is None and header.value.startswith("[["):
            array = header.path
            self._array_paths.add(array)
            self.paths.append(array)
        if array is not None:
            section.array = ".".join(array)
            self._arrays.setdefault(section.array, []).append(section)
        return section

    def _sections(self) -> Iterator[Section]:
        section: Section | None = self._first
        while section is not None:
            yield section
            section = section.next

    def _tables(self) -> Tables:
        tables: Tables = {}
        for section in self._sections():
            if section.array is None and (section.header or section is self._first):
                for path in [("",), *(line.path for line in section.lines)]:
                    tables |= _tables_on(section, path)
        return tables


def _prefixes(path: Path) -> list[Path]:
    return [path[:depth] for depth in range(len(path) + 1)]


def _tables_on(section: Section, path: Path) -> Tables:
    """The tables that a key passes through, from its section on, by the prefix of the keys in them: "a.b."."""
    within = (path[:depth] for depth in range(len(path)))
    return {"".join(f"{part}." for part in section.path + inside): (section, inside) for inside in within}


def tables_above(key: str) -> list[str]:
    """The names of the tables that a key is nested in, the outermost first: "a.b.c" is in "a" and "a.b"."""
    return [key[: dot.start()] for dot in islice(finditer(r"\.", key), MAX_DEPTH)]


def _nearest(key: str, tables: Tables) -> str:
    """The longest prefix of the key that is a table."""
    return next((f"{name}." for name in reversed(tables_above(key)) if f"{name}." in tables), "")


def _nested(key: str, prefix: str, names: Container[str]) -> tuple[Path, str]:
    """The tables to make for a key below `prefix`, and the name it gets in the last one.

    A part that would make a table with the name of a key stays together with the next part: "a.b" next to "a".
    """
    *above, last = key[len(prefix) :].split(".", MAX_DEPTH - prefix.count("."))
    parents: list[str] = []
    reached, name = prefix, ""
    for part in above:
        reached, name = reached + part, name + part
        if reached in names:
            name += "."
        else:
            parents.append(name)
            name = ""
        reached += "."
    return tuple(parents), name + last
