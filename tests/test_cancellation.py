"""A5: who is cancelled when, and what the function's task is its own."""

import asyncio
import contextvars
import itertools
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Controlled, collect_reports, counted, outcome, start, steps

from async_lru import alru_cache

Make = Callable[..., Controlled]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_cancelling_a_waiter_leaves_the_others_alone_A5(
    controlled: Make, cancelled: int
) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    calls.pop(cancelled).cancel()
    await steps()
    assert not runs[0].task.cancelling() if sys.version_info >= (3, 11) else True
    assert function.cache_contains(1)
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value"] * 2
    assert await function(1) == "value"
    assert len(runs) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_cancelling_the_last_waiter_cancels_the_run_A5(
    controlled: Make, order: tuple[int, ...]
) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    for index in order:
        assert not runs[0].task.done()
        assert function.cache_contains(1)
        calls[index].cancel()
        await steps()
    assert runs[0].task.cancelled()
    assert runs[0].future.cancelled()
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0
    assert all(call.cancelled() for call in calls)


async def test_cancelling_all_in_one_tick_cancels_the_run_A5(controlled: Make) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(5)]
    await steps()
    for call in calls:
        call.cancel()
    await steps()
    assert runs[0].task.cancelled()
    assert not function.cache_contains(1)


async def test_a_call_after_the_last_was_cancelled_starts_a_new_run_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    call.cancel()
    again = start(function(1))
    await steps()
    assert len(runs) in (1, 2)  # it may have joined before the other had left
    runs[-1].succeed("new")
    assert await again == "new"
    assert await function(1) == "new"


async def test_a_run_that_is_cleaning_up_is_not_joined_A5() -> None:
    cleaned = asyncio.Event()
    runs = []

    @alru_cache
    async def function(key: int) -> str:
        runs.append(key)
        if len(runs) == 2:
            return "new"
        try:
            await asyncio.Event().wait()
        finally:
            await cleaned.wait()
        raise AssertionError

    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert function.cache_parameters()["tasks"] == 1
    assert await function(1) == "new"
    cleaned.set()
    await steps()
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == "new"
    assert len(runs) == 2


async def test_the_value_of_a_run_that_refuses_cancellation_is_not_stored_A5() -> None:
    @alru_cache
    async def function(key: int) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "refused"
        raise AssertionError

    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert call.cancelled()
    assert not function.cache_contains(1)
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_run_that_cancels_itself_cancels_its_waiters_A5(suspends: bool) -> None:
    runs = []

    @alru_cache
    async def function(key: int) -> None:
        runs.append(key)
        if suspends:
            await steps()
        raise asyncio.CancelledError("by itself")

    calls = [start(function(1)) for _ in range(3)]
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert runs == [1]
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0
    with pytest.raises(asyncio.CancelledError, match="by itself"):
        await function(1)


async def test_a_run_whose_task_is_cancelled_cancels_its_waiters_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(2)]
    await steps()
    runs[0].task.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert not function.cache_contains(1)


async def test_a_run_that_a_factory_made_is_cancelled_before_it_begins_A5_A12() -> None:
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        async def begin_late() -> Any:
            try:
                await steps()
                return await coroutine
            finally:
                coroutine.close()

        return asyncio.Task(begin_late(), loop=loop, **options)

    function, runs = counted()
    caller = start(function(1))
    loop.set_task_factory(factory)
    await steps(2)
    loop.set_task_factory(None)
    caller.cancel()
    await steps(10)
    assert caller.cancelled()
    assert runs == []
    assert function.cache_parameters()["tasks"] == 0


async def test_a_run_cancelled_before_it_begins_cancels_its_waiters_A5() -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        tasks.append(asyncio.Task(coroutine, loop=loop, **options))
        return tasks[-1]

    function, runs = counted()
    caller = start(function(1))
    loop.set_task_factory(factory)
    await asyncio.sleep(0)
    loop.set_task_factory(None)
    tasks[0].cancel()
    await asyncio.wait([caller], timeout=1)
    assert caller.cancelled()
    assert runs == []
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1


@pytest.mark.parametrize("ends_first", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("waiters", [1, 2, 3])
async def test_cancelling_in_the_tick_in_which_the_run_ends_A5(
    controlled: Make, ends_first: bool, fails: bool, waiters: int
) -> None:
    """Every subset of waiters, cancelled one step before or after the end."""
    collect_reports([])
    for cancelled in itertools.product([False, True], repeat=waiters):
        function, runs = controlled()
        calls = [start(function(1)) for _ in range(waiters)]
        await steps()

        def end() -> None:
            if fails:
                runs[0].fail(ValueError("failed"))  # noqa: B023
            else:
                runs[0].succeed("value")  # noqa: B023

        if ends_first:
            end()
            await asyncio.sleep(0)
        for call, cancel in zip(calls, cancelled, strict=True):
            if cancel:
                call.cancel()
        if not ends_first:
            end()
        results = [await outcome(call) for call in calls]
        await steps()
        for result, cancel in zip(results, cancelled, strict=True):
            if cancel:
                assert isinstance(result, asyncio.CancelledError)
            elif fails:
                assert isinstance(result, ValueError)
            else:
                assert result == "value"
        assert function.cache_parameters()["tasks"] == 0
        if function.cache_contains(1):
            assert not fails
            assert await function(1) == "value"
        else:
            assert fails or all(cancelled)


async def test_cancelling_at_every_step_of_a_run_A5() -> None:
    for when in range(12):
        done = []

        @alru_cache
        async def function(key: int) -> str:
            await steps(5)
            done.append(key)  # noqa: B023
            return "value"

        call, other = start(function(1)), start(function(1))
        await steps(when)
        call.cancel()
        assert await other == "value"
        assert call.cancelled() or call.result() == "value"
        assert done == [1]
        assert await function(1) == "value"
        assert function.cache_parameters()["tasks"] == 0


async def test_any_interleaving_of_waiters_A5() -> None:
    """Calls, cancellations and ends at random: right answers, and nothing left."""
    chance = random.Random(5)
    for _ in range(200):
        number = 0

        @alru_cache(maxsize=2)
        async def function(key: int) -> tuple[int, int]:
            nonlocal number
            number += 1
            mine = number
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                raise ValueError(key, mine)
            return key, mine

        calls: list[tuple[int, asyncio.Task[Any]]] = []
        for _ in range(chance.randrange(30)):
            choice = chance.random()
            if choice < 0.6 or not calls:
                key = chance.randrange(4)
                calls.append((key, start(function(key))))
            elif choice < 0.8:
                chance.choice(calls)[1].cancel()
            elif choice < 0.85:
                function.cache_invalidate(chance.randrange(4))
            else:
                await asyncio.sleep(0)
            assert function.cache_info().currsize <= 2
        for key, call in calls:
            result = await asyncio.wait_for(asyncio.shield(outcome(call)), 5)
            if isinstance(result, ValueError):
                result = result.args
            if not isinstance(result, asyncio.CancelledError):
                assert result[0] == key
        await steps()
        assert function.cache_parameters()["tasks"] == 0


async def test_wait_for_around_a_call_A5(controlled: Make) -> None:
    function, runs = controlled()
    patient = start(function(1))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(function(1), 0.01)
    runs[0].succeed("value")
    assert await patient == "value"


async def test_wait_for_around_the_only_call_cancels_the_run_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(function(1), 0.01)
    await steps()
    assert runs[0].task.cancelled()
    assert not function.cache_contains(1)


if sys.version_info >= (3, 11):

    async def test_timeout_around_a_call_A5(controlled: Make) -> None:
        function, runs = controlled()
        patient = start(function(1))
        await steps()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await function(1)
        runs[0].succeed("value")
        assert await patient == "value"

    @pytest.mark.parametrize("waiters", [1, 3])
    async def test_timeout_inside_the_function_A5(waiters: int) -> None:
        """From the first line of the function on, which an eager task runs at once."""

        @alru_cache
        async def function(key: int) -> str:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "timed out"
            raise AssertionError

        calls = [function(1) for _ in range(waiters)]
        assert await asyncio.gather(*calls) == ["timed out"] * waiters

    async def test_timeout_that_the_function_lets_through_A5() -> None:
        @alru_cache
        async def function(key: int) -> None:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await function(1)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    async def test_task_group_cancels_only_its_own_call_A5(controlled: Make) -> None:
        function, runs = controlled()
        patient = start(function(1))
        await steps()

        async def fail() -> None:
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(function(1))
                group.create_task(fail())
        runs[0].succeed("value")
        assert await patient == "value"


async def test_the_function_has_a_task_of_its_own_A5() -> None:
    tasks = []

    @alru_cache
    async def function(key: int) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())

    await function(1)
    assert isinstance(tasks[0], asyncio.Task)
    assert tasks[0] is tasks[1]
    assert tasks[0] is not asyncio.current_task()


async def test_the_function_may_cancel_its_own_task_A5() -> None:
    @alru_cache
    async def function(key: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await function(1)
    assert not function.cache_contains(1)


variable: "contextvars.ContextVar[str]" = contextvars.ContextVar("variable", default="")


@pytest.mark.parametrize("suspends", [False, True])
async def test_the_function_sees_a_copy_of_the_first_callers_context_A5(
    suspends: bool,
) -> None:
    seen = []

    @alru_cache
    async def function(key: int) -> None:
        seen.append(variable.get())
        variable.set("changed")
        if suspends:
            await steps()
        seen.append(variable.get())

    async def call(value: str) -> str:
        variable.set(value)
        await function(1)
        return variable.get()

    assert await asyncio.gather(call("first"), call("second")) == ["first", "second"]
    assert seen == ["first", "changed"]
    assert variable.get() == ""


async def test_closing_the_coroutine_of_the_only_call_cancels_the_run_A5(
    controlled: Make,
) -> None:
    function, runs = controlled()
    call = function(1)
    call.send(None)
    await steps()
    call.close()
    await steps()
    assert runs[0].task.cancelled()
    assert not function.cache_contains(1)
