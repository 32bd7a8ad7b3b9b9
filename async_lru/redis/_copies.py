"""Which values of the first tier are copies of what entry of the second, in which version."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple


class Copy(NamedTuple):
    """What the first tier holds, or held, of an entry."""

    key: Hashable
    #: The token of the value.
    version: str


class Copies:
    """The copies of one cache by the hashes of their entries.

    Those that are gone are forgotten when others are added, two looks each, so there are
    at most about twice as many as there are values. Changes under the cache's lock.
    """

    #: Looks at other copies when one is added.
    LOOKS = 2

    def __init__(self, is_there: Callable[[Hashable], bool]) -> None:
        self._is_there = is_there
        self._copies: dict[str, Copy] = {}
        self._hashes: deque[str] = deque()

    def add(self, hash_: str, key: Hashable, version: str) -> None:
        """Take note that the value of *key* is *version* of an entry."""
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
        """Return what there may be of an entry."""
        return self._copies.get(hash_)
