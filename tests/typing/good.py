"""B10: calls that type checkers must accept, with the types they must see."""

import asyncio
import functools
import sys
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from async_lru import (
    AlruCacheBoundMethod,
    AlruCacheWrapper,
    CacheInfo,
    CacheParameters,
    CacheStats,
    _LRUCacheWrapper,  # pyright: ignore[reportPrivateUsage]
    _LRUCacheWrapperInstanceMethod,  # pyright: ignore[reportPrivateUsage]
    alru_cache,
    batched,
    by_value,
)
from async_lru.redis import RedisTier

if sys.version_info >= (3, 11):
    from typing import assert_type
else:
    from typing_extensions import assert_type

T = TypeVar("T")


@alru_cache
async def bare(number: int, text: str = "") -> bytes:
    return text.encode() * number


@alru_cache()
async def called(number: int) -> list[str]:
    return [str(number)]


@alru_cache(maxsize=32, typed=True, ttl=60, jitter=5.5)
async def with_options(*, number: int, text: str = "") -> float:
    return number + len(text)


def first_number(number: int, *_: str, **__: float) -> int:
    return number


@alru_cache(None, key=first_number)
async def with_key(number: int, *rest: str, **more: float) -> tuple[int, ...]:
    return (number, len(rest), len(more))


@alru_cache
async def generic(items: Sequence[T]) -> T:
    return items[0]


async def plain(number: int, text: str) -> bool:
    return len(text) == number


in_place = alru_cache(plain)
in_place_with_options = alru_cache(plain, ttl=3)
without_life = alru_cache(plain, ttl=0, cancel_abandoned=False)
of_partial = alru_cache(functools.partial(plain, 1))
one_decorator = alru_cache(maxsize=1)
first_of_two = one_decorator(plain)
second_of_two = one_decorator(bare.__wrapped__)


class Service:
    @alru_cache
    async def bare(self, number: int) -> str:
        return str(number)

    @alru_cache(ttl=1)
    async def keyword_only(self, *, number: int, text: str = "") -> str:
        return str(number) + text

    @staticmethod
    @alru_cache(maxsize=3)
    async def static(number: int) -> str:
        return str(number)

    @staticmethod
    @alru_cache
    async def without_arguments() -> str:
        return ""

    @classmethod
    @alru_cache
    async def of_class(cls, number: int) -> str:
        return str(number)

    async def _two(self, number: int, text: str) -> complex:
        return complex(number, len(text))

    partial_method = alru_cache(functools.partialmethod(_two, 1))  # beyond ty
    partial_method_2 = alru_cache(ttl=1)(functools.partialmethod(_two, 1))  # beyond ty


class Special(Service):
    async def call_super(self) -> str:
        return assert_type(await super().bare(1), str)


async def functions() -> None:
    coroutine: Coroutine[Any, Any, bytes] = bare(1)
    assert_type(await coroutine, bytes)
    assert_type(await bare(1), bytes)
    assert_type(await bare(1, "a"), bytes)
    assert_type(await bare(number=1, text="a"), bytes)
    assert_type(await called(1), list[str])
    assert_type(await with_options(number=1), float)
    assert_type(await with_options(text="", number=1), float)
    assert_type(await with_key(1, "a", "b", c=1.0), tuple[int, ...])
    assert_type(await generic([1, 2]), int)  # beyond pyrefly
    assert_type(await generic("ab"), str)  # beyond pyrefly
    assert_type(await in_place(1, "a"), bool)
    assert_type(await in_place_with_options(1, text="a"), bool)
    assert_type(await without_life(1, text="a"), bool)
    assert_type(await of_partial("a"), bool)
    assert_type(await first_of_two(1, "a"), bool)
    assert_type(await second_of_two(1, "a"), bytes)
    assert_type(await asyncio.create_task(bare(1)), bytes)
    assert_type(await asyncio.wait_for(bare(1), 1), bytes)
    assert_type(await asyncio.gather(bare(1), called(2)), tuple[bytes, list[str]])


async def introspection() -> None:
    assert_type(bare.cache_info(), CacheInfo)
    assert_type(bare.cache_info().hits, int)
    assert_type(bare.cache_info().maxsize, int | None)
    assert_type(bare.cache_parameters(), CacheParameters)
    assert_type(bare.cache_parameters()["tasks"], int)
    assert_type(bare.cache_parameters()["closed"], bool)
    assert_type(bare.cache_invalidate(1, "a"), bool)
    assert_type(bare.cache_contains(number=1), bool)
    assert_type(with_options.cache_invalidate(number=1), bool)
    assert_type(bare.__name__, str)
    assert_type(bare.__qualname__, str)
    assert_type(await bare.__wrapped__(1, "a"), bytes)
    bare.cache_clear()
    await bare.cache_close()
    await bare.cache_close(wait=True)


async def methods(service: Service) -> None:
    assert_type(await service.bare(1), str)
    assert_type(await service.bare(number=1), str)
    assert_type(service.bare.cache_invalidate(1), bool)
    assert_type(service.bare.cache_contains(number=1), bool)
    assert_type(service.bare.cache_info(), CacheInfo)
    await service.bare.cache_close()
    assert_type(await Service.bare(service, 1), str)
    assert_type(Service.bare.cache_contains(service, 1), bool)
    assert_type(Service.bare.cache_invalidate(service, number=1), bool)
    assert_type(await service.keyword_only(number=1), str)
    assert_type(service.keyword_only.cache_contains(number=1, text=""), bool)
    assert_type(await Service.static(1), str)
    assert_type(await service.static(1), str)
    assert_type(await service.without_arguments(), str)
    assert_type(Service.static.cache_contains(1), bool)
    assert_type(service.static.cache_contains(1), bool)
    assert_type(await Service.of_class(1), str)
    assert_type(await service.of_class(1), str)
    assert_type(await Special.of_class(number=1), str)
    assert_type(Service.of_class.cache_invalidate(1), bool)  # beyond ty
    # Through the class neither checker binds it: a limit of theirs, too.
    assert_type(await service.partial_method("a"), complex)  # beyond ty
    assert_type(await service.partial_method_2("a"), complex)  # beyond ty
    assert_type(await Special().call_super(), str)
    assert_type(await Special().bare(1), str)


async def takes_wrappers(
    function: AlruCacheWrapper[[int], str], method: AlruCacheBoundMethod[[int], str]
) -> None:
    assert_type(await function(1), str)
    assert_type(await method(1), str)


class Holder:
    """Holds decorated functions as attributes of instances."""

    declared: AlruCacheWrapper[[int, str], bool]

    def __init__(self) -> None:
        self.declared = alru_cache(plain)
        self.annotated: AlruCacheWrapper[[int, str], bool] = alru_cache(plain, ttl=1)
        self.loose: AlruCacheWrapper[..., Any] = alru_cache(maxsize=5)(plain)

    async def call(self) -> None:
        assert_type(await self.declared(1, "a"), bool)
        assert_type(await self.annotated(1, "a"), bool)
        assert_type(self.annotated.cache_contains(1, "a"), bool)
        self.annotated = alru_cache(plain)
        await self.loose(1, "a")


class Overriding(Service):
    # Where pyright compares classes it does not bind what is no plain function.
    @alru_cache
    async def bare(self, number: int) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "a"


class HasBare(Protocol):
    async def bare(self, number: int) -> str: ...


def takes_protocol(has_bare: HasBare) -> None: ...


async def implementations(service: Service) -> None:
    takes_protocol(service)  # pyright: ignore[reportArgumentType]
    takes_protocol(Overriding())  # pyright: ignore[reportArgumentType]
    assert_type(await Overriding().bare(1), str)


async def options_of_type_any(options: dict[str, Any]) -> None:
    @alru_cache(**options)
    async def function(number: int) -> bytes:
        return bytes(number)

    assert_type(await function(1), bytes)  # beyond ty
    assert_type(await alru_cache(32, **options)(plain)(1, "a"), bool)  # beyond ty


def names_of_2_4(
    function: _LRUCacheWrapper[str],  # pyright: ignore[reportPrivateUsage]
    method: _LRUCacheWrapperInstanceMethod[str],  # pyright: ignore[reportPrivateUsage]
    anything: object,
) -> None:
    assert_type(function.cache_info(), CacheInfo)
    assert_type(method.cache_invalidate(1), bool)
    if isinstance(anything, _LRUCacheWrapper):  # pyright: ignore[reportPrivateUsage]
        anything.cache_clear()


async def call_names_of_2_4(service: Service) -> None:
    names_of_2_4(Service.bare, service.bare, bare)
    names_of_2_4(called_for_text, service.keyword_only, None)


@alru_cache
async def called_for_text(number: int) -> str:
    return str(number)


# Extensions


def life_of(result: bytes) -> timedelta | None:
    return timedelta(seconds=len(result)) if result else None


@alru_cache(ttl=life_of, jitter=timedelta(seconds=1))
async def with_life(number: int) -> bytes:
    return bytes(number)


in_place_with_life = alru_cache(with_life.__wrapped__, ttl=lambda result: len(result))


@alru_cache(
    ttl=60,
    key=by_value,
    ignore=("request",),
    stale_while_revalidate=10,
    stale_if_error=timedelta(minutes=1),
    stale_if_slow=0.2,
    stale_retry=0.5,
    cancel_abandoned=False,
    shared=True,
    error_ttl={LookupError: 5, OSError: timedelta(seconds=1)},
)
async def with_much(rows: list[int], request: str = "") -> int:
    return sum(rows)


class Owner:
    @alru_cache(per_instance=True)
    async def method(self, number: int) -> str:
        return str(number)

    @batched(max_size=10)
    async def load(self, keys: list[int]) -> list[str]:
        return [str(key) for key in keys]


@batched()
async def load_list(keys: list[int]) -> list[str]:
    return [str(key) for key in keys]


@alru_cache
@batched(max_size=3, window=0.5)
async def load_dict(keys: list[int]) -> dict[int, float]:
    return {key: key / 2 for key in keys}


def is_big(number: int) -> bool:
    return number > 1


def is_big_of(owner: Owner, number: int) -> bool:
    return number > 1


async def use_extensions(owner: Owner) -> None:
    assert_type(await with_life(1), bytes)
    assert_type(await in_place_with_life(1), bytes)
    assert_type(await with_much([1], request="x"), int)
    with_life.cache_put(b"", 1)
    owner.method.cache_put("value", number=1)
    Owner.method.cache_put("value", owner, 1)
    assert_type(await owner.method(1), str)
    assert_type(await owner.method.cache_refresh(1), str)
    assert_type(await Owner.method.cache_refresh(owner, 1), str)
    assert_type(await with_life.cache_warm([(1,), (2,)]), list[bytes | BaseException])
    assert_type(with_life.cache_stats(), CacheStats)
    assert_type(owner.method.cache_stats().hit_rate, float)
    assert_type(with_life.cache_stats().stale_hits, int)
    assert_type(owner.method.cache_memory(), int | None)
    await with_life.cache_warm([{"number": 1}, ((1,), {}), (2,)], concurrency=2)
    await owner.method.cache_warm([((), {"number": 1})])
    assert_type(with_life.cache_invalidate_where(is_big), int)
    assert_type(owner.method.cache_invalidate_where(is_big), int)
    assert_type(Owner.method.cache_invalidate_where(is_big_of), int)
    assert_type(with_much.cache_invalidate_where(bool), int)
    with_life.cache_open()
    owner.method.cache_open()
    assert_type(await load_list(1), str)
    assert_type(await load_dict(1), float)
    assert_type(await owner.load(1), str)


# The second tier


def encode(result: bytes) -> bytes:
    return result


def decode(packed: bytes) -> bytes:
    return packed


tier = RedisTier("redis://cache", namespace="v1")
tier_with_options = RedisTier(
    lambda: object(),
    namespace="v1",
    lease=10,
    timeout=0.5,
    max_bytes=1000,
    encode=encode,
    decode=decode,
    check=False,
)


@alru_cache(ttl=60, tier=tier)
async def tiered(number: int) -> bytes:
    return bytes(number)


@alru_cache(maxsize=None, ttl=life_of, tier=tier_with_options, shared=True)
async def tiered_with_life(number: int) -> bytes:
    return bytes(number)


in_place_with_tier = alru_cache(plain, ttl=60, tier=tier)
without_tier = alru_cache(plain, tier=None)


class HasTier:
    @alru_cache(ttl=60, tier=tier, per_instance=True, ignore=("self",))
    async def method(self, number: int) -> str:
        return str(number)


async def use_tier(has_tier: HasTier) -> None:
    assert_type(await tiered(1), bytes)
    assert_type(await tiered_with_life(number=1), bytes)
    assert_type(await in_place_with_tier(1, "a"), bool)
    assert_type(await has_tier.method(1), str)
    await tiered.cache_settled()
    await has_tier.method.cache_settled()
    await bare.cache_settled()
    assert_type(tiered.cache_stats().tier_hits, int)
    assert_type(tiered.cache_stats().tier_up, bool | None)
    assert_type(tier, RedisTier)
