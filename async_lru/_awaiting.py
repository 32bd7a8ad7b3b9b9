"""Whether one task waits for another.

asyncio has no public answer before Python 3.14, so this reads what its tasks
and futures are known to hold, and says no wherever it cannot tell.
"""

import inspect
from asyncio import Future  # noqa: TC003  # no need to hide it
from collections.abc import Iterator
from typing import Any


def awaits(waiting: "Future[Any] | None", task: "Future[Any]") -> bool:
    """Tell whether the task *waiting* is known to wait for *task*.

    Sees an await of the task itself and of what ``gather``, ``wait``,
    ``wait_for``, ``shield`` and ``TaskGroup`` make of it.
    """
    awaited = getattr(waiting, "_fut_waiter", None)
    if awaited is task:
        return True
    return any(
        woken is not None and (woken is awaited or woken is waiting)
        for callback, _ in getattr(task, "_callbacks", None) or ()
        for woken in _woken_by(callback)
    )


def _woken_by(callback: Any) -> Iterator[Any]:
    """Yield the futures and tasks that *callback*, of a future, may wake."""
    if inspect.isfunction(callback):  # gather, wait, shield
        yield from inspect.getclosurevars(callback).nonlocals.values()
    elif inspect.ismethod(callback):  # TaskGroup
        yield getattr(callback.__self__, "_parent_task", None)
    else:  # wait_for before Python 3.12: a partial
        yield from getattr(callback, "args", ())
