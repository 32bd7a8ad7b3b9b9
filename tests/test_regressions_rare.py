"""What strangers found where few programs go: no stack left, dead loops, odd objects."""

import asyncio
import functools
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import needs_refcount, outcome

from async_lru import alru_cache, batched

# Where no stack is left


def frames_left() -> int:
    frame, depth = sys._getframe(1), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]  # the end
    return sys.getrecursionlimit() - depth


def at_depth(room: int, act: Callable[[], Any]) -> Any:
    """Return what *act* does with only *room* frames of the stack left."""
    return act() if frames_left() <= room else at_depth(room, act)


class AtDepth:
    """Awaits a call whose first step has only *room* frames left."""

    def __init__(self, room: int, call: Any) -> None:
        self._room = room
        self._call = call

    def __await__(self) -> Any:
        steps = self._call.__await__()
        try:
            yield at_depth(self._room, lambda: next(steps))
        except StopIteration as stop:
            return stop.value
        return (yield from steps)


@needs_refcount
async def test_no_instance_gets_the_values_of_one_freed_without_stack_C9(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    class Class:
        def __init__(self, name: str) -> None:
            self.name = name

        @alru_cache(per_instance=True)
        async def load(self) -> str:
            return self.name

    for room in range(14):
        held = [Class("first")]
        await held[0].load()
        try:
            at_depth(room, held.clear)
        except RecursionError:
            held.clear()
        others = [Class("other") for _ in range(3)]  # one has the same address
        assert [await other.load() for other in others] == ["other"] * 3


def test_a_background_run_that_cannot_begin_is_no_run_C8(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of those inside it.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    async def main(room: int) -> None:  # in a loop of its own: see the cycles below
        runs: list[int] = []

        @alru_cache(ttl=0.001, stale_while_revalidate=60, stale_retry=0)
        async def function(key: int) -> int:
            runs.append(key)
            return key

        async def call() -> Any:
            awaitable = function(1)
            try:
                return await AtDepth(room, awaitable)
            finally:
                awaitable.close()  # it may never have been awaited

        await function(1)
        await asyncio.sleep(0.002)
        await asyncio.wait({asyncio.ensure_future(call())})
        await asyncio.sleep(0.002)
        assert function.cache_parameters()["tasks"] == 0
        runs.clear()
        await function(1)
        await asyncio.sleep(0.002)
        assert runs == [1]

    for room in range(3, 16):
        asyncio.run(main(room))
    gc.collect()


# Whose arguments are not what they seem


def with_session(function: Any) -> Any:
    """A decorator that passes an argument of its own."""

    @functools.wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await function("session", *args, **kwargs)

    return inner


async def test_a_decorator_below_may_pass_arguments_of_its_own_A8_B9() -> None:
    @alru_cache
    @with_session
    async def load(session: str, user: str) -> str:
        return user

    assert not load.cache_contains("ann")
    assert not load.cache_invalidate("ann")
    assert await load("ann") == "ann"
    load.cache_put("put", "bob")
    assert await load("bob") == "put"
    assert await load.cache_refresh("cid") == "cid"
    with pytest.raises(TypeError, match="unhashable type: 'list'.*load was called"):
        await load(["ann"])
    for args, kwargs in [((1, 2, 3), {}), ((), {"usr": "ann"})]:  # it can take neither
        with pytest.raises(TypeError, match=r"load\(session: .* does not take these"):
            load.cache_invalidate(*args, **kwargs)


async def test_a_decorator_below_may_declare_parameters_of_its_own_A8_B9() -> None:
    def retrying(function: Any) -> Any:
        @functools.wraps(function)
        async def inner(user: str, retries: int = 3) -> Any:
            return await function(user)

        return inner

    @alru_cache
    @retrying
    async def load(user: str) -> str:
        return user

    assert not load.cache_invalidate("ann", retries=5)
    assert await load("ann", retries=5) == "ann"


async def test_ignore_names_no_catch_all_of_a_decorator_below_C2() -> None:
    def passing(function: Any) -> Any:
        @functools.wraps(function)
        async def inner(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return inner

    @alru_cache(ignore=("args", "kwargs"))
    @passing
    async def load(key: int, *args: int, **kwargs: int) -> int:
        return key

    assert await load(key=1) == 1
    assert await load(key=2, more=3) == 2
    assert await load(key=2, more=4) == 2
    assert load.cache_info()[:2] == (1, 2)


async def test_ignore_names_parameters_that_the_function_itself_shows_C2() -> None:
    def passing(function: Any) -> Any:
        @functools.wraps(function)
        async def inner(request: str, user: str) -> Any:
            return await function("session", request, user)

        return inner

    @alru_cache(ignore=("request",))
    @passing
    async def page(session: str, request: str, user: str) -> str:
        return user

    assert await page("first", "ann") == "ann"
    assert await page("second", "bob") == "bob"
    assert await page("third", "bob") == "bob"
    assert page.cache_info()[:2] == (1, 2)


# Values and failures that are not what they seem


class Proxy:
    """Stands for an object that is not there."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("there is nothing behind it")


@pytest.mark.parametrize("make", [Proxy, lambda: Mock(spec=ValueError("x"))])
async def test_an_odd_value_hangs_no_batch_C10(make: Callable[[], Any]) -> None:
    odd = make()

    @batched()
    async def load(keys: list[int]) -> list[Any]:
        return [odd if key == 0 else key for key in keys]

    got = await asyncio.wait_for(asyncio.gather(*map(load, range(3))), 5)
    assert got[0] is odd
    assert got[1:] == [1, 2]


class BadKey:
    """A key that cannot be compared once its batch has gone out."""

    broken = False

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if self.broken:
            raise ValueError("cannot compare")
        return self is other


async def test_an_error_while_results_are_delivered_is_raised_to_callers_C10() -> None:
    @batched()
    async def load(keys: list[Any]) -> dict[Any, Any]:
        BadKey.broken = True
        return {}

    try:
        with pytest.raises(ValueError, match="cannot compare"):
            await asyncio.wait_for(asyncio.gather(load(BadKey()), load(BadKey())), 5)
    finally:
        BadKey.broken = False


class Several(Exception):
    """Has exceptions in a list."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__(errors)
        self.errors = errors


@needs_refcount
async def test_kept_failures_have_copies_of_exceptions_in_lists_C11() -> None:
    class Local:
        pass

    references: list[Any] = []

    @alru_cache(error_ttl={Several: 60})
    async def function(key: int) -> None:
        local = Local()
        references.append(weakref.ref(local))
        errors: list[Exception] = []
        for name in "ab":
            try:
                raise OSError(name)
            except OSError as error:
                errors.append(error)
        try:
            raise Several(errors)
        finally:
            del errors

    first, second = await outcome(function(1)), await outcome(function(1))
    assert first.errors[0] is not second.errors[0]
    assert second.errors[0].args == ("a",)
    del first, second
    await asyncio.sleep(0)
    gc.collect()
    assert references[0]() is None


class NotThere(LookupError, OSError):
    pass


async def test_failures_with_several_built_in_bases_are_kept_C11() -> None:
    @alru_cache(error_ttl={NotThere: 60})
    async def function(key: int) -> None:
        runs.append(key)
        raise NotThere(2, "no such file", "name")

    runs: list[int] = []
    first, second = [await outcome(function(1)) for _ in range(2)]
    assert runs == [1]
    assert first is not second
    assert second.args == first.args
    assert second.errno == first.errno


async def test_failures_of_types_written_in_rust_are_kept_C11() -> None:
    pydantic = pytest.importorskip("pydantic")

    @alru_cache(error_ttl={ValueError: 60, LookupError: 60})
    async def function(is_cause: bool) -> None:
        runs.append(is_cause)
        try:
            pydantic.TypeAdapter(int).validate_python("no number")
        except pydantic.ValidationError as error:
            if is_cause:
                raise LookupError("not found") from error
            raise

    runs: list[bool] = []
    for is_cause in (False, True):
        first, second = [await outcome(function(is_cause)) for _ in range(2)]
        assert first is not second
        assert str(first) == str(second)
        assert type(second.__cause__) is type(first.__cause__)
    assert runs == [False, True]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs exception groups")
async def test_kept_groups_have_the_args_they_were_made_with_C11() -> None:
    class Errors(ExceptionGroup[Exception]):
        def __new__(cls, errors: list[Exception], code: int) -> "Errors":
            self = super().__new__(cls, f"exit code {code}", errors)
            self.code = code
            return self

        code: int

    @alru_cache(error_ttl={Exception: 60})
    async def function(key: int) -> None:
        raise Errors([ValueError(key)], 3)

    for _ in range(2):
        failure = await outcome(function(1))
        assert type(failure) is Errors
        assert failure.code == failure.args[1] == 3
        assert str(failure.args[0]) == "[ValueError(1)]"
        assert str(failure) == "exit code 3 (1 sub-exception)"


# Cycles that are closed late, and tasks that look like one


async def late(call: Any) -> Any:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0.02)
    return await task


async def late_gather(call: Any) -> Any:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0.02)
    return (await asyncio.gather(task))[0]


async def late_group(call: Any) -> Any:
    if sys.version_info < (3, 11):
        return await late(call)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(call)
            await asyncio.sleep(0.02)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("way", [late, late_gather, late_group])
async def test_a_cycle_that_is_closed_late_is_found_B5(way: Any, shared: bool) -> None:
    @alru_cache(shared=shared)
    async def one(key: int) -> Any:
        return await way(other(key))

    @alru_cache(shared=shared)
    async def other(key: int) -> Any:
        return await one(key)

    with pytest.raises(RuntimeError, match="was called from its own run"):
        await asyncio.wait_for(one(1), 5)
    assert one.cache_parameters()["tasks"] == 0


async def test_a_call_in_the_background_of_its_own_run_is_answered_B5() -> None:
    @alru_cache
    async def function(key: int) -> Any:
        if not background:
            background.append(asyncio.ensure_future(function(key)))
            await asyncio.sleep(0.05)  # several checks
        return key

    background: list[Any] = []
    assert await function(1) == 1
    assert await background[0] == 1


@needs_refcount
async def test_no_check_keeps_a_value_that_its_callers_dropped_B3() -> None:
    class Value:
        pass

    @alru_cache
    async def function(key: int) -> Any:
        if not background:
            background.append(asyncio.ensure_future(function(key)))
            await asyncio.sleep(0.1)  # so that the next check is far
        return Value()

    background: list[Any] = []
    value = weakref.ref(await function(1))
    await background.pop()
    background.append(None)
    function.cache_clear()
    await asyncio.sleep(0)
    assert value() is None


async def test_a_call_that_is_closed_is_checked_no_more_B5() -> None:
    @alru_cache
    async def function(key: int) -> Any:
        if not background:
            background.append(asyncio.ensure_future(join_and_leave(key)))
            await asyncio.sleep(0.05)
        return key

    async def join_and_leave(key: int) -> None:
        call = function(key)
        call.send(None)
        call.close()

    background: list[Any] = []
    assert await function(1) == 1
    assert function.cache_stats().joins == 1


async def ready(event: asyncio.Event) -> None:
    await event.wait()


async def gathered(tasks: list[Any]) -> None:
    await asyncio.gather(*tasks)


async def awaited(task: Any) -> None:
    await task


def diamonds(leaf: Any) -> list[Any]:
    """Return tasks that wait for a leaf in 2 ** 16 ways."""
    layer = [leaf, leaf]
    for _ in range(16):
        layer = [asyncio.ensure_future(gathered(layer)) for _ in range(2)]
    return layer


def chain(leaf: Any) -> list[Any]:
    """Return a task that waits for one that waits for one ..."""
    for _ in range(sys.getrecursionlimit() + 100):
        leaf = asyncio.ensure_future(awaited(leaf))
    return [leaf]


@pytest.mark.parametrize("make", [diamonds, chain])
async def test_many_tasks_between_a_run_and_a_call_do_no_harm_B5(
    make: Callable[[Any], list[Any]],
) -> None:
    event = asyncio.Event()
    called: list[Any] = []

    def count(frame: Any, event: str, argument: object) -> None:
        called.append(frame.f_code)

    @alru_cache
    async def function(key: int) -> Any:
        tasks = make(asyncio.ensure_future(ready(event)))

        async def call() -> Any:
            await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_later(0.05, event.set)
            waits = asyncio.ensure_future(function(key))
            former = sys.gettrace()
            sys.settrace(count)
            await asyncio.sleep(0)
            sys.settrace(former)
            return await waits

        background.append(asyncio.ensure_future(call()))
        await asyncio.gather(*tasks)
        return key

    background: list[Any] = []
    assert await function(1) == 1
    assert await background[0] == 1
    assert 0 < len(called) < 10_000


@needs_refcount
def test_a_call_that_is_refused_in_a_task_leaves_no_cycle_B3() -> None:
    @alru_cache
    async def function(key: int) -> Any:
        return await asyncio.ensure_future(function(key))

    async def main() -> int:  # in a loop of its own: see test_regressions_calls
        for _ in range(2):
            gc.collect()
            with pytest.raises(RuntimeError):
                await function(1)
            await asyncio.sleep(0.01)
        return gc.collect()

    gc.disable()
    try:
        assert asyncio.run(main()) == 0
    finally:
        gc.enable()


# Loops that were closed with tasks left


@needs_refcount
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"shared": True}])
def test_runs_of_closed_loops_are_forgotten_by_later_calls_B3(options: Any) -> None:
    @alru_cache(**options)
    async def function(key: int) -> int:
        if key >= 0:
            await asyncio.sleep(3600)
        return key

    async def call_many() -> None:
        for key in range(-200, 0):
            await function(key)

    loops = leave_behind(function)
    asyncio.run(call_many())
    gc.collect()
    assert sum(loop() is not None for loop in loops) < len(loops) / 2


@needs_refcount
@pytest.mark.filterwarnings("ignore")
def test_batches_of_closed_loops_are_forgotten_B3() -> None:
    @batched(window=60)
    async def load(keys: list[int]) -> list[int]:
        return keys

    used = asyncio.new_event_loop()
    waits = used.create_task(load(1))
    used.run_until_complete(asyncio.sleep(0))
    loops = leave_behind(load)
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 1
    waits.cancel()
    used.run_until_complete(asyncio.wait([waits]))
    used.close()


def leave_behind(function: Any) -> list[Any]:
    """Call the function in many loops that are closed before it ends."""
    loops: list[Any] = []
    for key in range(100):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.create_task(function(key))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        loops.append(weakref.ref(loop))
        del loop
    return loops
