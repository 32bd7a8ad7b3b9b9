"""The checks of what only some libraries have, each in the way of that library.

A library without a recipe lacks the feature if no name in its public API sounds like it;
otherwise its cell says "not checked".
"""

# The libraries are Any here, and so are the parameters of what they are given.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import atexit
import gc
import importlib
import inspect
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from checks import NotChecked, check, has_name, settle, table
from peers import Peer

OURS = "async_lru 3"

Recipe = Callable[[Any], Awaitable[bool]]


#: What libraries import, if it is there. cashews 7.6 misses invalidations with redis 8.
EXTRAS = {"trio": "trio", "redis": "redis<8", "diskcache": "diskcache"}


class Row:
    """A feature with a recipe for each library that has it."""

    def __init__(self, text: str, *, named: set[str]) -> None:
        self.named = named
        self.recipes: dict[str, Recipe] = {}
        check(text)(self.check)

    def by(self, *names: str) -> Callable[[Recipe], Recipe]:
        """Register the recipe of these libraries."""

        def add(recipe: Recipe) -> Recipe:
            self.recipes.update(dict.fromkeys(names, recipe))
            return recipe

        return add

    async def check(self, peer: Peer) -> bool:
        """Follow the recipe."""
        if peer.name in self.recipes:
            return await self.recipes[peer.name](peer.library)
        if has_name(peer, self.named):
            raise NotChecked("a name sounds like it")
        return False


class Counted:
    """A function that counts its runs and fails while it is told to."""

    def __init__(self, seconds: float = 0) -> None:
        self.runs: list[Any] = []
        self.seconds = seconds
        self.fails = False

    @property
    def function(self) -> Any:
        """The coroutine function."""

        async def function(key: Any) -> Any:
            self.runs.append(key)
            await asyncio.sleep(self.seconds)
            if self.fails:
                raise ValueError(key)
            return len(self.runs)

        return function


def cashews(library: Any, url: str = "mem://", **options: Any) -> Any:
    """Return a cache of cashews."""
    cache = library.Cache()
    cache.setup(url, **options)
    return cache


table("Invalidation and limits")

one = Row("Drop one entry", named={"invalidate"})


@one.by(OURS, "async-lru", "faster-async-lru")
async def alru_one(library: Any) -> bool:
    counted = Counted()
    cached = library.alru_cache(counted.function)
    await cached(1)
    cached.cache_invalidate(1)
    await cached(1)
    return counted.runs == [1, 1]


@one.by("cachetools-async")
async def cachetools_one(library: Any) -> bool:
    counted = Counted()
    cached = library.cached({})(counted.function)
    await cached(1)
    cached.cache.pop(cached.cache_key(1))
    await cached(1)
    return counted.runs == [1, 1]


@one.by("cachebox")
async def cachebox_one(library: Any) -> bool:
    counted = Counted()
    cached = library.cached(library.LRUCache(9))(counted.function)
    await cached(1)
    cached.cache.pop(library.make_key(1))
    await cached(1)
    return counted.runs == [1, 1]


@one.by("async-cache")
async def async_cache_one(library: Any) -> bool:
    counted = Counted()
    cached = library.AsyncLRU(maxsize=9)(counted.function)
    await cached(1)
    cached.invalidate_cache(1)
    await cached(1)
    return counted.runs == [1, 1]


@one.by("async-lru-cache")
async def async_lru_cache_one(library: Any) -> bool:
    counted = Counted()
    cached = library.alru_cache(maxsize=9)(counted.function)
    await cached(1)
    await cached.cache_invalidate(1)
    await cached(1)
    return counted.runs == [1, 1]


@one.by("aiocache")
async def aiocache_one(library: Any) -> bool:
    counted = Counted()
    cached = library.cached(key_builder=lambda _, key: f"key:{key}")(counted.function)
    await cached(1)
    await cached.cache.delete("key:1")
    await cached(1)
    return counted.runs == [1, 1]


@one.by("cashews")
async def cashews_one(library: Any) -> bool:
    counted = Counted()
    cache = cashews(library)
    cached = cache(ttl=60, key="key:{key}")(counted.function)
    await cached(1)
    await cache.delete("key:1")
    await cached(1)
    return counted.runs == [1, 1]


where = Row(
    "Drop all entries whose arguments meet a condition", named={"where", "predicate"}
)


@where.by(OURS)
async def our_where(library: Any) -> bool:
    counted = Counted()
    cached = library.alru_cache(counted.function)
    await cached(1)
    await cached(2)
    cached.cache_invalidate_where(lambda key: key == 1)
    await cached(1)
    await cached(2)
    return counted.runs == [1, 2, 1]


pattern = Row("Drop all entries whose keys match a pattern", named={"match", "pattern"})


@pattern.by("cashews")
async def cashews_pattern(library: Any) -> bool:
    counted = Counted()
    cache = cashews(library)
    cached = cache(ttl=60, key="key:{key}")(counted.function)
    for key in ("a1", "a2", "b1"):
        await cached(key)
    await cache.delete_match("key:a*")
    for key in ("a1", "a2", "b1"):
        await cached(key)
    return counted.runs == ["a1", "a2", "b1", "a1", "a2"]


tags = Row("Drop all entries with a tag", named={"tag", "tags"})


@tags.by("cashews")
async def cashews_tags(library: Any) -> bool:
    counted = Counted()
    cache = cashews(library)
    cached = cache(ttl=60, key="key:{key}", tags=["tag:{key}"])(counted.function)
    await cached(1)
    await cached(2)
    await cache.delete_tags("tag:1")
    await cached(1)
    await cached(2)
    return counted.runs == [1, 2, 1]


instances = Row(
    "A cache for each instance, freed with the instance",
    named={"instance", "cachedmethod"},
)


@instances.by(OURS)
async def our_instances(library: Any) -> bool:
    return await are_freed(library.alru_cache(maxsize=1, per_instance=True))


@instances.by("cachetools-async")
async def cachetools_instances(library: Any) -> bool:
    return await are_freed(library.cachedmethod(lambda service: service.cache))


@instances.by("cachebox")
async def cachebox_instances(library: Any) -> bool:
    return await are_freed(library.cached(lambda service: service.cache))


async def are_freed(decorator: Any) -> bool:
    """Tell whether two instances have room for a value each and are freed."""
    runs: list[int] = []

    class Service:
        def __init__(self) -> None:
            self.cache: Any = {}

        @decorator  # type: ignore[untyped-decorator]  # libraries are not typed here
        async def method(self, key: int) -> int:
            runs.append(key)
            return key

    services = [Service(), Service()]
    for place in (0, 1, 0, 1):
        await services[place].method(1)
    gone = [weakref.ref(each) for each in services]
    services.clear()
    gc.collect()
    return runs == [1, 1] and [each() for each in gone] == [None, None]


weights = Row("Limit the total size of the values", named={"getsizeof", "weight"})


@weights.by("cachetools-async")
async def cachetools_weights(library: Any) -> bool:
    # The cache holds futures: their results have no size when they are stored.
    cachetools = importlib.import_module("cachetools")
    return await is_limited(library.cached(cachetools.LRUCache(10, getsizeof=len)))


@weights.by("cachebox")
async def cachebox_weights(library: Any) -> bool:
    return await is_limited(
        library.cached(library.LRUCache(10, getsizeof=lambda _, value: len(value)))
    )


async def is_limited(decorator: Any) -> bool:
    """Tell whether the second of two values of size 6 evicts the first one of 10."""
    runs: list[str] = []

    async def function(key: str) -> str:
        runs.append(key)
        return key * 6

    cached = decorator(function)
    for key in "aabba":
        await cached(key)
    return runs == ["a", "b", "a"]


policies = Row("Eviction by frequency (LFU)", named={"lfu", "fifo", "policy"})


@policies.by("cachetools-async")
async def cachetools_policies(library: Any) -> bool:
    cachetools = importlib.import_module("cachetools")
    return await is_lfu(library.cached(cachetools.LFUCache(2)))


@policies.by("cachebox")
async def cachebox_policies(library: Any) -> bool:
    return await is_lfu(library.cached(library.LFUCache(2)))


async def is_lfu(decorator: Any) -> bool:
    """Tell whether the less frequently used value goes first."""
    counted = Counted()
    cached = decorator(counted.function)
    for key in (1, 1, 1, 2, 3, 1):
        await cached(key)
    return counted.runs == [1, 2, 3]


unstored = Row(
    "Decide by the result whether to store it", named={"condition", "unless"}
)


@unstored.by(OURS)
async def our_unstored(library: Any) -> bool:
    return await is_unstored(library.alru_cache(ttl=lambda value: 60 if value else 0))


@unstored.by("aiocache")
async def aiocache_unstored(library: Any) -> bool:
    return await is_unstored(library.cached(skip_cache_func=lambda value: not value))


@unstored.by("cashews")
async def cashews_unstored(library: Any) -> bool:
    cache = cashews(library)
    return await is_unstored(
        cache(ttl=60, condition=lambda value, *_args, **_kwargs: bool(value))
    )


async def is_unstored(decorator: Any) -> bool:
    """Tell whether an empty string is not stored."""
    runs: list[str] = []

    async def function(key: str) -> str:
        runs.append(key)
        return key

    cached = decorator(function)
    for key in ("", "", "a", "a"):
        await cached(key)
    return runs == ["", "", "a"]


hits = Row("Hit and miss counters", named={"hits", "metrics", "stats", "detect"})


@hits.by(OURS, "async-lru", "faster-async-lru", "anyio", "cachebox")
async def alru_hits(library: Any) -> bool:
    cached = getattr(library, "lru_cache", None) or getattr(library, "alru_cache", None)
    return await counts(cached or library.cached(library.LRUCache(9)), "cache_info")


@hits.by("cachetools-async")
async def cachetools_hits(library: Any) -> bool:
    cachetools = importlib.import_module("cachetools")
    cache = cachetools.LRUCache(9)
    return await counts(library.cached(cache, info=True), "cache_info")


@hits.by("async-cache")
async def async_cache_hits(library: Any) -> bool:
    return await counts(library.AsyncLRU(maxsize=9), "get_metrics")


@hits.by("async-lru-cache")
async def async_lru_cache_hits(library: Any) -> bool:
    return await counts(library.alru_cache(maxsize=9), "get_cache_stats")


async def counts(decorator: Any, method: str) -> bool:
    """Tell whether a hit and two misses are counted."""
    cached = decorator(Counted().function)
    for key in (1, 1, 2):
        await cached(key)
    info = getattr(cached, method)()
    if inspect.isawaitable(info):
        info = await info
    found = (
        info
        if isinstance(info, dict)
        else {n: getattr(info, n) for n in ("hits", "misses")}
    )
    return (found["hits"], found["misses"]) == (1, 2)


# Failures and slow functions

table("Stale values and failures")

stale = Row(
    "Serve a stale value while one run replaces it",
    named={"early", "stale", "revalidate", "refresh"},
)


@stale.by(OURS)
async def our_stale(library: Any) -> bool:
    return await is_replaced(library.alru_cache(ttl=1, stale_while_revalidate=60), 1.2)


@stale.by("cashews")
async def cashews_stale(library: Any) -> bool:
    return await is_replaced(cashews(library).early(ttl=60, early_ttl=1), 1.2)


async def is_replaced(decorator: Any, seconds: float) -> bool:
    """Tell whether calls after some time get the old value, then the new one."""
    counted = Counted(seconds=0.1)
    cached = decorator(counted.function)
    await cached(1)
    await asyncio.sleep(seconds)
    old = [await cached(1), await cached(1)]
    await asyncio.sleep(0.2)
    return old == [1, 1] and await cached(1) == 2


on_error = Row(
    "... if the function fails",
    named={"failover", "fallback", "soft", "stale"},
)


@on_error.by(OURS)
async def our_failover(library: Any) -> bool:
    return await is_rescued(library.alru_cache(ttl=1, stale_if_error=60))


@on_error.by("cashews")
async def cashews_failover(library: Any) -> bool:
    return await is_rescued(cashews(library).soft(ttl=60, soft_ttl=1))


async def is_rescued(decorator: Any) -> bool:
    """Tell whether an old value stands in for a failure."""
    counted = Counted()
    cached = decorator(counted.function)
    await cached(1)
    counted.fails = True
    await asyncio.sleep(1.2)
    return await cached(1) == 1 and counted.runs == [1, 1]


on_delay = Row("... if the function is slow", named={"slow"})


@on_delay.by(OURS)
async def our_delay(library: Any) -> bool:
    counted = Counted()
    cached = library.alru_cache(ttl=1, stale_if_error=60, stale_if_slow=0.1)(
        counted.function
    )
    await cached(1)
    await asyncio.sleep(1.2)
    counted.seconds = 1
    return await cached(1) == 1 and counted.runs == [1, 1]


kept = Row("Store chosen exceptions for a while", named={"exceptions"})


@kept.by(OURS)
async def our_kept(library: Any) -> bool:
    return await is_kept(library.alru_cache(error_ttl={ValueError: 60}))


@kept.by("cashews")
async def cashews_kept(library: Any) -> bool:
    cache = cashews(library)
    return await is_kept(cache(ttl=60, condition=library.with_exceptions(ValueError)))


@kept.by("aiocache")
async def aiocache_kept(library: Any) -> bool:
    return await is_kept(library.cached(skip_cache_func=lambda _: False))


async def is_kept(decorator: Any) -> bool:
    """Tell whether the second call raises the failure of the first."""
    counted = Counted()
    counted.fails = True
    cached = decorator(counted.function)
    for _ in range(2):
        with suppress(ValueError):
            await cached(1)
            return False
    return counted.runs == [1]


limits = Row(
    "Rate limits and circuit breakers for functions",
    named={"breaker", "ratelimit", "throttle"},
)


@limits.by("cashews")
async def cashews_limits(library: Any) -> bool:
    counted = Counted()
    limited = cashews(library).rate_limit(limit=1, period=60)(counted.function)
    await limited(1)
    try:
        await limited(1)
    except library.RateLimitError:
        return counted.runs == [1]
    return False


# Many keys

table("Many keys")

batches = Row(
    "Batch concurrent calls into one with many keys", named={"batch", "batched"}
)


@batches.by(OURS)
async def our_batches(library: Any) -> bool:
    runs: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        runs.append(keys)
        return keys

    cached = library.alru_cache(library.batched()(load))
    return await asyncio.gather(*map(cached, range(3))) == runs[0] and len(runs) == 1


@batches.by("async-cache")
async def async_cache_batches(library: Any) -> bool:
    runs: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        runs.append(keys)
        return keys

    cache = library.AsyncCache()
    calls = (cache.get(key, batch_loader=load) for key in range(3))
    return await asyncio.gather(*calls) == runs[0] and len(runs) == 1


multi = Row("Store each result of a call with many keys", named={"multi"})


@multi.by("aiocache")
async def aiocache_multi(library: Any) -> bool:
    runs: list[list[int]] = []

    async def load(*, keys: list[int]) -> dict[int, int]:
        runs.append(list(keys))
        return {key: key for key in keys}

    cached = library.multi_cached("keys")(load)
    await cached(keys=[1, 2])
    await cached(keys=[1, 2, 3])
    return runs == [[1, 2], [3]]


warm = Row("Load many calls in advance", named={"warm", "warmup"})


@warm.by(OURS)
async def our_warming(library: Any) -> bool:
    counted = Counted()
    cached = library.alru_cache(counted.function)
    await cached.cache_warm([(1,), (2,)])
    await cached(1)
    return counted.runs == [1, 2]


@warm.by("async-cache")
async def async_cache_warming(library: Any) -> bool:
    counted = Counted()
    cache = library.AsyncCache()

    async def load() -> Any:
        return await counted.function(1)

    await cache.warmup({1: load})
    await cache.get(1, loader=load)
    return counted.runs == [1]


# Servers and files

table("Processes and hosts")

processes = Row(
    "Processes share values through Redis or Valkey", named={"redis", "valkey", "tier"}
)
lease = Row("... and share one run of the function", named={"redis", "valkey", "tier"})
invalidation = Row(
    "... and see each other's invalidations", named={"redis", "valkey", "tier"}
)
memory = Row("... and answer hits from memory", named={"redis", "valkey", "tier"})
outage = Row("... and work without the server", named={"redis", "valkey", "tier"})
disk = Row("Store values on disk", named={"disk", "file"})
memcached = Row("Store values in memcached", named={"memcached"})


class Process:
    """What a process has: a function with a cache of its own, and how to drop a key."""

    def __init__(self, cached: Any, drop: Callable[[Any], Awaitable[Any]]) -> None:
        self.cached = cached
        self.drop = drop


#: The arguments: the library, the address of the server, what keys begin with, the
#: function, and whether processes share runs, which costs hits in some libraries.
Start = Callable[[Any, str, str, Any, bool], Process]


def our_process(
    library: Any, url: str, name: str, function: Any, one_run: bool
) -> Process:
    """Set up async_lru with a second tier."""
    try:
        redis = importlib.import_module("async_lru.redis")
    except ImportError as error:
        raise NotChecked("the second tier") from error
    tier = redis.RedisTier(url, namespace=name)
    cached = library.alru_cache(ttl=60, tier=tier)(function)

    async def drop(key: Any) -> None:
        cached.cache_invalidate(key)
        await cached.cache_settled()

    return Process(cached, drop)


def aiocache_process(
    library: Any, url: str, name: str, function: Any, one_run: bool
) -> Process:
    """Set up aiocache with its Redis backend."""
    port = int(url.rpartition(":")[2])
    serializers = importlib.import_module("aiocache.serializers")
    cached = (library.cached_stampede if one_run else library.cached)(
        ttl=60,
        cache=library.Cache.REDIS,
        endpoint="localhost",
        port=port,
        serializer=serializers.JsonSerializer(),
        key_builder=lambda _, key: f"{name}:{key}",
    )(function)

    async def drop(key: Any) -> None:
        await cached.cache.delete(f"{name}:{key}")

    return Process(cached, drop)


def cashews_process(
    library: Any, url: str, name: str, function: Any, one_run: bool
) -> Process:
    """Set up cashews with Redis and its client-side cache."""
    cache = cashews(library, url, client_side=True, suppress=True)
    cached = cache(ttl=60, key=name + ":{key}", lock=one_run)(function)

    async def drop(key: Any) -> None:
        await cache.delete(f"{name}:{key}")

    return Process(cached, drop)


STARTS: dict[str, Start] = {
    OURS: our_process,
    "aiocache": aiocache_process,
    "cashews": cashews_process,
}


def with_processes(
    row: Row,
) -> Callable[[Callable[[Counted, list[Process]], Awaitable[bool]]], Any]:
    """Register a check with two processes for the libraries that can have them.

    Both live in this process, with a connection each; the function is the same.
    """

    def add(checked: Callable[[Counted, list[Process]], Awaitable[bool]]) -> Any:
        def recipe(start: Start) -> Recipe:
            async def check(library: Any) -> bool:
                counted = Counted(seconds=0.1)
                name = f"features-{uuid.uuid4()}"
                url = "redis://localhost:1" if row is outage else server()
                both = [
                    start(library, url, name, counted.function, row is lease)
                    for _ in "12"
                ]
                return await checked(counted, both)

            return check

        for name, start in STARTS.items():
            row.by(name)(recipe(start))

    return add


@with_processes(processes)
async def share_values(counted: Counted, both: list[Process]) -> bool:
    """A value of one process is served by the other."""
    values = [await process.cached(1) for process in both]
    return values == [1, 1] and counted.runs == [1]


@with_processes(lease)
async def share_runs(counted: Counted, both: list[Process]) -> bool:
    """Concurrent calls in both processes run the function once."""
    values = await asyncio.gather(*(process.cached(1) for process in both * 5))
    return values == [1] * 10 and counted.runs == [1]


@with_processes(invalidation)
async def share_invalidations(counted: Counted, both: list[Process]) -> bool:
    """What one process drops is not served by the other, shortly after."""
    one, other = both
    for process in (one, other, other):
        await process.cached(1)
    await asyncio.sleep(0.5)
    await one.drop(1)
    await asyncio.sleep(0.5)
    return bool(await other.cached(1) == 2)


@with_processes(memory)
async def hit_in_memory(counted: Counted, both: list[Process]) -> bool:
    """Further hits send nothing to the server."""
    process = both[0]
    redis = importlib.import_module("redis")
    client = redis.Redis.from_url(server())

    def commands() -> int:
        return int(client.info("stats")["total_commands_processed"])

    await process.cached(1)
    await process.cached(1)
    await settle()
    before = commands()
    for _ in range(100):
        await process.cached(1)
    return commands() - before < 50


@with_processes(outage)
async def survive(counted: Counted, both: list[Process]) -> bool:
    """Without a server, calls get their results within two seconds."""
    value = await asyncio.wait_for(both[0].cached(1), 2)
    return bool(value == 1)


SERVERS: list[str] = []


def server() -> str:
    """Return the address of a Redis or Valkey server, starting one if necessary."""
    if not SERVERS:
        given = os.environ.get("ASYNC_LRU_TEST_SERVERS", "").partition(",")[0]
        SERVERS.append(given or start_server())
    return SERVERS[0]


def start_server() -> str:
    """Start a server that ends with this program."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise NotChecked("a server")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.kill)  # comes first
    for _ in range(50):
        with suppress(OSError), socket.create_connection(("localhost", port)):
            return f"redis://localhost:{port}"
        time.sleep(0.1)
    raise NotChecked("a server that starts")


@disk.by("cashews")
async def cashews_disk(library: Any) -> bool:
    counted = Counted()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            cache = cashews(library, f"disk://?directory={folder}&shards=0")
            await cache(ttl=60, key="key:{key}")(counted.function)(1)
            await cache.close()
    return counted.runs == [1]


@memcached.by("aiocache")
async def aiocache_memcached(library: Any) -> bool:
    raise NotChecked("a memcached server")
