"""B10: every statement below the definitions must be an error to type checkers.

test_typing.py checks that each of these lines has one, and no other line has.
"""

import functools
from typing import Protocol

from async_lru import (
    AlruCacheWrapper,
    _LRUCacheWrapper,  # pyright: ignore[reportPrivateUsage]
    alru_cache,
    batched,
)
from async_lru.redis import RedisTier


@alru_cache
async def function(number: int, text: str = "") -> bytes:
    return text.encode() * number


@alru_cache(maxsize=1)
async def keyword_only(*, number: int) -> bytes:
    return bytes(number)


class Service:
    @alru_cache
    async def method(self, number: int) -> str:
        return str(number)

    @staticmethod
    @alru_cache
    async def static(number: int) -> str:
        return str(number)

    @classmethod
    @alru_cache
    async def of_class(cls, number: int) -> str:
        return str(number)


def plain(number: int) -> int:
    return number


async def coroutine_function(number: int, text: str) -> int:
    return number + len(text)


def life_of_text(result: str) -> float:
    return len(result)


async def load(keys: list[int]) -> list[str]:
    return [str(key) for key in keys]


load_one = batched()(load)


class Holder:
    def __init__(self) -> None:
        self.function: AlruCacheWrapper[[int], int] = alru_cache(one_number)


async def one_number(number: int) -> int:
    return number


class Other(Protocol):
    async def method(self, number: str) -> str: ...


def takes_protocol(other: Other) -> None: ...


def takes_old(function: _LRUCacheWrapper[str]) -> None: ...  # pyright: ignore[reportPrivateUsage]


holder = Holder()
of_partial = alru_cache(functools.partial(coroutine_function, 1))
service = Service()


async def bad() -> None:
    await function()
    await function("1")
    await function(1, 2)
    await function(1, "", 3)
    await function(1, other="")
    await keyword_only(1)
    await keyword_only(number="1")
    await keyword_only()
    await service.method()
    await service.method("1")
    await service.method(1, 2)
    await service.method(service, 1)
    await Service.method(1)
    await Service.method(service, "1")
    await Service.static()
    await service.of_class("1")
    await Service.of_class()
    await Service.of_class("1")
    await Service.of_class(Service, 1)
    Service.of_class.cache_contains("1")
    await service.static("1")
    await service.static(service, 1)
    service.static.cache_contains("1")
    await holder.function("1")
    await holder.function(holder, 1)
    holder.function = alru_cache(coroutine_function)
    takes_protocol(service)
    takes_old(function)
    function.cache_invalidate()
    function.cache_invalidate("1")
    function.cache_contains(1, 2)
    function.cache_contains(nothing=1)
    keyword_only.cache_contains(1)
    keyword_only.cache_invalidate(number="1")
    service.method.cache_invalidate("1")
    service.method.cache_contains(service, 1)
    Service.method.cache_invalidate(1)
    Service.method.cache_contains(service, "1")
    Service.static.cache_contains("1")
    function.cache_clera()
    service.method.cache_clera()
    function.cache_info(1)
    function.cache_info().missing
    function.cache_parameters()["missing"]
    await function.cache_close(True)
    await function.cache_close(wait=1.5)
    result: str = await function(1)
    wrong: int = await service.method(1)
    function(1) + 1
    alru_cache(plain)
    alru_cache()(plain)
    alru_cache(maxsize=1)(plain)
    alru_cache(plain, ttl=1)
    alru_cache("10")
    alru_cache(maxsize="10")
    alru_cache(maxsize=1.5)
    alru_cache(typed="yes")
    alru_cache(1, True, 60)
    alru_cache(ttl="5")
    alru_cache(jitter="5")
    alru_cache(key="number")
    alru_cache(unknown=1)
    alru_cache(len)
    alru_cache(Service)
    function.cache_put(1, 1)
    function.cache_put(b"")
    function.cache_put(b"", "1")
    service.method.cache_put("", "1")
    service.method.cache_put(1, 1)
    Service.method.cache_put("", 1)
    await function.cache_refresh()
    await function.cache_refresh("1")
    refreshed: int = await service.method.cache_refresh(1)
    await function.cache_warm([1])
    await function.cache_warm([(1,)], concurrency="2")
    await function.cache_warm([{1: 2}])
    function.cache_stats().missing
    function.cache_stats().stale_hits.missing
    function.cache_invalidate_where()
    function.cache_invalidate_where(5)
    service.method.cache_invalidate_where("key")
    function.cache_open(1)
    await function.cache_open()
    alru_cache(coroutine_function, ttl=life_of_text)
    alru_cache(ttl=life_of_text)(coroutine_function)
    alru_cache(ignore=5)
    alru_cache(per_instance="yes")
    alru_cache(ttl=1, stale_if_error="5")
    alru_cache(ttl=1, stale_if_error=5, stale_if_slow="1")
    alru_cache(cancel_abandoned="no")
    alru_cache(shared="yes")
    alru_cache(error_ttl={"LookupError": 5})
    alru_cache(error_ttl={LookupError: "5"})
    await load_one("1")
    await load_one([1])
    loaded: int = await load_one(1)
    batched(max_size="5")
    batched()(plain)
    alru_cache(ttl=1, tier="redis://cache")
    alru_cache(ttl=1, tier=RedisTier)
    alru_cache(coroutine_function, ttl=1, tier="redis://cache")
    RedisTier("redis://cache")
    RedisTier("redis://cache", "v1")
    RedisTier(namespace="v1")
    RedisTier(5, namespace="v1")
    RedisTier(b"redis://cache", namespace="v1")
    RedisTier("redis://cache", namespace=5)
    RedisTier("redis://cache", namespace="v1", lease="5")
    RedisTier("redis://cache", namespace="v1", timeout=None)
    RedisTier("redis://cache", namespace="v1", max_bytes="1")
    RedisTier("redis://cache", namespace="v1", encode="json", decode=bytes.decode)
    RedisTier("redis://cache", namespace="v1", encode=str.encode, decode=5)
    RedisTier("redis://cache", namespace="v1", encode=life_of_text, decode=bytes.decode)
    RedisTier("redis://cache", namespace="v1", check="no")
    RedisTier("redis://cache", namespace="v1", unknown=1)
    await function.cache_settled(1)
    settled: int = await function.cache_settled()
    function.cache_stats().tier_misses.missing
