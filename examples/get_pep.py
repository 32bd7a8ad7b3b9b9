"""A cached HTTP client at work: ``make demo``.

A server on this machine plays the part of a documentation site: it serves the
source of Python's standard modules, each after a few tens of milliseconds, and
counts its requests. The client is the classic of ``functools.lru_cache``, with
``await``. The example ends with a clear line and exit status 1 if anything that
it shows did not happen.
"""

import asyncio
import random
import sys
import sysconfig
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from aiohttp import ClientResponseError, ClientSession, web

from async_lru import CacheInfo, alru_cache

STDLIB = Path(sysconfig.get_path("stdlib"))


class Site:
    """A site that serves documents slowly and counts how often each was asked for."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request for ``/{name}`` with the source of that module."""
        name = request.match_info["name"]
        self.requests[name] += 1
        await asyncio.sleep(random.uniform(0.03, 0.05))
        path = STDLIB / f"{name}.py"
        if not path.is_file():
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Site", None]:
        """Serve on a free port of this machine."""
        application = web.Application()
        application.router.add_get(r"/{name:\w+}", self.serve)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self
        finally:
            await runner.cleanup()


class Stopwatch:
    """Tells the milliseconds since it was last asked."""

    def __init__(self) -> None:
        self.started = perf_counter()

    def __str__(self) -> str:
        before, self.started = self.started, perf_counter()
        return f"{(self.started - before) * 1000:6.1f} ms"


def check(happened: bool, what: str) -> None:
    """End the example if *what* it says did not happen."""
    if not happened:
        sys.exit(f"get_pep.py: this did not happen: {what}")


async def show(site: Site, session: ClientSession) -> None:
    """Show what the cache does, and check it at the site's counter."""

    async def fetch(name: str) -> bytes:
        async with session.get(f"{site.url}/{name}") as response:
            response.raise_for_status()
            return await response.read()

    @alru_cache(maxsize=32)
    async def get_source(name: str) -> bytes:
        return await fetch(name)

    @alru_cache(maxsize=32, ttl=1)
    async def get_recent(name: str) -> bytes:
        return await fetch(name)

    print("Repeats are hits; what is missing is asked for again:")
    watch = Stopwatch()
    for name in "ast", "abc", "ast", "nothing", "bdb", "ast", "abc", "nothing", "ast":
        try:
            size = f"{len(await get_source(name)):6} bytes"
        except ClientResponseError as error:
            size = f"{error.status} {error.message}"
        print(f"    {watch}  {name:8} {size}")
    info = get_source.cache_info()
    print(f"    {info}")
    check(info == CacheInfo(4, 5, 32, 3), "4 hits, 5 misses, 3 documents kept")
    check(site.requests["nothing"] == 2, "a failure was not stored")

    print("200 concurrent requests for one document:")
    watch = Stopwatch()
    answers = await asyncio.gather(*(get_source("decimal") for _ in range(200)))
    print(f"    {watch}  reached the server {site.requests['decimal']} time(s)")
    check(len(set(answers)) == 1, "all got the same document")
    check(site.requests["decimal"] == 1, "they reached the server once")

    print("A ttl of one second:")
    for wait in 0, 0.1, 1.1:
        await asyncio.sleep(wait)
        kept = get_recent.cache_info().currsize
        watch = Stopwatch()
        await get_recent("bisect")
        print(f"    {watch}  after {wait} s, with {kept} document(s) kept")
    check(get_recent.cache_info().hits == 1, "the second call was a hit")
    check(site.requests["bisect"] == 2, "the third was not, for the ttl had run out")

    print("An invalidation:")
    dropped = get_source.cache_invalidate("ast")
    watch = Stopwatch()
    await get_source("ast")
    print(f"    {watch}  dropped: {dropped}; asked for again")
    check(dropped and site.requests["ast"] == 2, "an invalidated document came anew")

    print("One of three clients is cancelled:")
    watch = Stopwatch()
    clients = [asyncio.create_task(get_source("calendar")) for _ in range(3)]
    await asyncio.sleep(0.01)
    clients[0].cancel()
    outcomes = await asyncio.gather(*clients, return_exceptions=True)
    names = ", ".join(type(outcome).__name__ for outcome in outcomes)
    print(f"    {watch}  {names}")
    check(names == "CancelledError, bytes, bytes", "the others got their document")
    check(site.requests["calendar"] == 1, "all three shared one request")

    print("Closing:")
    unanswered = asyncio.create_task(get_source("difflib"))
    await asyncio.sleep(0.01)
    await get_source.cache_close()
    print(f"    {get_source.cache_parameters()}")
    check(get_source.cache_parameters()["tasks"] == 0, "no request was left in flight")
    check(unanswered.done() and unanswered.cancelled(), "its caller was told")
    refused = await asyncio.gather(get_source("ast"), return_exceptions=True)
    print(f"    {refused[0]!r}")
    check(isinstance(refused[0], RuntimeError), "the closed cache refused a call")
    await get_recent.cache_close()


async def main() -> None:
    """Run the site and its client, for 15 seconds at most."""
    async with Site().running() as site, ClientSession() as session:
        await asyncio.wait_for(show(site, session), 15)


if __name__ == "__main__":
    asyncio.run(main())
