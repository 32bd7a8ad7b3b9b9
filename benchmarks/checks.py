"""What is checked of each library in the table of docs/comparison.rst.

These checks use nothing but a decorator and the decorated function. recipes.py has those
that use what only some libraries have.
"""

import asyncio
import functools
import gc
import importlib
import inspect
import re
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from peers import FOLDER, Lacks, Options, Peer, install, require

Check = Callable[[Peer], Awaitable[bool]]
#: The check of each row, and the rows of each table.
CHECKS: dict[str, Check] = {}
TABLES: dict[str, list[str]] = {}


class NotChecked(Exception):
    """What a check needs is not there."""


def table(title: str) -> None:
    """Begin a table."""
    TABLES[title] = []


def check(text: str) -> Callable[[Check], Check]:
    """Register a check under the text of its row."""

    def add(function: Check) -> Check:
        CHECKS[text] = function
        TABLES[next(reversed(TABLES))].append(text)
        return function

    return add


def has_name(peer: Peer, words: set[str]) -> bool:
    """Tell whether a name in the public API of *peer* has one of these words."""

    def public(owner: object) -> list[str]:
        return [name for name in dir(owner) if not name.startswith("_")]

    async def function(key: int) -> int:
        return key

    objects: list[Any] = [peer.library, decorated(peer, function)]
    names: set[str] = set()
    for owner in objects:
        for name in public(owner):
            value = getattr(owner, name, None)
            names.add(name)
            if callable(value) and is_from(peer, value):
                names.update(public(value))
                try:
                    names.update(inspect.signature(value).parameters)
                except (TypeError, ValueError):
                    pass
    parts = {part.lower() for name in names for part in re.split("_+", name)}
    return not words.isdisjoint(parts)


def is_from(peer: Peer, value: Any) -> bool:
    """Tell whether *value* is defined in the library, not imported there."""
    library = str(peer.module).partition(".")[0]
    return str(getattr(value, "__module__", "")).partition(".")[0] == library


def add_extra(module: str, requirement: str) -> None:
    """Let libraries import *module*; it is installed on first use."""
    folder = FOLDER / "extras" / module
    if not folder.exists():
        install(requirement, folder)
    sys.path.insert(0, str(folder))


async def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run these in a thread each, at the same time."""
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait()
        return function()

    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(loop.run_in_executor(None, run, each) for each in functions)
    )


def decorated(peer: Peer, function: Any, **options: Any) -> Any:
    """Return *function* with a cache of 100 values, unless *options* say otherwise."""
    bounded: dict[str, Any] = {"maxsize": 100, **options}
    try:
        return peer.decorate(function, Options(**bounded))
    except Lacks:
        require("maxsize" not in options, "a bound")
        return peer.decorate(function, Options(**options))


class Value:
    """A result that can be weakly referenced."""


class Slow:
    """A cached function whose runs wait until go_on is set."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        self.runs: list[Any] = []
        self.cancelled = 0
        self.go_on = asyncio.Event()

        async def function(key: Any) -> Any:
            self.runs.append(key)
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return key

        self.cached = decorated(peer, function, **options)

    async def start(self, key: Any = 1) -> "asyncio.Task[Any]":
        """Start a call and let it run until it waits."""
        call: asyncio.Task[Any] = asyncio.ensure_future(self.cached(key))
        await settle()
        return call


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


table("Concurrency and failures")


@check("Concurrent calls share one run")
async def shares(peer: Peer) -> bool:
    slow = Slow(peer)
    calls = [await slow.start() for _ in range(3)]
    slow.go_on.set()
    return await asyncio.gather(*calls) == [1, 1, 1] and slow.runs == [1]


@check("... even if the function fails without suspending")
async def shares_failures(peer: Peer) -> bool:
    runs: list[Any] = []

    async def function(key: int) -> None:
        runs.append(key)
        raise ValueError(key)

    cached = decorated(peer, function)
    calls = await asyncio.gather(*(cached(1) for _ in range(3)), return_exceptions=True)
    return all(isinstance(call, ValueError) for call in calls) and runs == [1]


@check("... even when newer calls fill the cache")
async def shares_in_a_full_cache(peer: Peer) -> bool:
    slow = Slow(peer, maxsize=1)
    calls = [await slow.start(1), await slow.start(2), await slow.start(1)]
    slow.go_on.set()
    await asyncio.gather(*calls)
    return slow.runs == [1, 2]


@check("Cancelling the first caller does not affect the others")
async def first_is_cancelled(peer: Peer) -> bool:
    slow = Slow(peer)
    one, other = await slow.start(), await slow.start()
    one.cancel()
    await settle()
    slow.go_on.set()
    return await other == 1 and slow.runs == [1]


@check("Cancelling all callers cancels the run")
async def all_are_cancelled(peer: Peer) -> bool:
    slow = Slow(peer)
    for call in [await slow.start(), await slow.start()]:
        call.cancel()
    await settle()
    return slow.cancelled == len(slow.runs) == 1


@check("Exceptions are not stored")
async def failures(peer: Peer) -> bool:
    runs: list[Any] = []

    async def function(key: int) -> None:
        runs.append(key)
        raise ValueError(key)

    cached = decorated(peer, function)
    for _ in range(2):
        await asyncio.gather(cached(1), return_exceptions=True)
    return runs == [1, 1]


@check("A function that awaits its own key gets an error, not a deadlock")
async def recursion(peer: Peer) -> bool:
    async def function(key: int) -> Any:
        depth.append(key)
        require(len(depth) < 5, "one run")  # the calls did not share one
        return await cached(key)

    depth: list[int] = []
    cached = decorated(peer, function)
    try:
        await asyncio.wait_for(cached(1), 1)
    except RuntimeError:
        return len(depth) == 1
    except (asyncio.TimeoutError, Lacks):
        return False
    return False


@check("The function runs in its own task")
async def context(peer: Peer) -> bool:
    tasks: list[Any] = []

    async def function(key: int) -> int:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        return key

    await decorated(peer, function)(1)
    return tasks[0] is not asyncio.current_task()


table("Keys and functions")


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1.0,), {}),
    ((True,), {}),
    (("1",), {}),
    ((1, 2), {}),
    ((), {"a": 1}),
    ((1,), {"b": 2}),
    ((), {"a": 1, "b": 2}),
    ((), {"b": 2, "a": 1}),
]


@check("Keys are those of functools")
async def keys(peer: Peer) -> bool:
    seen: list[list[Any]] = [[], []]

    def function(a: Any = 0, b: Any = 0) -> None:
        seen[0].append((a, b))

    async def async_function(a: Any = 0, b: Any = 0) -> int:
        seen[1].append((a, b))
        return 1

    sync = functools.lru_cache(function)
    cached = decorated(peer, async_function)
    for args, kwargs in CALLS * 2:
        sync(*args, **kwargs)
        await cached(*args, **kwargs)
    return seen[0] == seen[1]


@check("1, 1.0 and True can have separate values")
async def typed(peer: Peer) -> bool:
    runs: list[Any] = []

    async def function(a: Any, b: Any) -> int:
        runs.append(a)
        return 1

    try:
        cached = decorated(peer, function, typed=True)
    except Lacks:
        cached = decorated(peer, function)  # perhaps its keys have the types
    for key in (1, 1.0, True) * 2:
        await cached(key, b=key)
    return runs == [1, 1, 1]


@check("On methods, each instance gets its own values")
async def methods(peer: Peer) -> bool:
    runs: list[Any] = []

    class Service:
        async def method(self, key: int) -> Any:
            runs.append((self, key))
            return self

    Service.method = decorated(peer, Service.method)  # type: ignore[method-assign]
    one, other = Service(), Service()
    for service in (one, other, one, other):
        if await service.method(1) is not service:
            return False
    return runs == [(one, 1), (other, 1)]


@check("``iscoroutinefunction`` and the signature still work")
async def introspection(peer: Peer) -> bool:
    async def function(key: int, *, other: str = "") -> int:
        return key

    cached = decorated(peer, function)
    same = inspect.signature(cached) == inspect.signature(function)
    return inspect.iscoroutinefunction(cached) and same


@check("Plain functions, without ``async``")
async def plain_functions(peer: Peer) -> bool:
    runs: list[int] = []

    def function(key: int) -> int:
        runs.append(key)
        return key

    cached = decorated(peer, function)
    return [cached(1), cached(1)] == [1, 1] and runs == [1]


@check("trio")
async def runs_on_trio(peer: Peer) -> bool:
    try:
        trio = importlib.import_module("trio")
    except ImportError as error:
        raise NotChecked("trio") from error
    runs: list[int] = []

    async def function(key: int) -> int:
        runs.append(key)
        await trio.sleep(0)
        return key

    async def main() -> int:
        cached = decorated(peer, function)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(cached, 1)
        return int(await cached(1))

    return await in_threads(lambda: trio.run(main)) == [1] and runs == [1]


table("Expiry and eviction")


@check("Values expire after a ttl")
async def ttl(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1)
    slow.go_on.set()
    await slow.cached(1)
    await slow.cached(1)
    await asyncio.sleep(1.2)
    await slow.cached(1)
    return slow.runs == [1, 1]


@check("... plus a random jitter")
async def jitter(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1, jitter=1)
    slow.go_on.set()
    await slow.cached(1)
    return slow.runs == [1]


@check("... that starts when the run ends")
async def ttl_from_the_end(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1)
    call = await slow.start()
    await asyncio.sleep(0.6)
    slow.go_on.set()
    await call
    await asyncio.sleep(0.6)
    await slow.cached(1)
    return slow.runs == [1]


@check("... and leave memory without another call")
async def ttl_frees(peer: Peer) -> bool:
    async def function(key: int) -> Value:
        return Value()

    cached = decorated(peer, function, ttl=1)
    value = weakref.ref(await cached(1))
    require(value() is not None, "the value itself")
    await asyncio.sleep(1.2)
    gc.collect()
    return value() is None


@check("The least recently used value is evicted first")
async def order(peer: Peer) -> bool:
    runs: list[int] = []

    async def function(key: int) -> int:
        runs.append(key)
        return key

    cached = decorated(peer, function, maxsize=2)
    for key in (1, 2, 1, 3, 1, 2):
        await cached(key)
    return runs == [1, 2, 3, 2]


@check("An evicted value is freed at once")
async def eviction_frees(peer: Peer) -> bool:
    async def function(key: int) -> Value:
        return Value()

    cached = decorated(peer, function, maxsize=1)
    value = weakref.ref(await cached(1))
    require(value() is not None, "the value itself")
    await cached(2)
    return value() is None


table("Event loops and threads")


@check("Values outlive the event loop: ``asyncio.run()`` per job")
async def values_outlive_loops(peer: Peer) -> bool:
    runs: list[int] = []

    async def function(key: int) -> int:
        runs.append(key)
        await asyncio.sleep(0)
        return key

    cached = decorated(peer, function, shared=True)
    for _ in range(2):
        await in_threads(lambda: asyncio.run(cached(1)))
    return runs == [1]


@check("Event loops in several threads can use one cache")
async def threads(peer: Peer) -> bool:
    async def function(key: int) -> int:
        await asyncio.sleep(0.001)
        return key

    async def calls() -> list[int]:
        return [await cached(number % 7) for number in range(100)]

    def run() -> list[int]:
        return asyncio.run(asyncio.wait_for(calls(), 3))

    cached = decorated(peer, function, shared=True)
    return await in_threads(*[run] * 3) == [[n % 7 for n in range(100)]] * 3


@check("... and share one run")
async def threads_share_runs(peer: Peer) -> bool:
    runs: list[int] = []

    async def function(key: int) -> int:
        runs.append(key)
        await asyncio.sleep(0.2)
        return key

    def run() -> Any:
        return asyncio.run(asyncio.wait_for(cached(1), 2))

    cached = decorated(peer, function, shared=True)
    return await in_threads(*[run] * 3) == [1] * 3 and runs == [1]
