"""C5: cache_put. C6: cache_refresh. C7: cache_warm."""

import asyncio
import gc
import weakref
from types import MappingProxyType
from typing import Any

import pytest
from conftest import (
    Clock,
    collect_reports,
    counted,
    failing_keys,
    needs_refcount,
    outcome,
    start,
    steps,
)

from async_lru import AlruCacheLoopResetWarning, alru_cache

# C5


@pytest.mark.parametrize(
    "options", [{}, {"ttl": 10}, {"maxsize": None}, {"typed": True}]
)
async def test_a_value_is_stored_without_a_run_C5(options: Any) -> None:
    function, runs = counted(**options)
    function.cache_put("put", 1, 2, c=3)
    assert function.cache_info()[:2] == (0, 0)
    assert await function(1, 2, c=3) == "put"
    function.cache_put("again", 1, 2, c=3)
    assert await function(1, 2, c=3) == "again"
    assert runs == []
    assert function.cache_info()[0::3] == (2, 1)


async def test_a_run_in_flight_answers_its_waiters_and_is_not_stored_C5(
    controlled: Any,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    function.cache_put("put", 1)
    assert await function(1) == "put"
    runs[0].succeed("run")
    assert await call == "run"
    assert await function(1) == "put"
    assert len(runs) == 1


async def test_a_put_during_a_run_that_fails_or_is_cancelled_stays_C5(
    controlled: Any,
) -> None:
    function, runs = controlled()
    failing, cancelled = start(outcome(function(1))), start(outcome(function(2)))
    await steps()
    function.cache_put("put", 1)
    function.cache_put("put", 2)
    runs[0].fail(ValueError())
    cancelled.cancel()
    await steps()
    assert isinstance(await failing, ValueError)
    assert function.cache_contains(1)
    assert function.cache_contains(2)
    assert function.cache_parameters()["tasks"] == 0


async def test_put_is_a_use_and_evicts_C5() -> None:
    function, _ = counted(maxsize=2)
    await function(1)
    await function(2)
    function.cache_put("put", 1)
    function.cache_put("put", 3)
    assert [key for key in (1, 2, 3) if function.cache_contains(key)] == [1, 3]


async def test_a_put_value_has_a_ttl_of_its_own_C5(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    await clock.advance(9)
    function.cache_put("put", 1)
    await clock.advance(9)
    assert await function(1) == "put"
    await clock.advance(1)
    assert function.cache_info().currsize == 0
    assert function.cache_stats().expirations == 1


async def test_an_entry_that_is_overdue_has_expired_when_it_is_replaced_C5(
    clock: Clock,
) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    clock.turn(10)
    function.cache_put("put", 1)
    stats = function.cache_stats()
    assert (stats.expirations, stats.evictions, stats.currsize) == (1, 0, 1)


async def test_a_put_value_without_life_takes_the_old_one_away_C5() -> None:
    @alru_cache(ttl=lambda result: result)
    async def function() -> int:
        return 100

    await function()
    function.cache_put(0)
    assert not function.cache_contains()
    function.cache_put(0)
    assert function.cache_info().currsize == 0
    assert function.cache_stats().evictions == 0


async def test_a_put_value_without_life_evicts_nothing_C5() -> None:
    @alru_cache(maxsize=1, ttl=lambda result: result)
    async def function(key: int) -> int:
        return 100

    await function(1)
    function.cache_put(0, 2)
    assert function.cache_contains(1)
    assert function.cache_stats().evictions == 0


@pytest.mark.parametrize("options", [{}, {"ttl": 10}])
@pytest.mark.parametrize("fails_at", range(1, 20))
async def test_an_error_while_a_put_evicts_leaves_no_more_than_there_may_be_C5(
    options: Any, fails_at: int
) -> None:
    Key, comparisons = failing_keys(fails_at)
    function, _ = counted(maxsize=2, **options)
    old, older, new = Key(), Key(), Key()
    await function(older)
    await function(old)
    await function(older)  # found first among those of its hash, and kept longest
    comparisons.clear()
    try:
        function.cache_put("put", new)
    except ZeroDivisionError:
        comparisons.extend([None] * 100)
        assert not function.cache_contains(new)
    comparisons.extend([None] * 100)
    assert function.cache_info().currsize <= 2
    assert await function(3) == 3
    assert function.cache_info().currsize <= 2
    assert function.cache_contains(3)


async def test_nothing_is_put_where_nothing_is_stored_C5() -> None:
    function, _ = counted(maxsize=0)
    function.cache_put("put", 1)
    assert function.cache_info() == (0, 0, 0, 0)
    assert await function(1) == 1


@needs_refcount
async def test_a_replaced_value_dies_C5_B3() -> None:
    class Value:
        pass

    for options in ({}, {"ttl": 100}, {"ttl": 100, "stale_if_error": 5}):
        function, _ = counted(**options)
        value = Value()
        reference = weakref.ref(value)
        function.cache_put(value, 1)
        del value
        gc.disable()
        try:
            function.cache_put(2, 1)
            assert reference() is None
        finally:
            gc.enable()


async def test_a_bad_put_is_refused_C5_A9() -> None:
    function, _ = counted()
    with pytest.raises(TypeError, match="unhashable"):
        function.cache_put("put", [])
    assert function.cache_info().currsize == 0
    await function.cache_close()
    with pytest.raises(RuntimeError, match="is closed"):
        function.cache_put("put", 1)


def test_a_bad_put_binds_no_loop_C5_B12() -> None:
    function, _ = counted()

    async def put() -> None:
        with pytest.raises(TypeError):
            function.cache_put("put", [])

    asyncio.run(put())
    asyncio.run(function(1))  # would warn if the cache belonged to the first loop


async def test_a_key_that_fails_while_it_is_put_leaves_no_entry_C5() -> None:
    class Key:
        hashes = 0

        def __hash__(self) -> int:
            self.hashes += 1
            if self.hashes == fails_at:
                raise ZeroDivisionError
            return 1

    for fails_at in range(1, 12):
        function, _ = counted(maxsize=2)
        key = Key()
        try:
            function.cache_put("put", key)
        except ZeroDivisionError:
            assert function.cache_info().currsize == 0
        else:
            assert function.cache_info().currsize == 1


def test_a_put_needs_a_running_loop_C5() -> None:
    function, _ = counted()
    with pytest.raises(RuntimeError, match="running .*event loop"):
        function.cache_put("put", 1)


def test_a_put_from_another_loop_resets_the_cache_C5() -> None:
    function, _ = counted()

    async def put(key: int) -> None:
        function.cache_put("put", key)

    asyncio.run(put(1))
    with pytest.warns(AlruCacheLoopResetWarning):
        asyncio.run(put(2))
    assert [key for key in (1, 2) if function.cache_contains(key)] == [2]


async def test_methods_put_and_refresh_with_self_C5_C6() -> None:
    class Service:
        @alru_cache
        async def method(self, key: int) -> Any:
            return key

    one, other = Service(), Service()
    one.method.cache_put("put", 1)
    assert await one.method(1) == "put"
    assert await other.method(1) == 1
    assert await one.method.cache_refresh(1) == 1
    assert await Service.method(one, 1) == 1
    Service.method.cache_put("again", one, key=1)
    assert await one.method(key=1) == "again"
    assert await other.method.cache_warm([(1,), (2,)]) == [1, 2]
    assert one.method.cache_stats() == Service.method.cache_stats()
    assert one.method.cache_memory() == Service.method.cache_memory()


# C6


async def test_the_old_value_is_served_until_the_new_one_is_there_C6(
    controlled: Any,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    runs[0].succeed("old")
    await call
    refreshes = [start(function.cache_refresh(1)) for _ in range(3)]
    await steps()
    assert len(runs) == 2
    assert await function(1) == "old"
    assert function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 1
    runs[1].succeed("new")
    assert await asyncio.gather(*refreshes) == ["new"] * 3
    assert await function(1) == "new"
    assert function.cache_info() == (2, 1, 128, 1)
    stats = function.cache_stats()
    assert (stats.loads, stats.failures) == (2, 0)


async def test_a_failing_refresh_leaves_the_old_value_C6(controlled: Any) -> None:
    function, runs = controlled(error_ttl={ValueError: 10})
    function.cache_put("old", 1)
    refreshes = [start(outcome(function.cache_refresh(1))) for _ in range(2)]
    await steps()
    runs[0].fail(ValueError())
    for error in await asyncio.gather(*refreshes):
        assert isinstance(error, ValueError)
    assert await function(1) == "old"
    assert function.cache_stats().failures == 1
    assert function.cache_info() == (1, 0, 128, 1)


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_refresh_without_an_entry_stores_one_C6(suspends: bool) -> None:
    runs = []

    @alru_cache(maxsize=2)
    async def function(key: int) -> int:
        runs.append(key)
        if suspends:
            await asyncio.sleep(0)
        return len(runs)

    for number in range(1, 4):
        assert await function.cache_refresh(1) == number
    assert await function(1) == 3
    await function(2)
    await function.cache_refresh(3)
    assert [key for key in (1, 2, 3) if function.cache_contains(key)] == [2, 3]


async def test_calls_that_find_no_entry_join_a_refresh_C6(controlled: Any) -> None:
    function, runs = controlled()
    refresh = start(function.cache_refresh(1))
    await steps()
    assert function.cache_contains(1)
    call = start(function(1))
    await steps()
    runs[0].succeed("value")
    assert await refresh == await call == "value"
    assert len(runs) == 1
    assert function.cache_info() == (1, 0, 128, 1)


async def test_a_refresh_joins_a_run_in_flight_C6(controlled: Any) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    refresh = start(function.cache_refresh(1))
    await steps()
    assert len(runs) == 1
    runs[0].succeed("value")
    assert await refresh == await call == "value"
    assert function.cache_info() == (0, 1, 128, 1)


async def test_a_refresh_that_joined_gets_the_failure_C6(controlled: Any) -> None:
    function, runs = controlled()
    call = start(outcome(function(1)))
    await steps()
    refresh = start(outcome(function.cache_refresh(1)))
    await steps()
    runs[0].fail(error := ValueError())
    assert await call is await refresh is error
    assert function.cache_stats().failures == 1


async def test_a_refresh_keeps_the_run_that_it_joined_C6_A5(controlled: Any) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    refresh = start(function.cache_refresh(1))
    await steps()
    call.cancel()
    await steps()
    assert not runs[0].future.cancelled()
    runs[0].succeed("value")
    assert await refresh == "value"


async def test_a_refresh_after_an_invalidation_is_a_run_of_its_own_C6(
    controlled: Any,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    function.cache_invalidate(1)
    refresh = start(function.cache_refresh(1))
    await steps()
    assert len(runs) == 2
    runs[1].succeed("new")
    assert await refresh == "new"
    runs[0].succeed("old")
    assert await call == "old"
    assert await function(1) == "new"


async def test_refreshes_and_calls_in_turn_are_one_run_C6(controlled: Any) -> None:
    function, runs = controlled()
    calls = []
    for call in (function.cache_refresh, function, function.cache_refresh, function):
        calls.append(start(call(1)))
        await steps()
    assert len(runs) == 1
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value"] * 4
    assert function.cache_info() == (2, 0, 128, 1)
    assert function.cache_stats().loads == 1


@pytest.mark.parametrize("drop", ["invalidate", "clear", "put"])
async def test_a_refresh_replaces_nothing_that_came_after_it_C6_B1(
    controlled: Any, drop: str
) -> None:
    function, runs = controlled()
    function.cache_put("old", 1)
    refresh = start(function.cache_refresh(1))
    await steps()
    if drop == "invalidate":
        function.cache_invalidate(1)
    elif drop == "clear":
        function.cache_clear()
    else:
        function.cache_put("put", 1)
    runs[0].succeed("refreshed")
    assert await refresh == "refreshed"
    assert function.cache_contains(1) is (drop == "put")
    if drop == "put":
        assert await function(1) == "put"


async def test_a_refresh_outlives_the_ttl_and_eviction_C6(
    controlled: Any, clock: Clock
) -> None:
    function, runs = controlled(ttl=10, maxsize=1)
    function.cache_put("old", 1)
    refresh = start(function.cache_refresh(1))
    await steps()
    await clock.advance(10)
    function.cache_put("other", 2)
    assert function.cache_info().currsize == 1
    runs[0].succeed("new")
    assert await refresh == "new"
    assert await function(1) == "new"
    assert not function.cache_contains(2)


async def test_the_last_who_waits_for_a_refresh_cancels_it_C6(controlled: Any) -> None:
    function, runs = controlled()
    function.cache_put("old", 1)
    refreshes = [start(function.cache_refresh(1)) for _ in range(2)]
    await steps()
    refreshes[0].cancel()
    await steps()
    assert not runs[0].future.cancelled()
    refreshes[1].cancel()
    await steps()
    assert runs[0].future.cancelled()
    assert await function(1) == "old"
    assert function.cache_parameters()["tasks"] == 0


async def test_closing_ends_a_refresh_C6(controlled: Any) -> None:
    function, runs = controlled()
    refresh = start(function.cache_refresh(1))
    await steps()
    await function.cache_close()
    assert runs[0].future.cancelled()
    assert isinstance(await outcome(refresh), asyncio.CancelledError)
    with pytest.raises(RuntimeError, match="is closed"):
        await function.cache_refresh(1)


async def test_a_refresh_from_its_own_run_raises_C6_B5() -> None:
    @alru_cache
    async def function(key: int) -> Any:
        return await outcome(function.cache_refresh(key))

    result = await asyncio.wait_for(function(1), 1)
    assert isinstance(result, RuntimeError)
    assert "function was called from its own run" in str(result)


async def test_nothing_is_shared_without_a_size_C6() -> None:
    function, runs = counted(maxsize=0)
    assert (
        await asyncio.gather(*(function.cache_refresh(1) for _ in range(3))) == [1] * 3
    )
    assert len(runs) == 3
    assert function.cache_info() == (0, 0, 0, 0)


# C7


async def test_many_are_loaded_a_few_at_a_time_C7() -> None:
    running = most = 0

    @alru_cache(maxsize=None)
    async def function(key: int, other: int = 0) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await steps(3)
        running -= 1
        if key % 5 == 0:
            raise ValueError(key)
        return key + other

    progress: list[tuple[int, int]] = []
    calls = [(key, 1) if key % 2 else (key,) for key in range(20)]
    outcomes = await function.cache_warm(
        iter(calls),
        concurrency=3,
        progress=lambda done, total: progress.append((done, total)),
    )
    assert most == 3
    assert progress == [(done, 20) for done in range(1, 21)]
    for key, result in enumerate(outcomes):
        if key % 5 == 0:
            assert isinstance(result, ValueError)
            assert result.args == (key,)
        else:
            assert result == key + key % 2
    assert function.cache_info() == (0, 20, None, 16)
    assert await function(1, 1) == 2
    assert await function.cache_warm([]) == []


async def test_calls_may_have_keyword_arguments_C7() -> None:
    """Each is a tuple, a mapping, or a pair of a tuple and a mapping."""

    @alru_cache
    async def function(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    calls: list[Any] = [
        (1, 2),
        {"a": 1},
        ((1,), {"a": 2}),
        ((), {"b": 3}),
        ((1,), 5),  # two arguments
        (),
        MappingProxyType({"c": 4}),
        (((1,), frozenset()), {}),
    ]
    expected = [
        ((1, 2), {}),
        ((), {"a": 1}),
        ((1,), {"a": 2}),
        ((), {"b": 3}),
        (((1,), 5), {}),
        ((), {}),
        ((), {"c": 4}),
        (((1,), frozenset()), {}),
    ]
    assert await function.cache_warm(calls) == expected
    assert function.cache_info().misses == len(calls)
    for args, kwargs in expected:
        assert function.cache_contains(*args, **kwargs)


async def test_a_method_is_warmed_with_keyword_arguments_C7_A11() -> None:
    class Service:
        @alru_cache
        async def method(self, a: int, *, b: int = 0) -> int:
            return a + b

    service = Service()
    calls: list[Any] = [(1,), ((1,), {"b": 2}), {"a": 3, "b": 4}]
    assert await service.method.cache_warm(calls) == [1, 3, 7]
    assert service.method.cache_contains(1, b=2)


async def test_warming_one_call_twice_is_one_run_C7(controlled: Any) -> None:
    function, runs = controlled()
    warming = start(function.cache_warm([(1,), (1,), ((1,), {})]))
    await steps()
    assert len(runs) == 1
    runs[0].succeed("value")
    assert await warming == ["value"] * 3


async def test_a_run_that_cancels_itself_does_not_end_the_warming_C7() -> None:
    @alru_cache
    async def function(key: int) -> int:
        if key == 1:
            raise asyncio.CancelledError
        return key

    outcomes = await function.cache_warm([(0,), (1,), (2,)], concurrency=1)
    assert outcomes[0::2] == [0, 2]
    assert isinstance(outcomes[1], asyncio.CancelledError)


async def test_cancelling_the_warming_cancels_its_calls_C7(controlled: Any) -> None:
    function, runs = controlled()
    warming = start(function.cache_warm([(key,) for key in range(10)], concurrency=2))
    await steps()
    assert len(runs) == 2
    warming.cancel()
    assert isinstance(await outcome(warming), asyncio.CancelledError)
    await steps()
    assert all(run.future.cancelled() for run in runs)
    assert function.cache_parameters()["tasks"] == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_the_warming_C7(controlled: Any) -> None:
    function, runs = controlled()
    warming = start(function.cache_warm([(key,) for key in range(10)], concurrency=2))
    await steps()
    await function.cache_close()
    outcomes = await asyncio.wait_for(warming, 1)
    assert len(runs) == 2
    assert [type(result) for result in outcomes[:2]] == [asyncio.CancelledError] * 2
    assert all("is closed" in str(result) for result in outcomes[2:])


async def test_warming_makes_ten_calls_at_a_time_C7(controlled: Any) -> None:
    function, runs = controlled()
    warming = start(function.cache_warm([(key,) for key in range(12)]))
    await steps()
    assert len(runs) == 10
    runs[0].succeed()
    await steps()
    assert len(runs) == 11
    warming.cancel()
    await asyncio.wait([warming])


async def test_what_progress_raises_ends_the_warming_C7(controlled: Any) -> None:
    reports: list[Any] = []
    collect_reports(reports)
    function, runs = controlled()

    def progress(done: int, total: int) -> None:
        raise ZeroDivisionError

    warming = start(
        function.cache_warm([(key,) for key in range(9)], progress=progress)
    )
    await steps()
    runs[0].succeed()
    with pytest.raises(ZeroDivisionError):
        await warming
    await steps()
    assert function.cache_parameters()["tasks"] == 0
    assert reports == []


@pytest.mark.parametrize(
    ("calls", "options", "error", "message"),
    [
        ([(1,), 2], {}, TypeError, "2"),
        (["ab"], {}, TypeError, "'ab'"),
        ([[1]], {}, TypeError, r"\[1\]"),
        ([], {"concurrency": 0}, ValueError, "concurrency must be 1 or more, not 0"),
        ([], {"concurrency": "3"}, TypeError, "concurrency must be an int, not '3'"),
        ([], {"concurrency": True}, TypeError, "concurrency must be an int, not True"),
    ],
)
async def test_bad_warmings_are_refused_before_they_begin_C7(
    calls: Any, options: Any, error: type[Exception], message: str
) -> None:
    function, runs = counted()
    with pytest.raises(error, match=message):
        await function.cache_warm(calls, **options)
    assert runs == []
