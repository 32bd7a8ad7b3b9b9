"""Detects runs that would wait for each other, as far as asyncio can tell.

asyncio has no public API for this, so this reads attributes of its tasks, ``gather`` and
``TaskGroup``. Where it cannot be sure, it answers no: for ``asyncio.wait``, for example,
which may have a timeout.
"""

import asyncio
from asyncio import Future, Task  # no need to hide them
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, Protocol, TypeAlias


class Waited(Protocol):
    """A run, as seen by this module."""

    ended: bool
    task: "Task[Any] | None"

    def waiting(self) -> Sequence[tuple[Future[Any], "_Caller | None"]]:
        """Return the waiters and where they call from. Can be called from any thread."""
        ...


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
