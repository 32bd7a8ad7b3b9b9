"""One execution of the wrapped function, and the calls that wait for it."""

import asyncio
from asyncio import (
    AbstractEventLoop,
    CancelledError,
    Future,
    InvalidStateError,
    Task,
)
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Iterable
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from ._starting import Starts

#: Runs started eagerly inside each other use the C stack: past so many, the
#: next one is scheduled and begins on a fresh stack.
MAX_EAGER_DEPTH = 16


class Place(Enum):
    """Where the cache has a run in flight."""

    #: It is an entry: calls join it and its value will be stored.
    HELD = "held"
    #: Its entry was evicted: calls still join it, and make it an entry again.
    EVICTED = "evicted"
    #: It is to replace the entry, which is served meanwhile.
    REFRESHING = "refreshing"
    #: It was invalidated, cleared or cancelled: it only answers its waiters.
    DROPPED = "dropped"


HELD, EVICTED, REFRESHING, DROPPED = Place


class Keeper(Protocol):
    """What a run needs of the store it belongs to."""

    loop: Any  # None in a store that no call has got yet
    #: Whether asyncio alone makes the loop's tasks and futures, save for a factory.
    stock: bool
    #: Makes a future of the loop, which must be running.
    make_future: Any
    #: What is being started in the loop.
    starts: "Starts"
    #: The runs and the values of ended ones, oldest first; how many it holds at most.
    entries: OrderedDict[Hashable, Any]
    limit: int
    #: Told of values that are evicted.
    let_go: Any
    #: Whether values are entries as they are, with nothing round them.
    plain_values: bool
    #: Whether the cache has gone on to another store.
    retired: bool
    #: How runs begin as a rule; see start_run.
    begin: Any
    #: All runs in flight of the cache, those without an entry included.
    runs: "set[Run]"
    misses: float
    #: Seconds that runs took, and the clock that tells.
    load_seconds: float
    #: Whether those that end at once are to be timed too.
    timed: bool
    clock: Any

    def evict(self, key: Hashable, run: "Run") -> None:
        """Leave a run without an entry; it can come back while it is in flight."""

    def put(self, key: Hashable, value: Any) -> None:
        """Make *value* the entry of *key*, which is a run's."""

    def replace(self, run: "Run", value: Any) -> None:
        """Make *value* the entry of a run that is to replace one."""

    def failed(self, run: "Run", error: BaseException) -> Any:
        """Drop a run that failed; return a value to give instead, or ABSENT."""
        ...

    def count_failure(self, error: BaseException) -> None:
        """Count a run that ended with *error*."""

    def drop(self, run: "Run") -> None:
        """Take *run* out, wherever it is."""


Waiters: TypeAlias = "dict[Future[Any], Run | None]"

#: The waiters of a run that has none yet, to spare most runs a dict; stays empty.
NOBODY: "Waiters | None" = {}

_NOTHING: Any = None

_current_run: ContextVar["Run | None"] = ContextVar("async_lru.run", default=None)

#: Returns the run whose code, or a task started by it, is running. Bound once, for from
#: Python 3.12 on a method of an imported name is bound anew at each call.
current_run: "Callable[[], Run | None]" = _current_run.get


class _Pause(tuple[None]):
    """Awaiting it gives up control once; cheaper than a generator."""

    __slots__ = ()
    __await__: Any = cast("Any", tuple).__iter__


_PAUSE: Any = _Pause((None,))


class Run:
    """A run in flight: its task, its waiters and its place in the store.

    A run touches nothing but its own entry: whoever takes the entry away from
    it changes its place, and what ends later finds that it has none.
    """

    __slots__ = (
        "__weakref__",
        "coroutine",
        "key",
        "loop",
        "place",
        "rescued_from",
        "starter",
        "store",
        "task",
        "unheard",
        "value",
        "waiters",
    )

    key: Hashable
    #: Known for good: other threads may ask for it.
    loop: AbstractEventLoop
    store: Keeper
    #: Changed by whoever takes the entry away from the run.
    place: Place
    #: The future of each waiter, with the run that cannot end before it does.
    #: None once the run has ended: the function has finished, the waiters were told.
    waiters: "Waiters | None"
    #: None in a first step that is taken at once: its task runs the coroutine.
    task: "Task[Any] | None"
    coroutine: "Coroutine[Any, Any, Any] | None"
    #: The run that will wait for this one when such a first step has been taken.
    starter: "Run | None"
    #: What the waiters are about to get once the run has ended, and how many of
    #: them have yet to wake up for it; that stays at one when the last has.
    value: Any
    unheard: int
    #: The failure in whose place the waiters get a stale value; not set otherwise.
    rescued_from: BaseException

    # Running

    async def execute(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        primed: bool,
    ) -> None:
        """Run the function and end the run: the body of the run's task.

        The waiters are told in the function's last step, not by a callback of
        the task, which saves them a trip round the loop. A *primed* coroutine was
        run up to its pause before it is given to a task: if that is cancelled
        before its first step, the run ends too.
        """
        try:
            if primed:
                await _PAUSE
            _current_run.set(self)
            clock = self.store.clock
            started = clock()
            value = await (function(*args, **kwargs) if kwargs else function(*args))
        except BaseException as error:
            self.fail(error)
            if isinstance(error, CancelledError):
                raise
        else:
            self.store.load_seconds += clock() - started
            self.succeed(value)

    async def execute_in_any(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Do what execute does in a task of unknown kind."""
        if self.task is None:  # pragma: py-lt-312  # begins before start_run returns
            self.task = asyncio.current_task()
            if len(self.store.starts.steps) > MAX_EAGER_DEPTH:
                await asyncio.sleep(0)
        await self.execute(function, args, kwargs, False)  # noqa: FBT003

    def end_untold(self, task: "Task[Any]") -> None:
        """End the run of a task that could not do so itself.

        It was cancelled before the function could begin, say, or had no stack
        left to begin on.
        """
        if self.waiters is None:
            return
        if task.cancelled():
            self.fail(CancelledError())
        else:
            self.fail(
                task.exception()
                or RuntimeError(f"{task!r} ended without running its coroutine")
            )

    def settle(self, task: "Task[Any]") -> None:  # pragma: py-lt-312
        """End the run with the outcome of a task that does not do so itself."""
        try:
            value = task.result()
        except BaseException as error:  # noqa: BLE001  # told to the waiters
            self.fail(without_last_frame(error))
        else:
            self.succeed(value)

    # Waiting

    def add_waiter(self, caller: "Run | None") -> "Future[Any]":
        """Return a future for one more to wait on, in *caller*, the enclosing run.

        When it is done take_value gives the result; leave is for who is cancelled.
        """
        waiter: Future[Any] = self.store.make_future()
        if self.waiters:
            self.waiters[waiter] = caller
        else:  # pragma: py-lt-312  # in its first step
            self.waiters = {waiter: caller}
        return waiter

    def take_value(self) -> Any:
        """Return the value to one who waited, and let go of it with the last."""
        # The loop holds the future that woke the waiter until the waiter waits
        # again. With the value in it, dropping the entry would not free it.
        value = self.value
        if self.unheard == 1:
            self.value = None
        else:
            self.unheard -= 1
        return value

    def leave(self, waiter: "Future[Any]") -> None:
        """Forget a waiter that was cancelled, and cancel the run after the last."""
        if self.waiters is not None:
            del self.waiters[waiter]
            if not self.waiters and self not in self.store.starts.steps:
                self.abandon()
        elif waiter.done() and not waiter.cancelled():  # too late: it had been told
            is_last = self.unheard == 1
            self.take_value()
            error = waiter.exception()
            if error is not None and is_last:
                report(error, self.loop)

    def abandon(self) -> None:
        """Drop the entry and cancel the run, for nobody waits for it."""
        try:
            self.store.drop(self)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the run's task."""
        if self.loop.is_closed():
            return
        if self.task is not None:
            self.task.cancel()
        elif self.coroutine is not None:  # pragma: py-lt-312  # in its first step
            for task in asyncio.all_tasks(self.loop):
                if task.get_coro() is self.coroutine:
                    task.cancel()

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
        store = self.store
        try:
            if self.place is HELD:
                store.put(self.key, value)
            elif self.place is REFRESHING:
                store.replace(self, value)
            elif self.place is EVICTED:
                store.drop(self)
        except BaseException as error:  # noqa: BLE001  # told to the waiters
            self.fail(error)
            return
        unheard = 1 if self in store.starts.steps else 0  # its starter
        # As end does it, for a call less: 0.7 % of a miss that suspends.
        waiters = self.waiters
        self.waiters = None
        store.runs.discard(self)
        self.task = self.key = self.store = _NOTHING
        for waiter in waiters or ():
            try:
                waiter.set_result(None)
            except InvalidStateError:  # cancelled, and not told yet
                continue
            unheard += 1
        if unheard:
            self.value = value
            self.unheard = unheard

    def fail(self, error: BaseException) -> None:
        """Drop the entry and give *error* to the waiters."""
        if self.waiters is None:  # it could not be started: its caller knows
            return
        if self in self.store.starts.steps:  # pragma: py-lt-312
            # Callers already on their way in this tick shall share the failure.
            self.loop.call_soon(self.fail, error)
            return
        if isinstance(error, StopIteration):  # no future takes it
            cause, error = error, RuntimeError("coroutine raised StopIteration")
            error.__cause__ = cause
        value: Any = ABSENT
        try:
            value = self.store.failed(self, error)
        finally:
            if value is ABSENT:
                self.tell_failure(error, self.end())
            else:
                self.succeed(value)  # has no entry any more

    def tell_failure(
        self, error: BaseException, waiters: "Iterable[Future[Any]]"
    ) -> None:
        """Give *error* to those who waited."""
        waiters = [waiter for waiter in waiters if not waiter.done()]
        if isinstance(error, CancelledError):
            for waiter in waiters:
                waiter.cancel(*error.args[:1])
        elif not self.loop.is_closed():
            self.unheard = len(waiters)
            self.value = None
            for waiter in waiters:
                waiter.set_exception(error)
            if not waiters:
                report(error, self.loop)

    def end(self) -> "Iterable[Future[Any]]":
        """Mark the run as ended and return the futures that waited for it."""
        waiters = self.waiters
        self.waiters = None
        self.store.runs.discard(self)
        # What outlives the run may hold it through its context: leave it empty.
        self.task = self.key = self.store = _NOTHING
        return waiters or ()


def report(error: BaseException, loop: AbstractEventLoop) -> None:
    """Hand an exception that no caller could get to the event loop."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    loop.call_exception_handler(
        {
            "message": "Exception in a cached function whose callers were all cancelled",
            "exception": error,
        }
    )


def without_last_frame(error: BaseException) -> BaseException:  # pragma: py-lt-312
    """Take the frame that has just caught *error* out of its traceback.

    The frame knows the error, or a task that does: they would keep each other alive.
    """
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


#: What a look-up gives where there is nothing: a run that nobody can join.
ABSENT: Run = object.__new__(Run)
ABSENT.waiters = None
ABSENT.place = DROPPED
