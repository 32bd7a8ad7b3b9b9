"""Values with deadlines."""

from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Final, NamedTuple

from ._cache import Cache
from ._expiry import OUTDATED, Deadline, Expiry, deadline_at
from ._runs import Run
from ._values import MISSING

#: The maximum number of values to drop in one turn of the loop.
SLICE: Final = 1000


class Lifetime(NamedTuple):
    """How long values live, in seconds."""

    #: The ttl of all values; None means that they do not expire.
    ttl: float | None = None
    #: Returns the ttl of a value: None if it does not expire, 0 or less to not store it.
    of_value: Callable[[Any], float | None] | None = None
    jitter: float = 0.0

    def __bool__(self) -> bool:
        """Return whether values can have deadlines."""
        return self.ttl is not None or self.of_value is not None

    def end(self) -> Callable[[Any, float], float]:
        """Return a function that returns when a new value expires.

        It returns the current time if the value is not to be stored.
        """
        ttl, of_value, jitter = self
        if of_value is not None or jitter:
            return self._end_of_each
        if ttl is None:
            return lambda _value, _now: inf
        return lambda _value, now: now + ttl

    def _end_of_each(self, value: Any, now: float) -> float:
        seconds = self.ttl if self.of_value is None else self.of_value(value)
        if seconds is None:
            return inf
        if seconds > 0 and self.jitter:
            from random import uniform  # noqa: PLC0415  # a tenth of the import

            seconds += uniform(0, self.jitter)  # noqa: S311  # not for security
        return now + max(seconds, 0)


class Timed:
    """A value with a deadline."""

    __slots__ = ("deadline", "fresh_until", "value")

    def __init__(self, value: Any, fresh_until: float, deadline: float) -> None:
        self.value = value
        #: Until when a call that finds the value is a plain hit.
        self.fresh_until = fresh_until
        #: When it is dropped: a Deadline, or inf.
        self.deadline = deadline


class TimedCache(Cache):
    """A cache whose values have deadlines, and are stored as ``Timed``."""

    def __init__(self, *args: Any, lifetime: Lifetime, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Tells when a new value expires: now or before if it is not to be stored.
        self.end_of = lifetime.end()
        self._expiry = Expiry(self.lock, self.drop_due)
        self._cleaning = False

    def hold(self, value: Any, end: float, now: float) -> Any:
        """Return a new value with its deadline; MISSING if it is not to be stored."""
        if end <= now:
            return MISSING
        if end == inf:
            return Timed(value, inf, inf)
        deadline = deadline_at(end)
        return Timed(value, deadline, deadline)

    def run_succeeded(
        self, run: Run, held: Any, seconds: float, loads: int = 1
    ) -> None:
        key = run.key
        if self.runs.get(key) is run:
            now = self.time()
            held = self.hold(held, self.end_of(held, now), now)
        Cache.run_succeeded(self, run, held, seconds, loads)

    def put(self, key: Hashable, held: Any) -> None:
        hash(key)
        now = self.clock_of(self.enter_loop())()
        super().put(key, self.hold(held, self.end_of(held, now), now))

    def is_live(self, held: Timed) -> bool:
        return held.deadline > self.time()

    def hit(self, key: Hashable) -> Any:
        held = self.values.get(key, MISSING)
        if held is MISSING or held.fresh_until <= self.time():
            return MISSING
        return MISSING if super().hit(key) is MISSING else held.value

    def put_held(self, key: Hashable, held: Timed, run: Run | None) -> Any:
        dropped = Cache.put_held(self, key, held, run)
        if dropped is None:
            return None
        if type(held.deadline) is Deadline:
            try:
                self._expiry.add(held.deadline, key, self.loop)
            except BaseException:  # no timer can be set, e.g. the loop is closed
                self.values.remove(key)
                raise
        former, evicted = dropped
        if evicted is not MISSING:
            self._forget_deadline(evicted)
        elif former is not MISSING:
            self.let_go(former)
        return dropped

    def let_go(self, held: Timed) -> bool:
        self._forget_deadline(held)
        if self.is_live(held):
            return True
        self.counters.expirations += 1  # the timer had not dropped it yet
        return False

    def clear_held(self) -> Any:
        self._expiry.clear()
        return super().clear_held()

    def _forget_deadline(self, held: Timed) -> None:
        if type(held.deadline) is Deadline:
            self._expiry.discard(held.deadline)

    def drop_overdue(self) -> None:
        self.drop_due(self.time())

    def drop_due(self, now: float) -> bool:
        """Drop values that are due at *now*, one slice at most; return if more may be due."""
        dropped: list[Any] = []
        with self.lock:
            if self._cleaning:  # called by a key's __eq__ or a signal handler
                return False
            self._cleaning = True
            try:
                return self._drop_slice(now, dropped)
            finally:
                self._cleaning = False

    def _drop_slice(self, now: float, dropped: list[Any]) -> bool:
        for _ in range(SLICE):
            due = self._expiry.pop_due(now)
            if due is None:
                return False
            deadline, key = due
            if key is OUTDATED:
                continue
            try:
                held = self.values.get(key, MISSING)
                if held is not MISSING and held.deadline is deadline:
                    dropped.append(held)
                    self.values.remove(key, held)
                    self.counters.expirations += 1
            except BaseException:  # from the __eq__ of a key
                self._expiry.put_back(deadline, key)
                raise
        return True

    def release_timer(self) -> None:
        self._expiry.release()

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        super().after_fork()
        self._cleaning = False
        self._expiry.after_fork(self.lock)
