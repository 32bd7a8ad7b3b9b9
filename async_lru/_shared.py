"""Caches that all event loops share."""

from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop
from asyncio import (
    _get_running_loop as get_running_loop_or_none,  # pyright: ignore[reportPrivateUsage]  # public all the same
)
from collections.abc import Callable, Hashable
from contextvars import Context
from time import monotonic
from typing import Any, Final

from ._cache import Cache
from ._expiry import Expiry
from ._loops import begins_at_once
from ._runs import CALL, CALL_AGAIN, REFRESH, Purpose, Run, current_caller, current_run
from ._shared_runs import RunLost, SharedRun, Watch
from ._shared_values import SharedCounters, SharedValues
from ._stale import StaleCache
from ._timed import TimedCache
from ._values import MISSING

#: If a timer is more than this many seconds late, its loop is assumed to have stopped.
LATE: Final = 1.0


#: The number of runs in flight that is not worth looking at.
_FEW_RUNS: Final = 32


class HasValue(BaseException):
    """Raised when another thread has just stored a value that answers a call."""


class SharedCache(Cache):
    """A cache for calls from any number of loops, in any threads.

    It differs in calls that are not plain hits. There may be a value by the time the call
    gets the lock, so it looks again. The run that it finds may belong to another loop, and
    if that loop dies, the call asks again.
    """

    run_class = SharedRun
    values: Any
    counters: SharedCounters

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.values = SharedValues(
            self.maxsize, self.lock, expires=isinstance(self, TimedCache)
        )
        self.counters = SharedCounters(self.values)
        #: With how many runs in flight to look for those that closed loops left behind.
        self._many_runs = 0

    @property
    def begins_at_once(self) -> bool:  # type: ignore[override]  # depends on the loop
        """Whether tasks of the running loop can take their first step at creation."""
        return begins_at_once(get_running_loop())

    def clock_of(self, loop: AbstractEventLoop) -> Callable[[], float]:  # noqa: ARG002
        return monotonic  # the clocks of loops may differ

    def enter_loop(self) -> Any:
        """Return the running loop, if any; the cache is not bound to it."""
        self._check_open()
        return get_running_loop_or_none()

    def bind(self, loop: AbstractEventLoop) -> None:  # noqa: ARG002
        self._check_open()  # again, under the lock

    # Calls

    def fresh(self, key: Hashable) -> Any:
        """Return the value of *key* if it makes a call a plain hit, or MISSING."""
        entry = self.values.reader().find(key)
        if entry is None or not entry.live:
            return MISSING
        held = entry.held  # see _shared_calls
        value = self.fresh_value(held) if entry.live else MISSING
        if value is not MISSING:
            entry.used = True
        return value

    def fresh_value(self, held: Any) -> Any:
        """Return the value if it is fresh, or MISSING."""
        return held

    def is_answered(self, key: Hashable) -> bool:
        """Return whether a stored value answers a call for *key* at once."""
        return self.fresh(key) is not MISSING

    def hit(self, key: Hashable) -> Any:
        value = self.fresh(key)
        if value is not MISSING:
            self.values.reader().hits += 1
        return value

    async def answer(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        purpose: Purpose = CALL,
    ) -> Any:
        self.running_loop()
        while True:
            try:
                return await super().answer(key, args, kwargs, purpose=purpose)
            except HasValue:
                pass
            except RunLost:
                purpose = CALL_AGAIN
            value = self.hit(key) if purpose is CALL else self.fresh(key)
            if value is not MISSING:
                return value

    async def refresh(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        while True:
            try:
                return await super().refresh(key, args, kwargs)
            except RunLost:  # noqa: PERF203  # nearly always a single round
                pass

    def ask(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        purpose: Purpose = CALL,
    ) -> "tuple[Run, Future[Any]]":
        loop = self.running_loop()
        if len(self.in_flight) > self._many_runs:
            self._many_runs = 2 * len(self.runs_in_flight()) + _FEW_RUNS
        caller = None if current_run() is None else current_caller()
        waiter = loop.create_future()
        with self.lock:
            self.bind(loop)
            if purpose is not REFRESH and self.is_answered(key):
                raise HasValue
            run = self.current_run(key)
            is_new = run is None
            if run is None:
                run = self.admit(key, loop, waiter, caller)
            else:
                run.add_waiter(waiter, caller)
                if caller is not None and self._is_deadlock(run, waiter, caller):
                    caller = None  # see Cache.ask
                    raise self._deadlock_error()
            if purpose is CALL:
                self.counters.misses += is_new
                self.counters.hits += not is_new
                self.counters.joins += not is_new
        if run.loop is not loop:
            Watch(run, waiter)
        try:
            if is_new:
                run.begin(self.function_for(purpose), args, kwargs, caller)
            return run, waiter  # noqa: TRY300  # as in Cache.ask
        except BaseException:
            run.ended = True
            run.joinable = False
            raise
        finally:
            del waiter

    # Runs

    def current_run(self, key: Hashable) -> Run | None:
        run = super().current_run(key)
        if run is not None and run.loop.is_closed():
            self.runs_in_flight()  # forgets the run
            return None
        return run

    def _pop_run(self, key: Hashable) -> Run | None:
        self.current_run(key)
        return super()._pop_run(key)

    def drop_overdue(self) -> None:
        self.runs_in_flight()
        super().drop_overdue()

    # The cache as a whole

    def shut(self) -> None:
        with self.lock:
            super().shut()
            self.values.serve_nobody()

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        runs: Any = self.in_flight
        super().after_fork()
        for run in runs:  # calls of this thread may still leave them
            run.take_lock(self.lock)


class SharedTimedCache(SharedCache, TimedCache):
    """A shared cache whose values have deadlines on ``time.monotonic()``."""

    _expiry: "SharedExpiry"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._expiry = SharedExpiry(self.lock, self.drop_due)

    def fresh_value(self, held: Any) -> Any:
        return held.value if held.fresh_until > monotonic() else MISSING

    def bind(self, loop: AbstractEventLoop) -> None:
        super().bind(loop)
        self._expiry.look_after()

    def put_held(self, key: Hashable, held: Any, run: Run | None) -> Any:
        dropped = super().put_held(key, held, run)
        if not self.closed:  # while it closes, new values need no timer
            self._expiry.look_after()
        return dropped


class SharedStaleCache(SharedTimedCache, StaleCache):
    """A shared cache that serves stale values, or stores failures."""

    def is_answered(self, key: Hashable) -> bool:
        held = self.values.get(key, MISSING)
        return super().is_answered(key) or self._answers_at_once(held, monotonic())


class SharedExpiry(Expiry):
    """Deadlines with a timer in any of the loops that use the cache."""

    __slots__ = ()

    def look_after(self) -> None:
        """Set the timer in the running loop, if no other loop has it."""
        loop = get_running_loop_or_none()
        first = min(self._heap[:1] + self._source[:1], default=None)
        if loop is None or first is None:
            return
        if self._loop is not None and self._loop.is_closed():
            self._forget_timer()
        elif self._when < monotonic() - LATE:
            self.disarm()
        self._arm(first, loop)

    def _arm(self, when: float, loop: AbstractEventLoop) -> None:
        if when < self._when:
            self.release()  # it may be in another loop
            super()._arm(when, loop)

    def _call_at(
        self, when: float, loop: AbstractEventLoop, *callback: Any
    ) -> TimerHandle:
        delay = max(when - monotonic(), 0.0)
        return loop.call_later(delay, *callback, context=Context())

    def _time(self, loop: AbstractEventLoop) -> float:  # noqa: ARG002
        return monotonic()
