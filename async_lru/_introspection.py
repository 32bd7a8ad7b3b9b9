"""The introspection methods of a cache, which can be called from any thread."""

from ._cache import Cache
from ._memory import size_of
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._values import MISSING


def info_of(cache: Cache) -> CacheInfo:
    """Return hits, misses, maxsize and the number of keys."""
    cache.drop_overdue()
    counters = cache.counters
    return CacheInfo(counters.all_hits, counters.misses, cache.maxsize, _size_of(cache))


def stats_of(cache: Cache) -> CacheStats:
    """Return all counters."""
    cache.drop_overdue()
    counters = cache.counters
    return CacheStats(
        hits=counters.all_hits,
        joins=counters.joins,
        stale_hits=counters.stale_hits,
        misses=counters.misses,
        loads=counters.loads,
        failures=counters.failures,
        evictions=counters.evictions,
        expirations=counters.expirations,
        load_seconds=counters.load_seconds,
        in_flight=len(cache.runs_in_flight()),
        currsize=_size_of(cache),
        maxsize=cache.maxsize,
        ttl=cache.ttl,
        tier_hits=counters.tier_hits,
        tier_misses=counters.tier_misses,
        tier_waits=counters.tier_waits,
        tier_refused=counters.tier_refused,
        tier_errors=counters.tier_errors,
        tier_up=cache.tier_up,
    )


def parameters_of(cache: Cache) -> CacheParameters:
    """Return the options and the state of the cache."""
    return {
        "maxsize": cache.maxsize,
        "typed": cache.keys.typed,
        "tasks": len(cache.runs_in_flight()),
        "closed": cache.closed,
    }


def memory_of(cache: Cache) -> int | None:
    """Return the estimated number of bytes that keys and values take."""
    return size_of(cache.values.items())


def _size_of(cache: Cache) -> int:
    """Count the keys that have a value or a run that can be joined."""
    get = cache.values.get
    size = len(cache.values)
    for key, run in list(cache.runs.items()):
        size += run.joinable and get(key, MISSING) is MISSING
    return size if cache.maxsize is None else min(size, cache.maxsize)
