"""A3: hits, misses and joins. A4: failures."""

import asyncio
import inspect
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import pytest
from conftest import Controlled, counted, start, steps

from async_lru import alru_cache

KINDS: list[dict[str, Any]] = [
    {},
    {"maxsize": None},
    {"ttl": 100},
    {"typed": True},
    {"key": lambda *args: args},
    {"key": lambda *args: args, "ttl": 100},
]
kinds = pytest.mark.parametrize("options", KINDS)


@kinds
async def test_the_first_call_misses_and_later_ones_hit_A3(
    options: dict[str, Any],
) -> None:
    function, runs = counted(**options)
    value = object()
    assert await function(value) is value
    assert function.cache_info()[:2] == (0, 1)
    assert await function(value) is value
    assert function.cache_info()[:2] == (1, 1)
    assert len(runs) == 1


@kinds
async def test_calls_of_a_run_in_flight_join_it_A3(
    controlled: Callable[..., Controlled], options: dict[str, Any]
) -> None:
    function, runs = controlled(**options)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    assert function.cache_info()[:2] == (2, 1)
    value = object()
    runs[0].succeed(value)
    assert [await call for call in calls] == [value] * 3
    assert len(runs) == 1


async def test_a_hit_needs_no_trip_round_the_loop_A3() -> None:
    function, _ = counted()
    await function(1)
    with pytest.raises(StopIteration) as stopped:
        function(1).send(None)
    assert stopped.value.value == 1


async def test_a_call_is_a_native_coroutine_A3() -> None:
    function, _ = counted()
    call = function(1)
    assert type(call) is CoroutineType
    assert inspect.iscoroutine(call)
    assert call.__qualname__ == function.__qualname__
    assert await asyncio.create_task(call) == 1
    assert await asyncio.gather(function(1), function(2)) == [1, 2]
    assert await asyncio.wait_for(function(3), 1) == 3


@kinds
async def test_nothing_happens_before_a_call_is_awaited_A3(
    options: dict[str, Any],
) -> None:
    function, runs = counted(**options)
    call = function(1)
    await steps()
    assert function.cache_info() == (0, 0, options.get("maxsize", 128), 0)
    assert runs == []
    assert await call == 1


async def test_an_unawaited_call_of_unhashable_arguments_raises_nothing_A3() -> None:
    function, _ = counted()
    function([]).close()


async def test_values_may_be_anything_A3() -> None:
    for value in (
        None,
        0,
        "",
        (),
        NotImplemented,
        ValueError("no failure"),
        StopIteration,
    ):
        function = alru_cache(_returns(value))
        assert await function() is value
        assert await function() is value
        assert function.cache_info()[:2] == (1, 1)


def _returns(value: Any) -> Any:
    async def function() -> Any:
        return value

    return function


def failing(suspends: bool) -> Any:
    """Make a cached function that fails, and the list of its runs."""
    runs: list[Any] = []

    @alru_cache
    async def function(key: Any) -> None:
        runs.append(key)
        if suspends:
            await steps()
        raise ValueError(len(runs))

    return function, runs


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_failure_is_never_stored_A4(suspends: bool) -> None:
    function, runs = failing(suspends)
    for run in (1, 2, 3):
        with pytest.raises(ValueError, match=str(run)):
            await function("a")
    assert function.cache_info() == (0, 3, 128, 0)
    assert not function.cache_contains("a")
    assert len(runs) == 3


@pytest.mark.parametrize("suspends", [False, True])
async def test_concurrent_calls_share_a_failure_A4(suspends: bool) -> None:
    function, runs = failing(suspends)
    failures = await asyncio.gather(
        function("a"), function("a"), function("a"), return_exceptions=True
    )
    assert all(failure is failures[0] for failure in failures)
    assert repr(failures[0]) == "ValueError(1)"
    assert function.cache_info() == (2, 1, 128, 0)
    assert len(runs) == 1


@pytest.mark.parametrize("suspends", [False, True])
async def test_the_entry_is_gone_before_a_waiter_resumes_A4(suspends: bool) -> None:
    function, runs = failing(suspends)
    seen = []

    async def call() -> None:
        try:
            await function("a")
        except ValueError:
            seen.append((function.cache_contains("a"), function.cache_info().currsize))

    await asyncio.gather(call(), call(), call())
    assert seen == [(False, 0)] * 3
    assert len(runs) == 1


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_retry_by_a_waiter_runs_the_function_again_A4(suspends: bool) -> None:
    function, runs = failing(suspends)

    async def call() -> str:
        try:
            await function("a")
        except ValueError:
            try:
                await function("a")
            except ValueError as second:
                return str(second)
        raise AssertionError

    assert await asyncio.gather(call(), call()) == ["2", "2"]
    assert len(runs) == 2
    assert function.cache_info() == (2, 2, 128, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("suspends", [False, True])
def test_exceptions_that_end_the_loop_reach_the_caller_A4(
    error: type[BaseException], suspends: bool
) -> None:
    runs = []

    @alru_cache
    async def function() -> None:
        runs.append(1)
        if suspends:
            await asyncio.sleep(0)
        raise error("stop")

    with pytest.raises(error, match="stop"):
        asyncio.run(function())
    assert function.cache_info() == (0, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_StopIteration_becomes_a_RuntimeError_as_in_any_coroutine_A4() -> None:
    def stops() -> Any:
        raise StopIteration(5)

    function = alru_cache(_marked(stops))
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await asyncio.wait_for(function(), 1)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert function.cache_parameters()["tasks"] == 0


def _marked(function: Any) -> Any:
    """Mark a plain function as one that returns a coroutine."""
    if hasattr(inspect, "markcoroutinefunction"):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return function


@pytest.mark.parametrize("suspends", [False, True])
async def test_the_traceback_shows_the_function_A4(suspends: bool) -> None:
    function, _ = failing(suspends)
    with pytest.raises(ValueError) as caught:
        await function("a")
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_the_traceback_shows_the_function_A4"
    assert names[-1] == "function"


async def test_a_sync_failure_is_shared_in_the_tick_it_happens_in_A4() -> None:
    function, runs = failing(suspends=False)
    first, second = start(function(1)), start(function(1))
    await asyncio.sleep(0)
    assert function.cache_parameters()["tasks"] == 1
    await asyncio.wait([first, second])
    assert len(runs) == 1
    assert function.cache_parameters()["tasks"] == 0
    assert str(first.exception()) == str(second.exception()) == "1"


async def test_a_function_whose_signature_says_nothing_A1() -> None:
    async def function(number: int) -> int:
        return number

    function.__signature__ = "nothing"  # type: ignore[attr-defined]
    cached = alru_cache(function)
    assert [await cached(1), await cached(1)] == [1, 1]
    assert cached.cache_info()[:2] == (1, 1)
