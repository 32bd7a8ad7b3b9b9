"""F11: what is counted of the second tier, and what is told of it."""

import asyncio
import logging
from typing import Any

import pytest
from servers import PROGRAMS, Server, served
from tier_support import (
    NONE,
    Twins,
    client,
    entry_keys,
    eventually,
    server,
    namespace,
    twins,
)

from async_lru import CacheStats, alru_cache
from async_lru.redis import RedisTier
from conftest import counted, outcome, start, steps

__all__ = ("client", "server", "namespace", "twins")


def told(function: Any) -> dict[str, Any]:
    """Return what is counted of the second tier, without what is 0."""
    stats = function.cache_stats()._asdict()
    return {name: stats[name] for name in stats if name[:5] == "tier_" and stats[name]}


async def test_an_answer_of_the_second_tier_is_a_miss_and_no_load_F11(
    twins: Twins,
) -> None:
    maker, _ = twins.counted()
    await maker(1)
    reader, _ = twins.counted()
    await reader(1)
    await reader(1)
    stats = reader.cache_stats()
    assert (stats.hits, stats.misses, stats.loads, stats.failures) == (1, 1, 0, 0)
    assert stats.load_seconds == 0
    assert told(reader) == {"tier_hits": 1, "tier_up": True}
    assert told(maker) == {"tier_misses": 1, "tier_up": True}
    assert maker.cache_stats().loads == 1
    assert reader.cache_info() == (1, 1, 100, 1)


async def test_a_miss_that_waits_counts_once_as_a_wait_F11(twins: Twins) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def run(key: int) -> int:
        return await gate

    maker = twins.cached(run)
    calls = [start(maker(1))]
    await eventually(lambda: maker.cache_stats().tier_misses)
    reader, _ = twins.counted()
    calls += [start(reader(1)) for _ in range(3)]
    await eventually(lambda: reader.cache_stats().tier_waits)
    gate.set_result(5)
    assert [await call for call in calls] == [5] * 4
    assert told(reader) == {"tier_hits": 1, "tier_waits": 1, "tier_up": True}


async def test_a_waiter_that_runs_itself_in_the_end_is_a_wait_and_a_miss_F11(
    twins: Twins,
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def run(key: int) -> int:
        return await gate

    maker = twins.cached(run)
    failing = start(outcome(maker(1)))
    await eventually(lambda: maker.cache_stats().tier_misses)
    reader, _ = twins.counted()
    call = start(reader(1))
    await eventually(lambda: reader.cache_stats().tier_waits)
    gate.set_exception(LookupError())
    assert await call == 1
    assert type(await failing) is LookupError
    assert told(reader) == {"tier_misses": 1, "tier_waits": 1, "tier_up": True}
    assert maker.cache_stats().failures == 1


async def test_a_result_without_a_lease_is_refused_F11(
    twins: Twins, client: Any
) -> None:
    async def run(key: int) -> int:
        client.delete(*entry_keys(client, twins.namespace))
        return key

    function = twins.cached(run)
    assert await function(1) == 1
    assert told(function) == {"tier_misses": 1, "tier_refused": 1, "tier_up": True}
    assert not function.cache_contains(1)
    assert function.cache_stats().loads == 1


async def test_answers_that_make_no_sense_are_errors_F11(
    twins: Twins, client: Any
) -> None:
    maker, _ = twins.counted()
    await maker(1)
    (key,) = entry_keys(client, twins.namespace)
    client.set(key, "nonsense", px=9999)
    reader, _ = twins.counted()
    assert await reader(1) == 1
    assert told(reader) == {"tier_misses": 1, "tier_errors": 1, "tier_up": True}


async def test_questions_about_entries_speak_of_the_first_tier_F11(
    twins: Twins,
) -> None:
    maker, _ = twins.counted()
    await maker(1)
    reader, runs = twins.counted()
    assert not reader.cache_contains(1)
    assert reader.cache_info().currsize == 0
    assert reader.cache_invalidate(1) is False  # and yet it drops it everywhere
    await reader.cache_settled()
    assert (await reader(1), runs) == (1, [(1,)])
    assert reader.cache_invalidate(1) is True


async def test_clearing_zeroes_the_counters_F11(twins: Twins) -> None:
    function, _ = twins.counted()
    await function(1)
    function.cache_clear()
    assert told(function) == {"tier_up": True}


def test_without_a_tier_nothing_is_counted_and_nothing_is_up_F11() -> None:
    function, _ = counted(ttl=60)
    assert told(function) == {}
    assert function.cache_stats().tier_up is None
    assert "tier" not in str(function.cache_stats())


async def test_settled_returns_at_once_without_a_tier_F5() -> None:
    function, _ = counted(ttl=60)
    await function.cache_settled()

    class Service:
        @alru_cache(per_instance=True)
        async def method(self) -> int:
            return 1

    await Service().method.cache_settled()
    await Service.method.cache_settled()


async def test_the_report_tells_of_the_second_tier_F11(twins: Twins) -> None:
    function, _ = twins.counted()
    await function(1)
    report = str(function.cache_stats())
    lines = report.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "tier up: 0 hits, 1 misses, 0 waits, 0 refused, 0 errors"
    assert report.startswith("1 calls, 0.0% hits")
    many = function.cache_stats()._replace(tier_up=False, tier_waits=1234)
    assert str(many).endswith(
        "tier down: 0 hits, 1 misses, 1,234 waits, 0 refused, 0 errors"
    )


async def test_instances_are_added_up_F11(twins: Twins) -> None:
    tier = twins.tier()

    class Service:
        @alru_cache(ttl=60, per_instance=True, ignore=("self",), tier=tier)
        async def load(self, key: int) -> int:
            return key

    twins.add(Service.load)
    one, other = Service(), Service()
    await one.load(1)
    await other.load(1)
    await other.load(2)
    assert told(one.load) == {"tier_misses": 1, "tier_up": True}
    assert told(other.load) == {"tier_hits": 1, "tier_misses": 1, "tier_up": True}
    both = {"tier_hits": 1, "tier_misses": 2, "tier_up": True}
    assert told(Service.load) == both
    await one.load.cache_close()
    await other.load.cache_close()
    del one, other
    assert told(Service.load) == both


def test_old_statistics_can_be_made_without_a_tier_F11() -> None:
    """Fields were added at the end, and have defaults: tests of users make these."""
    old = CacheStats(1, 0, 0, 1, 1, 0, 0, 0, 0.5, 0, 1, 128, None)
    assert old.tier_up is None
    assert old.tier_hits == 0


# Outages


@pytest.mark.parametrize("program", list(PROGRAMS)[:1] or NONE)
async def test_the_breaker_is_told_of_and_logged_once_each_way_F11(
    program: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "async_lru")
    with served(program) as server:
        tier = RedisTier(f"{server.url}/0", namespace="v1", timeout=1)
        functions = [Twins(server.url, "v1").counted(tier=tier)[0] for _ in range(3)]
        for function in functions:
            await function(1)
        assert not caplog.records
        server.kill()
        await eventually(lambda: functions[0].cache_stats().tier_up is False)
        for number in range(5):
            for function in functions:
                assert await function(number) == number
        await eventually(lambda: bool(caplog.records))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.name == "async_lru.redis"
        assert "'v1'" in record.getMessage()
        server.start()
        await eventually(lambda: functions[0].cache_stats().tier_up)
        for function in functions:
            await function(7)
        _, record = caplog.records
        assert record.levelno == logging.INFO
        for function in functions:
            assert function.cache_stats().tier_up is True
            await function.cache_close()


# Prometheus


async def test_prometheus_is_told_of_the_second_tier_F11(twins: Twins) -> None:
    pytest.importorskip("prometheus_client")
    from test_prometheus import scrape

    from async_lru.prometheus import CacheCollector

    plain, _ = counted(ttl=60)
    one, _ = twins.counted()
    other, _ = twins.counted()
    for function in (plain, one, other):
        await function(1)
    await one(2)
    await steps()
    scraped = scrape(CacheCollector({"plain": plain, "one": one, "other": other}))
    assert {
        name.removeprefix("async_lru_cache_"): value
        for (name, cache), value in scraped.items()
        if cache == "one" and "tier" in name
    } == {
        "tier_hit_total": 0,
        "tier_miss_total": 2,
        "tier_wait_total": 0,
        "tier_refused_total": 0,
        "tier_error_total": 0,
        "tier_up": 1,
    }
    assert scraped["async_lru_cache_tier_hit_total", "other"] == 1
    assert not [name for name, cache in scraped if cache == "plain" and "tier" in name]


async def test_prometheus_is_told_when_any_tier_of_a_name_is_down_F11(
    twins: Twins,
) -> None:
    pytest.importorskip("prometheus_client")
    from test_prometheus import scrape

    from async_lru.prometheus import CacheCollector

    up, _ = twins.counted(name="twice")
    nobody = RedisTier("redis://127.0.0.1:1", namespace="v1", timeout=0.05)
    down, _ = twins.counted(name="twice", tier=nobody)
    await up(1)
    await down(1)
    scraped = scrape(CacheCollector())
    assert scraped["async_lru_cache_tier_up", "app.twice"] == 0
    assert scraped["async_lru_cache_tier_miss_total", "app.twice"] == 1
