"""Methods with a cache per instance."""

# wrappers know each other
# pyright: reportPrivateUsage=false

import asyncio
import sys
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from ._cache import Cache
from ._compat import CacheOfInstance
from ._introspection import memory_of, parameters_of, stats_of
from ._keys import MakeKey
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._values import MISSING
from ._wrapper import AlruCacheWrapper, check_predicate

if TYPE_CHECKING:
    from typing_extensions import Self


class PerInstance(AlruCacheWrapper[..., Any]):
    """A cached method with a cache per instance, which is freed with the instance.

    All instances share the code of a call. Keys do not include the instance.
    """

    __slots__ = (
        "_caches",
        "_first",
        "_gone",
        "_is_adding",
        "_make_cache",
        "_make_key",
        "_totals_of_gone",
    )

    #: The parameter for the instance.
    _first: Parameter
    _make_cache: Callable[[], Cache]
    _make_key: MakeKey
    #: By the id of the instance, with a weak reference whose callback removes the cache.
    _caches: dict[int, tuple["weakref.ref[Any]", Cache]]
    #: The total counters of instances that were freed.
    _totals_of_gone: CacheStats
    #: The counters of freed instances that are not part of the total yet.
    _gone: deque[CacheStats]
    _is_adding: bool

    def __new__(cls, make_cache: Callable[[], Cache], first: Parameter) -> "Self":
        template = make_cache()
        make_key = template.make_key
        caches: dict[int, Any] = {}

        async def call(instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> Any:
            if instance is MISSING:
                instance, args = self._split((), kwargs)
            known = caches.get(id(instance))
            if known is not None and known[0]() is instance:
                cache = known[1]
            else:
                cache = self._add(instance)
            try:
                key = make_key(args, kwargs)
                value = cache.hit(key)
            except TypeError:
                cache.keys.blame(args, kwargs)
                raise
            if value is not MISSING:
                return value
            return await cache.answer(key, (instance, *args), kwargs)

        self = super().__new__(cls, template, call, call)
        self._first = first
        self._make_cache = make_cache
        self._make_key = make_key
        self._caches = caches
        self._totals_of_gone = stats_of(template)
        self._gone = deque()
        self._is_adding = False
        return self

    def _holder_of(self, instance: Any) -> CacheOfInstance:
        return CacheOfInstance(self._cache_of(instance))

    def _cache_of(self, instance: Any) -> Cache:
        known = self._caches.get(id(instance))
        if known is not None and known[0]() is instance:
            return known[1]
        return self._add(instance)

    def _add(self, instance: Any) -> Cache:
        """Create the cache of an instance."""
        key = id(instance)
        try:
            reference = weakref.ref(instance, lambda each: self._forget(key, each))
        except TypeError:
            raise TypeError(
                f"{self._cache.name} has per_instance=True, but a {type(instance).__qualname__} "
                'cannot be weakly referenced: add "__weakref__" to the __slots__ of the '
                "class, or leave per_instance out"
            ) from None
        new = reference, self._make_cache()
        known = self._caches.setdefault(key, new)
        while known[0]() is not instance:
            # That one was freed, but no stack was left, or a signal handler raised an
            # exception, when it was to be forgotten.
            self._forget(key, known[0])
            known = self._caches.setdefault(key, new)
        cache = known[1]
        if self._cache.closed:
            cache.shut()
        return cache

    def _forget(
        self,
        key: int,
        reference: "weakref.ref[Any]",
        is_finalizing: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        """Drop the cache of a freed instance, and keep its counters."""
        known = self._caches.get(key)
        if known is None or known[0] is not reference:  # pragma: no cover
            return  # a thread was faster
        if is_finalizing():  # pragma: no cover  # globals may be gone
            del self._caches[key]
            return
        cache = known[1]
        try:
            gone = stats_of(cache)._replace(in_flight=0, currsize=0)
        except BaseException:  # pragma: no cover  # no stack left
            # At least its values must go.
            del self._caches[key]
            raise
        with self._cache.lock:  # for those who add up the counters meanwhile
            if self._caches.get(key) is not known:  # pragma: no cover  # by a thread
                return
            self._gone.append(gone)
            del self._caches[key]
            # If another instance is freed meanwhile, this loop adds its counters, too.
            while self._gone and not self._is_adding:
                self._is_adding = True
                total = self._totals_of_gone.plus(self._gone[0])
                self._totals_of_gone = total
                self._gone.popleft()
                self._is_adding = False

    def _all(self) -> list[Cache]:
        """Return the caches of all instances."""
        return [cache for _, cache in self._known()]

    def _known(self) -> list[tuple["weakref.ref[Any]", Cache]]:
        return list(self._caches.values())

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return the instance and the other positional arguments.

        An instance that was passed by keyword is taken out of *kwargs*.
        """
        if args:
            return args[0], args[1:]
        if self._first.kind is self._first.POSITIONAL_OR_KEYWORD:
            instance = kwargs.pop(self._first.name, MISSING)
            if instance is not MISSING:
                return instance, ()
        raise TypeError(
            f"{self.__qualname__}() missing 1 required positional argument: "
            f"{self._first.name!r}"
        )

    # Methods that take the instance as the first argument

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        instance, args = self._split(args, kwargs)
        cache = self._cache_of(instance)
        return cache.keys.asked(cache.contains, args, kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        instance, args = self._split(args, kwargs)
        cache = self._cache_of(instance)
        return cache.keys.asked(cache.invalidate, args, kwargs)

    def cache_put(self, value: Any, /, *args: Any, **kwargs: Any) -> None:
        instance, args = self._split(args, kwargs)
        cache = self._cache_of(instance)
        cache.keys.asked(cache.contains, args, kwargs)  # see AlruCacheWrapper's
        cache.put(self._make_key(args, kwargs), value)

    async def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        instance, args = self._split(args, kwargs)
        cache = self._cache_of(instance)
        cache.keys.asked(cache.contains, args, kwargs)
        key = self._make_key(args, kwargs)
        return await cache.refresh(key, (instance, *args), kwargs)

    # Methods that act on all instances

    def cache_invalidate_where(self, predicate: Callable[..., object]) -> int:
        check_predicate(predicate)
        dropped = 0
        known = [(reference(), cache) for reference, cache in self._known()]
        for instance, cache in [each for each in known if each[0] is not None]:
            of_call = predicate if cache.keys.own else partial(predicate, instance)
            dropped += cache.invalidate_where(of_call)
        return dropped

    def cache_info(self) -> CacheInfo:
        stats = self.cache_stats()
        return CacheInfo(stats.hits, stats.misses, stats.maxsize, stats.currsize)

    def cache_parameters(self) -> CacheParameters:
        parameters = parameters_of(self._cache)
        parameters["tasks"] = sum(len(cache.runs_in_flight()) for cache in self._all())
        return parameters

    def cache_stats(self) -> CacheStats:
        with self._cache.lock:  # an instance that is freed counts once all the same
            total = self._totals_of_gone
            gone = list(self._gone)
            caches = self._all()
        for stats in (*gone, *map(stats_of, caches)):
            total = total.plus(stats)
        return total._replace(tier_up=self._cache.tier_up)

    def cache_memory(self) -> int | None:
        sizes = [memory_of(cache) for cache in self._all()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def cache_clear(self) -> None:
        self._cache.clear()
        for cache in self._all():
            Cache.clear(cache)  # a second tier has been told
        self._totals_of_gone = stats_of(self._cache)

    def _reset(self) -> None:
        for cache in [self._cache, *self._all()]:
            cache.reset()
        self._totals_of_gone = stats_of(self._cache)

    def _after_fork(self) -> None:  # pragma: no cover  # in a child
        self._is_adding = False
        for cache in [self._cache, *self._all()]:
            cache.after_fork()

    async def cache_close(self, *, wait: bool = False) -> None:
        asyncio.get_running_loop()
        self._cache.shut()  # first, for instances that are used just now
        caches = [self._cache, *self._all()]
        for cache in caches:
            cache.shut()
        await asyncio.gather(*(cache.close(wait=wait) for cache in caches))

    def cache_open(self) -> None:
        for cache in [self._cache, *self._all()]:
            cache.open()
