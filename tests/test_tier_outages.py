"""The second tier without its server: F7, and F2, F3, F5 and F13 in outages."""

import asyncio
import socket
import gc
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from secrets import token_hex
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff

from async_lru import AlruCacheWrapper
from async_lru.redis import RedisTier

from outages import (
    NAMES,
    Proxy,
    everything,
    is_up,
    loader,
    proxied,
    the_subscription,
    until,
)
from servers import MISSING, Server, free_port, served

pytestmark = pytest.mark.skipif(not NAMES, reason=MISSING)

#: Tests of the proxy and of ours run on one server, and with the others in check-more.
PROGRAMS = [
    pytest.param(name, marks=pytest.mark.more if number else ())
    for number, name in enumerate(NAMES)
]


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def lasting(program: str) -> Iterator[Server]:
    """A server that tests leave alone."""
    with served(program) as server:
        yield server


@pytest.fixture
def server(program: str) -> Iterator[Server]:
    """A server that tests may do anything to."""
    with served(program) as server:
        yield server


@pytest.fixture
async def store(lasting: Server) -> AsyncIterator[Any]:
    """A client of the server that tests leave alone, which is empty."""
    async with redis.asyncio.Redis(port=lasting.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
def proxy(lasting: Server) -> Iterator[Proxy]:
    with proxied(lasting.port) as proxy:
        yield proxy


@pytest.fixture
def namespace() -> str:
    """Return a name that no other test has."""
    return f"test-{token_hex(4)}"


@pytest.fixture
def reports() -> list[str]:
    """What the loop of the test was told that nobody had caught."""
    return []


Make = Callable[..., "tuple[AlruCacheWrapper[..., Any], list[Any]]"]


@pytest.fixture
async def process(reports: list[str], namespace: str) -> AsyncIterator[Make]:
    """Make what stands for a process: a tier of its own with one function.

    At the end all are closed, and nothing is left running.
    """
    made: list[AlruCacheWrapper[..., Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    before = asyncio.all_tasks()

    def make(
        client: Any,
        *,
        namespace: str = namespace,
        timeout: float = 1.0,
        lease: float = 5.0,
        **options: Any,
    ) -> "tuple[AlruCacheWrapper[..., Any], list[Any]]":
        tier = RedisTier(client, namespace=namespace, timeout=timeout, lease=lease)
        runs: list[Any] = []
        made.append(loader(tier, runs, **options))
        return made[-1], runs

    yield make
    for function in made:
        await function.cache_close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
    assert reports == []


async def count_scripts(client: Any) -> int:
    """Return how often the server was asked to run a script."""
    found = await client.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval")
    return sum(found.get(name, {"calls": 0})["calls"] for name in names)


async def keys_like(client: Any, pattern: str) -> list[bytes]:
    found: list[bytes] = await client.keys(pattern)
    return found


# A server that is not there


async def test_server_that_is_down_from_the_start_raises_into_no_call_F7(
    process: Make,
) -> None:
    load, runs = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1)
    assert await load(1) == "1#1"
    assert await load(1) == "1#1"
    assert await load(2) == "2#2"
    assert runs == [1, 2]
    assert is_up(load) is False


async def test_one_run_per_process_while_the_server_is_down_F7(process: Make) -> None:
    load, runs = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1)
    assert set(await asyncio.gather(*(load(1) for _ in range(50)))) == {"1#1"}
    assert runs == [1]


@pytest.mark.more
async def test_values_made_alone_are_kept_for_a_few_seconds_at_most_F7(
    process: Make,
) -> None:
    load, runs = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1)
    await load(1)
    await asyncio.sleep(5)
    assert await load(1) == "1#2"
    assert runs == [1, 1]


async def test_values_made_alone_outlive_no_short_ttl_F7(process: Make) -> None:
    load, runs = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1, ttl=0.01)
    await load(1)
    await asyncio.sleep(0.05)
    assert await load(1) == "1#2"


async def test_server_that_starts_late_is_used_F7(
    process: Make, server: Server
) -> None:
    server.kill()
    load, _ = process(server.url, timeout=0.1)
    other, others = process(server.url)
    await load(1)
    server.start()
    await until(lambda: is_up(load))
    await load(2)
    assert await other(2) == "2#2"
    assert others == []


async def test_client_that_cannot_be_made_raises_into_no_call_F7(
    process: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise ValueError("no such host")

    load, _ = process(fail, timeout=0.1)
    assert await load(1) == "1#1"
    await asyncio.sleep(0.8)  # it is tried again
    assert await load(1) == "1#1"
    assert len(caplog.records) == 1
    assert "ValueError" in caplog.text


async def test_client_of_another_kind_is_named_in_the_log_F7(
    process: Make, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(redis.Redis)
    assert await load(1) == "1#1"
    assert "client must return a client of redis.asyncio, not Redis" in caplog.text


@pytest.mark.more
async def test_server_that_is_none_raises_into_no_call_F7(
    process: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        load, _ = process(f"redis://127.0.0.1:{port}", timeout=0.1)
        assert await load(1) == "1#1"
        await asyncio.sleep(0.8)
    assert len(caplog.records) == 1


# A server that does not answer


async def test_one_call_pays_the_timeout_and_later_ones_ask_nothing_F7(
    process: Make, server: Server
) -> None:
    load, runs = process(server.url, timeout=0.3)
    async with redis.asyncio.Redis(port=server.port) as client:
        await load(0)
        before = await count_scripts(client)
        server.freeze()
        assert await load(1) == "1#2"
        assert is_up(load) is False
        for key in range(2, 100):
            await load(key)
        assert load.cache_stats().tier_errors == 1
        server.thaw()
        asked = await count_scripts(client) - before
        # The acquisition, and the release of the lease that it may have taken.
        assert 1 <= asked <= 2
    assert runs == list(range(100))


async def test_calls_that_wait_for_another_process_go_on_in_an_outage_F7(
    process: Make, server: Server
) -> None:
    gate = asyncio.get_running_loop().create_future()
    slow, _ = process(server.url, timeout=0.2, lease=30, work=lambda _: gate)
    load, _ = process(server.url, timeout=0.2, lease=30)
    first = asyncio.ensure_future(slow(1))
    await until(lambda: slow.cache_stats().tier_misses)
    second = asyncio.ensure_future(load(1))
    await until(lambda: load.cache_stats().tier_waits)
    server.freeze()
    assert await load(2) == "2#1"  # notices it
    assert await asyncio.wait_for(second, 15) == "1#2"  # the lease would last longer
    gate.set_result("slow")
    assert await first == "slow"
    server.thaw()


async def test_calls_that_were_sent_before_the_outage_pay_one_timeout_together_F7(
    process: Make, server: Server
) -> None:
    load, runs = process(server.url, timeout=0.3)
    await load(0)
    server.freeze()
    started = time.monotonic()
    await asyncio.gather(*(load(key) for key in range(1, 1001)))
    assert time.monotonic() - started < 5  # a thousand timeouts would be 300 seconds
    assert len(runs) == 1001
    # Only those that were on their way could notice.
    assert load.cache_stats().tier_errors <= 1000
    server.thaw()


@pytest.mark.parametrize(
    "seconds",
    [0.25, *(pytest.param(n, marks=pytest.mark.more) for n in (0.21, 0.32, 0.5, 2.5))],
)
async def test_loop_that_was_blocked_past_the_timeout_finds_the_answer_F7(
    process: Make, proxy: Proxy, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(proxy.url, timeout=0.2)
    await load(0)
    sent = proxy.count(b"EVALSHA")
    call = asyncio.ensure_future(load(1))
    while proxy.count(b"EVALSHA") == sent:
        await asyncio.sleep(0)
    time.sleep(seconds)  # the answer comes meanwhile
    await call
    assert load.cache_stats().tier_errors == 0
    assert load.cache_stats().tier_misses == 2
    assert caplog.records == []


@pytest.mark.more
async def test_loop_that_was_blocked_after_its_ping_finds_the_answer_F7(
    process: Make, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(proxy.url, timeout=0.2)
    await load(0)
    for seconds in (0.22, 0.5, 1.0):
        sent = proxy.count(b"PING")
        while proxy.count(b"PING") == sent:
            await asyncio.sleep(0.001)
        time.sleep(seconds)
        await asyncio.sleep(0.5)
    assert is_up(load)
    assert caplog.records == []


async def test_thousands_of_misses_at_once_are_no_outage_F7(
    process: Make, lasting: Server, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    load, runs = process(lasting.url)
    other, others = process(lasting.url)
    found = await asyncio.gather(*(load(key) for key in range(1001)))
    assert len(runs) == len(set(found)) == 1001
    again = await asyncio.gather(*(other(key) for key in range(0, 1001, 10)))
    assert again == found[::10]
    assert others == []
    assert load.cache_stats().tier_errors == other.cache_stats().tier_errors == 0
    assert caplog.records == []
    assert await keys_like(store, "*:lease") == []


# A server that has forgotten, or has no room


@pytest.mark.more
async def test_restart_of_the_server_drops_what_may_have_been_missed_F7(
    process: Make, server: Server
) -> None:
    load, runs = process(server.url)
    await load(1)
    await load(1)
    server.kill()
    await until(lambda: not is_up(load))
    server.start()
    await until(lambda: is_up(load))
    assert await load(1) == "1#2"
    assert runs == [1, 1]


async def test_processes_find_together_again_after_a_restart_F7(
    process: Make, server: Server
) -> None:
    load, runs = process(server.url)
    other, others = process(server.url)
    await load(1)
    await other(1)
    server.kill()
    await until(lambda: not is_up(load) and not is_up(other))
    server.start()
    await until(lambda: is_up(load) and is_up(other))
    found = await asyncio.gather(load(1), other(1))
    assert found[0] == found[1]
    assert len(runs) + len(others) == 2
    load.cache_invalidate(1)
    await load.cache_settled()
    await until(lambda: not other.cache_contains(1))


async def test_processes_find_together_again_after_flushall_F7(
    process: Make, lasting: Server, store: Any
) -> None:
    load, _ = process(lasting.url)
    other, others = process(lasting.url)
    await asyncio.gather(load(1), other(1))
    await store.flushall()
    await load(2)
    await other(3)
    # They may have lost sight of each other for so long, but not of invalidations.
    load.cache_invalidate(1)
    await load.cache_settled()
    await until(lambda: not other.cache_contains(1))
    assert await load(1) == await other(1)
    assert await load(4) == await other(4)
    assert 4 not in others


async def test_run_that_lost_its_lease_to_flushall_is_not_kept_F3(
    process: Make, lasting: Server, store: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(lasting.url, work=lambda _: gate)
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    await store.flushall()
    gate.set_result("late")
    assert await call == "late"
    assert not load.cache_contains(1)
    assert load.cache_stats().tier_refused == 1
    assert await keys_like(store, "*:value") == []


@pytest.fixture(params=PROGRAMS)
def full(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that has no room for anything when ``fill`` has been called."""
    with served(request.param, "--maxmemory-policy", "noeviction") as server:
        yield server


async def fill(client: Any) -> None:
    await client.config_set("maxmemory", 1)


async def make_room(client: Any) -> None:
    await client.config_set("maxmemory", 0)


async def test_full_server_raises_into_no_call_F7(
    process: Make, full: Server, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(full.url)
    other, _ = process(full.url)
    async with redis.asyncio.Redis(port=full.port) as client:
        assert await load(1) == "1#1"
        await fill(client)
        assert await other(1) == "1#1"  # what is there can be read
        assert await load(2) == "2#2"  # and what is not is made
        assert load.cache_stats().tier_errors
        await make_room(client)
        assert await load(3) == await other(3)
    assert caplog.records == []


async def test_nobody_waits_for_a_result_that_a_full_server_cannot_keep_F7(
    process: Make, full: Server
) -> None:
    async def work(key: int) -> str:
        return await gate if key else "before"

    gate = asyncio.get_running_loop().create_future()
    load, runs = process(full.url, work=work)
    other, others = process(full.url, work=work)
    async with redis.asyncio.Redis(port=full.port) as client:
        await load(0)
        await fill(client)
        calls = asyncio.gather(load(1), other(1))
        await until(lambda: 1 in runs and 1 in others)
        gate.set_result("made by each")
        assert await calls == ["made by each"] * 2


async def test_full_server_is_told_of_invalidations_and_of_clearing_F5(
    process: Make, full: Server
) -> None:
    load, _ = process(full.url)
    other, others = process(full.url)
    async with redis.asyncio.Redis(port=full.port) as client:
        for key in (1, 2, 3, 4):
            assert await load(key) == await other(key)
        await fill(client)
        load.cache_invalidate(1)
        load.cache_put("new", 2)
        await asyncio.wait_for(load.cache_settled(), 15)
        await until(lambda: not other.cache_contains(1) and not other.cache_contains(2))
        assert await other(1) == "1#1"
        assert others == [1]
        load.cache_clear()
        await asyncio.wait_for(load.cache_settled(), 15)
        await until(lambda: not other.cache_contains(3))
        await other(3)
        assert others[-1] == 3
        assert await keys_like(client, "*:lease") == []


async def test_full_server_without_a_generation_is_told_of_invalidations_F5(
    process: Make, full: Server, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(full.url)
    other, others = process(full.url)
    async with redis.asyncio.Redis(port=full.port) as client:
        await load(1)
        await other(1)
        await client.flushall()
        await fill(client)
        load.cache_invalidate(1)
        await asyncio.wait_for(load.cache_settled(), 15)
        await until(lambda: not other.cache_contains(1))
        assert is_up(load)
    assert caplog.records == []


async def test_new_process_on_a_full_empty_server_invalidates_F7(
    process: Make, full: Server, caplog: pytest.LogCaptureFixture
) -> None:
    load, _ = process(full.url)
    async with redis.asyncio.Redis(port=full.port) as client:
        await fill(client)
        load.cache_invalidate(1)
        await load(1)
        await asyncio.wait_for(load.cache_settled(), 15)
        assert is_up(load)
        load.cache_clear()
        await asyncio.wait_for(load.cache_settled(), 15)
        assert is_up(load)
    assert caplog.records == []


@pytest.mark.parametrize("name", PROGRAMS)
async def test_server_that_evicts_the_generation_loses_no_invalidation_F5(
    process: Make, name: str
) -> None:
    with served(name, "--maxmemory-policy", "allkeys-lru") as server:
        load, _ = process(server.url)
        other, others = process(server.url)
        async with redis.asyncio.Redis(port=server.port) as client:
            assert await load(1) == await other(1) == "1#1"
            (generation,) = await keys_like(client, "*:generation")
            await client.delete(generation)  # as an eviction does
            third, thirds = process(server.url)
            await third(2)
            third.cache_invalidate(1)
            await third.cache_settled()
            await until(
                lambda: not load.cache_contains(1) and not other.cache_contains(1)
            )
            found = await load(1)
            assert found == "1#2"
            assert await other(1) == await third(1) == found
            await client.delete(*await keys_like(client, "*:generation"))
            load.cache_invalidate(1)
            await load.cache_settled()
            await until(
                lambda: not other.cache_contains(1) and not third.cache_contains(1)
            )
            assert await other(1) != found


@pytest.mark.more
@pytest.mark.parametrize("name", NAMES)
async def test_server_that_evicts_as_it_likes_serves_nothing_outdated_F5(
    process: Make, name: str
) -> None:
    truth = dict.fromkeys(range(200), 0)

    async def work(key: int) -> Any:
        version = truth[key]
        await asyncio.sleep(0)
        return [version, "x" * 2000]

    with served(name, "--maxmemory-policy", "allkeys-random") as server:
        async with redis.asyncio.Redis(port=server.port) as client:
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", used + 400_000)
        first, runs = process(server.url, work=work)
        second, others = process(server.url, work=work)
        for turn in range(4000):
            key = turn * 7919 % 200
            if turn % 5 == 0:
                truth[key] += 1
                second.cache_invalidate(key)
                await second.cache_settled()
            assert (await second(key))[0] == truth[key]
            found = await first(key)
            if found[0] != truth[key]:
                await asyncio.sleep(0.05)  # what it was sent it has read by now
                assert (await first(key))[0] == truth[key]
        async with redis.asyncio.Redis(port=server.port) as client:
            assert (await client.info("stats"))["evicted_keys"]
        assert first.cache_stats().tier_hits or second.cache_stats().tier_hits
        del runs, others


# A network that breaks


async def test_connections_that_are_cut_are_made_again_F7(
    process: Make, proxy: Proxy, store: Any
) -> None:
    load, runs = process(proxy.url)
    await load(1)
    proxy.cut()
    await until(lambda: not is_up(load))
    await until(lambda: is_up(load))
    assert await load(1) == "1#1"  # from the server, since it was dropped here
    assert load.cache_stats().tier_hits == 1
    assert runs == [1]


@pytest.fixture(params=["retries", pytest.param("no retries", marks=pytest.mark.more)])
def client_of(request: pytest.FixtureRequest) -> Callable[[Proxy], Any]:
    """Make what RedisTier takes: a URL, or a client with redis-py's own defaults."""

    def make(proxy: Proxy) -> Any:
        if request.param == "no retries":
            return proxy.url
        return lambda: redis.asyncio.Redis(port=proxy.port)

    return make


async def test_what_was_missed_when_the_subscription_was_cut_is_dropped_F7(
    process: Make, proxy: Proxy, lasting: Server, client_of: Any
) -> None:
    load, _ = process(client_of(proxy))
    other, _ = process(lasting.url)
    for key in range(5):
        assert await load(key) == await other(key)
    proxy.hold(the_subscription)
    other.cache_invalidate(1)
    await other.cache_settled()
    assert load.cache_contains(1)  # it cannot know
    proxy.cut(the_subscription)
    proxy.release()
    await until(lambda: not load.cache_contains(1))
    await until(lambda: is_up(load))
    assert await load(1) == await other(1) != "1#1"


@pytest.mark.parametrize(
    "direction",
    ["both", *(pytest.param(way, marks=pytest.mark.more) for way in ("up", "down"))],
)
async def test_black_hole_costs_one_timeout_F7(
    process: Make, proxy: Proxy, direction: str
) -> None:
    load, runs = process(proxy.url, timeout=0.3)
    await load(0)
    if direction in ("up", "both"):
        proxy.holds_up = everything
    if direction in ("down", "both"):
        proxy.holds_down = everything
    for key in range(1, 100):
        assert await load(key) == f"{key}#{key + 1}"
    assert load.cache_stats().tier_errors == 1
    proxy.release()
    await until(lambda: is_up(load))


@pytest.mark.more
async def test_black_hole_of_the_subscription_is_noticed_by_a_ping_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url, timeout=0.3)
    other, _ = process(lasting.url)
    assert await load(1) == await other(1)
    proxy.hold(the_subscription)
    other.cache_invalidate(1)
    await other.cache_settled()
    await until(lambda: not is_up(load))  # after some 2 seconds
    proxy.release()
    await until(lambda: is_up(load))
    assert not load.cache_contains(1)


@pytest.mark.parametrize(
    "direction", ["delay_down", pytest.param("delay_up", marks=pytest.mark.more)]
)
async def test_late_answers_are_not_taken_for_others_F7(
    process: Make, proxy: Proxy, store: Any, direction: str
) -> None:
    load, _ = process(proxy.url, timeout=0.2)
    await load("first")
    setattr(proxy, direction, 0.4)
    found = await asyncio.gather(*(load(f"late{number}") for number in range(20)))
    assert [text.split("#")[0] for text in found] == [f"late{n}" for n in range(20)]
    setattr(proxy, direction, 0.0)
    await until(lambda: is_up(load))
    found = await asyncio.gather(*(load(f"then{number}") for number in range(20)))
    assert [text.split("#")[0] for text in found] == [f"then{n}" for n in range(20)]


async def test_slow_server_within_the_timeout_is_used_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, runs = process(proxy.url, timeout=2.0)
    other, _ = process(lasting.url)
    proxy.delay_up = proxy.delay_down = 0.01
    await other(1)
    assert await load(1) == "1#1"
    assert runs == []
    assert load.cache_stats().tier_errors == 0


async def test_reply_that_is_cut_in_the_middle_is_no_value_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, runs = process(proxy.url)
    other, _ = process(lasting.url)
    await other("a long key, so that the value is long")
    await load(0)
    proxy.cuts_reply = True
    found = await load("a long key, so that the value is long")
    assert found == "a long key, so that the value is long#2"
    assert load.cache_stats().tier_errors == 1
    await until(lambda: is_up(load))


async def test_store_whose_answer_is_lost_is_a_value_elsewhere_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(proxy.url, work=lambda _: gate)
    other, others = process(lasting.url)
    await other(0)  # so that the server knows the script
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    proxy.cuts_reply = True
    gate.set_result("made once")
    assert await call == "made once"
    assert await other(1) == "made once"
    assert others == [0]
    await until(lambda: is_up(load))


async def test_put_whose_answer_is_lost_does_not_undo_what_others_change_F5(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    def client() -> Any:  # it would send the put again
        return redis.asyncio.Redis(
            port=proxy.port, retry=Retry(ConstantBackoff(0.5), 5)
        )

    def cut_answer(chunk: bytes) -> None:
        if b"put once" in chunk and not sent:
            sent.append(chunk)
            proxy.cuts_reply = True

    sent: list[bytes] = []
    load, _ = process(client)
    other, _ = process(lasting.url)
    third, _ = process(lasting.url)
    load.cache_put("put", 0)
    await load.cache_settled()  # so that the server knows the script
    proxy.on_sent = cut_answer
    load.cache_put("put once", 1)
    await until(lambda: sent and not proxy.cuts_reply)
    assert await other(1) == "put once"
    other.cache_invalidate(1)
    await other.cache_settled()
    await until(lambda: is_up(load))
    await load.cache_settled()
    await asyncio.sleep(0.6)
    assert await third(1) == "1#1"


# What is changed in an outage


async def test_invalidations_in_an_outage_are_told_before_anything_is_read_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url)
    other, others = process(lasting.url)
    for key in range(20):
        assert await load(key) == await other(key)
    proxy.break_off()
    await until(lambda: not is_up(load))
    for key in range(10):
        load.cache_invalidate(key)
    settling = asyncio.ensure_future(load.cache_settled())
    await asyncio.sleep(0.05)
    assert not settling.done()
    proxy.mend()
    await until(lambda: is_up(load))
    # It is up when all that was changed is acknowledged.
    await asyncio.wait_for(settling, 15)
    assert await load(3) != "3#4"
    await until(lambda: not other.cache_contains(3))
    assert await other(3) == await load(3)
    assert await other(15) == "15#16"
    assert others == []


async def test_value_that_was_invalidated_in_an_outage_is_not_read_F5(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, runs = process(proxy.url)
    await load(1)
    proxy.hold()
    load.cache_invalidate(1)
    asked = asyncio.ensure_future(load(1))
    await asyncio.sleep(0.05)
    proxy.release()
    assert await asked == "1#2"


async def test_refresh_in_an_outage_ends_the_old_value_F5(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url)
    other, others = process(lasting.url)
    assert await load(1) == await other(1) == "1#1"
    proxy.break_off()
    await until(lambda: not is_up(load))
    assert await load.cache_refresh(1) == "1#2"
    assert await load(1) == "1#2"
    proxy.mend()
    await asyncio.wait_for(load.cache_settled(), 15)
    await until(lambda: not other.cache_contains(1))
    assert await other(1) == "1#1"
    assert others == [1]


async def test_clearing_in_an_outage_is_told_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url)
    other, others = process(lasting.url)
    for key in range(5):
        assert await load(key) == await other(key)
    proxy.break_off()
    await until(lambda: not is_up(load))
    load.cache_put("before", 4)
    load.cache_clear()
    load.cache_put("after", 1)
    proxy.mend()
    await asyncio.wait_for(load.cache_settled(), 15)
    await until(lambda: not other.cache_contains(2))
    assert await other(1) == "1#1"  # see below
    assert await other(4) == "4#2"
    assert others == [1, 4]


async def test_put_in_an_outage_is_told_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url)
    other, others = process(lasting.url)
    assert await load(1) == await other(1)
    proxy.break_off()
    await until(lambda: not is_up(load))
    load.cache_put("old", 1)
    load.cache_put("new", 1)
    assert await load(1) == "new"
    proxy.mend()
    await asyncio.wait_for(load.cache_settled(), 15)
    await until(lambda: not other.cache_contains(1))
    # What was put must not come after what others have done meanwhile.
    assert await other(1) not in {"old", "new"}
    assert len(others) == 1


async def test_more_changes_than_are_remembered_are_a_clearing_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url)
    other, others = process(lasting.url)
    assert await load("bystander") == await other("bystander")
    proxy.break_off()
    await until(lambda: not is_up(load))
    for key in range(10_100):
        load.cache_invalidate(key)
    settling = asyncio.ensure_future(load.cache_settled())
    proxy.mend()
    await asyncio.wait_for(settling, 15)
    await until(lambda: not other.cache_contains("bystander"))


async def test_changes_that_a_frozen_server_does_not_acknowledge_report_nothing_F7(
    process: Make, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "async_lru")
    load, _ = process(server.url, timeout=0.2)
    await load(0)
    server.freeze()
    for key in range(5):
        load.cache_invalidate(key)
    await until(lambda: not is_up(load))
    await asyncio.sleep(0.5)
    server.thaw()
    await asyncio.wait_for(load.cache_settled(), 15)
    await until(lambda: len(caplog.records) == 2)
    messages = [(record.levelname, record.exc_info) for record in caplog.records]
    assert messages == [("WARNING", None), ("INFO", None)]
    gc.collect()  # reports errors that nobody has retrieved


@pytest.mark.more
async def test_waiting_for_changes_to_settle_can_be_given_up_F5(
    process: Make, proxy: Proxy
) -> None:
    load, _ = process(proxy.url)
    await load(1)
    proxy.break_off()
    await until(lambda: not is_up(load))
    load.cache_invalidate(1)
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        await asyncio.wait_for(load.cache_settled(), 0.1)
    proxy.mend()
    await asyncio.wait_for(load.cache_settled(), 15)


# Runs and outages


@pytest.mark.parametrize("changed", [True, pytest.param(False, marks=pytest.mark.more)])
async def test_run_that_lasts_longer_than_an_outage_F7(
    process: Make, proxy: Proxy, lasting: Server, store: Any, changed: bool
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(proxy.url, lease=30, work=lambda _: gate)
    other, _ = process(lasting.url)
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    proxy.cut()
    await until(lambda: not is_up(load))
    if changed:
        other.cache_invalidate(1)
        await other.cache_settled()
    await until(lambda: is_up(load))
    gate.set_result("of before")
    assert await call == "of before"
    if changed:
        assert not load.cache_contains(1)
        assert await keys_like(store, "*:value") == []
    assert await keys_like(store, "*:lease") == []


async def test_run_that_begins_in_an_outage_and_ends_after_it_is_not_kept_F7(
    process: Make, proxy: Proxy, lasting: Server, store: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(proxy.url, work=lambda _: gate)
    proxy.break_off()
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    proxy.mend()
    await until(lambda: is_up(load))
    gate.set_result("alone")
    assert await call == "alone"
    assert not load.cache_contains(1)
    assert await keys_like(store, "*") == []


@pytest.mark.more
async def test_run_that_ends_in_an_outage_is_kept_for_a_moment_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(proxy.url, work=lambda _: gate)
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    proxy.break_off()
    await until(lambda: not is_up(load))
    gate.set_result("alone")
    assert await call == "alone"
    assert await load(1) == "alone"
    assert runs == [1]
    proxy.mend()
    await until(lambda: is_up(load))
    assert not load.cache_contains(1)


async def test_lease_of_a_run_that_ended_in_an_outage_is_given_back_F7(
    process: Make, proxy: Proxy, lasting: Server, store: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(proxy.url, lease=30, work=lambda _: gate)
    call = asyncio.ensure_future(load(1))
    await until(lambda: runs)
    proxy.break_off()
    await until(lambda: not is_up(load))
    gate.set_result("alone")
    await call
    proxy.mend()
    await until(lambda: is_up(load))
    other, _ = process(lasting.url)
    assert await asyncio.wait_for(other(1), 15) == "1#1"


async def test_lease_whose_answer_came_too_late_is_given_back_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url, timeout=0.2, lease=30)
    await load(0)
    proxy.holds_down = everything
    await load(1)  # has a lease that it does not know of
    proxy.release()
    await until(lambda: is_up(load))
    other, _ = process(lasting.url)
    assert await asyncio.wait_for(other(1), 15) == "1#1"


async def test_failure_of_a_run_without_the_server_tells_nothing_of_it_F7(
    process: Make,
) -> None:
    async def fail(_: Any) -> Any:
        raise LookupError

    load, _ = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1, work=fail)
    with pytest.raises(LookupError) as caught:
        await load(1)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


# Cancellation


async def test_cancellation_at_any_stage_leaves_no_lease_F3(
    process: Make, proxy: Proxy, store: Any
) -> None:
    async def work(key: Any) -> Any:
        await asyncio.sleep(0.001)
        return [key]

    proxy.delay_up = proxy.delay_down = 0.001
    load, _ = process(proxy.url, lease=30, work=work)
    await load("first")
    for steps in range(0, 120, 3):
        call = asyncio.ensure_future(load(steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert await load(f"next {steps}") == [f"next {steps}"]
    for milliseconds in range(12):
        call = asyncio.ensure_future(load(-1 - milliseconds))
        await asyncio.sleep(milliseconds / 1000)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert await load(f"then {milliseconds}") == [f"then {milliseconds}"]
    await load.cache_close()
    assert await keys_like(store, "*:lease") == []
    assert load.cache_stats().tier_errors == 0


async def test_cancellation_of_many_calls_shifts_no_answer_F7(
    process: Make, proxy: Proxy, store: Any
) -> None:
    load, _ = process(proxy.url)
    proxy.delay_down = 0.002
    for turn in range(5):
        calls = [asyncio.ensure_future(load(f"{turn}.{n}")) for n in range(100)]
        await asyncio.sleep(0.01)
        for call in calls[::2]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert [c.result().split("#")[0] for c in calls[1::2]] == [
            f"{turn}.{n}" for n in range(1, 100, 2)
        ]
    await load.cache_close()
    assert await keys_like(store, "*:lease") == []


@pytest.mark.more
async def test_cancellation_while_the_first_connection_is_made_F7(
    process: Make, proxy: Proxy, store: Any
) -> None:
    proxy.delay_up = 0.05
    load, _ = process(proxy.url)
    call = asyncio.ensure_future(load(1))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await load(1)
    assert is_up(load)
    assert load.cache_stats().tier_errors == 0


async def test_cancellation_of_a_call_that_waits_for_another_process_F3(
    process: Make, lasting: Server, store: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()
    slow, runs = process(lasting.url, work=lambda _: gate)
    load, others = process(lasting.url)
    first = asyncio.ensure_future(slow(1))
    await until(lambda: runs)
    second = asyncio.ensure_future(load(1))
    await until(lambda: load.cache_stats().tier_waits)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set_result("made")
    assert await first == "made"
    assert await load(1) == "made"  # the lease of the first was left alone
    assert others == []


async def test_cancellation_in_an_outage_takes_a_few_timeouts_F7(
    process: Make, server: Server
) -> None:
    load, _ = process(server.url, timeout=0.3)
    await load(0)
    server.freeze()
    call = asyncio.ensure_future(load(1))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 10)
    server.thaw()


# The end


async def test_closing_in_an_outage_gives_up_F13(process: Make, server: Server) -> None:
    load, runs = process(server.url, timeout=0.2)
    await load(0)
    server.freeze()
    load.cache_invalidate(0)
    await asyncio.wait_for(load.cache_close(), 10)
    server.thaw()


async def test_closing_while_down_gives_up_F13(process: Make) -> None:
    load, _ = process(f"redis://127.0.0.1:{free_port()}", timeout=0.1)
    await load(0)
    load.cache_invalidate(0)
    await asyncio.wait_for(load.cache_close(), 10)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
async def test_closing_while_connecting_leaves_nothing_F13(
    process: Make, proxy: Proxy, delay: float
) -> None:
    proxy.delay_up = 0.02
    load, _ = process(proxy.url)
    call = asyncio.ensure_future(load(0))
    await asyncio.sleep(delay)
    await asyncio.wait_for(load.cache_close(), 10)
    await asyncio.gather(call, return_exceptions=True)


async def test_closing_at_any_moment_returns_F13(
    process: Make, lasting: Server
) -> None:
    for steps in range(0, 120, 2):
        load, _ = process(lasting.url)
        call = asyncio.ensure_future(load(0))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.wait_for(load.cache_close(), 10)
        await asyncio.gather(call, return_exceptions=True)


async def test_closed_cache_makes_no_new_connection_F13(
    process: Make, proxy: Proxy
) -> None:
    load, _ = process(proxy.url)
    await load(1)
    await load.cache_close()
    made = len(proxy.connections)
    load.cache_invalidate(1)
    load.cache_clear()
    await load.cache_settled()
    await asyncio.sleep(0.1)
    assert len(proxy.connections) == made


async def test_closing_releases_the_leases_of_runs_F13(
    process: Make, lasting: Server, store: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()
    load, runs = process(lasting.url, lease=30, work=lambda _: gate)
    calls = [asyncio.ensure_future(load(key)) for key in range(5)]
    await until(lambda: len(runs) == 5)
    await load.cache_close()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await keys_like(store, "*:lease") == []


def open_sockets(port: int) -> int:
    """Return how many sockets of this process are connected to *port*."""
    found = subprocess.run(
        [sys.executable, "-c", _COUNT, str(port), str(_pid())],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)


_COUNT = textwrap.dedent("""
    import os, sys
    port, pid = int(sys.argv[1]), sys.argv[2]
    inodes = set()
    for line in open("/proc/net/tcp"):
        fields = line.split()
        if fields[2].endswith(f":{port:04X}"):
            inodes.add(fields[9])
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        count += target.startswith("socket:[") and target[8:-1] in inodes
    print(count)
""")


def _pid() -> int:
    import os

    return os.getpid()


# What is logged


async def test_breaker_logs_once_when_it_opens_and_once_when_it_closes_F11(
    process: Make, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "async_lru")
    url = server.url.replace("redis://", "redis://:secret@")
    async with redis.asyncio.Redis(port=server.port) as client:
        await client.config_set("requirepass", "secret")
    load, _ = process(url, timeout=0.3)
    await load(0)
    assert caplog.records == []
    server.kill()
    await until(lambda: not is_up(load))
    await asyncio.sleep(0.8)
    for key in range(20):
        await load(key)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    server.start()
    async with redis.asyncio.Redis(port=server.port) as client:
        await client.config_set("requirepass", "secret")
    await until(lambda: len(caplog.records) == 2)
    await load(30)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "secret" not in caplog.text
    assert "secret" not in repr(load.cache_info()) + repr(load)


async def test_program_that_ends_in_an_outage_warns_of_nothing_F13(
    program: str, server: Server
) -> None:
    """Run with -X dev -W error: no task, no socket, nothing on stderr but the log."""
    code = f"""
        import asyncio
        from async_lru import alru_cache
        from async_lru.redis import RedisTier

        tier = RedisTier({server.url!r}, namespace="v1", timeout=0.2)

        @alru_cache(ttl=60, tier=tier)
        async def load(key):
            return key

        async def main():
            await load(1)
            print("ready", flush=True)
            await asyncio.to_thread(input)
            load.cache_invalidate(1)
            await asyncio.gather(*(load(key) for key in range(100)))
            await load.cache_close()
            assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
            print("closed", flush=True)

        asyncio.run(main())
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    server.freeze()
    try:
        out, err = await asyncio.wait_for(child.communicate(b"\n"), 30)
    finally:
        server.thaw()
    assert child.returncode == 0, err.decode()
    assert out == b"closed\n"
    slow = "Executing <"  # which a slow machine is told of in debug mode
    lines = [line for line in err.decode().splitlines() if slow not in line]
    assert len([line for line in lines if "no contact" in line]) == len(lines) <= 1


@pytest.mark.parametrize(
    "way",
    ["run", *(pytest.param(way, marks=pytest.mark.more) for way in ("stop", "close"))],
)
async def test_program_that_never_closes_its_cache_ends_quietly_F13(
    lasting: Server, way: str
) -> None:
    """asyncio.run cancels what is left; a loop that is just closed tells of tasks."""
    end = {
        "run": "asyncio.run(load(1))",
        "stop": "loop = asyncio.new_event_loop(); loop.run_until_complete(load(1))",
        "close": "loop = asyncio.new_event_loop(); loop.run_until_complete(load(1)); "
        "loop.close()",
    }[way]
    code = f"""
        import asyncio
        from async_lru import alru_cache
        from async_lru.redis import RedisTier

        tier = RedisTier({lasting.url!r}, namespace="v1", timeout=1.0)

        @alru_cache(ttl=60, tier=tier)
        async def load(key):
            return key

        {end}
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(code)),
        stderr=subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0
    assert b"Traceback" not in err
    assert b"ignored GeneratorExit" not in err


# Two versions of a program


async def test_two_namespaces_know_nothing_of_each_other_F9(
    process: Make, lasting: Server, store: Any
) -> None:
    old, olds = process(lasting.url, namespace="v1")
    new, news = process(lasting.url, namespace="v2")
    assert await old(1) == await new(1)
    assert olds == news == [1]
    old.cache_clear()
    old.cache_invalidate(1)
    await old.cache_settled()
    await asyncio.sleep(0.05)
    assert new.cache_contains(1)
    third, thirds = process(lasting.url, namespace="v2")
    assert await third(1) == "1#1"
    assert thirds == []
    assert len(await keys_like(store, "async-lru:v2:*:value")) == 1


# Several loops, and other clients


async def test_loops_that_notice_an_outage_one_after_the_other_drop_what_they_missed_F7(
    process: Make, proxy: Proxy, lasting: Server
) -> None:
    load, _ = process(proxy.url, shared=True)
    other, _ = process(lasting.url)
    second = asyncio.new_event_loop()
    thread = threading.Thread(target=second.run_forever)
    thread.start()
    blocked = threading.Event()
    try:
        in_second = asyncio.run_coroutine_threadsafe(load(0), second)
        await asyncio.wrap_future(in_second)
        assert await load(1) == await other(1)
        assert proxy.count(b"SUBSCRIBE") == 2
        second.call_soon_threadsafe(blocked.wait)
        proxy.hold(the_subscription)
        other.cache_invalidate(1)
        await other.cache_settled()
        proxy.cut()
        proxy.release()
        await until(lambda: proxy.count(b"SUBSCRIBE") == 3)
        await asyncio.sleep(0.1)
        blocked.set()
        await until(lambda: proxy.count(b"SUBSCRIBE") == 4)
        await until(lambda: not load.cache_contains(1))
    finally:
        blocked.set()
        await load.cache_close()
        await until(lambda: not asyncio.all_tasks(second))
        second.call_soon_threadsafe(second.stop)
        thread.join()
        second.close()


async def test_second_loop_that_joins_drops_nothing_F7(
    process: Make, lasting: Server
) -> None:
    load, _ = process(lasting.url, shared=True)
    await load(1)

    async def elsewhere() -> Any:
        return await load(2)

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert load.cache_contains(1)


async def test_client_that_decodes_answers_works_F1(
    process: Make, lasting: Server
) -> None:
    def client() -> Any:
        return redis.asyncio.Redis(
            port=lasting.port, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )

    load, _ = process(client)
    other, others = process(lasting.url)
    assert await load("\u00e9") == await other("\u00e9")
    other.cache_invalidate("\u00e9")
    await other.cache_settled()
    await until(lambda: not load.cache_contains("\u00e9"))
    assert await load(2) == await other(2)
    assert others == []


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols_of_redis_work_F1(
    process: Make, lasting: Server, protocol: int
) -> None:
    load, _ = process(lambda: redis.asyncio.Redis(port=lasting.port, protocol=protocol))
    other, others = process(lasting.url)
    assert await load(1) == await other(1)
    load.cache_invalidate(1)
    await load.cache_settled()
    await until(lambda: not other.cache_contains(1))
    assert await other(1) == await load(1)


async def test_client_with_retries_is_left_alone_when_it_was_closed_F13(
    process: Make, server: Server
) -> None:
    """redis-py's own retries would go on, and connect again."""
    load, _ = process(lambda: redis.asyncio.Redis(port=server.port), timeout=0.2)
    await load(0)
    server.freeze()
    await asyncio.gather(*(load(key) for key in range(10)))
    await asyncio.wait_for(load.cache_close(), 10)
    await asyncio.sleep(0.05)
    assert open_sockets(server.port) == 0
    server.thaw()


async def test_server_that_takes_connections_and_says_nothing_costs_one_timeout_F7(
    process: Make,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        load, _ = process(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        assert await load(1) == "1#1"
        assert load.cache_stats().tier_up is False
        assert await load(2) == "2#2"
        await load.cache_close()
