"""What the functions of one tier share: pending changes, and links to the server."""

import asyncio
import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from ._codecs import Codec
from ._generations import Generations
from ._link import Link
from ._pending import Pending
from ._protocol import Keyspace, Message
from ._waiting import wait_without_cancelling

if TYPE_CHECKING:
    from ._cache import TieredCache
    from ._load import Load


#: Seconds between two checks of links in the loops of other threads.
_POLL: Final = 0.01


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
        #: By the name of their function. One that was closed may be opened again.
        self._caches: dict[str, WeakSet[TieredCache]] = {}
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        #: For all caches of the tier, too.
        self.lock = RLock()
        self.pending = Pending(self.lock)
        #: Whether values were put that nothing has been heard of since.
        self.has_unheard_values = False
        self._links: dict[AbstractEventLoop, Link] = {}

    def __repr__(self) -> str:
        return f"<RedisTier of the namespace {self.keyspace.namespace!r}>"

    def register(self, cache: "TieredCache") -> None:
        """Serve *cache* from now on."""
        with self.lock:
            self._caches.setdefault(cache.name, WeakSet()).add(cache)

    def _caches_of(self, function: str) -> "list[TieredCache]":
        with self.lock:
            return list(self._caches.get(function, ()))

    def _all_caches(self) -> "list[TieredCache]":
        with self.lock:
            return [cache for caches in self._caches.values() for cache in caches]

    def link(self) -> Link:
        """Return the link of the running loop to the server; create it if there is none."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None or link.closed:
            link = Link(self, loop)
            with self.lock:
                self._links[loop] = link
            for other in self._all_links():
                if other.loop.is_closed():  # pragma: no cover  # closed with tasks left
                    self.forget(other)
        return link

    def _all_links(self) -> list[Link]:
        with self.lock:
            return list(self._links.values())

    @property
    def is_up(self) -> bool:
        """Whether the server answers, as far as is known."""
        links = self._all_links()
        return not links or any(not link.is_broken for link in links)

    def will_send(self) -> bool:
        """Return whether changes made now are sent soon."""
        return any(not link.is_broken for link in self._links_to_use())

    def _links_to_use(self) -> list[Link]:
        """Return all links; first, create that of the running loop, if there is one."""
        try:
            self.link()
        except RuntimeError:  # no loop runs in this thread
            pass
        return self._all_links()

    def forget_generation(self, function: str, *, but: Generations) -> None:
        """Let all loops but one ask for the generation of a function."""
        for link in self._all_links():
            if link.generations is not but:
                link.generations.forget_function(function)

    def wake(self) -> None:
        """Send the changes made here to the server as soon as possible."""
        for link in self._links_to_use():
            link.wake()

    def dispatch(self, message: Message) -> None:
        """Pass a message on to the caches of its function."""
        for cache in self._caches_of(message.function):
            cache.on_message(message)

    def loads_of(self, function: str, hash_: str) -> "list[Load]":
        """Return the loads of an entry here. Can be called from any thread."""
        caches = self._caches_of(function)
        return [load for cache in caches for load in cache.loads_of(hash_)]

    def assume_entries_changed(self, loop: AbstractEventLoop) -> None:
        """Treat all entries as changed for runs in *loop*: it may have missed messages."""
        for cache in self._all_caches():
            for load in cache.loads_of(None):
                if load.run.loop is loop:  # pragma: no branch
                    load.on_change()

    def drop_values(self, loop: AbstractEventLoop) -> None:
        """Drop the values that may have missed messages, as *loop* has no contact.

        They are those that may answer calls in it, or in no other loop with a link.
        """
        self.has_unheard_values = False
        others = [link.loop for link in self._all_links() if link.loop is not loop]
        for cache in self._all_caches():
            is_heard = any(map(cache.is_served_in, others))
            if (cache.is_served_in(loop) or not is_heard) and not cache.closed:
                cache.drop_values()

    def forget(self, link: Link) -> None:
        """Forget a closed link. If no other is up, drop values that may change unheard."""
        with self.lock:
            if self._links.get(link.loop) is link:  # pragma: no branch
                del self._links[link.loop]
        if not any(other.is_up for other in self._all_links()):
            self.drop_values(link.loop)
            self.pending.turn_puts_into_invalidations()
        # What it could not send is for another link.
        if self.pending.is_awaited_in(link.loop) and not link.loop.is_closed():
            self.link()
        for other in self._all_links():
            other.wake()

    async def settle(self, cache: "TieredCache") -> None:
        """Wait until the changes of *cache* are acknowledged, but not for an outage."""
        settled = asyncio.ensure_future(cache.settled())
        try:
            before = -1
            while cache.tier_up and self.pending.acknowledgements != before:
                before = self.pending.acknowledgements
                await wait_without_cancelling(settled, 3 * self.timeout)
                if settled.done():
                    return settled.result()
        finally:
            settled.cancel()
            await asyncio.wait([settled])

    async def close_unused_links(self) -> None:
        """Close the links if all caches are closed."""
        caches = self._all_caches()
        if all(cache.closed and not cache.in_flight for cache in caches):
            here = self._links.get(asyncio.get_running_loop())
            others: list[Link] = []
            for link in self._all_links():
                if link is here:
                    await link.close()
                else:
                    link.close_soon()
                    others.append(link)
            end = time.monotonic() + 3 * self.timeout
            # Nothing of this loop tells when they have ended.
            while (  # noqa: ASYNC110
                any(link.is_ending for link in others) and time.monotonic() < end
            ):
                await asyncio.sleep(_POLL)

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        """Leave connections and pending changes to the parent."""
        if self._process != os.getpid():  # each cache calls this
            _of_parent.append(self._links)  # freeing them would close the connections
            self._start()


_of_parent: list[Any] = []
