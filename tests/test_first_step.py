"""Runs that end with their first step, as those before them did, and those that do not.

From Python 3.12 on a function takes its first step within the call. One whose runs
have always ended with it is run in another way (see ``_starting``), in which all that
the contract says must be as true: each test is told what the clause is.
"""

import asyncio
import functools
import inspect
import sys
from typing import Any

import pytest
from conftest import outcome, start, steps
from test_recursion import WAYS

from async_lru import _runs, _starting, alru_cache

WARM = -1


async def warm(function: Any) -> None:
    """Let runs of *function* end with their first step, to be expected of the next."""
    for key in range(2):
        await function(WARM - key)


def warmed(**options: Any) -> Any:
    """Return a cached function that awaits what is in ``ways[key]``, if anything."""
    ways: dict[int, Any] = {}

    async def function(key: int, *more: object) -> Any:
        runs.append(key)
        way = ways.get(key)
        if way is not None:
            return await way()
        return key * 10

    runs: list[int] = []
    cached = alru_cache(**options)(function)
    cached.ways = ways  # type: ignore[attr-defined]
    cached.runs = runs  # type: ignore[attr-defined]
    return cached


async def test_a_run_that_suspends_tells_its_waiters_A3() -> None:
    function = warmed()
    await warm(function)
    gate = asyncio.get_running_loop().create_future()
    function.ways[1] = lambda: gate
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    assert function.cache_parameters()["tasks"] == 1
    gate.set_result("value")
    assert await asyncio.gather(*calls) == ["value"] * 3
    assert await function(1) == "value"
    assert function.runs == [-1, -2, 1]
    assert function.cache_info() == (3, 3, 128, 3)
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
@pytest.mark.parametrize("suspends", [False, True])
async def test_a_failure_is_shared_and_not_stored_A4(
    error: type[BaseException], suspends: bool
) -> None:
    function = warmed()
    await warm(function)

    async def fail() -> None:
        if suspends:
            await asyncio.sleep(0)
        raise error

    function.ways[1] = fail
    calls = [start(outcome(function(1))) for _ in range(3)]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, error)
    assert function.runs == [-1, -2, 1]
    assert not function.cache_contains(1)
    assert function.cache_info() == (2, 3, 128, 2)


async def test_arguments_that_do_not_fit_are_a_failure_like_others_A4() -> None:
    function = warmed()
    await warm(function)
    for result in await asyncio.gather(
        *(outcome(function(no_parameter=1)) for _ in range(3))
    ):
        assert isinstance(result, TypeError)
    assert function.cache_info() == (2, 3, 128, 2)


async def test_the_last_waiter_cancels_the_run_A5() -> None:
    function = warmed()
    await warm(function)
    gate = asyncio.get_running_loop().create_future()
    function.ways[1] = lambda: gate
    calls = [start(function(1)) for _ in range(2)]
    await steps()
    calls[0].cancel()
    await steps()
    assert not gate.cancelled()
    calls[1].cancel()
    await steps()
    assert gate.cancelled()
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_value_of_a_run_that_was_dropped_is_not_stored_B1() -> None:
    function = warmed()
    await warm(function)

    async def drop() -> str:
        function.cache_invalidate(1)
        return "value"

    function.ways[1] = drop
    assert await function(1) == "value"
    assert not function.cache_contains(1)
    function.ways[1] = None
    assert await function(1) == 10


async def test_a_run_evicted_in_its_first_step_is_not_stored_A6() -> None:
    function = warmed(maxsize=1)
    await warm(function)
    function.ways[1] = lambda: function(2)
    assert await function(1) == 20
    assert function.cache_contains(2)
    assert not function.cache_contains(1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suspends", [False, True])
async def test_a_call_from_its_own_run_raises_B5(way: Any, suspends: bool) -> None:
    function = warmed()
    await warm(function)

    async def recur() -> Any:
        if suspends:
            await asyncio.sleep(0)
        return await way(function(1))

    function.ways[1] = recur
    with pytest.raises(RuntimeError, match="function was called from its own run"):
        await asyncio.wait_for(function(1), 1)
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_round_several_functions_raises_B5(way: Any) -> None:
    one, other = warmed(), warmed()
    await warm(one)
    await warm(other)
    one.ways[1] = lambda: way(other(1))
    other.ways[1] = lambda: way(one(1))
    with pytest.raises(RuntimeError, match="function was called from its own run"):
        await asyncio.wait_for(one(1), 1)
    assert one.cache_parameters()["tasks"] == other.cache_parameters()["tasks"] == 0


async def test_other_functions_go_on_while_a_run_has_suspended_A3() -> None:
    function, other = warmed(), warmed()
    await warm(function)
    await warm(other)
    gate = asyncio.get_running_loop().create_future()
    function.ways[1] = lambda: gate
    call = start(function(1))
    await steps()
    assert await other(1) == 10
    other.ways[2] = lambda: function(1)
    joined = start(other(2))
    await steps()
    gate.set_result("value")
    assert await call == await joined == "value"


@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_first_step_counts_as_a_run_in_flight_B4(is_warm: bool) -> None:
    function = warmed()
    if is_warm:
        await warm(function)
    tasks: list[int] = []

    async def count() -> None:
        tasks.append(function.cache_parameters()["tasks"])
        await asyncio.sleep(0)
        tasks.append(function.cache_parameters()["tasks"])

    function.ways[1] = count
    await function(1)
    assert tasks == [1, 1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("wait", [False, True])
async def test_closing_in_a_first_step_ends_the_run_B4(
    is_warm: bool, wait: bool
) -> None:
    """A task that is eager too closes the cache from within the step."""
    function = warmed()
    if is_warm:
        await warm(function)
    ended: list[str] = []
    closing: list[Any] = []

    async def close() -> None:
        await function.cache_close(wait=wait)
        ended.append("closed")

    async def way() -> str:
        loop = asyncio.get_running_loop()
        closing.append(asyncio.Task(close(), loop=loop, eager_start=True))  # type: ignore[call-arg]
        try:
            await steps(5)
        finally:
            ended.append("run")
        return "value"

    function.ways[1] = way
    result = await outcome(start(function(1)))
    assert (result == "value") if wait else isinstance(result, asyncio.CancelledError)
    await closing[0]
    assert ended == ["run", "closed"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("refreshes", [False, True])
async def test_who_joins_in_a_first_step_is_told_A3_C6(
    is_warm: bool, suspends: bool, refreshes: bool
) -> None:
    function = warmed()
    if is_warm:
        await warm(function)
    call = function.cache_refresh if refreshes else function
    joined: list[Any] = []

    async def way() -> str:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            joined.append(asyncio.Task(call(1), loop=loop, eager_start=True))  # type: ignore[call-arg]
        if suspends:
            await asyncio.sleep(0)
        return "value"

    function.ways[1] = way
    assert await call(1) == "value"
    assert await asyncio.wait_for(asyncio.gather(*joined), 1) == ["value"] * 2
    assert function.runs.count(1) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="first steps are scheduled")
async def test_who_leaves_in_a_first_step_does_not_end_the_run_A5() -> None:
    function = warmed()

    async def way() -> str:
        call = asyncio.Task(  # type: ignore[call-arg]
            function(1), loop=asyncio.get_running_loop(), eager_start=True
        )
        left.append(call)
        call.get_coro().close()  # type: ignore[union-attr]
        await asyncio.sleep(0)
        return "value"

    left: list[Any] = []
    function.ways[1] = way
    assert await function(1) == "value"
    left[0].cancel()
    await outcome(left[0])


async def test_a_key_that_fails_when_the_value_is_stored_is_the_runs_failure_A2() -> (
    None
):
    class Key:
        fails = False

        def __hash__(self) -> int:
            if self.fails:
                raise ZeroDivisionError
            return 1

    @alru_cache
    async def function(key: Any) -> int:
        if isinstance(key, Key):
            key.fails = True
        return 1

    await warm(function)
    with pytest.raises(ZeroDivisionError):
        await function(Key())
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the mark is new in 3.12")
async def test_a_marked_function_may_return_any_awaitable_A1(
    request: pytest.FixtureRequest,
) -> None:
    if request.config.getoption("--bare"):
        pytest.skip("begins in no such way")

    def function(key: int) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(key * 10)
        return future

    cached = alru_cache(inspect.markcoroutinefunction(function))  # type: ignore[attr-defined]
    for key in range(4):
        assert await cached(key) == key * 10


async def test_partials_and_methods_are_run_in_either_way_A1() -> None:
    class Service:
        async def method(self, factor: int, key: int) -> int:
            return key * factor

    for function in (
        functools.partial(Service().method, 10),
        functools.partial(functools.partial(Service.method, Service()), 10),
    ):
        cached: Any = alru_cache(function)
        for key in range(4):
            assert await cached(key) == key * 10
        assert cached.cache_info() == (0, 4, 128, 4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_first_step_reaches_the_caller_A4(
    error: type[BaseException],
) -> None:
    function = warmed()
    await warm(function)

    async def interrupt() -> None:
        raise error

    function.ways[1] = interrupt
    result = None
    try:
        await function(1)
    except (KeyboardInterrupt, SystemExit) as caught:
        result = caught
    assert isinstance(result, error)
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(2) == 20


BEGINNINGS = ["schedule"]
if sys.version_info >= (3, 12):
    BEGINNINGS += ["step", "step_bare"]


def no_memory(*args: Any, **options: Any) -> Any:
    raise MemoryError


def no_stack(coroutine: Any, **options: Any) -> Any:
    """Do as tasks do whose coroutine cannot be entered."""
    coroutine.close()
    task = asyncio.get_running_loop().create_future()
    task.set_exception(RecursionError())
    return task


@pytest.mark.parametrize("begin", BEGINNINGS)
async def test_a_run_without_a_task_is_a_failure_A4(
    monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    function = warmed()
    await function(WARM)
    function._cache.store.begin = getattr(_starting, begin)
    with monkeypatch.context() as patches:
        patches.setattr(_starting, "Task", no_memory)
        patches.setattr(_starting, "_Task", no_memory)
        with pytest.raises(MemoryError):
            await function(1)
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)
    assert await function(1) == 10


@pytest.mark.parametrize("begin", BEGINNINGS[1:])
async def test_a_function_without_a_stack_is_a_failure_B6(
    monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    function = warmed()
    await function(WARM)
    function._cache.store.begin = getattr(_starting, begin)
    with monkeypatch.context() as patches:
        patches.setattr(_starting, "_Task", no_stack)
        with pytest.raises(RecursionError):
            await function(1)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 10


async def test_a_run_whose_caller_cannot_wait_for_it_is_cancelled_A5(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its task is made before the future to wait on is."""
    tasks: list[Any] = []
    loop = asyncio.get_running_loop()

    def make_task(loop: Any, coroutine: Any, **options: Any) -> Any:
        tasks.append(asyncio.Task(coroutine, loop=loop, **options))
        return tasks[0]

    @alru_cache
    async def function(key: int) -> int:
        await steps()
        return key

    assert await function(1) == 1
    with monkeypatch.context() as patches:
        patches.setattr(function._cache.store, "make_future", no_memory)
        loop.set_task_factory(make_task)
        with pytest.raises(MemoryError):
            await function(2)
        loop.set_task_factory(None)
    await steps()
    assert tasks[0].cancelled()
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(2)
    assert await function(2) == 2


def failing_factory(tasks: list[Any]) -> Any:
    """Return a task factory that fails when the task it made took its first step."""

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        tasks.append(
            asyncio.Task(coroutine, loop=loop, eager_start=True, **options)  # type: ignore[call-arg]
        )
        raise ZeroDivisionError

    return factory


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.parametrize("obeys", [False, True])
async def test_who_has_joined_a_run_that_is_given_up_is_told_A4(obeys: bool) -> None:
    joined: list[Any] = []
    tasks: list[Any] = []
    loop = asyncio.get_running_loop()

    @alru_cache
    async def function(key: int) -> str:
        joined.append(asyncio.Task(function(key), loop=loop, eager_start=True))  # type: ignore[call-arg]
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            if obeys:
                raise
        return "late"

    loop.set_task_factory(failing_factory(tasks))
    with pytest.raises(ZeroDivisionError):
        await function(1)
    loop.set_task_factory(None)
    result = await asyncio.wait_for(outcome(joined[0]), 1)
    assert isinstance(result, ZeroDivisionError)
    assert await asyncio.wait(tasks, timeout=1) == ({tasks[0]}, set())
    assert tasks[0].cancelled() is obeys
    assert obeys or tasks[0].exception() is None
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
async def test_a_run_that_had_ended_when_its_factory_failed_is_stored_A4_C4() -> None:
    loop = asyncio.get_running_loop()

    @alru_cache(maxsize=2)
    async def function(key: int | None) -> int | None:
        return key

    await function(None)
    loop.set_task_factory(failing_factory([]))
    with pytest.raises(ZeroDivisionError):
        await function(1)
    loop.set_task_factory(None)
    assert function.cache_contains(None) and function.cache_contains(1)
    await function(2)
    stats = function.cache_stats()
    assert (stats.loads, stats.failures, stats.evictions) == (3, 0, 1)


async def test_a_task_that_begins_later_is_named_after_the_function_A5() -> None:
    names: set[str] = set()

    @alru_cache
    async def nested(depth: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.add(task.get_name())
        if depth:
            await nested(depth - 1)

    await nested(_runs.MAX_EAGER_DEPTH + 1)
    assert nested.__qualname__ in names
    names.clear()
    unnamed = alru_cache(functools.partial(nested.__wrapped__))
    await unnamed(0)  # before Python 3.12 this begins later, too
    assert len(names) == 1 and nested.__qualname__ not in names


def test_a_loop_that_cannot_be_weakly_referenced_A12() -> None:
    loop: Any = object()
    assert not _starting.starts_of(loop).steps
