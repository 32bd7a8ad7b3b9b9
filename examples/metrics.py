"""A service that tells Prometheus of its caches, and scrapes itself."""

import asyncio
import random
import threading

import aiohttp
from prometheus_client import CollectorRegistry, start_http_server

from async_lru import alru_cache
from async_lru.prometheus import CacheCollector


@alru_cache(maxsize=50, ttl=60, jitter=5)
async def get_price(product: int) -> float:
    """Ask somebody slow."""
    await asyncio.sleep(0.01)
    return product * 1.19


async def main() -> None:
    """Serve some calls, and read what a scrape tells of them."""
    registry = CollectorRegistry()
    registry.register(CacheCollector({"prices": get_price}))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        for _ in range(20):
            products = (int(random.paretovariate(0.7)) % 200 for _ in range(50))
            await asyncio.gather(*map(get_price, products))
        print(get_price.cache_stats())
        print()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            scraped = await response.text()
        for line in scraped.splitlines():
            if not line.startswith("#"):
                print(line)
        assert 'async_lru_cache_hit_total{cache="prices"}' in scraped
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert threading.active_count() == 1


if __name__ == "__main__":
    asyncio.run(main())
