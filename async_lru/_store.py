"""The entries of a cache, and the order in which they are evicted."""

import sys
from asyncio import AbstractEventLoop
from collections import OrderedDict
from collections.abc import Callable, Hashable
from random import uniform
from typing import Any

from ._expiry import ByDeadline, Entry, Expiry, InOrder
from ._loops import is_stock, ticker_of
from ._order import mend, take
from ._runs import DROPPED, EVICTED, HELD, Run
from ._starting import BEGIN, starts_of

#: What a look-up gives where there is nothing: a run that nobody can join.
ABSENT: Run = object.__new__(Run)
ABSENT.waiters = None


class Store:
    """The entries of a cache in one event loop, from one clear to the next.

    An entry is a run in flight, or the bare value of a finished one. A cache
    that is cleared or changes loops gets a new store, so that whatever is
    still under way in the old one cannot touch it.
    """

    __slots__ = (
        "begin",
        "entries",
        "evicted",
        "get",
        "hits",
        "let_go",
        "limit",
        "loop",
        "misses",
        "retired",
        "runs",
        "starts",
        "stock",
        "ticker",
        "touch",
    )

    #: Told of values that are evicted, if anything is to be done then.
    let_go: Callable[[Any], object] | None
    #: The entry of a key, or a default: the look-up of a hit.
    get: Callable[[Hashable, Any], Any]
    #: Marks an entry as the most recently used.
    touch: Callable[[Hashable], object]

    def __init__(
        self, loop: AbstractEventLoop | None, maxsize: int | None, runs: set[Run]
    ) -> None:
        self.entries: OrderedDict[Hashable, Any] = OrderedDict()
        self.get = self.entries.get
        self.touch = self.entries.move_to_end
        self.let_go = None
        #: Runs in flight whose entry was evicted: they do not count, but are joined.
        self.evicted: dict[Hashable, Run] = {}
        self.loop = loop
        #: Tells which thread runs the loop: what calls ask before Python 3.12.
        self.ticker = ticker_of(loop)
        #: Whether asyncio alone makes the loop's tasks and futures, save for a factory.
        self.stock = is_stock(loop)
        #: What is being started in the loop.
        self.starts = starts_of(loop)
        #: How runs begin; learned from those before.
        self.begin = BEGIN
        #: Entries held at most.
        self.limit = sys.maxsize if maxsize is None else maxsize
        self.runs = runs
        self.hits = 0
        self.misses = 0
        self.retired = False

    def contains(self, key: Hashable) -> bool:
        """Tell whether *key* has an entry."""
        entry = self.get(key, ABSENT)
        return type(entry) is not Run or entry.waiters is not None

    def admit(self, run: Run) -> None:
        """Make a new run the newest entry, and drop the oldest if it is one too many."""
        entries = self.entries
        try:
            entries[run.key] = run
            run.place = HELD
            if len(entries) > self.limit:
                key, entry = entries.popitem(last=False)
                if type(entry) is Run:
                    self.evict(key, entry)
                elif self.let_go is not None:
                    self.let_go(entry)
        except BaseException as error:
            mend(entries)
            if self.retired and isinstance(error, KeyError):
                return  # another thread has emptied it just now
            raise

    def evict(self, key: Hashable, run: Run) -> None:
        """Leave a run without an entry; it can come back while it is in flight."""
        if not self.limit:
            run.place = DROPPED
        elif run.waiters is not None:
            run.place = EVICTED
            self.evicted[key] = run

    def revive(self, run: Run) -> None:
        """Make an evicted run an entry again."""
        self.evicted.pop(run.key, None)
        self.admit(run)

    def put(self, key: Hashable, value: Any) -> None:
        """Make *value* the entry of *key*."""
        try:
            self.entries[key] = value
        except BaseException:
            mend(self.entries)
            raise

    def drop(self, run: Run) -> None:
        """Take *run* out, wherever it is."""
        place, run.place = run.place, DROPPED
        if place is HELD:
            take(self.entries, run.key, None)
        elif place is EVICTED:
            self.evicted.pop(run.key, None)

    def remove(self, key: Hashable) -> bool:
        """Drop the entry of *key* and tell whether there was one."""
        if self.evicted:
            run = self.evicted.pop(key, ABSENT)
            run.place = DROPPED
        try:
            entry = self.entries.pop(key, ABSENT)
        except BaseException:
            mend(self.entries)
            raise
        if type(entry) is Run:
            entry.place = DROPPED
            return entry.waiters is not None
        return self.discard(entry)

    def discard(self, entry: Any) -> bool:  # noqa: ARG002
        """Let go of a value that was just taken out; tell whether it was a hit yet."""
        return True

    def drop_due(self) -> None:
        """Drop the entries whose time has come."""

    def retire(self) -> None:
        """Drop everything for good; the runs in flight go on without an entry."""
        self.retired = True
        for run in list(self.runs):
            run.place = DROPPED
        # What dies here may call back: let it find the entries gone.
        dropped = [*self.evicted.items(), *self.entries.items()]
        self.evicted = {}
        self.entries.clear()
        del dropped


class ExpiringStore(Store):
    """A store whose values have a deadline each: they are held in an Entry."""

    __slots__ = ("expiry", "jitter", "ttl")

    loop: AbstractEventLoop

    def __init__(
        self,
        loop: AbstractEventLoop,
        maxsize: int | None,
        runs: set[Run],
        ttl: float,
        jitter: float | None,
    ) -> None:
        super().__init__(loop, maxsize, runs)
        self.ttl = ttl
        self.jitter = jitter
        self.expiry = Expiry(loop, self.entries, ByDeadline if jitter else InOrder)
        self.let_go = self.expiry.discard

    def contains(self, key: Hashable) -> bool:
        entry = self.get(key, ABSENT)
        if type(entry) is Run:
            return entry.waiters is not None
        return bool(entry.deadline > self.loop.time())

    def put(self, key: Hashable, value: Any) -> None:
        deadline = self.loop.time() + self.ttl
        if self.jitter:
            deadline += uniform(0, self.jitter)  # noqa: S311  # no secret
        entry = Entry(key, value, deadline)
        try:
            self.entries[key] = entry
        except BaseException:
            mend(self.entries)
            raise
        self.expiry.add(entry)

    def discard(self, entry: Entry) -> bool:
        fresh = entry.deadline > self.loop.time()
        self.expiry.discard(entry)
        return fresh

    def drop_due(self) -> None:
        self.expiry.drop_overdue()

    def retire(self) -> None:
        super().retire()
        self.expiry.clear()
