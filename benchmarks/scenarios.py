"""The scenarios: what is measured, in the same way for every peer.

A scenario prepares a cache, does one thing many times and returns the cost of each.
It raises Failed when the cache did not do what was to be measured. Time is CPU time of
the process, so that other processes on the machine disturb less.
"""

import asyncio
import functools
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from inspect import iscoroutinefunction
from math import inf
from multiprocessing import get_context
from typing import Any, NamedTuple

from peers import Lacks, Options, Peer, require

Measure = Callable[[Peer], Awaitable[float]]

#: Windows counts CPU time in steps of 16 ms.
clock = time.perf_counter_ns if sys.platform == "win32" else time.process_time_ns

HOUR = 3600.0


class Faster(NamedTuple):
    """async-lru takes at least so many times as much, on CPython 3.13 and 3.11."""

    on_313: float
    on_311: float


class AtMost(NamedTuple):
    """No more than this, or no more than so many times the figure of a scenario."""

    limit: float
    of: str | None = None


class Scenario(NamedTuple):
    """Something to measure."""

    name: str
    measure: Measure
    unit: str
    #: What this package promises.
    floor: Faster | AtMost | None
    #: Whether its figure hardly differs between rounds, so that two of them will do.
    steady: bool
    #: Whether it takes long: two rounds, for async-lru and this package alone.
    large: bool


SCENARIOS: list[Scenario] = []


class Failed(Exception):
    """A cache did not do what was to be measured."""


def check(happened: bool, what: str) -> None:
    """Raise Failed unless *happened*."""
    if not happened:
        raise Failed(what)


def scenario(
    name: str,
    *,
    unit: str = "ns",
    floor: Faster | AtMost | None = None,
    steady: bool = False,
    large: bool = False,
) -> Callable[[Measure], Measure]:
    """Name a scenario."""

    def decorate(measure: Measure) -> Measure:
        SCENARIOS.append(Scenario(name, measure, unit, floor, steady, large))
        return measure

    return decorate


class Counted:
    """A function to be cached, and how often it has run."""

    def __init__(self, peer: Peer, *, suspends: bool = False, **options: Any) -> None:
        self.runs = 0

        async def two(number: int, other: int) -> int:
            self.runs += 1
            return number + 1

        async def one(number: int) -> int:
            self.runs += 1
            return number + 1

        async def suspending(number: int) -> int:
            self.runs += 1
            await asyncio.sleep(0)
            return number + 1

        def plain(number: int) -> int:
            self.runs += 1
            return number + 1

        takes_two = options.pop("two", False)
        function: Any = suspending if suspends else two if takes_two else one
        if peer.sync:
            require(not suspends and not takes_two, "await")
            function = plain
        self.call = peer.decorate(function, Options(**options))

    def has(self, method: str) -> Any:
        """Return a method of the cache, or raise Lacks."""
        found = getattr(self.call, method, None)
        if found is None:
            raise Lacks(method)
        return found


def not_for(peer: Peer, *names: str) -> None:
    """Raise Lacks if *peer* has one of these names."""
    require(peer.name not in names, "a cache")


# A realistic mix: 64 workers ask for keys of which few are asked for often

WORKERS = 64
IO = 0.001
CALLS = 20_000


@functools.cache
def zipf_keys() -> list[int]:
    """Return the same keys each time: 5,000 of them, with Zipf's distribution."""
    numbers = range(5000)
    weights = [(number + 1) ** -1.2 for number in numbers]
    # As many to fill the cache as are measured.
    return random.Random(1).choices(numbers, weights, k=2 * CALLS)  # noqa: S311


async def mix(peer: Peer) -> tuple[float, float]:
    """Return nanoseconds of CPU time per call, and misses per 1,000 calls."""
    not_for(peer, "functools (sync)", "uncached", "minimal wrapper")
    runs = 0

    async def load(number: int) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(IO)
        return number

    call = peer.decorate(load, Options(maxsize=1100))

    async def worker(keys: Any) -> int:
        total = 0
        for key in keys:
            total += await call(key)
        return total

    async def work(keys: list[int]) -> None:
        shared = iter(keys)
        totals = await asyncio.gather(*(worker(shared) for _ in range(WORKERS)))
        check(sum(totals) == sum(keys), "a call got a wrong result")

    keys = zipf_keys()
    await work(keys[:CALLS])
    before = runs
    started = clock()
    await work(keys[CALLS:])
    elapsed = clock() - started
    return elapsed / CALLS, (runs - before) / CALLS * 1000


@scenario("mix, CPU time per call")
async def mix_time(peer: Peer) -> float:
    return (await mix(peer))[0]


@scenario("mix, misses per 1,000 calls", unit="misses", steady=True)
async def mix_misses(peer: Peer) -> float:
    return (await mix(peer))[1]


# Cached calls inside a cached call

INNER = 20
OUTER = 50


@scenario("miss gathered with 19 others in a cached call", floor=Faster(1.35, 1.2))
async def gathered(peer: Peer) -> float:
    not_for(peer, "functools (sync)", "minimal wrapper")
    inner = Counted(peer, maxsize=1000, suspends=True)
    call = inner.call

    async def gathering(number: int) -> int:
        first = number * INNER
        return sum(await asyncio.gather(*[call(first + i) for i in range(INNER)]))

    outer = peer.decorate(gathering, Options(maxsize=100))
    for number in range(5):
        await outer(number)
    before = inner.runs
    started = clock()
    for number in range(5, 5 + OUTER):
        await outer(number)
    elapsed = clock() - started
    check(inner.runs - before == OUTER * INNER, "a miss did not run the function")
    return elapsed / (OUTER * INNER)


# Hits

HITS = 2000
KEYS = 500


async def time_hits(peer: Peer, **options: Any) -> float:
    """Time hits of a function of one int."""
    counted = Counted(peer, **options)
    call = counted.call
    if peer.sync:
        for number in range(KEYS):
            call(number)
        started = clock()
        for _ in range(HITS // KEYS):
            for number in range(KEYS):
                call(number)
        return (clock() - started) / HITS
    for number in range(KEYS):
        await call(number)
    started = clock()
    for _ in range(HITS // KEYS):
        for number in range(KEYS):
            await call(number)
    elapsed = clock() - started
    check(counted.runs == KEYS or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, one int", floor=Faster(2.1, 1.6))
async def hit(peer: Peer) -> float:
    return await time_hits(peer, maxsize=1024)


@scenario("hit, ttl", floor=Faster(1.5, 1.25))
async def hit_ttl(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_hits(peer, maxsize=1024, ttl=HOUR)


@scenario("hit, two arguments", floor=Faster(2.8, 2.1))
async def hit_two(peer: Peer) -> float:
    counted = Counted(peer, maxsize=1024, two=True)
    call = counted.call
    await call(1, 2)
    started = clock()
    for _ in range(HITS // 10):  # ten a turn, so that the turn itself weighs little
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
        await call(1, 2)
    elapsed = clock() - started
    check(counted.runs == 1 or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, keywords", floor=Faster(2.4, 1.5))
async def hit_keywords(peer: Peer) -> float:
    counted = Counted(peer, maxsize=1024, two=True)
    call = counted.call
    await call(number=1, other=2)
    started = clock()
    for _ in range(HITS // 10):  # ten a turn, so that the turn itself weighs little
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
        await call(number=1, other=2)
    elapsed = clock() - started
    check(counted.runs == 1 or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, typed", floor=Faster(2.4, 1.9))
async def hit_typed(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_hits(peer, maxsize=1024, typed=True)


@scenario("hit, method", floor=Faster(3.8, 2.8))
async def hit_method(peer: Peer) -> float:
    not_for(peer, "functools (sync)")
    runs: list[int] = []

    class Service:
        async def method(self, number: int) -> int:
            runs.append(number)
            return number

    Service.method = peer.decorate(Service.method, Options(maxsize=1024))  # type: ignore[method-assign]  # as the decorator does
    service = Service()
    for number in range(KEYS):
        await service.method(number)
    started = clock()
    for _ in range(HITS // KEYS):
        for number in range(KEYS):
            await service.method(number)
    elapsed = clock() - started
    check(len(runs) == KEYS or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


# Methods of many instances

INSTANCES = 2000


async def time_instances(service: Any) -> tuple[float, float]:
    """Return the time of the first call of each new instance, and that of hits."""
    started = clock()
    services = [service() for _ in range(INSTANCES)]
    for each in services:
        await each.method(1)
    first = (clock() - started) / INSTANCES
    check(service.runs == INSTANCES, "instances shared a value")
    fastest = inf
    for _ in range(3):
        started = clock()
        for each in services:
            await each.method(1)
        fastest = min(fastest, clock() - started)
    check(service.runs == INSTANCES, "a hit ran the function")
    return first, fastest / INSTANCES


async def time_shared(peer: Peer) -> tuple[float, float]:
    """Time one cache for all instances."""
    not_for(peer, "functools (sync)", "uncached")

    class Service:
        runs = 0

        async def method(self, number: int) -> int:
            Service.runs += 1
            return number

    options = Options(maxsize=INSTANCES)
    Service.method = peer.decorate(Service.method, options)  # type: ignore[method-assign]  # as the decorator does
    return await time_instances(Service)


async def time_per_instance(peer: Peer) -> tuple[float, float]:
    """Time a cache for each instance; peers without an option decorate anew for each."""
    not_for(peer, "functools (sync)", "uncached", "minimal wrapper")

    class Service:
        runs = 0

        async def method(self, number: int) -> int:
            Service.runs += 1
            return number

    class DecoratingService(Service):
        def __init__(self) -> None:
            self.method = peer.decorate(super().method, Options(maxsize=128))  # type: ignore[method-assign]  # what users do

    options = Options(maxsize=128, per_instance=True)
    try:
        Service.method = peer.decorate(Service.method, options)  # type: ignore[method-assign]  # as the decorator does
    except Lacks:
        return await time_instances(DecoratingService)
    return await time_instances(Service)


@scenario("hit, method, 2,000 instances share a cache")
async def hit_shared(peer: Peer) -> float:
    return (await time_shared(peer))[1]


@scenario(
    "hit, method, 2,000 instances with a cache each",
    floor=AtMost(2, of="hit, method, 2,000 instances share a cache"),
)
async def hit_per_instance(peer: Peer) -> float:
    return (await time_per_instance(peer))[1]


@scenario("first call of an instance with a cache of its own")
async def first_of_instance(peer: Peer) -> float:
    return (await time_per_instance(peer))[0]


# Misses

#: So many that the first of them do not count: the collection of garbage before has
#: emptied Python's free lists.
MISSES = 3000


async def time_misses(peer: Peer, **options: Any) -> float:
    """Time misses that evict the oldest value each."""
    not_for(peer, "functools (sync)", "minimal wrapper")
    counted = Counted(peer, **options)
    call = counted.call
    for number in range(100):
        await call(-1 - number)
    await asyncio.sleep(0.001)
    before = counted.runs
    started = clock()
    for number in range(MISSES):
        await call(number)
    elapsed = clock() - started
    check(counted.runs - before == MISSES, "a miss did not run the function")
    return elapsed / MISSES


@scenario("miss, suspends once", floor=Faster(1.55, 1.2))
async def miss_suspending(peer: Peer) -> float:
    return await time_misses(peer, maxsize=100, suspends=True)


@scenario("miss with ttl, suspends once", floor=Faster(1.6, 1.25))
async def miss_ttl(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_misses(peer, maxsize=100, ttl=HOUR, suspends=True)


@scenario("miss, never suspends", floor=Faster(3, 1.25))
async def miss(peer: Peer) -> float:
    return await time_misses(peer, maxsize=100)


@scenario("join of a run in flight, per caller", floor=Faster(1.5, 1.35))
async def join(peer: Peer) -> float:
    not_for(peer, "functools (sync)", "uncached", "minimal wrapper")
    counted = Counted(peer, maxsize=100, suspends=True)
    call = counted.call
    started = clock()
    await asyncio.gather(*[call(1) for _ in range(1000)])
    elapsed = clock() - started
    check(counted.runs == 1, "concurrent calls did not share a run")
    return elapsed / 1000


# The end of a value


@scenario("cache_invalidate", floor=Faster(1.15, 1.1))
async def invalidate(peer: Peer) -> float:
    not_for(peer, "functools (sync)")
    counted = Counted(peer, maxsize=1000)
    drop = counted.has("cache_invalidate")
    require(not iscoroutinefunction(drop), "a synchronous cache_invalidate")
    for number in range(1000):
        await counted.call(number)
    await asyncio.sleep(0.001)
    started = clock()
    for number in range(1000):
        drop(number)
    elapsed = clock() - started
    await counted.call(1)
    check(counted.runs == 1001, "invalidation did not drop the value")
    return elapsed / 1000


EXPIRED = 20_000


@scenario("20,000 values until all have expired, each", floor=Faster(3, 1.25))
async def expire(peer: Peer) -> float:
    counted = Counted(peer, maxsize=None, ttl=0.01)
    call = counted.call
    info = counted.has("cache_info")
    started = clock()
    for number in range(EXPIRED):
        await call(number)
    deadline = time.monotonic() + 10
    while info().currsize:
        await asyncio.sleep(0)
        check(time.monotonic() < deadline, "values did not expire by themselves")
    return (clock() - started) / EXPIRED


@scenario(
    "longest stall while 200,000 values expire", unit="ms", floor=AtMost(10), large=True
)
async def stall(peer: Peer) -> float:
    loop = asyncio.get_running_loop()
    ahead = 0.0
    real_time = loop.time
    loop.time = lambda: real_time() + ahead  # type: ignore[method-assign]  # the clock of the test
    counted = Counted(peer, maxsize=None, ttl=HOUR)
    for number in range(200_000):
        await counted.call(number)
    await asyncio.sleep(0)
    ahead = HOUR  # as if an hour had passed at once
    longest = 0
    before = clock()
    for _ in range(2000):  # turns of the loop, more than the expirations take
        await asyncio.sleep(0)
        now = clock()
        longest = max(longest, now - before)
        before = clock()
    check(counted.has("cache_info")().currsize == 0, "values were left")
    return longest / 1e6


# Memory

VALUES = 20_000


async def bytes_per_value(peer: Peer, **options: Any) -> float:
    """Return the memory that a cache takes for each value.

    tracemalloc sees what Python allocates, and so not what cachebox does in Rust.
    """
    not_for(peer, "uncached", "functools (sync)", "minimal wrapper")
    require(peer.name != "cachebox", "memory that tracemalloc sees")
    require(sys.implementation.name == "cpython", "tracemalloc")
    numbers = list(range(10**6, 10**6 + VALUES))
    counted = Counted(peer, **options)
    await counted.call(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in numbers:
            await counted.call(number)
        await asyncio.sleep(0.01)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    check(counted.runs == VALUES + 1, "a miss did not run the function")
    return held / VALUES


@scenario("memory of a value", unit="bytes", floor=Faster(5, 5), steady=True)
async def memory(peer: Peer) -> float:
    return await bytes_per_value(peer, maxsize=VALUES + 1)


@scenario("memory of a value with ttl", unit="bytes", floor=Faster(4, 4), steady=True)
async def memory_ttl(peer: Peer) -> float:
    return await bytes_per_value(peer, maxsize=VALUES + 1, ttl=HOUR)


# Scale


async def time_at_scale(peer: Peer, values: int, *, hits: bool) -> float:
    """Time hits of 1,000 values all over a large cache, or misses that evict."""
    counted = Counted(peer, maxsize=values)
    call = counted.call
    for number in range(values):
        await call(number)
    before = counted.runs
    fastest = inf
    for turn in range(5):
        first = 0 if hits else values * (turn + 1)
        numbers = range(first, first + values, values // 1000)[:1000]
        started = clock()
        for number in numbers:
            await call(number)
        fastest = min(fastest, clock() - started)
    check(counted.runs - before == (0 if hits else 5000), "hits and misses")
    return fastest / 1000


for _hits in (True, False):
    _what = "hit" if _hits else "miss"
    for _values in (1_000, 1_000_000):
        scenario(
            f"{_what} among {_values:,} values",
            floor=AtMost(1.5, f"{_what} among 1,000 values")
            if _values > 1000
            else None,
            large=True,
        )(functools.partial(time_at_scale, values=_values, hits=_hits))


# Decorating


async def decorate_and_call(peer: Peer) -> float:
    """Return the microseconds it takes to decorate a function and to call it once."""

    async def function(number: int) -> int:
        return number

    options = Options(maxsize=128)
    started = clock()
    await peer.decorate(function, options)(1)
    return (clock() - started) / 1000


def first_in_process(peer: Peer) -> float:
    """Return what the first function of a process costs."""
    peer.load()
    return asyncio.run(decorate_and_call(peer))


@scenario("decoration and call of the first function", unit="us", floor=AtMost(1000))
async def decorate_first(peer: Peer) -> float:
    not_for(peer, "functools (sync)", "uncached", "minimal wrapper")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(first_in_process, replace(peer)).result()


@scenario("decoration and call of a further function", unit="us", floor=AtMost(100))
async def decorate_further(peer: Peer) -> float:
    not_for(peer, "functools (sync)", "uncached", "minimal wrapper")
    return sum([await decorate_and_call(peer) for _ in range(100)]) / 100
