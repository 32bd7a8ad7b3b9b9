"""What the functions of one tier share: pending changes, and links to the server."""

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from ._codecs import Codec
from ._link import Link
from ._pending import Pending
from ._protocol import Keyspace, Message
from ._waiting import wait_or_cancel

if TYPE_CHECKING:
    from async_lru._runs import Run

    from ._cache import TieredCache


class Settings(NamedTuple):
    """The options of a tier."""

    #: Returns a client for the running loop.
    make_client: Callable[[], Any]
    keyspace: Keyspace
    #: In seconds, like the timeout.
    lease: float
    timeout: float
    codec: Codec


class Hub:
    """The caches of one tier, and the link of each event loop to the server."""

    def __init__(self, settings: Settings) -> None:
        self.make_client, self.keyspace, self.lease, self.timeout, self.codec = settings
        self.pending = Pending()
        self._lock = RLock()
        self._links: dict[AbstractEventLoop, Link] = {}
        self._caches: WeakSet[TieredCache] = WeakSet()
        _hubs.add(self)

    def __repr__(self) -> str:
        return f"<RedisTier of the namespace {self.keyspace.namespace!r}>"

    def register(self, cache: "TieredCache") -> None:
        """Serve *cache* from now on."""
        with self._lock:
            self._caches.add(cache)

    def _all_caches(self) -> "list[TieredCache]":
        with self._lock:
            return list(self._caches)

    def link(self) -> Link:
        """Return the link of the running loop to the server; create it if there is none."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None or link.closed:
            link = Link(self, loop)
            for other in self._all_links():
                if other.loop.is_closed():  # pragma: no cover  # closed with tasks left
                    self.forget(other)
            with self._lock:
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
        """Send the changes made here to the server as soon as possible."""
        try:
            self.link()
        except RuntimeError:  # no loop runs in this thread
            pass
        for link in self._all_links():
            link.wake()

    def dispatch(self, message: Message) -> None:
        """Pass a message on to the caches of its function."""
        for cache in self._all_caches():
            if cache.name == message.function:
                cache.on_message(message)

    def runs_of(self, function: str, hash_: str) -> "list[Run]":
        """Return the runs in flight of an entry here. Can be called from any thread."""
        caches = [cache for cache in self._all_caches() if cache.name == function]
        return [run for cache in caches for run in cache.runs_of(hash_)]

    def drop_values(self, loop: AbstractEventLoop) -> None:
        """Drop all values that may answer calls in *loop*."""
        for cache in self._all_caches():
            if cache.is_served_in(loop) and not cache.closed:
                cache.drop_values()

    def forget(self, link: Link) -> None:
        """Forget a closed link. If no other is up, drop values that may change unheard."""
        with self._lock:
            if self._links.get(link.loop) is link:  # pragma: no branch
                del self._links[link.loop]
        if not any(other.is_up for other in self._all_links()):
            self.drop_values(link.loop)
        if self.pending.is_awaited():  # what it could not send
            self.wake()

    async def settle(self, cache: "TieredCache") -> None:
        """Wait until the changes of *cache* are acknowledged, but not for an outage."""
        if cache.tier_up:
            try:
                await wait_or_cancel(cache.settled(), 3 * self.timeout)
            except TimeoutError:
                pass

    async def close_unused_links(self) -> None:
        """Close the links if all caches are closed."""
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
        _of_parent.append(self._links)  # freeing them would close the connections
        self._links = {}
        self.pending.after_fork()


_hubs: "WeakSet[Hub]" = WeakSet()
_of_parent: list[Any] = []


def _after_fork() -> None:  # pragma: no cover  # in a child
    for hub in list(_hubs):
        hub.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
