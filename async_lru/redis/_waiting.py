"""Waiting with a time limit."""

import asyncio
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final


async def wait_without_cancelling(future: "Future[Any]", seconds: float) -> None:
    """Wait at most *seconds* for *future*, without ever cancelling it."""
    if future.done():
        return
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = Timer(waiter.get_loop(), seconds, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)


#: Seconds that a task has to end by itself before it is cancelled with its waiter.
CANCEL_DELAY: Final = 0.1


async def wait_or_cancel(coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Return the result of *coroutine*; after *seconds*, cancel it and raise TimeoutError.

    Unlike ``asyncio.wait_for`` in Python 3.10 and 3.11, it never swallows a cancellation.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    try:
        await wait_without_cancelling(task, seconds)
    except asyncio.CancelledError:
        try:  # a client that is cancelled while it connects leaves connections open
            await wait_without_cancelling(task, min(seconds, CANCEL_DELAY))
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


class Timer:
    """Calls back after *seconds*, or later if the loop was blocked.

    A blocked loop has not read the answers that arrived meanwhile, so it gets the time
    again, at most twice. The last quarter has a timer of its own, to notice that the loop
    was blocked until shortly before the end.
    """

    __slots__ = (
        "_callback",
        "_due",
        "_handle",
        "_is_last",
        "_left",
        "_loop",
        "_part",
        "_seconds",
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
        self._handle = self._call_at_due()

    def _call_at_due(self) -> TimerHandle:
        # A cancelled timer stays for a while, and so would the context of a call.
        return self._loop.call_at(self._due, self._check, context=Context())

    def _check(self) -> None:
        now = self._loop.time()
        is_late = now - self._due > self._part / 2
        if self._left and (is_late or not self._is_last):
            self._left -= 1
            self._is_last = True
            self._due = now + (self._seconds if is_late else self._part)
            self._handle = self._call_at_due()
        else:
            self._callback()

    def cancel(self) -> None:
        """Cancel the callback."""
        self._handle.cancel()
