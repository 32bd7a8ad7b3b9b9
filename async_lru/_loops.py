"""Which event loop a cache belongs to, and what is said when it changes."""

import asyncio
import inspect
import os
import sys
import warnings
from asyncio import AbstractEventLoop, BaseEventLoop
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any

#: What stands for a file name in the code that this package makes up.
GENERATED = "<async_lru>"

# Frames of these are never the caller's.
_NOT_THE_CALLER = (
    GENERATED,
    os.path.join(os.path.dirname(__file__), ""),
    os.path.join(os.path.dirname(asyncio.__file__), ""),
)


class AlruCacheLoopResetWarning(UserWarning):
    """A cache was cleared because it was called from another event loop.

    Issued once for each decorated function. Harmless in tests and notebooks,
    where loops come and go; in a service it tells that the function is shared
    by several loops, which then take the cache from each other.
    """


def warn_of_reset(name: str) -> None:
    """Warn that the cache of the function *name* starts anew, at the caller's line."""
    warnings.warn(
        f"{name} was called from another event loop than before: "
        "its cache was cleared and now belongs to the new loop. "
        "Give each loop a decorated function of its own to avoid this.",
        AlruCacheLoopResetWarning,
        stacklevel=_level_of_caller(),
    )


def _level_of_caller() -> int:
    """Return the warning level of the nearest frame outside this package and asyncio.

    A call that runs as a task has no frame of its caller on the stack; the
    nearest line of the user is then the one that runs the loop.
    """
    level = 0  # of this very function: one below the one that warns
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_CALLER):
        frame = frame.f_back
        level += 1
    return level


def runs_here(loop: AbstractEventLoop) -> bool:
    """Tell whether *loop* is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def is_stock(loop: AbstractEventLoop | None) -> bool:
    """Tell whether tasks and futures of *loop* are asyncio's own, save for a factory."""
    # Never by vars(loop): before Python 3.13 an object whose dict was asked for is
    # slower from then on, and with it the whole loop, by a sixth.
    return (
        isinstance(loop, BaseEventLoop)
        and hasattr(loop, "_task_factory")
        and all(
            getattr(getattr(loop, name), "__func__", None)
            is getattr(BaseEventLoop, name)
            for name in ("create_task", "create_future", "get_task_factory")
        )
    )


def clock_of(loop: AbstractEventLoop | None) -> Callable[[], float]:
    """Return what tells the time of *loop*."""
    if loop is None:
        return monotonic
    if getattr(loop.time, "__func__", None) is BaseEventLoop.time:
        return monotonic  # the same, without a call in Python
    return loop.time


class Ticker:
    """Stands in for a loop that does not tell its thread as asyncio's own do."""

    __slots__ = ("loop",)

    def __init__(self, loop: AbstractEventLoop | None) -> None:
        self.loop = loop

    @property
    def _thread_id(self) -> int | None:
        """The thread that runs the loop, as far as this thread can tell."""
        return None if self.loop is None or not runs_here(self.loop) else get_ident()


def ticker_of(loop: AbstractEventLoop | None) -> Any:
    """Return what has the thread that runs *loop* as its _thread_id."""
    tells = (
        isinstance(loop, BaseEventLoop)
        and type(loop).is_running is BaseEventLoop.is_running
        # Some run in ways of their own, and say that they do not.
        and (loop.is_running() or not runs_here(loop))
    )
    return loop if tells else Ticker(loop)


#: Whether the loop of a store is the one that runs in this thread: what every hit
#: asks. Before Python 3.12 get_running_loop is a system call, and the thread of
#: the loop answers the same question.
if sys.version_info >= (3, 12):  # pragma: py-lt-312
    HERE = "get_running_loop() is store.loop"
else:  # pragma: py-gte-312
    HERE = "store.ticker._thread_id == get_ident()"
