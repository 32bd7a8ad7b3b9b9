"""The names of async-lru 2.4 for what ``alru_cache`` returns.

2.4 has no public names, so programs import these private ones: for annotations,
``isinstance``, pydantic's ``ignored_types`` and patches. Here they are base classes, generic
in the result alone. They define 2.4's methods, so that patching these takes effect.
"""

import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from ._cached import Cached
from ._stats import CacheInfo, CacheParameters

_R = TypeVar("_R")


class _LRUCacheWrapper(Cached[_R]):  # pyright: ignore[reportUnusedClass]
    """A decorated function with any parameters. See :class:`AlruCacheWrapper`."""

    __slots__ = ()

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Return whether a call with these arguments would be a hit.

        Does not count as a hit and does not affect eviction order. Can be called from
        any thread. Raises TypeError if an argument is not hashable, or if the function
        does not accept these arguments.
        """
        cache = self._cache
        return cache.keys.asked(cache.contains, args, kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the value for these arguments.

        Returns whether a call would have been a hit. Calls that wait for a run in
        flight still get its result, but the result is not stored, and the next call
        starts a new run. A background run that no call waits for is cancelled.

        Can be called from any thread. Raises TypeError if an argument is not hashable,
        or if nothing is found and the function does not accept these arguments.
        """
        cache = self._cache
        try:  # as Keys.asked does
            found = cache.invalidate(cache.make_key(args, kwargs))
        except TypeError:
            cache.keys.blame(args, kwargs)
            raise
        if not found:
            cache.keys.arguments.check(args, kwargs)
        return found

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the cache at application shutdown.

        Later calls raise RuntimeError. Cancels the runs in flight, whose callers get
        CancelledError. With ``wait=True``, lets the runs finish. Returns when no run is
        in flight any more. ``cache_info`` and ``cache_contains`` still show the values.
        Closing twice is safe. With the default *wait*, it cancels the runs that an
        earlier ``wait=True`` still waits for.

        If this is cancelled, the cache stays closed and the runs end on their own.
        Called from inside a run, it does not wait for that run. It waits for runs in
        another event loop while that loop is running, and forgets them if it is closed.
        """
        await self._cache.close(wait=wait)


class _LRUCacheWrapperInstanceMethod(  # pyright: ignore[reportUnusedClass]
    Cached[_R]
):
    """A cached method of an instance. See :class:`AlruCacheBoundMethod`.

    As in 2.4, its methods call those of the function, which may be patched.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def __func__(self) -> Any: ...
        @property
        def __self__(self) -> Any: ...
        @property
        def _holder(self) -> _LRUCacheWrapper[_R]: ...

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and the number of keys."""
        return self._holder.cache_info()

    def cache_parameters(self) -> CacheParameters:
        """Return maxsize, typed, tasks (the number of runs in flight) and closed."""
        return self._holder.cache_parameters()

    def cache_clear(self) -> None:
        """Clear the cache, for all instances that share it."""
        self._holder.cache_clear()

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Return whether a call with these arguments would be a hit."""
        contains: bool = self.__func__.cache_contains(self.__self__, *args, **kwargs)
        return contains

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the instance's value for these arguments; return whether there was one."""
        dropped: bool = self.__func__.cache_invalidate(self.__self__, *args, **kwargs)
        return dropped

    async def cache_close(
        self,
        *,
        wait: bool = False,
        cancel: bool | None = None,
        return_exceptions: bool | None = None,
    ) -> None:
        """Close the cache, for all instances that share it.

        *cancel* and *return_exceptions* are deprecated and have no effect, as in 2.4.
        """
        if cancel is not None or return_exceptions is not None:
            warnings.warn(
                "cancel/return_exceptions are deprecated and have no effect: leave them "
                "out, and pass wait=True to let runs in flight finish",
                DeprecationWarning,
                stacklevel=2,
            )
        await self._holder.cache_close(wait=wait)


class CacheOfInstance(_LRUCacheWrapper[Any]):
    """The cache of one instance, with the methods of a decorated function."""

    __slots__ = ("_cache",)

    # Any, since checkers see a property.
    _cache: Any

    def __init__(self, cache: Any) -> None:
        self._cache = cache
