"""The interface of a second tier, which the cache of a process asks on its misses."""

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
    def _cache_factory(self, kind: type[TimedCache], /) -> Callable[..., TimedCache]:
        """Return a factory of caches that work like *kind* and ask this tier on misses."""
