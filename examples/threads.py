"""Four threads with a loop each ask a server 1,000 times for 20 documents."""

import asyncio
import random
import threading
from collections import Counter

import aiohttp
from aiohttp import web

from async_lru import alru_cache

THREADS = 4
ASKS = 1000
DOCUMENTS = 20

url = ""


@alru_cache(maxsize=100, shared=True)
async def get_document(number: int) -> str:
    """Ask the server, with a session of the loop that this runs in."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/{number}") as response,
    ):
        return await response.text()


def worker() -> None:
    """Be a thread with an event loop of its own."""
    asyncio.run(ask())


async def ask() -> None:
    """Ask for this thread's share of documents, some at a time."""
    numbers = [random.randrange(DOCUMENTS) for _ in range(ASKS // THREADS)]
    texts = await asyncio.gather(*map(get_document, numbers))
    assert texts == [f"document {number}" for number in numbers]


async def main() -> None:
    """Serve the documents, and count who asks for them."""
    global url  # noqa: PLW0603  # known only when the server listens
    requests: Counter[str] = Counter()

    async def serve(request: web.Request) -> web.Response:
        number = request.match_info["number"]
        requests[number] += 1
        await asyncio.sleep(0.02)
        return web.Response(text=f"document {number}")

    app = web.Application()
    app.router.add_get("/{number}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await asyncio.gather(*(asyncio.to_thread(worker) for _ in range(THREADS)))
    finally:
        await runner.cleanup()
    print(get_document.cache_stats())
    print(f"{sum(requests.values())} requests for {len(requests)} documents")
    assert set(requests.values()) == {1}
    assert len(requests) == DOCUMENTS
    info = get_document.cache_info()
    assert (info.hits, info.misses) == (ASKS - DOCUMENTS, DOCUMENTS)


if __name__ == "__main__":
    asyncio.run(main())
    assert threading.active_count() == 1
