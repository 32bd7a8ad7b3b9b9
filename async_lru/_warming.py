"""Many calls with bounded concurrency."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

#: A call: its positional arguments, its keyword arguments, or a pair of both.
WarmCall: TypeAlias = (
    "tuple[Any, ...] | Mapping[str, Any] | tuple[tuple[Any, ...], Mapping[str, Any]]"
)


_Arguments: TypeAlias = "tuple[tuple[Any, ...], Mapping[str, Any]]"


def _arguments_of(given: Any) -> _Arguments:
    """Return the positional and the keyword arguments of a call."""
    if isinstance(given, Mapping):
        return (), given
    if not isinstance(given, tuple):
        raise TypeError(
            f"cache_warm takes tuples of arguments, not {given!r}: "
            "write (argument,) for a single one, or a mapping of keyword arguments"
        )
    if (
        len(given) == 2
        and isinstance(given[0], tuple)
        and isinstance(given[1], Mapping)
    ):
        return given
    return given, {}


async def warm(
    call: Callable[..., Coroutine[Any, Any, Any]],
    calls: Iterable[WarmCall],
    concurrency: int,
    progress: Callable[[int, int], object] | None,
) -> list[Any]:
    """Make *calls* and return the result or the exception of each, in their order."""
    given: Any = concurrency
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(
            f"concurrency must be an int, not {concurrency!r}: "
            "pass a number of calls at a time"
        )
    if concurrency < 1:
        raise ValueError(
            f"concurrency must be 1 or more, not {concurrency!r}: "
            "pass a number of calls at a time"
        )
    todo = [_arguments_of(given) for given in calls]
    outcomes: list[Any] = [None] * len(todo)
    done = 0
    stopped = False

    async def work(numbered: Iterator[tuple[int, _Arguments]]) -> None:
        nonlocal done
        for index, (args, kwargs) in numbered:
            try:
                outcomes[index] = await call(*args, **kwargs)
            except CancelledError as error:
                if stopped:
                    raise
                outcomes[index] = _without_first_frame(error)  # the run's, not ours
            except Exception as error:  # noqa: BLE001  # what happened to it
                outcomes[index] = _without_first_frame(error)
            done += 1
            if progress is not None:
                progress(done, len(todo))

    numbered = enumerate(todo)
    workers = [
        asyncio.ensure_future(work(numbered))
        for _ in range(min(concurrency, len(todo)))
    ]
    try:
        # Not gather, which would cancel the workers before they can know why.
        ended: set[asyncio.Task[None]] = set()
        if workers:
            ended, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in ended:
            worker.result()
    finally:
        stopped = True
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return outcomes


def _without_first_frame(error: BaseException) -> BaseException:
    """Take the frame that has just caught *error*, and holds it, out of its traceback."""
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)
