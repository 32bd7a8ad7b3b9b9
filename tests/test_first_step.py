"""Runs in their first step, which from Python 3.12 on is taken within the call."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eager_task, needs_eager, outcome, start, steps

from async_lru import alru_cache


def doing(action: Callable[[], Awaitable[Any]], **options: Any) -> Any:
    """Return a cached function whose run for 1 awaits *action*."""

    @alru_cache(**options)
    async def function(key: int) -> Any:
        return await action() if key == 1 else key * 10

    return function


async def test_a_value_of_a_run_that_drops_itself_is_not_stored_B1() -> None:
    async def drop() -> str:
        function.cache_invalidate(1)
        return "value"

    function = doing(drop)
    assert await function(1) == "value"
    assert not function.cache_contains(1)


async def test_other_functions_go_on_while_a_run_has_suspended_A3() -> None:
    gate = asyncio.get_running_loop().create_future()

    async def wait() -> Any:
        return await gate

    function = doing(wait)
    other = doing(lambda: function(1))
    call = start(function(1))
    await steps()
    assert await other(2) == 20
    joined = start(other(1))
    await steps()
    gate.set_result("value")
    assert await call == await joined == "value"


async def test_a_first_step_counts_as_a_run_in_flight_B4() -> None:
    tasks: list[int] = []

    async def count() -> None:
        tasks.append(function.cache_parameters()["tasks"])
        await asyncio.sleep(0)
        tasks.append(function.cache_parameters()["tasks"])

    function = doing(count)
    await function(1)
    assert tasks == [1, 1]


@needs_eager
@pytest.mark.parametrize("wait", [False, True])
async def test_closing_in_a_first_step_ends_the_run_B4(wait: bool) -> None:
    """A task that is eager too closes the cache from within the step."""
    ended: list[str] = []
    closing: list[Any] = []

    async def close() -> None:
        await function.cache_close(wait=wait)
        ended.append("closed")

    async def close_and_go_on() -> str:
        closing.append(eager_task(close()))
        try:
            await steps(5)
        finally:
            ended.append("run")
        return "value"

    function = doing(close_and_go_on)
    result = await outcome(start(function(1)))
    assert (result == "value") if wait else isinstance(result, asyncio.CancelledError)
    await closing[0]
    assert ended == ["run", "closed"]


@needs_eager
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("refreshes", [False, True])
async def test_who_joins_in_a_first_step_is_told_A3_C6(
    suspends: bool, refreshes: bool
) -> None:
    joined: list[Any] = []
    runs: list[int] = []

    async def be_joined() -> str:
        runs.append(1)
        for _ in range(2):
            joined.append(eager_task(call(1)))
        if suspends:
            await asyncio.sleep(0)
        return "value"

    function = doing(be_joined)
    call = function.cache_refresh if refreshes else function
    assert await call(1) == "value"
    assert await asyncio.wait_for(asyncio.gather(*joined), 1) == ["value"] * 2
    assert runs == [1]


@needs_eager
async def test_who_leaves_in_a_first_step_does_not_end_the_run_A5() -> None:
    left: list[Any] = []

    async def be_left() -> str:
        left.append(eager_task(function(1)))
        left[0].get_coro().close()
        await asyncio.sleep(0)
        return "value"

    function = doing(be_left)
    assert await function(1) == "value"
    left[0].cancel()
    await outcome(left[0])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the mark is new in 3.12")
async def test_a_marked_function_may_return_any_awaitable_A1() -> None:
    def function(key: int) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(key * 10)
        return future

    cached = alru_cache(inspect.markcoroutinefunction(function))  # type: ignore[attr-defined]
    assert await cached(1) == 10


async def test_methods_and_partials_around_them_can_be_decorated_A1() -> None:
    class Service:
        async def method(self, factor: int, key: int) -> int:
            return key * factor

    for function in (
        functools.partial(Service().method, 10),
        functools.partial(functools.partial(Service.method, Service()), 10),
    ):
        cached: Any = alru_cache(function)
        for key in (1, 2, 1):
            assert await cached(key) == key * 10
        assert cached.cache_info() == (1, 2, 128, 2)


class LowOnMemory(asyncio.SelectorEventLoop):
    """A loop that at times has no memory left for a future."""

    has_memory = True

    def create_future(self) -> Any:
        if not self.has_memory:
            raise MemoryError
        return super().create_future()


def test_a_call_that_gets_no_future_to_wait_on_fails_A4() -> None:
    @alru_cache
    async def function(key: int) -> int:
        await steps()
        return key

    async def main() -> None:
        loop.has_memory = False
        with pytest.raises(MemoryError):
            await function(1)
        loop.has_memory = True
        await steps(10)
        assert function.cache_parameters()["tasks"] == 0
        assert not function.cache_contains(1)
        assert await function(1) == 1

    loop = LowOnMemory()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def failing_factory(tasks: list[Any]) -> Any:
    """Return a task factory that fails when the task it made took its first step."""

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        options["eager_start"] = True
        tasks.append(asyncio.Task(coroutine, loop=loop, **options))
        raise ZeroDivisionError

    return factory


@needs_eager
@pytest.mark.parametrize("obeys", [False, True])
async def test_who_joined_a_run_whose_factory_fails_is_told_A4_A12(obeys: bool) -> None:
    joined: list[Any] = []
    tasks: list[Any] = []
    loop = asyncio.get_running_loop()

    @alru_cache
    async def function(key: int) -> str:
        joined.append(eager_task(function(key)))
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            if obeys:
                raise
        return "late"

    loop.set_task_factory(failing_factory(tasks))
    try:
        with pytest.raises(ZeroDivisionError):
            await function(1)
    finally:
        loop.set_task_factory(None)
    result = await asyncio.wait_for(outcome(joined[0]), 1)
    assert isinstance(result, ZeroDivisionError)
    assert await asyncio.wait(tasks, timeout=1) == ({tasks[0]}, set())
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)


@needs_eager
async def test_a_run_that_ended_before_its_factory_failed_A4_A12() -> None:
    loop = asyncio.get_running_loop()

    @alru_cache(maxsize=2)
    async def function(key: int) -> int:
        return key

    loop.set_task_factory(failing_factory([]))
    try:
        result = await outcome(function(1))
    finally:
        loop.set_task_factory(None)
    assert result == 1 or isinstance(result, ZeroDivisionError)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1
