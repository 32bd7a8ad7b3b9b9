"""How runs learn what happens to their entries elsewhere."""

import asyncio
from asyncio import AbstractEventLoop, Future

from ._protocol import Message, MessageKind
from ._waiting import wait_without_cancelling


class Watch:
    """What a run has heard about its entry since it last asked the server."""

    def __init__(self) -> None:
        self._last: Message | None = None
        self._has_doubt = False
        self._waiter: Future[None] | None = None
        self._is_woken = False

    def reset(self) -> None:
        """Forget what was heard so far, as the server is about to be asked."""
        self._last = None
        self._has_doubt = False
        self._is_woken = False

    def is_outdated(self, version: str) -> bool:
        """Return whether the entry has, or may have, changed since *version*."""
        last = self._last
        return self._has_doubt or (last is not None and last.version != version)

    def has_heard_of(self, version: str) -> bool:
        """Return whether *version* is the last that was heard of."""
        return self._last is not None and self._last.version == version

    def record(self, message: Message) -> None:
        """Record what has happened to the entry, as the loop's own link tells."""
        # After a clear, messages may still tell of what it ended.
        is_final = self._last is not None and self._last.kind is MessageKind.CLEARED
        if message.kind is not MessageKind.RELEASED and not is_final:
            self._last = message

    def doubt(self) -> None:
        """Take any answer for outdated, until the server is asked again.

        Used when this process knows of a change before the loop's own link tells of it.
        Can be called from any thread.
        """
        self._has_doubt = True

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
    """The watches of one loop."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._emptied: Future[None] | None = None

    def add(self, watch: Watch) -> None:
        """Add the watch of a run that begins."""
        self._watches.add(watch)

    def remove(self, watch: Watch) -> None:
        """Remove the watch of a run that ends."""
        self._watches.remove(watch)
        if not self._watches and self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None

    def emptied(self) -> "Future[None]":
        """Return a future that is done when there are no watches, perhaps already."""
        emptied = asyncio.get_running_loop().create_future()
        if self._watches:
            self._emptied = emptied
        else:
            emptied.set_result(None)
        return emptied

    def wake_all(self) -> None:
        """Let all runs ask the server again, and learn that it does not answer."""
        for watch in self._watches:
            watch.wake()
