"""What the tests of the second tier share: a real server, and functions that use it.

Import the fixtures that a module needs: ``from tier_support import namespace, server``.
A module starts each server program once, and each test has a namespace of its own.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from secrets import token_hex
from typing import Any

import pytest
from servers import MISSING, PROGRAMS, Server, served

redis = pytest.importorskip("redis", reason="needs redis-py: pip install redis")

from async_lru import AlruCacheWrapper, alru_cache  # noqa: E402
from async_lru.redis import RedisTier  # noqa: E402
from conftest import Counted  # noqa: E402

#: Seconds that tests wait for something that must happen.
PATIENCE = 20

#: The timeout of tiers in tests that are not about slow servers, in seconds.
SLOW = 2.0


NONE = [pytest.param("none", marks=pytest.mark.skip(MISSING))]


class Given:
    """A server that is already running, as in CI, and that no test may stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __getattr__(self, name: str) -> Any:
        pytest.skip(f"needs a server of its own, to {name} it")


#: The URLs of servers that are already running.
URLS = [url for url in os.environ.get("ASYNC_LRU_TEST_SERVERS", "").split(",") if url]

#: Valkey. ``check-more`` adds the second program and servers that are already running.
SERVERS = [
    pytest.param(name, marks=[pytest.mark.more] if place else [])
    for place, name in enumerate([*PROGRAMS, *URLS])
] or NONE


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> "Iterator[Server | Given]":
    """A server that the tests of a module share."""
    if request.param in URLS:
        yield Given(request.param)
        return
    with served(request.param) as started:
        yield started


@pytest.fixture
def namespace() -> str:
    """Return a name that no other test has."""
    return f"test-{token_hex(4)}"


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A plain client of the server, which blocks."""
    with redis.Redis.from_url(server.url, decode_responses=True) as connected:
        yield connected


class Twins:
    """Functions of the same name, whose tiers share a namespace.

    Two of them are like the same function in two processes.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self._functions: list[AlruCacheWrapper[..., Any]] = []

    def tier(self, url: Any = None, **options: Any) -> RedisTier:
        options = {"namespace": self.namespace, "timeout": SLOW, **options}
        return RedisTier(url or self.url, **options)

    def add(self, function: AlruCacheWrapper[..., Any]) -> AlruCacheWrapper[..., Any]:
        """Close a function at the end of the test."""
        self._functions.append(function)
        return function

    def cached(
        self, function: Any, name: str = "load", **options: Any
    ) -> AlruCacheWrapper[..., Any]:
        """Return a cached function like that of another process."""
        function.__module__, function.__qualname__ = "app", name
        options = {"maxsize": 100, "ttl": 60, "tier": None, **options}
        options["tier"] = options["tier"] or self.tier()
        return self.add(alru_cache(**options)(function))

    def counted(self, **options: Any) -> Counted:
        """Return one that returns its first argument at once, and records its runs."""
        runs: list[Any] = []

        async def function(*args: Any, **kwargs: Any) -> Any:
            runs.append(args)
            return args[0] if args else None

        return Counted(self.cached(function, **options), runs)

    def returning(self, value: Any, **options: Any) -> AlruCacheWrapper[..., Any]:
        """Return one that returns *value*, or raises it."""

        async def function(*args: Any, **kwargs: Any) -> Any:
            if isinstance(value, BaseException):
                raise value
            return value

        return self.cached(function, **options)

    async def close(self) -> None:
        for function in self._functions:
            await function.cache_close()


@pytest.fixture
async def twins(server: Server, namespace: str) -> AsyncIterator[Twins]:
    made = Twins(server.url, namespace)
    yield made
    await made.close()


async def eventually(condition: Callable[[], Any]) -> Any:
    """Wait until *condition* returns something true, and return that."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.002)
    return found


def entry_keys(client: Any, namespace: str) -> list[str]:
    """Return the keys of entries on the server: those with a hash tag.

    They are values, and leases while runs go on.
    """
    found: list[str] = client.keys(f"*{namespace}*{{*")
    return sorted(found)


def function_keys(client: Any, namespace: str) -> list[str]:
    """Return the keys on the server that belong to no entry."""
    entries = entry_keys(client, namespace)
    return [key for key in client.keys(f"*{namespace}*") if key not in entries]
