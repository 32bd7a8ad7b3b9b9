"""A store whose entries have deadlines: values, and failures that are kept."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Hashable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from ._expiry import ByDeadline, Entry, Expiry, InOrder
from ._failures import KeptFailure
from ._order import take
from ._runs import ABSENT, HELD, Run
from ._store import Store


class Lifetimes(NamedTuple):
    """How long entries live, in seconds."""

    #: That of values; None is for ever.
    ttl: float | None = None
    #: That of each value by itself, which may be none (None) or nothing (0 or less).
    of_value: Callable[[Any], float | None] | None = None
    jitter: float = 0.0
    #: How long past that a value is served while a run, or though a run fails ...
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    #: ... and how long after such a failure the next is tried at the soonest.
    retry: float = 1.0
    #: That of failures, by their types.
    of_failures: Mapping[type[Exception], float] = MappingProxyType({})

    @property
    def stale(self) -> float:
        """How long values stay past their time."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def __bool__(self) -> bool:
        """Tell whether any entry has a deadline."""
        return (
            self.ttl is not None or self.of_value is not None or bool(self.of_failures)
        )

    def until(self, value: Any, now: float) -> float:
        """Return the deadline of *value*, which is *now* or before if it has no life."""
        seconds = self.ttl if self.of_value is None else self.of_value(value)
        if seconds is None:
            return inf
        if seconds > 0 and self.jitter:
            from random import uniform  # noqa: PLC0415  # a tenth of the import

            seconds += uniform(0, self.jitter)  # noqa: S311  # no secret
        return now + seconds


class ExpiringStore(Store):
    """A store whose entries have a deadline each: they are held in an Entry."""

    __slots__ = ("expiry", "lifetimes", "ttl")

    plain_values = False

    loop: AbstractEventLoop

    def __init__(
        self,
        loop: AbstractEventLoop,
        maxsize: int | None,
        runs: set[Run],
        lifetimes: Lifetimes,
    ) -> None:
        super().__init__(loop, maxsize, runs)
        self.lifetimes = lifetimes
        #: What lifetimes.until adds, where that is the same for all.
        self.ttl = None if lifetimes.jitter or lifetimes.of_value else lifetimes.ttl
        in_order = not (lifetimes.jitter or lifetimes.of_value or lifetimes.of_failures)
        self.expiry = Expiry(loop, self.entries, InOrder if in_order else ByDeadline)
        self.let_go = self.expiry.discard

    def contains(self, key: Hashable) -> bool:
        entry = self.get(key, ABSENT)
        if type(entry) is Run:
            return entry.waiters is not None
        return bool(entry.deadline > self.loop.time())

    def put(self, key: Hashable, value: Any) -> None:
        now = self.loop.time()
        ttl = self.ttl
        deadline = self.lifetimes.until(value, now) if ttl is None else now + ttl
        if deadline <= now:
            self.left += 1
            take(self.entries, key, None)
        else:
            self.hold(key, Entry(key, value, deadline))

    def hold(self, key: Hashable, entry: Entry) -> None:
        """Make *entry* the one of *key*."""
        Store.put(self, key, entry)
        self.expiry.add(entry)

    def failed(self, run: Run, error: BaseException) -> Any:
        if run.place is HELD and isinstance(error, Exception):
            for kind in type(error).__mro__:
                seconds = self.lifetimes.of_failures.get(kind)
                if seconds is not None:
                    deadline = self.loop.time() + seconds
                    self.count_failure(error)
                    self.hold(run.key, Entry(run.key, KeptFailure(error), deadline))
                    return ABSENT
        return super().failed(run, error)

    def discard(self, entry: Entry) -> bool:
        fresh = entry.deadline > self.loop.time()
        if not fresh:
            self.expiry.expired += 1
        self.expiry.discard(entry)
        return fresh

    def drop_due(self) -> None:
        self.expiry.drop_overdue()

    def expired(self) -> int:
        return self.expiry.expired

    def retire(self) -> None:
        super().retire()
        self.expiry.clear()
