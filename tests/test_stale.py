"""C8: stale-while-revalidate and stale-if-error, as in RFC 5861."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from conftest import Clock, collect_reports, needs_refcount, outcome, start, steps

from async_lru import alru_cache

Make = Any


async def loaded(controlled: Make, **options: Any) -> tuple[Any, Any]:
    """Return a function with "old" for 1, and its runs, none of them yet."""
    function, runs = controlled(ttl=10, **options)
    function.cache_put("old", 1)
    return function, runs


async def call(function: Any) -> Any:
    return await asyncio.wait_for(function(1), 5)


async def replaced(function: Any, run: Any) -> None:
    """End *run* with "new", and see it served."""
    run.succeed("new")
    await steps()
    assert await call(function) == "new"


async def test_a_stale_value_is_served_while_it_is_replaced_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(9)
    assert await call(function) == "old"
    assert not runs
    await clock.advance(1)
    for _ in range(3):
        assert await call(function) == "old"
    await steps()
    assert len(runs) == 1
    assert function.cache_parameters()["tasks"] == 1
    assert function.cache_contains(1)
    assert function.cache_info() == (4, 0, 128, 1)
    await replaced(function, runs[0])
    await clock.advance(9)
    assert await call(function) == "new"
    assert len(runs) == 1
    stats = function.cache_stats()
    assert (stats.hits, stats.misses, stats.loads, stats.evictions) == (6, 0, 1, 0)
    assert stats.stale_hits == 3


@pytest.mark.parametrize("option", ["stale_while_revalidate", "stale_if_error"])
async def test_after_its_time_a_stale_value_is_gone_C8(
    controlled: Make, clock: Clock, option: str
) -> None:
    function, runs = await loaded(controlled, **{option: 20})
    await clock.advance(29)
    assert function.cache_contains(1)
    assert function.cache_info().currsize == 1
    await clock.advance(1)
    assert not function.cache_contains(1)
    assert function.cache_info().currsize == 0
    assert function.cache_stats().expirations == 1
    running = start(function(1))
    await steps()
    runs[0].fail(ValueError())
    assert isinstance(await outcome(running), ValueError)


async def test_a_stale_value_is_not_served_when_the_timer_is_late_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    clock.turn(30)
    running = start(function(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(runs) == 1
    assert not running.done()
    running.cancel()
    await steps()


async def test_a_background_run_outlives_its_caller_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)
    caller = start(function(1))
    assert await caller == "old"
    await steps()
    await clock.advance(19)
    assert not runs[0].future.cancelled()
    await replaced(function, runs[0])


async def test_who_joins_a_background_run_does_not_cancel_it_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(
        controlled, stale_while_revalidate=5, stale_if_error=20
    )
    await clock.advance(10)
    assert await call(function) == "old"
    await clock.advance(10)  # now calls wait for it
    joining = start(function(1))
    await steps()
    assert len(runs) == 1
    joining.cancel()
    await steps()
    assert not runs[0].future.cancelled()
    await replaced(function, runs[0])


@pytest.mark.parametrize("drop", ["invalidate", "clear", "close"])
async def test_a_background_run_that_can_no_longer_store_is_cancelled_C8_A8(
    controlled: Make, clock: Clock, drop: str
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20, maxsize=1)
    await clock.advance(10)
    assert await call(function) == "old"
    await steps()
    if drop == "invalidate":
        assert function.cache_invalidate(1)
    elif drop == "clear":
        function.cache_clear()
    else:
        await function.cache_close()
    await steps()
    assert runs[0].future.cancelled()
    assert function.cache_contains(1) is (drop == "close")
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("drop", ["evict", "expire"])
async def test_a_background_run_outlives_the_old_value_C8_A6(
    controlled: Make, clock: Clock, drop: str
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20, maxsize=1)
    await clock.advance(10)
    assert await call(function) == "old"
    await steps()
    if drop == "evict":
        function.cache_put("other", 2)
    else:
        await clock.advance(20)
    joining = start(function(1))
    await steps()
    assert len(runs) == 1
    runs[0].succeed("new")
    assert await joining == "new"
    assert await call(function) == "new"


async def test_an_older_run_that_fails_leaves_a_background_run_alone_C8_B1(
    controlled: Make, clock: Clock
) -> None:
    function, runs = controlled(ttl=10, stale_while_revalidate=20)
    older = start(outcome(function(1)))
    await steps()
    function.cache_put("put", 1)
    await clock.advance(10)
    assert await call(function) == "put"
    await steps()
    runs[0].fail(ValueError())
    assert isinstance(await older, ValueError)
    assert not runs[1].future.done()
    function.cache_invalidate(1)
    await steps()
    assert runs[1].future.cancelled()


async def test_a_background_run_that_somebody_joined_goes_on_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(
        controlled, stale_while_revalidate=5, stale_if_error=20
    )
    await clock.advance(10)
    assert await call(function) == "old"
    await clock.advance(10)
    joining = start(function(1))
    await steps()
    function.cache_invalidate(1)
    await steps()
    runs[0].succeed("new")
    assert await joining == "new"
    assert not function.cache_contains(1)


async def test_a_value_put_meanwhile_stays_C8(controlled: Make, clock: Clock) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)
    assert await call(function) == "old"
    await steps()
    function.cache_put("put", 1)
    await steps()
    assert runs[0].future.cancelled()
    assert await call(function) == "put"
    assert function.cache_parameters()["tasks"] == 0


async def test_failures_in_the_background_are_reported_and_not_hammered_C8(
    controlled: Make, clock: Clock
) -> None:
    reports: list[Any] = []
    collect_reports(reports)
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)
    for number in range(1, 4):
        for _ in range(3):
            assert await call(function) == "old"
        await steps()
        assert len(runs) == number
        runs[-1].fail(ValueError(number))
        await steps()
        assert [report["exception"].args for report in reports] == [
            (n,) for n in range(1, number + 1)
        ]
        await clock.advance(0.5)
        assert await call(function) == "old"
        await steps()
        assert len(runs) == number
        await clock.advance(0.5)
    assert function.cache_stats().failures == 3
    await clock.advance(20)
    assert function.cache_info().currsize == 0


async def test_failures_in_the_background_are_reported_though_rescued_C8(
    controlled: Make, clock: Clock
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = await loaded(
        controlled, stale_while_revalidate=20, stale_if_error=20
    )
    await clock.advance(12)
    assert await call(function) == "old"
    await steps()
    runs[0].fail(failure := ValueError())
    await steps()
    assert [report["exception"] for report in reports] == [failure]
    assert await call(function) == "old"


async def test_how_soon_to_try_again_can_be_told_C8(
    controlled: Make, clock: Clock
) -> None:
    collect_reports([])
    function, runs = await loaded(controlled, stale_while_revalidate=20, stale_retry=0)
    await clock.advance(10)
    for number in range(1, 4):
        assert await call(function) == "old"
        await steps()
        assert len(runs) == number
        runs[-1].fail(ValueError())
        await steps()


async def test_a_failing_run_serves_the_old_value_C8(
    controlled: Make, clock: Clock
) -> None:
    reports: list[Any] = []
    collect_reports(reports)
    function, runs = await loaded(controlled, stale_if_error=20)
    await clock.advance(10)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    assert len(runs) == 1
    assert function.cache_info() == (2, 1, 128, 1)
    runs[0].fail(ValueError())
    assert await asyncio.gather(*calls) == ["old"] * 3
    assert await call(function) == "old"  # without a run, for a second
    assert len(runs) == 1
    assert function.cache_info() == (3, 1, 128, 1)
    await clock.advance(1)
    again = start(function(1))
    await steps()
    runs[1].succeed("new")
    assert await again == "new"
    assert await call(function) == "new"
    stats = function.cache_stats()
    assert (stats.loads, stats.failures, stats.misses, stats.evictions) == (1, 1, 2, 0)
    assert reports == []


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), SystemExit(), KeyboardInterrupt()]
)
async def test_only_exceptions_are_hidden_by_the_old_value_C8(
    clock: Clock, error: BaseException
) -> None:
    @alru_cache(ttl=10, stale_if_error=20)
    async def function() -> str:
        raise error

    function.cache_put("old")
    await clock.advance(10)
    try:
        await function()
    except BaseException as caught:
        assert type(caught) is type(error)
    else:
        raise AssertionError
    assert function.cache_contains()


async def test_a_run_that_fails_too_late_fails_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_if_error=20)
    await clock.advance(29)
    running = start(outcome(function(1)))
    await steps()
    await clock.advance(1)
    runs[0].fail(ValueError())
    assert isinstance(await running, ValueError)
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("late", [0, 1])
async def test_a_run_that_fails_too_late_fails_though_the_timer_is_late_C8_B2(
    controlled: Make, clock: Clock, late: float
) -> None:
    function, runs = await loaded(controlled, stale_if_error=5)
    await clock.advance(12)
    calling = start(outcome(function(1)))
    await steps()
    clock.turn(3 + late)
    runs[0].fail(ValueError())
    assert isinstance(await calling, ValueError)


async def test_a_replaced_stale_value_is_no_eviction_C8_C4(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, maxsize=1, stale_if_error=5)
    await clock.advance(12)
    calling = start(function(1))
    await steps()
    runs[0].succeed("new")
    assert await calling == "new"
    assert function.cache_stats().evictions == 0
    function.cache_put("other", 2)
    assert function.cache_stats().evictions == 1


async def test_a_refresh_without_an_entry_that_fails_C8_C6(
    controlled: Make, clock: Clock
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = controlled(ttl=10, stale_if_error=5)
    refreshing = start(outcome(function.cache_refresh(1)))
    await steps()
    runs[0].fail(ValueError())
    assert isinstance(await refreshing, ValueError)
    del refreshing
    runs.clear()
    gc.collect()
    assert not reports
    assert not function.cache_contains(1)


async def test_the_windows_are_about_different_things_C8(
    controlled: Make, clock: Clock
) -> None:
    """While it is revalidated in the background, errors are hidden for longer."""
    reports: list[Any] = []
    collect_reports(reports)
    function, runs = await loaded(
        controlled, stale_while_revalidate=5, stale_if_error=20
    )
    await clock.advance(12)
    assert await call(function) == "old"
    await steps()
    await clock.advance(6)
    joining = start(function(1))
    await steps()
    assert len(runs) == 1
    runs[0].fail(ValueError())
    assert await joining == "old"
    assert len(reports) == 1


async def test_an_explicit_refresh_raises_C8_C6(controlled: Make, clock: Clock) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)
    refresh = start(outcome(function.cache_refresh(1)))
    await steps()
    assert await call(function) == "old"
    assert len(runs) == 1
    runs[0].fail(ValueError())
    assert isinstance(await refresh, ValueError)
    assert await call(function) == "old"


async def test_a_refresh_raises_what_the_old_value_hides_from_others_C8_C6(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_if_error=20)
    await clock.advance(10)
    refreshes = [start(outcome(function.cache_refresh(1))) for _ in range(2)]
    await steps()
    joining = start(function(1))
    await steps()
    assert len(runs) == 1
    runs[0].fail(ValueError())
    assert await joining == "old"
    for error in await asyncio.gather(*refreshes):
        assert isinstance(error, ValueError)


async def test_a_refresh_joins_the_background_run_C8_C6(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)
    assert await call(function) == "old"
    refresh = start(function.cache_refresh(1))
    await steps()
    assert len(runs) == 1
    runs[0].succeed("new")
    assert await refresh == "new"


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_function_may_ask_for_its_own_stale_value_C8_B5(
    clock: Clock, suspends: bool
) -> None:
    @alru_cache(ttl=10, stale_while_revalidate=20)
    async def function() -> str:
        if suspends:
            await asyncio.sleep(0)
        return f"{await function()}er"

    function.cache_put("new")
    await clock.advance(10)
    assert await function() == "new"
    await steps()
    assert await function() == "newer"


async def test_a_failing_task_factory_is_a_failure_in_the_background_C8(
    controlled: Make, clock: Clock
) -> None:
    reports: list[Any] = []
    collect_reports(reports)
    function, _ = await loaded(controlled, stale_while_revalidate=20)
    await clock.advance(10)

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        coroutine.close()
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        assert await function(1) == "old"
        assert await function(1) == "old"
    finally:
        loop.set_task_factory(None)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    assert function.cache_parameters()["tasks"] == 0


async def test_the_background_runs_of_other_keys_go_on_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_while_revalidate=20)
    function.cache_put("other", 2)
    await clock.advance(10)
    assert await call(function) == "old"
    await steps()
    function.cache_invalidate(2)
    await replaced(function, runs[0])


@needs_refcount
async def test_stale_values_die_when_their_callers_have_moved_on_C8_B3(
    clock: Clock,
) -> None:
    class Value:
        pass

    @alru_cache(ttl=10, stale_while_revalidate=20)
    async def function() -> Value:
        return Value()

    gc.disable()
    try:
        references = [weakref.ref(await function())]
        await clock.advance(10)
        await function()
        await steps()
        assert references[0]() is None
        references.append(weakref.ref(await function()))
        function.cache_clear()
        await steps()
        assert references[1]() is None
    finally:
        gc.enable()


async def test_what_was_rescued_counts_as_what_it_began_as_C4_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_if_error=20)
    await clock.advance(10)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    runs[0].fail(ValueError())
    assert await asyncio.gather(*calls) == ["old"] * 3
    stats = function.cache_stats()
    assert (stats.misses, stats.hits, stats.joins, stats.stale_hits) == (1, 2, 2, 0)


async def test_what_is_served_until_the_next_try_is_a_stale_hit_C4_C8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await loaded(controlled, stale_if_error=20)
    await clock.advance(10)
    calling = start(function(1))
    await steps()
    runs[0].fail(ValueError())
    assert await calling == "old"
    for _ in range(2):
        assert await call(function) == "old"
    stats = function.cache_stats()
    assert (stats.misses, stats.hits, stats.joins, stats.stale_hits) == (1, 2, 0, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stale_if_error": 5}, ValueError, "stale_if_error=5 requires a ttl"),
        ({"stale_while_revalidate": 5}, ValueError, "requires a ttl"),
        ({"ttl": 1, "stale_if_error": -5}, ValueError, "0 or more, not -5"),
        ({"ttl": 1, "stale_if_error": -0.5}, ValueError, "0 or more, not -0.5"),
        ({"ttl": 1, "stale_if_error": "5"}, TypeError, "stale_if_error must be"),
        ({"ttl": 1, "stale_if_error": float("inf")}, ValueError, "finite number"),
        ({"ttl": 1, "stale_retry": 5}, ValueError, "stale_retry=5 requires stale_"),
        ({"ttl": 1, "stale_if_slow": 5}, ValueError, "stale_if_slow"),
        ({"stale_if_slow": 5}, ValueError, "stale_if_slow"),
        (
            {"ttl": 1, "stale_if_error": 5, "stale_if_slow": -1},
            ValueError,
            "stale_if_slow",
        ),
        (
            {"ttl": 1, "stale_if_error": 5, "stale_if_slow": "1"},
            TypeError,
            "stale_if_slow",
        ),
        (
            {"ttl": 1, "stale_if_error": 5, "stale_if_slow": float("nan")},
            ValueError,
            "stale_if_slow",
        ),
    ],
)
def test_bad_options_are_refused_C8_C13(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        alru_cache(**options)


async def test_a_failure_in_the_background_is_reported_once_C8(clock: Clock) -> None:
    """Although those who had joined the run were cancelled when they had been told."""
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    gate = asyncio.get_running_loop().create_future()
    started = clock.now

    @alru_cache(ttl=10, stale_while_revalidate=10)
    async def function() -> None:
        if clock.now > started:
            await gate

    await function()
    await clock.advance(15)
    await function()
    await steps()
    await clock.advance(10)
    joined = start(function())
    await steps()
    gate.set_exception(ValueError())
    await steps(1)  # the run has failed, and the call has not resumed
    joined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joined
    assert [report["message"].split("failed ")[1][:17] for report in reports] == [
        "in the background"
    ]
