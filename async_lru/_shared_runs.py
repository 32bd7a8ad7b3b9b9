"""A run that calls of several event loops wait for, each in its own."""

from asyncio import AbstractEventLoop, CancelledError, Future, TimerHandle
from collections.abc import Callable
from contextvars import Context
from threading import RLock
from typing import Any, Final

from ._failures import twin_of
from ._loops import call_in
from ._runs import Caller, Run

#: Seconds between two checks of a run that calls in other loops wait for.
LOOK: Final = 0.5


class RunLost(BaseException):
    """Raised to a waiter when the loop of its run has died, so that it asks again."""


class SharedRun(Run):
    """A run in one loop whose waiters are futures of that loop and of others.

    Waiters come and go, and the run ends, under the lock of the cache. A future is touched
    in its own loop only.
    """

    def __init__(  # noqa: PLR0917  # as Run's
        self,
        cache: Any,
        key: Any,
        loop: AbstractEventLoop,
        waiter: "Future[Any] | None",
        caller: "Caller | None",
        detached: bool,
    ) -> None:
        super().__init__(cache, key, loop, waiter, caller, detached)
        self._lock = cache.lock
        #: Whether the end of its loop ended the run, and neither the cache nor the function.
        self._lost = False

    def leave(self, waiter: "Future[Any]", error: BaseException | None = None) -> bool:
        if not waiter.done():  # e.g. the coroutine of the call was closed
            call_in(waiter.get_loop(), waiter.cancel)
        with self._lock:
            if not self.ended:
                self._forget_others_if_closed(waiter)
                return super().leave(waiter, error)
        return super().leave(waiter, error)

    def _forget_others_if_closed(self, waiter: "Future[Any]") -> None:
        """Forget all waiters but this one, if the loops of all others are closed."""
        # Newest first: if many leave, the oldest usually leave first.
        others = (other for other in reversed(self._waiters) if other is not waiter)
        if waiter in self._waiters and all(
            other.get_loop().is_closed() for other in others
        ):
            self._waiters = {waiter: self._waiters[waiter]}

    def expect(self, more: int) -> None:
        """Count this many more waiters that get the exception."""
        with self._lock:
            self._unheard += more

    def miss(self, failure: BaseException) -> None:
        """Called when a waiter that got *failure* will never resume with it."""
        if type(failure) is not RunLost:
            super().miss(failure)

    def _is_last_unheard(self) -> bool:
        with self._lock:
            return super()._is_last_unheard()

    def _disown(self) -> None:
        with self._lock:
            super()._disown()

    def take_lock(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Use the new lock of the cache."""
        self._lock = lock

    # Ending

    def _tell(self, error: BaseException) -> None:
        self._lost = self.loop.is_closed() or self._is_end_of_loop(error)
        super()._tell(error)

    def _is_end_of_loop(self, error: BaseException) -> bool:
        """Return whether *error* comes from the end of a loop, as with asyncio.run."""
        if isinstance(error, CancelledError) and not self._cancelled:
            # Python 3.10 cannot tell who cancelled the task. If it was the function itself,
            # it will do so in the other loops, too.
            cancelling = getattr(self.task, "cancelling", None)
            return cancelling is None or cancelling() > 0
        return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))

    def _end(self) -> "list[Any]":
        """Mark the run as ended; return the waiters in its loop, and one per other loop."""
        with self._lock:
            waiters = list(super()._end())
        here: list[Any] = []
        elsewhere: dict[AbstractEventLoop, Elsewhere] = {}
        for waiter in waiters:
            loop = waiter.get_loop()
            if loop is self.loop:
                here.append(waiter)
            else:
                if loop not in elsewhere:
                    elsewhere[loop] = Elsewhere(self, loop)
                elsewhere[loop].waiters.append(waiter)
        if self._lost:
            for others in elsewhere.values():
                others.lose()
            return here
        return [*here, *elsewhere.values()]


class Elsewhere:
    """The waiters of a run in one other loop, which are woken together."""

    __slots__ = ("_loop", "_run", "waiters")

    def __init__(self, run: SharedRun, loop: AbstractEventLoop) -> None:
        self._run = run
        self._loop = loop
        self.waiters: list[Future[Any]] = []

    def done(self) -> bool:
        """Return False; waiters that are done are skipped in their own loop."""
        return False

    def set_result(self, value: Any) -> None:
        """Set the result of all waiters."""
        self._send(_give, self.waiters, value)

    def set_exception(self, error: BaseException) -> None:
        """Set a copy of the exception on all waiters, since raising one modifies it."""
        self._run.expect(len(self.waiters) - 1)
        if not self._send(_fail, self.waiters, _twin_of(error), self._run):
            for _ in self.waiters:
                self._run.miss(error)

    def cancel(self, *message: Any) -> None:
        """Cancel all waiters."""
        self._send(_cancel, self.waiters, *message)

    def lose(self) -> None:
        """Let all waiters ask again."""
        self._send(_lose, self.waiters)

    def _send(self, tell: Callable[..., object], *args: Any) -> bool:
        """Call *tell* in the loop of the waiters; return False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(tell, *args)
        except RuntimeError:
            return False
        return True


def _give(waiters: "list[Future[Any]]", value: Any) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(value)


def _fail(waiters: "list[Future[Any]]", error: BaseException, run: SharedRun) -> None:
    for waiter in waiters:
        if waiter.done():
            run.miss(error)
        else:
            waiter.set_exception(error)


def _cancel(waiters: "list[Future[Any]]", *message: Any) -> None:
    for waiter in waiters:
        waiter.cancel(*message)


def _lose(waiters: "list[Future[Any]]") -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(RunLost())
            waiter.exception()  # so that asyncio never reports it


def _twin_of(error: BaseException) -> BaseException:
    """Return an exception like *error* for another thread to raise."""
    try:
        twin: BaseException = twin_of(error)
        return twin  # noqa: TRY300  # the only way out
    except Exception:  # noqa: BLE001  # its class cannot be copied
        return error


class Watch:
    """Watches a run in another loop, which may die, for a call that waits for it.

    A loop that is closed or interrupted may not wake the call. When the run is seen to have
    ended, its outcome may still be on the way, so the call asks again only at the next
    check.
    """

    __slots__ = ("_is_over", "_run", "_timer", "_waiter")

    def __init__(self, run: Run, waiter: "Future[Any]") -> None:
        self._run = run
        self._waiter = waiter
        self._is_over = False
        self._timer = self._set_timer()
        waiter.add_done_callback(self._end)

    def _set_timer(self) -> TimerHandle:
        # An empty context, since the timer keeps it alive.
        loop = self._waiter.get_loop()
        return loop.call_later(LOOK, self._look, context=Context())

    def _look(self) -> None:
        if self._is_over:
            _lose([self._waiter])
        else:
            self._is_over = self._run.ended or self._run.loop.is_closed()
            self._timer = self._set_timer()

    def _end(self, _: object) -> None:
        self._timer.cancel()
