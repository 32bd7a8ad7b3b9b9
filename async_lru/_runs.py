"""One execution of the wrapped function, and the calls that wait for it."""

import asyncio
import sys
from asyncio import AbstractEventLoop, CancelledError, Future, Task
from collections.abc import Callable, Coroutine, Hashable
from contextvars import ContextVar
from enum import Enum
from typing import Any, Protocol, TypeAlias

from ._awaiting import awaits

#: Whether tasks can take their first step when they are made.
EAGER = sys.version_info >= (3, 12)

_Task: Any = Task  # whose eager_start not all Pythons know

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

    #: Whether asyncio alone makes the loop's tasks, save for a task factory.
    stock: bool
    #: All runs in flight of the cache, those without an entry included.
    runs: "set[Run]"
    #: Runs that were started.
    misses: int

    def admit(self, run: "Run") -> None:
        """Make a new run the newest entry, and evict what is too much then."""

    def put(self, key: Hashable, value: Any) -> None:
        """Make *value* the entry of *key*."""

    def drop(self, run: "Run") -> None:
        """Take *run* out, wherever it is."""


Waiters: TypeAlias = "dict[Future[Any], Run | None]"

#: The waiters of a run that has none yet, to spare most runs a dict; stays empty.
NOBODY: Waiters = {}

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
        "starter",
        "starting",
        "store",
        "task",
        "unheard",
        "value",
        "waiters",
    )

    key: Hashable
    loop: AbstractEventLoop
    store: Keeper
    #: Changed by whoever takes the entry away from the run.
    place: Place
    #: The future of each waiter, with the run that cannot end before it does.
    #: None once the run has ended: the function has finished, the waiters were told.
    waiters: "Waiters | None"
    #: None until the function begins where that is at once (see start_run).
    task: "Task[Any] | None"
    #: How many runs were started inside each other, down to this one.
    depth: int
    #: Whether the function takes its first step in start_run, and the run that will
    #: then wait for this one.
    starting: bool
    starter: "Run | None"
    #: What the waiters are about to get once the run has ended, and how many of
    #: them have yet to wake up for it.
    value: Any
    unheard: int

    # Running

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
        if self.waiters is None:  # pragma: py-lt-312
            return
        if task.cancelled():
            self.fail(CancelledError())
        else:
            self.fail(
                task.exception()
                or RuntimeError(f"{task!r} ended without running its coroutine")
            )

    # Waiting

    def add_waiter(self, caller: "Run | None") -> "Future[Any]":
        """Return a future for one more to wait on, in *caller*, the enclosing run.

        When it is done take_value gives the result; leave is for who is cancelled.
        """
        waiter = self.loop.create_future()
        if self.waiters:
            self.waiters[waiter] = caller
        else:
            self.waiters = {waiter: caller}
        return waiter

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

    def waits_for(self, caller: "Run") -> bool:
        """Tell whether this run cannot end before *caller* does."""
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
            if self.place is HELD:
                self.store.put(self.key, value)
            elif self.place is EVICTED:
                self.store.drop(self)
        except BaseException as error:  # noqa: BLE001  # told to the waiters
            self.fail(error)
            return
        waiters = self.end()
        if waiters or self.starting:
            self.value = value
            self.unheard = self.starting
            for waiter in waiters:
                if not waiter.done():
                    self.unheard += 1
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
            waiters = [waiter for waiter in self.end() if not waiter.done()]
            if isinstance(error, CancelledError):
                for waiter in waiters:
                    waiter.cancel(*error.args[:1])
            elif not self.loop.is_closed():
                self.unheard = len(waiters)
                for waiter in waiters:
                    waiter.set_exception(error)
                if not waiters:
                    self.report(error)

    def end(self) -> "Waiters":
        """Mark the run as ended and return the futures that waited for it."""
        waiters, self.waiters = self.waiters, None
        self.store.runs.discard(self)
        # What outlives the run may hold it through its context: leave it empty.
        self.task = None
        del self.key, self.store
        return waiters or NOBODY

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


def start_run(  # noqa: PLR0917  # keywords cost time
    key: Hashable,
    loop: AbstractEventLoop,
    store: Keeper,
    function: Callable[..., Coroutine[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    admitted: Callable[[], None] | None,
) -> Run:
    """Make a run an entry of *store* and start its function in a task of its own.

    Where nobody but asyncio has a say in how tasks are made the task is eager, from
    Python 3.12 on: the function takes its first step here. If that is its last the
    run has ended, and take_value gives the result. *admitted* is called once the run
    is an entry, before the function is called.
    """
    # Without an __init__, which would cost a tenth of a miss.
    run = Run()
    run.key = key
    run.loop = loop
    run.store = store
    run.place = DROPPED
    run.waiters = NOBODY
    run.task = None
    run.starter = None
    run.value = None
    execution = None
    try:
        store.admit(run)
        if admitted is not None:
            admitted()
        store.misses += 1
        store.runs.add(run)
        run.depth = 0
        outer = _current.get(None)
        if outer is not None:
            run.starter = enclosing_run()
            run.depth = outer.depth + 1
        execution = run.execute(function, args, kwargs)
        run.starting = True
        if not store.stock or loop.get_task_factory() is not None:
            # Perhaps eager too: execute looks after the depth.
            task = loop.create_task(execution)
        elif EAGER and run.depth <= MAX_EAGER_DEPTH:  # pragma: py-lt-312
            task = _Task(execution, loop=loop, eager_start=True)
        else:
            run.depth = 0
            task = _Task(execution, loop=loop)
        run.starting = False
        run.starter = None
        if run not in store.runs or (
            run.task is not None and not task.done()
        ):  # pragma: py-lt-312
            return run  # the function has begun, and tells the waiters itself
        run.task = task
        task.add_done_callback(run.end_untold)
    except BaseException:
        # First of all, with as few calls that might fail too: nobody can join it.
        run.waiters = None
        store.runs.discard(run)
        run.starting = False
        run.starter = None
        try:
            store.drop(run)
        finally:
            if execution is not None:
                execution.close()
        raise
    return run


def enclosing_run() -> Run | None:
    """Return the run that cannot end before the code that asks does, if any."""
    run = _current.get(None)
    if run is None or run.waiters is None:
        return None
    task = asyncio.current_task()
    if task is None:  # called from a callback, for which nobody waits
        return None
    return run if run.task is task or awaits(run.task, task) else None
