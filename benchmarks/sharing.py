"""Measure what shared=True costs and gives: part of ``make benchmark``.

Hits and misses of a shared cache beside those of an unshared one, in turn, the minimum
of the rounds; hits per second with one loop in each of several threads; and how often
second chance, by which shared caches evict, hits where LRU would.

    PYTHON_GIL=0 python3.13t benchmarks/sharing.py

does it on free-threaded Python, where hits of several threads do not take turns.
"""

import asyncio
import functools
import platform
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from async_lru import alru_cache

Cached = Callable[[int], Awaitable[Any]]

ROUNDS = 200
CALLS = 2000
#: Of values that are hit, and of calls in the traces.
VALUES = 100
TRACE = 200_000


def main() -> None:
    """Print all tables."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {platform.python_version()}, {'with' if gil else 'without'} the GIL")
    print_costs()
    print_threads()
    print_ratios()


# What it costs


def print_costs() -> None:
    """Compare shared caches with unshared ones."""
    print(f"\n{'ns':24}{'unshared':>10}{'shared':>10}{'ratio':>10}")
    for name, options, measure in (
        ("hit", {}, hit),
        ("hit with ttl", {"ttl": 3600}, hit),
        ("miss, suspends once", {}, miss),
        ("miss with ttl", {"ttl": 3600}, miss),
    ):
        best = [float("inf"), float("inf")]
        for _ in range(ROUNDS if measure is hit else ROUNDS // 10):
            for place, shared in enumerate((False, True)):
                cost = asyncio.run(measure({**options, "shared": shared}))
                best[place] = min(best[place], cost)
        unshared, shared_cost = best
        ratio = shared_cost / unshared
        print(f"{name:24}{unshared:10.0f}{shared_cost:10.0f}{ratio:10.2f}")


async def hit(options: dict[str, Any]) -> float:
    """Return the nanoseconds of a hit."""
    function = alru_cache(**options)(number)
    for value in range(VALUES):
        await function(value)
    begun = time.thread_time_ns()
    for _ in range(CALLS // VALUES):
        for value in range(VALUES):
            await function(value)
    return (time.thread_time_ns() - begun) / CALLS


async def miss(options: dict[str, Any]) -> float:
    """Return the nanoseconds of a miss that evicts a value."""
    function = alru_cache(**options)(number_later)
    for value in range(VALUES * 2):
        await function(value)
    begun = time.thread_time_ns()
    for value in range(VALUES * 2, VALUES * 2 + CALLS):
        await function(value)
    return (time.thread_time_ns() - begun) / CALLS


async def number(value: int) -> int:
    return value


async def number_later(value: int) -> int:
    await asyncio.sleep(0)
    return value


# What it gives


def print_threads() -> None:
    """Count hits with a loop in each of several threads."""
    print("\nmillion hits per second")
    for threads in (1, 2, 4):
        best = max(hits_per_second(threads) for _ in range(5))
        print(f"{threads} thread{'s' * (threads > 1)} {best / 1e6:10.2f}")


def hits_per_second(number_of_threads: int) -> float:
    """Return how many hits all threads have together, each of its own keys."""
    function = alru_cache(maxsize=None, shared=True)(number)
    barrier = threading.Barrier(number_of_threads + 1)
    calls = 200_000

    async def call(first: int) -> None:
        keys = range(first, first + VALUES)
        for value in keys:
            await function(value)
        barrier.wait()
        for _ in range(calls // VALUES):
            for value in keys:
                await function(value)

    def work(first: int) -> None:
        asyncio.run(call(first))

    threads = [
        threading.Thread(target=work, args=(place * VALUES,))
        for place in range(number_of_threads)
    ]
    for thread in threads:
        thread.start()
    barrier.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return number_of_threads * calls / (time.perf_counter() - begun)


# How often it hits


def print_ratios() -> None:
    """Compare second chance with LRU on traces of calls."""
    print(f"\n{'hits, maxsize 500':24}{'LRU':>10}{'shared':>10}{'points':>10}")
    for name, trace in traces():
        lru = functools.lru_cache(maxsize=500)(abs)
        for value in trace:
            lru(value)
        theirs = lru.cache_info().hits / len(trace) * 100
        ours = asyncio.run(hits_of(trace)) / len(trace) * 100
        print(f"{name:24}{theirs:9.1f}%{ours:9.1f}%{ours - theirs:+10.1f}")


def traces() -> Iterable[tuple[str, list[int]]]:
    """Yield the names of traces, and the arguments of their calls."""
    chance = random.Random(2)  # noqa: S311  # no secret
    ranks = range(5000)
    weights = [1 / (rank + 1) for rank in ranks]
    zipf = chance.choices(ranks, weights, k=TRACE)
    yield "Zipf", zipf
    scans: list[int] = []
    for first in range(0, TRACE, 4000):
        scans += zipf[first : first + 3000]
        scans += range(10_000 + first, 11_000 + first)
    yield "Zipf with scans", scans
    yield "Zipf that drifts", [rank + place // 100 for place, rank in enumerate(zipf)]


async def hits_of(trace: list[int]) -> int:
    """Return how many calls of the trace are hits of a shared cache."""
    function = alru_cache(maxsize=500, shared=True)(number)
    for value in trace:
        await function(value)
    return function.cache_info().hits


if __name__ == "__main__":
    main()
