"""What a second tier is to the decorator: a cache of the process asks it on its misses."""

from abc import ABC, abstractmethod

from ._timed import TimedCache


class Tier(ABC):
    """A second tier behind the cache of the process, shared by processes and hosts.

    ``alru_cache`` takes one as its option *tier*; one tier serves many functions. See
    :class:`async_lru.redis.RedisTier`.

    .. versionadded:: 3.0
    """

    @abstractmethod
    def cache_type(self, kind: type[TimedCache], /) -> type[TimedCache]:
        """Return the type of caches that do what *kind* does, and ask this tier first.

        It is made with what *kind* is made with, and with this tier as *tier*.
        """
