"""A6: what is evicted when. B14: runs in flight are not."""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from conftest import Controlled, counted, outcome, start, steps

from async_lru import alru_cache

Make = Callable[..., Controlled]

options = pytest.mark.parametrize(
    "options", [{}, {"ttl": 100}, {"typed": True}, {"ttl": 100, "typed": True}]
)


@options
async def test_the_least_recently_used_goes_A6(options: dict[str, Any]) -> None:
    function, _ = counted(maxsize=2, **options)
    for key in (1, 2, 1, 3):
        await function(key)
    assert function.cache_contains(1)
    assert not function.cache_contains(2)
    assert function.cache_contains(3)
    assert function.cache_info() == (1, 3, 2, 2)


@options
async def test_entries_are_those_of_a_plain_model_A6(options: dict[str, Any]) -> None:
    function, _ = counted(maxsize=5, **options)
    chance = Random(6)
    model: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for _ in range(2000):
        key = chance.randrange(9)
        await function(key)
        hits += key in model
        model[key] = None
        model.move_to_end(key)
        if len(model) > 5:
            model.popitem(last=False)
        assert [key for key in range(9) if function.cache_contains(key)] == sorted(
            model
        )
    assert function.cache_info() == (hits, 2000 - hits, 5, 5)


@pytest.mark.parametrize("ttl", [None, 100])
async def test_no_bound_with_None_A6(ttl: float | None) -> None:
    function, _ = counted(maxsize=None, ttl=ttl)
    for key in range(1000):
        await function(key)
    assert function.cache_info() == (0, 1000, None, 1000)
    for key in range(1000):
        await function(key)
    assert function.cache_info() == (1000, 1000, None, 1000)


async def test_maxsize_1_A6() -> None:
    function, _ = counted(maxsize=1)
    for key in (1, 1, 2, 2, 1):
        await function(key)
    assert function.cache_info() == (2, 3, 1, 1)


@pytest.mark.parametrize("ttl", [None, 100])
async def test_maxsize_0_stores_and_shares_nothing_A6(
    controlled: Make, ttl: float | None
) -> None:
    function, runs = controlled(maxsize=0, ttl=ttl)
    calls = [start(function(1)) for _ in range(2)]
    await steps()
    assert function.cache_parameters()["tasks"] == 2
    assert not function.cache_contains(1)
    for number, run in enumerate(runs):
        run.succeed(number)
    assert await asyncio.gather(*calls) == [0, 1]
    assert function.cache_info() == (0, 2, 0, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_runs_in_flight_count_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=4)
    function.cache_put("value", 0)
    calls = [start(function(key)) for key in (1, 1, 2)]
    await steps()
    assert function.cache_info() == (1, 2, 4, 3)
    calls.extend(start(function(key)) for key in (3, 4, 5))
    await steps()
    assert function.cache_info() == (1, 5, 4, 4)  # maxsize at most
    for run in runs:
        run.succeed()
    await asyncio.gather(*calls)
    assert function.cache_info().currsize == 4


async def test_a_key_with_a_value_and_a_run_counts_once_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=3)
    function.cache_put("old", 1)
    refresh = start(function.cache_refresh(1))
    await steps()
    assert function.cache_info().currsize == 1
    runs[0].succeed("new")
    await refresh
    assert function.cache_info().currsize == 1


async def test_more_runs_than_maxsize_are_entries_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=2)
    calls = [start(function(key)) for key in range(5)]
    await steps()
    assert all(function.cache_contains(key) for key in range(5))
    for run in runs:
        run.succeed(run.arguments[0])
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert function.cache_info().currsize == 2


async def test_runs_in_flight_evict_nothing_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=2)
    function.cache_put("one", 1)
    function.cache_put("two", 2)
    calls = [start(function(key)) for key in (3, 4, 5)]
    await steps()
    assert await function(1) == "one"
    assert function.cache_contains(2)
    assert function.cache_stats().evictions == 0
    runs[0].succeed()
    await steps()
    assert [key for key in (1, 2, 3) if function.cache_contains(key)] == [1, 3]
    for run in runs[1:]:
        run.succeed()
    await asyncio.gather(*calls)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
@options
async def test_a_value_is_the_most_recently_used_when_its_run_ends_A6(
    controlled: Make, options: dict[str, Any], order: list[int]
) -> None:
    function, runs = controlled(maxsize=2, **options)
    calls = [start(function(key)) for key in range(4)]
    await steps()
    for key in order:
        runs[key].succeed()
        await steps()
    await asyncio.gather(*calls)
    kept = [key for key in range(4) if function.cache_contains(key)]
    assert kept == sorted(order[-2:])
    assert function.cache_stats().evictions == 2


async def test_a_refreshed_value_is_the_most_recently_used_A6_C6() -> None:
    function, _ = counted(maxsize=2)
    await function(1)
    await function(2)
    await function.cache_refresh(1)
    await function(3)
    assert [key for key in (1, 2, 3) if function.cache_contains(key)] == [1, 3]


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is dropped"])
async def test_a_run_that_stores_nothing_evicts_nothing_A6(
    controlled: Make, end: str
) -> None:
    function, runs = controlled(maxsize=1)
    function.cache_put("value", 1)
    call = start(outcome(function(2)))
    await steps()
    if end == "fails":
        runs[0].fail(ValueError())
    elif end == "is cancelled":
        call.cancel()
    else:
        function.cache_invalidate(2)
        runs[0].succeed()
    await asyncio.wait([call])
    await steps()
    assert await function(1) == "value"
    assert function.cache_stats().evictions == 0


async def test_a_call_within_a_run_is_stored_before_it_A6() -> None:
    @alru_cache(maxsize=1)
    async def function(key: int) -> int:
        return 1 if key == 0 else 1 + await function(key - 1)

    assert await function(2) == 3
    assert [key for key in range(3) if function.cache_contains(key)] == [2]


@pytest.mark.parametrize("maxsize", [0, 1, 2, 3, 5, 128, None])
@pytest.mark.parametrize("suspends", [False, True])
async def test_a_recursive_function_is_cached_as_by_functools_A6(
    maxsize: int | None, suspends: bool
) -> None:
    @functools.lru_cache(maxsize)
    def sync(n: int) -> int:
        return n if n < 2 else sync(n - 1) + sync(n - 2)

    @alru_cache(maxsize)
    async def cached(n: int) -> int:
        if suspends:
            await asyncio.sleep(0)
        return n if n < 2 else await cached(n - 1) + await cached(n - 2)

    for n in (5, 8, 3, 10):
        assert await cached(n) == sync(n)
        assert cached.cache_info() == sync.cache_info()


async def test_cache_contains_is_no_use_A6() -> None:
    function, _ = counted(maxsize=2)
    await function(1)
    await function(2)
    info = function.cache_info()
    assert function.cache_contains(1)
    assert function.cache_info() == info
    await function(3)
    assert not function.cache_contains(1)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_is_joined_whatever_is_stored_meanwhile_B14(
    controlled: Make, fails: bool
) -> None:
    function, runs = controlled(maxsize=1)
    first = start(function(1))
    await steps()
    for key in (2, 3):
        function.cache_put("other", key)
    again = start(function(1))
    await steps()
    assert len(runs) == 1
    if fails:
        runs[0].fail(ValueError())
    else:
        runs[0].succeed("one")
    results = await asyncio.gather(first, again, return_exceptions=True)
    assert results[0] is results[1]
    assert function.cache_contains(1) is not fails
    assert function.cache_contains(3) is fails
    assert function.cache_parameters()["tasks"] == 0
