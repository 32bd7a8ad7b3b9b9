"""Cache metrics for Prometheus: ``pip install async-lru[prometheus]``.

.. versionadded:: 3.0
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from ._registry import all_caches
from ._stats import CacheStats

__all__ = ("CacheCollector",)

#: The suffixes of metric names: the field of CacheStats, and the help text.
_COUNTERS = {
    "hit": ("hits", "Calls that found a value, or a run in flight to join"),
    "join": ("joins", "Hits that waited for a run in flight"),
    "stale_hit": ("stale_hits", "Hits that got a stale value at once"),
    "miss": ("misses", "Calls that started a run"),
    "load_failure": ("failures", "Runs that raised an exception"),
    "eviction": ("evictions", "Values dropped because there were too many"),
    "expiration": ("expirations", "Values dropped because they expired"),
}
_GAUGES = {
    "entries": ("currsize", "Keys that have a value or a run that calls can join"),
    "max_entries": ("maxsize", "The maximum number of values, if there is one"),
    "loads_in_flight": ("in_flight", "Runs in flight"),
}
#: Exported only for caches with a second tier.
_TIER_COUNTERS = {
    "tier_hit": ("tier_hits", "Misses that the second tier answered"),
    "tier_miss": ("tier_misses", "Misses that started a run here"),
    "tier_wait": ("tier_waits", "Misses that waited for a run of another process"),
    "tier_refused": (
        "tier_refused",
        "Results not stored because the run had lost its lease",
    ),
    "tier_error": (
        "tier_errors",
        "Failed commands to the second tier, and unreadable answers",
    ),
}


class HasStats(Protocol):
    """A decorated function or a bound method."""

    def cache_stats(self) -> CacheStats:
        """Return all counters."""
        ...


class CacheCollector(Collector):
    """Exports the ``cache_stats()`` of caches. The label ``cache`` is the cache's name.

    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()  # or REGISTRY, the default
    >>> registry.register(CacheCollector())

    *caches* maps names to decorated functions or bound methods. By default, each scrape
    exports all decorated functions that exist, as ``module.qualname``. Functions with the same
    name are added up, such as those that a factory decorates each time it is called.
    *namespace* is the prefix of the metric names.

    The names follow Prometheus's Java collectors for caches: ``async_lru_cache_hit_total``,
    ``..._miss_total``, ``..._eviction_total``, ``..._load_failure_total`` and so on are
    counters. ``..._entries``, ``..._max_entries`` and ``..._loads_in_flight`` are gauges.
    ``..._load_duration_seconds`` is a summary of the runs that returned a value.
    Caches with a second tier also have the counters ``..._tier_hit_total``,
    ``..._tier_miss_total``, ``..._tier_wait_total``, ``..._tier_refused_total`` and
    ``..._tier_error_total``, and the gauge ``..._tier_up``, which is 0 while the server is down.
    ``cache_clear()`` resets the counters, which ``rate()`` handles like a restart.

    Raises TypeError if a value of *caches* has no cache. Can be scraped from any thread.
    """

    def __init__(
        self,
        caches: Mapping[str, HasStats] | None = None,
        *,
        namespace: str = "async_lru_cache",
    ) -> None:
        for name, cache in () if caches is None else caches.items():
            if not hasattr(cache, "cache_stats"):
                raise TypeError(
                    f"caches[{name!r}] has no cache_stats: pass what alru_cache "
                    f"returned, not {cache!r}"
                )
        self._caches = None if caches is None else dict(caches)
        self._namespace = namespace

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their values."""
        return self._families({})

    def collect(self) -> Iterable[Metric]:
        """Return the current metrics."""
        return self._families(self._stats())

    def _stats(self) -> dict[str, list[CacheStats]]:
        found: dict[str, list[CacheStats]] = {}
        for name, cache in self._named():
            found.setdefault(name, []).append(cache.cache_stats())
        return found

    def _named(self) -> Iterable[tuple[str, HasStats]]:
        if self._caches is not None:
            return list(self._caches.items())
        return [(f"{c.__module__}.{c.__qualname__}", c) for c in all_caches()]

    def _families(self, stats: dict[str, list[CacheStats]]) -> Iterator[Metric]:
        tiered = {
            name: [part for part in parts if part.tier_up is not None]
            for name, parts in stats.items()
        }
        tiered = {name: parts for name, parts in tiered.items() if parts}
        for metrics, kind, exported in (
            (_COUNTERS, CounterMetricFamily, stats),
            (_GAUGES, GaugeMetricFamily, stats),
            (_TIER_COUNTERS, CounterMetricFamily, tiered),
        ):
            for ending, (field, told) in metrics.items():
                family = kind(f"{self._namespace}_{ending}", told, labels=["cache"])
                for name, parts in exported.items():
                    values = [getattr(part, field) for part in parts]
                    if None not in values:
                        family.add_metric([name], sum(values))
                yield family
        tier_up = GaugeMetricFamily(
            f"{self._namespace}_tier_up",
            "1 if the second tier answers, 0 if it is down",
            labels=["cache"],
        )
        for name, parts in tiered.items():
            tier_up.add_metric([name], all(part.tier_up for part in parts))
        yield tier_up
        durations = SummaryMetricFamily(
            f"{self._namespace}_load_duration_seconds",
            "Duration of the runs that returned a value, in seconds",
            labels=["cache"],
        )
        for name, parts in stats.items():
            durations.add_metric(
                [name],
                count_value=sum(part.loads for part in parts),
                sum_value=sum(part.load_seconds for part in parts),
            )
        yield durations
