"""all_caches, and caches that are reset or disabled for a test."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from conftest import Clock, counted, outcome, start, steps

from async_lru import all_caches, alru_cache
from async_lru.testing import caching_disabled, reset_caches


def test_all_caches_are_listed_in_order_while_they_live() -> None:
    one, _ = counted()
    other, _ = counted(ttl=10)
    found = [cache for cache in all_caches() if cache in (one, other)]
    assert found == [one, other]
    gone = weakref.ref(one)
    del one, found
    gc.collect()
    assert gone() is None
    assert other in all_caches()
    assert None not in all_caches()


def test_a_method_is_one_cache_however_many_instances_it_has() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def method(self, key: int) -> int:
            return key

    async def main() -> None:
        for service in services:
            await service.method(1)

    services = [Service(), Service()]
    before = all_caches()
    asyncio.run(main())
    assert [cache for cache in all_caches() if cache not in before] == []
    assert Service.method in all_caches()


@pytest.mark.parametrize(
    "options", [{}, {"ttl": 100}, {"ttl": 100, "stale_if_error": 10}, {"maxsize": 0}]
)
def test_a_reset_cache_is_as_at_decoration(options: dict[str, Any]) -> None:
    function, runs = counted(**options)

    async def main() -> None:
        await function(1)
        await function(1)
        await function.cache_close()

    for round_ in (1, 2):
        asyncio.run(main())  # no warning of the other loop, and not closed
        assert len(runs) == round_ * (2 if options.get("maxsize") == 0 else 1)
        assert function.cache_info()[:2] != (0, 0)
        reset_caches()
        assert function.cache_info()[:2] == (0, 0)
        assert function.cache_info().currsize == 0
        assert not function.cache_parameters()["closed"]


def test_the_warning_of_a_reset_cache_comes_again() -> None:
    function, _ = counted()
    for _ in range(2):
        asyncio.run(function(1))
        with pytest.warns(UserWarning, match="detected event loop change"):
            asyncio.run(function(1))
        reset_caches()


def test_the_caches_of_instances_are_reset_too() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def method(self, key: int) -> int:
            return key

    async def main() -> None:
        assert await service.method(1) == await method(1) == 1
        assert Service.method.cache_info() == (1, 1, 128, 1)
        await Service.method.cache_close()

    service = Service()
    method = service.method
    for _ in range(2):
        asyncio.run(main())
        reset_caches()
        assert Service.method.cache_info() == (0, 0, 128, 0)
        assert not Service.method.cache_parameters()["closed"]


async def test_a_run_in_flight_answers_its_waiters_and_is_not_stored(
    controlled: Any,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    reset_caches()
    runs[0].succeed("late")
    assert await call == "late"
    assert function.cache_info() == (0, 0, 128, 0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"maxsize": None},
        {"ttl": 100},
        {"ttl": 100, "stale_while_revalidate": 10},
        {"error_ttl": {ValueError: 10}},
    ],
)
async def test_disabled_caches_run_at_each_call(
    options: dict[str, Any], clock: Clock
) -> None:
    function, runs = counted(**options)
    await function(1)
    with caching_disabled():
        made_within, runs_within = counted(**options)
        for cached, ran in ((function, runs), (made_within, runs_within)):
            ran.clear()
            for _ in range(3):
                assert await cached(1) == 1
            await asyncio.gather(cached(1), cached(1))
            assert len(ran) == 5
            cached.cache_put(2, 1)
            assert await cached(1) == 1
            assert cached.cache_info()[:2] == (0, 6)
            assert not cached.cache_contains(1)
    for cached, ran in ((function, runs), (made_within, runs_within)):
        ran.clear()
        await cached(1)
        await cached(1)
        assert len(ran) == 1
        assert cached.cache_info()[:2] == (1, 1)


async def test_disabling_twice_takes_enabling_twice() -> None:
    function, _ = counted()
    with caching_disabled():
        with pytest.raises(ZeroDivisionError), caching_disabled():
            raise ZeroDivisionError
        await function(1)
        assert not function.cache_contains(1)
    await function(1)
    assert function.cache_contains(1)


async def test_failures_are_not_kept_while_disabled() -> None:
    runs = []

    @alru_cache(error_ttl={ValueError: 10})
    async def function() -> None:
        runs.append(1)
        raise ValueError

    with caching_disabled():
        for _ in range(2):
            assert isinstance(await outcome(function()), ValueError)
    assert len(runs) == 2
