"""C14: cancel_abandoned=False, which lets a run go on when its last waiter has left."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Clock, Controlled, collect_reports, outcome, start, steps

from async_lru import alru_cache

Make = Callable[..., Controlled]

kinds = pytest.mark.parametrize(
    "options", [{}, {"ttl": 10}, {"ttl": 10, "stale_if_error": 10}, {"maxsize": None}]
)


async def abandoned(controlled: Make, **options: Any) -> Any:
    """Return a function with a run for 1 whose only waiter was cancelled, and its runs."""
    function, runs = controlled(cancel_abandoned=False, **options)
    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert call.cancelled()
    return function, runs


@kinds
async def test_an_abandoned_run_goes_on_and_is_stored_C14(
    controlled: Make, options: dict[str, Any]
) -> None:
    function, runs = await abandoned(controlled, **options)
    assert not runs[0].future.cancelled()
    assert function.cache_parameters()["tasks"] == 1
    assert function.cache_contains(1)
    runs[0].succeed("value")
    await steps()
    assert await function(1) == "value"
    assert len(runs) == 1
    assert function.cache_parameters()["tasks"] == 0
    assert function.cache_stats().loads == 1


async def test_all_who_wait_may_leave_C14(controlled: Make) -> None:
    function, runs = controlled(cancel_abandoned=False)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    for call in calls:
        call.cancel()
    await steps()
    runs[0].succeed("value")
    await steps()
    assert await function(1) == "value"


@kinds
async def test_an_abandoned_run_can_be_joined_again_C14(
    controlled: Make, options: dict[str, Any]
) -> None:
    function, runs = await abandoned(controlled, **options)
    call = start(function(1))
    await steps()
    assert len(runs) == 1
    assert function.cache_info()[:2] == (1, 1)
    runs[0].succeed("value")
    assert await call == "value"


async def test_it_may_be_abandoned_again_C14(controlled: Make) -> None:
    function, runs = await abandoned(controlled)
    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert not runs[0].future.cancelled()
    runs[0].succeed("value")
    await steps()
    assert function.cache_contains(1)


async def test_a_call_that_is_closed_abandons_its_run_too_C14(controlled: Make) -> None:
    function, runs = controlled(cancel_abandoned=False)
    call = function(1)
    call.send(None)
    await steps()
    call.close()
    await steps()
    runs[0].succeed("value")
    await steps()
    assert await function(1) == "value"


async def test_an_abandoned_refresh_goes_on_too_C14_C6(controlled: Make) -> None:
    function, runs = controlled(cancel_abandoned=False)
    function.cache_put("old", 1)
    refresh = start(function.cache_refresh(1))
    await steps()
    refresh.cancel()
    await steps()
    runs[0].succeed("new")
    await steps()
    assert await function(1) == "new"


async def test_the_failure_of_an_abandoned_run_is_reported_C14_B3(
    controlled: Make,
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = await abandoned(controlled)
    runs[0].fail(error := ValueError())
    await steps()
    gc.collect()
    assert [report["exception"] for report in reports] == [error]
    assert function.__qualname__ in reports[0]["message"]
    assert not function.cache_contains(1)


async def test_a_failure_that_somebody_got_is_not_reported_C14_B3(
    controlled: Make,
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, runs = await abandoned(controlled)
    call = start(outcome(function(1)))
    await steps()
    runs[0].fail(error := ValueError())
    assert await call is error
    await steps()
    gc.collect()
    assert reports == []


@pytest.mark.parametrize("drop", ["invalidate", "clear", "put", "where", "close"])
async def test_an_abandoned_run_that_is_dropped_is_cancelled_C14_A8(
    controlled: Make, drop: str
) -> None:
    function, runs = await abandoned(controlled)
    if drop == "invalidate":
        assert function.cache_invalidate(1)
    elif drop == "clear":
        function.cache_clear()
    elif drop == "put":
        function.cache_put("put", 1)
    elif drop == "where":
        assert function.cache_invalidate_where(lambda key: True) == 1
    else:
        await function.cache_close()
    await steps()
    assert runs[0].future.cancelled()
    assert function.cache_parameters()["tasks"] == 0


async def test_a_run_that_was_dropped_is_cancelled_when_it_is_abandoned_C14_A5(
    controlled: Make,
) -> None:
    function, runs = controlled(cancel_abandoned=False)
    call = start(function(1))
    await steps()
    function.cache_invalidate(1)
    await steps()
    assert not runs[0].future.cancelled()
    call.cancel()
    await steps()
    assert runs[0].future.cancelled()


async def test_closing_waits_for_an_abandoned_run_C14_A9(controlled: Make) -> None:
    function, runs = await abandoned(controlled)
    closing = start(function.cache_close(wait=True))
    await steps()
    assert not closing.done()
    runs[0].succeed("value")
    await closing
    assert function.cache_contains(1)


async def test_a_timeout_leaves_the_run_to_the_next_call_C14(clock: Clock) -> None:
    runs = []

    @alru_cache(cancel_abandoned=False)
    async def function() -> str:
        runs.append(1)
        await asyncio.sleep(10)
        return "value"

    async def impatient() -> str:
        return await asyncio.wait_for(function(), 4)

    for _ in range(2):
        call = start(outcome(impatient()))
        await steps()
        await clock.advance(4)
        assert isinstance(await call, asyncio.TimeoutError)
    call = start(impatient())
    await steps()
    await clock.advance(2)
    assert await call == "value"
    assert runs == [1]


@pytest.mark.parametrize("options", [{}, {"cancel_abandoned": True}])
async def test_the_default_is_to_cancel_C14_A5(
    controlled: Make, options: dict[str, Any]
) -> None:
    function, runs = controlled(**options)
    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert runs[0].future.cancelled()


async def test_methods_with_a_cache_per_instance_C14_C9() -> None:
    class Service:
        @alru_cache(per_instance=True, cancel_abandoned=False)
        async def method(self) -> str:
            await gate
            return "value"

    gate = asyncio.get_running_loop().create_future()
    service = Service()
    call = start(service.method())
    await steps()
    call.cancel()
    await steps()
    gate.set_result(None)
    await steps()
    assert service.method.cache_contains()


@pytest.mark.parametrize("bad", [1, None, "no"])
def test_it_is_a_bool_C14(bad: Any) -> None:
    with pytest.raises(TypeError, match="cancel_abandoned"):
        alru_cache(cancel_abandoned=bad)
