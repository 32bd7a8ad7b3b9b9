"""Calls that went wrong once: other people's callbacks, false alarms, what was left."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import Clock, Controlled, needs_refcount, outcome, start, steps

from async_lru import AlruCacheWrapper, alru_cache

Make = Callable[..., Controlled]


# Callbacks of the user's on tasks that call from inside a run


def closure_with_an_empty_cell() -> Callable[[object], None]:
    def callback(task: object) -> None:
        if task is None:
            print(deleted)

    deleted = 1
    del deleted
    return callback


class CallbackWithArgs:
    """Has an attribute that partials have too, but of another kind."""

    args = 1

    def __call__(self, task: object) -> None:
        pass


@pytest.mark.parametrize(
    "make_callback",
    [Mock, closure_with_an_empty_cell, CallbackWithArgs],
)
async def test_a_callback_on_a_task_inside_a_run_is_left_alone_B5(
    make_callback: Callable[[], Any],
) -> None:
    @alru_cache
    async def inner(key: int) -> int:
        await asyncio.sleep(0)
        return key

    @alru_cache
    async def outer(key: int) -> Any:
        task = start(inner(key))
        task.add_done_callback(make_callback())
        return await asyncio.gather(task)

    assert await outcome(outer(1)) == [1]


# What the search for a cycle costs


async def calls_made_by(coroutine: Any) -> int:
    """Count the calls of functions until *coroutine* has ended."""
    number = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    former = sys.getprofile()
    sys.setprofile(count)
    try:
        await coroutine
    finally:
        sys.setprofile(former)
    return number


async def test_calls_gathered_inside_a_run_cost_what_others_do_B5() -> None:
    def gathering(decorate: Callable[[Any], Any]) -> Any:
        @alru_cache
        async def inner(key: int) -> int:
            await asyncio.sleep(0)
            return key

        @decorate
        async def outer() -> None:
            await asyncio.gather(*map(inner, range(20)))

        return outer

    plain = await calls_made_by(gathering(lambda function: function)())
    cached = await calls_made_by(gathering(alru_cache)())
    assert cached < 1.3 * plain


# No false alarm


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0.01}, {"return_when": asyncio.FIRST_COMPLETED}],
    ids=["timeout", "first completed"],
)
async def test_a_run_that_does_not_wait_to_the_end_is_no_cycle_B5(
    options: dict[str, Any],
) -> None:
    tasks = []

    @alru_cache
    async def function(key: int) -> str:
        tasks.append(start(function(key)))
        await asyncio.wait([*tasks, start(asyncio.sleep(0))], **options)
        return "value"

    assert await outcome(function(1)) == "value"
    assert await outcome(tasks[0]) == "value"


# Waiters that leave in other ways than by cancellation


async def test_a_waiter_that_leaves_with_any_error_is_the_last_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    call = function(1)
    call.send(None)
    await steps()
    with pytest.raises(ZeroDivisionError):
        call.throw(ZeroDivisionError())
    await steps()
    assert runs[0].future.cancelled()


async def test_a_waiter_that_left_with_any_error_holds_no_run_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    other = start(function(1))
    await steps()
    call = function(1)
    call.send(None)
    with pytest.raises(ZeroDivisionError):
        call.throw(ZeroDivisionError())
    await steps()
    assert not runs[0].future.done()
    other.cancel()
    await steps()
    assert runs[0].future.cancelled()


# Closing while a run cleans up


async def test_closing_lets_a_cancelled_run_clean_up_B4() -> None:
    may_end = asyncio.Event()
    has_cleaned_up = False

    @alru_cache
    async def function(key: int) -> None:
        nonlocal has_cleaned_up
        try:
            await asyncio.sleep(3600)
        finally:
            await may_end.wait()
            has_cleaned_up = True

    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    closing = start(function.cache_close())
    await steps()
    may_end.set()
    await closing
    assert has_cleaned_up


# Errors that are kept alive by a reference cycle. In a loop of their own: before Python
# 3.11 the plugin for pytest runs tests in tasks that make such cycles themselves.


class Failure(Exception):
    pass


class Failing:
    """Makes functions that fail, and knows which exceptions still exist."""

    def __init__(self, suspensions: int) -> None:
        self.suspensions = suspensions
        self.references: list[weakref.ref[Exception]] = []

    def function(self, **options: Any) -> AlruCacheWrapper[[int], Any]:
        @alru_cache(**options)
        async def function(key: int) -> Any:
            await steps(self.suspensions)
            raise self.failure()

        return function

    def failure(self) -> Exception:
        error = Failure()
        self.references.append(weakref.ref(error))
        return error

    @property
    def alive(self) -> list[bool]:
        return [reference() is not None for reference in self.references]


@pytest.fixture(params=[0, 1], ids=["at once", "after a suspension"])
def failing(request: pytest.FixtureRequest) -> Iterator[Failing]:
    gc.disable()
    yield Failing(request.param)
    gc.enable()


@needs_refcount
def test_a_failing_refresh_leaves_no_cycle_B3(failing: Failing) -> None:
    async def main() -> None:
        function = failing.function()
        with pytest.raises(Failure):
            await function.cache_refresh(1)
        await steps()
        assert failing.alive == [False]

    asyncio.run(main())


@needs_refcount
def test_an_error_behind_a_stale_value_leaves_no_cycle_B3(failing: Failing) -> None:
    async def main() -> None:
        clock = Clock()
        function = failing.function(ttl=10, stale_if_error=20)
        function.cache_put("old", 1)
        clock.turn(15)
        assert await function(1) == "old"
        await steps()
        assert failing.alive == [False]

    asyncio.run(main())


@needs_refcount
def test_a_failing_warm_up_leaves_no_cycle_B3(failing: Failing) -> None:
    async def main() -> None:
        function = failing.function()
        assert len(await function.cache_warm([(1,), (2,)])) == 2
        await steps()
        assert failing.alive == [False, False]

    asyncio.run(main())


# Values that outlive their time


@needs_refcount
async def test_an_overdue_value_is_gone_while_a_call_waits_for_the_next_B3(
    clock: Clock,
) -> None:
    class Value:
        pass

    first = True

    @alru_cache(ttl=10)
    async def function(key: int) -> Value:
        nonlocal first
        if not first:
            await asyncio.sleep(3600)
        first = False
        return Value()

    reference = weakref.ref(await function(1))
    await steps()
    assert reference() is not None
    clock.turn(20)  # the timer does not get its turn
    waiting = start(function(1))
    await steps(2)
    assert function.cache_parameters()["tasks"] == 1
    assert reference() is None
    waiting.cancel()


# What one call pays for cleaning up after others


async def most_steps_of_an_invalidation(values: int) -> int:
    """Invalidate so many values; count the instructions of the longest call.

    Those of garbage that happens to die meanwhile do not count.
    """

    @alru_cache(maxsize=None, ttl=3600, jitter=60)
    async def function(key: int) -> None:
        pass

    number = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal number
        number += 1
        frame.f_trace_opcodes = True
        return trace

    for key in range(values):
        function.cache_put(None, key)
    most = 0
    former = sys.gettrace()
    gc.collect()
    gc.disable()
    try:
        for key in range(values):
            number = 0
            sys.settrace(trace)
            function.cache_invalidate(key)
            sys.settrace(former)
            most = max(most, number)
    finally:
        sys.settrace(former)
        gc.enable()
    return most


async def test_no_invalidation_pays_for_the_cleaning_of_all_B3() -> None:
    few = await most_steps_of_an_invalidation(1_000)
    many = await most_steps_of_an_invalidation(4_000)
    assert many < 2 * few
