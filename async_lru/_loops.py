"""Event loops: their threads and clocks, and the warning about a change of loops."""

import asyncio
import inspect
import sys
import warnings
from asyncio import AbstractEventLoop, BaseEventLoop
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType

#: Packages whose frames never belong to the caller.
_NOT_THE_CALLER = frozenset({__package__, "anyio", "asyncio"})


class AlruCacheLoopResetWarning(UserWarning):
    """A cache was cleared because it was called from another event loop.

    Issued once per decorated function. It is harmless in tests, where loops come and go.
    In a service it means that several loops call the function and keep clearing each
    other's values. With ``shared=True``, they share one cache.
    """


class ResetWarning:
    """Warns once that the cache of a function changed loops."""

    __slots__ = ("_given", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._given = False

    def give(self) -> None:
        """Warn at the caller's line, unless it was done before."""
        if self._given:
            return
        self._given = True
        warnings.warn(
            f"alru_cache detected event loop change: {self._name} was called from a "
            "different event loop than before, so its cache was cleared and now belongs "
            "to the new loop. Pass shared=True for one cache that serves all loops.",
            AlruCacheLoopResetWarning,
            stacklevel=_level_of_caller(),
        )

    def reset(self) -> None:
        """Warn again at the next change."""
        self._given = False


def _level_of_caller() -> int:
    """Return the stack level of the nearest frame that may be the user's.

    If the call is a task, its caller has no frame on the stack. The nearest line of the
    user's code is then the one that runs the loop.
    """
    level = 0  # this function, one below the one that warns
    frame = inspect.currentframe()
    while frame is not None and _package_of(frame) in _NOT_THE_CALLER:
        frame = frame.f_back
        level += 1
    return level


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def runs_here(loop: AbstractEventLoop) -> bool:
    """Return whether *loop* runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def call_in(loop: AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call *callback* in the thread of *loop*: at once if that is this thread.

    Does nothing if the loop is closed.
    """
    if runs_here(loop):
        callback()
    else:
        call_soon_in(loop, callback)


def call_soon_in(loop: AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call *callback* in a later turn of *loop*, which is woken if it waits.

    Can be called from any thread and from signal handlers. Does nothing if the loop is
    closed.
    """
    with suppress(RuntimeError):  # closed
        loop.call_soon_threadsafe(callback)


def clock_of(loop: AbstractEventLoop) -> Callable[[], float]:
    """Return the clock of *loop*."""
    if getattr(loop.time, "__func__", None) is BaseEventLoop.time:
        return monotonic  # the same clock, without a Python call
    return loop.time


def begins_at_once(loop: AbstractEventLoop) -> bool:
    """Return whether tasks of *loop* can take their first step when they are created.

    This needs Python 3.12, and a loop that creates an ``asyncio.Task``.
    """
    if sys.version_info < (3, 12):  # pragma: py-gte-312
        return False
    create_task = getattr(loop.create_task, "__func__", None)
    uvloop = sys.modules.get("uvloop")
    return create_task is BaseEventLoop.create_task or (
        uvloop is not None and type(loop) is uvloop.Loop
    )
