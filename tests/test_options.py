"""A1: what the decorator takes. B9: what it refuses."""

import asyncio
import functools
import inspect
import math
import re
from decimal import Decimal
from fractions import Fraction
import sys
import typing
from typing import Any
from unittest.mock import AsyncMock

import pytest
from conftest import Clock

from async_lru import AlruCacheWrapper, alru_cache, batched


async def plain(a: Any, b: Any = None) -> Any:
    return (a, b)


def not_a_coroutine_function() -> None:
    pass


@pytest.mark.parametrize(
    "decorate",
    [
        alru_cache,
        alru_cache(),
        alru_cache(10),
        alru_cache(10, True),
        alru_cache(None, False),
        alru_cache(maxsize=10, typed=True),
        alru_cache(ttl=1, jitter=0.5),
        alru_cache(key=lambda a, b=None: a),
        functools.partial(alru_cache, ttl=1),
    ],
)
async def test_decorates_with_and_without_parentheses_A1(decorate: Any) -> None:
    cached = decorate(plain)
    assert isinstance(cached, AlruCacheWrapper)
    assert await cached(1) == (1, None)


async def test_maxsize_and_typed_are_positional_A1() -> None:
    cached = alru_cache(7, True)(plain)
    assert cached.cache_parameters()["maxsize"] == 7
    assert cached.cache_parameters()["typed"] is True


def test_other_options_are_keyword_only_A1() -> None:
    with pytest.raises(TypeError):
        alru_cache(1, False, 60)  # type: ignore[call-overload]


def test_defaults_A1() -> None:
    assert alru_cache(plain).cache_parameters() == {
        "maxsize": 128,
        "typed": False,
        "tasks": 0,
        "closed": False,
    }


async def test_one_decorator_gives_each_function_its_own_cache_A1() -> None:
    decorate = alru_cache(maxsize=3)
    first, second = decorate(plain), decorate(plain)
    await first(1)
    assert first.cache_info().misses == 1
    assert second.cache_info().misses == 0
    assert not second.cache_contains(1)


async def test_takes_partials_A1() -> None:
    cached = alru_cache(functools.partial(functools.partial(plain, 1), b=2))
    assert await cached() == (1, 2)
    assert await cached(b=3) == (1, 3)


async def test_takes_partialmethods_A1() -> None:
    class Service:
        async def pair(self, a: int, b: int) -> tuple[int, int]:
            return (a, b)

        one = alru_cache(functools.partialmethod(pair, 1))
        two = alru_cache(ttl=10)(
            functools.partialmethod(functools.partialmethod(pair, b=2))
        )

    service = Service()
    assert await service.one(2) == (1, 2)
    assert await service.one(2) == (1, 2)
    assert service.one.cache_info().hits == 1
    assert service.one.cache_contains(2)
    assert await service.two(1) == (1, 2)


async def test_takes_an_already_cached_function_A1() -> None:
    inner = alru_cache(plain)
    outer = alru_cache(maxsize=1)(inner)
    assert await outer(1) == (1, None)
    assert inner.cache_info().misses == outer.cache_info().misses == 1
    assert outer.__wrapped__ is inner


def test_an_already_cached_function_keeps_what_it_is_called_A1_A11() -> None:
    @alru_cache
    async def inner(a: int) -> str:
        """Say."""
        return str(a)

    inner.mark = "mine"  # type: ignore[attr-defined]
    for function in (inner, functools.partial(inner)):
        outer: Any = alru_cache(maxsize=1)(function)
        assert outer.__name__ == "inner"
        assert outer.__qualname__ == inner.__qualname__
        assert outer.__module__ == __name__
        assert outer.__doc__ == "Say."
        assert outer.mark == "mine"
        assert typing.get_type_hints(outer) == {"a": int, "return": str}
        assert repr(outer) == repr(inner)
        assert inspect.iscoroutinefunction(outer)


async def test_takes_a_cached_bound_method_A1() -> None:
    class Service:
        @alru_cache
        async def method(self, a: int) -> int:
            return a

    bound = Service().method
    outer = alru_cache(bound)
    assert await outer(1) == 1
    assert await outer(1) == 1
    assert outer.__wrapped__ is bound
    assert outer.__name__ == "method"
    assert str(inspect.signature(outer)) == "(a: int) -> int"
    assert (outer.cache_info().hits, bound.cache_info().misses) == (1, 1)


@pytest.mark.parametrize("maxsize", [0, 1])
async def test_takes_mocks_A1(maxsize: int) -> None:
    mock = AsyncMock(return_value=5)
    cached: Any = alru_cache(maxsize=maxsize)(mock)
    assert await cached(1, a=2) == await cached(1, a=2) == 5
    assert mock.await_count == 2 - maxsize
    mock.assert_awaited_with(1, a=2)
    assert "unittest.mock.AsyncMock" in repr(cached)
    assert cached.__wrapped__ is mock
    assert inspect.iscoroutinefunction(cached)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the mark is new in 3.12")
@pytest.mark.parametrize("of_partial", [False, True])
async def test_takes_marked_objects_A1(of_partial: bool) -> None:
    class Client:
        async def __call__(self, a: int) -> int:
            return a

    client: Any = inspect.markcoroutinefunction(Client())  # type: ignore[attr-defined]
    client.mark = "mine"
    cached: Any = alru_cache(functools.partial(client) if of_partial else client)
    assert await cached(1) == 1
    assert cached.mark == "mine"
    assert cached.__name__ == "Client"
    assert cached.__qualname__ == Client.__qualname__
    assert Client.__qualname__ in repr(cached)
    await cached.cache_close()
    with pytest.raises(RuntimeError, match="Client"):
        await cached(1)


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="asyncio's own marks are deprecated"
)
async def test_takes_what_asyncio_has_marked_A1() -> None:
    def function(a: int) -> Any:
        return asyncio.sleep(0, a)

    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    assert await alru_cache(function)(1) == 1


@pytest.mark.parametrize(
    "not_async",
    [
        not_a_coroutine_function,
        len,
        int,
        functools.partial(not_a_coroutine_function),
        functools.partialmethod(not_a_coroutine_function),
        classmethod(plain),
        staticmethod(plain),
    ],
)
@pytest.mark.parametrize("decorate", [alru_cache, alru_cache(), alru_cache(ttl=1)])
def test_refuses_what_is_no_coroutine_function_A1(
    decorate: Any, not_async: Any
) -> None:
    with pytest.raises(RuntimeError) as caught:
        decorate(not_async)
    assert repr(not_async) in str(caught.value)


async def async_generator() -> Any:
    yield 1


def returns_a_coroutine() -> Any:
    return plain(1)


class AsyncCall:
    async def __call__(self, a: Any) -> Any:
        return a


@pytest.mark.parametrize(
    ("refused", "remedy"),
    [
        (classmethod(plain), "it is a classmethod, so put it above @alru_cache"),
        (staticmethod(plain), "it is a staticmethod, so put it above @alru_cache"),
        (property(plain), "it is a property, so put it above @alru_cache"),
        (functools.partial(async_generator), "an async generator"),
        (async_generator, "an async generator .* as a list"),
        (AsyncCall(), "pass its __call__"),
        (AsyncCall, "define it with async def"),
        (returns_a_coroutine, "define it with async def, and await"),
        (not_a_coroutine_function, "functools.lru_cache"),
    ],
)
@pytest.mark.parametrize("decorate", [alru_cache, alru_cache(ttl=1)])
def test_says_what_to_do_instead_A1(decorate: Any, refused: Any, remedy: str) -> None:
    with pytest.raises(RuntimeError, match="Coroutine function is required") as caught:
        decorate(refused)
    assert re.search(remedy, str(caught.value))
    assert repr(refused) in str(caught.value)


async def test_what_it_says_to_do_instead_works_A1() -> None:
    class Service:
        @classmethod
        @alru_cache
        async def of_class(cls, a: Any) -> Any:
            return cls, a

        @staticmethod
        @alru_cache
        async def static(a: Any) -> Any:
            return a

        @property
        @alru_cache
        async def value(self) -> Any:
            return self

    service = Service()
    for _ in range(2):
        assert await service.of_class(1) == (Service, 1)
        assert await service.static(1) == 1
        assert await service.value is service
    cached = alru_cache(AsyncCall().__call__)
    assert await cached(1) == await cached(1) == 1
    assert cached.cache_info().hits == 1


def test_refuses_any_object_A1() -> None:
    with pytest.raises(RuntimeError, match="Coroutine function is required, got 5: "):
        alru_cache()(5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "error", "names"),
    [
        ({"maxsize": "10"}, TypeError, ["maxsize", "'10'"]),
        ({"maxsize": 1.5}, TypeError, ["maxsize", "1.5"]),
        ({"typed": 1}, TypeError, ["typed", "1"]),
        ({"typed": "yes"}, TypeError, ["typed", "'yes'"]),
        ({"ttl": "5"}, TypeError, ["ttl", "'5'"]),
        ({"ttl": True}, TypeError, ["ttl", "True"]),
        ({"ttl": -1}, ValueError, ["ttl", "-1"]),
        ({"ttl": -1.5}, ValueError, ["ttl", "-1.5"]),
        ({"ttl": math.nan}, ValueError, ["ttl", "nan"]),
        ({"ttl": 10**400}, ValueError, ["ttl", "10000"]),
        ({"jitter": 1}, ValueError, ["jitter requires ttl to be set", "1"]),
        ({"jitter": 0}, ValueError, ["jitter requires ttl to be set", "0"]),
        ({"ttl": 1, "jitter": "5"}, TypeError, ["jitter", "'5'"]),
        ({"ttl": 1, "jitter": -1}, ValueError, ["jitter must be non-negative", "-1"]),
        ({"ttl": 1, "jitter": -0.5}, ValueError, ["jitter", "-0.5"]),
        ({"ttl": 1, "jitter": math.nan}, ValueError, ["jitter", "nan"]),
        ({"ttl": 1, "jitter": math.inf}, ValueError, ["jitter", "inf"]),
        ({"key": "a"}, TypeError, ["key must be callable", "'a'"]),
        (
            {"key": repr, "typed": True},
            ValueError,
            ["typed is ignored when a custom key callable is provided", "repr"],
        ),
        ({"ttl": b"5"}, TypeError, ["ttl", "b'5'"]),
        ({"ttl": 1j}, TypeError, ["ttl", "1j"]),
        ({"ttl": Decimal("nan")}, ValueError, ["ttl", "Decimal('NaN')"]),
    ],
)
def test_refuses_bad_options_at_decoration_B9(
    options: dict[str, Any], error: type[Exception], names: list[str]
) -> None:
    with pytest.raises(error) as caught:
        alru_cache(**options)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("options", [{"ttl": math.inf}, {"ttl": 1, "jitter": 0}])
async def test_takes_the_ends_of_the_ranges_B9(options: dict[str, Any]) -> None:
    cached = alru_cache(**options)(plain)
    await cached(1)
    await cached(1)
    assert cached.cache_info().hits == 1


async def test_a_negative_maxsize_means_0_B9() -> None:
    cached = alru_cache(maxsize=-5)(plain)
    await cached(1)
    assert cached.cache_info() == (0, 1, 0, 0)
    assert cached.cache_parameters()["maxsize"] == 0


async def test_a_huge_ttl_is_no_error_B9() -> None:
    cached = alru_cache(ttl=1e300, jitter=1e300)(plain)
    assert await cached(1) == (1, None)
    assert await cached(1) == (1, None)
    assert cached.cache_info().hits == 1


class Count:
    """A whole number of another library, such as numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


async def test_numbers_are_taken_by_protocol_A13() -> None:
    cached = alru_cache(maxsize=Count(2), ttl=Count(60), jitter=Decimal(0))(plain)  # type: ignore[call-overload]
    for key in range(3):
        await cached(key)
    assert cached.cache_info() == (0, 3, 2, 2)
    assert type(cached.cache_info().maxsize) is int
    assert cached.cache_stats().ttl == 60


async def test_a_callable_ttl_may_return_any_number_A13(clock: Clock) -> None:
    cached = alru_cache(ttl=lambda _: Fraction(3, 2))(plain)  # type: ignore[arg-type]
    await cached(1)
    await clock.advance(1)
    assert cached.cache_contains(1)
    await clock.advance(1)
    assert not cached.cache_contains(1)


async def test_other_options_take_numbers_by_protocol_A13() -> None:
    cached = alru_cache(
        ttl=1,
        stale_if_error=Fraction(1, 2),  # type: ignore[call-overload]
        stale_if_slow=Count(0),
        stale_retry=Decimal("0.5"),
        error_ttl={LookupError: Count(1)},
    )(plain)
    assert await cached.cache_warm([(1,), (2,)], concurrency=Count(2)) == [  # type: ignore[arg-type]
        (1, None),
        (2, None),
    ]
    assert cached.cache_info().currsize == 2

    @batched(max_size=Count(2), window=Fraction(0))  # type: ignore[arg-type]
    async def double(keys: list[int]) -> list[int]:
        assert len(keys) == 1 or keys == [1, 2]
        return [key * 2 for key in keys]

    assert await asyncio.gather(*map(double, (1, 2, 3))) == [2, 4, 6]


@pytest.mark.parametrize("maxsize", ["10", 1.5, [], object()])
def test_a_wrong_maxsize_is_also_the_error_that_2_4_raises_B9(maxsize: Any) -> None:
    with pytest.raises(NotImplementedError, match="decorating is not supported"):
        alru_cache(maxsize)


@pytest.mark.parametrize("name", ["key", "ttl"])
def test_refuses_coroutine_functions_for_options_B9(name: str) -> None:
    async def asynchronous(value: object) -> int:
        return 1

    options: dict[str, Any] = {name: asynchronous}
    with pytest.raises(TypeError, match=f"{name} must not be a coroutine function"):
        alru_cache(**options)
