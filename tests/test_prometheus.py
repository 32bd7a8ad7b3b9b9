"""What Prometheus is told of caches."""

import asyncio
import doctest
from typing import Any

import pytest
from conftest import Clock, counted, outcome, start, steps

from async_lru import alru_cache

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

import async_lru.prometheus  # noqa: E402
from async_lru.prometheus import CacheCollector  # noqa: E402


def scrape(*collectors: CacheCollector) -> dict[Any, float]:
    """Return the samples of a scrape by name and cache, as a server would read them."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    text = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels["cache"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_everything_is_told(controlled: Any, clock: Clock) -> None:
    function, runs = controlled(maxsize=2, ttl=10)
    collector = CacheCollector({"mine": function})
    calls = [start(outcome(function(key))) for key in (1, 1, 2, 3, 4)]
    await steps()
    clock.turn(2)
    for run in runs[:2]:
        run.succeed()
    await steps()
    runs[2].fail(ValueError())
    await steps()
    told = scrape(collector)
    assert told["async_lru_cache_loads_in_flight", "mine"] == 1
    runs[3].succeed()
    for call in calls:
        await call
    await function(4)
    told = scrape(collector)
    prefix = "async_lru_cache_"
    assert {name.removeprefix(prefix): told[name, "mine"] for name, _ in told} == {
        "hit_total": 2,
        "join_total": 1,
        "stale_hit_total": 0,
        "stale_hit_total": 0,
        "miss_total": 4,
        "load_failure_total": 1,
        "eviction_total": 1,
        "expiration_total": 0,
        "entries": 2,
        "max_entries": 2,
        "loads_in_flight": 0,
        "load_duration_seconds_count": 3,
        "load_duration_seconds_sum": 6,
    }
    await clock.advance(10)
    assert scrape(collector)["async_lru_cache_expiration_total", "mine"] == 2


async def test_the_types_are_those_of_the_metrics() -> None:
    function, _ = counted()
    registry = CollectorRegistry()
    registry.register(CacheCollector({"mine": function}))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    kinds = {
        family.name.removeprefix("async_lru_cache_"): family.type for family in families
    }
    assert kinds == {
        **dict.fromkeys(
            [
                "hit",
                "join",
                "stale_hit",
                "miss",
                "load_failure",
                "eviction",
                "expiration",
                "tier_hit",
                "tier_miss",
                "tier_wait",
                "tier_refused",
                "tier_error",
            ],
            "counter",
        ),
        **dict.fromkeys(
            ["entries", "max_entries", "loads_in_flight", "tier_up"], "gauge"
        ),
        "load_duration_seconds": "summary",
    }
    assert all(family.documentation for family in families)


async def test_without_a_bound_there_is_no_maximum() -> None:
    function, _ = counted(maxsize=None)
    told = scrape(CacheCollector({"mine": function}, namespace="app"))
    assert ("app_max_entries", "mine") not in told
    assert told["app_entries", "mine"] == 0


async def test_all_caches_are_told_of_and_the_same_names_summed() -> None:
    def make(maxsize: int | None) -> Any:
        @alru_cache(maxsize=maxsize)
        async def made_twice(key: int) -> int:
            return key

        return made_twice

    one = make(2)
    collector = CacheCollector()
    other = make(3)
    name = f"{one.__module__}.{one.__qualname__}"
    for function in (one, other, other):
        await function(1)
    told = scrape(collector)
    assert told["async_lru_cache_miss_total", name] == 2
    assert told["async_lru_cache_hit_total", name] == 1
    assert told["async_lru_cache_max_entries", name] == 5
    unbounded = make(None)
    assert ("async_lru_cache_max_entries", name) not in scrape(collector)
    del unbounded


async def test_a_scrape_from_another_thread() -> None:
    function, _ = counted(ttl=10)
    await function(1)
    told = await asyncio.to_thread(scrape, CacheCollector({"mine": function}))
    assert told["async_lru_cache_entries", "mine"] == 1


async def test_loads_are_timed_from_the_start(clock: Clock) -> None:
    @alru_cache
    async def function(key: int) -> None:
        clock.turn(3)

    collector = CacheCollector({"mine": function})
    await function(1)
    await function(2)
    told = scrape(collector)
    assert told["async_lru_cache_load_duration_seconds_sum", "mine"] == 6


async def test_bound_methods_can_be_named() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def method(self, key: int) -> int:
            return key

    service = Service()
    await service.method(1)
    await Service().method(1)
    told = scrape(CacheCollector({"one": service.method, "all": Service.method}))
    assert told["async_lru_cache_miss_total", "one"] == 1


def test_what_has_no_cache_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"caches\['mine'\] has no cache_stats.*<built-in"
    ):
        CacheCollector({"mine": len})  # type: ignore[dict-item]


def test_the_example_works() -> None:
    assert doctest.testmod(async_lru.prometheus) == (0, 3)
