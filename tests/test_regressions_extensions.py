"""Extensions that went wrong once: refreshing, stale values, kept failures, instances."""

import asyncio
import contextlib
import gc
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import (
    Clock,
    Controlled,
    Timers,
    collect_reports,
    needs_refcount,
    outcome,
    start,
    steps,
)

from async_lru import AlruCacheLoopResetWarning, alru_cache, batched

Make = Callable[..., Controlled]

needs_notes_and_groups = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="notes and groups are new in 3.11"
)


# One run, however it is asked for


@pytest.mark.parametrize("order", ["rcr", "crc"])
async def test_refreshes_and_calls_at_once_share_one_run_C6(
    controlled: Make, order: str
) -> None:
    function, runs = controlled()
    asking = {"r": function.cache_refresh, "c": function}
    tasks = [start(asking[letter](1)) for letter in order]
    await steps()
    assert len(runs) == 1
    runs[0].succeed("value")
    assert await asyncio.gather(*tasks) == ["value"] * 3


# What is reported of runs in the background


async def reports_of_a_failing_refresh(clock: Clock) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)

    @alru_cache(ttl=10, stale_while_revalidate=20)
    async def load_user(key: str) -> str:
        raise ZeroDivisionError

    load_user.cache_put("old", "key of the user")
    clock.turn(15)
    assert await load_user("key of the user") == "old"
    await steps()
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    return reports


@pytest.mark.parametrize("part", ["load_user", "'key of the user'", "background"])
async def test_a_failure_in_the_background_is_told_with_function_and_key_C8(
    clock: Clock, part: str
) -> None:
    (report,) = await reports_of_a_failing_refresh(clock)
    assert part in report["message"]


async def test_a_failure_in_the_background_is_no_cancellation_C8(clock: Clock) -> None:
    (report,) = await reports_of_a_failing_refresh(clock)
    assert "cancel" not in report["message"]


@pytest.mark.parametrize("suspensions", [0, 1])
async def test_a_ttl_that_raises_in_the_background_is_reported_C8_C1(
    clock: Clock, suspensions: int
) -> None:
    reports: list[dict[str, Any]] = []
    collect_reports(reports)

    def lifetime(value: str) -> float:
        if value == "new":
            raise ZeroDivisionError
        return 10

    @alru_cache(ttl=lifetime, stale_while_revalidate=20, stale_if_error=20)
    async def function(key: int) -> str:
        await steps(suspensions)
        return "new"

    function.cache_put("old", 1)
    clock.turn(15)
    assert await function(1) == "old"
    await steps()
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]


# Kept failures


class NotFound(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(f"no {number}")


async def failures_of_three_calls(function: Any) -> list[Any]:
    failures = []
    for _ in range(3):
        failures.append(await outcome(function(1)))
        await steps()
    return failures


async def test_a_kept_failure_keeps_the_message_that_its_class_made_C11() -> None:
    @alru_cache(error_ttl={NotFound: 60})
    async def function(key: int) -> None:
        raise NotFound(7)

    failures = await failures_of_three_calls(function)
    assert [str(failure) for failure in failures] == ["no 7"] * 3


@needs_notes_and_groups
async def test_notes_on_a_kept_failure_are_of_one_caller_C11() -> None:
    @alru_cache(error_ttl={NotFound: 60})
    async def function(key: int) -> None:
        error = NotFound(7)
        error.add_note("its own")
        raise error

    seen = []
    for caller in range(3):
        failure = await outcome(function(1))
        failure.add_note(f"of {caller}")
        seen.append(failure.__notes__[1:])
    assert seen == [["of 0"], ["of 1"], ["of 2"]]


async def test_a_kept_failure_keeps_its_cause_C11() -> None:
    @alru_cache(error_ttl={NotFound: 60})
    async def function(key: int) -> None:
        raise NotFound(7) from ValueError("gone")

    failures = await failures_of_three_calls(function)
    assert [repr(failure.__cause__) for failure in failures] == [
        "ValueError('gone')"
    ] * 3


class Local:
    """A local variable that can be weakly referenced."""


locals_of_failures: "list[weakref.ref[Local]]" = []


def fail_with_a_cause() -> None:
    local = Local()
    locals_of_failures.append(weakref.ref(local))
    try:
        raise ValueError
    except ValueError as error:
        raise NotFound(7) from error


def fail_with_a_context() -> None:
    local = Local()
    locals_of_failures.append(weakref.ref(local))
    try:
        raise ValueError
    except ValueError:
        raise NotFound(7)


def fail_with_a_group() -> None:
    def member() -> Exception:
        local = Local()
        locals_of_failures.append(weakref.ref(local))
        try:
            raise NotFound(7)
        except NotFound as error:
            return error

    raise ExceptionGroup("several", [member()])


@needs_refcount
@pytest.mark.parametrize(
    "fail",
    [
        fail_with_a_cause,
        fail_with_a_context,
        pytest.param(fail_with_a_group, marks=needs_notes_and_groups),
    ],
)
def test_a_kept_failure_keeps_no_frame_of_the_first_call_C11(
    fail: Callable[[], Any],
) -> None:
    @alru_cache(error_ttl={Exception: 60})
    async def function(key: int) -> None:
        fail()

    # In a loop of its own: see the cycles in test_regressions_calls.
    async def main() -> None:
        locals_of_failures.clear()
        for _ in range(2):
            assert isinstance(await outcome(function(1)), Exception)
        await steps()
        (reference,) = locals_of_failures
        assert reference() is None

    asyncio.run(main())


# Instances with a cache each


def test_a_change_of_loops_is_told_once_for_all_instances_C9_A10() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def load(self, key: int) -> int:
            return key

    services = [Service() for _ in range(3)]

    async def load_all() -> None:
        for service in services:
            await service.load(1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(load_all())
        asyncio.run(load_all())
    assert [warning.category for warning in caught] == [AlruCacheLoopResetWarning]


async def codes_run_by(coroutine: Any) -> list[CodeType]:
    """Return the code of each function that is called until *coroutine* has ended."""
    codes = []

    def collect(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            codes.append(frame.f_code)

    former = sys.getprofile()
    sys.setprofile(collect)
    try:
        await coroutine
    finally:
        sys.setprofile(former)
    return codes


async def test_the_calls_of_all_instances_share_their_code_C9() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def load(self, key: int) -> int:
            return key

    one, other = Service(), Service()
    for service in one, other:
        await service.load(1)
    hit_of_one = await codes_run_by(one.load(1))
    hit_of_other = await codes_run_by(other.load(1))
    assert list(map(id, hit_of_one)) == list(map(id, hit_of_other))


@needs_refcount
@pytest.mark.parametrize("name", ["hits", "misses", "loads", "evictions"])
async def test_totals_do_not_fall_when_an_instance_dies_C4(name: str) -> None:
    class Service:
        @alru_cache(maxsize=1, per_instance=True)
        async def load(self, key: int) -> int:
            return key

    service = Service()
    for key in 1, 1, 2:
        await service.load(key)
    await steps()
    before = getattr(Service.load.cache_stats(), name)
    assert before > 0
    del service
    assert getattr(Service.load.cache_stats(), name) == before


# Statistics that change nothing


async def test_asking_for_statistics_changes_no_later_run_C4() -> None:
    stacks = []

    @alru_cache
    async def function(key: int) -> None:
        stacks.append([frame.name for frame in traceback.extract_stack()])

    for key in range(3):
        await function(key)
    function.cache_stats()
    await function(3)
    assert stacks[3] == stacks[2]


async def test_the_runs_before_the_first_question_are_timed_too_C4(
    clock: Clock,
) -> None:
    @alru_cache
    async def function(key: int) -> None:
        clock.turn(1)

    for key in range(3):
        await function(key)
    assert function.cache_stats().load_seconds == 3


# What PyPy cannot tell, and what it takes long to make


@pytest.mark.skipif(
    sys.implementation.name == "cpython", reason="CPython tells the sizes of objects"
)
async def test_memory_is_unknown_where_Python_does_not_tell_C4() -> None:
    @alru_cache
    async def function(key: int) -> int:
        return key

    await function(1)
    assert function.cache_memory() is None


@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"typed": True}])
def test_the_calls_of_all_functions_share_their_code_D(options: dict[str, Any]) -> None:
    @alru_cache(**options)
    async def one(key: int) -> int:
        return key

    @alru_cache(**options)
    async def other(number: int) -> int:
        return number

    calls = one(1), other(1)
    codes = {id(call.cr_code) for call in calls}
    for call in calls:
        call.close()
    assert len(codes) == 1


# Exceptions that are hard to copy


@dataclass(frozen=True)
class Frozen(Exception):
    key: int


class WithCause(LookupError):
    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Uncopyable(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("has no args")


async def test_a_stale_value_replaces_a_failure_whose_type_is_frozen_C8(
    clock: Clock,
) -> None:
    @alru_cache(ttl=1, stale_if_error=60)
    async def function(key: int) -> str:
        if clock.now > begun:
            raise Frozen(key)
        return "old"

    begun = clock.now
    assert await function(1) == "old"
    clock.turn(2)
    assert await function(1) == "old"


@pytest.mark.parametrize(("kind", "runs"), [(Frozen, 1), (Uncopyable, 2)])
async def test_a_failure_is_kept_if_its_type_can_be_copied_C11(
    kind: type[Exception], runs: int
) -> None:
    @alru_cache(error_ttl={kind: 60})
    async def function(key: int) -> None:
        await asyncio.sleep(0)
        raise kind(key)

    for _ in range(2):
        with pytest.raises(kind):
            await function(1)
    stats = function.cache_stats()
    assert (stats.misses, stats.failures, stats.in_flight) == (runs, runs, 0)


@needs_refcount
@pytest.mark.parametrize("place", ["args", "attribute"])
async def test_a_kept_failure_keeps_no_frames_by_another_exception_C11_B3(
    place: str,
) -> None:
    class Local:
        pass

    def fail(key: int) -> None:
        local = Local()
        locals_.append(weakref.ref(local))
        raise ValueError(key)

    def failure(key: int) -> Exception:
        try:
            fail(key)
        except ValueError as inner:
            return inner
        raise AssertionError("never reached")

    @alru_cache(error_ttl={LookupError: 60})
    async def function(key: int) -> None:
        if place == "args":
            raise LookupError(failure(key))
        raise WithCause(failure(key))

    locals_: list[weakref.ref[Local]] = []
    with pytest.raises(LookupError):
        await function(1)
    await steps()
    gc.collect()  # what pytest may keep for a while
    assert locals_[0]() is None
    with pytest.raises(LookupError) as caught:
        await function(1)
    error = caught.value
    found = error.cause if isinstance(error, WithCause) else error.args[0]
    assert (type(found), found.args, len(locals_)) == (ValueError, (1,), 1)


@pytest.mark.parametrize("kind", [Frozen, Uncopyable])
def test_loops_get_exceptions_of_their_own_if_their_type_can_be_copied_E5(
    kind: type[Exception],
) -> None:
    @alru_cache(shared=True)
    async def function(key: int) -> None:
        await asyncio.to_thread(both.wait, 10)
        raise kind(key)

    def work() -> None:
        async def main() -> None:
            call = asyncio.ensure_future(function(1))
            await steps()  # until the run has begun
            both.wait(10)
            with pytest.raises(kind) as caught:
                await call
            found.append(caught.value)

        asyncio.run(main())

    both = threading.Barrier(3)
    found: list[Exception] = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert type(found[0]) is type(found[1]) is kind
    assert (found[0] is found[1]) is (kind is Uncopyable)


# Instances, batches and warming


async def test_a_close_of_all_instances_refuses_calls_at_once_A9() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def load(self, key: int) -> int:
            return key

    service = Service()
    await service.load(1)
    closing = asyncio.ensure_future(Service.load.cache_close())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="is closed"):
        await service.load(1)
    closing.cancel()
    await asyncio.wait([closing])
    with pytest.raises(RuntimeError, match="is closed"):
        await service.load(1)


@needs_refcount
async def test_totals_do_not_fall_while_an_instance_is_freed_C4(clock: Clock) -> None:
    class Value:
        def __del__(self) -> None:
            seen.append(Service.load.cache_stats().misses)

    class Service:
        @alru_cache(per_instance=True, ttl=1)
        async def load(self) -> Value:
            return Value()

    seen: list[int] = []
    service = Service()
    await service.load()
    await asyncio.sleep(0)
    clock.turn(2)
    del service
    assert seen == [1]
    assert Service.load.cache_stats().misses == 1


@needs_refcount
async def test_a_batch_keeps_no_instance_alive_C9_C10_B3() -> None:
    class Service:
        @alru_cache(per_instance=True)
        @batched()
        async def load(self, keys: list[int]) -> list[int]:
            return keys

    service = Service()
    assert await service.load(1) == 1
    freed = weakref.ref(service)
    del service
    await steps()
    assert freed() is None


class Stop(Exception):
    pass


@needs_refcount
async def test_warming_that_progress_stops_leaves_no_cycle_C7_B3() -> None:
    @alru_cache
    async def function(key: int) -> int:
        return key

    def stop(done: int, total: int) -> None:
        raise Stop

    async def warm() -> Any:
        try:
            await function.cache_warm([(1,), (2,)], progress=stop)
        except Stop as error:
            return weakref.ref(error)

    freed = await asyncio.ensure_future(warm())
    await steps()
    assert freed() is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python cannot tell whose it is")
def test_warming_starts_no_calls_while_its_loop_ends_C7_A5() -> None:
    @alru_cache(maxsize=None)
    async def function(key: int) -> None:
        begun.append(key)
        await asyncio.sleep(60)

    async def main() -> None:
        calls = [(key,) for key in range(100)]
        warming = asyncio.ensure_future(function.cache_warm(calls, concurrency=20))
        await steps()
        begun.append(warming)

    begun: list[Any] = []
    asyncio.run(main())
    assert begun[:-1] == list(range(20))


async def test_memory_is_estimated_whatever_values_raise_C4_B13() -> None:
    class Lazy:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("working outside of a request")

    class Target:
        pass

    @alru_cache(ignore=("target",))
    async def function(target: Target) -> Any:
        return [weakref.proxy(target), Lazy(), "text"]

    await function(Target())
    function.cache_memory()


@needs_refcount
async def test_a_close_while_a_timer_drops_values_leaves_no_timer_A9_B4(
    clock: Clock, timers: Timers
) -> None:
    class Value:
        def __del__(self) -> None:
            with contextlib.suppress(StopIteration):
                function.cache_close().send(None)

    @alru_cache(ttl=lambda value: 60 if value == 1 else 1)
    async def function(key: int) -> Any:
        return 1 if key else Value()

    await function(1)
    await function(0)
    await clock.advance(2)
    await steps()
    assert function.cache_parameters()["closed"]
    assert timers.armed == []


@needs_refcount
async def test_a_kept_failure_asks_nothing_of_its_attributes_C11() -> None:
    class Target:
        pass

    @alru_cache(error_ttl={LookupError: 60})
    async def function(key: int) -> None:
        runs.append(key)
        error = LookupError(key)
        error.proxy = weakref.proxy(target)  # type: ignore[attr-defined]
        error.mock = Mock(spec=ValueError)  # type: ignore[attr-defined]
        error.inner = Uncopyable()  # type: ignore[attr-defined]
        raise error

    runs: list[int] = []
    target: Any = Target()
    for _ in range(3):
        with pytest.raises(LookupError):
            await function(1)
        target = None
    assert runs == [1]


@needs_refcount
async def test_a_loader_that_fails_leaves_no_cycle_C10_B3() -> None:
    @batched()
    async def load(keys: list[int]) -> list[int]:
        raise Stop

    async def call() -> Any:
        try:
            await load(1)
        except Stop as error:
            return weakref.ref(error)

    freed = await asyncio.ensure_future(call())
    await steps()
    assert freed() is None
