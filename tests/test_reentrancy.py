"""Keys that call the cache back, or raise, while they are compared: A2, B1, B15."""

import asyncio
import gc
import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Clock, start, steps

from async_lru import alru_cache


class Key:
    """A key that collides with all others and has each comparison noticed."""

    on_comparison: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        Key.on_comparison()
        return isinstance(other, Key) and self.number == other.number


class Trap:
    """Does something at the n-th comparison from now on, once or more often."""

    def __init__(self, at: int, action: Callable[[], Any], times: int = 1) -> None:
        self.left = at
        self.times = times
        self.action = action
        Key.on_comparison = staticmethod(self.spring)

    def spring(self) -> None:
        self.left -= 1
        if -self.times < self.left <= 0:
            self.action()

    @property
    def is_sprung(self) -> bool:
        return self.left <= 0

    def remove(self) -> None:
        Key.on_comparison = staticmethod(lambda: None)


KINDS = pytest.mark.parametrize(
    "options",
    [
        {"maxsize": 3},
        {"maxsize": None},
        {"maxsize": 3, "ttl": 10},
        {"maxsize": None, "ttl": 10},
        {"maxsize": 3, "ttl": 10, "stale_while_revalidate": 10},
        {"maxsize": 3, "error_ttl": {ValueError: 10}},
    ],
)


def put_many(function: Any) -> None:
    """Make any map of values grow."""
    for number in range(10, 30):
        function.cache_put(-number, Key(number))


def hit_and_put_many(function: Any) -> None:
    call = function(Key(1))
    try:
        call.send(None)
    except StopIteration:  # a value was there
        pass
    finally:
        call.close()
    put_many(function)


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "invalidate": lambda function: function.cache_invalidate(Key(1)),
    "invalidate another": lambda function: function.cache_invalidate(Key(2)),
    "clear": lambda function: function.cache_clear(),
    "put": lambda function: function.cache_put(-1, Key(1)),
    "put another": lambda function: function.cache_put(-5, Key(5)),
    "put many": put_many,
    "hit and put many": hit_and_put_many,
    "where": lambda function: function.cache_invalidate_where(lambda key: True),
    "info": lambda function: function.cache_info(),
}


def make(options: dict[str, Any]) -> tuple[Any, list[int]]:
    """Return a cached function that returns how often it has run."""
    runs: list[int] = []

    @alru_cache(**options)
    async def function(key: Key) -> int:
        runs.append(key.number)
        number = len(runs)
        if key.number == 9:
            raise ValueError(number)
        return number

    return function, runs


async def use(function: Any, clock: Clock) -> None:
    """Hit, miss, evict, expire, fail, refresh, put, invalidate."""
    for number in (1, 2, 1, 3, 4):
        await function(Key(number))
    await clock.advance(5)
    await function.cache_refresh(Key(1))
    function.cache_put(0, Key(2))
    function.cache_contains(Key(3))
    function.cache_invalidate(Key(3))
    for _ in range(2):
        with pytest.raises(ValueError):
            await function(Key(9))
    await clock.advance(6)
    await function(Key(1))
    await clock.advance(30)


async def check(function: Any, runs: list[int], maxsize: int | None) -> None:
    """Check that the cache is as good as new."""
    for number in range(1, 6):
        answer = await function(Key(number))
        assert answer in (0, -1, -5) or runs[answer - 1] == number
    held = [number for number in range(30) if function.cache_contains(Key(number))]
    info = function.cache_info()
    assert len(held) == info.currsize
    assert maxsize is None or info.currsize <= maxsize
    function.cache_clear()
    assert function.cache_info() == (0, 0, maxsize, 0)
    assert function.cache_parameters()["tasks"] == 0


@KINDS
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.more)])
async def test_a_comparison_may_call_the_cache_back_at_any_point_B15(
    options: dict[str, Any], action: str, times: int, clock: Clock
) -> None:
    """The second time it is called back from its own comparisons."""
    for at in itertools.count(1):
        function, runs = make(options)
        trap = Trap(at, lambda function=function: ACTIONS[action](function), times)
        try:
            await use(function, clock)
        finally:
            trap.remove()
        await check(function, runs, options["maxsize"])
        if not trap.is_sprung:
            break
    assert at > 10


@KINDS
async def test_nothing_dropped_in_a_comparison_is_served_later_B1_B15(
    options: dict[str, Any], clock: Clock
) -> None:
    for at in itertools.count(1):
        function, runs = make(options)
        begun: list[int] = []

        def drop(
            function: Any = function, begun: Any = begun, runs: Any = runs
        ) -> None:
            function.cache_clear()
            begun.append(len(runs))

        await function(Key(2))
        trap = Trap(at, drop)
        try:
            await function(Key(1))
            await function(Key(1))
        finally:
            trap.remove()
        for number in (1, 2):
            if begun and function.cache_contains(Key(number)):
                assert await function(Key(number)) > begun[0]
        if not trap.is_sprung:
            break


async def test_nothing_dropped_is_stored_after_a_comparison_that_raised_B1_B15() -> (
    None
):
    """After a hit that could not be, the values are compared more often."""

    def fail() -> None:
        raise ZeroDivisionError

    for fail_at, drop_at in itertools.product(range(1, 6), range(1, 16)):
        function, runs = make({"maxsize": 3})
        for number in (2, 3):
            await function(Key(number))
        trap = Trap(fail_at, fail)
        try:
            await function(Key(3))
        except ZeroDivisionError:
            pass
        begun: list[int] = []

        def drop(
            function: Any = function, begun: Any = begun, runs: Any = runs
        ) -> None:
            function.cache_clear()
            begun.append(len(runs))

        trap = Trap(drop_at, drop)
        assert await function(Key(1)) in (3, 4)
        trap.remove()
        if begun and function.cache_contains(Key(1)):
            assert await function(Key(1)) > begun[0]
        await check(function, runs, 3)


async def test_expiry_drops_no_value_put_in_a_comparison_B1_B15(clock: Clock) -> None:
    for at in itertools.count(1):

        @alru_cache(ttl=lambda number: 10 * number)
        async def function(key: Key) -> int:
            return key.number

        for number in (2, 1):  # the second is compared with the first when it expires
            await function(Key(number))
        trap = Trap(at, lambda function=function: function.cache_put(5, Key(1)))
        await clock.advance(11)
        trap.remove()
        if not trap.is_sprung:
            break
        assert await function(Key(1)) == 5
    assert at > 2


@pytest.mark.parametrize("size", [1, 4, 5, 6])
async def test_clearing_in_a_comparison_breaks_no_run_B1_B15(size: int) -> None:
    """Pythons from 3.11 on break a dict that is cleared while a key is put into it."""
    for at in range(1, 4 * size):
        gate = asyncio.Event()

        @alru_cache
        async def function(key: Key, gate: asyncio.Event = gate) -> int:
            await gate.wait()
            return key.number

        calls = [start(function(Key(number))) for number in range(size)]
        await steps()
        trap = Trap(at, function.cache_clear)
        calls += [start(function(Key(9))) for _ in range(3)]
        await steps()
        trap.remove()
        contained = [function.cache_contains(Key(number)) for number in range(10)]
        assert function.cache_info().currsize == sum(contained)
        assert function.cache_invalidate(Key(9))
        assert not function.cache_contains(Key(9))
        gate.set()
        assert await asyncio.gather(*calls) == [*range(size), 9, 9, 9]
        assert not function.cache_contains(Key(9))


@pytest.mark.parametrize("at", range(1, 7))
async def test_a_call_in_a_comparison_leaves_no_run_behind_B1_B15(at: int) -> None:
    """A key may begin a run of itself while it is compared, for another one.

    Which of the two later calls join is free, but neither after an invalidation.
    """
    gates: list[asyncio.Event] = []

    @alru_cache(maxsize=3, key=lambda key: key)  # the place is not left free otherwise
    async def function(key: Key) -> int:
        number = len(gates)
        gates.append(asyncio.Event())
        await gates[number].wait()
        return number

    # A place that the run of the first key leaves free, in front of the second's.
    waiting = [start(function(Key(number))) for number in (1, 2)]
    await steps(3)
    gates[0].set()
    await waiting.pop(0)
    nested: list[Any] = []

    def call_the_same() -> None:
        call = function(Key(3))
        call.send(None)
        nested.append(call)

    trap = Trap(at, call_the_same)
    waiting.append(start(function(Key(3))))
    await steps(3)
    trap.remove()
    begun = len(gates)
    function.cache_invalidate(Key(3))
    later = start(function(Key(3)))
    await steps(3)
    for gate in gates:
        gate.set()
    assert await later >= begun
    for call in nested:
        call.close()
    await asyncio.gather(*waiting)


@KINDS
async def test_a_comparison_may_raise_at_any_point_A2(
    options: dict[str, Any], clock: Clock
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    for at in itertools.count(1):
        function, runs = make(options)
        loop.set_exception_handler(lambda *_: None)  # failures in the background
        trap = Trap(at, fail)
        try:
            await use(function, clock)
        except ZeroDivisionError:
            pass
        finally:
            trap.remove()
        await clock.advance(30)
        await check(function, runs, options["maxsize"])
        if not trap.is_sprung:
            break


async def test_a_key_that_cannot_be_compared_any_more_is_left_out_A2() -> None:
    function, _ = make({"maxsize": 3})
    for number in (1, 2, 3):
        await function(Key(number))

    def fail() -> None:
        raise ZeroDivisionError

    Key.on_comparison = staticmethod(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            function.cache_invalidate(Key(3))
    finally:
        Key.on_comparison = staticmethod(lambda: None)
    info = function.cache_info()
    assert info.currsize <= 3
    assert await function(Key(1))


async def test_expiry_goes_on_after_a_comparison_that_raised_A7(clock: Clock) -> None:
    """The value stays until the next look at it, and then goes."""

    @alru_cache(ttl=lambda number: 10 * (3 - number))
    async def function(key: Key) -> int:
        return key.number

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: reports.append(c))
    for number in (0, 2):  # the second is compared with the first when it expires
        await function(Key(number))

    def fail() -> None:
        raise ZeroDivisionError

    trap = Trap(1, fail)
    await clock.advance(10)
    trap.remove()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    await clock.advance(2)
    assert function.cache_info().currsize == 1
    assert not function.cache_contains(Key(2))


async def test_a_value_may_drop_others_as_it_dies_B15(clock: Clock) -> None:
    class Value:
        def __del__(self) -> None:
            function.cache_clear()
            function.cache_info()

    @alru_cache(maxsize=2, ttl=10)
    async def function(key: int) -> Value:
        return Value()

    for key in range(10):
        await function(key)
        function.cache_invalidate(key - 1)
    await clock.advance(20)
    assert function.cache_info().currsize == 0


async def test_caches_of_instances_may_die_inside_each_other_C9_B15() -> None:
    class Service:
        def __init__(self, next_one: "Service | None") -> None:
            self.next_one = next_one

        @alru_cache(per_instance=True)
        async def method(self, key: int) -> "Holder":
            return Holder(self.next_one)

    class Holder:
        def __init__(self, held: Any) -> None:
            self.held = held

    service: Any = None
    for _ in range(5):
        service = Service(service)
        await service.method(1)
    await steps()
    del service
    for _ in range(10):  # one after the other, where nobody counts references
        gc.collect()
        await steps()
    assert Service.method.cache_stats().misses == 5
    assert Service.method.cache_info() == (0, 5, 128, 0)


@pytest.mark.more
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy's heapq can be interrupted half-way"
)
async def test_a_signal_handler_may_ask_and_drop_B15() -> None:
    @alru_cache(maxsize=50, ttl=0.002)
    async def function(key: int) -> int:
        return key

    def handle(*_: Any) -> None:
        function.cache_info()
        function.cache_stats()
        function.cache_invalidate(3)

    former = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for key in range(3000):
            assert await function(key % 100) == key % 100
            if key % 100 == 0:
                await asyncio.sleep(0.001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    await asyncio.sleep(0.02)
    assert function.cache_info().currsize == 0


async def test_a_call_that_left_for_an_old_value_leaves_a_run_that_was_invalidated_C13(
    clock: Clock,
) -> None:
    """The run is cancelled, since it is not current and nobody else waits."""
    ended: list[Any] = []
    gate = asyncio.Event()

    @alru_cache(ttl=10, stale_if_error=100, stale_if_slow=1)
    async def function(key: int) -> int:
        if clock.now > started + 5:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        return 1

    started = clock.now
    assert await function(1) == 1
    await clock.advance(20)
    call = start(function(1))
    await steps()
    function.cache_invalidate(1)
    clock.turn(-20)  # so that what is put now is past its ttl when the call looks
    function.cache_put(2, 1)
    await clock.advance(22)
    assert await call == 2
    await steps()
    assert ended == ["cancelled"]


if hasattr(os, "fork"):

    async def test_a_child_forgets_what_the_parent_was_changing_A10() -> None:
        """A fork in the middle of a change finds a lock that nobody will release."""

        @alru_cache(maxsize=3, ttl=10)
        async def function(key: Key) -> int:
            return key.number

        await function(Key(1))
        results: list[int] = []

        def fork() -> None:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    Key.on_comparison = staticmethod(lambda: None)
                    function.cache_clear()
                    function.cache_info()
                    code = function.cache_parameters()["tasks"]
                finally:
                    os._exit(code)
            results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        trap = Trap(3, fork)
        await function(Key(2))
        trap.remove()
        assert results == [0]


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_key_that_drops_its_value_while_a_method_hits_B15(at: int) -> None:
    class Key:
        comparisons = 0

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            Key.comparisons += 1
            if Key.comparisons == at:
                Service.method.cache_clear()
            return True

    class Service:
        @alru_cache
        async def method(self, key: Key) -> str:
            return "value"

    service = Service()
    await service.method(Key())
    Key.comparisons = 0
    assert await service.method(Key()) == "value"
    assert await service.method(Key()) == "value"
