"""Many calls with bounded concurrency."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any


async def warm(
    call: Callable[..., Coroutine[Any, Any, Any]],
    calls: Iterable[tuple[Any, ...]],
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
    todo = list(calls)
    arguments: Any
    for arguments in todo:
        if not isinstance(arguments, tuple):
            raise TypeError(
                f"cache_warm takes tuples of arguments, not {arguments!r}: "
                "write (argument,) for a single one"
            )
    outcomes: list[Any] = [None] * len(todo)
    done = 0
    stopped = False

    async def work(numbered: Iterator[tuple[int, tuple[Any, ...]]]) -> None:
        nonlocal done
        for index, arguments in numbered:
            try:
                outcomes[index] = await call(*arguments)
            except CancelledError as error:
                if stopped:
                    raise
                outcomes[index] = error  # the run's, not ours
            except Exception as error:  # noqa: BLE001  # what happened to it
                outcomes[index] = error
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
