"""What is measured, the same for every peer, with a check that it took place.

A scenario prepares a cache, does a thing many times, and returns the nanoseconds that
each took. It raises Failed when the cache did not do what was to be measured.
"""

import asyncio
import functools
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from math import inf
from time import perf_counter_ns
from typing import Any, NamedTuple

from peers import Lacks, Options, Peer, require

Measure = Callable[[Peer], Awaitable[float]]

HOUR = 3600.0


class Scenario(NamedTuple):
    """Something to measure."""

    name: str
    measure: Measure
    unit: str
    #: Whether it is long enough to be done twice, and needs no more peers than two.
    large: bool


SCENARIOS: list[Scenario] = []


class Failed(Exception):
    """A cache did not do what was to be measured."""


def check(happened: bool, what: str) -> None:
    """Raise Failed unless *happened*."""
    if not happened:
        raise Failed(what)


def scenario(
    name: str, *, unit: str = "ns", large: bool = False
) -> Callable[[Measure], Measure]:
    """Name a scenario."""

    def decorate(measure: Measure) -> Measure:
        SCENARIOS.append(Scenario(name, measure, unit, large))
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

        self.two = options.pop("two", False)
        function: Any = suspending if suspends else two if self.two else one
        if peer.sync:
            require(not suspends and not self.two, "await")
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
        started = perf_counter_ns()
        for _ in range(HITS // KEYS):
            for number in range(KEYS):
                call(number)
        return (perf_counter_ns() - started) / HITS
    for number in range(KEYS):
        await call(number)
    started = perf_counter_ns()
    for _ in range(HITS // KEYS):
        for number in range(KEYS):
            await call(number)
    elapsed = perf_counter_ns() - started
    check(counted.runs == KEYS or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit")
async def hit(peer: Peer) -> float:
    return await time_hits(peer, maxsize=1024)


@scenario("hit, unbounded")
async def hit_unbounded(peer: Peer) -> float:
    return await time_hits(peer, maxsize=None)


@scenario("hit, ttl")
async def hit_ttl(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_hits(peer, maxsize=1024, ttl=HOUR)


@scenario("hit, typed")
async def hit_typed(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_hits(peer, maxsize=1024, typed=True)


@scenario("hit, two arguments")
async def hit_two(peer: Peer) -> float:
    counted = Counted(peer, maxsize=1024, two=True)
    call = counted.call
    await call(1, 2)
    started = perf_counter_ns()
    for _ in range(HITS // 10):  # ten a turn: the turn itself is no part of a hit
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
    elapsed = perf_counter_ns() - started
    check(counted.runs == 1 or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, keywords")
async def hit_keywords(peer: Peer) -> float:
    counted = Counted(peer, maxsize=1024, two=True)
    call = counted.call
    await call(number=1, other=2)
    started = perf_counter_ns()
    for _ in range(HITS // 10):  # ten a turn: the turn itself is no part of a hit
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
    elapsed = perf_counter_ns() - started
    check(counted.runs == 1 or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, method")
async def hit_method(peer: Peer) -> float:
    not_for(peer, "functools (sync)")
    runs: list[int] = []

    class Service:
        async def method(self, number: int) -> int:
            runs.append(number)
            return number

    Service.method = peer.decorate(Service.method, Options(maxsize=1024))  # type: ignore[method-assign]
    service = Service()
    for number in range(KEYS):
        await service.method(number)
    started = perf_counter_ns()
    for _ in range(HITS // KEYS):
        for number in range(KEYS):
            await service.method(number)
    elapsed = perf_counter_ns() - started
    check(len(runs) == KEYS or peer.name == "uncached", "a hit ran the function")
    return elapsed / HITS


@scenario("hit, 1000 concurrent calls")
async def hit_concurrent(peer: Peer) -> float:
    not_for(peer, "functools (sync)")
    counted = Counted(peer, maxsize=1024)
    call = counted.call
    for number in range(1000):
        await call(number)
    started = perf_counter_ns()
    await asyncio.gather(*[call(number) for number in range(1000)])
    elapsed = perf_counter_ns() - started
    check(counted.runs == 1000 or peer.name == "uncached", "a hit ran the function")
    return elapsed / 1000


# Misses

#: So many that the first of them, after a collection of garbage that has emptied
#: Python's free lists, do not count.
MISSES = 3000


async def time_misses(peer: Peer, **options: Any) -> float:
    """Time misses that evict the oldest entry each."""
    not_for(peer, "functools (sync)", "floor")
    counted = Counted(peer, **options)
    call = counted.call
    for number in range(100):
        await call(-1 - number)
    await asyncio.sleep(0.001)
    before = counted.runs
    started = perf_counter_ns()
    for number in range(MISSES):
        await call(number)
    elapsed = perf_counter_ns() - started
    check(counted.runs - before == MISSES, "a miss did not run the function")
    return elapsed / MISSES


@scenario("miss with eviction, never suspends")
async def miss(peer: Peer) -> float:
    return await time_misses(peer, maxsize=100)


@scenario("miss with eviction, suspends once")
async def miss_suspending(peer: Peer) -> float:
    return await time_misses(peer, maxsize=100, suspends=True)


@scenario("miss with ttl and eviction, never suspends")
async def miss_ttl(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_misses(peer, maxsize=100, ttl=HOUR)


@scenario("miss, unbounded, never suspends")
async def fill(peer: Peer) -> float:
    not_for(peer, "uncached")
    return await time_misses(peer, maxsize=None)


@scenario("join of a run in flight")
async def join(peer: Peer) -> float:
    not_for(peer, "functools (sync)", "uncached", "floor")
    counted = Counted(peer, maxsize=100, suspends=True)
    call = counted.call
    started = perf_counter_ns()
    await asyncio.gather(*[call(1) for _ in range(1000)])
    elapsed = perf_counter_ns() - started
    check(counted.runs == 1, "concurrent calls did not share a run")
    return elapsed / 1000


# Everything else that a cache does


async def filled(peer: Peer, **options: Any) -> Counted:
    """Return a cache with an entry for each of the first numbers."""
    not_for(peer, "functools (sync)")
    counted = Counted(peer, **options)
    for number in range(1000):
        await counted.call(number)
    await asyncio.sleep(0.001)
    return counted


@scenario("cache_invalidate")
async def invalidate(peer: Peer) -> float:
    counted = await filled(peer, maxsize=1000)
    drop = counted.has("cache_invalidate")
    require(not iscoroutinefunction(drop), "a synchronous cache_invalidate")
    started = perf_counter_ns()
    for number in range(1000):
        drop(number)
    elapsed = perf_counter_ns() - started
    await counted.call(1)
    check(counted.runs == 1001, "invalidation did not drop the entry")
    return elapsed / 1000


@scenario("cache_contains")
async def contains(peer: Peer) -> float:
    counted = await filled(peer, maxsize=1000)
    has = counted.has("cache_contains")
    started = perf_counter_ns()
    for number in range(1000):
        has(number)
    elapsed = perf_counter_ns() - started
    check(has(1) and not has(1000), "contains was wrong")
    return elapsed / 1000


@scenario("cache_info")
async def info(peer: Peer) -> float:
    counted = await filled(peer, maxsize=1000)
    tell = counted.has("cache_info")
    check(tell().misses == 1000, "info was wrong")
    started = perf_counter_ns()
    for _ in range(1000):
        tell()
    return (perf_counter_ns() - started) / 1000


@scenario("cache_clear, per entry")
async def clear(peer: Peer) -> float:
    counted = await filled(peer, maxsize=1000)
    drop = counted.has("cache_clear")
    require(not iscoroutinefunction(drop), "a synchronous cache_clear")
    started = perf_counter_ns()
    drop()
    elapsed = perf_counter_ns() - started
    await counted.call(1)
    check(counted.runs == 1001, "clear did not drop the entries")
    return elapsed / 1000


EXPIRED = 20_000


@scenario("20,000 insertions with a ttl until all have expired")
async def expire(peer: Peer) -> float:
    counted = Counted(peer, maxsize=None, ttl=0.01)
    call = counted.call
    tell = counted.has("cache_info")
    started = perf_counter_ns()
    for number in range(EXPIRED):
        await call(number)
    deadline = started + 10**10
    while tell().currsize:
        await asyncio.sleep(0)
        check(perf_counter_ns() < deadline, "entries did not expire by themselves")
    return (perf_counter_ns() - started) / EXPIRED


# Memory, in bytes per entry

ENTRIES = 20_000


async def bytes_per_entry(peer: Peer, entries: int, kept: int, **options: Any) -> float:
    """Return the memory of a cache after *entries* insertions, for each that is kept.

    tracemalloc sees what Python allocates, so not what cachebox does in Rust.
    """
    not_for(peer, "uncached", "functools (sync)", "floor")
    require(peer.name != "cachebox", "memory that tracemalloc sees")
    numbers = list(range(10**6, 10**6 + entries))
    counted = Counted(peer, **options)
    others = (0,) if counted.two else ()
    await counted.call(0, *others)
    gc.collect()
    tracemalloc.start()
    try:
        for number in numbers:
            await counted.call(number, *others)
        await asyncio.sleep(0.01)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    check(counted.runs == entries + 1, "a miss did not run the function")
    return held / kept


@scenario("an entry, unbounded", unit="bytes")
async def memory(peer: Peer) -> float:
    return await bytes_per_entry(peer, ENTRIES, ENTRIES, maxsize=None)


@scenario("an entry, bounded", unit="bytes")
async def memory_bounded(peer: Peer) -> float:
    return await bytes_per_entry(peer, ENTRIES, ENTRIES, maxsize=ENTRIES + 1)


@scenario("an entry, bounded, two arguments", unit="bytes")
async def memory_two(peer: Peer) -> float:
    entries = ENTRIES
    return await bytes_per_entry(peer, entries, entries, maxsize=entries + 1, two=True)


@scenario("an entry with a ttl", unit="bytes")
async def memory_ttl(peer: Peer) -> float:
    return await bytes_per_entry(peer, ENTRIES, ENTRIES, maxsize=None, ttl=HOUR)


@scenario(
    "left of 100,000 entries with an hour to live, all but 10 evicted", unit="bytes"
)
async def memory_left(peer: Peer) -> float:
    return await bytes_per_entry(peer, 100_000, 1, maxsize=10, ttl=HOUR)


# Scale


async def time_at_scale(peer: Peer, entries: int, *, hits: bool) -> float:
    """Time hits of 1,000 entries all over a large cache, or misses that evict."""
    counted = Counted(peer, maxsize=entries)
    call = counted.call
    for number in range(entries):
        await call(number)
    before = counted.runs
    fastest = inf
    for turn in range(5):
        first = 0 if hits else entries * (turn + 1)
        numbers = range(first, first + entries, entries // 1000)[:1000]
        started = perf_counter_ns()
        for number in numbers:
            await call(number)
        fastest = min(fastest, perf_counter_ns() - started)
    check(counted.runs - before == (0 if hits else 5000), "hits and misses")
    return fastest / 1000


for _entries in (1_000, 100_000, 1_000_000):
    for _hits in (True, False):
        scenario(
            f"{'hit' if _hits else 'miss'} among {_entries:,} entries", large=True
        )(functools.partial(time_at_scale, entries=_entries, hits=_hits))


@scenario("insertion of 1,000,000 entries with ttl and jitter", large=True)
async def insert_with_jitter(peer: Peer) -> float:
    counted = Counted(peer, maxsize=None, ttl=HOUR, jitter=HOUR)
    call = counted.call
    started = perf_counter_ns()
    for number in range(1_000_000):
        await call(number)
    elapsed = perf_counter_ns() - started
    check(counted.has("cache_info")().currsize == 1_000_000, "entries are missing")
    return elapsed / 1_000_000


@scenario("longest stall while 200,000 entries expire at once", unit="ms", large=True)
async def stall(peer: Peer) -> float:
    loop = asyncio.get_running_loop()
    ahead = 0.0
    real_time = loop.time
    loop.time = lambda: real_time() + ahead  # type: ignore[method-assign]
    counted = Counted(peer, maxsize=None, ttl=HOUR)
    for number in range(200_000):
        await counted.call(number)
    await asyncio.sleep(0)
    ahead = HOUR  # as if an hour had passed at once
    longest = 0
    before = perf_counter_ns()
    for _ in range(2000):  # turns of the loop, more than the expirations take
        await asyncio.sleep(0)
        now = perf_counter_ns()
        longest = max(longest, now - before)
        before = perf_counter_ns()
    check(counted.has("cache_info")().currsize == 0, "entries were left")
    return longest / 1e6
