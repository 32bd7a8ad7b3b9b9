"""Deadlines of entries, and the one timer that keeps them.

Entries that are dropped before their time stay in the queue as empty husks
until they are half of it; then the queue is built anew without them. So the
queue is proportional to the live entries, and dropping costs O(1) on average.
"""

import weakref
from asyncio import AbstractEventLoop, Handle
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

from ._loops import runs_here
from ._order import take

#: Entries dropped in one go; the loop gets its turn after each so many.
SLICE = 1000

#: Seconds between two rounds of the timer at least, for a timer of its own for each
#: of many entries would cost more than they do. Nobody sees it: what is overdue is not
#: served, cache_info drops it, and asyncio itself sleeps in whole milliseconds.
ROUND = 0.001

#: Husks tolerated in a queue of any length.
SLACK = 32


class Entry:
    """A value with a deadline, in the loop's time."""

    __slots__ = ("deadline", "key", "value")

    def __init__(self, key: Hashable, value: Any, deadline: float) -> None:
        self.key = key
        self.value = value
        self.deadline = deadline

    def empty(self) -> None:
        """Let go of the key and the value, for good.

        A hit in another thread reads the value before it reads the deadline;
        writing them in the other order keeps it from returning None.
        """
        self.deadline = -inf
        self.value = self.key = None

    @property
    def is_husk(self) -> bool:
        """Whether the entry was dropped."""
        return self.deadline == -inf


class Queue(Protocol):
    """Entries by deadline."""

    def __len__(self) -> int: ...

    def push(self, entry: Entry, /) -> None:
        """Put in *entry*."""

    def first(self) -> Entry:
        """Return the entry with the earliest deadline."""
        ...

    def drop_first(self) -> object:
        """Take out the first entry."""

    def without_husks(self) -> "Queue":
        """Return a queue of the others."""
        ...


class InOrder(deque[Entry]):
    """A queue for entries whose deadlines come in order: all have one ttl."""

    __slots__ = ()

    # The deque's own, with no call in Python round them: 6 % of a miss with a ttl.
    push = deque[Entry].append
    drop_first = deque[Entry].popleft

    def first(self) -> Entry:
        return self[0]

    def without_husks(self) -> "InOrder":
        return InOrder(entry for entry in self if not entry.is_husk)


class ByDeadline(list[tuple[float, int, Entry]]):
    """A queue for entries whose deadlines come in any order: a heap."""

    __slots__ = ("ticket",)

    def __init__(self) -> None:
        # The ticket keeps the heap from comparing entries.
        self.ticket = count().__next__

    def push(self, entry: Entry) -> None:
        heappush(self, (entry.deadline, self.ticket(), entry))

    def drop_first(self) -> None:
        heappop(self)

    def first(self) -> Entry:
        return self[0][2]

    def without_husks(self) -> "ByDeadline":
        others = ByDeadline()
        others.extend(item for item in self if not item[2].is_husk)
        heapify(others)
        others.ticket = self.ticket
        return others


class Expiry:
    """Drops the entries of one store when their time has come."""

    __slots__ = (
        "__weakref__",
        "entries",
        "expired",
        "husks",
        "loop",
        "make_queue",
        "on_expired",
        "queue",
        "timer",
        "when",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        entries: OrderedDict[Hashable, Any],
        make_queue: Callable[[], Queue],
    ) -> None:
        self.loop = loop
        self.entries = entries
        self.make_queue = make_queue
        self.queue = make_queue()
        self.husks = 0
        #: Told of each entry whose time has come, before it is emptied.
        self.on_expired: Callable[[Entry], None] | None = None
        #: How many entries were dropped in time.
        self.expired = 0
        self.timer: Handle | None = None
        self.when = inf

    def __del__(self) -> None:
        self.disarm()

    def add(self, entry: Entry) -> None:
        """Have *entry* dropped at its deadline."""
        self.queue.push(entry)
        if entry.deadline < self.when:
            self.disarm()
            self.arm(entry.deadline)

    def discard(self, entry: Entry) -> None:
        """Empty an entry that was dropped before its time."""
        entry.empty()
        self.husks += 1
        held = len(self.queue)
        if self.husks == held:
            if self.is_ours():
                self.clear()
        elif self.husks * 2 > held + SLACK and self.is_ours():
            self.queue = self.queue.without_husks()
            self.husks = 0

    def is_ours(self) -> bool:
        """Tell whether the loop cannot touch the queue while this thread does."""
        return runs_here(self.loop) or not self.loop.is_running()

    def clear(self) -> None:
        """Forget all entries and release the timer."""
        self.queue = self.make_queue()
        self.husks = 0
        self.disarm()

    def drop_overdue(self) -> None:
        """Drop a slice of what the timer, being late, has not dropped yet."""
        if self.is_ours():
            self.drop_due(self.loop.time())

    def drop_due(self, now: float) -> bool:
        """Drop entries due at *now*, a slice at most; tell whether more are due."""
        queue = self.queue
        for _ in range(SLICE):
            if not queue:
                return False
            entry = queue.first()
            if entry.deadline > now:
                return False
            queue.drop_first()
            if entry.is_husk:
                self.husks -= 1
                continue
            self.expired += 1
            try:
                take(self.entries, entry.key, None)
            finally:
                self.dropped(entry)
        return bool(queue) and queue.first().deadline <= now

    def dropped(self, entry: Entry) -> None:
        """Empty an entry whose time has come."""
        if self.on_expired is not None:
            self.on_expired(entry)
        entry.empty()

    def arm(self, when: float) -> None:
        """Set the timer."""
        if when == inf:
            return
        self.when = when
        # The timer must not keep the cache alive, nor the context of the call
        # that happens to set it.
        self.timer = self.loop.call_at(when, _tick, _reference(self), context=Context())

    def disarm(self) -> None:
        """Release the timer, from whatever thread."""
        timer, self.timer = self.timer, None
        self.when = inf
        if timer is None or self.loop.is_closed():
            return
        if self.is_ours():
            timer.cancel()
        else:
            with suppress(RuntimeError):  # closed just now
                self.loop.call_soon_threadsafe(timer.cancel)

    def tick(self) -> None:
        """Drop what is due and set the timer for what comes next."""
        # asyncio runs a timer up to a clock tick early, and is right about it.
        now = max(self.loop.time(), self.when)
        self.timer = None
        self.when = inf
        more = True
        try:
            more = self.drop_due(now)
        finally:
            if more:
                self.when = now
                self.timer = self.loop.call_soon(
                    _tick, _reference(self), context=Context()
                )
            elif self.queue:
                self.arm(max(self.queue.first().deadline, now + ROUND))


def _reference(expiry: Expiry) -> "weakref.ref[Expiry]":
    return weakref.ref(expiry)


def _tick(reference: "weakref.ref[Expiry]") -> None:
    expiry = reference()
    if expiry is not None:
        expiry.tick()
