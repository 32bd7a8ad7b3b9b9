"""B3: what is kept alive, and what is not."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import (
    Clock,
    Controlled,
    Timers,
    counted,
    eager_task,
    needs_refcount,
    needs_refcount_of_functions,
    outcome,
    start,
    steps,
)

from async_lru import alru_cache

pytestmark = needs_refcount

Make = Callable[..., Controlled]


@pytest.fixture(autouse=True)
def _no_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    gc.collect()  # what other tests have left until now
    caplog.clear()
    return caplog


class Value:
    """Something that can be weakly referenced."""


kinds = pytest.mark.parametrize(
    "options", [{}, {"ttl": 1000}, {"ttl": 1000, "jitter": 1}, {"maxsize": None}]
)


def invalidate(function: Any, clock: Clock) -> None:
    function.cache_invalidate(1)


def clear(function: Any, clock: Clock) -> None:
    function.cache_clear()


async def expire(function: Any, clock: Clock) -> None:
    await clock.advance(1001)


async def evict(function: Any, clock: Clock) -> None:
    for key in range(2, 200):
        await function(key)


async def refresh(function: Any, clock: Clock) -> None:
    await function.cache_refresh(1)


def put(function: Any, clock: Clock) -> None:
    function.cache_put(None, 1)


DROPS = [invalidate, clear, expire, evict, refresh, put]
drops = pytest.mark.parametrize("drop", DROPS)


@kinds
@drops
async def test_a_dropped_value_dies_when_its_callers_have_moved_on_B3(
    clock: Clock, options: dict[str, Any], drop: Any
) -> None:
    if (drop is expire and "ttl" not in options) or (
        drop is evict and "maxsize" in options
    ):
        return

    @alru_cache(**options)
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(await function(1))
    await steps()
    assert reference() is not None
    dropping = drop(function, clock)
    if dropping is not None:
        await dropping
    await steps()
    assert reference() is None


@kinds
async def test_a_dropped_key_dies_when_its_callers_have_moved_on_B3(
    options: dict[str, Any],
) -> None:
    @alru_cache(**options)
    async def function(argument: Value) -> None:
        await asyncio.sleep(0)

    argument = Value()
    reference = weakref.ref(argument)
    await function(argument)
    function.cache_invalidate(argument)
    del argument
    await steps()
    assert reference() is None


@pytest.mark.parametrize("fails", [False, True])
async def test_the_key_of_a_run_dies_when_it_is_evicted_or_fails_B3(
    fails: bool,
) -> None:
    @alru_cache(maxsize=1)
    async def function(argument: Value) -> None:
        await asyncio.sleep(0)
        if fails:
            raise ZeroDivisionError

    argument = Value()
    reference = weakref.ref(argument)
    calls = [start(function(argument)), start(function(Value()))]
    await asyncio.wait(calls)
    assert [isinstance(call.exception(), ZeroDivisionError) for call in calls] == [
        fails,
        fails,
    ]
    del calls, argument
    await steps()
    assert reference() is None


async def test_the_values_of_a_closed_cache_die_when_it_is_cleared_B3_A9() -> None:
    @alru_cache
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(await function(1))
    await function.cache_close()
    await steps()
    assert reference() is not None
    function.cache_clear()
    assert reference() is None


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@kinds
def test_a_loop_change_drops_values_B3(options: dict[str, Any]) -> None:
    @alru_cache(**options)
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(asyncio.run(function(1)))
    assert reference() is not None
    asyncio.run(function(2))
    assert reference() is None


@needs_refcount_of_functions
@kinds
async def test_values_die_with_the_function_B3(
    timers: Timers, options: dict[str, Any]
) -> None:
    @alru_cache(**options)
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(await function(1))
    await steps()
    assert reference() is not None
    del function
    await steps()
    assert reference() is None
    assert timers.armed == []


@pytest.mark.parametrize("suspends", [False, True])
@kinds
async def test_a_value_keeps_nothing_of_its_run_and_callers_alive_B3(
    options: dict[str, Any], suspends: bool
) -> None:
    variable: contextvars.ContextVar[Value] = contextvars.ContextVar("variable")
    references: list[weakref.ref[Any]] = []

    @alru_cache(**options)
    async def function(key: int) -> str:
        task = asyncio.current_task()
        assert task is not None
        local = Value()
        references.extend([weakref.ref(task), weakref.ref(local)])
        references.append(weakref.ref(task.get_coro()))
        if suspends:
            await steps()
        return "value"

    async def call() -> None:
        local, in_context = Value(), Value()
        variable.set(in_context)
        references.extend([weakref.ref(local), weakref.ref(in_context)])
        await function(1)

    await asyncio.gather(start(call()), start(call()))
    await steps()
    assert await function(1) == "value"
    assert len(references) == 7
    assert [reference() for reference in references] == [None] * 7


async def test_a_value_of_a_run_that_was_dropped_dies_with_its_callers_B3(
    controlled: Make, timers: Timers
) -> None:
    function, runs = controlled(ttl=1000)
    others = start(function(2))
    call = start(function(1))
    await steps()
    function.cache_clear()
    value = Value()
    reference = weakref.ref(value)
    runs[1].succeed(value)
    del value
    assert isinstance(await call, Value)
    del call, runs[1]
    await steps()
    assert reference() is None
    runs[0].succeed()
    await others
    assert timers.armed == []


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("waiters", [1, 3])
@kinds
async def test_a_failure_leaves_no_reference_cycle_B3(
    options: dict[str, Any], suspends: bool, waiters: int
) -> None:
    class Failure(Exception):
        pass

    references: list[weakref.ref[Any]] = []

    @alru_cache(**options)
    async def function(key: int) -> None:
        if suspends:
            await steps()
        failure = Failure()
        references.append(weakref.ref(failure))
        try:
            raise failure
        finally:
            del failure

    async def call() -> None:
        try:
            await function(1)
        except Failure:
            pass

    await asyncio.gather(*(start(call()) for _ in range(waiters)))
    await steps()
    assert [reference() for reference in references] == [None]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_run_that_cannot_be_started_leaves_no_reference_cycle_B3(
    has_begun: bool,
) -> None:
    """Nor does it if others had joined it, in its first step."""
    if has_begun and sys.version_info < (3, 12):
        pytest.skip("eager tasks are new in 3.12")

    class Failure(Exception):
        pass

    loop = asyncio.get_running_loop()
    references: list[weakref.ref[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        if has_begun:
            eager_task(coroutine)
        failure = Failure()
        references.append(weakref.ref(failure))
        try:
            raise failure
        finally:
            del failure

    @alru_cache
    async def function(key: int) -> None:
        eager_task(call())
        await steps()

    async def call() -> None:
        try:
            await function(1)
        except Failure:
            pass

    loop.set_task_factory(factory)
    await call()
    loop.set_task_factory(None)
    await steps()
    assert [reference() for reference in references] == [None]


async def test_a_cancellation_leaves_no_reference_cycle_B3(controlled: Make) -> None:
    function, runs = controlled()
    call = start(function(1))
    await steps()
    references = [weakref.ref(runs[0].task), weakref.ref(call)]
    runs.clear()
    call.cancel()
    await steps()
    del call
    assert [reference() for reference in references] == [None, None]


@needs_refcount_of_functions
async def test_all_garbage_is_freed_by_reference_count_B3() -> None:
    """Nothing that calls, joins, failures and cancellations leave needs the collector."""

    @alru_cache(maxsize=2, ttl=1000)
    async def function(key: Any) -> Any:
        if key == 4:
            raise ValueError
        await steps()
        if key == 2:
            raise ValueError
        if key == 3:
            raise asyncio.CancelledError
        return key

    async def call(key: Any) -> None:
        try:
            await function(key)
        except (ValueError, TypeError, asyncio.CancelledError):
            pass

    gc.collect()
    before = {id(item) for item in gc.get_objects()}  # some of it other tests' garbage
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        calls = [start(call(key)) for key in (1, 1, 2, 2, 3, 3, 4, 4, 5, 1, [])]
        await steps(2)
        calls[0].cancel()
        calls[-3].cancel()
        await asyncio.wait(calls)
        await steps()
        del calls, call, function
        gc.collect()
        ours = [
            item
            for item in gc.garbage
            if id(item) not in before
            and (
                "async_lru" in str(getattr(type(item), "__module__", ""))
                or isinstance(item, (asyncio.Future, BaseException))
            )
        ]
        assert ours == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def reported(caplog: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()
    return [record.getMessage().partition("\n")[0] for record in caplog.records]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("waiters", [1, 3])
async def test_a_failure_that_a_caller_got_is_not_reported_B3(
    caplog: pytest.LogCaptureFixture, suspends: bool, waiters: int
) -> None:
    @alru_cache
    async def function(key: int) -> None:
        if suspends:
            await steps()
        raise ValueError

    calls = [start(function(1)) for _ in range(waiters)]
    await steps(2)
    for cancelled in calls[1:]:
        cancelled.cancel()
    for call in calls:
        await outcome(call)
    await steps()
    assert reported(caplog) == []


async def test_a_failure_while_cleaning_up_is_reported_B3(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @alru_cache
    async def function(key: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while cleaning up")

    call = start(function(1))
    await steps()
    call.cancel()
    await steps()
    assert call.cancelled()
    (message,) = reported(caplog)
    assert function.__qualname__ in message
    assert "while cleaning up" in str(caplog.records[0].exc_info)


@pytest.mark.parametrize("waiters", [1, 3])
@pytest.mark.parametrize("ended", [False, True])
async def test_a_failure_that_no_caller_got_is_reported_once_B3(
    controlled: Make, caplog: pytest.LogCaptureFixture, waiters: int, ended: bool
) -> None:
    """All waiters are cancelled in the tick in which the run fails."""
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(waiters)]
    await steps()
    runs[0].fail(ValueError("unheard"))
    if ended:
        await asyncio.sleep(0)  # the run ends here; its waiters wake up next
    for call in calls:
        call.cancel()
    await steps()
    assert all(call.cancelled() for call in calls)
    del calls, call
    runs.clear()
    (message,) = reported(caplog)
    assert function.__qualname__ in message
    assert "unheard" in str(caplog.records[0].exc_info)


async def test_a_failure_that_one_of_many_got_is_not_reported_B3(
    controlled: Make, caplog: pytest.LogCaptureFixture
) -> None:
    function, runs = controlled()
    calls = [start(function(1)) for _ in range(3)]
    await steps()
    runs[0].fail(ValueError("heard"))
    await asyncio.sleep(0)
    for call in calls[:2]:
        call.cancel()
    assert isinstance(await outcome(calls[2]), ValueError)
    await steps()
    assert reported(caplog) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_loop_that_no_caller_got_ends_the_loop_B3(
    error: type[BaseException],
) -> None:
    @alru_cache
    async def function(key: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise error("while cleaning up")

    async def main() -> None:
        call = start(function(1))
        await steps()
        call.cancel()
        await asyncio.sleep(1)
        raise AssertionError

    with pytest.raises(error, match="while cleaning up"):
        asyncio.run(main())


async def test_cancellations_are_not_reported_B3(
    controlled: Make, caplog: pytest.LogCaptureFixture
) -> None:
    function, runs = controlled()
    calls = [start(function(key)) for key in (1, 2, 2)]
    await steps()
    calls[0].cancel()
    runs[1].task.cancel()
    await steps()
    del calls
    runs.clear()
    assert reported(caplog) == []


class Watched:
    """Makes objects of which it knows how many are alive."""

    def __init__(self) -> None:
        self._alive: weakref.WeakSet[Value] = weakref.WeakSet()

    def make(self) -> Value:
        value = Value()
        self._alive.add(value)
        return value

    @property
    def alive(self) -> int:
        return len(self._alive)


@pytest.mark.parametrize("jitter", [None, 100])
@pytest.mark.parametrize("hot", [False, True])
async def test_evictions_before_their_time_leave_no_keys_and_few_timers_B3(
    timers: Timers, jitter: float | None, hot: bool
) -> None:
    watched = Watched()
    function, runs = counted(maxsize=50, ttl=3600, jitter=jitter)
    first = watched.make()
    for _ in range(20_000):
        await function(watched.make())
        if hot:  # an old value that stays, in front of all that go
            await function(first)
        runs.clear()
    await steps()
    assert watched.alive <= 1000
    # It is set anew where jitter gives an earlier deadline than any before.
    assert timers.made <= 100
    assert len(timers.armed) == 1


@pytest.mark.parametrize("jitter", [None, 100])
async def test_invalidations_before_their_time_leave_no_keys_B3(
    timers: Timers, jitter: float | None
) -> None:
    watched = Watched()
    function, _ = counted(maxsize=None, ttl=3600, jitter=jitter)
    keys = [watched.make() for _ in range(5000)]
    for key in keys:
        function.cache_put(None, key)
    while keys:
        assert function.cache_invalidate(keys.pop())
        assert watched.alive <= 2 * len(keys) + 1000
    del key
    function.cache_put(None, 1)
    assert function.cache_invalidate(1)
    await steps()
    assert watched.alive <= 100
    assert timers.armed == []


@pytest.mark.parametrize("jitter", [None, 100])
@pytest.mark.parametrize("maxsize", [50, None])
async def test_values_that_come_and_go_take_no_more_and_more_memory_B3(
    jitter: float | None, maxsize: int | None
) -> None:
    import tracemalloc  # which PyPy has not

    function, _ = counted(maxsize=maxsize, ttl=3600, jitter=jitter)

    def come_and_go() -> int:
        for key in range(400):
            function.cache_put(None, key)
        for key in range(400):
            function.cache_invalidate(key)
        return tracemalloc.get_traced_memory()[0]

    for _ in range(5):
        come_and_go()
    tracemalloc.start()
    try:
        first = come_and_go()
        for _ in range(19):
            last = come_and_go()
    finally:
        tracemalloc.stop()
    assert last - first < 120_000  # less than a fifth of one item for each that went


async def test_clearing_again_and_again_leaves_no_timers_B3(timers: Timers) -> None:
    function, _ = counted(ttl=3600)
    for key in range(300):
        await function(key)
        function.cache_clear()
    await steps()
    assert timers.armed == []


async def test_what_another_thread_drops_leaves_no_keys_B3_B13() -> None:
    watched = Watched()
    function, _ = counted(ttl=3600)
    keys = [watched.make() for _ in range(100)]
    for key in keys:
        function.cache_put(None, key)

    def drop() -> None:
        while keys:
            assert function.cache_invalidate(keys.pop())

    del key
    await asyncio.to_thread(drop)
    await steps()
    assert function.cache_info().currsize == 0
    for number in range(1000):
        function.cache_put(None, number)
        function.cache_invalidate(number)
    await steps()
    assert watched.alive == 0


async def test_clearing_in_another_thread_releases_the_timer_B3_B13(
    timers: Timers,
) -> None:
    function, _ = counted(ttl=3600)
    await function(1)
    await asyncio.to_thread(function.cache_clear)
    await steps()
    assert timers.armed == []


def futures() -> int:
    return sum(isinstance(found, asyncio.Future) for found in gc.get_objects())


async def test_bookkeeping_does_not_grow_with_waiters_that_left_B3(
    controlled: Make,
) -> None:
    function, runs = controlled()
    patient = start(function(1))
    await steps()
    before = futures()
    for _ in range(100):
        call = start(function(1))
        await steps(2)
        call.cancel()
        await steps(2)
    assert futures() - before <= 5
    runs[0].succeed("value")
    assert await patient == "value"


@pytest.mark.parametrize("callers", [1, 3])
async def test_what_outlives_a_run_keeps_nothing_of_it_alive_B3(callers: int) -> None:
    """A task started by the function has the run's context."""
    go_on = asyncio.Event()
    background: list[asyncio.Task[Any]] = []
    argument = Value()
    reference = weakref.ref(argument)

    @alru_cache
    async def function(argument: Value) -> Value:
        background.append(start(_wait_for(go_on)))
        await asyncio.sleep(0)
        return Value()

    values = await asyncio.gather(*[function(argument) for _ in range(callers)])
    value = weakref.ref(values[0])
    function.cache_clear()
    del argument, values
    await steps()  # the loop lets go of the tasks of gather
    assert reference() is None
    assert value() is None
    go_on.set()
    await background[0]


async def test_a_value_is_not_kept_for_who_was_cancelled_as_the_run_ended_B3() -> None:
    """Its waiter is cancelled, and has not been told yet, when the values are given."""
    go_on = asyncio.Event()
    background: list[asyncio.Task[Any]] = []
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @alru_cache
    async def function() -> Value:
        background.append(start(_wait_for(go_on)))  # has the run's context
        await end
        return Value()

    cancelled, patient = start(function()), start(function())
    await steps()
    end.set_result(None)
    cancelled.cancel()
    value = weakref.ref(await patient)
    assert isinstance(await outcome(cancelled), asyncio.CancelledError)
    assert value() is not None
    function.cache_clear()
    del cancelled, patient
    await steps()
    assert value() is None
    go_on.set()
    await background[0]


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def test_the_timer_goes_with_the_last_value_however_many_there_were_B3(
    timers: Timers,
) -> None:
    for number in range(1, 120):
        function, _ = counted(maxsize=None, ttl=10)
        for key in range(number):
            await function(key)
        for key in range(number):
            assert function.cache_invalidate(key)
        await steps()
        assert timers.armed == [], number


async def test_an_error_hidden_from_one_caller_keeps_none_of_its_values_B3_C8() -> None:
    """Another caller, who got the error, keeps it, and puts a value for the next."""
    held: list[weakref.ref[Value]] = []

    @alru_cache(ttl=10, stale_if_error=100)
    async def function(key: int) -> Value:
        await asyncio.sleep(0)
        raise ValueError

    async def refused() -> Exception:
        try:
            await function(1)
        except ValueError as error:
            function.cache_put(Value(), 1)
            return error
        raise AssertionError

    async def rescued() -> None:
        value = await function(1)
        held.append(weakref.ref(value))

    first = start(refused())
    second = start(rescued())
    await steps()
    await second
    kept = await first
    function.cache_invalidate(1)
    await steps()
    assert isinstance(kept, ValueError)
    assert held[0]() is None


@needs_refcount
async def test_cancelled_timer_keeps_no_key_B3() -> None:
    class Key:
        pass

    @alru_cache(ttl=60)
    async def function(key: Key) -> None: ...

    key = Key()
    await function(key)
    function.cache_clear()
    reference = weakref.ref(key)
    del key
    await asyncio.sleep(0)
    assert reference() is None
