"""F1, F5, F13: what else there is to a cache, with a second tier behind it."""

import asyncio
import enum
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from servers import PROGRAMS, Server, served
from tier_support import (
    NONE,
    PATIENCE,
    Twins,
    client,
    entry_keys,
    eventually,
    server,
    namespace,
    twins,
)

from async_lru import AlruCacheLoopResetWarning, all_caches, alru_cache, batched
from async_lru.redis import RedisTier
from async_lru.testing import caching_disabled, reset_caches
from conftest import outcome, start, steps

__all__ = ("client", "server", "namespace", "twins")


# Methods


def service(twins: Twins, **options: Any) -> tuple[type[Any], list[Any]]:
    """Make the same class as another process has, and note the runs of its methods."""
    runs: list[Any] = []
    tier = twins.tier()

    class Service:
        __qualname__ = "Service"

        def __init__(self, name: str = "") -> None:
            self.name = name

        @alru_cache(ttl=60, tier=tier, **options)
        async def load(self, key: int) -> str:
            runs.append(key)
            return f"{key} of {self.name}"

    twins.add(Service.load)
    return Service, runs


async def test_an_instance_in_the_key_must_be_canonical_F1(twins: Twins) -> None:
    Service, runs = service(twins)
    with pytest.raises(TypeError, match=r"load.* self=.*key=.*ignore=\('self',\)"):
        await Service().load(1)
    assert runs == []


async def test_key_sees_self_and_says_what_stands_for_it_F1(twins: Twins) -> None:
    Service, _ = service(twins, key=lambda self, key: (self.name, key))
    await Service("a").load(1)
    Other, runs = service(twins, key=lambda self, key: (self.name, key))
    assert await Other("a").load(1) == "1 of a"
    assert runs == []
    assert await Other("b").load(1) == "1 of b"
    one, other = Service("a"), Other("a")
    one.load.cache_invalidate(1)
    await one.load.cache_settled()
    await eventually(lambda: not other.load.cache_contains(1))


async def test_ignored_instances_share_an_entry_F1(twins: Twins) -> None:
    Service, _ = service(twins, ignore=("self",))
    Other, runs = service(twins, ignore=("self",))
    assert await Service("a").load(1) == await Other("b").load(1) == "1 of a"
    assert runs == []
    Other.load.cache_put("put", Other("c"), 1)
    await Other.load.cache_settled()
    await eventually(lambda: not Service.load.cache_contains(Service(), 1))
    assert await Service("a").load(1) == "put"


async def test_instances_with_caches_of_their_own_share_the_second_tier_F1(
    twins: Twins,
) -> None:
    Service, runs = service(twins, per_instance=True, ignore=("self",))
    one, other = Service("a"), Service("b")
    assert await one.load(1) == "1 of a"
    assert not other.load.cache_contains(1)
    assert await other.load(1) == "1 of a"
    assert runs == [1]
    one.load.cache_invalidate(1)
    await one.load.cache_settled()
    await eventually(lambda: not other.load.cache_contains(1))
    assert await other.load(1) == "1 of b"
    del one
    assert await other.load(1) == "1 of b"
    third = Service("c")
    assert await third.load(1) == "1 of b"
    await Service.load.cache_close()
    assert runs == [1, 1]


@pytest.mark.filterwarnings("ignore:functools.partial will be a method:FutureWarning")
async def test_a_member_of_an_enum_is_canonical_as_self_F1(twins: Twins) -> None:
    def make(runs: list[Any]) -> Any:
        tier = twins.tier()

        class Colour(enum.Enum):
            __qualname__ = "Colour"
            RED = 1
            BLUE = 2

            @alru_cache(ttl=60, tier=tier)
            async def load(self, key: int) -> str:
                runs.append(self)
                return f"{key} {self.name}"

        twins.add(Colour.load)
        return Colour

    runs: list[Any] = []
    Colour, Same = make([]), make(runs)
    await Colour.RED.load(1)
    assert await Same.RED.load(1) == "1 RED"
    assert runs == []
    assert await Same.BLUE.load(1) == "1 BLUE"


async def test_classmethods_and_staticmethods_F1(twins: Twins) -> None:
    def make(runs: list[Any]) -> Any:
        tier = twins.tier()

        class Service:
            __qualname__ = "Service"

            @classmethod
            @alru_cache(ttl=60, tier=tier)
            async def of_class(cls, key: int) -> int:
                runs.append(key)
                return key

            @staticmethod
            @alru_cache(ttl=60, tier=tier)
            async def static(key: int) -> int:
                runs.append(key)
                return key

        twins.add(Service.of_class)
        twins.add(Service.static)
        return Service

    runs: list[Any] = []
    One, Other = make([]), make(runs)
    for Class in (One, Other):
        assert await Class.of_class(1) == await Class().of_class(1) == 1
        assert await Class.static(1) == await Class().static(1) == 1
    assert runs == []


# What a first tier does


async def test_what_was_evicted_here_is_found_there_F1(twins: Twins) -> None:
    function, runs = twins.counted(maxsize=1)
    for key in (1, 2, 1, 2):
        assert await function(key) == key
    assert runs == [(1,), (2,)]
    stats = function.cache_stats()
    assert (stats.currsize, stats.evictions, stats.tier_hits) == (1, 3, 2)


async def test_calls_of_one_process_share_one_question_F2(twins: Twins) -> None:
    function, runs = twins.counted()
    assert await asyncio.gather(*(function(1) for _ in range(50))) == [1] * 50
    assert runs == [(1,)]
    assert function.cache_stats().tier_misses == 1


async def test_warming_asks_the_second_tier_F1(twins: Twins) -> None:
    maker, _ = twins.counted()
    await maker.cache_warm([(key,) for key in range(20)])
    other, runs = twins.counted()
    assert await other.cache_warm([(key,) for key in range(20)]) == list(range(20))
    assert runs == []


async def test_batched_runs_under_a_second_tier_F1(twins: Twins) -> None:
    batches: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        batches.append(keys)
        return keys

    one = twins.cached(batched()(load))
    assert await asyncio.gather(*map(one, range(5))) == list(range(5))
    other, runs = twins.counted()
    assert await other(3) == 3
    assert sorted(key for batch in batches for key in batch) == list(range(5))


async def test_a_call_from_its_own_run_is_refused_and_does_not_hang_B5(
    twins: Twins, client: Any
) -> None:
    async def load(key: int) -> int:
        result: int = await function(key)
        return result

    function = twins.cached(load)
    with pytest.raises(RuntimeError, match="its own run"):
        await function(1)
    assert entry_keys(client, twins.namespace) == []


async def test_recursion_over_other_keys_B6(twins: Twins) -> None:
    async def fib(number: int) -> int:
        if number < 2:
            return number
        return await function(number - 1) + await function(number - 2)

    function = twins.cached(fib)
    assert await function(40) == 102334155
    other, runs = twins.counted()
    assert await other(40) == 102334155
    assert runs == []


async def test_an_abandoned_run_goes_on_and_is_stored_C14(twins: Twins) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await gate

    function = twins.cached(load, cancel_abandoned=False)
    call = start(function(1))
    await eventually(lambda: function.cache_stats().tier_misses)
    call.cancel()
    assert type(await outcome(call)) is asyncio.CancelledError
    gate.set_result("made")
    await eventually(lambda: function.cache_stats().loads)
    other, runs = twins.counted()
    assert (await other(1), runs) == ("made", [])


# Changes


async def test_what_was_changed_here_is_not_read_back_F5(twins: Twins) -> None:
    values = iter(range(100))

    async def load(key: int) -> int:
        return next(values)

    function = twins.cached(load)
    for change, expected in (
        (lambda: function.cache_invalidate(1), 1),
        (lambda: function.cache_clear(), 2),
        (lambda: (function.cache_put(50, 1), function.cache_invalidate(1)), 3),
        (lambda: (function.cache_invalidate(1), function.cache_put(50, 1)), 50),
        (lambda: (function.cache_put(60, 1), function.cache_clear()), 4),
        (lambda: (function.cache_clear(), function.cache_put(70, 1)), 70),
    ):
        await function(1)
        change()
        assert await function(1) == expected
    await function.cache_settled()
    other, runs = twins.counted()
    assert (await other(1), runs) == (70, [])


async def test_ones_own_changes_are_told_to_the_others_alone_F5(twins: Twins) -> None:
    one, runs = twins.counted()
    other, _ = twins.counted()
    await other(1)
    await one(1)
    one.cache_clear()
    one.cache_put("put", 2)
    one.cache_invalidate(3)
    await one(3)
    await eventually(lambda: not other.cache_contains(1))
    await asyncio.sleep(0.02)
    assert one.cache_contains(2)
    assert one.cache_contains(3)
    assert runs == [(3,)]  # 1 was the other's


async def test_a_refresh_runs_though_the_second_tier_has_a_value_C6(
    twins: Twins,
) -> None:
    one, runs = twins.counted()
    other, _ = twins.counted()
    await one("a")
    await other("a")
    assert await one.cache_refresh("a") == "a"
    assert runs == [("a",), ("a",)]
    await eventually(lambda: not other.cache_contains("a"))


async def test_a_refresh_that_fails_leaves_the_value_to_all_C6(
    twins: Twins, client: Any
) -> None:
    fails = False

    async def load(key: int) -> int:
        if fails:
            raise LookupError
        return key

    one = twins.cached(load)
    other, runs = twins.counted()
    await one(1)
    await other(1)
    before = entry_keys(client, twins.namespace)
    fails = True
    with pytest.raises(LookupError):
        await one.cache_refresh(1)
    assert await one(1) == 1
    assert other.cache_contains(1)
    assert entry_keys(client, twins.namespace) == before
    third, runs = twins.counted()
    assert (await third(1), runs) == (1, [])


async def test_what_others_have_stored_does_not_drop_ones_own_F5(twins: Twins) -> None:
    one, runs = twins.counted()
    for key in range(10):
        await one(key)
    await one.cache_settled()
    await steps(50)
    assert one.cache_info().currsize == 10


async def test_where_is_refused_with_the_remedy_F5(twins: Twins) -> None:
    function, _ = twins.counted()
    await function(1)
    with pytest.raises(
        RuntimeError,
        match=r"app\.load, which has a tier.*cache_invalidate or cache_clear",
    ):
        function.cache_invalidate_where(lambda key: True)
    assert function.cache_contains(1)


def test_changes_need_no_loop_and_settle_in_the_next_F5(
    server: Server, namespace: str, client: Any
) -> None:
    twins = Twins(server.url, namespace)
    function, _ = twins.counted(shared=True)
    other, runs = twins.counted(shared=True)
    function.cache_invalidate(1)
    function.cache_clear()
    function.cache_invalidate(2)

    async def main() -> None:
        await function.cache_settled()
        await other(1)

    asyncio.run(main())
    function.cache_invalidate(1)
    assert entry_keys(client, namespace)

    async def end() -> None:
        await function.cache_settled()
        assert entry_keys(client, namespace) == []
        await twins.close()

    asyncio.run(end())


@pytest.mark.parametrize("program", list(PROGRAMS)[:1] or NONE)
async def test_settled_waits_for_a_server_that_does_not_answer_F5(program: str) -> None:
    with served(program) as server:
        twins = Twins(server.url, "v1")
        tier = RedisTier(server.url, namespace="v1", timeout=0.2)
        function, _ = twins.counted(tier=tier)
        await function(1)
        server.freeze()
        function.cache_invalidate(1)
        waiting = start(function.cache_settled())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(function.cache_settled(), 0.5)
        assert not waiting.done()
        server.thaw()
        await asyncio.wait_for(waiting, PATIENCE)
        other, runs = twins.counted()
        assert (await other(1), runs) == (1, [(1,)])
        await twins.close()


# Stale values


async def expire(client: Any, namespace: str) -> None:
    """Let the one value end that has a ttl of 0.2 seconds, here too."""

    def ends(key: str) -> bool:
        left: int = client.pttl(key)
        return -2 < left < 1000

    await eventually(lambda: not any(map(ends, entry_keys(client, namespace))))
    await asyncio.sleep(0.2)  # it may have a little more left here


async def test_a_stale_value_is_served_while_the_tier_is_asked_C8(
    twins: Twins, client: Any
) -> None:
    values = iter(["old", "new", "newer"])

    async def load(key: int) -> str:
        return next(values) if key else "connected"

    options = {
        "ttl": lambda value: 0.5 if value == "old" else 60,
        "stale_while_revalidate": 60,
    }
    maker = twins.cached(load, **options)
    reader = twins.cached(load, **options)
    await maker(0)
    await reader(0)
    assert await maker(1) == await reader(1) == "old"
    await expire(client, twins.namespace)
    assert await maker(1) == "old"
    await eventually(lambda: maker.cache_stats().loads == 3)
    # Elsewhere the new value is known of, or is found.
    assert await reader(1) in ("old", "new")
    await eventually(lambda: reader.cache_stats().tier_hits == 3)
    assert await reader(1) == "new"
    assert reader.cache_stats().loads == 0


async def test_a_value_from_elsewhere_goes_stale_when_the_server_says_C8(
    twins: Twins, client: Any
) -> None:
    maker, _ = twins.counted(ttl=60)
    await maker(1)
    (key,) = entry_keys(client, twins.namespace)
    reader, runs = twins.counted(ttl=60, stale_while_revalidate=60)
    await reader("connected")
    runs.clear()
    client.pexpire(key, 500)
    assert await reader(1) == 1
    await expire(client, twins.namespace)
    assert await reader(1) == 1
    assert reader.cache_stats().stale_hits == 1
    await eventually(lambda: runs == [(1,)])


async def test_a_failing_run_serves_the_old_value_C8(twins: Twins, client: Any) -> None:
    fails = False

    async def load(key: int) -> int:
        if fails:
            raise LookupError
        return key

    function = twins.cached(load, ttl=0.2, stale_if_error=60, stale_retry=0)
    await function(1)
    await expire(client, twins.namespace)
    fails = True
    assert await function(1) == 1
    assert function.cache_stats().failures == 1
    assert entry_keys(client, twins.namespace) == []  # no lease is left


async def test_a_call_that_waits_for_another_process_may_take_the_old_value_C13(
    twins: Twins, client: Any
) -> None:
    reader, _ = twins.counted(ttl=0.2, stale_if_error=60, stale_if_slow=0)
    await reader(1)
    await expire(client, twins.namespace)
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await gate

    maker = twins.cached(load)
    making = start(maker(1))
    await eventually(lambda: maker.cache_stats().tier_misses)
    assert await reader(1) == 1
    gate.set_result("new")
    assert await making == "new"
    await eventually(lambda: reader.cache_stats().tier_hits)
    assert await reader(1) == "new"


async def test_an_invalidation_elsewhere_drops_stale_values_too_F5(
    twins: Twins, client: Any
) -> None:
    reader, runs = twins.counted(ttl=0.2, stale_while_revalidate=60)
    await reader(1)
    await expire(client, twins.namespace)
    assert reader.cache_contains(1)
    other, _ = twins.counted()
    other.cache_invalidate(1)
    await eventually(lambda: not reader.cache_contains(1))
    assert await reader(1) == 1
    assert runs == [(1,), (1,)]


# Loops and threads


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Do all of *works* at the same time; return what they return or raise."""
    results: list[Any] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def do(place: int) -> None:
        barrier.wait(PATIENCE)
        try:
            results[place] = works[place]()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=do, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return results


def test_threads_with_a_loop_each_share_a_cache_and_its_tier_E2(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    runs: list[Any] = []

    async def load(key: int) -> int:
        runs.append(key)
        await asyncio.sleep(0.01)
        return key

    function = twins.cached(load, shared=True)
    rivals, runs_of_rivals = twins.counted(shared=True)

    async def main() -> list[int]:
        called = [function(key % 5) for key in range(50)]
        called += [rivals(key % 5) for key in range(50)]
        return await asyncio.gather(*called)

    told = in_threads(*[lambda: asyncio.run(main())] * 4)
    assert told == [[key % 5 for key in range(50)] * 2] * 4
    # A loop that ends leaves its leases, and another one runs.
    assert 5 <= len(runs) + len(runs_of_rivals) <= 10
    asyncio.run(twins.close())


def test_a_loop_for_each_job_is_served_by_the_second_tier_E1(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    function, runs = twins.counted(shared=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            assert asyncio.run(function(1)) == 1
    assert runs == [(1,)]
    asyncio.run(twins.close())


def test_a_job_sees_what_was_changed_between_jobs_F5(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    function, runs = twins.counted(shared=True)
    other, _ = twins.counted(shared=True)

    async def change() -> None:
        other.cache_put("changed", 1)
        await other.cache_settled()

    assert asyncio.run(function(1)) == 1
    asyncio.run(change())
    assert asyncio.run(function(1)) == "changed"
    assert runs == [(1,)]
    asyncio.run(twins.close())


def test_a_loop_for_each_job_resets_a_cache_that_is_not_shared_A10(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    function, runs = twins.counted()
    assert asyncio.run(function(1)) == 1
    with pytest.warns(AlruCacheLoopResetWarning):
        assert asyncio.run(function(1)) == 1
    assert runs == [(1,)]
    assert function.cache_stats().tier_hits == 1
    asyncio.run(twins.close())


def test_a_change_in_a_thread_without_a_loop_is_told_F5(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    function, _ = twins.counted(shared=True)
    other, runs = twins.counted(shared=True)

    async def main() -> None:
        await function(1)
        await other(1)
        await asyncio.to_thread(function.cache_put, "put", 1)
        await eventually(lambda: not other.cache_contains(1))
        assert await other(1) == "put"
        await asyncio.to_thread(function.cache_clear)
        await function.cache_settled()
        await eventually(lambda: not other.cache_contains(1))
        await twins.close()

    asyncio.run(main())
    assert runs == []


def test_a_loop_that_is_closed_under_a_run_leaves_no_lease_for_long_F13(
    server: Server, namespace: str, client: Any
) -> None:
    """asyncio.run cancels what is left, so the lease is given back."""
    twins = Twins(server.url, namespace)

    async def load(key: int) -> None:
        await asyncio.get_running_loop().create_future()

    function = twins.cached(load, tier=twins.tier(lease=600), shared=True)

    async def main() -> None:
        call = start(function(1))
        await eventually(lambda: entry_keys(client, namespace))
        assert not call.done()

    asyncio.run(main())
    assert entry_keys(client, namespace) == []
    asyncio.run(twins.close())


# Closing


def connections(client: Any, name: str) -> int:
    return sum(each["name"] == name for each in client.client_list())


async def test_closing_the_last_function_closes_the_connections_F13(
    twins: Twins, client: Any
) -> None:
    name = twins.namespace
    tier = RedisTier(f"{twins.url}?client_name={name}", namespace=name, timeout=2)
    before = asyncio.all_tasks()
    one, _ = twins.counted(tier=tier, name="one")
    two, _ = twins.counted(tier=tier, name="two")
    await one(1)
    await two(1)
    assert connections(client, name) >= 1
    await one.cache_close()
    assert await two(2) == 2
    assert connections(client, name) >= 1
    await two.cache_close()
    assert asyncio.all_tasks() == before
    await eventually(lambda: connections(client, name) == 0)


async def test_closing_lets_changes_settle_F13(twins: Twins, client: Any) -> None:
    function, _ = twins.counted()
    for key in range(20):
        await function(key)
    assert len(entry_keys(client, twins.namespace)) == 20
    for key in range(20):
        function.cache_invalidate(key)
    await function.cache_close()
    assert entry_keys(client, twins.namespace) == []


async def test_closing_cancels_runs_and_gives_their_leases_back_F13(
    twins: Twins, client: Any
) -> None:
    async def load(key: int) -> None:
        await asyncio.get_running_loop().create_future()

    function = twins.cached(load, tier=twins.tier(lease=600))
    calls = [start(outcome(function(key))) for key in range(3)]
    await eventually(lambda: len(entry_keys(client, twins.namespace)) == 3)
    await function.cache_close()
    assert entry_keys(client, twins.namespace) == []
    for call in calls:
        assert type(await call) is asyncio.CancelledError


async def test_closing_may_wait_for_runs_which_are_stored_F13(
    twins: Twins, client: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await gate

    function = twins.cached(load)
    call = start(function(1))
    await eventually(lambda: function.cache_stats().tier_misses)
    closing = start(function.cache_close(wait=True))
    await steps()
    gate.set_result("made")
    await closing
    assert await call == "made"
    other, runs = twins.counted()
    assert (await other(1), runs) == ("made", [])


async def test_closing_a_waiter_leaves_the_run_elsewhere_alone_F13(
    twins: Twins,
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await gate

    maker = twins.cached(load)
    call = start(maker(1))
    await eventually(lambda: maker.cache_stats().tier_misses)
    waiter, _ = twins.counted()
    waiting = start(outcome(waiter(1)))
    await eventually(lambda: waiter.cache_stats().tier_waits)
    await waiter.cache_close()
    assert type(await waiting) is asyncio.CancelledError
    gate.set_result("made")
    assert await call == "made"
    assert maker.cache_stats().tier_refused == 0


async def test_what_the_callable_returned_is_closed_F13(twins: Twins) -> None:
    from redis.asyncio import Redis

    closed: list[Any] = []

    class Client(Redis):  # type: ignore[misc]
        async def aclose(self, *args: Any, **kwargs: Any) -> None:
            closed.append(self)
            await super().aclose(*args, **kwargs)

    tier = RedisTier(
        lambda: Client.from_url(twins.url), namespace=twins.namespace, timeout=2
    )
    function, _ = twins.counted(tier=tier)
    await function(1)
    assert closed == []
    await function.cache_close()
    assert len(closed) == 1


async def test_a_closed_function_can_be_opened_again_A9(twins: Twins) -> None:
    function, runs = twins.counted()
    await function(1)
    for _ in range(3):
        await function.cache_close()
        await function.cache_close()
        with pytest.raises(RuntimeError, match="closed"):
            await function(1)
        function.cache_open()
        assert await function(1) == 1
    assert runs == [(1,)]
    assert function.cache_stats().tier_hits == 1


async def test_closing_what_was_never_called_F13(twins: Twins) -> None:
    function, _ = twins.counted()
    await function.cache_close()
    nobody = RedisTier("redis://127.0.0.1:1", namespace="v1", timeout=0.05)
    function, _ = twins.counted(tier=nobody)
    await function.cache_close()
    function, _ = twins.counted(tier=nobody)
    function.cache_invalidate(1)
    before = asyncio.all_tasks()
    await asyncio.wait_for(function.cache_close(), PATIENCE)
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("program", list(PROGRAMS)[:1] or NONE)
async def test_closing_gives_up_in_an_outage_F13(program: str) -> None:
    with served(program) as server:
        before = asyncio.all_tasks()
        tier = RedisTier(server.url, namespace="v1", timeout=0.2)

        async def load(key: int) -> None:
            await asyncio.get_running_loop().create_future()

        function = Twins(server.url, "v1").cached(load, tier=tier)
        call = start(outcome(function(1)))
        await eventually(lambda: function.cache_stats().tier_misses)
        server.freeze()
        function.cache_invalidate(2)
        await asyncio.wait_for(function.cache_close(), PATIENCE)
        assert type(await call) is asyncio.CancelledError
        assert asyncio.all_tasks() <= before
        server.thaw()


def run_alone(program: str, *args: str) -> None:
    """Run *program* in a Python that takes every warning for an error."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith("Executing ")  # asyncio on what is slow
    ]
    assert (done.returncode, told) == (0, []), done.stderr


PROGRAM = textwrap.dedent(
    """
    import asyncio, gc, os, sys
    from async_lru import alru_cache
    from async_lru.redis import RedisTier

    tier = RedisTier(sys.argv[1], namespace=sys.argv[2], timeout=2)

    @alru_cache(ttl=60, tier=tier)
    async def load(key):
        if key < 0:
            await asyncio.sleep(60)
        return f"{key} of {os.getpid()}"

    """
)


@pytest.mark.parametrize("closes", ["await load.cache_close()", "pass"])
def test_nothing_is_left_running_F13(
    server: Server, namespace: str, client: Any, closes: str
) -> None:
    program = PROGRAM + textwrap.dedent(
        f"""
        async def main():
            await asyncio.gather(*map(load, range(10)))
            load.cache_invalidate(1)
            task = asyncio.create_task(load(-1))
            while not load.cache_stats().tier_misses == 11:
                await asyncio.sleep(0.01)
            {closes}

        asyncio.run(main())
        gc.collect()
        """
    )
    run_alone(program, server.url, namespace)
    # Neither is the lease of what was cut short.
    assert len(entry_keys(client, namespace)) in (9, 10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("shared", ["", "shared=True"])
def test_a_forked_child_has_connections_of_its_own_E11(
    server: Server, namespace: str, shared: str
) -> None:
    program = PROGRAM.replace("tier=tier)", f"tier=tier, {shared})") + textwrap.dedent(
        """
        import signal, warnings
        warnings.simplefilter("ignore")  # of forks, and resets

        def child():
            async def main():
                found = [await load(key) for key in range(5)]
                assert len({each.split()[-1] for each in found}) == 1, found
                assert found[0].split()[-1] != str(os.getpid()), found
                load.cache_invalidate(1)
                load.cache_put("child", 2)
                await load.cache_settled()
                await load(100)
                await load.cache_close()
            asyncio.run(main())

        async def main():
            for key in range(5):
                await load(key)
            slow = asyncio.ensure_future(load(-1))
            await asyncio.sleep(0.05)
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    signal.alarm(30)
                    asyncio._set_running_loop(None)
                    child()
                    code = 0
                finally:
                    if code:
                        sys.excepthook(*sys.exc_info())
                    os._exit(code)
            while not (status := os.waitpid(pid, os.WNOHANG))[0]:
                await asyncio.sleep(0.01)
            assert status[1] == 0
            while load.cache_contains(1) or load.cache_contains(2):
                await asyncio.sleep(0.01)
            assert await load(2) == "child"
            assert (await load(1)).split()[-1] == str(os.getpid())
            assert load.cache_stats().tier_errors == 0
            slow.cancel()
            await load.cache_close()

        asyncio.run(asyncio.wait_for(main(), 30))
        """
    )
    run_alone(program, server.url, namespace)


# Tests of users


async def test_reset_caches_leaves_the_second_tier_alone_F1(twins: Twins) -> None:
    function, runs = twins.counted()
    await function(1)
    reset_caches()
    assert function.cache_stats().misses == 0
    assert not function.cache_contains(1)
    assert await function(1) == 1
    assert runs == [(1,)]
    await function.cache_close()
    reset_caches()
    assert await function(1) == 1


async def test_a_reset_during_a_run_F1(twins: Twins, client: Any) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> str:
        return await gate

    function = twins.cached(load)
    call = start(function(1))
    await eventually(lambda: function.cache_stats().tier_misses)
    reset_caches()
    gate.set_result("made")
    assert await call == "made"
    assert entry_keys(client, twins.namespace) == []
    assert not function.cache_contains(1)


async def test_disabled_caches_ask_no_server_F1(twins: Twins, client: Any) -> None:
    function, runs = twins.counted()
    before, _ = twins.counted()
    await before(1)
    with caching_disabled():
        assert [await function(1), await function(1)] == [1, 1]
        assert runs == [(1,), (1,)]
        function.cache_put("put", 1)
        function.cache_invalidate(1)
        function.cache_clear()
        await asyncio.wait_for(function.cache_settled(), PATIENCE)
        assert await function.cache_refresh(1) == 1
        assert len(runs) == 3
    assert (await function(1), len(runs)) == (1, 3)  # from the server, where it stayed


async def test_all_caches_has_them_F1(twins: Twins) -> None:
    function, _ = twins.counted()
    assert function in list(all_caches())


async def test_clearing_reaches_others_where_there_is_no_instance_F5(
    twins: Twins,
) -> None:
    def service() -> Any:
        class Service:
            async def load(self, key: int) -> int:
                runs.append(key)
                return key

        runs: list[int] = []
        Service.load = twins.cached(  # type: ignore[method-assign]
            Service.load, per_instance=True, ignore=("self",)
        )
        return Service, runs

    (one, _), (other, runs) = service(), service()
    instance = other()
    await instance.load(1)
    one.load.cache_clear()
    await one.load.cache_settled()
    await eventually(lambda: not instance.load.cache_contains(1))
    await instance.load(1)
    assert runs == [1, 1]


async def test_tasks_of_a_factory_carry_commands_A12(twins: Twins) -> None:
    made: list[Any] = []
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    one, _ = twins.counted()
    other, runs = twins.counted()
    assert (await one(1), await other(1), runs) == (1, 1, [])
    assert made


def test_a_shared_cache_with_stale_values_hears_of_changes_in_any_loop_F5(
    server: Server, namespace: str
) -> None:
    twins = Twins(server.url, namespace)
    options = {"shared": True, "stale_if_error": 60}
    one, _ = twins.counted(**options)
    other, runs = twins.counted(**options)

    async def first() -> None:
        assert (await one(1), await other(1), runs) == (1, 1, [])

    async def second() -> None:
        other.cache_put("new", 1)
        await other.cache_settled()
        assert await one(1) == "new"
        await twins.close()

    asyncio.run(first())
    asyncio.run(second())
