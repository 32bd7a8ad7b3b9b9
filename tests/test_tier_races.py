"""What is heard before, between and after the answers of the server (F2, F3, F5)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
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

from async_lru.redis import RedisTier

__all__ = ("client", "namespace", "server", "twins")


class Proxy:
    """Passes everything on, but holds the answers to commands back when told to.

    Messages pass: they come on the connection that has subscribed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._free = asyncio.Event()
        self._free.set()
        self.held = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def hold(self, passing: int = 0) -> None:
        """Hold all answers back from now on, but for the first *passing* ones."""
        self._free.clear()
        self.held = 0
        self._passing = passing

    def release(self) -> None:
        self._free.set()

    def cut(self) -> None:
        """Close all connections; what is held is lost."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self._tasks.clear()

    async def _serve(self, reader: Any, writer: Any) -> None:
        self._writers.append(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(up_writer)
        if not self._server.is_serving():  # closed meanwhile
            self.cut()
            return
        subscribed = asyncio.Event()
        self._start(self._commands(reader, up_writer, subscribed))
        self._start(self._answers(up_reader, writer, subscribed))

    def _start(self, coroutine: Any) -> None:
        self._tasks.add(asyncio.ensure_future(coroutine))

    async def _commands(self, reader: Any, writer: Any, subscribed: Any) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if b"SUBSCRIBE" in data:
                    subscribed.set()
                writer.write(data)
        writer.close()

    async def _answers(self, reader: Any, writer: Any, subscribed: Any) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not subscribed.is_set() and not self._free.is_set():
                    if self._passing:
                        self._passing -= 1
                    else:
                        self.held += 1
                        await self._free.wait()
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        self.release()
        self._server.close()
        self.cut()
        await asyncio.sleep(0.01)  # for those who are about to connect


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    made = Proxy(server.port)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def far(proxy: Proxy, twins: Twins) -> RedisTier:
    """A tier whose answers can be held back."""
    return RedisTier(
        f"redis://127.0.0.1:{proxy.port}", namespace=twins.namespace, timeout=PATIENCE
    )


async def held_back(
    proxy: Proxy,
    call: Awaitable[Any],
    meanwhile: Callable[[], Awaitable[Any]],
    passing: int = 0,
) -> Any:
    """Do something between a command of *call* and its answer; return what it gives."""
    proxy.hold(passing)
    task = asyncio.ensure_future(call)
    await eventually(lambda: proxy.held)
    await meanwhile()
    await asyncio.sleep(0.1)  # for the message
    proxy.release()
    return await asyncio.wait_for(task, PATIENCE)


async def get_ready_to_put(function: Any) -> None:
    """Let the server know the scripts of a put, and wait until there is contact."""
    function.cache_put("put", 0)
    await function.cache_settled()
    await function(2)


async def test_a_generation_that_ended_before_its_answer_was_read_is_not_used_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.counted()
    await twins.counted(tier=far, name="contact").function(0)
    await other.function(0)

    async def clear() -> None:
        other.function.cache_clear()
        await other.function.cache_settled()

    await held_back(proxy, one.function(1), clear)
    assert await other.function(1) == 1
    assert len(one.runs + other.runs) == 2  # 0 by the other, and 1


async def test_a_lease_in_a_generation_that_ends_is_asked_for_again_F2_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.counted()
    await one.function(0)

    async def clear() -> None:
        other.function.cache_clear()
        await other.function.cache_settled()

    await held_back(proxy, one.function(1), clear)
    assert await other.function(1) == 1
    assert other.runs == []


async def test_a_run_that_has_lost_its_lease_is_joined_no_more_when_another_has_stored_F5(
    twins: Twins, client: Any
) -> None:
    end = asyncio.Event()

    async def wait(key: int) -> str:
        await end.wait()
        return "old"

    one, other = twins.cached(wait), twins.returning("new")
    first = asyncio.ensure_future(one(1))
    await eventually(lambda: list(client.scan_iter(f"*{twins.namespace}*:lease")))
    client.delete(*client.scan_iter(f"*{twins.namespace}*:lease"))
    assert await other.cache_refresh(1) == "new"
    await eventually(lambda: one.cache_info().currsize == 0)
    assert await asyncio.wait_for(one(1), PATIENCE) == "new"
    end.set()
    assert await first == "old"
    assert await one(1) == "new"


async def test_a_put_whose_answer_is_lost_does_not_undo_an_invalidation_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.returning("new")
    await get_ready_to_put(one.function)
    proxy.hold(passing=1)  # the lease, and then the value
    one.function.cache_put("put", 1)
    await eventually(lambda: proxy.held)
    assert await other(1) == "put"
    other.cache_invalidate(1)
    await other.cache_settled()
    proxy.cut()
    proxy.release()
    await asyncio.wait_for(one.function.cache_settled(), PATIENCE)
    assert await other(1) == "new"


async def test_a_put_is_not_put_again_after_a_clear_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.returning("new")
    await get_ready_to_put(one.function)

    async def clear() -> None:
        assert await other(1) == "put"
        other.cache_clear()
        await other.cache_settled()

    one.function.cache_put("put", 1)
    await held_back(proxy, one.function.cache_settled(), clear, passing=1)
    assert await other(1) == "new"


async def test_a_put_that_is_late_does_not_undo_a_newer_change_F3_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.returning("new")
    await get_ready_to_put(one.function)

    async def change() -> None:
        other.cache_invalidate(1)
        await other.cache_settled()

    one.function.cache_put("put", 1)
    await held_back(proxy, one.function.cache_settled(), change)
    assert await other(1) == "new"
    assert not one.function.cache_contains(1)


async def test_a_clear_whose_answer_is_lost_brings_nothing_back_F5(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.counted(tier=far), twins.counted()
    one.function.cache_clear()  # after which the server knows the script
    await one.function.cache_settled()
    proxy.hold()
    one.function.cache_clear()
    await eventually(lambda: proxy.held)
    assert await other.function(1) == 1
    other.function.cache_clear()
    await other.function.cache_settled()
    proxy.cut()
    proxy.release()
    await asyncio.wait_for(one.function.cache_settled(), PATIENCE)
    await twins.counted().function(2)
    other.function.cache_invalidate(2)  # whose message comes after that of the clear
    await other.function.cache_settled()
    assert await other.function(1) == 1
    assert other.runs == [(1,), (1,)]


async def test_a_refresh_that_joins_a_call_is_not_content_with_what_was_stored_C6(
    proxy: Proxy, far: RedisTier, twins: Twins
) -> None:
    one, other = twins.returning("new", tier=far), twins.returning("old")
    await one(0)
    assert await other(1) == "old"
    proxy.hold()
    call = asyncio.ensure_future(one(1))
    await eventually(lambda: proxy.held)
    refresh = asyncio.ensure_future(one.cache_refresh(1))
    await asyncio.sleep(0)
    proxy.release()
    assert await asyncio.wait_for(refresh, PATIENCE) == "new"
    assert await call == "new"
    assert await eventually(lambda: not other.cache_contains(1))


async def test_a_refresh_that_joins_a_run_before_it_begins_is_told_to_all_C6_F5(
    twins: Twins,
) -> None:
    options = {"ttl": 0.2, "stale_while_revalidate": 60}
    one = twins.returning("new", **options)
    other = twins.returning("old", **options)
    assert await other(1) == await one(1) == "old"
    await asyncio.sleep(0.25)
    call = asyncio.ensure_future(one(1))  # begins a run in the background
    refresh = asyncio.ensure_future(one.cache_refresh(1))
    assert await call == "old"
    assert await refresh == "new"
    assert await eventually(lambda: not other.cache_contains(1))


async def test_a_refresh_that_waits_for_one_that_fails_runs_itself_C6_F10(
    twins: Twins,
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def fail(key: int) -> str:
        begun.set()
        await end.wait()
        raise LookupError(key)

    one, failing = twins.returning("new"), twins.cached(fail)
    assert await twins.returning("old")(1) == "old"
    first = asyncio.ensure_future(failing.cache_refresh(1))
    await begun.wait()
    second = asyncio.ensure_future(one.cache_refresh(1))
    await eventually(lambda: one.cache_stats().tier_waits)
    end.set()
    assert await asyncio.wait_for(second, SLOW * 5) == "new"
    with pytest.raises(LookupError):
        await first


@pytest.mark.parametrize("times", [1, 2])
async def test_a_late_message_of_an_ended_generation_brings_no_value_back_F3_F5(
    times: int, proxy: Proxy, far: RedisTier, twins: Twins, client: Any
) -> None:
    """It tells of the very value that is on its way to a reader."""
    one, other = twins.counted(tier=far), twins.counted()
    heard: list[str] = []
    channel = f"async-lru:{twins.namespace}"
    listener = client.pubsub()
    listener.subscribe(channel)
    await one.function(0)
    await other.function.cache_refresh(1)  # which is told to all

    def told() -> bool:
        while (message := listener.get_message()) is not None:
            if message["type"] == "message":
                heard.append(message["data"])
        return bool(heard)

    await eventually(told)

    async def clear() -> None:
        other.function.cache_clear()
        await other.function.cache_settled()
        for _ in range(times):  # after the first, no generation is known
            client.publish(channel, heard[0])

    runs = len(one.runs)
    await held_back(proxy, one.function(1), clear)
    assert len(one.runs) == runs + 1
    listener.close()


async def test_a_refresh_is_found_when_the_server_has_lost_the_generation_F5(
    twins: Twins, client: Any
) -> None:
    one, other = twins.counted(), twins.counted()
    await one.function(1)
    client.flushall()
    await other.function(1)  # begins a new one, which is told to nobody
    await one.function.cache_refresh(2)
    assert await other.function(2) == 2
    assert other.runs == [(1,)]


async def test_a_refresh_ends_older_values_if_the_server_loses_the_generation_F5(
    proxy: Proxy, far: RedisTier, twins: Twins, client: Any
) -> None:
    one, other = twins.counted(tier=far), twins.counted()
    await one.function(0)

    async def lose() -> None:
        client.flushall()
        await other.function(1)  # in a generation of its own

    await held_back(proxy, one.function.cache_refresh(1), lose)
    await one.function.cache_settled()
    await asyncio.sleep(0.1)  # for the messages
    await other.function(1)
    assert other.runs == [(1,), (1,)]


@pytest.mark.parametrize(
    ("new", "options"),
    [
        ("not for long", {"ttl": lambda value: 60 if value == "old" else 0}),
        ("not to be stored", {"ttl": lambda value: 60 if value == "old" else None}),
        ("too large" * 1000, {}),
    ],
)
async def test_a_refresh_whose_result_is_not_stored_ends_the_old_value_C6_F5(
    twins: Twins, new: str, options: dict[str, Any]
) -> None:
    one = twins.returning(new, tier=twins.tier(max_bytes=1000), **options)
    other, third = (
        twins.returning("old", **options),
        twins.returning("old again", **options),
    )
    assert await other(1) == await one(1) == "old"
    assert await one.cache_refresh(1) == new
    await one.cache_settled()
    assert await eventually(lambda: not other.cache_contains(1))
    assert await third(1) == "old again"


async def test_a_refresh_that_fails_leaves_the_old_value_to_all_C6_C11(
    twins: Twins,
) -> None:
    options = {"error_ttl": {LookupError: 60}}
    one, other = (
        twins.returning(LookupError("down"), **options),
        twins.counted(**options),
    )
    third = twins.counted(**options)
    await other.function(1)
    with pytest.raises(LookupError):
        await one.cache_refresh(1)
    assert await third.function(1) == 1
    assert third.runs == []
    assert other.function.cache_contains(1)


@pytest.mark.parametrize("turns", range(0, 30, 3))
def test_a_put_that_is_cut_short_leaves_no_lease_F3_F13(
    turns: int, twins: Twins, client: Any
) -> None:
    function = twins.returning("value", shared=True)

    async def main() -> None:
        await function(0)
        function.cache_put("put", 1)
        for _ in range(turns):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert list(client.scan_iter(f"*{twins.namespace}*:lease")) == []
    asyncio.run(function.cache_close())


async def test_a_put_that_is_refused_is_not_kept_here_F3_F5(
    proxy: Proxy, far: RedisTier, twins: Twins, client: Any
) -> None:
    one = twins.returning("new", tier=far)
    await get_ready_to_put(one)

    async def lose_the_lease() -> None:
        client.delete(*client.scan_iter(f"*{twins.namespace}*:lease"))

    one.cache_put("put", 1)
    await held_back(proxy, one.cache_settled(), lose_the_lease)
    assert await one(1) == "new"
