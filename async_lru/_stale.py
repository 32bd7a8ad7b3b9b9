"""Stale values, and stored failures."""

from asyncio import Future, TimerHandle
from collections.abc import Hashable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from ._cache import disown
from ._expiry import deadline_at
from ._failures import duplicate
from ._runs import CALL, Purpose, Run, current_caller
from ._timed import Timed, TimedCache
from ._values import MISSING


class Grace(NamedTuple):
    """The options for stale values and stored failures, in seconds."""

    #: How long past its ttl a value is served while a run replaces it ...
    while_revalidate: float = 0.0
    #: ... or if the run that should replace it fails.
    if_error: float = 0.0
    #: How long a call waits for a run before it gets a stale value; None: until its end.
    if_slow: float | None = None
    #: The minimum time between a failed run and the next one.
    retry: float = 1.0
    #: How long failures are stored, by type.
    of_failures: Mapping[type[Exception], float] = MappingProxyType({})

    @property
    def longest(self) -> float:
        """How long values stay past their ttl."""
        return max(self.while_revalidate, self.if_error)

    def __bool__(self) -> bool:
        """Return whether any of the options is set."""
        return bool(self.longest or self.of_failures)


class Stale(Timed):
    """A value that can be served stale until its deadline."""

    __slots__ = ("retry_at",)

    def __init__(self, value: Any, fresh_until: float, deadline: float) -> None:
        super().__init__(value, fresh_until, deadline)
        #: When the next run may start, after one that failed.
        self.retry_at = -inf

    def put_off(self, when: float) -> None:
        """Start no run to replace the value before *when*."""
        self.retry_at = when


class KeptFailure(Timed):
    """A stored failure, which is raised again until its deadline; never a plain hit."""

    __slots__ = ()

    def __init__(self, error: BaseException, deadline: float) -> None:
        super().__init__(duplicate(error), -inf, deadline)

    def again(self) -> BaseException:
        """Return an exception like the one that was raised first."""
        error: BaseException = duplicate(self.value)
        return error


class StaleCache(TimedCache):
    """A cache that serves stale values, as in RFC 5861, or stores failures."""

    def __init__(self, *args: Any, grace: Grace, **options: Any) -> None:
        super().__init__(*args, **options)
        self._grace = grace

    def hold(self, value: Any, end: float, now: float) -> Any:
        held = super().hold(value, end, now)
        if held is MISSING:
            return held
        fresh_until = held.fresh_until
        gone = fresh_until + self._grace.longest
        deadline = inf if gone == inf else deadline_at(gone)
        return Stale(value, fresh_until, deadline)

    # Calls

    async def answer(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        purpose: Purpose = CALL,
    ) -> Any:
        held = self._held_instead_of_run(key, args, kwargs, purpose)
        if type(held) is KeptFailure:
            raise held.again()
        if held is not MISSING:
            return held.value
        del held
        run, waiter = self.ask(key, args, kwargs, purpose)
        timer = None
        try:
            if self._grace.if_slow is not None:
                timer = self._limit(self._grace.if_slow, key, run, waiter)
            return await waiter
        except BaseException as error:
            value = MISSING
            if run.leave(waiter, error) and isinstance(error, Exception):
                value = self._value_within(key, self._grace.if_error)
            if value is MISSING:
                raise
            # Other callers may keep the error, which must not keep this frame alive.
            error.with_traceback(getattr(error.__traceback__, "tb_next", None))
            return value
        finally:
            if timer is not None:
                timer.cancel()
            del waiter  # see Cache.answer

    def _held_instead_of_run(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        purpose: Purpose,
    ) -> Any:
        """Return a stored value that answers a call without a plain hit, or MISSING.

        If the value is stale and a retry is due, starts a background run to replace it.
        """
        loop = self.enter_loop()
        refresh = None
        with self.lock:
            dropped = self.bind(loop)
            held = self.values.get(key, MISSING)
            now = self.time()
            if self._answers_at_once(held, now):
                self.values.use(key)
                self.counters.hits += purpose is CALL
                if type(held) is Stale:
                    self.counters.stale_hits += purpose is CALL
                    if held.retry_at <= now and self.current_run(key) is None:
                        refresh = self.admit(key, loop, None, None)
                        refresh.detach()
            else:
                held = MISSING
        disown(dropped)
        if refresh is not None:
            try:
                refresh.begin(
                    self.function_for(purpose), args, kwargs, current_caller()
                )
            except BaseException:  # see ask
                refresh.ended = True
                refresh.joinable = False
                raise
        return held

    def _answers_at_once(self, held: Any, now: float) -> bool:
        """Return whether a call gets a value that is not fresh without waiting for a run."""
        if type(held) is KeptFailure:
            return now < held.deadline
        if type(held) is not Stale or now < held.fresh_until:
            return False
        served_until = held.fresh_until + self._grace.while_revalidate
        return now < max(served_until, min(held.retry_at, held.deadline))

    def _limit(
        self, seconds: float, key: Hashable, run: Run, waiter: "Future[Any]"
    ) -> TimerHandle | None:
        """Let a call wait this long for a run before it gets the stale value, if any."""
        if self._value_within(key, self._grace.longest) is MISSING:
            return None
        if seconds > 0:
            loop = waiter.get_loop()
            return loop.call_later(seconds, self._relieve, key, run, waiter)
        self._relieve(key, run, waiter)
        return None

    def _relieve(self, key: Hashable, run: Run, waiter: "Future[Any]") -> None:
        """Give a waiter the stale value, if it is still there; the run continues."""
        value = self._value_within(key, self._grace.longest)
        with self.lock:
            # The outcome of a run in another loop may be on its way.
            if value is MISSING or waiter.done() or run.ended:
                return
            waiter.set_result(value)
            if run.joinable:
                run.leave_behind(waiter)
            else:
                run.leave(waiter)

    def _value_within(self, key: Hashable, grace: float) -> Any:
        """Return the value of *key* if it is past its ttl by less than *grace* seconds."""
        held = self.values.get(key, MISSING)
        if type(held) is not Stale:
            return MISSING
        past = self.time() - held.fresh_until
        return held.value if grace and past < grace else MISSING

    # The ends of runs

    def keep_failure(self, run: Run, error: BaseException) -> Any:
        end = self.end_of_failure(run, error)
        if end is None:
            return None
        try:
            return KeptFailure(error, deadline_at(end))
        except Exception:  # noqa: BLE001  # its type cannot be copied
            return None

    def end_of_failure(self, run: Run, error: BaseException) -> float | None:  # noqa: ARG002
        """Return until when a failure is kept, or None if it is not."""
        if isinstance(error, Exception):
            for kind in type(error).__mro__:
                seconds = self._grace.of_failures.get(kind)
                if seconds is not None:
                    return self.time() + seconds
        return None

    def note_failure(self, run: Run, kept: Any) -> Any:
        key = run.key
        held = self.values.get(key, MISSING)
        if type(held) is Stale and self.is_live(held):  # more useful than the failure
            held.put_off(self.time() + self._grace.retry)
            return None
        return None if kept is None else self.put_held(key, kept, run)
