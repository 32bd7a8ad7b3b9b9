"""A second tier on Redis or Valkey: ``pip install async-lru[redis]``.

.. versionadded:: 3.0
"""

import asyncio
import json
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

try:
    import redis.asyncio as redis_client
    from redis.asyncio.connection import parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise ImportError(
        'async_lru.redis needs redis-py: install it with "pip install async-lru[redis]"'
    ) from error

from async_lru._numbers import from_1, seconds
from async_lru._tier import Tier
from async_lru._timed import TimedCache

from ._cache import TIERED
from ._codecs import Codec, to_json
from ._link import Link
from ._pending import Pending
from ._protocol import Keyspace, Message
from ._waiting import at_most

if TYPE_CHECKING:
    from ._cache import TieredCache

__all__ = ("RedisTier",)


class RedisTier(Tier):
    """A Redis or Valkey server that many processes and hosts share results through.

    >>> tier = RedisTier("redis://cache", namespace="v1")
    >>> @alru_cache(maxsize=1000, ttl=60, tier=tier)
    ... async def load(key: str) -> dict[str, str]: ...

    One tier serves any number of functions, in any number of event loops and threads.
    The server is asked on misses of the process alone; a run takes place in one process
    at a time, and invalidations reach all. Where the server does not answer each process
    caches for itself, and no call raises or hangs for it.

    Args:
        client: A URL, as ``redis.asyncio.Redis.from_url`` takes it, or a callable that
            returns a ``redis.asyncio.Redis``, a Sentinel's master or a
            ``RedisCluster``. It is called in each event loop, again whenever contact
            was lost, and what it returns belongs to the tier, which closes it.
        namespace: What the keys on the server begin with. It is the version of what
            functions return: a deploy that changes that changes it. Functions of equal
            module and name in one namespace share results.
        lease: Seconds for which a process that was killed in the middle of a run keeps
            the others waiting, at most; a run may take longer. 5 by default.
        timeout: Seconds that a call waits for an answer of the server, once: then the
            server counts as down until it answers again. 0.1 by default.
        max_bytes: Results that are larger when encoded stay in their process. 1 MiB
            by default.
        encode: Makes bytes of a result; JSON by default. With *decode*.
        decode: Makes the result of bytes again.
        check: Decode each result that is stored and compare, so that what does not
            survive is an error where it is made and never a different value elsewhere.
            True by default.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option has a value that makes no sense.

    .. versionadded:: 3.0
    """

    def __init__(
        self,
        client: "str | Callable[[], Any]",
        *,
        namespace: str,
        lease: float = 5.0,
        timeout: float = 0.1,
        max_bytes: int = 1_048_576,
        encode: Callable[[Any], bytes] = to_json,
        decode: Callable[[bytes], Any] = json.loads,
        check: bool = True,
    ) -> None:
        self.keyspace = Keyspace(_checked_namespace(namespace))
        self.lease = _checked_seconds("lease", lease)
        self.timeout = _checked_seconds("timeout", timeout)
        self.codec = Codec(
            _checked_function("encode", encode),
            _checked_function("decode", decode),
            _checked_bool("check", check),
            from_1("max_bytes", max_bytes, "pass a number of bytes"),
        )
        if (encode is to_json) is not (decode is json.loads):
            raise ValueError(
                f"encode={encode!r} and decode={decode!r} do not belong together: pass "
                "both, or neither"
            )
        self.pending = Pending()
        self._make_client = self._checked_client(client)
        self._lock = RLock()
        self._links: dict[AbstractEventLoop, Link] = {}
        self._caches: WeakSet[TieredCache] = WeakSet()
        _tiers.add(self)

    def __repr__(self) -> str:
        return f"<RedisTier of the namespace {self.keyspace.namespace!r}>"

    def _checked_client(self, client: Any) -> Callable[[], Any]:
        if callable(client):
            made: Callable[[], Any] = client
            return made
        if not isinstance(client, str):
            raise TypeError(
                f"client must be a URL or a callable, not a {type(client).__qualname__}: "
                "a client belongs to one event loop, so pass a function that makes it"
            )
        try:
            parse_url(client)
        except ValueError:
            raise ValueError(  # without the URL, which may have a password
                "client is no URL of a server: pass one that begins with redis://, "
                "rediss:// or unix://"
            ) from None
        client_type: Any = redis_client.Redis  # whose options have no types
        return lambda: client_type.from_url(
            client,
            socket_connect_timeout=self.timeout * 10,
            socket_timeout=None,  # which a blocked loop would take for an outage
            retry=Retry(NoBackoff(), 0),
        )

    def make_client(self) -> Any:
        """Return a client for the running loop."""
        return self._make_client()

    # What caches and links know of each other

    def cache_type(self, kind: type[TimedCache], /) -> type[TimedCache]:
        """Return the type of caches that do what *kind* does, and ask this tier first."""
        return TIERED[kind]

    def add(self, cache: "TieredCache") -> None:
        """Serve *cache* from now on."""
        with self._lock:
            self._caches.add(cache)

    def _all_caches(self) -> "list[TieredCache]":
        with self._lock:
            return list(self._caches)

    def link(self) -> Link:
        """Return the contact that the running loop has with the server."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None or link.closed:
            link = Link(self, loop)
            with self._lock:
                for other in [loop for loop in self._links if loop.is_closed()]:
                    del self._links[other]
                self._links[loop] = link
        return link

    def _all_links(self) -> list[Link]:
        with self._lock:
            return list(self._links.values())

    @property
    def is_up(self) -> bool:
        """Whether the server answers, as far as is known."""
        links = self._all_links()
        return not links or any(not link.is_broken for link in links)

    def wake(self) -> None:
        """Have the server told of what was changed here, as soon as may be."""
        try:
            self.link()
        except RuntimeError:  # no loop runs in this thread
            pass
        for link in self._all_links():
            link.wake()

    def tell(self, message: Message) -> None:
        """Pass on what was changed elsewhere."""
        for cache in self._all_caches():
            if cache.name == message.function:
                cache.tell(message)

    def drop_missed(self, loop: AbstractEventLoop) -> None:
        """Drop what may have changed while calls in *loop* heard of nothing."""
        if not any(link.up for link in self._all_links()):
            self.drop_held(loop)

    def drop_held(self, loop: AbstractEventLoop) -> None:
        """Drop everything that calls in *loop* may be answered with."""
        for cache in self._all_caches():
            if cache.is_served_in(loop) and not cache.closed:
                cache.drop_held()

    def forget(self, link: Link) -> None:
        """Take note that a link was closed."""
        with self._lock:
            if self._links.get(link.loop) is link:
                del self._links[link.loop]
        self.drop_missed(link.loop)

    async def leave(self, cache: "TieredCache") -> None:
        """Serve *cache* no more: let its changes settle, and close what nobody needs."""
        if cache.tier_up:
            try:
                await at_most(3 * self.timeout, cache.settled())
            except TimeoutError:
                pass
        if all(other.closed for other in self._all_caches()):
            here = self._links.get(asyncio.get_running_loop())
            for link in self._all_links():
                if link is here:
                    await link.close()
                else:
                    link.close_soon()

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        """Leave the parent's connections alone."""
        self._lock = RLock()
        _of_parent.append(self._links)  # not to be closed by being freed
        self._links = {}
        self.pending.after_fork()


_tiers: "WeakSet[RedisTier]" = WeakSet()
_of_parent: list[Any] = []


def _after_fork() -> None:  # pragma: no cover  # in a child
    for tier in list(_tiers):
        tier.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def _checked_namespace(namespace: Any) -> str:
    if not isinstance(namespace, str):
        raise TypeError(f"namespace must be a str, not {namespace!r}: pass a name")
    if not namespace or not namespace.isprintable() or set(namespace) & set("{} "):
        raise ValueError(
            f"namespace must have printable characters but no spaces and braces, not "
            f"{namespace!r}: pass a name such as 'v1'"
        )
    return namespace


#: What the server counts in.
_LEAST_SECONDS: Final = 0.001


def _checked_function(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}: pass a function")
    function: Callable[..., Any] = value
    return function


def _checked_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}: pass True or False")
    return value


def _checked_seconds(name: str, value: Any) -> float:
    found = seconds(name, value)
    if not _LEAST_SECONDS <= found < inf:
        raise ValueError(
            f"{name} must be a finite number of seconds from {_LEAST_SECONDS} up, not "
            f"{value!r}: leave it out for the default"
        )
    return found
