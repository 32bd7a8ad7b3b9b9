"""B3: what a cache with a second tier leaves behind in memory."""

import asyncio
import gc
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from servers import Server
from tier_support import (
    Twins,
    entry_keys,
    client,
    eventually,
    server,
    namespace,
    twins,
)

from async_lru import alru_cache
from conftest import (
    collect_reports,
    needs_refcount,
    outcome,
    start,
    needs_refcount_of_functions,
)

__all__ = ("client", "server", "namespace", "twins")

pytestmark = needs_refcount


@pytest.fixture(autouse=True)
def by_reference_count() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Value:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


class FailureError(Exception):
    pass


async def test_a_dropped_value_is_freed_B3(twins: Twins) -> None:
    made: list[Any] = []

    async def load(key: int) -> Value:
        value = Value(key)
        made.append(weakref.ref(value))
        return value

    options = {"encode": pickle.dumps, "decode": pickle.loads}
    maker = twins.cached(load, tier=twins.tier(**options))
    reader = twins.cached(load, tier=twins.tier(**options))
    await maker(1)
    made.append(weakref.ref(await reader(1)))
    assert all(each() is not None for each in made)
    maker.cache_invalidate(1)
    await maker.cache_settled()
    await eventually(lambda: not reader.cache_contains(1))
    await eventually(lambda: all(each() is None for each in made))
    assert len(made) == 2


@pytest.mark.parametrize("kept", [None, {FailureError: 50}])
async def test_a_failure_leaves_no_cycle_B3(twins: Twins, kept: Any) -> None:
    seen: list[Any] = []

    async def load(key: int) -> None:
        error = FailureError("a")
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    maker = twins.cached(load, error_ttl=kept)
    reader = twins.cached(load, error_ttl=kept)
    for function in (maker, reader):
        for ask in (function, function.cache_refresh):
            error = await start(outcome(ask(1)))
            assert type(error) is FailureError
            seen.append(weakref.ref(error))
            del error
    await eventually(lambda: all(each() is None for each in seen))


async def test_what_does_not_survive_leaves_no_cycle_B3(twins: Twins) -> None:
    made: list[Any] = []

    async def load(key: int) -> Value:
        value = Value(key)
        made.append(weakref.ref(value))
        return value

    function = twins.cached(load)
    assert type(await start(outcome(function(1)))) is TypeError
    await eventually(lambda: made[0]() is None)


async def test_nothing_is_reported_that_a_caller_got_B3(twins: Twins) -> None:
    reports: list[Any] = []
    collect_reports(reports)
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> None:
        await gate
        raise FailureError

    function = twins.cached(load)
    calls = [start(outcome(function(1))) for _ in range(3)]
    other = twins.cached(load)
    await eventually(lambda: function.cache_stats().tier_misses)
    calls.append(start(outcome(other(1))))
    await eventually(lambda: other.cache_stats().tier_waits)
    gate.set_result(None)
    for call in calls:
        assert type(await call) is FailureError
    del calls, call
    gc.collect()
    assert reports == []


async def test_what_is_known_of_versions_stays_in_proportion_B3(
    twins: Twins, client: Any
) -> None:
    """What was evicted is forgotten, with its key."""

    class Key(str):
        pass

    function = twins.returning(1, maxsize=10)
    seen = []
    for number in range(100):
        key = Key(str(number))
        seen.append(weakref.ref(key))
        await function(key)
        del key
    await asyncio.sleep(0)
    assert len(entry_keys(client, twins.namespace)) == 100
    assert sum(each() is not None for each in seen) < 50


@needs_refcount_of_functions
async def test_the_cache_of_an_instance_dies_with_it_C9(twins: Twins) -> None:
    tier = twins.tier(encode=pickle.dumps, decode=pickle.loads)
    seen: list[Any] = []

    class Service:
        @alru_cache(ttl=60, per_instance=True, ignore=("self",), tier=tier)
        async def load(self, key: int) -> Value:
            value = Value(key)
            seen.append(weakref.ref(value))
            return value

    twins.add(Service.load)
    service = Service()
    await service.load(1)
    assert seen[0]() is not None
    seen.append(weakref.ref(service))
    del service
    await eventually(lambda: all(each() is None for each in seen))


async def test_misses_leave_nothing_in_memory_B3(twins: Twins) -> None:
    """Not even cycles, by which they would stay until garbage is collected."""
    maker = twins.returning(1, maxsize=1)
    reader = twins.returning(1, maxsize=1)

    async def miss(first: int) -> None:
        for number in range(first, first + 60):
            await maker(number)
            await reader(number)
            await maker.cache_refresh(number)
            maker.cache_invalidate(number)
        await maker.cache_settled()

    def ours() -> int:
        """Count what is of the tier; clients, timers and deadlines come and go."""
        modules = [str(type(each).__module__) for each in gc.get_objects()]
        return sum(module.startswith("async_lru.redis") for module in modules)

    await miss(0)
    before = ours()
    await miss(1000)
    assert ours() - before < 20  # of 60 misses with two functions
