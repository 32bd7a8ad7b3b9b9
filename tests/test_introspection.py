"""A8: what a cache tells, and how entries are dropped by hand."""

import asyncio
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Controlled, counted, start, steps

from async_lru import AlruCacheWrapper, CacheInfo, alru_cache

Make = Callable[..., Controlled]


async def test_cache_info_A8() -> None:
    function, _ = counted(maxsize=2)
    for key in (1, 1, 2, 3):
        await function(key)
    info = function.cache_info()
    assert isinstance(info, CacheInfo)
    assert repr(info) == "CacheInfo(hits=1, misses=3, maxsize=2, currsize=2)"
    assert info == (1, 3, 2, 2)
    assert CacheInfo._fields == ("hits", "misses", "maxsize", "currsize")


async def test_cache_parameters_A8(controlled: Make) -> None:
    function, runs = controlled(maxsize=3, typed=True)
    assert function.cache_parameters() == {
        "maxsize": 3,
        "typed": True,
        "tasks": 0,
        "closed": False,
    }
    calls = [start(function(key)) for key in (1, 2, 2)]
    await steps()
    assert function.cache_parameters()["tasks"] == 2
    for run in runs:
        run.succeed()
    await asyncio.gather(*calls)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_run_in_flight_counts_before_it_has_begun_A8(controlled: Make) -> None:
    function, runs = controlled()
    seen: list[int] = []

    async def call() -> None:
        await function(1)

    task = start(call())
    await asyncio.sleep(0)
    seen.append(function.cache_parameters()["tasks"])
    await steps()
    runs[0].succeed()
    await task
    assert seen == [1]


async def test_cache_contains_A8(controlled: Make) -> None:
    function, runs = controlled()
    assert function.cache_contains(1) is False
    call = start(function(1))
    await steps()
    assert function.cache_contains(1) is True
    assert function.cache_contains(2) is False
    runs[0].succeed()
    await call
    assert function.cache_contains(1) is True
    assert function.cache_contains(x=1) is False


async def test_cache_invalidate_drops_one_entry_A8() -> None:
    function, runs = counted()
    await function(1)
    await function(2, x=3)
    assert function.cache_invalidate(1) is True
    assert function.cache_invalidate(1) is False
    assert function.cache_invalidate(2) is False
    assert not function.cache_contains(1)
    assert function.cache_contains(2, x=3)
    assert function.cache_info() == (0, 2, 128, 1)
    await function(1)
    assert len(runs) == 3


async def test_waiters_of_an_invalidated_run_get_its_result_A8(
    controlled: Make,
) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(2)]
    await steps()
    assert function.cache_invalidate(1) is True
    assert not function.cache_contains(1)
    assert function.cache_info().currsize == 0
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value"] * 2
    assert not function.cache_contains(1)


async def test_cache_clear_drops_all_and_zeroes_the_counters_A8(
    controlled: Make,
) -> None:
    function, runs = controlled()
    calls = [start(function(key)) for key in (1, 2, 2)]
    await steps()
    runs[0].succeed("one")
    await steps()
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    assert not function.cache_contains(1)
    assert not function.cache_contains(2)
    assert function.cache_parameters()["tasks"] == 1
    runs[1].succeed("two")
    assert await asyncio.gather(*calls) == ["one", "two", "two"]
    assert function.cache_info() == (0, 0, 128, 0)


@pytest.mark.parametrize("options", [{}, {"ttl": 100}, {"maxsize": None}])
def test_all_work_without_a_running_loop_A8(options: dict[str, Any]) -> None:
    function, _ = counted(**options)
    maxsize = options.get("maxsize", 128)
    for _ in range(2):
        assert function.cache_info() == (0, 0, maxsize, 0)
        assert function.cache_parameters()["tasks"] == 0
        assert function.cache_contains(1) is False
        assert function.cache_invalidate(1) is False
        function.cache_clear()
    asyncio.run(function(1))
    assert function.cache_info() == (0, 1, maxsize, 1)
    assert function.cache_contains(1)
    assert function.cache_invalidate(1) is True
    assert function.cache_info() == (0, 1, maxsize, 0)
    function.cache_clear()
    assert function.cache_info() == (0, 0, maxsize, 0)


async def test_the_function_may_clear_its_own_cache_A8() -> None:
    @alru_cache
    async def function(key: int) -> int:
        function.cache_clear()
        assert not function.cache_contains(key)
        function.cache_invalidate(key)
        return key

    assert await asyncio.gather(function(1), function(1)) == [1, 1]
    assert function.cache_info().currsize == 0


async def test_a_done_callback_may_clear_the_cache_A8(controlled: Make) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(3)]
    calls[0].add_done_callback(lambda _: function.cache_clear())
    await steps()
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value"] * 3
    await steps()
    assert function.cache_info() == (0, 0, 128, 0)


@pytest.mark.parametrize("name", ["cache_contains", "cache_invalidate"])
def test_what_is_asked_with_arguments_looks_like_a_method_A8(name: str) -> None:
    function, _ = counted()
    method = getattr(function, name)
    assert method.__name__ == name
    assert inspect.getdoc(method) == inspect.getdoc(getattr(AlruCacheWrapper, name))
    assert inspect.getdoc(method)


@pytest.mark.parametrize("name", ["key", "value", "name", "cache", "argument", "other"])
def test_a_debugger_sees_parameters_of_any_name_A1(name: str) -> None:
    """Until Python 3.13 what traces writes variables back, by their names."""
    names: dict[str, Any] = {}
    exec(f"async def function({name}): return {name}", names)
    function = alru_cache(names["function"])

    async def calls() -> list[Any]:
        return [await function(1), await function(**{name: 2}), await function(1)]

    def trace(frame: Any, event: str, arg: object) -> Any:
        assert frame.f_locals is not None
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        results = asyncio.run(calls())
    finally:
        sys.settrace(former)
    assert results == [1, 2, 1]
