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
    if waiting is task:
        return True
    if not isinstance(waiting, _TASKS):  # not even the attributes of other futures
        return False
    awaited: Any = getattr(waiting, "_fut_waiter", None)
    if awaited is None:
        return False
    if isinstance(awaited, _Gathering):
        children: Any = getattr(awaited, "_children", ())
        return not awaited.done() and any(awaits(child, task) for child in children)
    return awaits(awaited, task) or any(
        getattr(group, "_on_completed_fut", None) is awaited
        for group in _groups_of(task)
    )


def _groups_of(task: "Task[Any]") -> list[Any]:
    """Return the task groups that wait for *task*."""
    callbacks: Any = getattr(task, "_callbacks", None) or ()
    return [
        callback.__self__
        for callback, _ in callbacks
        if type(callback) is MethodType and type(callback.__self__) is _TaskGroup
    ]
