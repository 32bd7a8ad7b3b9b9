"""Check what each of the compared libraries can do: ``make features``.

Writes the table in docs/comparison.rst. Each cell is the outcome of a short check that
is run against the library. A cell is empty where the check cannot be made.
"""

import asyncio
import functools
import gc
import inspect
import sys
import warnings
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from peers import PEERS, Lacks, Options, Peer, require

PAGE = Path(__file__).parent.parent / "docs" / "comparison.rst"
BEGIN, END = ".. features\n", ".. end of features\n"
#: A check that takes longer has failed.
SECONDS = 5

Check = Callable[[Peer], Awaitable[bool]]
CHECKS: dict[str, Check] = {}

YES, NO, UNKNOWN = "✓", "✗", ""


def check(text: str) -> Callable[[Check], Check]:
    """Register a check under the text of its row."""

    def add(function: Check) -> Check:
        CHECKS[text] = function
        return function

    return add


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


@check("Concurrent calls share one run")
async def shares(peer: Peer) -> bool:
    slow = Slow(peer)
    calls = [await slow.start() for _ in range(3)]
    slow.go_on.set()
    return await asyncio.gather(*calls) == [1, 1, 1] and slow.runs == [1]


@check("... of a function that fails at once, too")
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


@check("Cancelling the first caller leaves the others alone")
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


@check("Failures are not stored")
async def failures(peer: Peer) -> bool:
    runs: list[Any] = []

    async def function(key: int) -> None:
        runs.append(key)
        raise ValueError(key)

    cached = decorated(peer, function)
    for _ in range(2):
        await asyncio.gather(cached(1), return_exceptions=True)
    return runs == [1, 1]


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


@check("Types can be told apart")
async def typed(peer: Peer) -> bool:
    runs: list[Any] = []

    async def function(a: Any, b: Any) -> int:
        runs.append(a)
        return 1

    cached = decorated(peer, function, typed=True)
    for key in (1, 1.0, True) * 2:
        await cached(key, b=key)
    return runs == [1, 1, 1]


@check("The least recently used goes first")
async def order(peer: Peer) -> bool:
    runs: list[int] = []

    async def function(key: int) -> int:
        runs.append(key)
        return key

    cached = decorated(peer, function, maxsize=2)
    for key in (1, 2, 1, 3, 1, 2):
        await cached(key)
    return runs == [1, 2, 3, 2]


@check("A ttl")
async def ttl(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1)
    slow.go_on.set()
    await slow.cached(1)
    await slow.cached(1)
    await asyncio.sleep(1.2)
    await slow.cached(1)
    return slow.runs == [1, 1]


@check("... with jitter")
async def jitter(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1, jitter=1)
    slow.go_on.set()
    await slow.cached(1)
    return slow.runs == [1]


@check("... counted from the end of the run")
async def ttl_from_the_end(peer: Peer) -> bool:
    slow = Slow(peer, ttl=1)
    call = await slow.start()
    await asyncio.sleep(0.6)
    slow.go_on.set()
    await call
    await asyncio.sleep(0.6)
    await slow.cached(1)
    return slow.runs == [1]


@check("... whose values leave memory without a call")
async def ttl_frees(peer: Peer) -> bool:
    async def function(key: int) -> Value:
        return Value()

    cached = decorated(peer, function, ttl=1)
    value = weakref.ref(await cached(1))
    require(value() is not None, "the value itself")
    await asyncio.sleep(1.2)
    gc.collect()
    return value() is None


@check("An evicted value is freed at once")
async def eviction_frees(peer: Peer) -> bool:
    async def function(key: int) -> Value:
        return Value()

    cached = decorated(peer, function, maxsize=1)
    value = weakref.ref(await cached(1))
    require(value() is not None, "the value itself")
    await cached(2)
    return value() is None


@check("A run for its own arguments raises rather than hangs")
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


@check("The function runs in a task of its own")
async def context(peer: Peer) -> bool:
    tasks: list[Any] = []

    async def function(key: int) -> int:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        return key

    await decorated(peer, function)(1)
    return tasks[0] is not asyncio.current_task()


@check("``iscoroutinefunction`` and the signature are the function's")
async def introspection(peer: Peer) -> bool:
    async def function(key: int, *, other: str = "") -> int:
        return key

    cached = decorated(peer, function)
    same = inspect.signature(cached) == inspect.signature(function)
    return inspect.iscoroutinefunction(cached) and same


@check("Methods find the entries of their instance")
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


def ignore(_: object, __: object) -> None:
    """Ignore what the event loop reports."""


def result(peer: Peer, checked: Check) -> str:
    """Return the text of a cell."""

    async def run() -> bool:
        asyncio.get_running_loop().set_exception_handler(ignore)
        return await asyncio.wait_for(checked(peer), SECONDS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return YES if asyncio.run(run()) else NO
        except Lacks:
            return UNKNOWN
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # any failure is a no
            print(f"  {peer.name}: {error!r}", file=sys.stderr)
            return NO


def table(peers: list[Peer]) -> str:
    """Return the table as reStructuredText."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :stub-columns: 1",
        "   :class: comparison",
        "",
    ]
    rows = [["", *(f"{peer.name} {peer.version}".strip() for peer in peers)]]
    for text, checked in CHECKS.items():
        print(text, file=sys.stderr)
        rows.append([text, *(result(peer, checked) for peer in peers)])
    for row in rows:
        for first, cell in zip([True] + [False] * len(row), row, strict=False):
            lines.append(f"   {'*' if first else ' '} - {cell}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check all peers and write the table."""
    peers: list[Peer] = []
    for peer in PEERS:
        if peer.module is None or peer.sync:
            continue
        peer.load()
        peers.append(peer)
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(peers)}\n{END}{after}")


if __name__ == "__main__":
    main()
