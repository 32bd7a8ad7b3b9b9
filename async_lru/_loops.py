"""Event loops as all caches see them: whose turn it is, what it tells, a change."""

import asyncio
import inspect
import sys
import warnings
from asyncio import AbstractEventLoop, BaseEventLoop
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType

#: Packages whose frames are never the caller's.
_NOT_THE_CALLER = frozenset({__package__, "anyio", "asyncio"})


class AlruCacheLoopResetWarning(UserWarning):
    """A cache was cleared because it was called from another event loop.

    Issued once per decorated function. Harmless in tests and notebooks, where loops
    come and go; in a service it means that several loops share the function and
    keep taking the cache from each other. ``shared=True`` lets them share it.
    """


class ResetWarning:
    """Warns once that the cache of a function changes loops."""

    __slots__ = ("_given", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._given = False

    def give(self) -> None:
        """Warn, at the caller's line, if nobody has been warned yet."""
        if self._given:
            return
        self._given = True
        warnings.warn(
            f"alru_cache detected event loop change: {self._name} was called from "
            "another event loop than before, so its cache was cleared and now belongs "
            "to the new loop. Pass shared=True for one cache that serves all loops.",
            AlruCacheLoopResetWarning,
            stacklevel=_level_of_caller(),
        )

    def reset(self) -> None:
        """Warn again at the next change."""
        self._given = False


def _level_of_caller() -> int:
    """Return the warning level of the nearest frame that may be the user's.

    A call that runs as a task has no frame of its caller on the stack; the nearest
    line of the user is then the one that runs the loop.
    """
    level = 0  # of this very function: one below the one that warns
    frame = inspect.currentframe()
    while frame is not None and _package_of(frame) in _NOT_THE_CALLER:
        frame = frame.f_back
        level += 1
    return level


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def runs_here(loop: AbstractEventLoop) -> bool:
    """Tell whether *loop* is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def call_in(loop: AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call *callback* in the thread of *loop*: now if that is this one.

    Does nothing if the loop is closed.
    """
    if runs_here(loop):
        callback()
    else:
        with suppress(RuntimeError):  # closed
            loop.call_soon_threadsafe(callback)


def clock_of(loop: AbstractEventLoop) -> Callable[[], float]:
    """Return what tells the time of *loop*."""
    if getattr(loop.time, "__func__", None) is BaseEventLoop.time:
        return monotonic  # the same without a call in Python
    return loop.time


def begins_at_once(loop: AbstractEventLoop) -> bool:
    """Tell whether tasks of *loop* can take their first step when they are made.

    They can from Python 3.12 on, where the loop makes ``asyncio.Task`` and no other.
    """
    if sys.version_info < (3, 12):  # pragma: py-gte-312
        return False
    create_task = getattr(loop.create_task, "__func__", None)
    uvloop = sys.modules.get("uvloop")
    return create_task is BaseEventLoop.create_task or (
        uvloop is not None and type(loop) is uvloop.Loop
    )
