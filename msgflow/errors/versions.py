"""Errors about the version store."""

from collections.abc import Sequence

from msgflow.errors.root import MsgflowError


class VersionError(MsgflowError):
    """Something about the version store."""


class VersionNotFound(VersionError, LookupError):
    """A ref that is no id, no beginning of one and no tag."""

    def __init__(self, ref: str, near: Sequence[str], hint: str = "") -> None:
        self.ref, self.near = ref, list(near)
        meant = f"; near it: {', '.join(self.near)}" if near else ""
        super().__init__(
            f"there is no version or tag {ref!r:.120}{meant}. {hint or 'log() lists the versions, tags() the tags.'}"
        )


class AmbiguousVersion(VersionError, LookupError):
    """The beginning of an id that several versions share."""

    def __init__(self, ref: str, candidates: Sequence[str]) -> None:
        self.ref, self.candidates = ref, list(candidates)
        super().__init__(f"{ref!r} begins several ids: {', '.join(self.candidates)}. Give more digits.")


class NothingToRollBack(VersionError, LookupError):
    """A tag that pointed at nothing before."""

    def __init__(self, tag: str, version: str) -> None:
        self.tag = tag
        super().__init__(
            f"the tag {tag!r} points at {version} and at nothing before it, so it stays there; "
            f"tag({tag!r}, id) moves it, tag_log({tag!r}) shows where it was"
        )


class TagNameError(VersionError, ValueError):
    """A name that no tag can have."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"a tag cannot be named {name!r:.120}: {reason}. Take a name such as 'production'.")


class VersionDamaged(VersionError, ValueError):
    """What is stored under an id is another state than the one that has this id."""

    def __init__(self, version: str, reason: str) -> None:
        self.id = version
        super().__init__(f"the version {version} {reason}")


class VersionStoreError(VersionError, OSError):
    """A database that is no version store, is out of reach, or was locked for too long."""
