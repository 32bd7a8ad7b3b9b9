"""The cache of one function: its values, its runs, and calls that are not plain hits."""

from asyncio import AbstractEventLoop, CancelledError, Future, get_running_loop
from asyncio import (
    _get_running_loop as get_running_loop_or_none,  # pyright: ignore[reportPrivateUsage]  # public all the same
)
from collections.abc import Callable, Hashable
from threading import RLock
from time import monotonic
from typing import Any

from ._deadlock import LateCheck, may_wait_for, waits_for
from ._keys import Keys
from ._loops import ResetWarning, begins_at_once, clock_of
from ._registry import is_disabled
from ._runs import (
    CALL,
    REFRESH,
    Caller,
    Function,
    Purpose,
    Run,
    current_caller,
    current_run,
    end,
)
from ._stats import Counters
from ._values import MISSING, Values


class Cache:
    """The values of a function's finished runs and its runs in flight, by key.

    A run is current while it is in ``runs``: calls join it, and its result is stored when
    it ends. Removing it from ``runs`` ends both.

    Values, runs and counters change under ``lock``, from any thread. The only user code
    that runs under the lock is the ``__hash__`` and ``__eq__`` of keys. Values are
    dropped after the lock is released.
    """

    #: The class of its runs.
    run_class: type[Run] = Run

    def __init__(
        self,
        function: Function,
        name: str,
        keys: Keys,
        reset_warning: ResetWarning,
        *,
        maxsize: int | None,
        ttl: Any = None,
        cancel_abandoned: bool = True,
    ) -> None:
        self._function = function
        self.name = name
        self.keys = keys
        self.make_key = keys.make
        self._reset_warning = reset_warning
        self.maxsize = maxsize
        #: As it was passed, for ``cache_stats()``.
        self.ttl = ttl
        self._detaches = not cancel_abandoned
        self.lock = self.new_lock()
        self.values = Values(maxsize, self.lock)
        self.runs: dict[Hashable, Run] = {}
        self._admissions = 0
        #: Every run in flight, including those that can no longer be joined.
        self.in_flight: set[Run] = set()
        #: The loop that the cache belongs to; None before the first call and when closed.
        self.loop: AbstractEventLoop | None = None
        self.time = monotonic
        self.closed = False
        self.counters = Counters()
        self._make_run = self.run_class  # CPython finds it faster here
        #: Whether calls share runs and values are stored.
        self._shares = maxsize != 0 and not is_disabled()

    # Methods that subclasses override

    def new_lock(self) -> RLock:
        """Return the lock of a new cache."""
        return RLock()

    def is_live(self, held: Any) -> bool:  # noqa: ARG002
        """Return whether a stored value can still answer calls."""
        return True

    def let_go(self, held: Any) -> bool:  # noqa: ARG002
        """Called when a value is dropped; return whether it could still answer calls."""
        return True

    def hit(self, key: Hashable) -> Any:
        """Return the fresh value of *key* for a plain hit, or MISSING."""
        value = self.values.get(key, MISSING)
        if value is not MISSING and get_running_loop() is self.loop:
            self.values.use(key)
            self.counters.hits += 1
            return value
        return MISSING

    def put_held(self, key: Hashable, held: Any, run: Run | None) -> Any:
        """Store a value, if it comes from no run or its run is current.

        Returns what was dropped, to be freed without the lock; None if nothing was stored.
        """
        dropped = self.values.insert(key, held, run)
        if dropped is not None and dropped[1] is not MISSING:
            self.counters.evictions += 1
        return dropped

    def remove_held(self, key: Hashable) -> Any:
        """Drop the value of *key* and return it, or MISSING."""
        held = self.values.remove(key)
        if held is not MISSING:
            self.let_go(held)
        return held

    def clear_held(self) -> Any:
        """Drop all values and return them."""
        return self.values.clear()

    def drop_overdue(self) -> None:
        """Drop some of the expired values."""

    def keep_failure(self, run: Run, error: BaseException) -> Any:  # noqa: ARG002
        """Return what to store for a failure, or None."""
        return None

    def note_failure(self, run: Run, kept: Any) -> Any:
        """Called when a current run has failed; return what is dropped."""

    # Calls

    async def answer(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        purpose: Purpose = CALL,
    ) -> Any:
        """Answer a call that is not a plain hit, with the result of a run."""
        run, waiter = self.ask(key, args, kwargs, purpose)
        try:
            return await waiter
        except BaseException as error:
            run.leave(waiter, error)
            raise
        finally:
            del waiter  # its error may have a traceback that holds this frame

    def ask(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        purpose: Purpose = CALL,  # positional: a keyword costs time
    ) -> "tuple[Run, Future[Any]]":
        """Join the run of *key*, or start one; return it and a future to wait on.

        Counts a hit or a miss if *purpose* is a call that was not counted before.
        """
        loop = get_running_loop_or_none()
        if loop is None or loop is not self.loop:
            loop = self.enter_loop()
        caller = None if current_run() is None else current_caller()
        dropped = None
        is_new = False
        self.lock.acquire()  # with would cost 100 ns more
        try:
            if loop is not self.loop:
                dropped = self.bind(loop)
            waiter = loop.create_future()
            run = self.runs.get(key)
            if run is None or not run.joinable:
                run = self.admit(key, loop, waiter, caller)
                is_new = True
                if purpose is CALL:
                    self.counters.misses += 1
            else:
                run.add_waiter(waiter, caller)
                if caller is not None and self._is_deadlock(run, waiter, caller):
                    caller = None  # the error's traceback holds this frame
                    raise self._deadlock_error()
                if purpose is CALL:
                    self.counters.hits += 1
                    self.counters.joins += 1
        finally:
            self.lock.release()
        if dropped is not None:
            disown(dropped)
            del dropped
        try:
            if is_new:
                run.begin(self.function_for(purpose), args, kwargs, caller)
            return run, waiter  # noqa: TRY300  # before the last line
        except BaseException:
            run.ended = True  # there was not enough stack left even to fail
            run.joinable = False
            raise
        finally:
            del waiter  # see answer: an immediate failure holds this frame, too

    def function_for(self, purpose: Purpose) -> Function:  # noqa: ARG002
        """Return what a run executes that is asked for *purpose*."""
        return self._function

    def enter_loop(self) -> AbstractEventLoop:
        """Return the running loop, for an operation that binds the cache to it."""
        loop = self.running_loop()
        if loop is not self.loop:
            self._check_open()
            if self.loop is not None:
                self._reset_warning.give()
            self.runs_in_flight()  # forgets those of closed loops
        return loop

    def running_loop(self) -> AbstractEventLoop:
        """Return the running loop, or raise RuntimeError."""
        try:
            return get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"no running event loop: {self.name} was called outside asyncio; call it "
                "from a coroutine that asyncio runs"
            ) from None

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(
                f"alru_cache is closed for {self.name}: it takes no calls after "
                "cache_close(), until cache_open()"
            )

    def bind(self, loop: AbstractEventLoop) -> Any:
        """Bind the cache to *loop*; return what is dropped if it had another loop."""
        if loop is self.loop:
            return None
        self._check_open()  # again, under the lock
        dropped = None if self.loop is None else self._start_over()
        self.loop = loop
        self.time = self.clock_of(loop)
        #: Whether tasks of its loop can take their first step when they are created.
        self.begins_at_once = begins_at_once(loop)
        return dropped

    def clock_of(self, loop: AbstractEventLoop) -> Callable[[], float]:
        """Return the clock of a cache that belongs to *loop*."""
        return clock_of(loop)

    def current_run(self, key: Hashable) -> Run | None:
        """Return the run of *key* that calls can join."""
        run = self.runs.get(key)
        return run if run is not None and run.joinable else None

    def admit(
        self,
        key: Hashable,
        loop: AbstractEventLoop,
        waiter: "Future[Any] | None",
        caller: "Caller | None",
    ) -> Run:
        """Create a run that calls can join, for *waiter* or for the cache itself."""
        detached = self._detaches and self._shares
        run = self._make_run(self, key, loop, waiter, caller, detached)
        if self._shares:
            runs = self.runs
            self._admissions = admission = self._admissions + 1
            runs[key] = run
            # A key's __eq__ may just have cleared or called the cache. The dict may
            # then hold one key twice.
            run.joinable = runs is self.runs and admission == self._admissions
        self.in_flight.add(run)
        return run

    def _is_deadlock(self, run: Run, waiter: "Future[Any]", caller: Caller) -> bool:
        """Return whether *run* itself waits for a waiter, and if so, remove that.

        The waiter has already been added. If two calls in two loops close a cycle at the
        same time, at least one of them must see the other.
        """
        if not may_wait_for(run, caller):
            return False
        if waits_for(run, caller):
            run.leave(waiter)
            return True
        # A function may start a task that calls, and wait for it only afterwards.
        LateCheck(run, waiter, caller, self._deadlock_error)
        return False

    def _deadlock_error(self) -> RuntimeError:
        return RuntimeError(
            f"{self.name} was called from its own run for the same key and would wait "
            "for itself: call it with other arguments there, or call the undecorated "
            "function, its __wrapped__"
        )

    # Called in the loop of a run when it ends

    def run_succeeded(
        self, run: Run, held: Any, seconds: float, loads: int = 1
    ) -> None:
        """Store the result of *run*, if the run is current.

        MISSING means that the result is not to be stored.
        """
        key = run.key
        dropped = None
        self.lock.acquire()  # with would cost 100 ns more
        try:
            if self.runs.get(key) is run and run.joinable:
                dropped = (
                    self.remove_held(key)
                    if held is MISSING
                    else self.put_held(key, held, run)
                )
                if run.joinable:  # nobody has taken it out meanwhile
                    self.runs.pop(key, None)
            self.counters.loads += loads
            self.counters.load_seconds += seconds
        finally:
            self.lock.release()
        del dropped

    def run_failed(self, run: Run, error: BaseException, failures: int = 1) -> None:
        """Make the run unjoinable, and store the failure if error_ttl says so."""
        key = run.key
        kept = self.keep_failure(run, error)
        dropped = None
        with self.lock:
            if not isinstance(error, CancelledError):
                self.counters.failures += failures
            if self.runs.get(key) is run and run.joinable:
                dropped = self.note_failure(run, kept)
                if run.joinable:  # see run_succeeded
                    self.runs.pop(key, None)
        del dropped

    def take_out(self, run: Run) -> None:
        """Make a run in flight unjoinable."""
        with self.lock:
            run.joinable = False
            if self.runs.get(run.key) is run:
                self.runs.pop(run.key, None)  # a signal handler may have, just now

    def describe(self, key: Hashable) -> str:
        """Return the call with *key* as text."""
        return f"{self.name}{self.keys.describe(key)}"

    # Methods for users

    def contains(self, key: Hashable) -> bool:
        """Return whether a call would be a hit."""
        held = self.values.get(key, MISSING)
        if held is not MISSING and self.is_live(held):
            return True
        return self.current_run(key) is not None

    def invalidate(self, key: Hashable) -> bool:
        """Drop the value and make the run unjoinable; return whether there was either."""
        self.lock.acquire()  # with would cost 100 ns more
        try:
            held = self.values.remove(key)
            was_live = held is not MISSING and self.let_go(held)
            run = self._pop_run(key) if self.runs else None
        finally:
            self.lock.release()
        if run is not None:
            run.disown()
            return True
        return was_live

    def _pop_run(self, key: Hashable) -> Run | None:
        """Make the run of *key* unjoinable, and return it if it could be joined."""
        run = self.runs.pop(key, None)
        if run is None or not run.joinable:
            return None
        run.joinable = False
        return run

    def invalidate_where(self, predicate: Callable[..., object]) -> int:
        """Invalidate the keys for which *predicate* returns true; return their number."""
        with self.lock:
            known = dict.fromkeys(key for key, _ in self.values.items())
            known.update(dict.fromkeys(list(self.runs)))
        chosen = [key for key in known if self.keys.ask(predicate, key)]
        return sum(map(self.invalidate, chosen))

    def put(self, key: Hashable, held: Any) -> None:
        """Store a value as if a run had returned it."""
        hash(key)
        loop = self.enter_loop()
        with self.lock:
            dropped = self.bind(loop)
            replaced = self.replace(key, held)
        disown(dropped)
        disown(replaced)

    def replace(self, key: Hashable, held: Any) -> Any:
        """Replace the value and the run; return what to drop without the lock."""
        run = self._pop_run(key)
        former: Any = None
        if held is MISSING:
            former = self.remove_held(key)
        elif self._shares:
            former = self.put_held(key, held, None)
        return former, [] if run is None else [run]

    async def refresh(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run the function, or join the run in flight; return the result."""
        return await Cache.answer(self, key, args, kwargs, purpose=REFRESH)

    def clear(self) -> None:
        """Drop all values, make all runs unjoinable, and reset the counters."""
        with self.lock:
            dropped = self._start_over()
        disown(dropped)

    def _start_over(self) -> Any:
        """Clear the cache; return the values and runs to drop without the lock."""
        self.counters.zero()
        runs = list(self.runs.values())
        for run in runs:
            run.joinable = False
        # Since Python 3.11, clearing a dict while a key is being inserted corrupts it.
        self.runs = {}
        return self.clear_held(), runs

    # The cache as a whole

    def runs_in_flight(self) -> list[Run]:
        """Return every run in flight, and forget those that a closed loop left behind."""
        runs = list(self.in_flight)
        for run in runs:
            if run.ended:  # it could not start
                self.in_flight.discard(run)
            elif run.loop.is_closed():
                self.in_flight.discard(run)
                self.take_out(run)
        return [run for run in runs if run in self.in_flight]

    async def close(self, *, wait: bool) -> None:
        """Refuse calls from now on, and return when no run is in flight."""
        get_running_loop()
        self.shut()
        await end(self.runs_in_flight(), wait=wait)

    @property
    def tier_up(self) -> bool | None:
        """Whether the second tier answers; None where there is none."""
        return None

    async def settled(self) -> None:
        """Return when a second tier has acknowledged what was done here so far."""

    def shut(self) -> None:
        """Refuse calls from now on."""
        with self.lock:
            self.closed = True
            self.loop = None  # no more plain hits
            self.release_timer()

    def open(self) -> None:
        """Take calls again after ``close``, empty."""
        if self.closed:
            self.reset()

    def reset(self) -> None:
        """Return to the state before the first call."""
        with self.lock:
            dropped = self._start_over()
            self.closed = False
            self.loop = None
            self._shares = self.maxsize != 0 and not is_disabled()
            self._reset_warning.reset()
        disown(dropped)

    def release_timer(self) -> None:
        """Release the timer that drops expired values, if there is one."""

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        """Forget the runs, threads and loops of the parent process."""
        self.lock = self.new_lock()
        self.values.after_fork(self.lock)
        self.runs = {}
        self.in_flight = set()


def disown(dropped: Any) -> None:
    """End the runs that no call waits for among the values and runs in *dropped*."""
    if dropped is not None:
        for run in dropped[1]:
            run.disown()
