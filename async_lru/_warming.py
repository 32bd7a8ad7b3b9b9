"""Many calls with bounded concurrency."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeAlias

from ._numbers import from_1

#: A call: its positional arguments, its keyword arguments, or a pair of both.
WarmCall: TypeAlias = (
    "tuple[Any, ...] | Mapping[str, Any] | tuple[tuple[Any, ...], Mapping[str, Any]]"
)


_Arguments: TypeAlias = "tuple[tuple[Any, ...], Mapping[str, Any]]"


def _arguments_of(given: Any) -> _Arguments:
    """Return the positional and the keyword arguments of a call."""
    arguments: Any = given
    if isinstance(given, Mapping):
        return (), arguments
    if not isinstance(given, tuple):
        raise TypeError(
            f"cache_warm takes tuples of arguments, not {given!r}: "
            "write (argument,) for a single one, or a mapping of keyword arguments"
        )
    is_pair = (
        len(arguments) == len(("args", "kwargs"))
        and isinstance(arguments[0], tuple)
        and isinstance(arguments[1], Mapping)
    )
    return arguments if is_pair else (arguments, {})


async def warm(
    call: Callable[..., Coroutine[Any, Any, Any]],
    calls: Iterable[WarmCall],
    concurrency: int,
    progress: Callable[[int, int], object] | None,
) -> list[Any]:
    """Make *calls* and return the result or the exception of each, in their order."""
    concurrency = from_1("concurrency", concurrency, "pass a number of calls at a time")
    todo = [_arguments_of(given) for given in calls]
    return await _Warming(call, todo, progress).run(concurrency)


class _Warming:
    """Calls that several workers make, and the outcome of each.

    The outcomes are dropped at the end to break a cycle: the traceback of a failure refers
    to a worker, whose frame refers to this object.
    """

    def __init__(
        self,
        call: Callable[..., Coroutine[Any, Any, Any]],
        todo: list[_Arguments],
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._call = call
        self._todo = enumerate(todo)
        self._number = len(todo)
        self._progress = progress
        self._outcomes: list[Any] = [None] * len(todo)
        self._done = 0
        self._stopped = False

    async def run(self, concurrency: int) -> list[Any]:
        """Return the result or the exception of each call."""
        workers = [
            asyncio.ensure_future(self._work())
            for _ in range(min(concurrency, self._number))
        ]
        try:
            # Not gather, which would cancel the workers before _stopped is set.
            if workers:
                await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            # Without a variable for a worker, which would be a cycle if it has failed.
            for place in range(len(workers)):
                if workers[place].done():  # pragma: no branch  # unless another failed
                    workers[place].result()
            return self._outcomes
        finally:
            self._stopped = True
            self._outcomes = []
            await self._end(workers)

    async def _end(self, workers: "list[asyncio.Task[None]]") -> None:
        """Cancel *workers* and wait for them."""
        for worker in workers:
            worker.cancel()
        while pending := [worker for worker in workers if not worker.done()]:
            await asyncio.wait(pending)
        for worker in workers:
            if not worker.cancelled():
                worker.exception()
        workers.clear()  # breaks a cycle with the traceback of the task that waited

    async def _work(self) -> None:
        """Make one call after the other."""
        for index, (args, kwargs) in self._todo:
            try:
                self._outcomes[index] = await self._call(*args, **kwargs)
            except CancelledError as error:
                if self._stopped or _is_cancelled():
                    raise
                self._outcomes[index] = error  # the run was cancelled, not this worker
            except Exception as error:  # noqa: BLE001  # returned to the caller
                self._outcomes[index] = error
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._number)


def _is_cancelled() -> bool:
    """Return whether this task was cancelled itself, as far as Python can tell."""
    task: Any = asyncio.current_task()
    # Python 3.10 cannot tell it from the cancellation of what the task waited for.
    return bool(getattr(task, "cancelling", int)())
