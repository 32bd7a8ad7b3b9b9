"""Detects runs that would wait for each other, as far as asyncio can tell.

asyncio has no public API for this, so this reads attributes of its tasks, ``gather`` and
``TaskGroup``. Where it cannot be sure, it answers no: for ``asyncio.wait``, for example,
which may have a timeout.
"""

import asyncio
from asyncio import Future, Task  # no need to hide them
from collections.abc import Callable, Sequence
from contextvars import Context
from types import MethodType
from typing import Any, Final, Protocol, TypeAlias


class Waited(Protocol):
    """A run, as seen by this module."""

    ended: bool
    task: "Task[Any] | None"

    def has_waiter(self, waiter: Future[Any], /) -> bool:
        """Return whether *waiter* waits for it. Can be called from any thread."""
        ...

    def leave(self, waiter: Future[Any], error: BaseException | None, /) -> object:
        """Forget a waiter whose call ends with *error*."""

    def waiting(self) -> Sequence[tuple[Future[Any], "_Caller | None"]]:
        """Return the waiters and where they call from. Can be called from any thread."""
        ...


#: Seconds between the first two late checks, and the most between any two.
FIRST_PAUSE: Final = 0.01
LAST_PAUSE: Final = 1.0

_Caller: TypeAlias = "tuple[Waited, Task[Any]]"
#: How one run waits for another: the last run, its waiter, and the path to it.
_Path: TypeAlias = "tuple[Waited, Future[Any], _Path] | None"

_TASKS: Any = (Task, getattr(asyncio.tasks, "_PyTask", Task))

#: What ``gather`` returns.
_Gathering: Any = getattr(asyncio.tasks, "_GatheringFuture", ())

_TaskGroup: Any = getattr(asyncio, "TaskGroup", None)  # from Python 3.11 on


def waits_for(run: Waited, caller: _Caller) -> bool:
    """Return whether *run* cannot end before a call from *caller* does."""
    # Inspect tasks only if the runs alone do not rule it out.
    return may_wait_for(run, caller) and _reaches(run, caller, awaits)


def may_wait_for(run: Waited, caller: _Caller) -> bool:
    """Return whether *run* waits for a call from *caller*, or may come to wait for it."""
    return _reaches(run, caller, _perhaps)


class LateCheck:
    """Refuses a waiter when its run has come to wait for it since it was added.

    It looks in the next turn of the loop, and then ever more rarely, as long as the run may
    come to wait for it.
    """

    __slots__ = ("_caller", "_make_error", "_pause", "_run", "_timer", "_waiter")

    def __init__(
        self,
        run: Waited,
        waiter: "Future[Any]",
        caller: _Caller,
        make_error: Callable[[], BaseException],
    ) -> None:
        self._run = run
        self._waiter = waiter
        self._caller = caller
        self._make_error = make_error
        self._pause = 0.0
        self._set_timer()
        waiter.add_done_callback(self._end)

    def _set_timer(self) -> None:
        # An empty context, since the timer keeps it alive.
        loop = self._waiter.get_loop()
        self._timer = loop.call_later(self._pause, self._look, context=Context())
        self._pause = min(2 * self._pause + FIRST_PAUSE, LAST_PAUSE)

    def _look(self) -> None:
        run, waiter = self._run, self._waiter
        if waiter.done():  # pragma: no cover  # it is about to be told
            return
        if not run.has_waiter(waiter) or not may_wait_for(run, self._caller):
            waiter.remove_done_callback(self._end)
        elif waits_for(run, self._caller):
            error = self._make_error()
            waiter.set_exception(error)
            run.leave(waiter, error)
        else:
            self._set_timer()

    def _end(self, _: object) -> None:
        self._timer.cancel()


def _reaches(
    goal: Waited,
    caller: _Caller,
    waits: Callable[[Task[Any] | None, Task[Any]], bool],
) -> bool:
    pending: list[tuple[_Caller, _Path]] = [(caller, None)]
    seen: set[Any] = set()
    while pending:
        (run, task), path = pending.pop()
        if run.ended or run in seen or not waits(run.task, task):
            continue
        if run is goal:
            if not _is_still_there(path):  # pragma: no cover  # see there
                continue
            return True
        seen.add(run)
        for waiter, waiting in run.waiting():
            if waiting is not None:
                pending.append((waiting, (run, waiter, path)))
    return False


def _is_still_there(path: _Path) -> bool:
    """Return whether all of *path* existed at the same time, despite other threads."""
    while path is not None:
        run, waiter, path = path
        if all(waiter is not other for other, _ in run.waiting()):
            return False  # pragma: no cover  # a thread has come in between
    return True


def _perhaps(waiting: "Task[Any] | None", task: "Task[Any]") -> bool:  # noqa: ARG001
    return True


def awaits(waiting: "Future[Any] | None", task: "Task[Any]") -> bool:
    """Return whether *waiting* certainly cannot continue before *task* has ended."""
    goals = [task, *_groups_waiting_for(task)]
    pending: list[Any] = [waiting]
    seen: set[int] = set()
    while pending:
        future = pending.pop()
        if future is None:
            continue
        if any(future is goal for goal in goals):
            return True
        # Do not read even the attributes of other futures.
        if id(future) in seen or not isinstance(future, _TASKS):
            continue
        seen.add(id(future))
        awaited: Any = getattr(future, "_fut_waiter", None)
        if not isinstance(awaited, _Gathering):
            pending.append(awaited)
        elif not awaited.done():
            pending += getattr(awaited, "_children", ())
    return False


def _groups_waiting_for(task: "Task[Any]") -> list[Any]:
    """Return the futures on which task groups wait for *task*."""
    callbacks: Any = getattr(task, "_callbacks", None) or ()
    return [
        getattr(callback.__self__, "_on_completed_fut", None)
        for callback, _ in callbacks
        if type(callback) is MethodType and type(callback.__self__) is _TaskGroup
    ]
