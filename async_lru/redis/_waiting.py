"""Waiting in one event loop, and waking others."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import Any


def call_in_loop(loop: AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call *callback* in the thread of *loop*, if it is still there."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # closed
        pass


async def within(future: "Future[Any]", seconds: float) -> None:
    """Wait until *future* is done, at most so long, and leave it alone when cancelled."""
    if future.done():
        return
    patience = _Patience(seconds)
    future.add_done_callback(patience.end)
    try:
        await patience.waiter
    finally:
        patience.end()
        future.remove_done_callback(patience.end)


class _Patience:
    """A future that is done after so many seconds.

    A loop that was blocked has not read yet what may have come meanwhile, so it is given
    that time again, once.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._check)
        self.waiter: Future[None] = self._loop.create_future()

    def _check(self) -> None:
        if self._loop.time() - self._due > self._seconds / 2:
            self._timer = self._loop.call_later(self._seconds, self.end)
        else:
            self.end()

    def end(self, _: object = None) -> None:
        """Be done now."""
        self._timer.cancel()
        if not self.waiter.done():
            self.waiter.set_result(None)
