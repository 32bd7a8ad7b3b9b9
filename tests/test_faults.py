"""Whatever fails, at whatever point: a clear error at the caller that caused it.

And the cache is consistent, nobody else is harmed, and nothing hangs.
"""

import asyncio
import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import steps

from async_lru import alru_cache


class Fault:
    """Raises an error the nth time from when it is armed, or from then on."""

    def __init__(self) -> None:
        self.left = 0
        self.error: type[BaseException] = Exception
        self.lasting = False

    def arm(
        self, left: int, error: type[BaseException], *, lasting: bool = False
    ) -> None:
        self.left = left
        self.error = error
        self.lasting = lasting

    def disarm(self) -> None:
        self.left = 0
        self.lasting = False

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0 or (self.lasting and self.left < 0):
            raise self.error("fault")


class Key:
    """A key that may fail to be hashed or compared; all have the same hash."""

    def __init__(self, number: int, hashing: Fault, comparing: Fault) -> None:
        self.number = number
        self.hashing = hashing
        self.comparing = comparing

    def __hash__(self) -> int:
        self.hashing()
        return 1

    def __eq__(self, other: object) -> bool:
        self.comparing()
        return isinstance(other, Key) and self.number == other.number


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


OPTIONS: list[dict[str, Any]] = [
    {"maxsize": 2},
    {"maxsize": None},
    {"maxsize": 2, "ttl": 100},
    {"maxsize": 2, "typed": True},
    {"maxsize": 1, "ttl": 100, "jitter": 1},
    {"maxsize": 0},
]
ERRORS = [ZeroDivisionError, KeyboardInterrupt, SystemExit, asyncio.CancelledError]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", ["hash", "eq", "key", "function", "later"])
def test_a_fault_at_any_point_harms_nobody_else(
    loop: asyncio.AbstractEventLoop,
    options: dict[str, Any],
    error: type[BaseException],
    place: str,
) -> None:
    """Of the hash or the comparison of a key, of key=, and of the function."""
    if place == "key":
        if options.get("typed"):
            pytest.skip("has no key=")
        options = {**options, "key": lambda key: (faults["key"](), key.number)}
    faults = {name: Fault() for name in ("hash", "eq", "key", "function", "later")}
    reports: list[Any] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))

    def key(number: int) -> Key:
        return Key(number, faults["hash"], faults["eq"])

    @alru_cache(**options)
    async def function(key: Key) -> int:
        faults["function"]()
        if key.number % 2:
            await asyncio.sleep(0)
        faults["later"]()
        return key.number

    async def call(number: int) -> None:
        assert await function(key(number)) == number

    async def everything() -> None:
        for number in (1, 2, 1, 3, 2, 4):
            await call(number)
        function.cache_contains(key(1))
        function.cache_invalidate(key(4))
        await asyncio.gather(call(5), call(5), call(6), call(6))
        function.cache_invalidate(key(5))
        await call(5)

    for left in itertools.count(1):
        faults[place].arm(left, error)
        try:
            loop.run_until_complete(everything())
        except BaseException as raised:
            assert type(raised) is error
        struck = faults[place].left <= 0
        faults[place].disarm()
        for _ in range(5):  # for the tasks that a KeyboardInterrupt has left alone
            try:
                loop.run_until_complete(steps())
            except BaseException as raised:  # or that have got it too
                assert type(raised) is error
        assert function.cache_parameters()["tasks"] == 0
        for number in range(1, 7):
            loop.run_until_complete(asyncio.wait_for(call(number), 5))
        info = function.cache_info()
        assert info.maxsize is None or info.currsize <= info.maxsize
        function.cache_clear()
        assert function.cache_info() == (0, 0, info.maxsize, 0)
        if not struck:
            break
    assert left > 3 or place == "eq"
    others = asyncio.all_tasks(loop)
    assert not others
    # Who waited with the one that gather told of the fault has nobody to tell.
    assert all(isinstance(report["exception"], error) for report in reports)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("others", [0, 2])
def test_cancellation_at_every_suspension_point_A5(
    loop: asyncio.AbstractEventLoop, options: dict[str, Any], others: int
) -> None:
    points = 4

    @alru_cache(**options)
    async def function(number: int) -> int:
        for _ in range(points):
            await asyncio.sleep(0)
        return number

    async def main(point: int) -> None:
        calls = [asyncio.ensure_future(function(1)) for _ in range(1 + others)]
        for _ in range(point):
            await asyncio.sleep(0)
        was_done = calls[0].done()
        calls[0].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError) is not was_done
        assert answers[1:] == [1] * others
        await steps()
        assert function.cache_parameters()["tasks"] == 0
        assert await function(1) == 1
        function.cache_clear()

    for point in range(points + 4):
        loop.run_until_complete(main(point))


@pytest.mark.parametrize("options", OPTIONS)
def test_a_loop_that_is_stopped_goes_on_where_it_was(
    loop: asyncio.AbstractEventLoop, options: dict[str, Any]
) -> None:
    @alru_cache(**options)
    async def function(number: int) -> int:
        loop.stop()
        await asyncio.sleep(0)
        loop.stop()
        return number

    calls = [loop.create_task(function(1)) for _ in range(2)]
    for _ in range(10):
        loop.run_forever()
        if all(call.done() for call in calls):
            break
        loop.call_soon(loop.stop)
    assert [call.result() for call in calls] == [1, 1]
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("options", OPTIONS)
def test_a_task_factory_that_fails_is_the_caller_s_error(
    loop: asyncio.AbstractEventLoop, options: dict[str, Any]
) -> None:
    runs = 0

    @alru_cache(**options)
    async def function(number: int) -> int:
        nonlocal runs
        runs += 1
        return number

    def factory(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    async def main() -> None:
        loop.set_task_factory(factory)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await function(1)
        loop.set_task_factory(None)
        assert runs == 0
        assert not function.cache_contains(1)
        assert function.cache_parameters()["tasks"] == 0
        assert await function(1) == 1

    loop.run_until_complete(main())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "act",
    [
        lambda function: function.cache_clear(),
        lambda function: function.cache_invalidate(1),
        lambda function: function.cache_info(),
        lambda function: function.cache_contains(1),
    ],
)
def test_the_cache_may_be_used_while_it_drops_values(
    loop: asyncio.AbstractEventLoop,
    options: dict[str, Any],
    act: Callable[[Any], Any],
) -> None:
    """By the __del__ of a value, and by the done callback of a run's task."""
    deaths = 0

    class Value:
        def __del__(self) -> None:
            nonlocal deaths
            deaths += 1
            act(function)

    @alru_cache(**options)
    async def function(number: int) -> Value:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: act(function))
        if number % 2:
            await asyncio.sleep(0)
        return Value()

    async def main() -> None:
        for number in (1, 2, 3, 1, 4, 2, 5, 6):
            assert isinstance(await function(number), Value)
        await steps()
        function.cache_invalidate(6)
        function.cache_clear()
        await steps()
        assert function.cache_info().currsize == 0
        assert function.cache_parameters()["tasks"] == 0

    loop.run_until_complete(main())
    if sys.implementation.name == "pypy":
        for _ in range(3):
            gc.collect()
    assert deaths >= 5


@pytest.mark.parametrize("options", [{"maxsize": 2}, {"maxsize": 2, "ttl": 100}])
def test_a_comparison_that_fails_during_eviction_leaves_the_cache_whole_A2(
    loop: asyncio.AbstractEventLoop, options: dict[str, Any]
) -> None:
    """An OrderedDict would have kept the key and lost its place, for good."""
    hashing, comparing = Fault(), Fault()

    @alru_cache(**options)
    async def function(key: Key) -> int:
        return key.number

    async def main(left: int) -> None:
        first, second, third = [Key(number, hashing, comparing) for number in range(3)]
        await function(first)
        await function(second)
        comparing.arm(left, ZeroDivisionError)
        try:
            await function(third)
        except ZeroDivisionError:
            # Past the eviction, while the value is stored, the first has gone.
            kept = function.cache_contains(first)
            assert function.cache_info().currsize == 1 + kept
            assert function.cache_contains(second)
            assert not function.cache_contains(third)
        comparing.disarm()
        assert await function(third) == 2
        assert not function.cache_contains(first)
        assert function.cache_info().currsize == 2
        function.cache_clear()

    for left in range(1, 20):
        loop.run_until_complete(main(left))


@pytest.mark.parametrize("lasting", [False, True])
def test_a_comparison_that_fails_while_a_value_is_stored_reaches_the_caller(
    loop: asyncio.AbstractEventLoop, lasting: bool
) -> None:
    hashing, comparing = Fault(), Fault()
    failed: list[Key] = []

    @alru_cache
    async def function(key: Key) -> int:
        if key.number == 2 and not failed:
            failed.append(key)
            comparing.arm(1, ZeroDivisionError, lasting=lasting)
        return key.number

    async def main() -> None:
        keys = [Key(number, hashing, comparing) for number in range(3)]
        await function(keys[0])
        await function(keys[1])
        with pytest.raises(ZeroDivisionError):
            await function(keys[2])
        await steps()
        comparing.disarm()
        assert function.cache_parameters()["tasks"] == 0
        for key in keys:
            assert await function(key) == key.number

    loop.run_until_complete(main())
