"""Two versions at once: a share of the calls on each, chosen by a key, or a second run of some in the shadow."""

import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from math import isfinite
from typing import Any, Self, TypeAlias

from msgflow._bridge import launch
from msgflow._version_clock import one_version
from msgflow.errors import VersionError
from msgflow.nn.calling import Overlay
from msgflow.nn.module import Module
from msgflow.nn.state_dict import prepared
from msgflow.state.digest import digest
from msgflow.trace import Recording, names, tracer
from msgflow.versions.store import Store

State: TypeAlias = Mapping[str, Any]
ROUNDING = 1e-9  # of a sum of shares
SHADOW_LIMIT = 100  # calls in the shadow at a time
log = logging.getLogger("msgflow.versions")


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Versions side by side on the line from 0 to 1, each as long as its share."""

    ends: tuple[float, ...]
    overlays: tuple[Overlay, ...]

    def at(self, point: float) -> Overlay | None:
        place = bisect_right(self.ends, point)
        return self.overlays[place] if place < len(self.overlays) else None


class Split:
    """A split that is on until `enabled = False`, `stop()`, or the end of its `with` block.

    `shares` and `shadow` can be assigned: the new ones are checked first, and hold for the calls that begin after it.
    `skipped` counts the calls that were not run in the shadow because SHADOW_LIMIT of them were running.
    """

    def __init__(
        self,
        module: Module,
        shares: Mapping[str, float],
        key: Callable[..., object],
        source: Store | Mapping[str, State],
        shadow: Mapping[str, float],
    ) -> None:
        self.enabled, self.skipped = True, 0
        self._running: set[object] = set()
        self._module, self._key, self._source = module, key, source
        self.shares, self.shadow = shares, shadow
        if module._choose_overlay is not None:
            raise VersionError(f"this {type(module).__name__} is split already; stop() that one first")
        module.__dict__["_choose_overlay"] = self._choose

    @property
    def shares(self) -> dict[str, float]:
        """The share of calls of each version, 0 to 1; what is left of 1 runs on the module's own values."""
        return dict(self._shares)

    @shares.setter
    def shares(self, shares: Mapping[str, float]) -> None:
        self._ranges, self._shares = self._prepared(shares), dict(shares)

    @property
    def shadow(self) -> dict[str, float]:
        """The share of calls that run on each of these versions as well, for their spans alone."""
        return dict(self._shadow)

    @shadow.setter
    def shadow(self, shadow: Mapping[str, float]) -> None:
        self._shadow_ranges = tuple(self._prepared({name: share}) for name, share in shadow.items())
        self._shadow = dict(shadow)

    def stop(self) -> None:
        """Take the split off the module, so that it may be split again."""
        self.enabled = False
        if self._module.__dict__.get("_choose_overlay") == self._choose:
            del self._module.__dict__["_choose_overlay"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepared(self, shares: Mapping[str, float]) -> _Ranges:
        for name, share in shares.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not (isfinite(share) and share >= 0):
                raise ValueError(f"the share of {name!r} is {share!r}; a share is a number from 0 to 1")
        ends = list(accumulate(shares.values()))
        if ends and ends[-1] > 1 + ROUNDING:
            raise ValueError(f"the shares add up to {ends[-1]:g}; they may be at most 1 together")
        if ends and ends[-1] > 1 - ROUNDING:
            ends[-1] = 1.0
        return _Ranges(tuple(ends), tuple(self._overlay(name) for name in shares))

    def _overlay(self, name: str) -> Overlay:
        state = self._source.checkout(name) if isinstance(self._source, Store) else self._source[name]
        values = prepared(self._module, state)
        return Overlay(values, {names.VERSION_NAME: name, names.STATE_DIGEST: digest(state)})

    def _choose(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Overlay | None:
        if not self.enabled:
            return None
        key = self._key(*args, **kwargs)
        if key is None:
            return None
        for number, ranges in enumerate(self._shadow_ranges):
            unseen = ranges.at(_point(f"shadow {number} {key}"))
            if unseen is not None:
                self._run_in_the_shadow(unseen, key, args, kwargs)
        chosen = self._ranges.at(_point(str(key)))
        return chosen and _with_key(chosen, key)

    def _run_in_the_shadow(self, overlay: Overlay, key: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(self._running) >= SHADOW_LIMIT:
            self.skipped += 1
            return
        overlay = _with_key(overlay, key)
        self._running.add(overlay)
        launch(self._shadowed(overlay, args, kwargs))

    async def _shadowed(self, overlay: Overlay, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            with one_version(overlay.values):
                active = tracer()
                if active is None:
                    await self._module.acall(*args, **kwargs)
                else:
                    name = f"shadow {overlay.attributes[names.VERSION_NAME]}"
                    with Recording(active, name, {**overlay.attributes, names.SHADOW: True}):
                        await self._module.acall(*args, **kwargs)
        except Exception:
            log.warning("a call in the shadow on %s failed", overlay.attributes[names.VERSION_NAME], exc_info=True)
        finally:
            self._running.discard(overlay)


def split(
    module: Module,
    shares: Mapping[str, float],
    *,
    key: Callable[..., object],
    source: Store | Mapping[str, State],
    shadow: Mapping[str, float] | None = None,
) -> Split:
    """Run a share of a module's root calls on other versions: {"v12": 0.9, "v13": 0.1}.

    `key(*args, **kwargs)` gives what a call is chosen by, such as a user's id: equal keys always get the same version.
    Where it is None, and for what the shares leave of 1, a call runs on the module's own values. The versions' states
    come from `source`: a Store, whose names and tags they are, or a mapping of states. Calls may also run on the
    versions in `shadow`, in the background and for their spans alone: their tools run twice, too.

    Each chosen call's span says the version (`msgflow.version.name`), its digest and the key (`msgflow.split.key`).
    Raises StateDictError for a version that does not fit the module, VersionNotFound or KeyError for an unknown one,
    ValueError for shares that are none.
    """
    return Split(module, shares, key, source, shadow or {})


def _with_key(overlay: Overlay, key: object) -> Overlay:
    return Overlay(overlay.values, {**overlay.attributes, names.SPLIT_KEY: str(key)})


def _point(key: str) -> float:
    """Where a key falls on the line from 0 to 1: the same in any process."""
    return int.from_bytes(sha256(key.encode("utf-8", "surrogatepass")).digest()[:7], "big") / 2**56
