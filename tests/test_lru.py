"""A6: what is evicted when. B14: runs in flight that are evicted."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from conftest import Controlled, counted, start, steps

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
    function, runs = controlled(maxsize=2)
    calls = [start(function(key)) for key in range(5)]
    await steps()
    assert function.cache_info().currsize == 2
    assert [key for key in range(5) if function.cache_contains(key)] == [3, 4]
    for run in runs:
        run.succeed(run.arguments[0])
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert function.cache_info().currsize == 2


async def test_an_evicted_run_answers_and_is_not_stored_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=1)
    evicted, newer = start(function(1)), start(function(2))
    await steps()
    runs[0].succeed("one")
    assert await evicted == "one"
    assert not function.cache_contains(1)
    assert function.cache_contains(2)
    runs[1].succeed("two")
    assert await newer == "two"
    assert function.cache_info().currsize == 1


async def test_a_join_is_a_use_A6(controlled: Make) -> None:
    function, runs = controlled(maxsize=2)
    calls = [start(function(key)) for key in (1, 2, 1, 3)]
    await steps()
    assert function.cache_contains(1)
    assert not function.cache_contains(2)
    for run in runs:
        run.succeed()
    await asyncio.gather(*calls)


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
async def test_a_call_joins_an_evicted_run_B14(controlled: Make, fails: bool) -> None:
    function, runs = controlled(maxsize=1)
    first, _ = start(function(1)), start(function(2))
    await steps()
    assert not function.cache_contains(1)
    again = start(function(1))
    await steps()
    assert len(runs) == 2
    assert function.cache_info() == (1, 2, 1, 1)
    assert function.cache_contains(1)
    assert not function.cache_contains(2)
    if fails:
        runs[0].fail(ValueError())
    else:
        runs[0].succeed("one")
    results = await asyncio.gather(first, again, return_exceptions=True)
    assert results[0] is results[1]
    assert function.cache_contains(1) is not fails
    runs[1].succeed("two")
    await steps()
    assert not function.cache_contains(2)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_revived_run_is_the_most_recently_used_B14(controlled: Make) -> None:
    function, runs = controlled(maxsize=2)
    calls = [start(function(key)) for key in (1, 2, 3, 1, 4)]
    await steps()
    assert [key for key in range(5) if function.cache_contains(key)] == [1, 4]
    for run in runs:
        run.succeed()
    await asyncio.gather(*calls)
    assert [key for key in range(5) if function.cache_contains(key)] == [1, 4]


@pytest.mark.parametrize("how", ["invalidate", "clear"])
async def test_an_evicted_run_that_was_dropped_is_not_joined_B14(
    controlled: Make, how: str
) -> None:
    function, runs = controlled(maxsize=1)
    first, _ = start(function(1)), start(function(2))
    await steps()
    if how == "clear":
        function.cache_clear()
    else:
        assert function.cache_invalidate(1) is False  # it had no entry
    again = start(function(1))
    await steps()
    assert len(runs) == 3
    runs[0].succeed("old")
    runs[2].succeed("new")
    assert await first == "old"
    assert await again == "new"
    assert await function(1) == "new"
    runs[1].succeed()


async def test_a_cancelled_evicted_run_is_not_joined_B14(controlled: Make) -> None:
    function, runs = controlled(maxsize=1)
    first, second = start(function(1)), start(function(2))
    await steps()
    first.cancel()
    await steps()
    assert runs[0].task.cancelled()
    again = start(function(1))
    await steps()
    assert len(runs) == 3
    runs[2].succeed("new")
    runs[1].succeed("two")
    assert await again == "new"
    assert await second == "two"


async def test_an_ended_evicted_run_is_forgotten_B14(controlled: Make) -> None:
    for fails in (False, True):
        function, runs = controlled(maxsize=1)
        calls = [start(function(1)), start(function(2))]
        await steps()
        if fails:
            runs[0].fail(ValueError())
        else:
            runs[0].succeed()
        await asyncio.wait(calls[:1])
        calls[0].exception()
        start(function(1))
        await steps()
        assert len(runs) == 3
        for run in runs[1:]:
            run.succeed()
        await steps()
