"""C10: batched."""

import asyncio
import functools
import gc
import inspect
import sys
import weakref
from collections import defaultdict
from typing import Any

import pytest
from conftest import Clock, needs_refcount, outcome, start, steps

from async_lru import alru_cache, batched


def doubling(**options: Any) -> tuple[Any, list[list[Any]]]:
    """Return a loader that doubles, and the batches that it got."""
    batches: list[list[Any]] = []

    @batched(**options)
    async def load(keys: list[Any]) -> list[Any]:
        batches.append(keys)
        await asyncio.sleep(0)
        return [key * 2 for key in keys]

    return load, batches


async def test_concurrent_calls_are_one_batch_C10() -> None:
    load, batches = doubling()
    assert await asyncio.gather(*map(load, [3, 1, 3, 2])) == [6, 2, 6, 4]
    assert batches == [[3, 1, 2]]
    assert await load(1) == 2
    assert batches == [[3, 1, 2], [1]]


async def test_a_full_batch_goes_out_at_once_C10(clock: Clock) -> None:
    load, batches = doubling(max_size=2, window=10)
    calls = [start(load(key)) for key in (1, 1, 2, 3)]
    await steps()
    assert batches == [[1, 2]]
    assert [call.done() for call in calls] == [True, True, True, False]
    await clock.advance(10)
    assert batches == [[1, 2], [3]]
    assert await asyncio.gather(*calls) == [2, 2, 4, 6]


async def test_batches_of_one_C10() -> None:
    load, batches = doubling(max_size=1)
    assert await asyncio.gather(*map(load, [1, 1, 2])) == [2, 2, 4]
    assert batches == [[1], [1], [2]]


async def test_a_hundred_keys_go_out_together_C10() -> None:
    load, batches = doubling()
    await asyncio.gather(*map(load, range(201)))
    assert [len(batch) for batch in batches] == [100, 100, 1]


async def test_a_batch_waits_for_its_window_C10(clock: Clock) -> None:
    load, batches = doubling(window=10)
    calls = [start(load(1))]
    await steps()
    await clock.advance(9)
    calls.append(start(load(2)))
    await steps()
    assert batches == []
    await clock.advance(1)
    assert batches == [[1, 2]]
    calls.append(start(load(1)))  # too late for that one
    await steps()
    await clock.advance(10)
    assert await asyncio.gather(*calls) == [2, 4, 2]
    assert batches == [[1, 2], [1]]


async def test_without_a_window_it_goes_out_at_the_end_of_the_tick_C10() -> None:
    load, batches = doubling()
    calls = [start(load(key)) for key in (1, 2)]
    await asyncio.sleep(0)
    assert batches == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert batches == [[1, 2]]
    await asyncio.gather(*calls)


async def test_a_mapping_answers_by_key_C10() -> None:
    @batched()
    async def load(keys: list[int]) -> dict[int, Any]:
        return {key: key * 2 for key in reversed(keys) if key != 2} | {9: 9}

    results = await asyncio.gather(*map(load, [1, 2, 3]), return_exceptions=True)
    assert results[0::2] == [2, 6]
    assert isinstance(results[1], KeyError)
    assert results[1].args == (2,)


async def test_a_mapping_with_defaults_gives_none_of_them_C10() -> None:
    @batched()
    async def load(keys: list[int]) -> dict[int, int]:
        return defaultdict(int, {1: 5})

    results = await asyncio.gather(load(1), load(2), return_exceptions=True)
    assert results[0] == 5
    assert isinstance(results[1], KeyError)


async def test_the_failure_of_a_key_is_its_callers_alone_C10() -> None:
    @batched()
    async def load(keys: list[int]) -> list[Any]:
        return [ValueError(key) if key == 2 else key for key in keys]

    results = await asyncio.gather(*map(load, [1, 2, 2, 3]), return_exceptions=True)
    assert [result for result in results if not isinstance(result, ValueError)] == [
        1,
        3,
    ]
    assert results[1] is results[2]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, asyncio.CancelledError, KeyboardInterrupt]
)
async def test_the_failure_of_the_loader_is_everybodys_C10(
    error: type[BaseException],
) -> None:
    @batched()
    async def load(keys: list[int]) -> list[int]:
        await asyncio.sleep(0)
        raise error

    async def call(key: int) -> Any:
        try:
            return await load(key)
        except BaseException as caught:
            return type(caught)

    assert await asyncio.gather(*map(call, [1, 2, 2])) == [error] * 3


@pytest.mark.parametrize("values", [[], [1], [1, 2, 3], (1,)])
async def test_a_result_of_the_wrong_length_is_everybodys_error_C10(
    values: Any,
) -> None:
    @batched()
    async def load(keys: list[int]) -> Any:
        return values

    for error in await asyncio.gather(*(outcome(load(key)) for key in (1, 2))):
        assert isinstance(error, ValueError)
        assert f"2 keys and returned {len(values)} values" in str(error)


async def test_a_result_that_is_nothing_of_the_kind_is_everybodys_error_C10() -> None:
    @batched()
    async def load(keys: list[int]) -> Any:
        return None

    assert isinstance(await outcome(load(1)), TypeError)


async def test_who_is_cancelled_before_it_goes_out_is_left_out_C10(
    clock: Clock,
) -> None:
    load, batches = doubling(window=10)
    calls = [start(load(key)) for key in (1, 2, 2, 3)]
    await steps()
    calls[0].cancel()
    calls[1].cancel()
    await clock.advance(10)
    assert batches == [[2, 3]]
    assert await asyncio.gather(*calls[2:]) == [4, 6]


async def test_a_call_that_is_closed_while_it_waits_is_left_out_C10(
    clock: Clock,
) -> None:
    load, batches = doubling(window=10)
    call = load(1)
    call.send(None)
    other = start(load(2))
    await steps()
    call.close()
    await clock.advance(10)
    assert batches == [[2]]
    assert await other == 4


async def test_a_batch_that_all_have_left_does_not_go_out_C10(clock: Clock) -> None:
    load, batches = doubling(window=10)
    call = start(load(1))
    await steps()
    call.cancel()
    await steps()
    later = start(load(2))
    await steps()
    await clock.advance(9)
    assert batches == []
    await clock.advance(1)
    assert batches == [[2]]
    assert await later == 4


async def test_a_batch_is_cancelled_with_its_last_caller_C10() -> None:
    loading: list[asyncio.Future[Any]] = []

    @batched()
    async def load(keys: list[int]) -> list[int]:
        loading.append(asyncio.get_running_loop().create_future())
        await loading[-1]
        return keys

    calls = [start(load(key)) for key in (1, 2)]
    await steps()
    calls[0].cancel()
    await steps()
    assert not loading[0].cancelled()
    calls[1].cancel()
    await steps()
    assert loading[0].cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    calls = [start(load(key)) for key in (1, 2)]
    await steps()
    calls[0].cancel()
    await steps()
    loading[1].set_result(None)
    assert await calls[1] == 2


async def test_unhashable_keys_are_their_callers_error_C10() -> None:
    load, batches = doubling()
    results = await asyncio.gather(load([]), load(1), return_exceptions=True)
    assert isinstance(results[0], TypeError)
    assert results[1] == 2
    assert batches == [[1]]


async def test_a_batch_without_a_key_does_not_go_out_C10() -> None:
    load, batches = doubling()
    assert isinstance(await outcome(load([])), TypeError)
    await steps()
    assert batches == []


async def test_who_is_cancelled_when_it_comes_in_is_left_out_C10() -> None:
    gates: list[asyncio.Future[Any]] = []

    @batched()
    async def load(keys: list[int]) -> list[int]:
        gates.append(asyncio.get_running_loop().create_future())
        await gates[0]
        calls[0].cancel()
        return keys

    calls = [start(load(key)) for key in (1, 1, 2)]
    await steps()
    gates[0].set_result(None)
    assert isinstance(await outcome(calls[0]), asyncio.CancelledError)
    assert await asyncio.gather(*calls[1:]) == [1, 2]


async def test_methods_have_batches_by_instance_C10() -> None:
    class Service:
        def __init__(self) -> None:
            self.batches: list[list[int]] = []

        @batched()
        async def load(self, keys: list[int]) -> list[int]:
            self.batches.append(keys)
            return keys

        cached = alru_cache(load)

    one, other = Service(), Service()
    assert await asyncio.gather(one.load(1), other.load(2), one.load(3)) == [1, 2, 3]
    assert await asyncio.gather(one.cached(4), one.cached(4)) == [4, 4]
    assert (one.batches, other.batches) == ([[1, 3], [4]], [[2]])
    assert one.cached.cache_info() == (1, 1, 128, 1)


async def test_it_composes_under_a_cache_C10() -> None:
    batches: list[list[int]] = []

    @alru_cache(error_ttl={KeyError: 10})
    @batched(max_size=3)
    async def load(keys: list[int]) -> dict[int, int]:
        batches.append(keys)
        return {key: key * 2 for key in keys if key != 5}

    assert await asyncio.gather(*map(load, [1, 2, 1])) == [2, 4, 2]
    results = await load.cache_warm([(key,) for key in range(6)])
    assert results[:5] == [0, 2, 4, 6, 8]
    assert isinstance(results[5], KeyError)
    assert batches == [[1, 2], [0, 3, 4], [5]]
    assert isinstance(await outcome(load(5)), KeyError)
    assert len(batches) == 3


async def test_closing_the_cache_ends_pending_batches_C10(clock: Clock) -> None:
    load, batches = doubling(window=10)
    cached = alru_cache(load)
    call = start(cached(1))
    await steps()
    await cached.cache_close()
    assert isinstance(await outcome(call), asyncio.CancelledError)
    await clock.advance(10)
    assert batches == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_each_loop_has_its_own_batches_C10() -> None:
    load, batches = doubling(window=5)

    async def abandon() -> None:
        task = start(load(1))
        await steps(1)
        task.cancel()

    async def call() -> Any:
        Clock()
        calls = [start(load(2))]
        await steps()
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now + 5  # type: ignore[method-assign]
        return await calls[0]

    asyncio.run(abandon())
    assert asyncio.run(call()) == 4
    assert batches == [[2]]


@needs_refcount
async def test_values_die_when_their_callers_have_moved_on_C10_B3() -> None:
    class Value:
        pass

    @batched()
    async def load(keys: list[int]) -> list[Value]:
        return [Value() for _ in keys]

    async def call() -> Any:
        return weakref.ref(await load(1))

    gc.disable()
    try:
        reference = await start(call())
        await steps()
        assert reference() is None
    finally:
        gc.enable()


def test_it_looks_like_what_it_is_C10() -> None:
    async def load(keys: list[int]) -> list[int]:
        """Load."""
        return keys

    one = batched()(load)
    assert inspect.iscoroutinefunction(one)
    assert (one.__name__, one.__doc__) == ("load", "Load.")
    assert str(inspect.signature(one)) == "(key: Any, /) -> Any"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_size": 0}, ValueError, "max_size must be 1 or more, not 0"),
        ({"max_size": "5"}, TypeError, "max_size must be an int, not '5'"),
        ({"max_size": True}, TypeError, "max_size must be an int, not True"),
        ({"window": "5"}, TypeError, "window must be a number of seconds, not '5'"),
        ({"window": -1}, ValueError, "window must be a finite number"),
        ({"window": float("nan")}, ValueError, "window must be a number of seconds"),
        ({"window": float("inf")}, ValueError, "window must be a finite number"),
    ],
)
def test_bad_options_are_refused_C10(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        batched(**options)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "missing 1 required positional argument: 'key'"),
        ((1, 2), "takes . positional arguments? but . were given"),
    ],
)
async def test_wrong_arguments_are_told_of_as_Python_does_B9_C10(
    arguments: tuple[Any, ...], told: str
) -> None:
    class Service:
        @batched()
        async def load(self, keys: list[int]) -> list[int]:
            return keys

    function, batches = doubling()
    name = r"^[\w.<>]*load\(\) "
    for call in (function, Service().load, alru_cache(function)):
        with pytest.raises(TypeError, match=name + told):
            await call(*arguments)
    with pytest.raises(TypeError, match=name + ".*keyword"):
        await function(key=1)
    assert batches == []


async def test_a_loader_may_have_more_parameters_with_defaults_C10() -> None:
    @batched()
    async def load(keys: list[int], factor: int = 2, *, plus: int = 1) -> list[int]:
        return [key * factor + plus for key in keys]

    @batched()  # type: ignore[arg-type]
    async def any_load(*args: Any) -> Any:
        (keys,) = args
        return keys

    assert await asyncio.gather(load(1), load(2)) == [3, 5]
    assert await asyncio.gather(any_load(1), any_load(2)) == [1, 2]
    bound = functools.partial(load.__wrapped__, factor=3)  # type: ignore[attr-defined]
    assert await asyncio.gather(*map(batched()(bound), (1, 2))) == [4, 7]


async def no_keys() -> list[int]:
    return []


async def three(service: Any, session: Any, keys: list[int]) -> list[int]:
    return keys


@pytest.mark.parametrize("load", [no_keys, three])
def test_a_loader_of_other_parameters_is_refused_B9_C10(load: Any) -> None:
    with pytest.raises(TypeError, match=f"{load.__name__}.*whose parameters are"):
        batched()(load)


class Stopped:
    """A loader that raises a StopIteration when it is called, as no def can."""

    __name__ = "stopped"

    def __call__(self, keys: list[int]) -> Any:
        raise StopIteration(keys)


@pytest.mark.parametrize("error", [StopIteration("end"), asyncio.CancelledError("end")])
@pytest.mark.parametrize("as_mapping", [False, True])
async def test_any_exception_in_the_place_of_a_value_is_its_callers_alone_C10(
    error: BaseException, as_mapping: bool
) -> None:
    @batched()
    async def load(keys: list[int]) -> Any:
        values = [error if key == 2 else key for key in keys]
        return dict(zip(keys, values)) if as_mapping else values

    cached = alru_cache(load)
    for call in (load, cached):
        calls = [start(outcome(call(key))) for key in (1, 2, 2, 3)]
        done, pending = await asyncio.wait(calls, timeout=5)
        assert not pending
        first, *failed, last = [call.result() for call in calls]
        assert (first, last) == (1, 3)
        for result in failed:
            if isinstance(error, asyncio.CancelledError):
                assert isinstance(result, asyncio.CancelledError)
                assert result.args == ("end",) or sys.version_info < (3, 11)
            else:
                assert isinstance(result, RuntimeError)
                assert result.__cause__ is error
    assert cached.cache_info().currsize == 2
    assert not cached.cache_contains(2)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the mark is new in 3.12")
async def test_a_loader_that_raises_StopIteration_hangs_nobody_C10() -> None:
    load = batched()(inspect.markcoroutinefunction(Stopped()))  # type: ignore[attr-defined]
    calls = [start(outcome(load(key))) for key in (1, 2)]
    done, pending = await asyncio.wait(calls, timeout=5)
    assert not pending
    assert [type(call.result()) for call in calls] == [RuntimeError] * 2


def test_what_is_no_coroutine_function_is_refused_C10() -> None:
    with pytest.raises(RuntimeError, match="batched decorates coroutine functions"):
        batched()(len)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="with parentheses"):

        @batched  # type: ignore[arg-type]
        async def load(keys: list[int]) -> list[int]:
            return keys


@pytest.mark.parametrize("result", [None, {"a", "b"}, "ab", iter("ab")])
async def test_a_loader_that_returns_no_list_is_told_so_C10(result: Any) -> None:
    @batched()
    async def load(keys: list[str]) -> Any:
        return result

    outcomes = await asyncio.gather(load("a"), load("b"), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TypeError}
    assert "return a list of one value per key" in str(outcomes[0])
