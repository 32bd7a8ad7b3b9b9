"""A7: when entries expire. B2: none is served late."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Clock, Controlled, collect_reports, counted, start, steps

import async_lru._expiry
from async_lru import alru_cache

Make = Callable[..., Controlled]

kinds = pytest.mark.parametrize(
    "options",
    [{}, {"typed": True}, {"maxsize": None}, {"jitter": 0}, {"key": lambda *key: key}],
)


def armed() -> list[asyncio.TimerHandle]:
    """The timers of the running loop that were not cancelled."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]
    return [timer for timer in timers if not timer.cancelled()]


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
    clock: Clock, jitter: float | None
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
    assert armed() == []


async def test_jitter_adds_a_uniformly_random_time_A7(clock: Clock) -> None:
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
        abs(1000 - 100 * (second + 1) - count) < 60 for second, count in enumerate(left)
    )
    await clock.advance(0.02)
    assert function.cache_info().currsize == 0
    assert armed() == []


async def test_an_earlier_deadline_moves_the_timer_A7(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitters = iter([8.0, 2.0, 5.0])
    monkeypatch.setattr("random.uniform", lambda low, high: next(jitters))
    function, _ = counted(ttl=10, jitter=10)
    for key in "abc":
        await function(key)
        assert len(armed()) == 1
    assert armed()[0].when() == clock.now + 12
    await clock.advance(12)
    assert [function.cache_contains(key) for key in "abc"] == [True, False, True]
    await clock.advance(3)
    assert [function.cache_contains(key) for key in "abc"] == [True, False, False]
    await clock.advance(3)
    assert function.cache_info().currsize == 0


async def test_a_failure_has_no_deadline_A7(clock: Clock) -> None:
    @alru_cache(ttl=10)
    async def function() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await function()
    assert armed() == []


async def test_there_is_one_timer_for_all_entries_A7(clock: Clock) -> None:
    function, _ = counted(maxsize=None, ttl=10)
    for key in range(1000):
        await function(key)
    assert len(armed()) == 1


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


def test_entries_expire_also_when_their_loop_has_ended_A7() -> None:
    function, _ = counted(ttl=0.001)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(function(1))
    now = loop.time()
    loop.close()
    loop.time = lambda: now + 1  # type: ignore[method-assign]
    assert not function.cache_contains(1)
    assert function.cache_info().currsize == 0


async def test_a_timer_that_fires_a_tick_early_is_believed_A7(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    loop = asyncio.get_running_loop()
    loop._clock_resolution = 0.1  # type: ignore[attr-defined]
    await clock.advance(9.95)
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("entries", [9, 10, 11, 20])
async def test_nothing_goes_on_after_the_last_slice(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(async_lru._expiry, "SLICE", 10)
    reports: list[dict[str, Any]] = []
    collect_reports(reports)
    function, _ = counted(maxsize=None, ttl=10)
    for key in range(entries):
        await function(key)
        clock.turn(0.0001)
    await clock.advance(10)
    assert reports == []
    assert len(function._cache.store.entries) == 0
    assert armed() == []
    loop: Any = asyncio.get_running_loop()
    assert not [handle for handle in loop._ready if "_tick" in repr(handle)]


async def test_a_storm_is_swept_in_slices(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_lru._expiry, "SLICE", 10)
    function, _ = counted(maxsize=None, ttl=10)
    for key in range(35):
        await function(key)
    store = function._cache.store
    clock.turn(10)
    sizes = []
    for _ in range(8):
        await asyncio.sleep(0)
        sizes.append(len(store.entries))
    assert sorted(set(sizes), reverse=True)[-4:] == [25, 15, 5, 0]
    assert not any(function.cache_contains(key) for key in range(35))
    assert armed() == []


async def test_calls_go_on_during_a_storm(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_lru._expiry, "SLICE", 10)
    function, runs = counted(maxsize=None, ttl=10)
    for key in range(35):
        await function(key)
    clock.turn(10)
    await asyncio.sleep(0)
    await function(34)
    assert len(runs) == 36
    await steps(10)
    assert function.cache_info().currsize == 1
    await clock.advance(10)
    assert function.cache_info().currsize == 0


async def test_a_hash_that_fails_at_expiry_stops_no_other_expiry(clock: Clock) -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: reports.append(c))

    class Key:
        broken = False

        def __hash__(self) -> int:
            if self.broken:
                raise ZeroDivisionError
            return 1

    @alru_cache(ttl=10)
    async def function(key: object) -> object:
        return Value()

    key = Key()
    value = weakref.ref(await function(key))
    await function(2)
    await clock.advance(5)
    await function(3)
    key.broken = True
    await clock.advance(5)
    assert value() is None
    assert function.cache_contains(3)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    assert not function.cache_contains(2)
    key.broken = False
    assert not function.cache_contains(key)
    assert isinstance(await function(key), Value)


async def test_a_value_that_clears_the_cache_when_it_expires(clock: Clock) -> None:
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
    gc.collect()


@pytest.mark.parametrize("jitter", [None, 3])
async def test_entries_are_those_of_a_plain_model_A7(
    clock: Clock, jitter: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(8)
    monkeypatch.setattr("random.uniform", chance.uniform)
    function, _ = counted(maxsize=8, ttl=10, jitter=jitter)
    model: dict[int, float] = {}
    order: list[int] = []
    for _ in range(3000):
        choice = chance.random()
        key = chance.randrange(12)
        if choice < 0.6:
            state = chance.getstate()
            await function(key)
            if key not in order:
                chance.setstate(state)
                extra = chance.uniform(0, jitter) if jitter else 0
                model[key] = clock.now + 10 + extra
            else:
                order.remove(key)
            order.append(key)
            if len(order) > 8:
                del model[order.pop(0)]
        elif choice < 0.7:
            assert function.cache_invalidate(key) == (key in order)
            if key in order:
                order.remove(key)
                del model[key]
        else:
            await clock.advance(chance.uniform(0, 2))
            for key in [key for key in order if model[key] <= clock.now]:
                order.remove(key)
                del model[key]
        assert function.cache_info().currsize == len(order)
        assert {key for key in range(12) if function.cache_contains(key)} == set(order)
        assert len(armed()) == bool(order)


@pytest.mark.parametrize("deadlines", [1, 10, 1000])
def test_a_queue_stays_in_order_when_it_is_cleaned_B3(deadlines: int) -> None:
    chance = random.Random(8)
    queue = async_lru._expiry.ByDeadline()
    live = []
    for _ in range(3):
        for key in range(50):
            entry = async_lru._expiry.Entry(key, None, chance.randrange(deadlines))
            queue.push(entry)
            live.append(entry)
        chance.shuffle(live)
        for entry in live[20:]:
            entry.empty()
        del live[20:]
        queue = queue.without_husks()
        assert len(queue) == 20
    found = []
    while queue:
        found.append(queue.first().deadline)
        queue.drop_first()
    assert found == sorted(entry.deadline for entry in live)


async def test_an_overdue_entry_that_is_gone_already_B13() -> None:
    """Another thread has dropped it just now."""
    function, _ = counted(ttl=10)
    await function(1)
    function._cache.store.expire(2)
    assert function.cache_info().currsize == 1
