"""C4: what the cache counts, and about how much memory it holds."""

import asyncio
import sys
from collections import deque
from typing import Any

import pytest
from conftest import Clock, counted, measurable, outcome, start, steps

from async_lru import CacheStats, alru_cache

#: What an unused cache with maxsize=2 and ttl=10 tells.
UNUSED = CacheStats(
    hits=0, joins=0, stale_hits=0, misses=0, loads=0, failures=0, evictions=0,
    expirations=0, load_seconds=0.0, in_flight=0, currsize=0, maxsize=2, ttl=10.0,
)  # fmt: skip


async def test_everything_is_counted_C4(clock: Clock) -> None:
    gates: dict[int, asyncio.Future[Any]] = {}

    @alru_cache(maxsize=2, ttl=10)
    async def function(key: int) -> int:
        gates[key] = asyncio.get_running_loop().create_future()
        if key < 0:
            raise ValueError
        await gates[key]
        return key

    calls = [start(function(1)) for _ in range(3)]
    await steps()
    assert function.cache_stats() == UNUSED._replace(
        hits=2, joins=2, misses=1, in_flight=1, currsize=1
    )
    clock.turn(4)
    gates[1].set_result(None)
    await asyncio.gather(*calls)
    await function(1)
    await outcome(function(-1))
    stats = function.cache_stats()
    assert (stats.hits, stats.joins, stats.misses) == (3, 2, 2)
    assert "hits=3," in repr(stats)  # not 3.0
    assert (stats.loads, stats.failures, stats.in_flight) == (1, 1, 0)
    assert stats.load_seconds == 4
    assert stats.mean_load_seconds == 4
    assert stats.hit_rate == 0.6
    for key in (2, 3):
        call = start(function(key))
        await steps()
        gates[key].set_result(None)
        await call
    assert "evictions=1," in repr(function.cache_stats())
    await clock.advance(10)
    stats = function.cache_stats()
    assert (stats.evictions, stats.expirations, stats.currsize) == (1, 2, 0)
    call = start(function(4))
    await steps()
    call.cancel()
    await steps()
    stats = function.cache_stats()
    assert (stats.loads, stats.failures, stats.in_flight) == (3, 1, 0)
    function.cache_clear()
    assert function.cache_stats() == UNUSED


def test_the_fields_have_their_order_C4() -> None:
    assert CacheStats._fields == (
        "hits", "joins", "stale_hits", "misses", "loads", "failures", "evictions",
        "expirations", "load_seconds", "in_flight", "currsize", "maxsize", "ttl",
        "tier_hits", "tier_misses", "tier_waits", "tier_refused", "tier_errors",
        "tier_up",
    )  # fmt: skip


@pytest.mark.parametrize("maxsize", [None, 0, 2])
async def test_only_evictions_are_counted_as_such_C4(maxsize: int | None) -> None:
    function, _ = counted(maxsize=maxsize)
    for key in range(5):
        await function(key)
    expected = 3 if maxsize == 2 else 0
    assert function.cache_stats().evictions == expected
    function.cache_invalidate(4)
    function.cache_invalidate(4)
    function.cache_put(3, 3)
    function.cache_put(9, 9)
    await function.cache_refresh(9)
    await function.cache_refresh(3)
    assert function.cache_stats().evictions == expected
    function.cache_put(10, 10)
    expected += bool(maxsize)
    assert function.cache_stats().evictions == expected
    await function.cache_refresh(11)
    expected += bool(maxsize)
    assert function.cache_stats().evictions == expected
    await function.cache_close()
    assert function.cache_stats().evictions == expected
    assert function.cache_stats().loads == 5 + 3


async def test_runs_in_flight_are_no_evictions_C4_A6(controlled: Any) -> None:
    function, runs = controlled(maxsize=1)
    calls = [start(function(key)) for key in (1, 2, 3)]
    await steps()
    assert function.cache_stats().evictions == 0
    for run in runs:
        run.succeed()
    await asyncio.gather(*calls)
    assert function.cache_stats().evictions == 2
    assert function.cache_stats().loads == 3


async def test_a_kept_failure_and_a_value_without_life_are_no_evictions_C4() -> None:
    @alru_cache(maxsize=2, ttl=lambda result: 0, error_ttl={ValueError: 5})
    async def function(fails: bool) -> None:
        if fails:
            raise ValueError

    await function(False)
    await outcome(function(True))
    stats = function.cache_stats()
    assert (stats.loads, stats.failures, stats.evictions, stats.currsize) == (
        1,
        1,
        0,
        1,
    )


@pytest.mark.parametrize(
    ("error", "failures"), [(ZeroDivisionError, 1), (asyncio.CancelledError, 0)]
)
@pytest.mark.parametrize("refreshes", [False, True])
async def test_a_run_that_cannot_be_started_is_no_load_C4(
    error: type[BaseException], failures: int, refreshes: bool
) -> None:
    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise error

    function, _ = counted()
    call = function.cache_refresh if refreshes else function
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    with pytest.raises(error):
        await call(1)
    loop.set_task_factory(None)
    stats = function.cache_stats()
    assert (stats.loads, stats.failures, stats.in_flight) == (0, failures, 0)
    await call(1)
    assert function.cache_stats().loads == 1


@pytest.mark.parametrize("comparisons", range(1, 8))
async def test_a_run_that_cannot_be_admitted_is_not_counted_C4(
    comparisons: int,
) -> None:
    """Its key raises at that comparison with another, which may be any of a call."""

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons -= 1
            if not comparisons:
                raise ZeroDivisionError
            return False

    runs = 0

    @alru_cache
    async def function(key: Key) -> None:
        nonlocal runs
        runs += 1

    outcomes = [await outcome(function(key)) for key in (Key(), Key())]
    stats = function.cache_stats()
    assert stats.loads == outcomes.count(None)
    assert stats.failures == runs - stats.loads
    assert stats.loads == 2 or comparisons < 1


async def test_clearing_leaves_runs_in_flight_counted_C4(controlled: Any) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    function.cache_clear()
    stats = function.cache_stats()
    assert (stats.misses, stats.loads, stats.in_flight) == (0, 0, 1)
    runs[0].succeed()
    await call
    assert function.cache_stats().in_flight == 0


@pytest.mark.parametrize("wait", [False, True])
async def test_runs_that_end_after_closing_are_counted_as_what_they_are_C4_A9(
    controlled: Any, wait: bool
) -> None:
    function, runs = controlled(maxsize=2)
    call = start(outcome(function(1)))
    await steps()
    closing = start(function.cache_close(wait=wait))
    await asyncio.sleep(0)
    stats = function.cache_stats()
    assert (stats.misses, stats.loads, stats.in_flight) == (1, 0, 1)
    if wait:
        runs[0].succeed()
    await closing
    await call
    for _ in range(2):
        stats = function.cache_stats()
        assert (stats.misses, stats.loads, stats.failures) == (1, int(wait), 0)
        assert (stats.evictions, stats.in_flight, stats.currsize) == (0, 0, int(wait))
        await function.cache_close()
    function.cache_clear()
    assert function.cache_stats().misses == function.cache_info().misses == 0


async def test_a_value_that_is_put_for_an_overdue_one_is_no_eviction_C4_C5(
    clock: Clock,
) -> None:
    function, _ = counted(ttl=10, maxsize=1)
    function.cache_put("old", 1)
    clock.turn(11)
    function.cache_put("new", 1)
    stats = function.cache_stats()
    assert (stats.evictions, stats.expirations, stats.currsize) == (0, 1, 1)
    function.cache_put("other", 2)
    stats = function.cache_stats()
    assert (stats.evictions, stats.expirations, stats.currsize) == (1, 1, 1)


async def test_expirations_are_told_after_closing_too_C4_A9(clock: Clock) -> None:
    function, _ = counted(ttl=10, maxsize=2)
    for key in range(3):
        await function(key)
    await clock.advance(10)
    await function(3)
    await function.cache_close()
    stats = function.cache_stats()
    assert (stats.evictions, stats.expirations, stats.currsize) == (1, 2, 1)


async def test_what_expires_in_a_closed_cache_is_counted_C4_A9(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    await function.cache_close()
    await clock.advance(10)
    assert function.cache_info().currsize == 0
    stats = function.cache_stats()
    assert (stats.expirations, stats.currsize) == (1, 0)


async def test_all_runs_are_timed_C4(clock: Clock) -> None:
    """Whether or not anybody has asked before."""

    @alru_cache
    async def function(key: int) -> None:
        clock.turn(2)

    for key in range(4):
        await function(key)
    assert function.cache_stats().load_seconds == pytest.approx(8)
    assert function.cache_stats().mean_load_seconds == pytest.approx(2)
    await function(4)
    assert function.cache_stats().load_seconds == pytest.approx(10)
    function.cache_clear()
    await function(4)
    assert function.cache_stats().load_seconds == pytest.approx(2)


async def test_runs_that_fail_take_no_load_seconds_C4(clock: Clock) -> None:
    @alru_cache
    async def function() -> None:
        clock.turn(2)
        raise ValueError

    await outcome(function())
    stats = function.cache_stats()
    assert (stats.failures, stats.load_seconds, stats.mean_load_seconds) == (1, 0, 0)


def test_statistics_without_calls_C4() -> None:
    function, _ = counted()
    stats = function.cache_stats()
    assert stats.hit_rate == stats.mean_load_seconds == 0.0
    with pytest.raises(AttributeError):
        stats.hits = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {},
            [
                "1,100 calls, 90.9% hits: 1,000 hits",
                "3 joined a run",
                "2 stale",
                "100 misses",
                "98 loads in 4.900 s (50.000 ms each), 1 failures, 1 in flight",
                "20 entries of 128, no ttl: 7 evicted, 8 expired",
            ],
        ),
        ({"maxsize": None}, ["20 entries unbounded, no ttl"]),
        ({"ttl": 60.0}, ["ttl 60 s: 7 evicted"]),
        ({"ttl": len}, ["ttl <built-in function len>"]),
    ],
)
def test_the_report_can_be_read_C4(changes: Any, lines: list[str]) -> None:
    stats = CacheStats(
        hits=1000, joins=3, stale_hits=2, misses=100, loads=98, failures=1, evictions=7,
        expirations=8, load_seconds=4.9, in_flight=1, currsize=20, maxsize=128, ttl=None,
    )  # fmt: skip
    report = str(stats._replace(**changes))
    assert len(report.splitlines()) == 3
    for line in lines:
        assert line in report


class Slotted:
    __slots__ = ("text", "unset")

    def __init__(self, text: str) -> None:
        self.text = text


class OneSlot:
    __slots__ = "text"

    def __init__(self, text: str) -> None:
        self.text = text


class Mangled:
    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text


class MangledBelow(Mangled):
    __slots__ = ("__text", "__unset")  # another one

    def __init__(self, text: str) -> None:
        super().__init__("")
        self.__text = text


class Hidden(Slotted):
    """A class that hides a slot of its base from those who ask by name."""

    __slots__ = ()
    text = property()  # type: ignore[assignment]

    def __init__(self, text: str) -> None:
        Slotted.text.__set__(self, text)  # type: ignore[attr-defined]


class Plain(Slotted):
    pass


def plain(text: str) -> Any:
    made = Plain("")
    made.more = text  # type: ignore[attr-defined]
    return made


@measurable
@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: [text],
        lambda text: {"a": (text,)},
        lambda text: {text},
        lambda text: deque([text]),
        lambda text: {text: 1},
        lambda text: Slotted(text),
        lambda text: OneSlot(text),
        lambda text: Mangled(text),
        lambda text: MangledBelow(text),
        lambda text: Hidden(text),
        plain,
        lambda text: text.encode(),
    ],
)
@pytest.mark.parametrize("options", [{}, {"ttl": 100}])
async def test_memory_is_that_of_keys_and_values_C4(wrap: Any, options: Any) -> None:
    @alru_cache(**options)
    async def function(key: int) -> Any:
        return wrap("x" * 100_000)

    assert function.cache_memory() == 0
    await function(1)
    one = function.cache_memory()
    assert 100_000 < one < 102_000
    await function(2)
    assert one + 100_000 < function.cache_memory() < 2 * one + 1000
    function.cache_clear()
    assert function.cache_memory() == 0


@measurable
async def test_what_is_shared_counts_once_and_code_does_not_C4() -> None:
    shared = "x" * 100_000

    @alru_cache
    async def function(key: Any) -> Any:
        return [shared, sys, Slotted, function, len, endless]

    endless: list[Any] = []
    endless.append(endless)
    for key in range(5):
        await function(key)
    assert function.cache_memory() < 120_000
