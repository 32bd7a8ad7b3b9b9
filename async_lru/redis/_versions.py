"""Which version of an entry on the server each value of the first tier is."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple


class EntryVersion(NamedTuple):
    """The version of an entry that the first tier has, or had."""

    key: Hashable
    #: The token of the value.
    version: str


class EntryVersions:
    """The versions in one cache, by the hashes of their entries.

    Adding one checks two others and forgets those that are gone, so there are at most
    about twice as many as there are values. Changes are made under the cache's lock.
    """

    #: How many other versions are checked when one is added.
    SWEEP_STEPS = 2

    def __init__(self, is_there: Callable[[Hashable], bool]) -> None:
        self._is_there = is_there
        self._versions: dict[str, EntryVersion] = {}
        self._hashes: deque[str] = deque()

    def add(self, hash_: str, key: Hashable, version: str) -> None:
        """Record that the value of *key* is *version* of an entry."""
        if hash_ not in self._versions:
            self._hashes.append(hash_)
        self._versions[hash_] = EntryVersion(key, version)
        for _ in range(min(self.SWEEP_STEPS, len(self._hashes) - 1)):
            try:
                oldest = self._hashes.popleft()
            except IndexError:  # pragma: no cover  # a signal handler has cleared it
                break
            known = self._versions.get(oldest)
            if known is not None and (oldest == hash_ or self._is_there(known.key)):
                self._hashes.append(oldest)
            else:
                self._versions.pop(oldest, None)

    def clear(self) -> None:
        """Forget all."""
        self._versions.clear()
        self._hashes.clear()

    def get(self, hash_: str) -> EntryVersion | None:
        """Return the version of an entry, whose value may be gone, or None."""
        return self._versions.get(hash_)
