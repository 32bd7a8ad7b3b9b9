"""Whether one task waits for another, as far as asyncio tells.

asyncio has no public answer, so this reads what its own tasks, ``gather`` and
``TaskGroup`` hold, and says no wherever it cannot tell: of ``asyncio.wait``, for
one, which may have a timeout.
"""

import asyncio
from asyncio import Future, Task  # no need to hide them
from types import MethodType
from typing import Any

#: What ``gather`` returns.
_Gathering: Any = getattr(asyncio.tasks, "_GatheringFuture", ())

_TaskGroup: Any = getattr(asyncio, "TaskGroup", None)  # from Python 3.11 on


def awaits(waiting: "Future[Any] | None", task: "Task[Any]") -> bool:
    """Tell whether *waiting* is known not to go on before *task* has ended."""
    if waiting is task:
        return True
    awaited: Any = getattr(waiting, "_fut_waiter", None)
    if awaited is None:
        return False
    if isinstance(awaited, _Gathering):
        children: Any = getattr(awaited, "_children", ())
        return any(awaits(child, task) for child in children)
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
