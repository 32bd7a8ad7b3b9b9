"""A heap of deadlines, and one timer for the earliest."""

import sys
import weakref
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Hashable
from contextvars import Context
from heapq import heappop, heappush
from math import inf
from threading import RLock
from typing import Any

from ._loops import call_in, call_soon_in
from ._values import HAS_GIL

#: The minimum number of seconds between two rounds of the timer, so that many values
#: share a round. Overdue values are not served in the meantime.
ROUND = 0.001

#: Seconds until the next round when a key's ``__eq__`` has raised in one.
_RETRY = 1.0

#: The number of outdated deadlines that are tolerated, however few others there are.
_SLACK = 32

#: While outdated deadlines are cleaned out, how many are checked each time that one is
#: added or discarded. More than two, so that cleaning is faster than growth.
_PACE = 4


class Deadline(float):
    """When the value of a key expires, on the loop's clock.

    If the value is dropped earlier, the deadline stays behind, outdated and without a key.
    """

    __slots__ = ("key",)

    key: Hashable


#: Replaces the key of an outdated deadline.
OUTDATED: Any = object()


def deadline_at(when: float) -> Deadline:
    """Return a deadline that is in no heap yet."""
    deadline = Deadline(when)
    deadline.key = OUTDATED
    return deadline


class Expiry:
    """The deadlines of one cache, and a timer for the earliest.

    Changes under the cache's lock. Outdated deadlines are cleaned out a few at a time, by
    moving the others from one heap to another. The timer calls *on_due*, a bound method of
    the cache, and keeps neither this nor the cache alive.
    """

    __slots__ = (
        "__weakref__",
        "_heap",
        "_lock",
        "_loop",
        "_on_due",
        "_outdated",
        "_source",
        "_timer",
        "_when",
    )

    def __init__(self, lock: RLock, on_due: Callable[[float], bool]) -> None:
        self._lock = lock
        self._on_due = weakref.WeakMethod(on_due)
        self._heap: list[Deadline] = []
        #: The heap that is being cleaned out.
        self._source: list[Deadline] = []
        self._outdated = 0
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None
        self._when = inf

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # pragma: no branch  # then globals may be gone
            self.disarm()

    def add(
        self, deadline: Deadline, key: Hashable, loop: AbstractEventLoop | None
    ) -> None:
        """Add the deadline of *key*; set a timer in *loop*, the loop of this thread."""
        heappush(self._heap, deadline)
        deadline.key = key  # last: a signal handler may discard what has one
        if self._source:
            self._clean()
        if deadline < self._when and loop is not None:
            self._arm(deadline, loop)

    def discard(self, deadline: Deadline) -> None:
        """Mark a deadline as outdated."""
        if deadline.key is OUTDATED:  # it is being added or dropped
            return
        deadline.key = OUTDATED
        self._outdated += 1
        held = len(self._heap) + len(self._source)
        if self._outdated == held and self._is_outdated():
            self.clear()
        elif self._source:
            self._clean()
        elif self._outdated * 2 > held + _SLACK:
            self._source, self._heap = self._heap, []

    def _is_outdated(self) -> bool:
        """Return whether all deadlines are outdated; the numbers may be off by one.

        A signal handler may discard a deadline that is just being moved or popped.
        """
        return all(each.key is OUTDATED for each in (*self._heap, *self._source))

    def _clean(self) -> None:
        """Check a few more deadlines of the heap that is being cleaned out."""
        source = self._source
        for _ in range(min(_PACE, len(source))):
            try:
                deadline = source.pop()  # without its last item, a heap is still a heap
            except IndexError:  # pragma: no cover  # a signal handler came in between
                break
            if deadline.key is OUTDATED:
                self._outdated = max(self._outdated - 1, 0)
            else:
                heappush(self._heap, deadline)

    def pop_due(self, now: float) -> tuple[Deadline, Hashable] | None:
        """Remove and return the earliest deadline and its key, if it is not after *now*.

        The key is OUTDATED if the deadline is.
        """
        heap, source = self._heap, self._source
        try:
            if source and not (heap and heap[0] <= source[0]):
                heap = source
            if not heap or heap[0] > now:
                return None
            deadline = heappop(heap)
        except IndexError:  # pragma: no cover  # a signal handler came in between
            return None
        key, deadline.key = deadline.key, OUTDATED
        if key is OUTDATED:
            self._outdated = max(self._outdated - 1, 0)
        return deadline, key

    def put_back(self, deadline: Deadline, key: Hashable) -> None:
        """Undo ``pop_due``."""
        deadline.key = key
        heappush(self._heap, deadline)

    def clear(self) -> None:
        """Forget all deadlines and release the timer."""
        self._heap, self._source, self._outdated = [], [], 0
        self.disarm()

    def disarm(self) -> None:
        """Release the timer in a later turn of its loop.

        Not at once: a signal handler may run when asyncio is about to call the timer.
        """
        timer = self._forget_timer()
        if timer is not None and self._loop is not None:
            call_soon_in(self._loop, timer.cancel)

    def release(self) -> None:
        """Release the timer, at once in the thread of its loop."""
        timer, loop = self._forget_timer(), self._loop
        self._loop = None  # a timer that is firing is not set again
        if timer is not None and loop is not None:
            call_in(loop, timer.cancel)

    def _forget_timer(self) -> TimerHandle | None:
        timer, self._timer = self._timer, None
        self._when = inf
        return timer

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Continue in a child process, which does not have the parent's timer."""
        is_locked = not self._lock.acquire(blocking=False)
        self._lock = lock
        self._forget_timer()
        if is_locked and not HAS_GIL:  # see Values
            self._heap, self._source, self._outdated = [], [], 0

    def _arm(self, when: float, loop: AbstractEventLoop) -> None:
        """Set a timer in *loop* for *when*, unless an earlier one is set."""
        if when >= self._when:
            return
        former = self._timer  # read once: a signal handler may remove it
        if former is not None:
            former.cancel()
        # In this order: if a signal handler disarms in between, no timer is believed to
        # be set.
        self._loop = loop
        # The timer must keep neither the cache nor the context of this call alive. Even
        # when it is cancelled, it stays for a while, and a Deadline would keep its key.
        self._when = when = float(when)
        self._timer = self._call_at(when, loop, _tick, _reference_to(self), loop, when)

    def _call_at(
        self, when: float, loop: AbstractEventLoop, *callback: Any
    ) -> TimerHandle:
        return loop.call_at(when, *callback, context=Context())

    def _time(self, loop: AbstractEventLoop) -> float:
        """Return the time at which the timer of *loop* fires."""
        # asyncio may run a timer up to one tick of the clock early.
        return max(loop.time(), self._when)

    def tick(self, loop: AbstractEventLoop, when: float) -> None:
        """Drop what is due, and set the timer for the next deadline."""
        on_due = self._on_due()
        with self._lock:
            # A timer that was released may fire once more, since it is cancelled later.
            # Another loop may have taken the cache: tests do that in other processes.
            is_released = when != self._when or loop is not self._loop
            if on_due is None or is_released:
                return
            now = self._time(loop)
            self._forget_timer()
        pause = _RETRY
        try:
            pause = 0.0 if on_due(now) else ROUND
        finally:
            with self._lock:
                if loop is self._loop:  # pragma: no branch  # not taken meanwhile
                    self._go_on(loop, now, pause)

    def _go_on(self, loop: AbstractEventLoop, now: float, pause: float) -> None:
        first = min(self._heap[:1] + self._source[:1], default=None)
        if first is not None:
            self._arm(max(first, now + pause), loop)


def _reference_to(expiry: Expiry) -> "weakref.ref[Expiry]":
    return weakref.ref(expiry)


def _tick(
    reference: "weakref.ref[Expiry]", loop: AbstractEventLoop, when: float
) -> None:
    expiry = reference()
    if expiry is not None:  # pragma: no branch  # it has released the timer
        expiry.tick(loop, when)
