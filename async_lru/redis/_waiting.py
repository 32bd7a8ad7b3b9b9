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
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    def give_up(due: float) -> None:
        # A loop that was blocked has not read what may have come meanwhile.
        if loop.time() - due > seconds / 2:
            nonlocal timer
            timer = loop.call_later(seconds, wake)
        else:
            wake()

    timer = loop.call_later(seconds, give_up, loop.time() + seconds)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
