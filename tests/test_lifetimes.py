"""C1: ttl as a timedelta or a callable. C11: failures that are kept."""

import asyncio
import gc
import traceback
import weakref
from datetime import timedelta
from typing import Any

import pytest
from conftest import (
    Clock,
    collect_reports,
    failing_keys,
    needs_refcount,
    outcome,
    start,
    steps,
)

from async_lru import alru_cache


async def test_ttl_and_jitter_may_be_timedeltas_C1(clock: Clock) -> None:
    @alru_cache(ttl=timedelta(minutes=1), jitter=timedelta(0))
    async def function() -> int:
        return 1

    await function()
    await clock.advance(59)
    assert function.cache_contains()
    await clock.advance(1)
    assert function.cache_info().currsize == 0
    assert function.cache_stats().ttl == 60.0


async def test_jitter_gives_no_life_to_what_has_none_C1(clock: Clock) -> None:
    @alru_cache(ttl=lambda result: result, jitter=1000)
    async def function(seconds: float) -> float:
        return seconds

    for _ in range(10):
        for seconds in (0, -1):
            await function(seconds)
            assert not function.cache_contains(seconds)
    await function(1)
    assert function.cache_contains(1)


async def test_values_without_a_life_are_no_evictions_C1_C4() -> None:
    @alru_cache(maxsize=1, ttl=lambda result: result)
    async def function(seconds: float) -> float:
        return seconds

    for seconds in (0, 1, 2):  # 2 evicts 1
        await function(seconds)
    assert function.cache_stats().evictions == 1


def test_a_negative_timedelta_is_refused_C1_B9() -> None:
    with pytest.raises(ValueError, match="ttl must be a number of seconds"):
        alru_cache(ttl=timedelta(seconds=-1))


@pytest.mark.parametrize("maxsize", [None, 10])
async def test_the_result_decides_about_its_ttl_C1(
    clock: Clock, maxsize: int | None
) -> None:
    lives: dict[str, Any] = {
        "long": 100,
        "short": timedelta(seconds=10),
        "ever": None,
        "none": 0,
        "less": -5.0,
    }

    @alru_cache(maxsize=maxsize, ttl=lambda result: lives[result])
    async def function(name: str) -> str:
        return name

    def held() -> list[str]:
        return [name for name in lives if function.cache_contains(name)]

    for name in lives:
        assert await function(name) == name
    assert held() == ["long", "short", "ever"]
    assert function.cache_info().currsize == 3
    await clock.advance(10)
    assert held() == ["long", "ever"]
    assert function.cache_info().currsize == 2
    await clock.advance(90)
    await clock.advance(10**9)
    assert held() == ["ever"]
    stats = function.cache_stats()
    assert (stats.evictions, stats.expirations, stats.loads) == (0, 2, 5)
    assert callable(stats.ttl)


@pytest.mark.parametrize("bad", ["5", True, float("nan"), object()])
async def test_a_bad_ttl_of_a_result_is_the_callers_error_C1(bad: Any) -> None:
    @alru_cache(ttl=lambda result: bad)
    async def function() -> int:
        return 1

    for _ in range(3):
        with pytest.raises((TypeError, ValueError), match="the result of ttl"):
            await function()
    assert function.cache_info() == (0, 3, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_ttl_that_raises_is_the_callers_error_C1() -> None:
    def ttl(result: int) -> float:
        raise ZeroDivisionError

    @alru_cache(ttl=ttl)
    async def function(suspends: bool) -> int:
        if suspends:
            await asyncio.sleep(0)
        return 1

    for suspends in (True, False, False, False):
        calls = [start(outcome(function(suspends))) for _ in range(2)]
        for error in await asyncio.gather(*calls):
            assert isinstance(error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        function.cache_put(1, True)
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("fails_at", range(1, 16))
async def test_a_key_that_fails_while_its_value_is_not_stored_C1(fails_at: int) -> None:
    """The cache is of use afterwards, whichever comparison it was that failed."""

    Key, comparisons = failing_keys(fails_at)

    @alru_cache(maxsize=2, ttl=lambda result: result)
    async def function(key: Any) -> int:
        return 0 if key is dying else 100

    dying, *others = [Key() for _ in range(3)]
    for key in others:
        await function(key)
    comparisons.clear()
    await outcome(function(dying))
    comparisons.extend([None] * 100)
    for key in range(3):
        await function(key)
    assert function.cache_info().currsize == 2
    assert function.cache_contains(1)
    assert function.cache_contains(2)


class NotFound(LookupError):
    pass


class Odd(Exception):
    """Cannot be made again from its args."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("odd")
        self.sum = first + second


def failing(**options: Any) -> Any:
    """Return a cached function that raises what it is given."""

    async def function(error: BaseException | None, suspends: bool = False) -> str:
        runs.append(error)
        if suspends:
            await asyncio.sleep(0)
        if error is not None:
            raise error
        return "value"

    runs: list[Any] = []
    cached = alru_cache(**options)(function)
    cached.runs = runs  # type: ignore[attr-defined]
    return cached


@pytest.mark.parametrize("ttl", [None, 5])
@pytest.mark.parametrize("suspends", [False, True])
async def test_failures_of_a_type_are_kept_and_raised_again_C11(
    clock: Clock, ttl: float | None, suspends: bool
) -> None:
    function = failing(error_ttl={LookupError: 30, OSError: 60}, ttl=ttl)
    error = NotFound("nobody")
    for _ in range(3):
        with pytest.raises(NotFound, match="nobody") as caught:
            await function(error, suspends)
    assert len(function.runs) == 1
    assert caught.value is not error
    assert function.cache_info() == (2, 1, 128, 1)
    assert function.cache_contains(error, suspends)
    assert (function.cache_stats().failures, function.cache_stats().loads) == (1, 0)
    await clock.advance(29)
    assert isinstance(await outcome(function(error, suspends)), NotFound)
    await clock.advance(1)
    assert function.cache_info().currsize == 0
    assert isinstance(await outcome(function(error, suspends)), NotFound)
    assert len(function.runs) == 2
    assert await function(None) == "value"


async def test_the_nearest_type_decides_C11(clock: Clock) -> None:
    function = failing(error_ttl={Exception: 10, NotFound: 20, LookupError: 30})
    errors = [NotFound(), KeyError(), ValueError()]
    for error in errors:
        await outcome(function(error))
    held = []
    for _ in range(3):
        await clock.advance(10)
        held.append([type(e) for e in errors if function.cache_contains(e)])
    assert held == [[NotFound, KeyError], [KeyError], []]


@pytest.mark.parametrize(
    "error", [ValueError(), asyncio.CancelledError(), GeneratorExit(), SystemExit()]
)
async def test_other_failures_are_not_kept_C11(error: BaseException) -> None:
    function = failing(error_ttl={LookupError: 30})
    for _ in range(2):
        try:
            await function(error)
        except BaseException as caught:
            assert type(caught) is type(error)
    assert len(function.runs) == 2
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize(
    "error", [NotFound("x"), Odd(1, 2), KeyError("k"), OSError(2, "no")]
)
async def test_each_call_gets_an_exception_of_its_own_C11(error: Exception) -> None:
    function = failing(error_ttl={Exception: 30})
    error.note = "kept"  # type: ignore[attr-defined]
    lengths = set()
    raised = []
    for _ in range(5):
        caught = await start(outcome(function(error)))
        raised.append(caught)
        lengths.add(len(traceback.extract_tb(caught.__traceback__)))
        assert type(caught) is type(error)
        assert caught.args == error.args
        assert str(caught) == str(error)
        assert vars(caught) == vars(error)
        assert caught.__context__ is None
    assert len({id(one) for one in raised}) == 5
    assert len(lengths) <= 2  # the first has the function in it
    assert len(function.runs) == 1


@needs_refcount
async def test_a_kept_failure_keeps_no_frame_alive_C11() -> None:
    class Value:
        pass

    references = []

    @alru_cache(error_ttl={NotFound: 30})
    async def function() -> None:
        value = Value()
        references.append(weakref.ref(value))
        raise NotFound

    async def call() -> None:
        try:
            await function()
        except NotFound:
            pass

    gc.disable()
    try:
        await start(call())
        await steps()
        assert references[0]() is None
        await start(call())
        assert len(references) == 1
    finally:
        gc.enable()


async def test_who_waits_for_the_run_gets_its_own_exception_C11() -> None:
    function = failing(error_ttl={NotFound: 30})
    error = NotFound()
    results = await asyncio.gather(
        *(function(error, True) for _ in range(3)), return_exceptions=True
    )
    assert [result is error for result in results] == [True] * 3
    assert function.cache_info() == (2, 1, 128, 1)


async def test_a_run_that_was_dropped_keeps_no_failure_C11() -> None:
    function = failing(error_ttl={NotFound: 30})
    error = NotFound()
    call = start(outcome(function(error, True)))
    await asyncio.sleep(0)
    function.cache_clear()
    assert isinstance(await call, NotFound)
    assert function.cache_info() == (0, 0, 128, 0)


async def test_a_failure_that_nobody_waits_for_is_kept_and_reported_C11() -> None:
    reports: list[Any] = []
    collect_reports(reports)
    function = failing(error_ttl={NotFound: 30})

    @alru_cache(error_ttl={NotFound: 30})
    async def stubborn() -> None:
        try:
            await steps(5)
        except asyncio.CancelledError:
            raise NotFound from None

    call = start(stubborn())
    await steps(2)
    call.cancel()
    await steps()
    assert [type(report["exception"]) for report in reports] == [NotFound]
    assert not stubborn.cache_contains()
    del function


@pytest.mark.parametrize(
    ("error_ttl", "error", "message"),
    [
        ([ValueError], TypeError, "must be a mapping"),
        ({"ValueError": 1}, TypeError, "exception types"),
        ({int: 1}, TypeError, "exception types"),
        ({asyncio.CancelledError: 1}, ValueError, "cannot keep CancelledError"),
        ({KeyboardInterrupt: 1}, ValueError, "cannot keep KeyboardInterrupt"),
        ({ValueError: "1"}, TypeError, r"error_ttl\[ValueError\]"),
        ({ValueError: 0}, ValueError, r"error_ttl\[ValueError\]"),
        ({ValueError: -1}, ValueError, r"error_ttl\[ValueError\]"),
        ({ValueError: float("nan")}, ValueError, r"error_ttl\[ValueError\]"),
    ],
)
def test_bad_kinds_of_failures_are_refused_C11(
    error_ttl: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        alru_cache(error_ttl=error_ttl)


def test_no_failures_to_keep_are_fine_C11() -> None:
    alru_cache(error_ttl={})
    alru_cache(error_ttl={ValueError: 0.5})
    alru_cache(maxsize=0, error_ttl={})


async def test_a_kept_failure_that_is_its_own_cause_C11() -> None:
    @alru_cache(error_ttl={LookupError: 10})
    async def function() -> None:
        first, second = LookupError("first"), LookupError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    for _ in range(2):
        with pytest.raises(LookupError, match="first") as raised:
            await function()
        second = raised.value.__cause__
        assert str(second) == "second"
        assert second.__cause__ is raised.value
