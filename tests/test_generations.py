"""B1: an older run for a key never touches the newer entry."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Clock, Controlled, outcome, start, steps

Make = Callable[..., Controlled]


def drop_by_invalidating(function: Any) -> None:
    function.cache_invalidate(1)


def drop_by_clearing(function: Any) -> None:
    function.cache_clear()


def succeed(run: Any, call: Any) -> None:
    run.succeed("old")


def fail(run: Any, call: Any) -> None:
    run.fail(ValueError("old"))


def cancel_run(run: Any, call: Any) -> None:
    run.task.cancel()


def cancel_waiter(run: Any, call: Any) -> None:
    call.cancel()


drops = pytest.mark.parametrize("drop", [drop_by_invalidating, drop_by_clearing])
ends = pytest.mark.parametrize("end", [succeed, fail, cancel_run, cancel_waiter])
kinds = pytest.mark.parametrize("options", [{}, {"ttl": 10}, {"maxsize": None}])


@drops
@ends
@kinds
async def test_an_older_run_leaves_a_newer_run_alone_B1(
    controlled: Make, drop: Any, end: Any, options: dict[str, Any]
) -> None:
    function, runs = controlled(**options)
    old = start(function(1))
    await steps()
    drop(function)
    new = start(function(1))
    await steps()
    end(runs[0], old)
    await outcome(old)
    await steps()
    assert function.cache_contains(1)
    assert function.cache_info().currsize == 1
    joined = start(function(1))
    await steps()
    assert len(runs) == 2
    runs[1].succeed("new")
    assert await asyncio.gather(new, joined) == ["new", "new"]
    assert await function(1) == "new"
    assert len(runs) == 2


@drops
@ends
@kinds
async def test_an_older_run_leaves_a_newer_value_alone_B1(
    controlled: Make, drop: Any, end: Any, options: dict[str, Any]
) -> None:
    function, runs = controlled(**options)
    old = start(function(1))
    await steps()
    drop(function)
    new = start(function(1))
    await steps()
    runs[1].succeed("new")
    assert await new == "new"
    end(runs[0], old)
    await outcome(old)
    await steps()
    assert await function(1) == "new"
    assert len(runs) == 2
    assert function.cache_info().currsize == 1


@drops
@pytest.mark.parametrize("jitter", [None, 0.001])
async def test_an_older_timer_leaves_a_newer_entry_alone_B1(
    clock: Clock, controlled: Make, drop: Any, jitter: float | None
) -> None:
    function, runs = controlled(ttl=10, jitter=jitter)
    old = start(function(1))
    await steps()
    runs[0].succeed("old")
    await old
    await clock.advance(6)
    drop(function)
    new = start(function(1))
    await steps()
    runs[1].succeed("new")
    await new
    await clock.advance(6)
    assert await function(1) == "new"
    await clock.advance(4.01)
    assert not function.cache_contains(1)


async def test_the_timer_of_an_evicted_entry_leaves_a_newer_alone_B1(
    clock: Clock, controlled: Make
) -> None:
    function, runs = controlled(maxsize=1, ttl=10)

    async def load(key: int) -> None:
        call = start(function(key))
        await steps()
        runs[-1].succeed(key)
        await call

    await load(1)
    await clock.advance(3)
    await load(2)
    await clock.advance(3)
    await load(1)
    await clock.advance(6)
    assert function.cache_contains(1)
    await clock.advance(4)
    assert not function.cache_contains(1)


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@ends
@kinds
def test_a_run_of_another_loop_leaves_the_newer_entry_alone_B1(
    controlled: Make, end: Any, options: dict[str, Any]
) -> None:
    """Both loops live; the first goes on after the second has taken the cache."""
    function, runs = controlled(**options)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        old = first.create_task(function(1))
        first.run_until_complete(steps())
        new = second.create_task(function(1))
        second.run_until_complete(steps())
        assert len(runs) == 2
        end(runs[0], old)
        first.run_until_complete(outcome(old))
        first.run_until_complete(steps())
        assert function.cache_contains(1)
        runs[1].succeed("new")
        assert second.run_until_complete(new) == "new"
        assert second.run_until_complete(function(1)) == "new"
        assert len(runs) == 2
        assert function.cache_info() == (1, 1, options.get("maxsize", 128), 1)
    finally:
        first.close()
        second.close()


async def test_many_generations_end_in_any_order_B1(controlled: Make) -> None:
    function, runs = controlled()
    calls = []
    for _ in range(5):
        calls.append(start(function(1)))
        await steps()
        function.cache_invalidate(1)
    calls.append(start(function(1)))
    await steps()
    for number in (3, 5, 0, 4, 1, 2):
        runs[number].succeed(number)
        await steps()
        if number != 3:
            assert await function(1) == 5
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4, 5]
