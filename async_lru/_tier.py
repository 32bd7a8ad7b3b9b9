"""What a second tier is to the decorator: a cache of the process asks it on its misses."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from ._timed import TimedCache


class Tier(ABC):
    """A second tier behind the cache of the process, shared by processes and hosts.

    ``alru_cache`` takes one as its option *tier*; one tier serves many functions. See
    :class:`async_lru.redis.RedisTier`.

    .. versionadded:: 3.0
    """

    @abstractmethod
    def _behind(self, kind: type[TimedCache], /) -> Callable[..., TimedCache]:
        """Return what makes caches that do what *kind* does, and ask this tier first."""
