"""The names of async-lru 2.4 for what ``alru_cache`` returns.

2.4 has no public ones, so programs import these, for annotations, ``isinstance``, pydantic's
``ignored_types`` and patches. Here they are base classes, generic in the result alone, whose
methods are those of 2.4, so that a patched one is the one that is called.
"""

import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from ._cached import Cached
from ._stats import CacheInfo, CacheParameters

_R = TypeVar("_R")


class _LRUCacheWrapper(Cached[_R]):  # pyright: ignore[reportUnusedClass]
    """A decorated function, of whatever parameters. See :class:`AlruCacheWrapper`."""

    __slots__ = ()

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Tell whether a call with these arguments would be a hit.

        Does not count as a hit and does not affect the order of eviction. May be
        called from any thread. Raises TypeError if an argument is not hashable, or
        if the function does not take these arguments.
        """
        cache = self._cache
        return cache.keys.asked(cache.contains, args, kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the value of these arguments; tell whether a call would have been a hit.

        Calls that wait for a run in flight still get its result, but it is not
        stored, and the next call starts a new run. A run in the background that
        nobody waits for is cancelled. May be called from any thread. Raises
        TypeError if an argument is not hashable, or if nothing is found and the
        function does not take these arguments.
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
        """Refuse later calls and return when no run is in flight any more.

        Cancels the runs in flight unless *wait* is true; their callers get the
        CancelledError, or with *wait* the result. Calls that come later raise
        RuntimeError. Values stay, for ``cache_info`` and ``cache_contains`` to tell
        of. Closing again does no harm: with the default *wait* it cancels what an
        earlier ``wait=True`` still waits for.

        When this is cancelled the cache stays closed, and the runs go on to their
        ends. Called from inside a run, it does not wait for that run. Runs of
        another loop are waited for while that loop is running, and forgotten if it
        is closed.
        """
        await self._cache.close(wait=wait)


class _LRUCacheWrapperInstanceMethod(  # pyright: ignore[reportUnusedClass]
    Cached[_R]
):
    """A cached method of an instance. See :class:`AlruCacheBoundMethod`.

    As in 2.4 its methods call those of the function, which may be patched.
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
        """Return maxsize, typed, tasks (the runs in flight) and closed."""
        return self._holder.cache_parameters()

    def cache_clear(self) -> None:
        """Clear the cache, for all instances that share it."""
        self._holder.cache_clear()

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Tell whether a call with these arguments would be a hit."""
        contains: bool = self.__func__.cache_contains(self.__self__, *args, **kwargs)
        return contains

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the instance's value of these arguments; tell whether there was one."""
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
    """The cache that an instance has of its own, with the methods of a function's."""

    __slots__ = ("_cache",)

    # Any for checkers, to whom it is a property.
    _cache: Any

    def __init__(self, cache: Any) -> None:
        self._cache = cache
