"""One cache for all event loops and threads: shared=True."""

import asyncio
import contextvars
import functools
import gc
import os
import random
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from async_lru import AlruCacheWrapper, alru_cache

from conftest import (
    Timers,
    needs_more_hashes,
    needs_refcount,
    needs_refcount_of_functions,
    steps,
)

needs_groups = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="exception groups are new in 3.11"
)

SECONDS = 20

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def until(condition: Callable[[], object]) -> None:
    """Wait in a thread until something has become true."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


class Loop:
    """An event loop that runs in a thread of its own until it is told how to end."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.new_event_loop()
        self.reports: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.reports.append(context))
        self.raised: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException as error:
            self.raised = error

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.start(coroutine).result(SECONDS)

    def turn(self) -> None:
        """Wait until all that was asked of the loop up to now has been done."""
        for _ in range(5):
            self.run(asyncio.sleep(0))

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(SECONDS)

    def close(self) -> None:
        """Close the loop with everything pending."""
        self.stop()
        self.loop.close()

    def shut_down(self) -> None:
        """End as asyncio.run does: cancel all tasks, and then close."""
        self.stop()
        if self.loop.is_closed():
            return
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        gathered = asyncio.gather(*tasks, return_exceptions=True) if tasks else None
        if gathered is not None:
            self.loop.run_until_complete(gathered)
        self.loop.close()


@pytest.fixture
def loops() -> Iterator[Callable[..., Loop]]:
    """Make loops in threads, which are shut down at the end."""
    made: list[Loop] = []

    def make(loop: asyncio.AbstractEventLoop | None = None) -> Loop:
        made.append(Loop(loop))
        return made[-1]

    yield make
    for loop in made:
        loop.shut_down()


class Started:
    """A run that has begun and ends when the test says so."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.task = asyncio.current_task()

    def succeed(self, value: Any = None) -> None:
        self.loop.call_soon_threadsafe(self.future.set_result, value)

    def fail(self, error: BaseException) -> None:
        self.loop.call_soon_threadsafe(self.future.set_exception, error)


Shared = tuple[AlruCacheWrapper[..., Any], list[Started]]


def controlled(**options: Any) -> Shared:
    """Make a shared function whose runs end when the test says so."""
    runs: list[Started] = []

    @alru_cache(shared=True, **options)
    async def function(*args: Any) -> Any:
        runs.append(Started(args))
        return await runs[-1].future

    return function, runs


def counted(**options: Any) -> tuple[AlruCacheWrapper[..., Any], list[Any]]:
    """Make a shared function that returns its argument at once."""
    runs: list[Any] = []

    @alru_cache(shared=True, **options)
    async def function(x: Any) -> Any:
        runs.append(x)
        return x

    return function, runs


def joins(function: AlruCacheWrapper[..., Any]) -> int:
    return function.cache_stats().joins


def in_threads(*works: Callable[[], object]) -> None:
    """Do all of *works* at the same time, and raise what they raise."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def do(work: Callable[[], object]) -> None:
        try:
            barrier.wait(SECONDS)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


# E1: no loop owns it


def test_values_outlive_the_loop_that_made_them_E1() -> None:
    function, runs = counted()
    for _ in range(3):
        for x in range(3):
            assert asyncio.run(function(x)) == x
    assert runs == [0, 1, 2]
    assert function.cache_info()[:2] == (6, 3)


def test_loops_in_threads_take_nothing_from_each_other_E1(loops: Any) -> None:
    function, runs = counted()
    here, there = loops(), loops()
    for x in range(10):
        assert here.run(function(x)) == there.run(function(x)) == x
        assert there.run(function(-x)) == here.run(function(-x)) == -x
    assert runs == [0, *(y for x in range(1, 10) for y in (x, -x))]


def test_no_change_of_loops_is_warned_of_E1() -> None:
    function, _ = counted()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            asyncio.run(function(1))
    assert not caught


def test_an_unshared_cache_tells_of_shared_E1() -> None:
    @alru_cache
    async def function() -> None: ...

    asyncio.run(function())
    with pytest.warns(UserWarning, match=r"change: .*shared=True"):
        asyncio.run(function())


def test_shared_is_a_bool_B9() -> None:
    with pytest.raises(TypeError, match="shared must be a bool, not 1"):
        alru_cache(shared=1)  # type: ignore[call-overload]


@pytest.mark.parametrize("ttl", [None, 60])
def test_keys_are_functools_E1_A2(ttl: float | None) -> None:
    @alru_cache(shared=True, ttl=ttl)
    async def shared(*args: Any, **kwargs: Any) -> Any:
        return object()

    @functools.lru_cache
    def plain(*args: Any, **kwargs: Any) -> Any:
        return object()

    calls: list[tuple[Any, ...]] = [
        ((1,), {}), ((1.0,), {}), ((True,), {}), ((), {"x": 1}), ((1, 2), {}),
        ((), {"a": 1, "b": 2}), ((), {"b": 2, "a": 1}), (("1",), {}), ((), {}),
    ]  # fmt: skip

    async def main() -> None:
        for _ in range(2):
            for args, kwargs in calls:
                await shared(*args, **kwargs)
                plain(*args, **kwargs)

    asyncio.run(main())
    assert shared.cache_info()[:2] == plain.cache_info()[:2]


def test_one_parameter_is_passed_in_any_way_E1_A2() -> None:
    @alru_cache(shared=True)
    async def function(x: Any = 5) -> Any:
        return x

    async def main() -> None:
        for _ in range(2):
            assert await function() == 5
            assert await function(x=1) == 1
            assert await function((1,)) == (1,)
        with pytest.raises(TypeError):
            await function(1, 2)  # type: ignore[call-arg]

    asyncio.run(main())
    assert function.cache_info()[:2] == (3, 4)


def test_keys_of_its_own_are_shared_E1() -> None:
    function, runs = counted(key=lambda x: x % 3)
    assert [asyncio.run(function(x)) for x in range(6)] == [0, 1, 2, 0, 1, 2]
    assert runs == [0, 1, 2]


# E2: one run


def test_calls_of_all_loops_share_one_run_E2(loops: Any) -> None:
    function, runs = controlled()
    places = [loops() for _ in range(3)]

    async def call() -> Any:
        loop = asyncio.get_running_loop()
        result = await function(1)
        assert asyncio.get_running_loop() is loop
        return result

    calls = [place.start(call()) for place in places for _ in range(20)]
    until(lambda: joins(function) == 59)
    value = object()
    runs[0].succeed(value)
    assert all(call.result(SECONDS) is value for call in calls)
    assert len(runs) == 1
    assert function.cache_info() == (59, 1, 128, 1)


def test_each_other_loop_is_woken_once_E2(loops: Any) -> None:
    woken: list[Any] = []

    class Counting(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
            woken.append(args[0])
            return super().call_soon_threadsafe(*args, **options)

    function, runs = controlled()
    first, other = loops(), loops(Counting())
    here = first.start(function(1))
    until(lambda: runs)

    async def many() -> Any:
        return await asyncio.gather(*(function(1) for _ in range(50)))

    there = other.start(many())
    until(lambda: joins(function) == 50)
    woken.clear()
    runs[0].succeed(1)
    assert here.result(SECONDS) == 1
    assert there.result(SECONDS) == [1] * 50
    assert len(woken) == 1


def test_a_key_is_run_once_however_threads_race_E2() -> None:
    for _ in range(30):
        runs: list[int] = []

        @alru_cache(shared=True)
        async def function(x: int) -> int:
            runs.append(x)
            if x % 2:
                await asyncio.sleep(0)
            return x

        async def main() -> None:
            calls = (function(x) for x in range(5) for _ in range(5))
            assert sorted(await asyncio.gather(*calls)) == sorted([*range(5)] * 5)

        in_threads(*[lambda: asyncio.run(main())] * 4)
        assert sorted(runs) == [0, 1, 2, 3, 4]
        assert sum(function.cache_info()[:2]) == 100


def test_a_failure_that_is_kept_is_made_once_however_threads_race_E2_C11() -> None:
    for _ in range(30):
        runs: list[int] = []

        @alru_cache(shared=True, error_ttl={LookupError: 60})
        async def function(x: int) -> int:
            runs.append(x)
            raise LookupError(x)

        async def main() -> None:
            for x in range(5):
                with pytest.raises(LookupError):
                    await function(x)

        in_threads(*[lambda: asyncio.run(main())] * 4)
        assert sorted(runs) == [0, 1, 2, 3, 4]


def test_a_failure_is_shared_and_not_kept_E2_A4(loops: Any) -> None:
    function, runs = controlled()
    here, there = loops(), loops()
    calls = [here.start(function(1)), there.start(function(1))]
    until(lambda: runs and joins(function) == 1)
    runs[0].fail(ZeroDivisionError())
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            call.result(SECONDS)
    again = there.start(function(1))
    until(lambda: len(runs) == 2)
    runs[1].succeed(2)
    assert again.result(SECONDS) == 2


def test_maxsize_0_shares_nothing_E2_A6(loops: Any) -> None:
    function, runs = controlled(maxsize=0)
    calls = [loops().start(function(1)) for _ in range(2)]
    until(lambda: len(runs) == 2)
    for run in runs:
        run.succeed(1)
    assert [call.result(SECONDS) for call in calls] == [1, 1]
    assert function.cache_info() == (0, 2, 0, 0)


def test_a_call_outside_asyncio_is_told_so_E2_B9() -> None:
    function, _ = counted()
    with pytest.raises(RuntimeError, match="no running event loop"):
        function(1).send(None)


# E3: who runs


def test_the_first_caller_runs_it_in_a_copy_of_its_context_E3(loops: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    @alru_cache(shared=True)
    async def function() -> Any:
        seen = variable.get()
        variable.set("changed")
        return seen, asyncio.get_running_loop()

    async def call(name: str) -> Any:
        variable.set(name)
        result = await function()
        assert variable.get() == name
        return result

    here, there = loops(), loops()
    assert here.run(call("here")) == ("here", here.loop)
    assert there.run(call("there")) == ("here", here.loop)


ENDS: Any = {
    "shut down": Loop.shut_down,
    "closed": Loop.close,
}


@pytest.mark.parametrize("end", ENDS)
def test_another_loop_takes_over_when_the_first_ends_E3(loops: Any, end: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    runs: list[Started] = []
    seen: list[str] = []

    @alru_cache(shared=True, key=lambda x, who: x)
    async def function(x: int, who: str) -> Any:
        seen.append(variable.get() + who)
        runs.append(Started((x,)))
        return await runs[-1].future

    async def call(name: str) -> Any:
        variable.set(name)
        return await function(1, name)

    first, second, third = loops(), loops(), loops()
    first.start(call("first"))
    until(lambda: runs)
    calls = [place.start(call("next")) for place in (second, third) for _ in range(3)]
    until(lambda: joins(function) == 6)
    begun = time.monotonic()
    ENDS[end](first)
    until(lambda: len(runs) == 2)
    assert time.monotonic() - begun < 2.5  # E3: a second, and what the machine takes
    assert seen == ["firstfirst", "nextnext"]
    assert runs[1].loop in (second.loop, third.loop)
    runs[1].succeed("done")
    assert [call.result(SECONDS) for call in calls] == ["done"] * 6
    assert len(runs) == 2
    # Each call counts as what it began as (E8).
    assert function.cache_info() == (6, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
    del runs[:]
    gc.collect()


def test_a_new_call_does_not_wait_for_a_closed_loop_E3(loops: Any) -> None:
    function, runs = controlled()
    first = loops()
    first.start(function(1))
    until(lambda: runs)
    first.close()
    assert function.cache_info().currsize == 0
    assert not function.cache_contains(1)
    assert not function.cache_invalidate(1)
    call = loops().start(function(1))
    until(lambda: len(runs) == 2)
    assert function.cache_parameters()["tasks"] == 1
    runs[1].succeed(2)
    assert call.result(SECONDS) == 2
    del runs[:]
    gc.collect()


def test_a_refresh_is_taken_over_E3_C6(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    first.start(function.cache_refresh(1))
    until(lambda: runs)
    refresh = second.start(function.cache_refresh(1))
    second.turn()
    first.shut_down()
    until(lambda: len(runs) == 2)
    runs[1].succeed(2)
    assert refresh.result(SECONDS) == 2
    assert function.cache_info() == (0, 0, 128, 1)


def test_a_run_whose_loop_is_long_at_work_is_waited_for_E3(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    time.sleep(1.2)  # second looks once meanwhile
    assert len(runs) == 1
    runs[0].succeed(1)
    assert [call.result(SECONDS) for call in calls] == [1, 1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_thread_is_not_told_in_others_E3(
    loops: Any, kind: type[BaseException]
) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    first.start(function(1))
    until(lambda: runs)
    call = second.start(function(1))
    until(lambda: runs and joins(function) == 1)
    runs[0].loop.call_soon_threadsafe(runs[0].future.set_exception, kind())
    until(lambda: len(runs) == 2)
    runs[1].succeed(2)
    assert call.result(SECONDS) == 2
    first.thread.join(SECONDS)
    assert type(first.raised) is kind


def test_the_loop_that_runs_gets_what_ends_it_when_it_has_no_waiter_E3(
    loops: Any,
) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    gone = first.start(function(1))
    until(lambda: runs)
    call = second.start(function(1))
    until(lambda: joins(function) == 1)
    gone.cancel()
    first.turn()
    runs[0].fail(KeyboardInterrupt())
    first.thread.join(SECONDS)
    assert type(first.raised) is KeyboardInterrupt
    until(lambda: len(runs) == 2)
    runs[1].succeed(2)
    assert call.result(SECONDS) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_loop_that_is_interrupted_while_it_tells_others_is_left_E3(
    loops: Any, fails: bool
) -> None:
    """It has taken the waiters out of its run then, and told none of them."""

    class Interrupting(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
            if threading.current_thread() is first.thread and interrupting:
                interrupting.clear()
                raise KeyboardInterrupt
            return super().call_soon_threadsafe(*args, **options)

    function, runs = controlled()
    first, other = loops(), loops(Interrupting())
    first.start(function(1))
    until(lambda: runs)
    waiting = other.start(function(1))
    until(lambda: joins(function) == 1)
    interrupting = [True]
    if fails:
        runs[0].fail(ZeroDivisionError())
        until(lambda: len(runs) == 2)
        runs[1].succeed("value")
    else:
        runs[0].succeed("value")
    assert waiting.result(SECONDS) == "value"
    assert len(runs) == 1 + fails
    assert isinstance(first.raised, KeyboardInterrupt)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not tell before 3.11")
def test_a_run_that_cancels_itself_cancels_all_waiters_E3_A5(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: runs and joins(function) == 1)
    runs[0].fail(asyncio.CancelledError("itself"))
    for call in calls:
        until(call.done)
        assert call.cancelled()
    assert len(runs) == 1
    assert function.cache_info().currsize == 0


def test_who_has_to_ask_again_may_find_a_value_E3(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    first.start(function(1))
    until(lambda: runs)
    call = second.start(function(1))
    until(lambda: joins(function) == 1)
    function.cache_put("put", 1)
    first.shut_down()
    assert call.result(SECONDS) == "put"
    assert function.cache_info()[:2] == (1, 1)
    assert len(runs) == 1


def test_nobody_takes_over_after_closing_E3_A9(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    first.start(function(1))
    until(lambda: runs)
    call = second.start(function(1))
    until(lambda: joins(function) == 1)
    closing = second.start(function.cache_close(wait=True))
    second.turn()
    first.shut_down()
    with pytest.raises(RuntimeError, match="is closed"):
        call.result(SECONDS)
    closing.result(SECONDS)
    assert len(runs) == 1


# E4: cancelling


def test_cancelling_a_waiter_cancels_only_that_one_E4(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    gone = first.start(function(1))
    until(lambda: runs)
    calls = [second.start(function(1)) for _ in range(3)]
    until(lambda: joins(function) == 3)
    gone.cancel()
    calls.pop().cancel()
    first.turn()
    second.turn()
    runs[0].succeed(1)
    assert [call.result(SECONDS) for call in calls] == [1, 1]


def test_the_last_waiter_of_all_loops_cancels_the_run_E4(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    calls[0].cancel()
    first.turn()
    assert not runs[0].task.done()  # type: ignore[union-attr]
    calls[1].cancel()
    until(runs[0].future.cancelled)
    assert function.cache_info().currsize == 0
    again = first.start(function(1))
    until(lambda: len(runs) == 2)
    runs[1].succeed(2)
    assert again.result(SECONDS) == 2


def test_waiters_in_closed_loops_wait_no_longer_E4(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    pending = asyncio.all_tasks(second.loop)
    second.close()
    calls[0].cancel()
    until(runs[0].future.cancelled)
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_run_may_outlive_its_waiters_E4_C14(loops: Any) -> None:
    function, runs = controlled(cancel_abandoned=False)
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    for call in calls:
        call.cancel()
    first.turn()
    second.turn()
    runs[0].succeed(1)
    until(lambda: function.cache_stats().loads == 1)
    assert second.run(function(1)) == 1


def test_a_run_that_nobody_waits_for_is_cancelled_when_invalidated_E4_A8(
    loops: Any,
) -> None:
    function, runs = controlled(cancel_abandoned=False)
    first, second = loops(), loops()
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    calls[0].cancel()
    assert function.cache_invalidate(1)
    first.turn()
    assert not runs[0].future.cancelled()
    calls[1].cancel()
    until(runs[0].future.cancelled)


# E5: failures


def test_each_loop_gets_an_exception_of_its_own_E5(loops: Any) -> None:
    class CustomError(Exception):
        def __init__(self, code: int, *, hint: str) -> None:
            super().__init__(f"code {code}")
            self.hint = hint

    function, runs = controlled()
    places = [loops() for _ in range(3)]
    calls = [place.start(function(1)) for place in places for _ in range(2)]
    until(lambda: runs and joins(function) == 5)
    error = CustomError(7, hint="why")
    runs[0].fail(error)
    got = [call.exception(SECONDS) for call in calls]
    assert {type(each) for each in got} == {CustomError}
    assert {str(each) for each in got} == {"code 7"}
    assert {each.hint for each in got} == {"why"}  # type: ignore[union-attr]
    by_loop = [set(map(id, got[start : start + 2])) for start in (0, 2, 4)]
    assert all(len(each) == 1 for each in by_loop)
    assert len(set.union(*by_loop)) == 3
    for each in got:
        assert "runs[-1].future" in "".join(traceback.format_exception(each))
    assert not any(place.reports for place in places)


def test_exceptions_of_other_loops_tell_the_whole_story_E5(loops: Any) -> None:
    runs: list[Started] = []

    @alru_cache(shared=True)
    async def function() -> None:
        runs.append(Started(()))
        await runs[-1].future
        try:
            try:
                raise KeyError("the cause")
            except KeyError as cause:
                raise LookupError("the context") from cause
        except LookupError:
            raise ValueError("the failure")  # noqa: B904  # which is its context

    calls = [loops().start(function()) for _ in range(2)]
    until(lambda: runs and joins(function) == 1)
    runs[0].succeed()
    errors: list[Any] = [call.exception(SECONDS) for call in calls]
    told = ["".join(traceback.format_exception(error)) for error in errors]
    for story in told:
        for each in ("the cause", "the context", "the failure"):
            assert f'Error("{each}")' in story
    assert errors[0] is not errors[1]


def test_causes_are_not_shared_by_threads_either_E5(loops: Any) -> None:
    runs: list[Started] = []

    @alru_cache(shared=True)
    async def function() -> None:
        runs.append(Started(()))
        await runs[-1].future
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            raise ValueError("the failure") from cause

    calls = [loops().start(function()) for _ in range(2)]
    until(lambda: runs and joins(function) == 1)
    runs[0].succeed()
    causes: list[Any] = [call.exception(SECONDS).__cause__ for call in calls]
    assert causes[0] is not causes[1]
    for cause in causes:
        assert 'KeyError("the cause")' in "".join(traceback.format_exception(cause))


def test_an_exception_that_cannot_be_copied_is_told_all_the_same_E5(loops: Any) -> None:
    class StubbornError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise ValueError(name)

    function, runs = controlled()
    calls = [loops().start(function(1)) for _ in range(2)]
    until(lambda: runs and joins(function) == 1)
    runs[0].fail(StubbornError())
    for call in calls:
        assert type(call.exception(SECONDS)) is StubbornError


@pytest.mark.parametrize("reached", ["before it is told", "before it goes on"])
def test_a_failure_that_nobody_got_is_reported_once_E5_B3(
    loops: Any, reached: str
) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    gone = first.start(function(1))
    until(lambda: runs)
    tasks: list[asyncio.Task[Any]] = []

    async def calls() -> None:
        tasks.extend(asyncio.ensure_future(function(1)) for _ in range(2))
        await asyncio.wait(tasks)

    waiting = second.start(calls())
    until(lambda: joins(function) == 2)
    gone.cancel()
    first.turn()
    event, is_blocked = threading.Event(), threading.Event()

    def cancel() -> None:
        for task in tasks:
            task.cancel()

    def hold() -> None:
        is_blocked.set()
        event.wait(SECONDS)
        if reached == "before it is told":
            cancel()
        else:
            second.loop.call_soon(cancel)

    second.loop.call_soon_threadsafe(hold)
    is_blocked.wait(SECONDS)
    runs[0].fail(ZeroDivisionError())
    until(lambda: function.cache_stats().failures == 1)
    first.turn()
    event.set()
    waiting.result(SECONDS)
    second.turn()
    assert all(task.cancelled() for task in tasks)
    reports = [*first.reports, *second.reports]
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    assert "all its callers had been cancelled" in reports[0]["message"]


@pytest.mark.parametrize("when", ["waiting", "about to be told"])
def test_a_call_that_is_closed_hears_of_nothing_any_more_E5_B3(
    loops: Any, when: str
) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    call = first.start(function(1))
    until(lambda: runs)

    async def close() -> None:
        closed = function(1)
        closed.send(None)
        if when == "about to be told":
            runs[0].fail(ZeroDivisionError())
            until(lambda: function.cache_stats().failures == 1)
            first.turn()
        closed.close()

    second.run(close())
    if when == "waiting":
        runs[0].fail(ZeroDivisionError())
    assert type(call.exception(SECONDS)) is ZeroDivisionError
    second.turn()
    del call
    gc.collect()
    first.turn()
    second.turn()
    assert not first.reports
    assert not second.reports


def test_a_failure_for_a_loop_that_is_closed_is_reported_E5_B3(loops: Any) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    gone = first.start(function(1))
    until(lambda: runs)
    second.start(function(1))
    until(lambda: joins(function) == 1)
    gone.cancel()
    first.turn()
    second.close()
    runs[0].fail(ZeroDivisionError())
    until(lambda: first.reports)
    assert "all its callers had been cancelled" in first.reports[0]["message"]
    del runs[:]
    gc.collect()


@pytest.mark.parametrize("end", ["value", "loop"])
@pytest.mark.parametrize("told", [False, True])
def test_a_caller_that_is_cancelled_meanwhile_is_just_cancelled_E4_E5(
    loops: Any, end: str, told: bool
) -> None:
    function, runs = controlled()
    first, second = loops(), loops()
    first.start(function(1))
    until(lambda: runs)
    tasks: list[asyncio.Task[Any]] = []

    async def call() -> None:
        tasks.append(asyncio.ensure_future(function(1)))
        await asyncio.wait(tasks)

    waiting = second.start(call())
    until(lambda: joins(function) == 1)
    event, is_blocked = threading.Event(), threading.Event()

    def hold() -> None:
        is_blocked.set()
        event.wait(SECONDS)
        if told:
            second.loop.call_soon(tasks[0].cancel)
        else:
            tasks[0].cancel()

    second.loop.call_soon_threadsafe(hold)
    assert is_blocked.wait(SECONDS)
    if end == "loop":
        first.shut_down()
    else:
        runs[0].succeed(1)
        until(lambda: function.cache_stats().loads == 1)
        first.turn()
    event.set()
    waiting.result(SECONDS)
    assert tasks[0].cancelled()
    assert not second.reports
    assert len(runs) == 1


@pytest.mark.parametrize("ready", [1, 2])
def test_a_circle_of_runs_in_two_loops_is_an_error_E5_B5(
    loops: Any, ready: int
) -> None:
    functions: dict[str, AlruCacheWrapper[..., Any]] = {}
    barrier = threading.Barrier(ready)

    def make(name: str, other: str) -> None:
        @alru_cache(shared=True)
        async def function() -> Any:
            barrier.wait(SECONDS)  # both have begun
            barrier.wait(SECONDS)
            return await functions[other]()

        functions[name] = function

    make("a", "b")
    make("b", "a")
    if ready == 1:  # one begins all by itself
        with pytest.raises(RuntimeError, match="would wait for itself"):
            asyncio.run(functions["a"]())
        return
    for _ in range(20):
        calls = [loops().start(functions[name]()) for name in "ab"]
        errors = [call.exception(SECONDS) for call in calls]
        assert {type(error) for error in errors} == {RuntimeError}
        for function in functions.values():
            function.cache_clear()


def test_a_circle_through_gather_is_an_error_E5_B5(loops: Any) -> None:
    functions: dict[str, AlruCacheWrapper[..., Any]] = {}
    begun = {name: threading.Event() for name in "ab"}

    def make(name: str, other: str) -> None:
        @alru_cache(shared=True)
        async def function() -> Any:
            begun[name].set()
            while not begun[other].is_set():
                await asyncio.sleep(0)
            if name == "b":
                while not joins(functions[name]):
                    await asyncio.sleep(0)
            return await asyncio.gather(functions[other]())

        functions[name] = function

    make("a", "b")
    make("b", "a")
    calls = [loops().start(functions[name]()) for name in "ab"]
    for call in calls:
        assert type(call.exception(SECONDS)) is RuntimeError


def test_runs_that_wait_in_no_circle_are_let_be_E5_B5(loops: Any) -> None:
    release = threading.Event()

    @alru_cache(shared=True)
    async def leaf(x: int) -> int:
        while not release.is_set():
            await asyncio.sleep(0.001)
        return x

    @alru_cache(shared=True)
    async def node(x: int) -> int:
        return sum(await asyncio.gather(*(leaf(y) for y in range(x))))

    calls = [loops().start(node(x)) for x in (3, 4, 5)]
    until(lambda: leaf.cache_info()[:2] == (7, 5))
    release.set()
    assert [call.result(SECONDS) for call in calls] == [3, 6, 10]


# E6: time


def test_nothing_is_served_past_its_deadline_E6() -> None:
    function, runs = counted(ttl=0.05)
    asyncio.run(function(1))
    asyncio.run(function(1))
    assert runs == [1]
    time.sleep(0.06)
    asyncio.run(function(1))
    assert runs == [1, 1]
    assert function.cache_stats().expirations == 1


def test_the_next_call_frees_what_is_overdue_E6(loops: Any) -> None:
    class Value:
        pass

    @alru_cache(shared=True, ttl=lambda value: 0.02 if value else None)
    async def function(x: int) -> Value | None:
        return Value() if x == 1 else None

    gone = weakref.ref(asyncio.run(function(1)))  # the timer ends with the loop
    time.sleep(0.03)
    gc.collect()
    assert gone() is not None
    loops().run(function(2))

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    until(is_gone)


def test_looking_frees_what_is_overdue_E6() -> None:
    function, _ = counted(ttl=0.02)
    asyncio.run(function(1))
    time.sleep(0.03)
    assert function.cache_info().currsize == 0


def test_a_timer_frees_values_without_any_call_E6(loops: Any) -> None:
    function, _ = counted(ttl=0.05)
    first, second = loops(), loops()
    first.run(function(1))
    second.run(function(2))
    first.close()
    second.run(function(3))
    # By len of what is held, since looking drops what is overdue.
    assert function.cache_memory() != 0
    until(lambda: function.cache_memory() in (0, None))


def test_another_loop_takes_the_timer_of_one_that_stopped_E6(loops: Any) -> None:
    function, _ = counted(ttl=0.02)
    first, second = loops(), loops()
    first.run(function(1))
    first.stop()
    time.sleep(1.1)
    assert function.cache_memory() != 0
    second.start(function(2))
    until(lambda: function.cache_memory() in (0, None))


def test_a_sooner_deadline_moves_the_timer_to_another_loop_E6(loops: Any) -> None:
    function, _ = counted(ttl=lambda x: x)
    first, second = loops(), loops()
    first.run(function(60))
    second.run(function(0.02))
    until(lambda: function.cache_stats().currsize == 1)
    assert second.run(function(60)) == 60


def test_a_loop_with_a_time_of_its_own_does_not_matter_E6() -> None:
    function, runs = counted(ttl=60)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await function(1)
        real = loop.time
        loop.time = lambda: real() + 3600  # type: ignore[method-assign]
        await asyncio.sleep(0.01)
        await function(1)

    asyncio.run(main())
    assert runs == [1]


def test_a_timer_that_fires_early_drops_nothing_E6(loops: Any) -> None:
    function, runs = counted(ttl=0.2)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await function(1)
        real = loop.time
        loop.time = lambda: real() + 0.2  # type: ignore[method-assign]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.time = real  # type: ignore[method-assign]
        await function(1)

    asyncio.run(main())
    assert runs == [1]


# E7: eviction


def test_maxsize_is_exact_E7() -> None:
    function, runs = counted(maxsize=3)
    for x in range(10):
        asyncio.run(function(x))
        assert function.cache_info().currsize == min(x + 1, 3)
    assert function.cache_stats().evictions == 7


def test_a_value_that_was_hit_gets_a_second_chance_E7() -> None:
    function, _ = counted(maxsize=3)
    for x in (1, 2, 3, 1, 4):
        asyncio.run(function(x))
    assert [x for x in range(5) if function.cache_contains(x)] == [1, 3, 4]
    for x in (5, 6):  # 1 was not hit again
        asyncio.run(function(x))
    assert [x for x in range(7) if function.cache_contains(x)] == [1, 5, 6] or [
        x for x in range(7) if function.cache_contains(x)
    ] == [4, 5, 6]


def test_looking_is_no_use_E7_A6() -> None:
    function, _ = counted(maxsize=2)
    for x in (1, 2):
        asyncio.run(function(x))
    assert function.cache_contains(1)
    asyncio.run(function(3))
    assert not function.cache_contains(1)


def test_the_newest_value_does_not_go_when_all_others_were_hit_E7() -> None:
    function, _ = counted(maxsize=500)
    for _ in range(2):
        for x in range(500):
            asyncio.run(function(x)) if x % 100 == 0 else None

    async def main() -> None:
        for _ in range(2):
            for x in range(500):
                await function(x)
        for x in range(500, 600):
            await function(x)
            assert function.cache_contains(x)

    asyncio.run(main())
    assert function.cache_info().currsize == 500


def test_hit_ratio_is_within_2_points_of_lru_E7() -> None:
    rng = random.Random(1)
    ranks = list(range(2000))
    weights = [1 / (rank + 1) for rank in ranks]
    zipf = rng.choices(ranks, weights, k=30_000)
    drift = [rank + step // 100 for step, rank in enumerate(zipf)]
    scan: list[int] = []
    for start in range(0, 30_000, 300):
        scan += zipf[start : start + 200]
        scan += range(10_000 + start, 10_100 + start)
    for trace in (zipf, drift, scan):
        function, _ = counted(maxsize=200)

        @functools.lru_cache(maxsize=200)
        def lru(x: int) -> int:
            return x

        async def main(trace: list[int]) -> None:
            for x in trace:
                await function(x)

        asyncio.run(main(trace))
        for x in trace:
            lru(x)
        ours, theirs = function.cache_info().hits, lru.cache_info().hits
        assert ours / len(trace) > theirs / len(trace) - 0.02


def test_a_replaced_value_evicts_nothing_E7() -> None:
    function, _ = counted(maxsize=2)
    for x in (1, 2):
        asyncio.run(function(x))
    function.cache_put("new", 1)
    assert function.cache_stats().evictions == 0
    assert asyncio.run(function(1)) == "new"
    assert function.cache_contains(2)


# E8: counters


def test_counters_are_exact_E8() -> None:
    function, _ = counted(maxsize=None)
    number = 20_000

    async def main() -> None:
        for x in range(number):
            await function(x % 50)

    in_threads(*[lambda: asyncio.run(main())] * 4)
    stats = function.cache_stats()
    assert stats.hits + stats.misses == 4 * number
    assert stats.misses == stats.loads == 50
    function.cache_clear()
    assert function.cache_info() == (0, 0, None, 0)
    asyncio.run(function(1))
    asyncio.run(function(1))
    assert function.cache_info() == (1, 1, None, 1)


def test_no_counter_is_ever_below_zero_E8_B13() -> None:
    function, _ = counted()
    done = threading.Event()

    async def main() -> None:
        for x in range(2000):
            await function(x % 3)
        done.set()

    def clear() -> None:
        while not done.is_set():
            function.cache_clear()
            assert min(function.cache_stats()[:9]) >= 0
            time.sleep(0)

    def look() -> None:
        while not done.is_set():
            assert function.cache_info().hits >= 0

    in_threads(lambda: asyncio.run(main()), clear, look)


# E9: all the rest works


def test_methods_need_no_loop_E9() -> None:
    function, runs = counted(ttl=60)
    function.cache_put("put", 1)
    assert function.cache_contains(1)
    assert function.cache_info().currsize == 1
    assert asyncio.run(function(1)) == "put"
    assert function.cache_invalidate(1)
    asyncio.run(function(2))
    assert function.cache_invalidate_where(lambda x: x == 2) == 1
    assert function.cache_memory() in (0, None)
    function.cache_clear()
    assert runs == [2]


def test_a_run_in_another_loop_does_not_overwrite_what_was_put_E9_B1(
    loops: Any,
) -> None:
    function, runs = controlled()
    call = loops().start(function(1))
    until(lambda: runs)
    function.cache_put("put", 1)
    runs[0].succeed("run")
    assert call.result(SECONDS) == "run"
    assert asyncio.run(function(1)) == "put"


def test_closing_cancels_runs_in_all_loops_E9_A9(loops: Any) -> None:
    function, runs = controlled()
    calls = [loops().start(function(x)) for x in (1, 2)]
    until(lambda: len(runs) == 2)
    joined = loops().start(function(1))
    until(lambda: joins(function) == 1)
    asyncio.run(function.cache_close())
    assert all(run.future.cancelled() for run in runs)
    for call in [*calls, joined]:
        until(call.done)
        assert call.cancelled()
    for refused in (function(1), function.cache_refresh(1)):
        with pytest.raises(RuntimeError, match="closed"):
            asyncio.run(refused)
    with pytest.raises(RuntimeError, match="closed"):
        function.cache_put(1, 1)


def test_a_closed_cache_serves_nobody_until_it_is_opened_E9_A9() -> None:
    function, runs = counted()
    asyncio.run(function(1))
    asyncio.run(function.cache_close())
    assert function.cache_contains(1)
    assert function.cache_info().currsize == 1
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(function(1))
    function.cache_open()
    assert not function.cache_contains(1)
    assert asyncio.run(function(1)) == 1
    assert asyncio.run(function(1)) == 1
    assert runs == [1, 1]


@pytest.mark.parametrize("closed_first", [False, True])
async def test_a_closed_cache_sets_no_timer_E9_A9(
    timers: Timers, closed_first: bool
) -> None:
    """Neither for what comes in while it closes, nor for a call that is refused."""

    @alru_cache(ttl=3600, shared=True)
    async def function(x: int) -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return x

    await function(1)
    assert timers.armed
    call = asyncio.ensure_future(function(2))
    await asyncio.sleep(0)
    if closed_first:
        await asyncio.gather(call, function.cache_close(wait=True))
    else:
        await call
        await function.cache_close()
        with pytest.raises(RuntimeError, match="closed"):
            await function(3)
    assert not timers.armed
    assert function.cache_contains(2)


def test_what_comes_in_while_closing_is_served_to_nobody_E9_A9(loops: Any) -> None:
    function, runs = controlled(ttl=60)
    first, second = loops(), loops()
    call = first.start(function(1))
    until(lambda: runs)
    closing = second.start(function.cache_close(wait=True))
    second.turn()
    runs[0].succeed(1)
    assert call.result(SECONDS) == 1
    closing.result(SECONDS)
    assert function.cache_contains(1)
    with pytest.raises(RuntimeError, match="closed"):
        first.run(function(1))


def test_a_stale_value_is_served_to_all_loops_during_one_run_E9_C8(loops: Any) -> None:
    function, runs = controlled(ttl=0.02, stale_while_revalidate=60)
    first, second = loops(), loops()
    function.cache_put("old", 1)
    time.sleep(0.03)
    assert [place.run(function(1)) for place in (first, second)] == ["old", "old"]
    until(lambda: runs)
    assert second.run(function(1)) == "old"
    assert len(runs) == 1
    assert function.cache_stats().stale_hits == 3
    runs[0].succeed("new")
    until(lambda: function.cache_stats().loads == 1)
    assert second.run(function(1)) == "new"


def test_a_run_in_the_background_that_fails_is_reported_in_its_loop_E9_C8(
    loops: Any,
) -> None:
    function, runs = controlled(ttl=0.02, stale_while_revalidate=60)
    first = loops()
    function.cache_put("old", 1)
    time.sleep(0.03)
    assert first.run(function(1)) == "old"
    until(lambda: runs)
    runs[0].fail(ZeroDivisionError())
    until(lambda: first.reports)
    assert "failed in the background" in first.reports[0]["message"]


def test_a_stale_value_saves_callers_in_all_loops_from_an_error_E9_C8(
    loops: Any,
) -> None:
    function, runs = controlled(ttl=0.02, stale_if_error=60)
    first, second = loops(), loops()
    function.cache_put("old", 1)
    time.sleep(0.03)
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: runs and joins(function) == 1)
    runs[0].fail(ZeroDivisionError())
    assert [call.result(SECONDS) for call in calls] == ["old", "old"]
    assert second.run(function(1)) == "old"  # not before stale_retry
    assert len(runs) == 1
    assert not first.reports
    assert not second.reports


@pytest.mark.parametrize("slow", [0, 0.05])
def test_a_slow_run_in_another_loop_is_not_waited_for_E9_C13(
    loops: Any, slow: float
) -> None:
    function, runs = controlled(ttl=0.02, stale_if_error=60, stale_if_slow=slow)
    first, second = loops(), loops()
    function.cache_put("old", 1)
    time.sleep(0.03)
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    assert [call.result(SECONDS) for call in calls] == ["old", "old"]
    runs[0].succeed("new")
    until(lambda: function.cache_stats().loads == 1)
    assert second.run(function(1)) == "new"
    assert len(runs) == 1


def test_a_slow_run_that_was_invalidated_is_left_E9_C13(loops: Any) -> None:
    function, runs = controlled(ttl=0.02, stale_if_error=60, stale_if_slow=0.1)
    first, second = loops(), loops()
    function.cache_put("old", 1)
    time.sleep(0.03)
    calls = [first.start(function(1))]
    until(lambda: runs)
    calls.append(second.start(function(1)))
    until(lambda: joins(function) == 1)
    function.cache_put("newer", 1)
    assert {call.result(SECONDS) for call in calls} == {"newer"}
    until(runs[0].future.cancelled)


def test_a_kept_failure_is_raised_in_all_loops_E9_C11(loops: Any) -> None:
    function, runs = controlled(error_ttl={ZeroDivisionError: 60})
    first, second = loops(), loops()
    call = first.start(function(1))
    until(lambda: runs)
    runs[0].fail(ZeroDivisionError("why"))
    errors = [call.exception(SECONDS)]
    errors += [place.start(function(1)).exception(SECONDS) for place in (first, second)]
    assert [repr(error) for error in errors] == ["ZeroDivisionError('why')"] * 3
    assert len(set(map(id, errors))) == 3
    assert len(runs) == 1


def test_each_instance_shares_its_own_cache_E9_C9() -> None:
    class Service:
        def __init__(self) -> None:
            self.runs: list[int] = []

        @alru_cache(shared=True, per_instance=True)
        async def get(self, x: int) -> int:
            self.runs.append(x)
            return x

        @alru_cache(shared=True)
        async def find(self, x: int) -> int:
            self.runs.append(-x)
            return x

    one, two = Service(), Service()
    for _ in range(2):
        for service in (one, two):
            assert asyncio.run(service.get(1)) == 1
            assert asyncio.run(service.find(2)) == 2
    assert one.runs == two.runs == [1, -2]
    assert Service.get.cache_info()[:2] == (2, 2)


@needs_refcount
def test_the_cache_of_an_instance_dies_with_it_E9_C9() -> None:
    class Service:
        @alru_cache(shared=True, per_instance=True, ttl=60)
        async def get(self, x: Any) -> Any:
            return x

    class Value:
        pass

    service, value = Service(), Value()
    for _ in range(2):
        asyncio.run(service.get(value))
    gone = weakref.ref(value)
    del value, service
    assert gone() is None


@needs_refcount_of_functions
def test_a_dropped_value_is_freed_E9_B3(loops: Any) -> None:
    class Value:
        pass

    @alru_cache(maxsize=2, shared=True)
    async def function(x: int) -> Value:
        await asyncio.sleep(0.02)
        return Value()

    async def call(x: int) -> "weakref.ref[Value]":
        return weakref.ref(await function(x))

    def fill() -> "weakref.ref[Value]":
        calls = [place.start(call(1)) for place in places]
        reference: weakref.ref[Value] = [each.result(SECONDS) for each in calls][0]
        del calls
        for place in places:
            place.turn()
        assert reference() is not None
        return reference

    places = loops(), loops()
    gc.collect()
    gc.disable()
    try:
        gone = fill()
        function.cache_invalidate(1)
        assert gone() is None
        gone = fill()
        function.cache_clear()
        assert gone() is None
        gone = fill()
        places[0].run(function(2))
        places[0].run(function(3))
        assert gone() is None
        gone = fill()
        function.cache_put(Value(), 1)
        assert gone() is None
    finally:
        gc.enable()


def test_warming_in_two_loops_runs_each_once_E9_C7() -> None:
    runs: list[int] = []

    @alru_cache(shared=True)
    async def function(x: int) -> int:
        runs.append(x)
        await asyncio.sleep(0.001)
        return x

    calls = [(x,) for x in range(30)]

    def warm() -> None:
        assert asyncio.run(function.cache_warm(calls)) == list(range(30))

    in_threads(warm, warm)
    assert sorted(runs) == list(range(30))


def test_a_refresh_joins_the_run_of_another_loop_E9_C6(loops: Any) -> None:
    function, runs = controlled()
    function.cache_put("old", 1)
    first, second = loops(), loops()
    calls = [place.start(function.cache_refresh(1)) for place in (first, second)]
    until(lambda: runs)
    assert second.run(function(1)) == "old"
    for place in (first, second):  # whichever begins the run
        place.turn()
    runs[0].succeed("new")
    assert [call.result(SECONDS) for call in calls] == ["new", "new"]
    assert len(runs) == 1
    assert first.run(function(1)) == "new"


def test_a_debug_report_counts_hits_of_all_threads_E9_C4() -> None:
    function, _ = counted()
    asyncio.run(function(1))
    in_threads(*[lambda: asyncio.run(function(1))] * 3)
    assert function.cache_stats().hit_rate == 0.75
    assert "3 hits" in str(function.cache_stats())


# Keys that call back, or raise (A2, B15)


class Key:
    """A key that collides with all others, and does something when it is compared."""

    def __init__(self, name: str, act: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.act = act

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        act, self.act = self.act, lambda: None
        act()
        return isinstance(other, Key) and self.name == other.name


class Trap:
    """Counts how often a key is compared, and does something each time from one on."""

    def __init__(self, key: Key, at: int, *actions: Callable[[], object]) -> None:
        self.key = key
        self.actions = dict(enumerate(actions, at))
        self.compared = 0

    def set(self) -> None:
        self.key.act = self.spring

    def spring(self) -> None:
        action = self.actions.get(self.compared, lambda: None)
        self.compared += 1
        action()
        self.set()

    def remove(self) -> None:
        self.key.act = lambda: None


def fail() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("at", range(16))
@pytest.mark.parametrize("do", ["clear", "invalidate", "put", "fail", "other", "evict"])
@pytest.mark.parametrize("ttl", [None, 60])
def test_keys_may_do_anything_when_they_are_compared_E9_B15(
    at: int, do: str, ttl: float | None
) -> None:
    function, _ = counted(maxsize=3, ttl=ttl)

    def act() -> None:
        if do == "clear":
            function.cache_clear()
        elif do == "invalidate":
            function.cache_invalidate(Key("a"))
        elif do == "put":
            function.cache_put(Key("a"), Key("a"))
        elif do == "other":
            function.cache_put(Key("new"), Key("new"))
        elif do == "evict":
            for name in "xyzw":
                function.cache_put(Key(name), Key(name))
        else:
            fail()

    compared = 0

    def count() -> None:
        nonlocal compared
        compared += 1
        if compared == at + 1:
            act()
        else:
            for key in watched:
                key.act = count

    watched: list[Key] = []

    async def main() -> None:
        nonlocal watched
        for call in (function, function.cache_refresh):
            watched = [Key(name) for name in "bcda"]
            for key in watched[:3]:
                await function(key)
            for key in watched:
                key.act = count
            try:
                result = await call(watched[3])
                assert isinstance(result, Key)
            except ZeroDivisionError:
                pass
            for key in watched:
                key.act = lambda: None
            watched = []
            assert function.cache_info().currsize <= 3
            assert function.cache_parameters()["tasks"] == 0
        for name in "abcdxyzw":
            result = await function(Key(name))
            assert result.name == name
            assert function.cache_contains(Key(name))
        assert function.cache_info().currsize == 3
        function.cache_clear()
        assert function.cache_info() == (0, 0, 3, 0)

    asyncio.run(main())


def test_what_a_key_drops_while_it_is_looked_up_is_not_served_E9_B15() -> None:
    function, runs = counted()
    key = Key("a")
    asyncio.run(function(key))
    key.act = function.cache_clear
    asyncio.run(function(Key("a")))
    assert len(runs) == 2


@pytest.mark.parametrize("at", range(4))
def test_what_a_key_puts_while_its_old_value_expires_stays_E9_B1_B15(at: int) -> None:
    function, _ = counted(ttl=lambda value: 0.02 if value == "old" else None)
    other = Key("a")
    trap = Trap(other, at, lambda: function.cache_put("new", Key("b")))

    function.cache_put("older", other)
    function.cache_put("old", Key("b"))
    time.sleep(0.03)
    trap.set()
    function.cache_info()
    assert function.cache_info().currsize == 1 + (trap.compared > at)
    assert function.cache_contains(Key("b")) is (trap.compared > at)
    assert at > 2 or trap.compared > at


@pytest.mark.parametrize("at", range(10))
def test_what_a_key_puts_while_another_makes_room_stays_E9_B1_B15(at: int) -> None:
    function, _ = counted(maxsize=2)
    used = Key("used")
    trap = Trap(used, at, lambda: function.cache_put("new", Key("a")))

    async def main() -> None:
        await function(used)
        await function(used)
        await function(Key("evicted"))
        trap.set()
        await function(Key("a"))
        trap.remove()
        assert function.cache_info().currsize == 2
        if trap.compared > at:
            assert await function(Key("a")) == "new"
        else:
            assert (await function(Key("a"))).name == "a"

    asyncio.run(main())


def test_a_key_that_changes_its_hash_is_evicted_all_the_same_E9() -> None:
    class Fickle:
        number = 1

        def __hash__(self) -> int:
            return self.number

    function, _ = counted(maxsize=2)
    keys = [Fickle() for _ in range(5)]
    for number, key in enumerate(keys):
        asyncio.run(function(key))
        key.number = number + 100
        assert function.cache_info().currsize <= 2


# E10: without the GIL, and with it


def test_threads_may_do_everything_at_once_E10_B13() -> None:
    @alru_cache(maxsize=20, ttl=0.01, shared=True)
    async def function(x: int) -> tuple[int]:
        if x % 3 == 0:
            await asyncio.sleep(0)
        return (x,)

    done = threading.Event()

    async def call() -> None:
        rng = random.Random()
        for _ in range(1500):
            x = rng.randrange(40)
            assert await function(x) == (x,)

    def drop() -> None:
        rng = random.Random()
        while not done.is_set():
            x = rng.randrange(40)
            time.sleep(0)  # a lock is not fair
            function.cache_invalidate(x)
            function.cache_put((x,), x)
            function.cache_contains(x)
            assert function.cache_info().currsize <= 20
            if not rng.randrange(10):
                function.cache_invalidate_where(lambda x: x % 2)
            if not rng.randrange(50):
                function.cache_clear()

    def work() -> None:
        try:
            asyncio.run(call())
        finally:
            done.set()

    in_threads(work, work, drop, drop)


# E11: fork


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(work: Callable[[], object]) -> None:
    """Do *work* in a forked child, which must end well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 on warns of threads
        pid = os.fork()
    if not pid:  # pragma: no cover
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)
    assert status == 0


@needs_fork
@pytest.mark.parametrize("ttl", [None, 60])
def test_a_child_keeps_values_and_forgets_runs_E11(
    loops: Any, ttl: float | None
) -> None:
    function, runs = controlled(ttl=ttl)
    first = loops()
    call = first.start(function(1))
    until(lambda: runs)
    function.cache_put("kept", 2)

    def child() -> None:
        assert function.cache_parameters()["tasks"] == 0
        assert asyncio.run(function(2)) == "kept"

        async def main() -> Any:
            call = asyncio.ensure_future(function(1))
            while len(runs) < 2:
                await asyncio.sleep(0)
            runs[1].future.set_result("child's")
            return await call

        assert asyncio.run(main()) == "child's"
        asyncio.run(function.cache_close())

    in_child(child)
    runs[0].succeed("parent's")
    assert call.result(SECONDS) == "parent's"


@needs_fork
def test_a_child_finds_no_lock_held_E11(loops: Any) -> None:
    function, runs = controlled(maxsize=5)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait(SECONDS)

    for x in range(5):
        function.cache_put(x, x)
    key = Key("a")
    function.cache_put("a", key)
    key.act = lambda: setattr(key, "act", hold)  # it is looked up without a lock first
    running = loops()
    running.start(function("wait"))
    until(runs.__len__)
    call = function("wait")

    async def wait() -> None:
        call.send(None)

    asyncio.run(wait())
    thread = threading.Thread(target=function.cache_put, args=("b", Key("b")))
    thread.start()
    assert held.wait(SECONDS)

    def child() -> None:
        call.close()
        for x in range(10):
            function.cache_put(x, x)
            assert asyncio.run(function(x)) == x
            # Without the GIL, it starts empty: the maps may be locked for ever.
            assert function.cache_info().currsize == (5 if HAS_GIL else min(x + 1, 5))
        assert function.cache_info().currsize == 5
        function.cache_clear()
        assert function.cache_info().currsize == 0

    try:
        in_child(child)
    finally:
        release.set()
        thread.join(SECONDS)
        call.close()
    assert function.cache_contains(Key("b"))


@pytest.mark.parametrize("at", range(6))
def test_what_a_key_puts_while_it_is_put_is_there_once_E9_B1_B15(at: int) -> None:
    function, _ = counted(key=lambda key: key)
    other = Key("other")
    trap = Trap(other, at, lambda: function.cache_put("inner", Key("a")))

    async def main() -> None:
        # A place that the first key leaves free, in front of the second's.
        function.cache_put("first", Key("first"))
        function.cache_put("other", other)
        function.cache_invalidate(Key("first"))
        trap.set()
        function.cache_put("outer", Key("a"))
        trap.remove()
        assert function.cache_info().currsize == 2
        assert function.cache_invalidate(Key("a"))
        assert not function.cache_contains(Key("a"))
        assert function.cache_contains(Key("other"))

    asyncio.run(main())


@pytest.mark.parametrize("at", range(4))
def test_what_a_key_clears_after_it_has_put_is_gone_E9_B1_B15(at: int) -> None:
    function, _ = counted(ttl=lambda value: 0.02 if value == "old" else None)
    other = Key("a")
    trap = Trap(
        other, at, lambda: function.cache_put("new", Key("b")), function.cache_clear
    )

    function.cache_put("older", other)
    function.cache_put("old", Key("b"))
    time.sleep(0.03)
    trap.set()
    function.cache_info()
    trap.remove()
    held = [function.cache_contains(Key(name)) for name in ("a", "b")]
    assert function.cache_info().currsize == sum(held)
    function.cache_put("last", Key("b"))
    assert function.cache_invalidate(Key("b"))
    assert not function.cache_contains(Key("b"))


@pytest.mark.parametrize("options", [{}, {"maxsize": None, "typed": True}])
@pytest.mark.parametrize("more", [(), (2,)])
async def test_an_argument_that_is_not_hashable_is_named_B9(
    options: dict[str, Any], more: tuple[int, ...]
) -> None:
    @alru_cache(shared=True, **options)
    async def several(items: object, other: int = 1) -> None: ...

    @alru_cache(shared=True, **options)
    async def one(items: object) -> None: ...

    with pytest.raises(TypeError, match=r"several was called with items=\[\]"):
        await several([], *more)
    with pytest.raises(TypeError, match=r"one was called with items=\[\]"):
        await one([])
    with pytest.raises(TypeError, match="does not take these arguments"):
        await one([], 1)


async def test_what_a_hash_raises_reaches_the_caller_B9() -> None:
    class Broken:
        def __hash__(self) -> int:
            raise TypeError("broken")

    @alru_cache(shared=True)
    async def several(item: object, other: int = 1) -> None: ...

    @alru_cache(shared=True)
    async def one(item: object) -> None: ...

    @alru_cache(shared=True, key=lambda item: Broken())
    async def with_key(item: object) -> None: ...

    for function in (several, one, with_key):
        with pytest.raises(TypeError, match="broken"):
            await function(Broken())


@pytest.mark.parametrize(
    "kind",
    [
        "cause",
        "context",
        pytest.param("group", marks=needs_groups),
    ],
)
def test_each_loop_is_told_the_whole_story_E5(loops: Any, kind: str) -> None:
    go_on = threading.Event()

    def divide() -> float:
        return 1 / 0

    @alru_cache(shared=True)
    async def function() -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        try:
            divide()
        except ZeroDivisionError as error:
            if kind == "cause":
                raise LookupError from error
            if kind == "context":
                raise LookupError  # noqa: B904
            failures = [error]
        raise ExceptionGroup("group", failures)

    calls = [loops().start(function()) for _ in range(3)]
    until(lambda: joins(function) == 2)
    go_on.set()
    for call in calls:
        story = "".join(traceback.format_exception(call.exception(SECONDS)))
        assert "in divide" in story
        assert "in function" in story


def test_a_closed_cache_sets_no_timer_E9_A9_B4() -> None:
    function, runs = controlled(ttl=60)

    async def main() -> None:
        timers = Timers(asyncio.get_running_loop())
        call = asyncio.ensure_future(function(1))
        await steps()
        closing = asyncio.ensure_future(function.cache_close(wait=True))
        await steps()
        runs[0].future.set_result(1)
        assert await call == 1
        await closing
        assert function.cache_contains(1)
        with pytest.raises(RuntimeError, match="closed"):
            await function(2)
        assert not timers.armed
        function.cache_open()
        function.cache_put(1, 1)
        assert len(timers.armed) == 1

    asyncio.run(main())


@needs_more_hashes
@pytest.mark.parametrize("ttl", [None, 60])
def test_a_value_may_come_in_at_any_moment_of_a_hit_E10_B13(ttl: float | None) -> None:
    """Another thread, half-way through a put, goes on after a few steps of a call."""
    function, _ = counted(maxsize=1, ttl=ttl)

    class Slow:
        act: Callable[[], object] = staticmethod(lambda: None)

        def __hash__(self) -> int:
            self.act()
            return 1

    def answer_when_put_after(step: int) -> Any:
        evicted = Slow()
        function.cache_clear()
        function.cache_put("old", evicted)
        half_way, go_on = threading.Event(), threading.Event()
        evicted.act = lambda: (half_way.set(), go_on.wait(SECONDS))
        putting = threading.Thread(target=function.cache_put, args=("new", "key"))
        steps_left = step

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal steps_left
            frame.f_trace_opcodes = True
            steps_left -= event == "opcode"
            # Before it asks for the lock, which the other thread has.
            if steps_left <= 0 or frame.f_code.co_name == "answer":
                go_on.set()
                putting.join(SECONDS)
            return trace

        call = function("key")
        putting.start()
        assert half_way.wait(SECONDS)
        former = sys.gettrace()
        sys.settrace(trace)
        try:
            call.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            sys.settrace(former)
            go_on.set()
            putting.join(SECONDS)
        raise AssertionError("the call waits")

    async def main() -> None:
        for step in range(1, 80):
            assert answer_when_put_after(step) == "new"

    asyncio.run(main())
