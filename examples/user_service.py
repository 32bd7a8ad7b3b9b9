"""A web service in front of a database: ``make demo``.

The database is SQLite, the service aiohttp, both real. Its handlers load users in
batches, serve stale greetings while they are renewed, leave the request's number
out of keys, put what an update has made into the cache, and tell about it all under
``/stats``. The service then drives itself: a few hundred concurrent requests, with the
cache and without. The example ends with a clear line and exit status 1 if anything
that it shows did not happen.
"""

import asyncio
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import aiosqlite
from aiohttp import ClientSession, web

from async_lru import alru_cache, batched

USERS = 50
REQUESTS = 400
#: Seconds after which a greeting is renewed.
FRESH = 1.0


class Service:
    """Users, and greetings for them, over HTTP."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self.database = database
        self.queries = 0
        self.url = ""

    async def query(self, sql: str, *values: object) -> list[Any]:
        """Ask the database, and count it."""
        self.queries += 1
        async with self.database.execute(sql, values) as cursor:
            return list(await cursor.fetchall())

    # What the handlers ask

    @batched(max_size=100)
    async def load_users(self, numbers: list[int]) -> dict[int, str]:
        """Load the names of many users with one query."""
        marks = ", ".join("?" * len(numbers))
        sql = f"SELECT id, name FROM users WHERE id IN ({marks})"  # noqa: S608  # marks
        return dict(await self.query(sql, *numbers))

    @alru_cache(
        maxsize=1000,
        ttl=60,
        per_instance=True,
        ignore=("request",),
        error_ttl={KeyError: 5},
    )
    async def get_name(self, number: int, request: int) -> str:
        """Return the name of a user; the request's number is for the log alone."""
        del request
        return await self.load_users(number)

    @alru_cache(
        ttl=FRESH, stale_while_revalidate=10, stale_if_error=60, per_instance=True
    )
    async def get_count(self) -> int:
        """Count the users, which takes the database a while."""
        await asyncio.sleep(0.02)
        ((count,),) = await self.query("SELECT count(*) FROM users")
        return int(count)

    # The handlers

    async def show(self, request: web.Request) -> web.Response:
        """Greet a user: ``GET /users/7``."""
        number = int(request.match_info["number"])
        try:
            name = await self.get_name(number, request=id(request))
        except KeyError:
            raise web.HTTPNotFound from None
        return web.Response(text=f"{name}, one of {await self.get_count()}")

    async def rename(self, request: web.Request) -> web.Response:
        """Give a user another name: ``PUT /users/7``."""
        number = int(request.match_info["number"])
        name = await request.text()
        await self.query("UPDATE users SET name = ? WHERE id = ?", name, number)
        self.get_name.cache_put(name, number, request=id(request))
        return web.Response(text="renamed")

    async def show_stats(self, _: web.Request) -> web.Response:
        """Tell what the caches have done: ``GET /stats``."""
        return web.Response(text=str(self.get_name.cache_stats()))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Service", None]:
        """Serve on a free port of this machine."""
        application = web.Application()
        application.router.add_get(r"/users/{number:\d+}", self.show)
        application.router.add_put(r"/users/{number:\d+}", self.rename)
        application.router.add_get("/stats", self.show_stats)
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
            await self.close()

    async def close(self) -> None:
        """End what the caches have under way."""
        await self.get_name.cache_close()
        await self.get_count.cache_close()


class Uncached(Service):
    """The same with nothing remembered."""

    async def get_name(self, number: int, request: int) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the name of a user, from the database each time."""
        del request
        rows = await self.query("SELECT name FROM users WHERE id = ?", number)
        if not rows:
            raise KeyError(number)
        return str(rows[0][0])

    async def get_count(self) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Count the users each time."""
        await asyncio.sleep(0.02)
        ((count,),) = await self.query("SELECT count(*) FROM users")
        return int(count)

    async def close(self) -> None:
        """Do nothing: nothing is under way."""


def check(happened: bool, what: str) -> None:
    """End with status 1 unless *happened*."""
    if not happened:
        sys.exit(f"FAILED: {what}")


async def drive(service: Service, session: ClientSession) -> tuple[list[str], float]:
    """Make the requests, all at once, and return the answers and the time."""
    chance = random.Random(1)
    numbers = [min(int(chance.paretovariate(0.8)), USERS) for _ in range(REQUESTS)]

    async def get(number: int) -> str:
        async with session.get(f"{service.url}/users/{number}") as response:
            return await response.text()

    started = perf_counter()
    answers = await asyncio.gather(*map(get, numbers))
    return answers, perf_counter() - started


async def compare(database: aiosqlite.Connection, session: ClientSession) -> None:
    """Drive the service without its caches and with them."""
    async with Uncached(database).running() as uncached:
        expected, slow = await drive(uncached, session)
    print(f"without a cache  {uncached.queries:4} queries, {slow:.2f} s")
    async with Service(database).running() as service:
        answers, fast = await drive(service, session)
        print(f"with the cache   {service.queries:4} queries, {fast:.2f} s")
        check(answers == expected, "the cache changed an answer")
        check(uncached.queries == 2 * REQUESTS, "a query was not counted")
        check(service.queries <= 10, "the cache and the batches did not spare queries")
        await use(service, session)


async def use(service: Service, session: ClientSession) -> None:
    """Show what else the caches do."""
    async with session.put(f"{service.url}/users/1", data="Ada Lovelace") as response:
        check(await response.text() == "renamed", "the update was refused")
    await service.get_count.cache_refresh()  # lest it come in between
    before = service.queries
    async with session.get(f"{service.url}/users/1") as response:
        text = await response.text()
    print(f"after an update  {text!r}, {service.queries - before} queries")
    check(text.startswith("Ada Lovelace"), "the old name was served")
    check(service.queries == before, "the new name was not in the cache")

    for _ in range(3):
        async with session.get(f"{service.url}/users/999") as response:
            check(response.status == 404, "a user that is none was found")
    print(f"three times 404  {service.queries - before} query")
    check(service.queries == before + 1, "the failure was not kept")

    await asyncio.sleep(FRESH * 1.2)
    before = service.queries
    started = perf_counter()
    await service.get_count()
    waited = perf_counter() - started
    for _ in range(100):
        if service.queries > before:
            break
        await asyncio.sleep(0.05)
    print(
        f"a stale count    after {waited * 1000:.1f} ms, and renewed behind the scenes"
    )
    check(waited < 0.02, "the stale value was not served at once")
    check(service.queries == before + 1, "the stale value was not renewed")

    async with session.get(f"{service.url}/stats") as response:
        report = await response.text()
    print("\n/stats says")
    print("\n".join(f"    {line}" for line in report.splitlines()))
    stats = service.get_name.cache_stats()
    check(stats.hits > stats.misses > 0, "there were not more hits than misses")
    check(str(stats) == report, "the page tells something else")


async def main() -> None:
    """Make the database, and drive the service in front of it."""
    with TemporaryDirectory() as folder:
        async with aiosqlite.connect(Path(folder) / "users.db") as database:
            await database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name)")
            await database.executemany(
                "INSERT INTO users VALUES (?, ?)",
                [(number, f"user {number}") for number in range(1, USERS + 1)],
            )
            await database.commit()
            async with ClientSession() as session:
                await compare(database, session)
    print("\nAll of it happened.")


if __name__ == "__main__":
    asyncio.run(main())
