"""Which version of which entry on the server each value of the first tier copies."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple


class Copy(NamedTuple):
    """What the first tier has, or had, of an entry."""

    key: Hashable
    #: The token of the value.
    version: str


class Copies:
    """The copies in one cache, by the hashes of their entries.

    Adding one checks two others and forgets those that are gone, so there are at most
    about twice as many as there are values. Changes are made under the cache's lock.
    """

    #: How many other copies are checked when one is added.
    LOOKS = 2

    def __init__(self, is_there: Callable[[Hashable], bool]) -> None:
        self._is_there = is_there
        self._copies: dict[str, Copy] = {}
        self._hashes: deque[str] = deque()

    def add(self, hash_: str, key: Hashable, version: str) -> None:
        """Record that the value of *key* is *version* of an entry."""
        if hash_ not in self._copies:
            self._hashes.append(hash_)
        self._copies[hash_] = Copy(key, version)
        for _ in range(min(self.LOOKS, len(self._hashes) - 1)):
            oldest = self._hashes.popleft()
            if oldest == hash_ or self._is_there(self._copies[oldest].key):
                self._hashes.append(oldest)
            else:
                del self._copies[oldest]

    def get(self, hash_: str) -> Copy | None:
        """Return the copy of an entry, which may be gone, or None."""
        return self._copies.get(hash_)
