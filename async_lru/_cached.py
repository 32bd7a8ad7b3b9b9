"""The cache methods that decorated functions and their bound methods share."""

from collections.abc import Callable, Iterable
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._introspection import info_of, memory_of, parameters_of, stats_of
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._warming import WarmCall, warm

if TYPE_CHECKING:
    from ._cache import Cache

_R = TypeVar("_R")


class Cached(Generic[_R]):
    """A callable with a cache."""

    __slots__ = ()

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str

        @property
        def _cache(self) -> Cache: ...
        async def __call__(self, /, *args: Any, **kwargs: Any) -> _R: ...

    else:
        # Any number of type parameters: 2.4's classes had others than ours.
        __class_getitem__ = classmethod(GenericAlias)

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and the number of keys.

        Needs no running event loop and can be called from any thread. On a bound
        method, methods that do not take the function's arguments act on the cache that
        all instances share, or with ``per_instance=True`` on that of the instance.
        """
        return info_of(self._cache)

    def cache_parameters(self) -> CacheParameters:
        """Return maxsize, typed, tasks (the number of runs in flight) and closed."""
        return parameters_of(self._cache)

    def cache_stats(self) -> CacheStats:
        """Return all counters; ``str()`` of them is a short report.

        Can be called from any thread.
        """
        return stats_of(self._cache)

    def cache_memory(self) -> int | None:
        """Return the estimated number of bytes that keys and values take, or None.

        Each object counts once. Memory that objects implemented in C allocate may be
        missing. Returns None where Python cannot tell, as on PyPy. Takes time in
        proportion to the contents.
        """
        return memory_of(self._cache)

    async def cache_warm(
        self,
        calls: Iterable[WarmCall],
        *,
        concurrency: int = 10,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[_R | BaseException]:
        """Make many calls, at most *concurrency* of them at a time.

        Each of *calls* is a tuple of arguments, a mapping of keyword arguments, or a
        pair of both: ``(1, 2)``, ``{"x": 1}``, ``((1,), {"y": 2})``.

        Returns a list of the results in the order of *calls*. If a call fails, its
        exception is in the list, and the other calls continue. After each call,
        *progress* is called with the number of finished calls and the total. If it
        raises an exception, warming stops and the exception is raised here.

        Cancelling this cancels the calls that it waits for. Raises TypeError for
        anything else in *calls*, before any call is made, and RuntimeError after
        ``cache_close()``.
        """
        self._cache.enter_loop()
        return await warm(self, calls, concurrency, progress)

    def cache_clear(self) -> None:
        """Invalidate every key and reset the counters.

        The cache stays bound to its event loop. Can be called from any thread. Takes
        time in proportion to the number of values.
        """
        self._cache.clear()

    async def cache_settled(self) -> None:
        """Return when the second tier has acknowledged what was done here so far.

        That is every ``cache_put``, ``cache_invalidate`` and ``cache_clear`` of this
        function in this process, from any thread. After it, no process that is in
        contact with the server serves an older value once it has read what the server
        has sent it. Without a ``tier`` it returns at once.

        While the server does not answer this waits: put it into ``asyncio.timeout()``.
        Cancelling it changes nothing else. May be called from any event loop.

        .. versionadded:: 3.0
        """
        await self._cache.settled()

    def cache_open(self) -> None:
        """Let a closed cache take calls again, empty. Does nothing to an open cache.

        For applications that start and shut down more than once in a process, as in
        tests. The next call may come from any event loop. Can be called from any thread.

        .. versionadded:: 3.0
        """
        self._cache.open()
