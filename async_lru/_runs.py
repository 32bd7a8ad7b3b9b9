"""A run: one execution of the function, and the calls that wait for it."""

# ruff: noqa: SLF001  # runs know each other

import asyncio
from asyncio import (
    AbstractEventLoop,
    CancelledError,
    Future,
    Task,
    current_task,
)
from asyncio import (
    _get_running_loop as get_running_loop_or_none,  # pyright: ignore[reportPrivateUsage]  # public all the same
)
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias

from ._deadlock import waits_for
from ._loops import call_in, call_soon_in

#: Runs that start inside each other's first steps use the C stack. Past this depth, the
#: next one waits for a turn of the loop, and thus for a fresh stack.
MAX_EAGER_DEPTH: Final = 16

#: Seconds between two checks of runs in the loops of other threads.
_POLL: Final = 0.01

_Task: Any = Task  # not all Pythons have its eager_start

Function: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class Purpose(Enum):
    """Why a run is requested."""

    CALL = auto()
    #: A call whose run was lost, and which has been counted.
    CALL_AGAIN = auto()
    REFRESH = auto()


CALL: Final = Purpose.CALL
CALL_AGAIN: Final = Purpose.CALL_AGAIN
REFRESH: Final = Purpose.REFRESH


class Keeper(Protocol):
    """The cache, as seen by its runs."""

    name: str
    time: Callable[[], float]
    #: Whether tasks of its loop can take their first step when they are created.
    begins_at_once: bool
    #: Every run in flight, including those that can no longer be joined.
    in_flight: "set[Run]"

    def run_succeeded(self, run: "Run", value: Any, seconds: float, /) -> None:
        """Store *value* if the run can still be joined."""

    def run_failed(self, run: "Run", error: BaseException, /) -> None:
        """Make the run unjoinable when it has failed."""

    def take_out(self, run: "Run", /) -> None:
        """Make a run in flight unjoinable."""

    def describe(self, key: Hashable, /) -> str:
        """Return the call with this key as text."""
        ...


#: Where a call comes from: the run whose function makes it, and its task.
Caller: TypeAlias = "tuple[Run, Task[Any]]"

_current_run: ContextVar["Run | None"] = ContextVar("async_lru.run", default=None)

#: Return the run whose function, or a task created by that function, calls this.
current_run: Callable[[], "Run | None"] = _current_run.get


def current_caller() -> "Caller | None":
    """Return where this call comes from, if it is inside a run."""
    run = current_run()
    if run is None or run.ended:
        return None
    task = current_task()
    return None if task is None else (run, task)


class Run:
    """A run in flight: its task, and a future for each call that waits for it.

    The cache decides whether calls can join it and whether its result is stored: both are
    true while the run is in the cache's map of runs. Removing it from there makes it not
    ``joinable``. All methods except ``disown`` must be called in the thread of the run's
    loop.
    """

    #: These four are None when the run has ended.
    _cache: Keeper
    key: Hashable
    _waiters: "dict[Future[Any], Caller | None]"
    #: Also None before the task has started.
    task: "Task[Any] | None"

    #: Whether calls can join it and its result will be stored.
    joinable: bool
    #: Whether the function has finished and the waiters have its outcome.
    ended: bool
    #: Whether it continues when no call waits for it ...
    _detached: bool
    #: ... because the cache itself wants the result.
    _background: bool
    _cancelled: bool
    #: Whether ``begin`` is taking the first step, and inside how many other first steps.
    _starting: bool
    _depth: int
    #: Waiters that got an exception, less those known never to resume with it.
    _unheard: int
    #: The name of the function, set when the run has failed.
    _name: str

    def __init__(  # noqa: PLR0917  # keywords cost time
        self,
        cache: Keeper,
        key: Hashable,
        loop: AbstractEventLoop,
        waiter: "Future[Any] | None",
        caller: "Caller | None",
        detached: bool,  # positional: a keyword costs time
    ) -> None:
        self._cache = cache
        self.key = key
        self.loop = loop
        self._waiters = {} if waiter is None else {waiter: caller}
        self.task = None
        self.joinable = True
        self._detached = detached
        self.ended = self._background = self._cancelled = self._starting = False
        self._depth = self._unheard = 0

    # Running

    def begin(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: "Caller | None",
    ) -> None:
        """Start the function in a task of its own, for a call from *caller*.

        If it cannot start, the run fails like any other.
        """
        if caller is not None and caller[0]._starting:
            self._depth = caller[0]._depth + 1
        coroutine = self._execute(function, args, kwargs)
        self._starting = True
        try:
            # A background run starts in a later turn. Otherwise its exception would
            # refer to the frames of a call that got a value.
            if (
                self._cache.begins_at_once
                and not self._background
                and self.loop.get_task_factory() is None
            ):
                task = _Task(coroutine, loop=self.loop, eager_start=True)
            else:
                task = self.loop.create_task(coroutine)
            if self.task is None and not self.ended:
                # It has not started yet, and may be cancelled before it does.
                self.task = task
                task.add_done_callback(self._end_unbegun)
            self._starting = False
        except BaseException as error:  # noqa: BLE001  # raised to the waiters
            self._starting = False
            try:
                if self.task is None:
                    coroutine.close()
                else:  # it has started, and its loop raised afterwards
                    self.task.cancel()
            finally:
                self._fail(error)
        else:
            if not self.ended and task.done() and not task.cancelled():
                failure = task.exception()
                if failure is not None:  # there was not enough stack left to fail
                    self._fail(failure)

    async def _execute(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the function and end the run: the body of the task."""
        if self.task is not None:
            self.task.remove_done_callback(self._end_unbegun)
        self.task = current_task()
        _current_run.set(self)
        clock = self._cache.time
        started = clock()
        try:
            if self._depth >= MAX_EAGER_DEPTH:
                await asyncio.sleep(0)
            value = await function(*args, **kwargs)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, CancelledError):
                raise
        else:
            try:
                self._cache.run_succeeded(self, value, clock() - started)
            except BaseException as error:  # noqa: BLE001  # raised to the waiters
                self._fail(error)
                return
            for waiter in self._end():
                if not waiter.done():
                    waiter.set_result(value)

    def _end_unbegun(self, task: "Task[Any]") -> None:
        """End the run of a task that was cancelled before it could start."""
        if task.cancelled():
            self._fail(CancelledError())
        else:  # no stack left, or not an asyncio.Task
            self._fail(
                task.exception() or RuntimeError(f"{task!r} did not run its coroutine")
            )

    # Waiting

    def add_waiter(self, waiter: "Future[Any]", caller: "Caller | None") -> None:
        """Add *waiter*, a future of the run's loop, which will get the outcome."""
        self._waiters[waiter] = caller

    def has_waiter(self, waiter: "Future[Any]") -> bool:
        """Return whether *waiter* waits for it. Can be called from any thread."""
        waiters = self._waiters  # read once: the run may end just now
        return bool(waiters) and waiter in waiters

    def waiting(self) -> "list[tuple[Future[Any], Caller | None]]":
        """Return the waiters and where they call from. Can be called from any thread."""
        waiters = self._waiters  # read once: the run may end just now
        return list(waiters.items()) if waiters else []

    def leave(self, waiter: "Future[Any]", error: BaseException | None = None) -> bool:
        """Forget a waiter whose call ended with *error*, or no longer waits.

        Returns whether *error* is the failure of the run.
        """
        if not self.ended:
            if waiter in self._waiters:  # it was not left behind
                del self._waiters[waiter]
                if not self._waiters and not self._detached:
                    self._abandon()
            return False
        if not waiter.done() or waiter.cancelled():
            return False
        failure = waiter.exception()
        if failure is not None and failure is not error:
            # The call was cancelled after it got the exception and before it resumed.
            self.miss(failure)
        return failure is not None and failure is error

    def miss(self, failure: BaseException) -> None:
        """Called when a waiter that got *failure* will never resume with it."""
        if self._is_last_unheard() and not self._background:  # those were reported
            self._report(failure, _UNHEARD)

    def _is_last_unheard(self) -> bool:
        self._unheard -= 1
        return not self._unheard

    def detach(self) -> None:
        """Continue without waiters, because the cache itself wants the result."""
        self._detached = self._background = True

    def leave_behind(self, waiter: "Future[Any]") -> None:
        """Forget a waiter that got a stale value, and continue in the background."""
        del self._waiters[waiter]
        self.detach()

    def disown(self) -> None:
        """Cancel an unjoinable run if no call waits for it.

        Can be called from any thread. Decides in a later turn of the loop, since a call
        may be about to join the run.
        """
        call_soon_in(self.loop, self._disown)

    def _disown(self) -> None:
        self._detached = False
        if not self.ended and not self._waiters:
            self.cancel()

    def _abandon(self) -> None:
        self.joinable = False
        with suppress(Exception):  # from a key's __eq__: no caller should get it here
            self._cache.take_out(self)
        call_in(self.loop, self.cancel)

    def cancel(self) -> None:
        """Cancel the task, but only once: it may take a while to clean up."""
        if self.task is not None and not self._cancelled:
            self._cancelled = True
            self.task.cancel()

    # Ending

    def _fail(self, error: BaseException) -> None:
        """Raise *error* to the waiters, or pass it to the loop if there are none."""
        if self.ended:
            return
        if self._starting:
            # Other calls in this turn of the loop share the failure (A4).
            self.loop.call_soon(self._fail, error)
            return
        if isinstance(error, StopIteration):  # futures refuse it
            cause, error = (
                error,
                RuntimeError(f"{self._cache.name} raised StopIteration"),
            )
            error.__cause__ = cause
        try:
            self._cache.run_failed(self, error)
        finally:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        cache, key = self._cache, self.key
        self._name = cache.name
        waiters = [waiter for waiter in self._end() if not waiter.done()]
        if self.loop.is_closed():
            return
        if isinstance(error, CancelledError):
            for waiter in waiters:
                waiter.cancel(*error.args[:1])
            return
        self._unheard = len(waiters)
        for waiter in waiters:
            waiter.set_exception(error)
        if self._background:
            call = cache.describe(key)
            self._report(error, f"failed in the background, for {call}")
        elif not waiters:
            self._report(error, _UNHEARD)

    def _end(self) -> "Iterable[Future[Any]]":
        """Mark the run as ended and return the futures that wait for it."""
        waiters = self._waiters
        self.ended = True
        self.joinable = False
        self._cache.in_flight.discard(self)
        # A context may keep the run alive, so it must not keep anything else alive.
        self._cache = self.key = self._waiters = self.task = _NOTHING
        return waiters

    def _report(self, error: BaseException, what: str) -> None:
        """Pass an exception that no call got to the event loop's exception handler."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        loop = get_running_loop_or_none() or self.loop
        loop.call_exception_handler(
            {
                "message": f"{self._name} {what}",
                "exception": error,
            }
        )


_NOTHING: Any = None

_UNHEARD: Final = "failed when all its callers had been cancelled"


async def end(runs: Sequence[Run], *, wait: bool) -> None:
    """Wait until *runs* have ended; cancel them first unless *wait*.

    Does not wait for a run that closes its own cache, or whose loop has stopped.
    """
    here = asyncio.get_running_loop()
    caller = current_caller()
    if not wait:
        for run in runs:
            call_in(run.loop, run.cancel)
    pending = [run for run in runs if caller is None or not waits_for(run, caller)]
    while pending := [
        run
        for run in pending
        if not run.ended and (run.loop is here or run.loop.is_running())
    ]:
        tasks = [
            run.task
            for run in pending
            if run.loop is here and run.task is not None and not run.task.done()
        ]
        if tasks:
            await asyncio.wait(
                tasks, timeout=None if len(tasks) == len(pending) else _POLL
            )
        elif any(run.loop is here for run in pending):
            await asyncio.sleep(0)  # their waiters get the outcome in the next turn
        else:
            await asyncio.sleep(_POLL)
