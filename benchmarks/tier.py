"""Measure the second tier: part of ``make benchmark``.

Everything uses one server, a Valkey from PyPI that is started for it. The cost of a call
is compared with that of a bare GET of the same client. The two are measured in turn, and
each figure is the median of a round's calls, in the best round. Then four processes ask for
five keys at once, with this library and with others: how often the function runs, how many
commands the server gets, and how long it takes. The commands are counted with MONITOR, in a
run that is not timed.

    python benchmarks/tier.py --profile

shows where the time of a hit of the second tier goes.
"""

import argparse
import asyncio
import cProfile
import importlib
import json
import os
import platform
import pstats
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from peers import FOLDER, ROOT, install

from async_lru import alru_cache

ROUNDS = 15
CALLS = 200
#: The herd: processes, calls of each, and keys.
PROCESSES, ASKS, KEYS = 4, 100, 5
#: Seconds that the function of the herd takes, and that the waiter sleeps.
WORK = 0.1
VALUE = {"name": "x" * 50, "numbers": list(range(10))}
RESULTS = Path(__file__).parent / "results"

#: The libraries to compare with, and what pip installs for each.
PEERS = {"cashews": "cashews[redis]", "aiocache": "aiocache[redis]"}

#: The limits: multiples of a GET, and microseconds for a miss in an outage.
FLOORS = {
    "second-tier hit": 2.5,
    "miss with its store": 5.0,
    "waiter in another process woken": 5.0,
}
OUTAGE = 100.0


async def load(key: int) -> dict[str, Any]:
    """Return a small value at once."""
    return VALUE


def tiered(url: str, namespace: str, **options: Any) -> Any:
    """Return a function with a first tier of its own, like that of another process."""
    from async_lru.redis import RedisTier  # noqa: PLC0415  # peers have none

    tier = RedisTier(url, namespace=namespace, **options)
    return alru_cache(maxsize=None, ttl=600, tier=tier)(load)


# The costs of one call


async def times(call: Callable[[int], Any], first: int) -> float:
    """Return the median of the times that calls take, in seconds."""
    taken: list[float] = []
    for key in range(first, first + CALLS):
        begun = time.perf_counter()
        await call(key)
        taken.append(time.perf_counter() - begun)
    return median(taken)


async def costs(url: str) -> dict[str, float]:
    """Return the microseconds of a GET, a second-tier hit and a miss."""
    one, other = (tiered(url, "costs", timeout=5.0) for _ in range(2))
    client = client_of(url)
    await client.set("value", json.dumps(VALUE))
    best: dict[str, float] = {}

    def get(_: int) -> Any:
        return client.get("value")

    calls: dict[str, Callable[[int], Any]] = {
        "GET": get,
        "miss with its store": one,
        "second-tier hit": other,
    }
    for turn in range(ROUNDS):
        first = turn * CALLS
        for name, call in calls.items():
            cost = await times(call, first) * 1e6
            best[name] = min(best.get(name, cost), cost)
    assert one.cache_stats().loads == ROUNDS * CALLS
    assert other.cache_stats().tier_hits == ROUNDS * CALLS
    await client.aclose()
    await one.cache_close()
    await other.cache_close()
    return best


def client_of(url: str) -> Any:
    """Return a client like the tier's."""
    return importlib.import_module("redis.asyncio").Redis.from_url(url)


async def first_tier_hits(url: str) -> tuple[float, float]:
    """Return the nanoseconds of a hit without a second tier, and with one."""
    plain, with_tier = alru_cache(maxsize=None, ttl=600)(load), tiered(url, "first")
    best = [float("inf")] * 2
    for function in (plain, with_tier):
        for key in range(CALLS):
            await function(key)
    for _ in range(100):
        for place, function in enumerate((plain, with_tier)):
            begun = time.thread_time_ns()
            for key in range(CALLS):
                await function(key)
            best[place] = min(best[place], (time.thread_time_ns() - begun) / CALLS)
    await with_tier.cache_close()
    return best[0], best[1]


async def outage(url: str, process: Any) -> tuple[float, float]:
    """Return the milliseconds of the first miss, and the microseconds of later ones."""
    function = tiered(url, "outage")
    await function(-1)
    process.send_signal(signal.SIGSTOP)
    try:
        begun = time.perf_counter()
        await function(-2)
        first = time.perf_counter() - begun
        best = min([await times(function, turn * CALLS) for turn in range(5)])
    finally:
        process.send_signal(signal.SIGCONT)
    await function.cache_close()
    return first * 1e3, best * 1e6


# A waiter in another process


def waiting(url: str, function: Any) -> Any:
    """Cache *function* under the name that the parent and the waiter share."""
    from async_lru.redis import RedisTier  # noqa: PLC0415  # peers have none

    function.__module__, function.__qualname__ = "benchmark", "work"
    tier = RedisTier(url, namespace="waiter", timeout=5.0)
    return alru_cache(maxsize=None, ttl=600, tier=tier)(function)


async def wake(url: str) -> tuple[float, float]:
    """Return the microseconds until a waiter gets the value, and of a GET after a sleep."""
    ends: dict[int, float] = {}

    async def work(key: int) -> int:
        await asyncio.sleep(WORK)
        ends[key] = time.monotonic()
        return key

    cached = waiting(url, work)
    waiter = await spawn("--waiter", url)
    woken: list[float] = []
    gets: list[float] = []
    for key in range(ROUNDS * 2):
        run = asyncio.ensure_future(cached(key))
        await asyncio.sleep(WORK / 5)
        woken.append(await ask(waiter, "call", key) - ends[key])
        await run
        gets.append(await ask(waiter, "get", key))
    waiter.stdin.close()
    await waiter.wait()
    await cached.cache_close()
    return median(woken) * 1e6, median(gets) * 1e6


async def be_waiter(url: str) -> None:
    """Call or GET as the parent says; print when the call ended, or how long GET took."""

    async def work(key: int) -> int:
        raise AssertionError("the parent runs it")

    cached = waiting(url, work)
    client = client_of(url)
    await client.get("value")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        what, key = json.loads(line)
        if what == "call":
            await cached(key)
            told = time.monotonic()
        else:
            await asyncio.sleep(WORK)
            begun = time.perf_counter()
            await client.get("value")
            told = time.perf_counter() - begun
        print(told, flush=True)
    await client.aclose()
    await cached.cache_close()


async def spawn(*arguments: str) -> Any:
    """Start this program with other arguments."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, *arguments), stdin=pipe, stdout=pipe
    )


async def ask(process: Any, *told: Any) -> Any:
    """Send a process a request, and return its answer."""
    process.stdin.write(json.dumps(told).encode() + b"\n")
    return json.loads(await process.stdout.readline())


# The herd


def ours(url: str) -> Callable[[Any], Any]:
    """Return async_lru's decorator, with a tier."""
    from async_lru.redis import RedisTier  # noqa: PLC0415  # peers have none

    tier = RedisTier(url, namespace="herd", timeout=5.0)
    return alru_cache(maxsize=100, ttl=60, tier=tier)


def cashews(url: str) -> Callable[[Any], Any]:
    """Return cashews' decorator, with its lock."""
    cache = importlib.import_module("cashews").Cache()
    cache.setup(url)
    decorate: Callable[[Any], Any] = cache(ttl=60, lock=True)
    return decorate


def aiocache(url: str) -> Callable[[Any], Any]:
    """Return aiocache's decorator, with its lock."""
    library = importlib.import_module("aiocache")
    host, _, port = url.removeprefix("redis://").partition(":")
    serializer = importlib.import_module("aiocache.serializers").JsonSerializer()
    decorate: Callable[[Any], Any] = library.cached_stampede(
        lease=5,
        ttl=60,
        cache=library.Cache.REDIS,
        endpoint=host,
        port=int(port),
        serializer=serializer,
    )
    return decorate


HERDS = {"async_lru 3": ours, "cashews": cashews, "aiocache": aiocache}


async def be_one_of_the_herd(name: str, url: str) -> None:
    """Ask for each key many times at once, when the parent says so."""
    runs = 0

    async def work(key: int) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(WORK)
        return key

    cached = HERDS[name](url)(work)
    await cached(-1 - os.getpid())  # to connect
    runs = 0
    print("ready", flush=True)
    sys.stdin.readline()
    calls = [cached(call % KEYS) for call in range(ASKS)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    right = sum(answers[call] == call % KEYS for call in range(ASKS))
    print(json.dumps([runs, right]), flush=True)
    os._exit(0)  # without closing the peers' connections


async def herd(name: str, server: Any) -> dict[str, float]:
    """Start a herd; return its runs, right answers and seconds."""
    command = ["--herd", name, server.url]
    processes = [await spawn(*command) for _ in range(PROCESSES)]
    for process in processes:
        await process.stdout.readline()
    begun = time.perf_counter()
    told = await asyncio.gather(*(ask(process, "go") for process in processes))
    seconds = time.perf_counter() - begun
    for process in processes:
        await process.wait()
    runs, right = (sum(column) for column in zip(*told, strict=True))
    return {"runs": runs, "right answers": right, "seconds": seconds}


async def commands_of_herd(name: str, server: Any) -> int:
    """Return how many commands the server gets from a herd, except those in scripts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"MONITOR\r\n")
    await reader.readline()
    await herd(name, server)
    count = 0
    writer.write(b"QUIT\r\n")
    while line := await reader.readline():
        count += b" lua] " not in line and b'"' in line
    return count


async def herds(server: Any) -> dict[str, dict[str, float]]:
    """Return the fastest of three herds of each library. The libraries take turns."""
    client = client_of(server.url)
    best: dict[str, dict[str, float]] = {}
    for _ in range(3):
        for name in HERDS:
            if name in PEERS and not is_installed(name):
                continue
            await client.flushall()
            found = await herd(name, server)
            if name not in best or found["seconds"] < best[name]["seconds"]:
                best[name] = found
    for name, found in best.items():
        await client.flushall()
        found["commands"] = await commands_of_herd(name, server)
    await client.aclose()
    return best


def is_installed(name: str) -> bool:
    """Install a peer on first use; return whether it is installed."""
    try:
        if not folder_of(name).exists():
            install(PEERS[name], folder_of(name))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def folder_of(name: str) -> Path:
    """Return where a peer is installed, with its client."""
    return FOLDER / f"{name}-redis"


# All of it


def main() -> None:
    """Measure, print the results and write them to a file."""
    options = parse()
    if options.waiter:
        asyncio.run(be_waiter(options.waiter))
        return
    if options.herd:
        name, url = options.herd
        if name in PEERS:
            sys.path.insert(0, str(folder_of(name)))
        asyncio.run(be_one_of_the_herd(name, url))
        return
    sys.path.insert(0, str(ROOT / "tests"))
    servers = importlib.import_module("servers")
    if not servers.PROGRAMS:
        print(f"The second tier is not measured: {servers.MISSING}.")
        return
    name = next(iter(servers.PROGRAMS))
    with servers.served(name) as server:
        if options.profile:
            profile(server.url)
        else:
            results = asyncio.run(measure(server))
            results["server"] = name
            print(table(results))
            write(results)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Measure the second tier.")
    parser.add_argument(
        "--profile", action="store_true", help="profile a second-tier hit"
    )
    parser.add_argument("--waiter", help=argparse.SUPPRESS)
    parser.add_argument("--herd", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


async def measure(server: Any) -> dict[str, Any]:
    """Measure everything and return the figures."""
    micros = await costs(server.url)
    woken, slept = await wake(server.url)
    first, later = await outage(server.url, server.process)
    plain, with_tier = await first_tier_hits(server.url)
    return {
        "python": platform.python_version(),
        "us": {
            **micros,
            "GET after a sleep": slept,
            "waiter in another process woken": woken,
            "miss in an outage": later,
        },
        "first miss in an outage, ms": first,
        "hit of the first tier, ns": {
            "without a tier": plain,
            "with a tier": with_tier,
        },
        "herd": await herds(server),
    }


def table(results: dict[str, Any]) -> str:
    """Return the figures as text to print."""
    micros = results["us"]
    hits = results["hit of the first tier, ns"]
    lines = [f"{'us':34}{'cost':>10}{'of a GET':>10}{'at most':>10}"]
    for name, cost in micros.items():
        floor = FLOORS.get(name)
        get = micros["GET after a sleep" if "woken" in name else "GET"]
        limit = f"{floor:9.1f}x" if floor else f"{OUTAGE:.0f} us" * ("outage" in name)
        lines.append(f"{name:34}{cost:10.1f}{cost / get:9.2f}x{limit:>10}")
    plain, with_tier = hits.values()
    lines += [
        "",
        f"first miss in an outage: {results['first miss in an outage, ms']:.0f} ms",
        f"hit of the first tier: {plain:.0f} ns without a tier, {with_tier:.0f} ns with one",
        "",
        f"{PROCESSES} processes x {ASKS} calls x {KEYS} keys, {WORK:g} s each",
        f"{'':20}{'runs':>8}{'right':>8}{'commands':>10}{'seconds':>10}",
    ]
    for name, found in results["herd"].items():
        counts = f"{found['runs']:8}{found['right answers']:8}{found['commands']:10}"
        lines.append(f"{name:20}{counts}{found['seconds']:10.3f}")
    return "\n".join(lines)


def write(results: dict[str, Any]) -> None:
    """Write the figures to a file beside those of the other comparison."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    path = RESULTS / f"{sys.implementation.name}-{version}-tier.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"Written: {path}")


def profile(url: str) -> None:
    """Print where the time of hits of the second tier goes."""

    async def hits() -> None:
        one, other = (tiered(url, "profile", timeout=5.0) for _ in range(2))
        for key in range(CALLS * 5):
            await one(key)
        await other(0)
        profiler = cProfile.Profile()
        profiler.enable()
        for key in range(1, CALLS * 5):
            await other(key)
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        await one.cache_close()
        await other.cache_close()

    asyncio.run(hits())


if __name__ == "__main__":
    main()
