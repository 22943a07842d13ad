"""A module that goes wherever a tag goes."""

from collections.abc import Callable, Mapping
from typing import Any

from msgflow._bridge import in_thread
from msgflow.errors import VersionDamaged
from msgflow.nn.module import Module
from msgflow.versions.applying import Applying


class Follower(Applying):
    """Loads what a tag points at: now, and whenever it has moved. Raises what the first state raises.

    `resolve` gives the id that the tag points at, `checkout` the state of an id; both may block.
    """

    def __init__(
        self,
        module: Module,
        tag: str,
        resolve: Callable[[str], str],
        checkout: Callable[[str], Mapping[str, Any]],
        *,
        poll_s: float,
    ) -> None:
        super().__init__(module, f"tag {tag!r}", poll_s)
        self._tag, self._resolve, self._checkout = tag, resolve, checkout
        self._seen = resolve(tag)
        state = checkout(self._seen)
        try:
            self._load(self._seen, state)
        except Exception as error:
            self._record(self._seen, error)
            raise
        self._start()

    async def _look(self) -> None:
        id_ = await in_thread(self._resolve, self._tag)
        if id_ == self._seen:
            return
        try:
            state = await in_thread(self._checkout, id_)
        except VersionDamaged as error:
            self._seen = id_
            self._refuse(id_, error)
            return
        self._seen = id_
        try:
            self._load(id_, state)
        except Exception as error:
            self._refuse(id_, error)
