"""Runs that want to know what happens to their entry elsewhere."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable

from ._protocol import Kind, Message
from ._waiting import within


class Watch:
    """What a run hears of its entry from when it begins until it ends."""

    def __init__(
        self, function: str, hash_: str, origin: str, on_change: Callable[[], object]
    ) -> None:
        self.function = function
        self.hash = hash_
        self._origin = origin
        self._on_change = on_change
        self._last: Message | None = None
        self._waiter: Future[None] | None = None
        self._is_told = False

    def reset(self) -> None:
        """Forget what was heard so far: the server is to be asked now."""
        self._last = None
        self._is_told = False

    def is_outdated(self, version: str) -> bool:
        """Tell whether the entry is known to have changed since that version."""
        return self._last is not None and self._last.version != version

    def tell(self, message: Message) -> None:
        """Take note of what has happened to the entry.

        When another run could store its result, the run here has no lease, or no longer.
        """
        if message.kind is not Kind.RELEASED:
            self._last = message
            if message.origin != self._origin:
                self._on_change()
        self.wake()

    def lose(self) -> None:
        """Take note that something may have happened."""
        self._on_change()
        self.wake()

    def wake(self) -> None:
        """Let the run ask the server again."""
        self._is_told = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self) -> None:
        """Refer to the run no more, which refers to this."""
        self._on_change = _ignore

    async def wait(self, loop: AbstractEventLoop, seconds: float) -> None:
        """Wait until something was heard since ``reset``, at most so long."""
        if not self._is_told:  # pragma: no branch
            self._waiter = loop.create_future()
            await within(self._waiter, seconds)


def _ignore() -> None:
    """Do nothing about a change."""


class Watches:
    """The watches of one loop, by what they are about."""

    def __init__(self) -> None:
        self._by_function: dict[str, dict[str, list[Watch]]] = {}
        self._number = 0
        self._emptied: Future[None] | None = None

    def add(self, watch: Watch) -> None:
        """Let *watch* hear of its entry."""
        by_hash = self._by_function.setdefault(watch.function, {})
        by_hash.setdefault(watch.hash, []).append(watch)
        self._number += 1

    def remove(self, watch: Watch) -> None:
        """Let it hear no more."""
        watch.end()
        by_hash = self._by_function[watch.function]
        by_hash[watch.hash].remove(watch)
        if not by_hash[watch.hash]:
            del by_hash[watch.hash]
        self._number -= 1
        if not self._number and self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None

    def emptied(self) -> "Future[None]":
        """Return a future that is done when there are none, as may be the case now."""
        emptied = asyncio.get_running_loop().create_future()
        if self._number:
            self._emptied = emptied
        else:
            emptied.set_result(None)
        return emptied

    def tell(self, message: Message) -> None:
        """Tell those of the entry that *message* is about."""
        by_hash = self._by_function.get(message.function, {})
        if message.kind is Kind.CLEARED:
            told = [watch for watches in by_hash.values() for watch in watches]
        else:
            told = by_hash.get(message.hash, [])
        for watch in list(told):
            watch.tell(message)

    def _all(self) -> list[Watch]:
        return [
            watch
            for by_hash in self._by_function.values()
            for watches in by_hash.values()
            for watch in watches
        ]

    def lose(self) -> None:
        """Tell all that something may have happened that nobody has told of."""
        for watch in self._all():
            watch.lose()

    def wake_all(self) -> None:
        """Let all ask the server again, and learn that it does not answer."""
        for watch in self._all():
            watch.wake()
