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
from ._loops import call_in

#: Runs that begin inside each other's first steps use the C stack: past so many, the
#: next one waits for a turn of the loop, and so for a fresh stack.
MAX_EAGER_DEPTH: Final = 16

#: Seconds between two looks at runs in the loops of other threads.
_POLL: Final = 0.01

_Task: Any = Task  # whose eager_start not all Pythons know

Function: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class Purpose(Enum):
    """What a run is asked for."""

    CALL = auto()
    #: A call whose run was lost, and which was counted then.
    CALL_AGAIN = auto()
    REFRESH = auto()


CALL: Final = Purpose.CALL
CALL_AGAIN: Final = Purpose.CALL_AGAIN
REFRESH: Final = Purpose.REFRESH


class Keeper(Protocol):
    """What a run needs of its cache."""

    name: str
    time: Callable[[], float]
    #: Whether tasks of its loop can take their first step when they are made.
    begins_at_once: bool
    #: Every run in flight, those that can no longer be joined included.
    in_flight: "set[Run]"

    def run_succeeded(self, run: "Run", value: Any, seconds: float, /) -> None:
        """Store *value* if the run can still be joined."""

    def run_failed(self, run: "Run", error: BaseException, /) -> None:
        """Let nobody join the run any more."""

    def take_out(self, run: "Run", /) -> None:
        """Let nobody join the run any more, before it has ended."""

    def describe(self, key: Hashable, /) -> str:
        """Return how a call looks that has this key."""
        ...


#: Where a call comes from: the run whose function makes it, and the task it is in.
Caller: TypeAlias = "tuple[Run, Task[Any]]"

_current_run: ContextVar["Run | None"] = ContextVar("async_lru.run", default=None)

#: Return the run whose function, or a task that it has made, calls this.
current_run: Callable[[], "Run | None"] = _current_run.get


def current_caller() -> "Caller | None":
    """Return where this call comes from, if that is inside a run."""
    run = current_run()
    if run is None or run.ended:
        return None
    task = current_task()
    return None if task is None else (run, task)


class Run:
    """A run in flight: its task, and a future for each call that waits for it.

    Whether calls can join it, and its result will be stored, is the cache's affair:
    they can while the run is in the cache's map of runs, and whoever takes it out makes
    it not ``joinable``. All methods except ``disown`` belong to the thread of the run's
    loop.
    """

    __slots__ = (
        "__weakref__",
        "_background",
        "_cache",
        "_cancelled",
        "_depth",
        "_detached",
        "_name",
        "_starting",
        "_unheard",
        "_waiters",
        "ended",
        "joinable",
        "key",
        "loop",
        "task",
    )

    #: None of these is there any more when the run has ended.
    _cache: Keeper
    key: Hashable
    _waiters: "dict[Future[Any], Caller | None]"
    #: None before the task has begun, too.
    task: "Task[Any] | None"

    #: Whether calls may join it, and its result is stored.
    joinable: bool
    #: Whether the function has finished and the waiters were told.
    ended: bool
    #: Whether it goes on when nobody waits for it ...
    _detached: bool
    #: ... because the cache itself wants the result.
    _background: bool
    _cancelled: bool
    #: Whether the first step is being taken inside ``begin``, and inside how many others.
    _starting: bool
    _depth: int
    #: How many waiters were told of a failure and may never notice.
    _unheard: int
    #: The function's, known when the run has failed.
    _name: str

    def __init__(  # noqa: PLR0917  # names cost time
        self,
        cache: Keeper,
        key: Hashable,
        loop: AbstractEventLoop,
        waiter: "Future[Any] | None",
        caller: "Caller | None",
        detached: bool,  # by position: a name costs time
    ) -> None:
        self._cache = cache
        self.key = key
        self.loop = loop
        self._waiters = {} if waiter is None else {waiter: caller}
        self.task = None
        self.joinable = True
        self._detached = detached
        self.ended = self._background = self._cancelled = self._starting = False
        self._depth = 0

    # Running

    def begin(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: "Caller | None",
    ) -> None:
        """Start the function in a task of its own, for a call from *caller*.

        If that cannot be done the run fails like any other.
        """
        if caller is not None and caller[0]._starting:
            self._depth = caller[0]._depth + 1
        coroutine = self._execute(function, args, kwargs)
        self._starting = True
        try:
            # In the background later, or its error would know the frames of a call
            # that got a value.
            if (
                self._cache.begins_at_once
                and not self._background
                and self.loop.get_task_factory() is None
            ):
                task = _Task(coroutine, loop=self.loop, eager_start=True)
            else:
                task = self.loop.create_task(coroutine)
            if self.task is None and not self.ended:
                # It has not begun yet, and may be cancelled before it does.
                self.task = task
                task.add_done_callback(self._end_unbegun)
            self._starting = False
        except BaseException as error:  # noqa: BLE001  # told to the waiters
            self._starting = False
            try:
                if self.task is None:
                    coroutine.close()
                else:  # it has begun, and its loop raised afterwards
                    self.task.cancel()
            finally:
                self._fail(error)
        else:
            if not self.ended and task.done() and not task.cancelled():
                failure = task.exception()
                if failure is not None:  # there was no stack left to fail on
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
            except BaseException as error:  # noqa: BLE001  # told to the waiters
                self._fail(error)
                return
            for waiter in self._end():
                if not waiter.done():
                    waiter.set_result(value)

    def _end_unbegun(self, task: "Task[Any]") -> None:
        """End the run of a task that was cancelled before it could begin."""
        if task.cancelled():
            self._fail(CancelledError())
        else:  # no stack left, or it was not asyncio's task
            self._fail(
                task.exception() or RuntimeError(f"{task!r} did not run its coroutine")
            )

    # Waiting

    def add_waiter(self, waiter: "Future[Any]", caller: "Caller | None") -> None:
        """Give the outcome to *waiter*, a future of the run's loop."""
        self._waiters[waiter] = caller

    def waiting(self) -> "list[tuple[Future[Any], Caller | None]]":
        """Return the waiters and where they call from, to any thread."""
        waiters = self._waiters  # looked at once: the run may end just now
        return list(waiters.items()) if waiters else []

    def leave(self, waiter: "Future[Any]", error: BaseException | None = None) -> bool:
        """Forget a waiter whose call was ended by *error*, or waits no longer.

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
            # The call was cancelled when it had been told, but had not resumed.
            self.miss(failure)
        return failure is not None and failure is error

    def miss(self, failure: BaseException) -> None:
        """Take note that a waiter which was told of *failure* will never notice."""
        if self._is_last_unheard() and not self._background:  # which was reported
            self._report(failure, _UNHEARD)

    def _is_last_unheard(self) -> bool:
        self._unheard -= 1
        return not self._unheard

    def detach(self) -> None:
        """Go on without waiters, because the cache itself wants the result."""
        self._detached = self._background = True

    def leave_behind(self, waiter: "Future[Any]") -> None:
        """Forget a waiter that got something else, and go on for the cache."""
        del self._waiters[waiter]
        self.detach()

    def disown(self) -> None:
        """Cancel the run if nobody waits for it: it can no longer be joined or store.

        May be called from any thread. It is decided in a later turn of the loop, for
        a call may be about to join the run.
        """
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._disown)

    def _disown(self) -> None:
        self._detached = False
        if not self.ended and not self._waiters:
            self.cancel()

    def _abandon(self) -> None:
        self.joinable = False
        with suppress(Exception):  # from a key's __eq__: nobody is to get that here
            self._cache.take_out(self)
        call_in(self.loop, self.cancel)

    def cancel(self) -> None:
        """Cancel the task, once: it may take its time to clean up."""
        if self.task is not None and not self._cancelled:
            self._cancelled = True
            self.task.cancel()

    # Ending

    def _fail(self, error: BaseException) -> None:
        """Give *error* to the waiters, or to the loop if there are none."""
        if self.ended:
            return
        if self._starting:
            # Callers that are on their way in this turn of the loop share it (A4).
            self.loop.call_soon(self._fail, error)
            return
        if isinstance(error, StopIteration):  # no future takes it
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
        # What outlives the run may hold it, through its context: leave it empty.
        self._cache = self.key = self._waiters = self.task = _NOTHING
        return waiters

    def _report(self, error: BaseException, what: str) -> None:
        """Hand an exception that no call may have got to the event loop."""
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

    A run that closes its own cache cannot be waited for, nor can one whose loop has
    stopped.
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
            await asyncio.sleep(0)  # their waiters are told in the next turn
        else:
            await asyncio.sleep(_POLL)
