"""B3: what is kept alive, and what is not."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Clock, Controlled, counted, outcome, start, steps
from test_ttl import armed

from async_lru import alru_cache

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="no reference counts"
)

Make = Callable[..., Controlled]


@pytest.fixture(autouse=True)
def _no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Value:
    """Something that can be weakly referenced."""


kinds = pytest.mark.parametrize(
    "options", [{}, {"ttl": 1000}, {"ttl": 1000, "jitter": 1}, {"maxsize": None}]
)


def invalidate(function: Any, clock: Clock) -> None:
    function.cache_invalidate(1)


def clear(function: Any, clock: Clock) -> None:
    function.cache_clear()


async def close(function: Any, clock: Clock) -> None:
    await function.cache_close()


async def expire(function: Any, clock: Clock) -> None:
    await clock.advance(1001)


async def evict(function: Any, clock: Clock) -> None:
    for key in range(2, 200):
        await function(key)


drops = pytest.mark.parametrize("drop", [invalidate, clear, close, expire, evict])


@kinds
@drops
async def test_a_dropped_value_dies_at_once_B3(
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
    assert reference() is not None
    dropping = drop(function, clock)
    if dropping is not None:
        await dropping
    assert reference() is None


@kinds
async def test_a_dropped_key_dies_at_once_B3(
    options: dict[str, Any], clock: Clock
) -> None:
    @alru_cache(**options)
    async def function(argument: Value) -> None:
        await asyncio.sleep(0)

    argument = Value()
    reference = weakref.ref(argument)
    await function(argument)
    function.cache_invalidate(argument)
    del argument
    assert reference() is None


@pytest.mark.parametrize("options", [{}, {"ttl": 1000}])
async def test_a_value_is_evicted_before_the_function_is_called_B3(
    options: dict[str, Any],
) -> None:
    @alru_cache(maxsize=1, **options)
    async def function(key: int) -> Any:
        if key == 1:
            return Value()
        return reference()

    reference = weakref.ref(await function(1))
    assert await function(2) is None


@pytest.mark.parametrize("fails", [False, True])
async def test_the_key_of_an_evicted_run_dies_when_it_ends_B3(fails: bool) -> None:
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


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@kinds
def test_a_loop_change_drops_values_at_once_B3(options: dict[str, Any]) -> None:
    @alru_cache(**options)
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(asyncio.run(function(1)))
    assert reference() is not None
    asyncio.run(function(2))
    assert reference() is None


@kinds
async def test_values_die_with_the_function_B3(options: dict[str, Any]) -> None:
    @alru_cache(**options)
    async def function(key: int) -> Value:
        return Value()

    reference = weakref.ref(await function(1))
    assert reference() is not None
    del function
    assert reference() is None
    assert armed() == []


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
    controlled: Make,
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
    assert armed() == []


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
            asyncio.Task(coroutine, loop=loop, eager_start=True, **options)  # type: ignore[call-arg]
        failure = Failure()
        references.append(weakref.ref(failure))
        try:
            raise failure
        finally:
            del failure

    @alru_cache
    async def function(key: int) -> None:
        asyncio.Task(call(), loop=loop, eager_start=True)  # type: ignore[call-arg]
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


async def test_a_failure_of_a_run_that_suspends_for_once_leaves_no_cycle_B3() -> None:
    """Unlike the runs before it, for which its cache has come to be prepared."""
    failures: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    @alru_cache
    async def function(key: int) -> None:
        if key > 2:
            await steps()
            failure = Failure()
            failures.append(weakref.ref(failure))
            try:
                raise failure
            finally:
                del failure

    async def suppressed(call: Any) -> None:
        try:
            await call
        except Failure:
            pass

    for key in range(3):
        await function(key)
    await start(suppressed(function(3)))
    await steps()
    assert failures[0]() is None


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

    gc.collect()  # what the test before has left until now
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
            if "async_lru" in str(getattr(type(item), "__module__", ""))
            or isinstance(item, (asyncio.Future, BaseException))
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
    assert len(reported(caplog)) == 1
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
    assert len(reported(caplog)) == 1
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


def proportional(function: Any) -> int:
    """The size of the queue of deadlines."""
    return len(function._cache.store.expiry.queue)


@pytest.mark.parametrize("jitter", [None, 100])
@pytest.mark.parametrize("hot", [False, True])
async def test_evictions_before_their_time_leave_nothing_B3(
    jitter: float | None, hot: bool
) -> None:
    function, _ = counted(maxsize=50, ttl=3600, jitter=jitter)
    for key in range(20_000):
        await function(key)
        if hot:  # an old entry that stays, in front of all that go
            await function(0)
        assert proportional(function) <= 150
    loop = asyncio.get_running_loop()
    # Cancelled timers stay in asyncio's heap for a while: one for each time that
    # jitter gave an earlier deadline than any before.
    assert len(loop._scheduled) <= 40  # type: ignore[attr-defined]
    assert len(armed()) == 1


@pytest.mark.parametrize("jitter", [None, 100])
async def test_invalidations_before_their_time_leave_nothing_B3(
    jitter: float | None,
) -> None:
    function, _ = counted(maxsize=None, ttl=3600, jitter=jitter)
    for key in range(5000):
        await function(key)
    for key in range(5000):
        assert function.cache_invalidate(key)
        live = 5000 - key - 1
        assert proportional(function) <= 2 * live + 64
    assert proportional(function) == 0
    assert armed() == []


async def test_clearing_again_and_again_leaves_no_timers_B3() -> None:
    function, _ = counted(ttl=3600)
    for key in range(300):
        await function(key)
        function.cache_clear()
    assert armed() == []
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    assert len(loop._scheduled) <= 110  # type: ignore[attr-defined]  # asyncio's own limit


async def test_an_entry_that_cannot_expire_is_let_go_in_another_thread_B3() -> None:
    """Dropping from another thread leaves the queue to the loop's own."""
    function, _ = counted(ttl=3600)
    for key in range(2):
        await function(key)
    for key in range(2):
        await asyncio.to_thread(function.cache_invalidate, key)
    assert function.cache_info().currsize == 0
    for key in range(2, 100):
        await function(key)
        function.cache_invalidate(key)
    assert proportional(function) <= 1
    assert await asyncio.to_thread(function.cache_info) == (0, 100, 128, 0)


async def test_a_cleared_function_in_another_thread_releases_its_timer_B3() -> None:
    function, _ = counted(ttl=3600)
    await function(1)
    await asyncio.to_thread(function.cache_clear)
    await steps()
    assert armed() == []


async def test_bookkeeping_does_not_grow_with_waiters_that_left_B3(
    controlled: Make,
) -> None:
    function, runs = controlled()
    patient = start(function(1))
    for _ in range(100):
        call = start(function(1))
        await steps(2)
        call.cancel()
        await steps(2)
    (run,) = function._cache.runs
    assert run.waiters is not None
    assert len(run.waiters) == 1
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


def test_a_timer_of_a_dead_function_fires_in_vain_B3() -> None:
    async def main() -> None:
        function, _ = counted(ttl=0.01)
        await function(1)
        loop = asyncio.get_running_loop()
        timer = armed()[0]
        callback, args = timer._callback, timer._args  # type: ignore[attr-defined]
        del function, _
        assert armed() == []
        callback(*args)
        assert loop.is_running()

    asyncio.run(main())
