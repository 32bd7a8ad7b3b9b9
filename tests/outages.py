"""What the tests of outages share: a proxy that breaks, and functions behind a tier."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from async_lru import AlruCacheWrapper, alru_cache
from async_lru.redis import RedisTier

from servers import PROGRAMS

#: The server programs that were found. All tests run on the first.
NAMES = list(PROGRAMS)

#: Seconds that tests wait for things that take much less.
PATIENCE = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* returns something true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.005)


Work = Callable[[Any], Awaitable[Any]]


def loader(
    tier: RedisTier, runs: list[Any], work: Work | None = None, **options: Any
) -> "AlruCacheWrapper[..., Any]":
    """Return a function behind a tier. It has the same name each time."""

    @alru_cache(**{"maxsize": 10_000, "ttl": 60, "tier": tier, **options})
    async def load(key: Any) -> Any:
        runs.append(key)
        number = len(runs)
        return f"{key}#{number}" if work is None else await work(key)

    return load


def is_up(function: "AlruCacheWrapper[..., Any]") -> bool | None:
    return function.cache_stats().tier_up


class Connection:
    """One connection through the proxy."""

    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy
        self._writers: list[asyncio.StreamWriter] = []
        #: What the client has sent.
        self.sent = b""

    @property
    def is_subscribed(self) -> bool:
        return b"SUBSCRIBE" in self.sent

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._proxy.refuses:
                return
            upstream, downstream = await asyncio.open_connection(
                "127.0.0.1", self._proxy.server_port
            )
            self._writers.append(downstream)
            tasks = [
                asyncio.create_task(self._pump_up(reader, downstream)),
                asyncio.create_task(self._pump_down(upstream, writer)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            self.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump_up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(65536):
            self.sent += chunk
            self._proxy.on_sent(chunk)
            await asyncio.sleep(self._proxy.delay_up)
            await self._wait(lambda: self._proxy.holds_up)
            writer.write(chunk)

    async def _pump_down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(65536):
            if self._proxy.delays_down(self):
                await asyncio.sleep(self._proxy.delay_down)
            await self._wait(lambda: self._proxy.holds_down)
            if self._proxy.cuts_reply and not self.is_subscribed:
                self._proxy.cuts_reply = False
                writer.write(chunk[: len(chunk) // 2])
                await asyncio.sleep(0.02)
                return
            writer.write(chunk)

    async def _wait(self, holds: Callable[[], Callable[["Connection"], bool]]) -> None:
        while holds()(self):
            await asyncio.sleep(0.002)

    def cut(self) -> None:
        for writer in self._writers:
            transport = writer.transport
            transport.abort()


def nothing(_: Connection) -> bool:
    return False


def everything(_: Connection) -> bool:
    return True


def the_subscription(connection: Connection) -> bool:
    return connection.is_subscribed


def the_commands(connection: Connection) -> bool:
    return not connection.is_subscribed


class Proxy:
    """A TCP proxy in a thread of its own, which breaks as the test says."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.connections: list[Connection] = []
        #: Whether new connections are closed at once.
        self.refuses = False
        #: Seconds by which commands, and their answers, are delayed.
        self.delay_up = self.delay_down = 0.0
        #: The connections with delayed answers.
        self.delays_down: Callable[[Connection], bool] = everything
        #: Which connections pass nothing on for now, in each direction.
        self.holds_up: Callable[[Connection], bool] = nothing
        self.holds_down: Callable[[Connection], bool] = nothing
        #: Whether to cut the next reply in the middle.
        self.cuts_reply = False
        self.on_sent: Callable[[bytes], object] = lambda chunk: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server = self._do(
            asyncio.start_server(self._accept, "127.0.0.1", 0)
        )
        self.port: int = self._listener.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = Connection(self)
        self.connections.append(connection)
        task = self._loop.create_task(connection.serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def count(self, command: bytes) -> int:
        """Return how often a command was sent."""
        return sum(c.sent.count(command) for c in self.connections)

    def hold(self, which: Callable[[Connection], bool] = everything) -> None:
        """Pass nothing on until ``release``, like a network that drops packets."""
        self.holds_up = self.holds_down = which

    def release(self) -> None:
        self.holds_up = self.holds_down = nothing

    def cut(self, which: Callable[[Connection], bool] = everything) -> None:
        """Close connections in both directions."""

        async def cut() -> None:
            for connection in self.connections:
                if which(connection):
                    connection.cut()

        self._do(cut())

    def break_off(self) -> None:
        """Close all connections and refuse new ones."""
        self.refuses = True
        self.cut()

    def mend(self) -> None:
        self.refuses = False

    def close(self) -> None:
        async def close() -> None:
            self._listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def proxied(server_port: int) -> Any:
    """Run a proxy while the block runs."""
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
