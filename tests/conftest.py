"""What the tests share: stepping the loop, a clock to turn, runs to end at will."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest

import async_lru
from async_lru import AlruCacheWrapper, alru_cache

pytest_plugins = ["pytester"]

# Other processes that tests start test the same package.
PLACE = os.path.dirname(os.path.dirname(os.path.abspath(async_lru.__file__)))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [PLACE, *filter(None, [os.environ.get("PYTHONPATH")])]
)

needs_refcount = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="needs reference counting"
)
#: Without the GIL the references to functions are counted when garbage is collected.
needs_refcount_of_functions = pytest.mark.skipif(
    sys.implementation.name != "cpython"
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs functions that die by reference count",
)
measurable = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy does not tell sizes"
)
needs_more_hashes = pytest.mark.skipif(
    sys.version_info >= (3, 14) or sys.implementation.name != "cpython",
    reason="needs tuples that ask for the hashes of their items each time",
)
needs_eager = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks are new in 3.12"
)


#: Seconds after which a test that hangs fails, where signals can end it.
LIMIT = 300


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let a test that waits for ever fail."""
    is_slow = any(map(item.get_closest_marker, ("once", "more")))
    if is_slow or not hasattr(signal, "setitimer"):
        return (yield)

    def fail(*_: object) -> None:
        pytest.fail(f"took more than {LIMIT} seconds")

    former = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, 1)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


async def steps(number: int = 5) -> None:
    """Let the loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


class Clock:
    """The time of the running loop, which stands still until it is turned."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        loop.time = lambda: self.now  # type: ignore[method-assign]

    def turn(self, seconds: float) -> None:
        """Turn the clock without letting the loop see to its timers."""
        self.now += seconds

    async def advance(self, seconds: float) -> None:
        """Turn the clock and let the loop see to its timers."""
        self.turn(seconds)
        await steps()


@pytest.fixture
async def clock() -> Clock:
    return Clock()


class Timers:
    """The timers that a loop is asked for from now on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.made = 0
        self._pending: dict[int, asyncio.TimerHandle] = {}
        call_at = loop.call_at

        def record(
            when: float, callback: Callable[..., object], *args: Any, **options: Any
        ) -> asyncio.TimerHandle:
            self.made += 1
            number = self.made

            def fire(*args: Any) -> None:
                del self._pending[number]
                callback(*args)

            timer = call_at(when, fire, *args, **options)
            self._pending[number] = timer
            return timer

        loop.call_at = record  # type: ignore[method-assign]

    @property
    def armed(self) -> list[asyncio.TimerHandle]:
        """Those that have neither fired nor been cancelled."""
        return [timer for timer in self._pending.values() if not timer.cancelled()]


@pytest.fixture
async def timers() -> Timers:
    return Timers(asyncio.get_running_loop())


class Started(NamedTuple):
    """A run of a controlled function, which ends when its future does."""

    arguments: tuple[Any, ...]
    future: "asyncio.Future[Any]"
    task: "asyncio.Task[Any]"

    def succeed(self, value: Any = None) -> None:
        self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        self.future.set_exception(error)


Controlled = tuple[AlruCacheWrapper[..., Any], list[Started]]


@pytest.fixture
def controlled() -> Callable[..., Controlled]:
    """Make cached functions whose runs end when the test says so."""

    def make(**options: Any) -> Controlled:
        runs: list[Started] = []

        @alru_cache(**options)
        async def function(*args: Any, **kwargs: Any) -> Any:
            # No local variables, which would make cycles with exceptions.
            runs.append(
                Started(
                    (*args, *kwargs.values()),
                    asyncio.get_running_loop().create_future(),
                    asyncio.current_task(),  # type: ignore[arg-type]
                )
            )
            return await runs[-1].future

        return function, runs

    return make


class Counted(NamedTuple):
    """A cached function that returns its argument, and the arguments it ran with."""

    function: AlruCacheWrapper[..., Any]
    runs: list[Any]


def counted(**options: Any) -> Counted:
    """Make a cached function that returns its first argument at once."""
    runs: list[Any] = []

    @alru_cache(**options)
    async def function(*args: Any, **kwargs: Any) -> Any:
        runs.append(args)
        return args[0] if args else None

    return Counted(function, runs)


def start(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Start a call in a task of its own."""
    return asyncio.get_running_loop().create_task(coroutine)


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """Return the result or the exception of a call."""
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError) as error:
        return error


def collect_reports(collected: list[dict[str, Any]]) -> None:
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: collected.append(context)
    )


def eager_task(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Start a call in a task of its own, at once."""
    loop = asyncio.get_running_loop()
    return asyncio.Task(coroutine, loop=loop, eager_start=True)  # type: ignore[call-arg]


def failing_keys(fails_at: int) -> tuple[type[Any], list[Any]]:
    """Return a class of keys that all collide, and the list of their comparisons.

    The comparison that makes the list so long raises ZeroDivisionError. It begins with
    a hundred: clear it when the comparisons are to count.
    """
    comparisons: list[Any] = [None] * 100

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            comparisons.append(other)
            if len(comparisons) == fails_at:
                raise ZeroDivisionError
            return self is other

    return Key, comparisons
