"""A7: when values expire. B2: none is served late. B11: many that expire at once."""

import asyncio
import random
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import (
    Clock,
    Controlled,
    Timers,
    collect_reports,
    counted,
    needs_refcount,
    outcome,
    start,
    steps,
)

from async_lru import alru_cache

Make = Callable[..., Controlled]

kinds = pytest.mark.parametrize(
    "options",
    [{}, {"typed": True}, {"maxsize": None}, {"jitter": 0}, {"key": lambda *key: key}],
)


@kinds
async def test_an_entry_is_gone_after_ttl_seconds_A7(
    clock: Clock, options: dict[str, Any]
) -> None:
    function, runs = counted(ttl=10, **options)
    await function(1)
    await clock.advance(9.99)
    assert function.cache_info().currsize == 1
    assert function.cache_contains(1)
    await function(1)
    assert len(runs) == 1
    await clock.advance(0.01)
    assert not function.cache_contains(1)
    assert function.cache_info()[3] == 0
    await function(1)
    assert len(runs) == 2


@needs_refcount
async def test_each_is_gone_in_time_when_times_are_close_A7(clock: Clock) -> None:
    class Value:
        pass

    @alru_cache(ttl=10)
    async def function(key: int) -> Value:
        return Value()

    values = []
    for key in range(3):
        values.append(weakref.ref(await function(key)))
        await clock.advance(0.01)
    await clock.advance(10 - 0.03)
    for gone in range(1, 4):
        assert [value() is None for value in values] == [True] * gone + [False] * (
            3 - gone
        )
        await clock.advance(0.01)


@needs_refcount
async def test_it_is_gone_without_any_call_A7(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    value = Value()
    reference = weakref.ref(value)
    await function(value)
    del value
    _.clear()
    await clock.advance(10)
    assert reference() is None


class Value:
    pass


async def test_the_ttl_counts_from_the_end_of_the_run_A7(
    clock: Clock, controlled: Make
) -> None:
    function, runs = controlled(ttl=10)
    call = start(function(1))
    await steps()
    await clock.advance(100)
    assert function.cache_contains(1)
    runs[0].succeed("value")
    await call
    await clock.advance(9)
    assert function.cache_contains(1)
    await clock.advance(1)
    assert not function.cache_contains(1)


async def test_a_hit_does_not_prolong_it_A7(clock: Clock) -> None:
    function, runs = counted(ttl=10)
    await function(1)
    await clock.advance(6)
    await function(1)
    await clock.advance(6)
    assert not function.cache_contains(1)
    assert function.cache_info() == (1, 1, 128, 0)


@pytest.mark.parametrize("jitter", [None, 0.0])
async def test_entries_expire_in_their_turn_A7(
    clock: Clock, timers: Timers, jitter: float | None
) -> None:
    function, _ = counted(ttl=10, jitter=jitter)
    for key in range(5):
        await function(key)
        await clock.advance(1)
    for gone in range(1, 6):
        await clock.advance(5 if gone == 1 else 1)
        assert [function.cache_contains(key) for key in range(5)] == [
            key >= gone for key in range(5)
        ]
        assert function.cache_info().currsize == 5 - gone
    assert timers.armed == []


async def test_jitter_adds_a_uniformly_random_time_A7(
    clock: Clock, timers: Timers
) -> None:
    random.seed(7)
    function, _ = counted(maxsize=None, ttl=10, jitter=10)
    for key in range(1000):
        await function(key)
    await clock.advance(9.99)
    assert function.cache_info().currsize == 1000
    left = []
    for _second in range(10):
        await clock.advance(1)
        left.append(function.cache_info().currsize)
    assert all(
        abs(1000 - 100 * (second + 1) - count) < 80 for second, count in enumerate(left)
    )
    await clock.advance(0.02)
    assert function.cache_info().currsize == 0
    assert timers.armed == []


async def test_values_with_earlier_deadlines_go_first_A7_C1(clock: Clock) -> None:
    function, _ = counted(ttl=lambda seconds: seconds)
    for seconds in (18, 12, 15):
        await function(seconds)
    gone = []
    for _ in range(4):
        await clock.advance(3 if gone else 12)
        gone.append([s for s in (18, 12, 15) if not function.cache_contains(s)])
    assert gone == [[12], [12, 15], [18, 12, 15], [18, 12, 15]]


async def test_a_failure_has_no_deadline_A7(clock: Clock, timers: Timers) -> None:
    @alru_cache(ttl=10)
    async def function() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await function()
    assert timers.armed == []


def test_no_timer_keeps_asyncio_run_from_returning_A7() -> None:
    function, _ = counted(ttl=1e6)

    async def main() -> None:
        await asyncio.wait_for(function(1), 1)

    asyncio.run(main())
    assert function.cache_info().currsize == 1


@kinds
async def test_a_late_timer_serves_nothing_late_B2(
    clock: Clock, options: dict[str, Any]
) -> None:
    function, runs = counted(ttl=10, **options)
    await function(1)
    clock.turn(10)  # and no turn for the loop
    assert not function.cache_contains(1)
    assert await function(1) == 1
    assert len(runs) == 2
    assert function.cache_info() == (0, 2, options.get("maxsize", 128), 1)
    await clock.advance(9.9)
    assert function.cache_contains(1)
    await clock.advance(0.1)
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("late", [0, 1])
async def test_a_late_timer_does_not_make_invalidate_say_yes_B2(
    clock: Clock, late: float
) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    clock.turn(10 + late)
    assert function.cache_invalidate(1) is False
    assert function.cache_info().currsize == 0


async def test_info_counts_no_entry_that_is_due_A7(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    clock.turn(5)
    await function(2)
    clock.turn(5)
    assert function.cache_info().currsize == 1


class TurnedLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what it is set to."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def test_values_expire_also_when_their_loop_has_ended_A7() -> None:
    function, _ = counted(ttl=10)
    loop = TurnedLoop()
    loop.run_until_complete(function(1))
    loop.close()
    assert function.cache_contains(1)
    loop.now += 10
    assert not function.cache_contains(1)
    assert function.cache_info().currsize == 0


async def test_a_timer_that_fires_a_little_early_expires_in_time_A7(
    clock: Clock, timers: Timers
) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    loop = asyncio.get_running_loop()
    loop._clock_resolution = 0.1  # type: ignore[attr-defined]  # how early it may be
    await clock.advance(9.95)
    await clock.advance(0.05)
    assert timers.armed == []
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("values", [1, 999, 1000, 1001, 5000])
async def test_nothing_goes_on_after_the_last_has_expired_B3(
    clock: Clock, timers: Timers, values: int
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, _ = counted(maxsize=None, ttl=10)
    for key in range(values):
        function.cache_put(key, key)
        clock.turn(0.00001)
    await clock.advance(10)
    for _ in range(100):
        await clock.advance(0.01)
    made = timers.made
    await clock.advance(100)
    assert (timers.made, reports) == (made, [])
    assert function.cache_info().currsize == 0
    assert function.cache_stats().expirations == values


@needs_refcount
async def test_a_storm_is_swept_in_many_turns_of_the_loop_B11(clock: Clock) -> None:
    class Value:
        def __del__(self) -> None:
            nonlocal gone
            gone += 1

    gone = 0
    function, _ = counted(maxsize=None, ttl=10)
    for key in range(50_000):
        function.cache_put(Value(), key)
    clock.turn(10)
    swept = []
    for _ in range(2000):
        clock.turn(0.01)
        await asyncio.sleep(0)
        swept.append(gone - sum(swept))
    assert sum(swept) == 50_000
    assert max(swept) <= 10_000


async def test_calls_go_on_during_a_storm_B2_B11(clock: Clock) -> None:
    function, runs = counted(maxsize=None, ttl=10)
    for key in range(50_000):
        function.cache_put("old", key)
    clock.turn(10)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await function(49_999) == 49_999
    assert len(runs) == 1
    for _ in range(500):
        await clock.advance(0.01)
    assert function.cache_stats().expirations == 50_000
    assert function.cache_info().currsize == 1
    assert function.cache_contains(49_999)
    await clock.advance(10)
    assert function.cache_info().currsize == 0


async def test_a_hash_that_fails_at_expiry_stops_no_other_expiry_A7(
    clock: Clock,
) -> None:
    reports: list[Any] = []
    collect_reports(reports)

    class Key:
        broken = False

        def __hash__(self) -> int:
            if self.broken:
                raise ZeroDivisionError
            return 1

    function, runs = counted(ttl=10)
    key = Key()
    await function(key)
    await function(2)
    await clock.advance(5)
    await function(3)
    key.broken = True
    await clock.advance(5)
    assert function.cache_contains(3)
    assert not function.cache_contains(2)
    assert {type(report["exception"]) for report in reports} <= {ZeroDivisionError}
    key.broken = False
    assert not function.cache_contains(key)
    assert await function(key) is key
    assert len(runs) == 4
    await clock.advance(10)
    assert function.cache_info().currsize == 0


@needs_refcount
async def test_a_value_that_clears_the_cache_when_it_expires_B15(clock: Clock) -> None:
    class Clears:
        def __del__(self) -> None:
            function.cache_clear()

    @alru_cache(ttl=10)
    async def function(key: int) -> Any:
        return Clears() if key == 1 else key

    for key in range(4):
        await function(key)
    await clock.advance(10)
    assert function.cache_info().currsize == 0
    await function(5)
    assert function.cache_contains(5)


@pytest.mark.parametrize("longest", [10, 13])
async def test_values_are_those_of_a_plain_model_A6_A7_C1(
    clock: Clock, timers: Timers, longest: float
) -> None:
    chance = random.Random(8)
    lives: dict[int, float] = {}
    function, _ = counted(maxsize=8, ttl=lives.__getitem__)
    model: dict[int, float] = {}  # the deadlines, in order of use
    for _ in range(3000):
        choice = chance.random()
        key = chance.randrange(12)
        if choice < 0.6:
            lives[key] = chance.uniform(10, longest)
            await function(key)
            model[key] = model.pop(key, clock.now + lives[key])
            if len(model) > 8:
                del model[next(iter(model))]
        elif choice < 0.7:
            assert function.cache_invalidate(key) == (key in model)
            model.pop(key, None)
        else:
            await clock.advance(chance.uniform(0, 2))
            for key in [key for key in model if model[key] <= clock.now]:
                del model[key]
        assert function.cache_info().currsize == len(model)
        assert {key for key in range(12) if function.cache_contains(key)} == set(model)
        assert bool(timers.armed) == bool(model)


@pytest.mark.parametrize("ttl", [0, 0.0, timedelta(0)])
async def test_with_ttl_0_concurrent_calls_share_one_run_A7(
    controlled: Make, ttl: Any
) -> None:
    function, runs = controlled(ttl=ttl)
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    assert function.cache_contains(1)
    assert function.cache_info() == (2, 1, 128, 1)
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value"] * 3
    assert len(runs) == 1


async def test_with_ttl_0_nothing_is_kept_A7(timers: Timers) -> None:
    function, runs = counted(maxsize=1, ttl=0)
    for _ in range(3):
        assert await function(1) == 1
        assert not function.cache_contains(1)
    assert len(runs) == 3
    assert function.cache_info() == (0, 3, 1, 0)
    assert function.cache_stats().evictions == 0
    assert timers.made == 0


async def test_with_ttl_0_nothing_is_put_A7_C5() -> None:
    function, runs = counted(ttl=0)
    function.cache_put("put", 1)
    assert function.cache_info().currsize == 0
    assert await function(1) == 1


async def test_with_ttl_0_a_refresh_keeps_nothing_A7_C6() -> None:
    function, _ = counted(ttl=0)
    assert await function.cache_refresh(1) == 1
    assert not function.cache_contains(1)


async def test_with_ttl_0_failures_are_kept_all_the_same_A7_C11(clock: Clock) -> None:
    runs = []

    @alru_cache(ttl=0, error_ttl={ValueError: 10})
    async def function() -> None:
        runs.append(1)
        raise ValueError

    for _ in range(3):
        assert isinstance(await outcome(function()), ValueError)
    assert len(runs) == 1


async def test_a_value_that_no_timer_can_be_set_for_is_not_stored_A7() -> None:
    loop = asyncio.get_running_loop()
    function, runs = counted(ttl=10)

    def call_at(*_: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    loop.call_at = call_at  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await function(1)
    assert function.cache_info().currsize == 0
    del loop.call_at  # type: ignore[method-assign]
    assert await function(1) == 1
    assert runs == [(1,), (1,)]


async def test_values_expire_while_deadlines_are_being_cleaned_out_A7(
    clock: Clock,
) -> None:
    for dropped in range(60, 80):
        function, _ = counted(maxsize=None, ttl=10)
        for key in range(100):
            await function(key)
        for key in range(dropped):
            function.cache_invalidate(key)
        await clock.advance(10)
        assert function.cache_info().currsize == 0


async def test_a_released_timer_that_is_due_drops_nothing_newer_A7_B1(
    clock: Clock,
) -> None:
    @alru_cache(ttl=float)
    async def function(seconds: float) -> float:
        return seconds

    await function(1)
    clock.turn(2)
    await asyncio.sleep(0)  # until just before the timer fires
    function.cache_invalidate(1)
    function.cache_put(60.0, 2)
    await steps()
    assert function.cache_contains(2)
    await clock.advance(61)
    assert function.cache_info().currsize == 0
