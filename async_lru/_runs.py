"""One execution of the wrapped function, and the calls that wait for it."""

import asyncio
import sys
from asyncio import AbstractEventLoop, CancelledError, Future, Task
from collections.abc import Callable, Coroutine, Hashable
from contextvars import ContextVar
from enum import Enum
from typing import Any, Protocol

from ._awaiting import awaits

#: Runs started eagerly inside each other use the C stack: past so many, the
#: next one is scheduled and begins on a fresh stack.
MAX_EAGER_DEPTH = 16


class Place(Enum):
    """Where the cache has a run in flight."""

    #: It is an entry: calls join it and its value will be stored.
    HELD = "held"
    #: Its entry was evicted: calls still join it, and make it an entry again.
    EVICTED = "evicted"
    #: It was invalidated, cleared or cancelled: it only answers its waiters.
    DROPPED = "dropped"


HELD, EVICTED, DROPPED = Place


class Keeper(Protocol):
    """What a run needs of the store it belongs to."""

    def keep(self, run: "Run", value: Any) -> None:
        """Put *value* where *run* is, if that still is an entry."""

    def drop(self, run: "Run") -> None:
        """Take *run* out, wherever it is."""


#: The run whose code, or a task started by it, is running.
_current: ContextVar["Run"] = ContextVar("async_lru.run")


class Run:
    """A run in flight: its task, its waiters and its place in the store.

    A run touches nothing but its own entry: whoever takes the entry away from
    it changes its place, and what ends later finds that it has none.
    """

    __slots__ = (
        "depth",
        "key",
        "loop",
        "place",
        "registry",
        "starter",
        "starting",
        "store",
        "task",
        "unheard",
        "value",
        "waiters",
    )

    key: Hashable
    store: Keeper
    #: All runs in flight of the cache, those without an entry included.
    registry: "set[Run]"
    #: None until the function begins where that is at once (see start).
    task: "Task[Any] | None"
    #: The future of each waiter, with the run that cannot end before it does.
    #: None once the run has ended.
    waiters: "dict[Future[Any], Run | None] | None"
    #: What the waiters are about to get, and how many have yet to wake up for it.
    value: Any
    unheard: int
    #: The run that will wait for this one, as long as it is busy starting it.
    starter: "Run | None"

    def __init__(
        self,
        key: Hashable,
        loop: AbstractEventLoop,
        store: Keeper,
        registry: "set[Run]",
    ) -> None:
        self.key = key
        self.loop = loop
        self.store = store
        self.registry = registry
        self.place = DROPPED
        self.task = None
        self.waiters = {}
        self.starter = None
        self.starting = False
        self.depth = 0
        self.value = None
        self.unheard = 0

    @property
    def ended(self) -> bool:
        """Whether the function has finished and the waiters were told."""
        return self.waiters is None

    # Starting

    def start(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        stock: bool,
    ) -> None:
        """Start the function in a task of its own.

        With an eager task the function takes its first step here; where that is
        its last, the run has ended, and take_value gives the result. *stock* says
        that nobody but asyncio has a say in how tasks are made.
        """
        outer = _current.get(None)
        if outer is not None:
            self.starter = enclosing_run()
            self.depth = outer.depth + 1
        self.registry.add(self)
        execution = self.execute(function, args, kwargs)
        self.starting = True
        try:
            task = self.create_task(execution, stock=stock)
        except BaseException:
            execution.close()
            raise
        finally:
            self.starting = False
            self.starter = None
        if self.ended or (self.task and not task.done()):  # pragma: py-lt-312
            return  # the function has begun, and tells the waiters itself
        self.task = task
        task.add_done_callback(self.end_untold)

    def create_task(
        self, execution: Coroutine[Any, Any, Any], *, stock: bool
    ) -> "Task[Any]":
        """Create the run's task, eager where that is known to be right."""
        if not stock:  # perhaps eager too: execute looks after the depth
            return self.loop.create_task(execution)
        if (
            sys.version_info >= (3, 12) and self.depth <= MAX_EAGER_DEPTH
        ):  # pragma: py-lt-312
            return Task(execution, loop=self.loop, eager_start=True)
        self.depth = 0
        return self.loop.create_task(execution)

    async def execute(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Run the function and end the run: the body of the run's task.

        The waiters are told in the function's last step, not by a callback of
        the task, which saves them a trip round the loop.
        """
        try:
            if self.task is None:  # pragma: py-lt-312
                self.task = asyncio.current_task()
            else:
                self.task.remove_done_callback(self.end_untold)
            if self.depth > MAX_EAGER_DEPTH:  # pragma: py-lt-312
                self.depth = 0
                await asyncio.sleep(0)
            _current.set(self)
            value = await function(*args, **kwargs)
        except BaseException as error:
            self.fail(error)
            if isinstance(error, CancelledError):
                raise
        else:
            self.succeed(value)

    def end_untold(self, task: "Task[Any]") -> None:
        """End the run of a task that could not do so itself.

        It was cancelled before the function could begin, say, or had no stack
        left to begin on.
        """
        if self.ended:  # pragma: py-lt-312
            return
        if task.cancelled():
            self.fail(CancelledError())
        else:
            self.fail(
                task.exception()
                or RuntimeError(f"{task!r} ended without running its coroutine")
            )

    # Waiting

    async def wait(self) -> Any:
        """Wait for the run and return its value or raise its exception.

        Cancelling this cancels the run only when nobody else waits for it.
        """
        assert self.waiters is not None
        waiter = self.loop.create_future()
        self.waiters[waiter] = enclosing_run()
        try:
            await waiter
        except (CancelledError, GeneratorExit):
            self.leave(waiter)
            raise
        finally:
            del waiter  # it may hold the exception, whose traceback holds this frame
        return self.take_value()

    def take_value(self) -> Any:
        """Return the value to one who waited, and let go of it with the last."""
        # The loop holds the future that woke the waiter until the waiter waits
        # again. With the value in it, dropping the entry would not free it.
        value = self.value
        self.unheard -= 1
        if not self.unheard:
            self.value = None
        return value

    def leave(self, waiter: "Future[Any]") -> None:
        """Forget a waiter that was cancelled, and cancel the run after the last."""
        if self.waiters is not None:
            del self.waiters[waiter]
            if not self.waiters:
                self.abandon()
        elif waiter.done() and not waiter.cancelled():  # too late: it had been told
            self.take_value()
            error = waiter.exception()
            if error is not None and not self.unheard:
                self.report(error)

    def abandon(self) -> None:
        """Drop the entry and cancel the run, for nobody waits for it."""
        try:
            self.store.drop(self)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the run's task."""
        if self.task is not None and not self.loop.is_closed():
            self.task.cancel()

    def waits_for_caller(self) -> bool:
        """Tell whether this run cannot end before the code that asks does."""
        caller = enclosing_run()
        if caller is None:
            return False
        found = {caller}
        pending = [caller]
        while pending:
            run = pending.pop()
            if run is self:
                return True
            for waiting in (run.starter, *(run.waiters or {}).values()):
                if waiting is not None and waiting not in found:
                    found.add(waiting)
                    pending.append(waiting)
        return False

    # Ending

    def succeed(self, value: Any) -> None:
        """Store *value* if the run still has an entry, and give it to the waiters."""
        try:
            self.store.keep(self, value)
        except BaseException as error:  # noqa: BLE001  # told to the waiters
            self.fail(error)
            return
        waiters = self.end()
        self.unheard = len(waiters) + self.starting
        if self.unheard:
            self.value = value
        for waiter in waiters:
            waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Drop the entry and give *error* to the waiters."""
        if self.starting:  # pragma: py-lt-312
            # Callers already on their way in this tick shall share the failure.
            self.loop.call_soon(self.fail, error)
            return
        if isinstance(error, StopIteration):  # no future takes it
            cause, error = error, RuntimeError("coroutine raised StopIteration")
            error.__cause__ = cause
        try:
            self.store.drop(self)
        finally:
            waiters = self.end()
            if isinstance(error, CancelledError):
                for waiter in waiters:
                    waiter.cancel(*error.args[:1])
            elif not self.loop.is_closed():
                self.unheard = len(waiters)
                for waiter in waiters:
                    waiter.set_exception(error)
                if not waiters:
                    self.report(error)

    def end(self) -> "list[Future[Any]]":
        """Mark the run as ended and return the futures that still wait for it."""
        waiters, self.waiters = self.waiters, None
        self.registry.discard(self)
        # What outlives the run may hold it through its context: leave it empty.
        self.task = None
        del self.key, self.store
        return [waiter for waiter in waiters or () if not waiter.done()]

    def report(self, error: BaseException) -> None:
        """Hand an exception that no caller could get to the event loop."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        self.loop.call_exception_handler(
            {
                "message": "Exception in a cached function whose callers were "
                "all cancelled",
                "exception": error,
            }
        )


def enclosing_run() -> Run | None:
    """Return the run that cannot end before the code that asks does, if any."""
    run = _current.get(None)
    if run is None or run.ended:
        return None
    task = asyncio.current_task()
    if task is None:  # called from a callback, for which nobody waits
        return None
    return run if run.task is task or awaits(run.task, task) else None
