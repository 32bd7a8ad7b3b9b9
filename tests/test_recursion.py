"""B5: calls that would wait for themselves. B6: deep recursion."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import counted, needs_eager, outcome, start, steps

from async_lru import alru_cache

# How a function may wait for a call of its own, where asyncio tells that it does.
WAYS: list[Callable[[Any], Any]] = [
    lambda call: call,
    lambda call: asyncio.ensure_future(call),
    lambda call: asyncio.gather(call),
    lambda call: asyncio.gather(call, asyncio.sleep(0)),
    lambda call: asyncio.wait_for(call, None),
    lambda call: _in_group(call),
]


async def _in_group(call: Any) -> Any:
    if sys.version_info < (3, 11):
        return await call
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(call)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


ways = pytest.mark.parametrize("way", WAYS)
suspending = pytest.mark.parametrize("suspends", [False, True])


@ways
@suspending
async def test_a_call_from_its_own_run_raises_B5(way: Any, suspends: bool) -> None:
    @alru_cache
    async def function(key: int) -> Any:
        if suspends:
            await asyncio.sleep(0)
        return await way(function(key))

    with pytest.raises(RuntimeError, match="function was called from its own run"):
        await asyncio.wait_for(function(1), 1)
    assert function.cache_info() == (0, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


@ways
@suspending
async def test_a_call_round_several_runs_raises_B5(way: Any, suspends: bool) -> None:
    @alru_cache
    async def one(key: int) -> Any:
        if suspends:
            await asyncio.sleep(0)
        return await way(other(key))

    @alru_cache
    async def other(key: int) -> Any:
        if suspends:
            await asyncio.sleep(0)
        return await (one(key + 1) if key < 3 else one(1))

    with pytest.raises(RuntimeError, match="one was called from its own run"):
        await asyncio.wait_for(one(1), 1)
    assert one.cache_parameters()["tasks"] == other.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("others", [1, 3])
async def test_all_who_wait_get_the_error_B5(others: int) -> None:
    @alru_cache
    async def function(key: int) -> Any:
        await steps()
        return await function(key)

    calls = [start(function(1)) for _ in range(others)]
    for call in calls:
        assert isinstance(await asyncio.wait_for(outcome(call), 1), RuntimeError)


async def test_a_function_may_handle_the_error_B5() -> None:
    @alru_cache
    async def function(key: int) -> str:
        try:
            return await function(key)
        except RuntimeError:
            return "handled"

    assert await function(1) == "handled"
    assert await function(1) == "handled"


async def test_two_runs_may_wait_for_one_B5() -> None:
    @alru_cache
    async def leaf(key: int) -> int:
        await steps()
        return key

    @alru_cache
    async def branch(key: int) -> int:
        return await leaf(1) + key

    @alru_cache
    async def root() -> int:
        return sum(await asyncio.gather(branch(1), branch(2), leaf(1)))

    assert await asyncio.wait_for(root(), 1) == 6
    assert leaf.cache_info() == (2, 1, 128, 1)


async def test_a_task_that_the_run_does_not_wait_for_may_join_it_B5() -> None:
    background: list[asyncio.Task[Any]] = []

    @alru_cache
    async def function(key: int) -> str:
        background.append(start(function(key)))
        await steps()
        return "value"

    assert await function(1) == "value"
    assert await asyncio.wait_for(background[0], 1) == "value"
    assert function.cache_info() == (1, 1, 128, 1)


async def test_a_task_that_outlives_its_run_may_call_again_B5() -> None:
    background: list[asyncio.Task[Any]] = []

    @alru_cache
    async def function(key: int) -> str:
        if not background:
            background.append(start(_later(function, key)))
        await asyncio.sleep(0)
        return "value"

    assert await function(1) == "value"
    function.cache_invalidate(1)
    assert await asyncio.wait_for(background[0], 1) == "value"
    assert function.cache_info().misses == 2


async def _later(function: Any, key: int) -> Any:
    await steps()
    return await function(key)


async def test_a_run_may_call_itself_after_it_was_dropped_B5() -> None:
    @alru_cache
    async def function(key: int) -> int:
        runs.append(key)
        if len(runs) < 3:
            function.cache_invalidate(key)
            return await function(key)
        return len(runs)

    runs: list[int] = []
    assert await function(1) == 3


async def test_a_call_from_a_callback_waits_for_nobody_B5() -> None:
    """The callback has the run's context, but is in no task."""
    calls: list[Any] = []

    def call() -> None:
        calls.append(function(1))
        calls[-1].send(None)

    @alru_cache
    async def function(key: int) -> str:
        asyncio.get_running_loop().call_soon(call)
        await steps()
        return "value"

    assert await function(1) == "value"
    assert function.cache_info() == (1, 1, 128, 1)
    with pytest.raises(StopIteration, match="value"):
        calls[0].send(None)


async def test_callbacks_of_other_kinds_are_no_proof_of_waiting_B5() -> None:
    """A task may have any done callbacks; none of these waits for it."""

    class Watcher:
        def __call__(self, task: Any) -> None:
            pass

        def done(self, task: Any) -> None:
            pass

    watcher = Watcher()
    unbound: Any = None
    background: list[asyncio.Task[Any]] = []

    def closure(task: Any) -> None:
        return unbound

    @alru_cache
    async def function(key: int) -> str:
        task = start(function(key))
        for callback in (watcher, watcher.done, closure, print_nothing):
            task.add_done_callback(callback)
        background.append(task)
        await steps()
        return "value"

    assert await function(1) == "value"
    assert await asyncio.wait_for(background[0], 1) == "value"


def print_nothing(task: Any) -> None:
    pass


@alru_cache(maxsize=None)
async def fib(n: int) -> int:
    if n < 2:
        return n
    return await fib(n - 1) + await fib(n - 2)


@alru_cache(maxsize=None)
async def fib_suspending(n: int) -> int:
    await asyncio.sleep(0)
    if n < 2:
        return n
    return await fib_suspending(n - 1) + await fib_suspending(n - 2)


@alru_cache(maxsize=10, ttl=100)
async def is_even(n: int) -> bool:
    return True if n == 0 else await is_odd(n - 1)


@alru_cache(maxsize=10)
async def is_odd(n: int) -> bool:
    return False if n == 0 else await is_even(n - 1)


async def _check_depth() -> None:
    for function in (fib, fib_suspending, is_even, is_odd):
        function.cache_clear()
    a, b = 0, 1
    for _ in range(3000):
        a, b = b, a + b
    assert await fib(3000) == a
    assert fib.cache_info() == (2998, 3001, None, 3001)
    assert await fib_suspending(3000) == a
    assert await is_even(3000) is True


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
def test_deep_recursion_over_different_keys_B6() -> None:
    asyncio.run(_check_depth())


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@needs_eager
def test_deep_recursion_with_an_eager_task_factory_B6() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        await _check_depth()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@pytest.mark.parametrize("many", [40])
async def test_deep_recursion_round_many_functions_B6(many: int) -> None:
    """The depth of eager runs is that of all functions together."""
    functions: list[Any] = []

    def make(number: int) -> Any:
        @alru_cache(maxsize=None)
        async def function(n: int) -> int:
            return 0 if n == 0 else 1 + await functions[(number + 1) % many](n - 1)

        return function

    functions.extend(make(number) for number in range(many))
    assert await functions[0](2000) == 2000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("refreshes", [False, True])
async def test_a_call_near_the_recursion_limit_fails_or_works_B6_E9(
    refreshes: bool, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A RecursionError reaches the caller; nothing waits for ever.

    Where there is not even stack enough to close a coroutine Python warns that it was
    never awaited. Nor is there enough for pytest's hook, which fails then.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    function, _ = counted(shared=shared)

    async def call(key: int) -> Any:
        return await (function.cache_refresh if refreshes else function)(key)

    def nested(depth: int, key: int) -> Any:
        if depth:
            return nested(depth - 1, key)
        try:
            call(key).send(None)
        except StopIteration as stopped:
            return stopped.value
        except RecursionError as error:
            return error
        return None

    limit = sys.getrecursionlimit()
    frame, used = sys._getframe(), 0
    while frame is not None:
        used += 1
        frame = frame.f_back  # type: ignore[assignment]
    for key, depth in enumerate(range(limit - used - 60, limit - used)):
        try:
            nested(depth, key)
        except RecursionError:
            pass
    await steps(10)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks
    assert function.cache_parameters()["tasks"] == 0
    assert await asyncio.wait_for(function(0), 1) == 0


class Private(asyncio.Future[int]):
    """A future of the user's, whose attributes nobody must look for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"looked for {name}")


async def test_futures_of_the_user_are_not_looked_into_B5() -> None:
    @alru_cache
    async def function(key: int) -> int:
        async def join() -> int:
            await asyncio.sleep(0)
            return await function(key)

        tasks.append(asyncio.ensure_future(join()))
        return await future

    tasks: list[asyncio.Task[int]] = []
    future = Private()
    call = asyncio.ensure_future(function(1))
    for _ in range(5):
        await asyncio.sleep(0)
    future.set_result(1)
    assert await call == await tasks[0] == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("how", ["gather", "group", "task"])
async def test_a_run_does_not_wait_for_itself_through_eager_tasks_B5_A12(
    how: str, shared: bool
) -> None:
    @alru_cache(shared=shared)
    async def function(key: int) -> Any:
        if how == "gather":
            return await asyncio.gather(function(key))
        if how == "task":
            return await asyncio.ensure_future(function(key))
        async with asyncio.TaskGroup() as group:
            group.create_task(function(key))

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # a group, too
        await asyncio.wait_for(function(1), 10)
    errors: Any = getattr(caught.value, "exceptions", [caught.value])
    assert [type(error) for error in errors] == [RuntimeError]
    assert "would wait for itself" in str(errors[0])


@pytest.mark.parametrize("shared", [False, True])
async def test_a_gather_that_has_failed_waits_for_nobody_B5(shared: bool) -> None:
    @alru_cache(shared=shared)
    async def function(key: int) -> int:
        async def fail() -> None:
            raise KeyError(key)

        failing = asyncio.ensure_future(fail())
        calls.append(asyncio.ensure_future(function(key)))
        gathering = asyncio.gather(calls[0], failing)
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await gathering
        return 5

    calls: list[asyncio.Task[int]] = []
    assert await function(1) == 5
    assert await calls[0] == 5
