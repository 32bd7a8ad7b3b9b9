"""Waiting with a time limit."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Coroutine
from typing import Any, Final


async def within(future: "Future[Any]", seconds: float) -> None:
    """Wait at most *seconds* for *future*, without ever cancelling it."""
    if future.done():
        return
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    patience = Patience(waiter.get_loop(), seconds, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        patience.end()
        future.remove_done_callback(wake)


#: Seconds that a task has to end by itself when its waiter is cancelled.
GRACE: Final = 0.1


async def at_most(seconds: float, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of *coroutine*, or raise TimeoutError when it takes too long.

    Unlike ``asyncio.wait_for`` in Python 3.10 and 3.11, it never swallows a cancellation.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    try:
        await within(task, seconds)
    except asyncio.CancelledError:
        try:  # a client that is cancelled while it connects leaves connections open
            await within(task, min(seconds, GRACE))
        finally:
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():  # pragma: no branch  # it may end just now
            raise TimeoutError("no answer in time")
    return task.result()


class Patience:
    """Calls back after *seconds*, or later if the loop was blocked.

    A blocked loop has not read the answers that arrived meanwhile, so it gets the time
    again, at most twice. The last quarter has a timer of its own, to notice that the loop
    was blocked until shortly before the end.
    """

    __slots__ = (
        "_callback",
        "_due",
        "_is_last",
        "_left",
        "_loop",
        "_part",
        "_seconds",
        "_timer",
    )

    def __init__(
        self, loop: AbstractEventLoop, seconds: float, callback: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._part = seconds / 4
        self._callback = callback
        self._left = 2
        self._is_last = False
        self._due = loop.time() + seconds - self._part
        self._timer = loop.call_at(self._due, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        is_late = now - self._due > self._part / 2
        if self._left and (is_late or not self._is_last):
            self._left -= 1
            self._is_last = True
            self._due = now + (self._seconds if is_late else self._part)
            self._timer = self._loop.call_at(self._due, self._check)
        else:
            self._callback()

    def end(self) -> None:
        """Cancel the callback."""
        self._timer.cancel()
