"""A run that calls of several event loops wait for, each in its own."""

from asyncio import AbstractEventLoop, CancelledError, Future, TimerHandle
from collections.abc import Callable
from contextvars import Context
from threading import RLock
from typing import Any, Final

from ._failures import twin_of
from ._loops import call_in
from ._runs import Caller, Run

#: Seconds between two looks at a run that calls in other loops wait for.
LOOK: Final = 0.5


class RunLost(BaseException):
    """Raised to a waiter when the loop of its run died: it has to ask again."""


class SharedRun(Run):
    """A run in one loop whose waiters are futures of that loop and of others.

    It has its cache's lock: waiters come and go, and the run ends, under that alone.
    A future is only ever touched in its own loop.
    """

    __slots__ = ("_lock", "_lost")

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
        #: Whether it was the loop that ended the run, and neither we nor the function.
        self._lost = False

    def leave(self, waiter: "Future[Any]", error: BaseException | None = None) -> bool:
        if not waiter.done():  # the call was closed, say, and hears of nothing any more
            call_in(waiter.get_loop(), waiter.cancel)
        with self._lock:
            if not self.ended:
                self._forget_others_if_closed(waiter)
                return super().leave(waiter, error)
        return super().leave(waiter, error)

    def _forget_others_if_closed(self, waiter: "Future[Any]") -> None:
        """Let *waiter* be the last one if all others are of loops that are closed."""
        # Newest first: when many leave, the oldest mostly do so first.
        others = (other for other in reversed(self._waiters) if other is not waiter)
        if waiter in self._waiters and all(
            other.get_loop().is_closed() for other in others
        ):
            self._waiters = {waiter: self._waiters[waiter]}

    def expect(self, more: int) -> None:
        """Take note that so many more waiters are told of the failure."""
        with self._lock:
            self._unheard += more

    def miss(self, failure: BaseException) -> None:
        """Take note that a waiter which was told of *failure* will never notice."""
        if type(failure) is not RunLost:
            super().miss(failure)

    def _is_last_unheard(self) -> bool:
        with self._lock:
            return super()._is_last_unheard()

    def _disown(self) -> None:
        with self._lock:
            super()._disown()

    def take_lock(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Take the lock that the cache has now."""
        self._lock = lock

    # Ending

    def _tell(self, error: BaseException) -> None:
        self._lost = self.loop.is_closed() or self._is_end_of_loop(error)
        super()._tell(error)

    def _is_end_of_loop(self, error: BaseException) -> bool:
        """Tell whether *error* comes from what ends a loop, as asyncio.run does."""
        if isinstance(error, CancelledError) and not self._cancelled:
            # Python 3.10 does not tell who has cancelled. If it was the function itself
            # it will do so in the other loops, too.
            cancelling = getattr(self.task, "cancelling", None)
            return cancelling is None or cancelling() > 0
        return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))

    def _end(self) -> "list[Any]":
        """Mark the run as ended and return its loop's waiters, and one for each other."""
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
    """The waiters of a run in one other loop, told together as if they were one."""

    __slots__ = ("_loop", "_run", "waiters")

    def __init__(self, run: SharedRun, loop: AbstractEventLoop) -> None:
        self._run = run
        self._loop = loop
        self.waiters: list[Future[Any]] = []

    def done(self) -> bool:
        """Tell that they are to be told: those who are done are left out there."""
        return False

    def set_result(self, value: Any) -> None:
        """Give them the result."""
        self._send(_give, self.waiters, value)

    def set_exception(self, error: BaseException) -> None:
        """Give them an exception of their own, since raising one writes into it."""
        self._run.expect(len(self.waiters) - 1)
        if not self._send(_fail, self.waiters, _twin_of(error), self._run):
            for _ in self.waiters:
                self._run.miss(error)

    def cancel(self, *message: Any) -> None:
        """Cancel them."""
        self._send(_cancel, self.waiters, *message)

    def lose(self) -> None:
        """Let them ask again."""
        self._send(_lose, self.waiters)

    def _send(self, tell: Callable[..., object], *args: Any) -> bool:
        """Have *tell* called in their loop; say whether that is still there."""
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
            waiter.exception()  # not for asyncio to report, whatever becomes of it


def _twin_of(error: BaseException) -> BaseException:
    """Return an exception like *error* for another thread to raise."""
    try:
        twin: BaseException = twin_of(error)
        return twin  # noqa: TRY300  # the only way out
    except Exception:  # noqa: BLE001  # its class does not let us
        return error


class Watch:
    """Looks after a call that waits for a run in another loop, which may die.

    A loop that is closed tells nobody, nor does one that was interrupted when it was
    about to. What is on its way when the end of the run is seen has come at the next look.
    """

    __slots__ = ("_is_over", "_run", "_timer", "_waiter")

    def __init__(self, run: Run, waiter: "Future[Any]") -> None:
        self._run = run
        self._waiter = waiter
        self._is_over = False
        self._timer = self._set_timer()
        waiter.add_done_callback(self._end)

    def _set_timer(self) -> TimerHandle:
        # The context of the call would live as long as the timer.
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
