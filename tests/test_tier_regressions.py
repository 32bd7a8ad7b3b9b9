"""What strangers found in the second tier."""

import asyncio
import contextlib
import contextvars
import datetime
import functools
import gc
import itertools
import json
import math
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from servers import Server
from tier_support import (
    PATIENCE,
    SLOW,
    Twins,
    client,
    eventually,
    namespace,
    server,
    twins,
)

from async_lru import AlruCacheLoopResetWarning, alru_cache
from async_lru.redis import RedisTier
from async_lru.testing import caching_disabled
from outages import everything, proxied, the_commands, the_subscription, until
from conftest import needs_refcount

__all__ = ("client", "namespace", "server", "twins")


# What waits to be sent


async def test_many_changes_leave_room_for_calls_F7(
    server: Server, twins: Twins
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url)
        changed = twins.returning("value", tier=tier)
        called = twins.returning("value", tier=tier, name="called")
        await changed(0)
        await called(0)
        proxy.delay_down = 0.01
        before = proxy.count(b"EVALSHA")
        for key in range(400):
            changed.cache_invalidate(key)
        await asyncio.sleep(0)
        assert await called(1) == "value"
        assert proxy.count(b"EVALSHA") - before < 300
        proxy.delay_down = 0
        await asyncio.wait_for(changed.cache_settled(), PATIENCE)


async def test_changes_are_told_by_the_next_link_when_all_tasks_were_cancelled_F5(
    twins: Twins,
) -> None:
    one, other = twins.returning("new"), twins.returning("old")
    assert await other(1) == await one(1) == "old"
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert tasks
    for task in tasks:
        task.cancel()
    one.cache_invalidate(1)
    await asyncio.wait_for(one.cache_settled(), PATIENCE)
    await asyncio.wait_for(other.cache_settled(), PATIENCE)
    assert await other(1) == "old"
    assert await one(1) == "old"


@pytest.mark.parametrize("turns", [1, 4, 8])
async def test_cache_opened_while_its_link_closes_is_told_of_F5(
    twins: Twins, turns: int
) -> None:
    one = twins.returning("value")
    await one(1)
    closing = asyncio.ensure_future(one.cache_close())
    for _ in range(turns):
        await asyncio.sleep(0)
    one.cache_open()
    one.cache_invalidate(1)
    await asyncio.wait_for(one.cache_settled(), PATIENCE)
    await closing


async def test_changes_made_while_a_cache_closes_are_told_F5(twins: Twins) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def load(key: int) -> str:
        if key:
            begun.set()
            await end.wait()
        return "value"

    one, other = twins.cached(load), twins.returning("value")
    assert await one(0) == await other(0) == "value"
    run = asyncio.ensure_future(one(1))
    await begun.wait()
    closing = asyncio.ensure_future(one.cache_close(wait=True))
    await asyncio.sleep(0)
    one.cache_invalidate(0)
    end.set()
    await run
    await closing
    assert await eventually(lambda: not other.cache_contains(0))


async def test_settling_that_is_given_up_leaves_nothing_F5(twins: Twins) -> None:
    def futures() -> int:
        gc.collect()
        return sum(type(each) is asyncio.Future for each in gc.get_objects())

    tier = RedisTier("redis://127.0.0.1:1", namespace=twins.namespace, timeout=0.01)
    one = twins.returning("value", tier=tier)
    await one(0)
    for key in range(20):
        one.cache_invalidate(key)
    before = futures()
    for _ in range(20):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(one.cache_settled(), 0.001)
    assert futures() - before < 100


# What is heard


async def test_all_caches_of_a_function_here_act_at_once_F5(twins: Twins) -> None:
    tier = twins.tier()
    one, other = twins.returning("old", tier=tier), twins.returning("new", tier=tier)
    for change in (
        lambda: one.cache_invalidate(1),
        lambda: one.cache_put("put", 1),
        one.cache_clear,
    ):
        await one(1)
        await other(1)
        assert other.cache_contains(1)
        change()
        assert not other.cache_contains(1)
        await one.cache_settled()


async def test_a_failure_elsewhere_leaves_stale_values_alone_C8_C11(
    twins: Twins,
) -> None:
    options = {
        "ttl": 0.2,
        "stale_if_error": 60,
        "error_ttl": {ValueError: 60},
    }
    outcomes = ["good"]

    async def load(key: int) -> str:
        await asyncio.sleep(0.05)
        if not outcomes:
            raise ValueError("down")
        return outcomes.pop()

    async def load_too(key: int) -> str:
        return await load(key)

    one, other = twins.cached(load, **options), twins.cached(load_too, **options)
    assert await one(1) == await other(1) == "good"
    await asyncio.sleep(0.25)
    for _ in range(3):
        assert await asyncio.gather(one(1), other(1)) == ["good", "good"]


async def test_a_run_of_an_ended_generation_that_ends_drops_nothing_F2(
    twins: Twins,
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def load(key: str) -> str:
        if key == "slow":
            begun.set()
            await end.wait()
        return key

    one, other = twins.cached(load), twins.returning("value")
    run = asyncio.ensure_future(one("slow"))
    await begun.wait()
    waits = asyncio.ensure_future(other("slow"))
    await eventually(lambda: other.cache_stats().tier_waits)
    third = twins.returning("value")
    await third("quick")
    third.cache_clear()
    await third.cache_settled()
    assert await waits == "value"
    assert await other("quick") == await third("quick")
    end.set()
    await run
    await one("other")  # the release has been heard when its end is told
    third.cache_invalidate("other")
    await third.cache_settled()
    assert await eventually(lambda: not one.cache_contains("other"))
    assert other.cache_contains("quick")
    assert third.cache_contains("quick")


# Runs that wait


def layers(twins: Twins, tier: RedisTier, go_on: asyncio.Event) -> type[Any]:
    """Make a class whose method asks the instance below for the same entry."""

    class Layer:
        __qualname__ = "Layer"

        def __init__(self, below: "Layer | None" = None) -> None:
            self.below = below

        @alru_cache(ttl=60, tier=tier, per_instance=True, ignore=("self",))
        async def load(self, key: int) -> str:
            if self.below is None:
                return "deep"
            await go_on.wait()
            return await self.below.load(key)

    twins.add(Layer.load)
    return Layer


async def test_run_that_the_holder_of_the_lease_waits_for_runs_alone_B5_F2(
    twins: Twins,
) -> None:
    go_on = asyncio.Event()
    go_on.set()
    Layer = layers(twins, twins.tier(), go_on)
    top = Layer(Layer(Layer()))
    assert await asyncio.wait_for(top.load(1), PATIENCE) == "deep"


# Values and failures


class Refusal(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("refused")
        self.code = code


@pytest.mark.parametrize("error", [Refusal(404), ImportError("no", name="module")])
async def test_failures_that_lose_a_slot_stay_local_C11(
    twins: Twins, error: Exception
) -> None:
    options = {"error_ttl": {Refusal: 60, ImportError: 60}}
    one = twins.returning(error, **options)
    other = twins.counted(**options)
    with pytest.raises(type(error)):
        await one(1)
    assert await other.function(1) == 1


async def test_unequal_keys_of_one_entry_have_one_value_F5(twins: Twins) -> None:
    one, other = twins.returning("value"), twins.returning("value")
    nan, nan_too = math.nan, float("nan")
    await one(nan)
    await one(nan_too)
    other.cache_invalidate(nan)
    await other.cache_settled()
    assert await eventually(
        lambda: not (one.cache_contains(nan) or one.cache_contains(nan_too))
    )


async def test_client_that_cannot_decode_a_value_does_without_F7(
    twins: Twins, server: Server
) -> None:
    def new_client() -> Any:
        return redis.asyncio.Redis(port=server.port, decode_responses=True)

    tier = RedisTier(
        new_client,
        namespace=twins.namespace,
        encode=pickle.dumps,
        decode=pickle.loads,
        timeout=SLOW,
    )
    twin = RedisTier(
        new_client,
        namespace=twins.namespace,
        encode=pickle.dumps,
        decode=pickle.loads,
        timeout=SLOW,
    )
    one, other = twins.counted(tier=tier), twins.counted(tier=twin)
    for key in range(3):
        assert await one.function(key) == await other.function(key) == key
    stats = other.function.cache_stats()
    assert stats.tier_up
    assert stats.tier_errors == 3


# What is kept alive, and what is told


@needs_refcount
async def test_link_keeps_the_context_of_no_call_B3(twins: Twins) -> None:
    class Request:
        pass

    variable: contextvars.ContextVar[Request] = contextvars.ContextVar("variable")
    one = twins.returning("value")

    async def handle() -> "weakref.ref[Request]":
        request = Request()
        variable.set(request)
        await one(1)
        return weakref.ref(request)

    request = await asyncio.create_task(handle())
    await asyncio.sleep(0)
    gc.collect()
    assert request() is None


@needs_refcount
async def test_clearing_lets_keys_go_B3(twins: Twins) -> None:
    class Key(str):
        pass

    one = twins.returning("value")
    key = Key("key")
    await one(key)
    one.cache_clear()
    await one.cache_settled()
    reference = weakref.ref(key)
    del key
    await asyncio.sleep(0)
    gc.collect()
    assert reference() is None


async def test_tier_up_of_instances_is_that_of_now_F11(
    server: Server, twins: Twins
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url)

        class Service:
            @alru_cache(ttl=60, tier=tier, per_instance=True, ignore=("self",))
            async def load(self, key: int) -> int:
                return key

        twins.add(Service.load)
        service = Service()
        await service.load(1)
        assert Service.load.cache_stats().tier_up
        proxy.break_off()
        await until(lambda: not Service.load.cache_stats().tier_up)
        Service.load.cache_clear()
        proxy.mend()
        await until(lambda: Service.load.cache_stats().tier_up)


async def test_server_too_slow_for_calls_is_not_up_F7_F11(
    server: Server, twins: Twins, caplog: pytest.LogCaptureFixture
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url, timeout=0.05)
        proxy.delay_down = 0.3
        one = twins.returning("value", tier=tier)
        for key in range(12):
            assert await one(key) == "value"
            await asyncio.sleep(0.2)
        assert not one.cache_stats().tier_up
        assert len(caplog.records) == 1
        proxy.delay_down = 0
        await until(lambda: one.cache_stats().tier_up)


# Found by reviewing the mends


@pytest.mark.parametrize("turns", [1, 3])
async def test_cache_opened_while_it_closes_tells_of_later_changes_F5(
    twins: Twins, turns: int
) -> None:
    one, other = twins.returning("new"), twins.returning("old")
    await one(0)
    closing = asyncio.ensure_future(one.cache_close())
    for _ in range(turns):
        await asyncio.sleep(0)
    one.cache_open()
    await closing
    assert await other(1) == await one(1) == "old"
    one.cache_invalidate(1)
    await asyncio.wait_for(one.cache_settled(), PATIENCE)
    assert await eventually(lambda: not other.cache_contains(1))
    assert await one(1) == "new"


async def test_run_of_another_cache_here_hears_of_changes_at_once_F5(
    twins: Twins,
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()
    results = ["new", "old"]

    async def load(key: int) -> str:
        result = results.pop()
        begun.set()
        await end.wait()
        return result

    tier = twins.tier()
    one, other = twins.cached(load, tier=tier), twins.returning("other", tier=tier)
    first = asyncio.ensure_future(one(1))
    await begun.wait()
    other.cache_invalidate(1)
    assert not one.cache_contains(1)
    second = asyncio.ensure_future(one(1))
    await eventually(lambda: not results)
    end.set()
    assert await first == "old"
    assert await second == "new"


async def test_link_stays_open_for_a_run_that_a_closing_cache_waits_for_F13(
    twins: Twins, client: Any
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def load(key: int) -> str:
        begun.set()
        await end.wait()
        return "stored"

    tier = twins.tier()
    one = twins.cached(load, tier=tier)
    other = twins.returning("value", tier=tier, name="other")
    await other(1)
    run = asyncio.ensure_future(one(1))
    await begun.wait()
    closing = asyncio.gather(one.cache_close(wait=True), other.cache_close())
    await asyncio.sleep(0.05)
    end.set()
    assert await run == "stored"
    await closing
    assert not list(client.scan_iter(f"*{twins.namespace}*:lease"))
    assert await twins.returning("again")(1) == "stored"


async def test_run_that_waits_notices_that_the_holder_has_come_to_wait_for_it_B5(
    twins: Twins,
) -> None:
    go_on = asyncio.Event()
    Layer = layers(twins, twins.tier(lease=60), go_on)
    below = Layer()
    top = asyncio.ensure_future(Layer(below).load(1))
    await eventually(lambda: Layer.load.cache_stats().tier_misses)
    waits = asyncio.ensure_future(below.load(1))
    await eventually(lambda: Layer.load.cache_stats().tier_waits)
    go_on.set()
    assert await asyncio.wait_for(top, PATIENCE) == "deep"
    assert await waits == "deep"


def test_a_loop_that_ended_while_somebody_waited_leaves_one_link_F13(
    twins: Twins,
) -> None:
    tier = RedisTier("redis://127.0.0.1:1", namespace=twins.namespace, timeout=0.05)
    one = twins.returning("value", tier=tier)

    async def wait_for_ever() -> None:
        await one(1)
        one.cache_invalidate(1)
        waits = asyncio.ensure_future(one.cache_settled())
        await asyncio.sleep(0.01)
        left.append(waits)

    async def close() -> set[Any]:
        await one(2)
        await one.cache_close()
        return asyncio.all_tasks() - {asyncio.current_task()}

    left: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(wait_for_ever())
    loop.close()
    with pytest.warns(AlruCacheLoopResetWarning):
        assert asyncio.run(close()) == set()


# What a stranger found in December 2026


async def test_a_run_that_asks_hears_of_changes_made_in_its_own_process_F5(
    twins: Twins,
) -> None:
    stored = ["old"]
    tier = twins.tier()

    class Repository:
        @alru_cache(ttl=60, per_instance=True, ignore=("self",), tier=tier)
        async def load(self, key: int) -> str:
            return stored[0]

    twins.add(Repository.load)
    first, one, other = Repository(), Repository(), Repository()
    assert await first.load(1) == "old"
    asks = asyncio.ensure_future(other.load(1))
    await asyncio.sleep(0)
    stored[0] = "new"
    one.load.cache_invalidate(1)
    assert await other.load(1) == "new"
    assert await asks == "new"


async def test_what_is_bound_to_a_function_is_part_of_its_keys_F9(
    twins: Twins,
) -> None:
    async def load(tenant: str, key: int, *, suffix: str = "") -> str:
        return f"{tenant}{key}{suffix}"

    def bound(*args: Any, **kwargs: Any) -> Any:
        function = functools.partial(load, *args, **kwargs)
        return twins.add(alru_cache(ttl=60, tier=twins.tier())(function))

    assert await bound("a")(1) == "a1"
    assert await bound("b")(1) == "b1"
    assert await bound("a", suffix="c")(1) == "a1c"
    assert bound("a").cache_stats().tier_hits == 0
    again = bound("a")
    assert await again(1) == "a1"
    assert again.cache_stats().tier_hits == 1


async def test_functions_bound_to_objects_that_cannot_be_told_apart_are_refused_F9(
    twins: Twins,
) -> None:
    class Service:
        async def load(self, key: int) -> str:
            return str(key)

    decorate = alru_cache(ttl=60, tier=twins.tier())
    for function in (Service().load, functools.partial(Service.load, Service())):
        with pytest.raises(
            TypeError, match="cannot tell .*Service.load.* apart|pass a key="
        ):
            decorate(function)
    with_key = alru_cache(ttl=60, tier=twins.tier(), key=lambda key: ("service", key))
    assert await twins.add(with_key(Service().load))(1) == "1"


async def test_idle_connections_that_were_closed_are_no_outage_F7(
    twins: Twins, client: Any
) -> None:
    one = twins.returning("value")
    await asyncio.gather(*map(one, range(10)))
    client.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)
    assert await asyncio.gather(*map(one, range(10, 20))) == ["value"] * 10
    stats = one.cache_stats()
    assert (stats.tier_errors, stats.tier_misses, stats.currsize) == (0, 20, 20)


async def test_a_server_that_becomes_a_replica_counts_as_down_F7(
    twins: Twins, client: Any
) -> None:
    one, other = twins.returning("value"), twins.returning("other")
    assert await one(1) == "value"
    try:
        client.replicaof("127.0.0.1", 1)
        assert await one(2) == "value"
        assert one.cache_stats().tier_up is False
        assert await other(1) == "other"  # whose link begins now
        assert other.cache_stats().tier_up is False
    finally:
        client.replicaof("no", "one")
    await until(lambda: one.cache_stats().tier_up and other.cache_stats().tier_up)
    assert await one(3) == "value"
    assert await other(3) == "value"


async def test_a_late_message_of_a_clear_does_not_bring_its_generation_back_F5(
    twins: Twins, client: Any
) -> None:
    one, other = twins.returning("new"), twins.returning("old")
    assert await one(0) == "new"
    assert await other(1) == "old"
    (key,) = client.keys(f"*{twins.namespace}*:generation")
    ended = client.get(key)
    one.cache_clear()
    await one.cache_settled()
    late = f"g {'f' * 16} {ended} {ended} * app.load"
    client.publish(f"async-lru:{twins.namespace}", late)
    await asyncio.sleep(0.1)
    assert await one(1) == "new"


class LoopInThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        """Return the result of *coroutine* there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    async def cancel_all(self) -> None:
        """Cancel all other tasks there, as frameworks and tests do."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def threads_loops() -> Iterator[list[LoopInThread]]:
    loops = [LoopInThread(), LoopInThread()]
    yield loops
    for loop in loops:
        loop.stop()


def test_a_loop_drops_its_values_when_no_link_hears_for_it_F5_F7(
    twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    tier = twins.tier()
    one = twins.returning("value", tier=tier)
    other = twins.returning("value", tier=tier, name="other")
    here, there = threads_loops
    there.run(other(1))
    here.run(one(1))
    here.run(here.cancel_all())
    assert one.cache_contains(1)  # it hears by the link of the other loop
    there.run(there.cancel_all())
    assert not one.cache_contains(1)
    here.run(one.cache_close())
    there.run(other.cache_close())


def test_a_close_waits_for_the_links_of_other_loops_F13(
    twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    one = twins.returning("value", shared=True)
    here, there = threads_loops
    here.run(one(1))
    there.run(one(2))

    async def others() -> int:
        return len(asyncio.all_tasks() - {asyncio.current_task()})

    assert there.run(others()) > 0
    here.run(one.cache_close())
    assert there.run(others()) == 0


def test_a_put_without_contact_overwrites_nothing_newer_F5_F7(twins: Twins) -> None:
    one = twins.returning("computed", shared=True)
    other = twins.returning("computed", shared=True)

    async def put_newer() -> None:
        other.cache_put("newer", 1)
        await other.cache_settled()

    async def look() -> tuple[Any, Any]:
        await one(2)
        await one.cache_settled()
        return await one(1), await other(1)

    asyncio.run(one(0))  # type: ignore[arg-type]  # a coroutine
    one.cache_put("old", 1)  # between two jobs
    asyncio.run(put_newer())
    assert "old" not in asyncio.run(look())
    asyncio.run(one.cache_close())
    asyncio.run(other.cache_close())


async def test_a_ttl_of_any_length_is_shared_F1(twins: Twins) -> None:
    one, other = twins.counted(ttl=sys.maxsize), twins.counted(ttl=sys.maxsize)
    one.function.cache_put("put", 1)
    await one.function.cache_settled()
    assert await one.function(2) == 2
    assert (await other.function(1), await other.function(2)) == ("put", 2)
    assert other.runs == []


async def test_functions_closed_one_after_the_other_leave_no_connections_F13(
    server: Server, twins: Twins, client: Any
) -> None:
    def make() -> Any:
        made.append(redis.asyncio.Redis.from_url(server.url))
        return made[-1]

    made: list[Any] = []  # keeps open what is not closed
    before = len(client.client_list())
    tier = RedisTier(make, namespace=twins.namespace, timeout=SLOW)
    functions = [twins.returning(1, tier=tier, name=f"load{n}") for n in range(8)]
    await asyncio.gather(*(function(1) for function in functions))

    async def close(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await functions[turns].cache_close()

    await asyncio.gather(*map(close, range(8)))
    await eventually(lambda: len(client.client_list()) == before)


async def test_a_pool_of_few_connections_is_enough_F1_F7(
    server: Server, twins: Twins
) -> None:
    def few() -> Any:
        return redis.asyncio.Redis.from_url(server.url, max_connections=4)

    tier = RedisTier(few, namespace=twins.namespace, timeout=SLOW)
    one = twins.returning("value", tier=tier)
    await asyncio.gather(*map(one, range(50)))
    for key in range(16):
        one.cache_invalidate(key)
    await one.cache_settled()
    stats = one.cache_stats()
    assert (stats.tier_errors, stats.tier_up, stats.currsize) == (0, True, 34)


WHEN = datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.timezone.utc)


class Zone(datetime.tzinfo):
    """Another type of zone than that of decoded times."""

    def utcoffset(self, when: Any) -> datetime.timedelta:
        return datetime.timedelta(0)


@pytest.mark.parametrize("value", [WHEN.replace(fold=1), WHEN.replace(tzinfo=Zone())])
async def test_times_that_do_not_survive_the_codec_are_refused_F8(
    value: datetime.datetime, twins: Twins
) -> None:
    tier = twins.tier(
        encode=lambda when: when.isoformat().encode(),
        decode=lambda packed: datetime.datetime.fromisoformat(packed.decode()),
    )
    assert await twins.returning(WHEN, tier=tier)(1) == WHEN
    with pytest.raises(TypeError, match="cannot store"):
        await twins.returning(value, tier=tier)(2)


class Demanding(Exception):
    """Cannot be made of anything but a key that it knows."""

    def __new__(cls, key: str) -> "Demanding":
        {"known": 1}[key]
        return super().__new__(cls, key)

    def __init__(self, key: str) -> None:
        super().__init__(f"the key is {key}")


async def test_a_failure_that_cannot_be_rebuilt_is_raised_all_the_same_C11(
    twins: Twins,
) -> None:
    one = twins.returning(Demanding("known"), error_ttl={Demanding: 60})
    with pytest.raises(Demanding, match="the key is known"):
        await one(1)


async def test_bound_arguments_follow_ignore_and_typed_F9(twins: Twins) -> None:
    class Session:
        pass

    async def load(number: float, key: int, *, session: Any = None) -> str:
        return f"{number} {key}"

    def bound(number: float, **options: Any) -> Any:
        function = functools.partial(load, number, session=Session())
        options = {"ttl": 60, "tier": twins.tier(), "ignore": ("session",), **options}
        return twins.add(alru_cache(**options)(function))

    assert await bound(1)(2) == "1 2"
    assert await bound(True)(2) == "1 2"
    assert await bound(1, typed=True)(2) == "1 2"
    assert await bound(True, typed=True)(2) == "True 2"


async def test_nothing_connects_while_caching_is_disabled_F7(twins: Twins) -> None:
    made: list[Any] = []
    with caching_disabled():
        tier = RedisTier(lambda: made.append(1), namespace=twins.namespace)
        one = twins.returning("value", tier=tier)
        one.cache_put("put", 1)
        assert await one(1) == "value"
    await asyncio.sleep(0)
    assert made == []


async def test_a_server_that_refuses_writes_is_read_all_the_same_F7(
    twins: Twins, client: Any
) -> None:
    assert await twins.returning("stored")(1) == "stored"
    client.config_set("min-replicas-to-write", 1)
    try:
        one = twins.returning("other")
        assert await one(1) == "stored"
        assert one.cache_stats().tier_up
    finally:
        client.config_set("min-replicas-to-write", 0)


def test_a_clear_in_one_loop_is_known_in_the_others_F5(
    twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    here, there = threads_loops
    one, other = (
        twins.returning("new", shared=True),
        twins.returning("old", shared=True),
    )
    asyncio.run(other(1))
    here.run(one(0))
    there.run(one(2))

    async def clear() -> None:
        one.cache_clear()
        await one.cache_settled()

    here.run(clear())
    assert there.run(one(1)) == "new"
    here.run(one.cache_close())
    asyncio.run(other.cache_close())


# Found by reviewing these mends


@pytest.mark.parametrize("change", ["cache_invalidate", "cache_clear"])
async def test_calls_end_though_their_entry_is_changed_all_the_time_F7(
    twins: Twins, change: str
) -> None:
    one = twins.returning("value", tier=twins.tier(timeout=0.2))
    await one(0)

    async def change_it() -> None:
        while True:
            one.cache_clear() if change == "cache_clear" else one.cache_invalidate(1)
            await asyncio.sleep(0)

    changing = asyncio.ensure_future(change_it())
    await asyncio.sleep(0)
    try:
        assert await asyncio.wait_for(one(1), PATIENCE) == "value"
    finally:
        changing.cancel()


async def test_a_close_gives_up_no_change_while_the_server_takes_them_F13_F5(
    twins: Twins,
) -> None:
    one = twins.returning("value", maxsize=None, tier=twins.tier(timeout=0.3))
    await one(-1)
    for key in range(6000):
        one.cache_invalidate(key)
    await asyncio.wait_for(one.cache_close(), PATIENCE)
    one.cache_open()
    assert one.cache_stats().tier_up
    await asyncio.wait_for(one.cache_settled(), 0.1)  # nothing was left to send


async def test_a_call_waits_for_many_changes_no_longer_than_a_timeout_F7(
    server: Server, twins: Twins
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url, timeout=0.3)
        one = twins.returning("value", maxsize=None, tier=tier)
        await one(0)
        proxy.delay_down = 0.05
        for key in range(1000):
            one.cache_invalidate(key)
        misses = one.cache_stats().tier_misses
        assert await one(999) == "value"
        stats = one.cache_stats()
        assert (stats.tier_up, stats.tier_misses) == (True, misses)
        proxy.delay_down = 0
        await asyncio.wait_for(one.cache_settled(), PATIENCE)
        await one.cache_close()


@pytest.fixture
def far(server: Server, twins: Twins) -> Iterator[tuple[Any, RedisTier]]:
    """A tier whose other threads reach the server through a proxy."""
    here = threading.get_ident()
    with proxied(server.port) as proxy:

        def connect() -> Any:
            is_here = threading.get_ident() == here
            return redis.asyncio.Redis.from_url(server.url if is_here else proxy.url)

        yield proxy, twins.tier(connect, timeout=PATIENCE)


async def test_a_run_whose_link_is_late_hears_of_a_change_by_another_link_F5_E1(
    far: tuple[Any, RedisTier], twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    proxy, tier = far
    one = twins.returning("new", shared=True, tier=tier)
    other = twins.returning("old")
    there = threads_loops[0]
    for key in (1, 2):
        await other(key)
    assert await one(2) == "old"
    await asyncio.to_thread(there.run, one(3))
    proxy.holds_down = everything
    asks = asyncio.ensure_future(asyncio.to_thread(there.run, one(1)))
    await until(lambda: one.cache_stats().in_flight)
    await asyncio.sleep(0.1)  # until the server has answered
    other.cache_invalidate(1)
    other.cache_invalidate(2)
    await other.cache_settled()
    await until(lambda: not one.cache_contains(2))
    proxy.holds_down = the_subscription
    assert await asks == "new"
    proxy.release()
    await asyncio.to_thread(there.run, one.cache_close())


async def test_a_put_here_hides_no_later_change_from_a_run_F5(
    far: tuple[Any, RedisTier], twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    proxy, tier = far
    one, sibling = twins.returning("new", tier=tier), twins.returning("new", tier=tier)
    other = twins.returning("new")
    there = threads_loops[0]
    await asyncio.gather(one(0), other(0))
    await asyncio.to_thread(there.run, sibling(0))
    other.cache_clear()  # so that the sibling has to ask for the generation first
    await other.cache_settled()
    await asyncio.sleep(0.1)
    await one(0)
    proxy.delay_down, proxy.delays_down = 0.3, the_commands
    asks = asyncio.ensure_future(asyncio.to_thread(there.run, sibling(1)))
    await asyncio.sleep(0.1)  # until it has asked for the generation
    one.cache_put("put", 1)
    await one.cache_settled()
    await asyncio.sleep(0.35)  # until it has asked for the value
    other.cache_invalidate(1)
    await other.cache_settled()
    await asks  # it may have been answered before
    await asyncio.sleep(0.1)  # for the message
    assert await asyncio.to_thread(there.run, sibling(1)) == "new"
    await one.cache_close()
    await asyncio.to_thread(there.run, sibling.cache_close())


async def test_a_refresh_is_not_answered_with_what_was_put_before_it_C6(
    server: Server, twins: Twins
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url)
        one = twins.returning("own", tier=tier)
        run = asyncio.get_running_loop().create_future()

        async def load(key: int) -> str:
            return await run if key else "contact"

        other = twins.cached(load)
        await asyncio.gather(one(0), other(0))
        proxy.hold(the_subscription)
        other.cache_put("put before", 1)
        await other.cache_settled()
        there = asyncio.ensure_future(other.cache_refresh(1))
        await until(lambda: other.cache_stats().in_flight)
        await asyncio.sleep(0.1)  # until it has the lease
        here = asyncio.ensure_future(one.cache_refresh(1))
        await until(lambda: one.cache_stats().tier_waits)
        proxy.release()
        await asyncio.sleep(0.1)  # for the messages of the put
        assert not here.done()
        run.set_result("made there")
        assert await here == await there == "made there"
        await one.cache_close()


async def test_a_refresh_that_joins_while_a_value_is_decoded_gets_a_newer_one_C6(
    twins: Twins, threads_loops: list[LoopInThread]
) -> None:
    here, there = threads_loops
    refreshes: list[Any] = []

    def decode(packed: bytes) -> Any:
        if not refreshes:
            refreshes.append(
                asyncio.run_coroutine_threadsafe(one.cache_refresh(1), there.loop)
            )
            time.sleep(0.2)  # until it has joined
        return json.loads(packed)

    tier = twins.tier(encode=lambda value: json.dumps(value).encode(), decode=decode)
    one = twins.returning("new", shared=True, tier=tier)
    assert await twins.returning("old")(1) == "old"

    def call() -> tuple[Any, Any]:
        return here.run(one(1)), refreshes[0].result(PATIENCE)

    assert await asyncio.to_thread(call) == ("new", "new")
    await asyncio.to_thread(here.run, one.cache_close())


async def test_a_run_that_waits_goes_on_when_the_server_becomes_full_F7(
    server: Server, twins: Twins, client: Any
) -> None:
    run = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await run if key else "contact"

    one, other = twins.cached(load), twins.returning("own")
    await asyncio.gather(one(0), other(0))
    first = asyncio.ensure_future(one(1))
    await asyncio.sleep(0.1)  # until it has the lease
    client.config_set("maxmemory", 1)
    try:
        assert await asyncio.wait_for(other(1), SLOW) == "own"
    finally:
        client.config_set("maxmemory", 0)
        run.set_result("late")
    assert await first == "late"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs Unix signals")
async def test_signal_handlers_may_change_what_is_settled_B15_F5(
    server: Server, twins: Twins
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url, timeout=0.1)
        one = twins.returning("value", maxsize=None, tier=tier)
        await one(0)
        proxy.break_off()
        keys = itertools.count(1)
        for _ in range(2000):
            one.cache_invalidate(next(keys))
        await until(lambda: not one.cache_stats().tier_up)
        former = signal.signal(
            signal.SIGALRM, lambda *_: one.cache_invalidate(next(keys))
        )
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            for _ in range(50):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(one.cache_settled(), 0.01)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
        proxy.mend()
        await until(lambda: one.cache_stats().tier_up)
        await one.cache_close()


class Node(list[Any]):
    """A list whose items know it."""

    parent: Any = None


async def test_cycles_in_attributes_survive_the_codec_F8(twins: Twins) -> None:
    root, leaf = Node(), Node("ab")
    root.append(leaf)
    leaf.parent = root
    tier = twins.tier(encode=pickle.dumps, decode=pickle.loads)
    one, other = (twins.returning(root, tier=tier) for _ in range(2))
    assert await one(1) is root
    found = await other(1)
    assert found[0].parent is found


class Stamp(datetime.datetime):
    """A time with an attribute, which pickle of this class loses."""

    sensor: int

    def __reduce_ex__(self, _: Any) -> Any:
        return Stamp.fromisoformat, (self.isoformat(),)


class Names(list[str]):
    """A list with an attribute."""

    sensor: int

    def __reduce_ex__(self, _: Any) -> Any:
        return Names, (list(self),)


@pytest.mark.parametrize("value", [Stamp(2026, 1, 1), Names("ab")])
async def test_attributes_that_do_not_survive_the_codec_are_refused_F8(
    twins: Twins, value: Any
) -> None:
    value.sensor = 7
    tier = twins.tier(encode=pickle.dumps, decode=pickle.loads)
    one = twins.returning(value, tier=tier)
    with pytest.raises(TypeError, match="decoding gives a different value"):
        await one(1)


@pytest.mark.parametrize("turns", range(20))
async def test_a_close_while_contact_is_lost_leaves_no_connections_F13(
    server: Server, twins: Twins, turns: int
) -> None:
    with proxied(server.port) as proxy:
        tier = twins.tier(proxy.url)
        one = twins.returning("value", tier=tier)
        await asyncio.gather(*map(one, range(5)))
        proxy.cut()
        while one.cache_stats().tier_up:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await one.cache_close()
    gc.collect()  # reports what was left open
