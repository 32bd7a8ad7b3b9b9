"""A9: closing and opening. B4: what counts as in flight, and closing from another loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import (
    Clock,
    Controlled,
    Timers,
    counted,
    needs_eager,
    outcome,
    start,
    steps,
)

from async_lru import alru_cache

Make = Callable[..., Controlled]


async def test_a_closed_cache_refuses_calls_A9() -> None:
    function, runs = counted()
    await function(1)
    assert await function.cache_close() is None
    with pytest.raises(RuntimeError, match=r"counted\.<locals>\.function"):
        await function(1)
    with pytest.raises(RuntimeError, match=r"counted\.<locals>\.function"):
        await function(2)
    assert len(runs) == 1
    assert function.cache_parameters()["closed"] is True


async def test_a_cache_that_was_never_called_can_be_closed_A9() -> None:
    function, _ = counted(ttl=1)
    await function.cache_close()
    with pytest.raises(RuntimeError):
        await function(1)


async def test_a_closed_cache_still_tells_A9() -> None:
    function, _ = counted(ttl=10)
    await function(1)
    await function(1)
    await function.cache_close()
    assert function.cache_info() == (1, 1, 128, 1)
    assert function.cache_contains(1)
    assert not function.cache_contains(2)


async def test_values_of_a_closed_cache_are_served_to_nobody_A9(clock: Clock) -> None:
    function, runs = counted(ttl=10, stale_while_revalidate=10, stale_if_error=10)
    await function(1)
    await function.cache_close()
    for seconds in (0, 15):
        await clock.advance(seconds)
        with pytest.raises(RuntimeError):
            await function(1)
    assert len(runs) == 1


async def test_values_of_a_closed_cache_can_be_dropped_A8_A9() -> None:
    function, _ = counted()
    for key in (1, 2, 3):
        await function(key)
    await function.cache_close()
    assert function.cache_invalidate(1)
    assert not function.cache_invalidate(1)
    assert function.cache_info().currsize == 2
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    with pytest.raises(RuntimeError):
        await function(1)


async def test_overdue_values_of_a_closed_cache_go_when_somebody_looks_A9(
    clock: Clock,
) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    await clock.advance(5)
    await function(2)
    await function.cache_close()
    await clock.advance(5)
    assert function.cache_info().currsize == 1
    assert not function.cache_contains(1)
    assert function.cache_contains(2)
    await clock.advance(5)
    assert not function.cache_contains(2)
    assert not function.cache_invalidate(2)
    assert function.cache_info().currsize == 0


async def test_a_closed_cache_refuses_more_than_calls_A9() -> None:
    function, runs = counted()
    await function.cache_close()
    name = r"counted\.<locals>\.function"
    with pytest.raises(RuntimeError, match=name):
        function.cache_put("value", 1)
    with pytest.raises(RuntimeError, match=name):
        await function.cache_refresh(1)
    with pytest.raises(RuntimeError, match=name):
        await function.cache_warm([(1,), (2,)])
    assert runs == []
    assert function.cache_info() == (0, 0, 128, 0)


async def test_closing_cancels_the_runs_in_flight_A9(controlled: Make) -> None:
    function, runs = controlled()
    calls = [start(function(key)) for key in (1, 2, 2)]
    await steps()
    await function.cache_close()
    assert all(run.task.cancelled() for run in runs)
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert function.cache_parameters()["tasks"] == 0


async def test_closing_returns_when_cancelled_runs_have_ended_A9() -> None:
    ended = []

    @alru_cache
    async def function(key: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await steps(20)
            ended.append(key)

    call = start(function(1))
    await steps()
    await function.cache_close()
    assert ended == [1]
    assert isinstance(await outcome(call), asyncio.CancelledError)


async def test_closing_by_way_of_an_instance_cancels_too_A9_A11() -> None:
    class Service:
        @alru_cache
        async def method(self) -> None:
            await asyncio.Event().wait()

    service = Service()
    call = start(service.method())
    await steps()
    await service.method.cache_close()
    assert isinstance(await outcome(call), asyncio.CancelledError)


async def test_closing_with_wait_lets_runs_finish_A9(controlled: Make) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    closing = start(function.cache_close(wait=True))
    await steps()
    assert not closing.done()
    with pytest.raises(RuntimeError):
        await function(1)
    runs[0].succeed("value")
    await closing
    assert await call == "value"
    assert function.cache_info().currsize == 1
    assert function.cache_contains(1)


async def test_closing_waits_for_failing_runs_too_A9() -> None:
    @alru_cache
    async def function(suspends: bool) -> None:
        if suspends:
            await steps()
        raise ValueError

    calls = [start(function(True)), start(function(False))]
    await asyncio.sleep(0)
    await function.cache_close(wait=True)
    assert function.cache_parameters()["tasks"] == 0
    assert [type(await outcome(call)) for call in calls] == [ValueError] * 2


@needs_eager
@pytest.mark.parametrize("wait", [False, True])
async def test_closing_in_the_tick_of_a_failure_A9(wait: bool) -> None:
    """A run that fails at once has ended when its callers were told."""

    @alru_cache
    async def function(key: int) -> None:
        raise ValueError

    async def call_and_close() -> None:
        call = function(1)
        call.send(None)
        await function.cache_close(wait=wait)
        assert function.cache_parameters()["tasks"] == 0
        call.close()

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: reports.append(c))
    await asyncio.wait_for(call_and_close(), 1)
    assert len(reports) == 1  # the only caller went away


async def test_closing_is_idempotent_A9(controlled: Make) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    waiting = start(function.cache_close(wait=True))
    await steps()
    await asyncio.gather(function.cache_close(), function.cache_close())
    await waiting
    assert call.cancelled()
    await function.cache_close()
    await function.cache_close(wait=True)


async def test_a_cancelled_close_leaves_the_cache_closed_A9(controlled: Make) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    closing = start(function.cache_close(wait=True))
    await steps()
    closing.cancel()
    await steps()
    assert closing.cancelled()
    with pytest.raises(RuntimeError):
        await function(2)
    runs[0].succeed("value")
    assert await call == "value"


async def test_nothing_is_closed_before_close_is_awaited_A9() -> None:
    function, _ = counted()
    closing = function.cache_close()
    assert await function(1) == 1
    await closing


@pytest.mark.parametrize("wait", [False, True])
async def test_a_run_may_close_its_own_cache_A9(wait: bool) -> None:
    @alru_cache
    async def function(key: int) -> str:
        await function.cache_close(wait=wait)
        return "value"

    result = await asyncio.wait_for(outcome(function(1)), 1)
    assert result == "value" if wait else True
    assert function.cache_parameters() == {
        "maxsize": 128,
        "typed": False,
        "tasks": 0,
        "closed": True,
    }


async def test_a_cache_that_is_opened_takes_calls_again_A9() -> None:
    function, runs = counted()
    await function(1)
    await function.cache_close()
    function.cache_open()
    assert not function.cache_parameters()["closed"]
    assert await function(1) == await function(1) == 1
    assert len(runs) == 2


async def test_a_cache_that_is_opened_is_empty_A9(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    await function.cache_close()
    function.cache_open()
    assert function.cache_info().currsize == 0
    assert not function.cache_contains(1)
    assert await function(1) == 1
    await clock.advance(10)
    assert function.cache_info().currsize == 0


async def test_opening_an_open_cache_does_nothing_A9(controlled: Make) -> None:
    function, runs = controlled()
    function.cache_put("value", 1)
    call = start(function(2))
    await steps()
    function.cache_open()
    assert await function(1) == "value"
    joined = start(function(2))
    await steps()
    runs[0].succeed("two")
    assert await call == await joined == "two"
    assert function.cache_info() == (2, 1, 128, 2)


async def test_a_run_from_before_is_not_stored_in_an_opened_cache_A9_B1(
    controlled: Make,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    closing = start(function.cache_close(wait=True))
    await steps()
    function.cache_open()
    runs[0].succeed("old")
    assert await call == "old"
    await closing
    assert not function.cache_contains(1)


def test_a_service_is_started_and_stopped_in_one_loop_after_another_A9_A10() -> None:
    """An opened cache belongs to the loop of its next call, without a warning."""
    function, runs = counted(ttl=10)

    async def service() -> None:
        function.cache_open()
        assert await function(1) == await function(1) == 1
        await function.cache_close()

    for _ in range(3):
        asyncio.run(service())
    assert len(runs) == 3


async def test_bound_methods_open_and_close_A9_A11() -> None:
    class Service:
        @alru_cache
        async def method(self, key: int) -> int:
            return key

    service = Service()
    await service.method.cache_close()
    service.method.cache_open()
    assert await service.method(1) == 1


async def test_dropped_runs_count_and_are_closed_B4(controlled: Make) -> None:
    function, runs = controlled(maxsize=1)
    calls = [start(function(key)) for key in (1, 2, 3, 4)]
    await steps()
    function.cache_invalidate(4)
    assert function.cache_parameters()["tasks"] == 4
    function.cache_clear()
    assert function.cache_parameters()["tasks"] == 4
    await function.cache_close()
    assert all(run.task.cancelled() for run in runs)
    assert function.cache_parameters()["tasks"] == 0
    await asyncio.wait(calls)


async def test_a_run_that_cleans_up_counts_and_is_awaited_B4() -> None:
    go_on = asyncio.Event()

    @alru_cache
    async def function(key: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await go_on.wait()

    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert call.cancelled()
    assert function.cache_parameters()["tasks"] == 1
    closing = start(function.cache_close(wait=True))
    await steps()
    assert not closing.done()
    go_on.set()
    await closing
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("jitter", [None, 1])
async def test_closing_releases_every_timer_B4(
    timers: Timers, jitter: float | None
) -> None:
    function, _ = counted(ttl=1000, jitter=jitter)
    for key in range(10):
        await function(key)
    assert timers.armed
    await function.cache_close()
    assert timers.armed == []


async def test_a_run_that_ends_after_the_close_sets_no_timer_B4(
    controlled: Make, timers: Timers
) -> None:
    function, runs = controlled(ttl=1000)
    call = start(function(1))
    await steps()
    closing = start(function.cache_close(wait=True))
    await steps()
    runs[0].succeed("value")
    await closing
    assert await call == "value"
    assert timers.armed == []


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("options", [{}, {"ttl": 1000}])
def test_closing_from_a_later_loop_B4(
    controlled: Make, wait: bool, options: dict[str, Any]
) -> None:
    function, runs = controlled(**options)
    former = asyncio.new_event_loop()
    call = former.create_task(function(1))
    former.run_until_complete(steps())
    former.close()
    assert function.cache_parameters()["tasks"] == 0
    asyncio.run(asyncio.wait_for(function.cache_close(wait=wait), 1))
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(function(1))
    assert not call.done()
    call._log_destroy_pending = False  # type: ignore[attr-defined]
    runs[0].task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("wait", [False, True])
def test_closing_does_not_wait_for_a_loop_that_stands_still_B4(
    controlled: Make, wait: bool
) -> None:
    function, runs = controlled()
    former = asyncio.new_event_loop()
    call = former.create_task(function(1))
    former.run_until_complete(steps())
    asyncio.run(asyncio.wait_for(function.cache_close(wait=wait), 1))
    if wait:
        runs[0].succeed("value")
    former.run_until_complete(steps())
    assert call.cancelled() if not wait else call.result() == "value"
    former.close()


@pytest.mark.parametrize("wait", [False, True])
def test_closing_ends_the_runs_of_a_loop_in_another_thread_B4(
    controlled: Make, wait: bool
) -> None:
    function, runs = controlled()
    started = threading.Event()
    results: list[Any] = []

    async def call() -> None:
        task = start(function(1))
        await steps()
        started.set()
        results.append(await outcome(task))

    thread = threading.Thread(target=asyncio.run, args=(call(),))
    thread.start()
    assert started.wait(5)
    if wait:
        loop = runs[0].future.get_loop()
        loop.call_soon_threadsafe(loop.call_later, 0.05, runs[0].succeed, "value")
    asyncio.run(asyncio.wait_for(function.cache_close(wait=wait), 5))
    assert runs[0].task.done()
    thread.join(5)
    if wait:
        assert results == ["value"]
    else:
        assert isinstance(results[0], asyncio.CancelledError)


@pytest.mark.parametrize("per_instance", [False, True])
async def test_methods_are_opened_again_A9_C9(per_instance: bool) -> None:
    class Service:
        @alru_cache(per_instance=per_instance)
        async def method(self, key: int) -> int:
            return key

    service = Service()
    await service.method(1)
    await Service.method.cache_close()
    with pytest.raises(RuntimeError, match="closed"):
        await service.method(1)
    Service.method.cache_open()
    assert await service.method(1) == 1
    await service.method.cache_close()
    service.method.cache_open()
    assert service.method.cache_info().currsize == 0
    assert await service.method(1) == 1


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(
    "options", [{"cancel": True}, {"cancel": False}, {"return_exceptions": False}]
)
async def test_bound_methods_take_the_deprecated_options_of_closing_A9(
    options: dict[str, bool], wait: bool
) -> None:
    """They warn and have no effect, as in 2.4: wait alone decides."""

    class Service:
        @alru_cache
        async def method(self, key: int) -> int:
            await steps()
            return key

    service = Service()
    call = start(service.method(1))
    await steps(1)
    message = "cancel/return_exceptions are deprecated"
    with pytest.warns(DeprecationWarning, match=message) as caught:
        await service.method.cache_close(wait=wait, **options)
    assert caught[0].filename == __file__
    result = await outcome(call)
    assert result == 1 if wait else isinstance(result, asyncio.CancelledError)
    with pytest.raises(RuntimeError, match="alru_cache is closed for"):
        await service.method(1)
