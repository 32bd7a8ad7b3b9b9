"""C13: stale_if_slow, which says how long a call waits where there is a stale value."""

import asyncio
from typing import Any

import pytest
from conftest import Clock, Timers, collect_reports, outcome, start, steps

Make = Any


async def stale(controlled: Make, clock: Clock, **options: Any) -> tuple[Any, Any]:
    """Return a function with "old" for 1, which is past its ttl, and its runs."""
    options.setdefault("stale_if_error", 20)
    function, runs = controlled(ttl=10, stale_if_slow=2, **options)
    function.cache_put("old", 1)
    await clock.advance(10)
    return function, runs


async def test_a_slow_run_gives_the_stale_value_C13(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    await clock.advance(1.9)
    assert not any(call.done() for call in calls)
    await clock.advance(0.1)
    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == ["old"] * 3
    assert len(runs) == 1


async def test_the_slow_run_goes_on_in_the_background_C13(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    await clock.advance(2)
    assert await call == "old"
    assert function.cache_parameters()["tasks"] == 1
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"
    assert len(runs) == 1


async def test_a_run_in_time_gives_the_new_value_C13(
    controlled: Make, clock: Clock, timers: Timers
) -> None:
    function, runs = await stale(controlled, clock)
    armed = len(timers.armed)
    call = start(function(1))
    await steps()
    await clock.advance(1)
    runs[0].succeed("new")
    assert await call == "new"
    assert len(timers.armed) <= armed + 1  # that of the new value


async def test_later_calls_wait_for_the_same_run_as_long_C13(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    first = start(function(1))
    await steps()
    await clock.advance(1)
    second = start(function(1))
    await steps()
    await clock.advance(1)
    assert (first.done(), second.done()) == (True, False)
    await clock.advance(1)
    assert await first == await second == "old"
    third = start(function(1))
    await steps()
    runs[0].succeed("new")
    assert await third == "new"
    assert len(runs) == 1


async def test_with_0_a_call_never_waits_C13(controlled: Make, clock: Clock) -> None:
    function, runs = controlled(ttl=10, stale_if_error=20, stale_if_slow=0)
    function.cache_put("old", 1)
    await clock.advance(10)
    with pytest.raises(StopIteration) as stopped:
        function(1).send(None)
    assert stopped.value.value == "old"
    await steps()
    assert len(runs) == 1
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"


async def test_without_a_value_a_call_waits_C13(controlled: Make, clock: Clock) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(2))
    await steps()
    await clock.advance(100)
    assert not call.done()
    runs[0].succeed("two")
    assert await call == "two"


async def test_past_its_time_a_stale_value_is_not_served_C13_B2(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock, stale_if_error=5)
    await clock.advance(4)
    call = start(function(1))
    await steps()
    await clock.advance(2)
    assert not call.done()
    runs[0].succeed("new")
    assert await call == "new"


@pytest.mark.parametrize("drop", ["invalidate", "clear"])
async def test_a_value_that_was_dropped_is_not_served_C13_A8(
    controlled: Make, clock: Clock, drop: str
) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    if drop == "clear":
        function.cache_clear()
    else:
        function.cache_invalidate(1)
    await clock.advance(2)
    assert not call.done()
    runs[0].succeed("new")
    assert await call == "new"


async def test_after_the_window_of_revalidation_calls_wait_so_long_C13(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock, stale_while_revalidate=5)
    assert await function(1) == "old"
    await clock.advance(6)
    call = start(function(1))
    await steps()
    assert not call.done()
    await clock.advance(2)
    assert await call == "old"
    assert len(runs) == 1


async def test_with_revalidation_alone_nothing_changes_C13(
    controlled: Make, clock: Clock
) -> None:
    function, runs = controlled(ttl=10, stale_while_revalidate=20, stale_if_slow=2)
    function.cache_put("old", 1)
    await clock.advance(10)
    assert await function(1) == "old"
    await steps()
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"


async def test_a_failure_after_the_call_was_answered_is_reported_C13_B3(
    controlled: Make, clock: Clock
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    await clock.advance(2)
    assert await call == "old"
    runs[0].fail(error := ValueError())
    await steps()
    assert [report["exception"] for report in reports] == [error]
    assert function.__qualname__ in reports[0]["message"]
    assert await function(1) == "old"


async def test_a_failure_in_time_gives_the_stale_value_C13_C8(
    controlled: Make, clock: Clock
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    runs[0].fail(ValueError())
    assert await call == "old"
    assert reports == []


async def test_who_is_cancelled_while_it_waits_cancels_the_run_C13_A5(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert call.cancelled()
    assert runs[0].future.cancelled()


async def test_who_is_cancelled_leaves_a_run_that_went_on_alone_C13_A5(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    first = start(function(1))
    await steps()
    await clock.advance(1)
    second = start(function(1))
    await steps()
    await clock.advance(1)
    assert await first == "old"
    second.cancel()
    await steps()
    assert not runs[0].future.cancelled()
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"


async def test_who_is_cancelled_just_when_it_was_answered_leaves_the_run_alone_C13_A5(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    loop = asyncio.get_running_loop()
    loop.call_at(clock.now + 2.001, call.cancel)  # in the turn after the answer
    clock.turn(2.001)
    await steps()
    assert call.cancelled()
    assert not runs[0].future.cancelled()
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"


async def test_a_run_that_went_on_is_cancelled_when_it_is_dropped_C13_A8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    call = start(function(1))
    await steps()
    await clock.advance(2)
    assert await call == "old"
    function.cache_invalidate(1)
    await steps()
    assert runs[0].future.cancelled()


async def test_a_refresh_waits_for_its_run_C13_C6(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    refresh = start(outcome(function.cache_refresh(1)))
    await steps()
    await clock.advance(5)
    assert not refresh.done()
    runs[0].succeed("new")
    assert await refresh == "new"


async def test_a_call_that_was_rescued_counts_as_what_it_began_as_C13_C4(
    controlled: Make, clock: Clock
) -> None:
    function, runs = await stale(controlled, clock)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    await clock.advance(2)
    assert await asyncio.gather(*calls) == ["old"] * 3
    stats = function.cache_stats()
    assert (stats.misses, stats.hits, stats.joins, stats.stale_hits) == (1, 2, 2, 0)
    runs[0].succeed("new")
