"""Methods whose instances have a cache each."""

# ruff: noqa: SLF001  # wrappers know each other
# pyright: reportPrivateUsage=false

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._calls import Front
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._wrapper import AlruCacheBoundMethod, AlruCacheWrapper

if TYPE_CHECKING:
    from typing_extensions import Self


class PerInstance(AlruCacheWrapper[..., Any]):
    """A cached method whose instances have a wrapper, and so a cache, each.

    The caches are found by the identity of the instance, and die with it.
    """

    __slots__ = ("_make_wrapper", "_wrappers")

    _make_wrapper: Callable[[], AlruCacheWrapper[..., Any]]
    #: By the id of the instance, with a reference that takes the cache away.
    _wrappers: dict[int, tuple["weakref.ref[Any]", AlruCacheWrapper[..., Any]]]

    def __new__(
        cls,
        template: AlruCacheWrapper[..., Any],
        make_wrapper: Callable[[], AlruCacheWrapper[..., Any]],
    ) -> "Self":
        wrappers: dict[int, Any] = {}

        async def call(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            wrapper = self._of(instance)
            return await wrapper._call_of_method(instance, *args, **kwargs)

        def contains(instance: Any, /, *args: Any, **kwargs: Any) -> bool:
            return self._of(instance).cache_contains(instance, *args, **kwargs)

        def invalidate(instance: Any, /, *args: Any, **kwargs: Any) -> bool:
            return self._of(instance).cache_invalidate(instance, *args, **kwargs)

        front = Front(call, call, contains, invalidate)
        self = super().__new__(cls, template._cache, front)
        self._make_wrapper = make_wrapper
        self._wrappers = wrappers
        return self

    def _of(self, instance: Any) -> AlruCacheWrapper[..., Any]:
        key = id(instance)
        wrappers = self._wrappers
        known = wrappers.get(key)
        if known is not None:
            return known[1]
        try:
            reference = weakref.ref(instance, lambda _: wrappers.pop(key, None))
        except TypeError:
            raise TypeError(
                f"{self._cache.name} has per_instance=True, but a {type(instance).__qualname__} "
                'cannot be weakly referenced: add "__weakref__" to the __slots__ of the '
                "class, or leave per_instance out"
            ) from None
        wrapper = self._make_wrapper()
        wrapper._cache.closed = self._cache.closed
        return wrappers.setdefault(key, (reference, wrapper))[1]

    def _all(self) -> list[AlruCacheWrapper[..., Any]]:
        """Return the wrappers of all instances."""
        return [wrapper for _, wrapper in list(self._wrappers.values())]

    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        if instance is None:
            return self
        call = self._of(instance)._call_of_method
        bound: AlruCacheBoundMethod[..., Any] = AlruCacheBoundMethod(call, instance)
        bound._wrapper = self
        return bound

    # Of one instance, the first argument.

    def cache_put(
        self, value: Any, instance: Any, /, *args: Any, **kwargs: Any
    ) -> None:
        self._of(instance).cache_put(value, instance, *args, **kwargs)

    async def cache_refresh(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await self._of(instance).cache_refresh(instance, *args, **kwargs)

    # Of all instances together.

    def cache_info(self) -> CacheInfo:
        maxsize = self._cache.maxsize
        infos = [wrapper.cache_info() for wrapper in self._all()]
        return CacheInfo(
            sum(info.hits for info in infos),
            sum(info.misses for info in infos),
            maxsize,
            sum(info.currsize for info in infos),
        )

    def cache_parameters(self) -> CacheParameters:
        parameters = self._cache.parameters()
        parameters["tasks"] = sum(
            wrapper.cache_parameters()["tasks"] for wrapper in self._all()
        )
        return parameters

    def cache_stats(self) -> CacheStats:
        total = self._cache.stats()
        for wrapper in self._all():
            total = total.plus(wrapper.cache_stats())
        return total

    def cache_memory(self) -> int:
        return sum(wrapper.cache_memory() for wrapper in self._all())

    def cache_clear(self) -> None:
        for wrapper in self._all():
            wrapper.cache_clear()

    def _reset(self) -> None:
        for wrapper in self._all():
            wrapper._reset()
        super()._reset()

    async def cache_close(self, *, wait: bool = False) -> None:
        await self._cache.close(wait=wait)
        await asyncio.gather(
            *(wrapper.cache_close(wait=wait) for wrapper in self._all())
        )
