"""How runs learn what happens to their entries elsewhere."""

import asyncio
from asyncio import AbstractEventLoop, Future

from ._protocol import Message, MessageKind
from ._waiting import wait_without_cancelling


class Watch:
    """What a run hears about its entry while it is in flight."""

    def __init__(self, function: str, hash_: str) -> None:
        self.function = function
        self.hash = hash_
        self._last: Message | None = None
        self._waiter: Future[None] | None = None
        self._is_woken = False

    def reset(self) -> None:
        """Forget what was heard so far, as the server is about to be asked."""
        self._last = None
        self._is_woken = False

    def is_outdated(self, version: str) -> bool:
        """Return whether the entry is known to have changed since *version*."""
        return self._last is not None and self._last.version != version

    def on_message(self, message: Message) -> None:
        """Record what has happened to the entry."""
        # After a clear, late messages may still tell of values that it has ended.
        is_clear_known = (
            self._last is not None and self._last.kind is MessageKind.CLEARED
        )
        if message.kind is not MessageKind.RELEASED and not is_clear_known:
            self._last = message
        self.wake()

    def wake(self) -> None:
        """Let the run ask the server again."""
        self._is_woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, loop: AbstractEventLoop, seconds: float) -> None:
        """Wait at most *seconds* until something is heard since ``reset``."""
        if not self._is_woken:  # pragma: no branch
            self._waiter = loop.create_future()
            await wait_without_cancelling(self._waiter, seconds)


class Watches:
    """The watches of one loop, by function and hash."""

    def __init__(self) -> None:
        self._by_function: dict[str, dict[str, list[Watch]]] = {}
        self._number = 0
        self._emptied: Future[None] | None = None

    def add(self, watch: Watch) -> None:
        """Let *watch* hear about its entry."""
        by_hash = self._by_function.setdefault(watch.function, {})
        by_hash.setdefault(watch.hash, []).append(watch)
        self._number += 1

    def remove(self, watch: Watch) -> None:
        """Let *watch* hear nothing more."""
        by_hash = self._by_function[watch.function]
        by_hash[watch.hash].remove(watch)
        if not by_hash[watch.hash]:
            del by_hash[watch.hash]
        self._number -= 1
        if not self._number and self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None

    def emptied(self) -> "Future[None]":
        """Return a future that is done when there are no watches, perhaps already."""
        emptied = asyncio.get_running_loop().create_future()
        if self._number:
            self._emptied = emptied
        else:
            emptied.set_result(None)
        return emptied

    def dispatch(self, message: Message) -> None:
        """Pass *message* to the watches of its entry, or of its whole function."""
        by_hash = self._by_function.get(message.function, {})
        if message.kind is MessageKind.CLEARED:
            concerned = [watch for watches in by_hash.values() for watch in watches]
        else:
            concerned = by_hash.get(message.hash, [])
        for watch in list(concerned):
            watch.on_message(message)

    def _all(self) -> list[Watch]:
        return [
            watch
            for by_hash in self._by_function.values()
            for watches in by_hash.values()
            for watch in watches
        ]

    def wake_all(self) -> None:
        """Let all runs ask the server again, and learn that it does not answer."""
        for watch in self._all():
            watch.wake()
