"""Changes made here that the server has not acknowledged yet."""

import asyncio
from asyncio import AbstractEventLoop, Future
from functools import partial
from itertools import islice
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from async_lru._loops import call_soon_in

from ._protocol import MAX_MILLISECONDS, new_token

if TYPE_CHECKING:
    from collections.abc import Iterable

#: When so many changes are pending, a further one clears its whole function instead.
MAX_PENDING: Final = 10_000

#: A function, and the hash of an entry or None for all its entries.
Target: TypeAlias = "tuple[str, str | None]"


class Change:
    """A put or an invalidation of an entry, or the clearing of a function."""

    __slots__ = (
        "_ends",
        "_packed",
        "_waiters",
        "acknowledged",
        "sender_id",
        "target",
        "version",
    )

    def __init__(
        self,
        target: Target,
        sender_id: str,
        version: str,
        packed: bytes | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.target = target
        self.sender_id = sender_id
        self.version = version
        self._packed = packed
        self._ends = monotonic() + seconds
        self.acknowledged = False
        self._waiters: list[Future[None]] = []

    @property
    def has_value(self) -> bool:
        """Whether it is a put."""
        return self._packed is not None

    def value(self) -> tuple[bytes, int]:
        """Return the value that was put, if any, and its remaining milliseconds."""
        if self._packed is None:  # pragma: no cover  # contact was lost just now
            return b"", 0
        left = int((self._ends - monotonic()) * 1000)
        return self._packed, min(left, MAX_MILLISECONDS)

    def turn_into_invalidation(self) -> None:
        """Turn a put into an invalidation."""
        self._packed = None

    def add_waiter(self, waiter: "Future[None]") -> None:
        """Wake *waiter*, in its loop, when the change is acknowledged."""
        self._waiters = [other for other in self._waiters if not other.done()]
        self._waiters.append(waiter)

    def is_awaited_in(self, loop: AbstractEventLoop) -> bool:
        """Return whether anybody in *loop* waits for it."""
        return any(
            waiter.get_loop() is loop and not waiter.done() for waiter in self._waiters
        )

    def take_waiters(self, other: "Change") -> None:
        """Take over the waiters of *other*, which this change supersedes."""
        self._waiters += other._waiters  # noqa: SLF001  # the same class
        other._waiters = []  # noqa: SLF001

    def acknowledge(self) -> None:
        """Wake the waiters."""
        self.acknowledged = True
        for waiter in self._waiters:
            call_soon_in(waiter.get_loop(), partial(_wake, waiter))


class Pending:
    """Pending changes, in the order in which to send them. Usable from any thread."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._changes: dict[Target, Change] = {}
        self._in_flight: dict[Target, Change] = {}
        #: How many changes have been acknowledged.
        self.acknowledgements = 0

    def add(self, change: Change) -> None:
        """Add *change*, which replaces the pending changes that it covers."""
        function, hash_ = change.target
        with self._lock:
            if hash_ is not None and len(self._changes) >= MAX_PENDING:
                change = Change((function, None), "", new_token())
            covered = (
                [target for target in list(self._changes) if target[0] == function]
                if change.target[1] is None
                else [change.target]
            )
            for target in covered:
                former = self._changes.pop(target, None)
                if former is not None:
                    change.take_waiters(former)
            self._changes[change.target] = change

    def turn_puts_into_invalidations(self) -> None:
        """Turn pending puts into invalidations."""
        with self._lock:
            for change in list(self._changes.values()):  # see take
                change.turn_into_invalidation()

    def take(self, most: int) -> list[Change]:
        """Return at most *most* changes that can be sent now."""
        with self._lock:
            # A signal handler may change the maps between two lines.
            free = (t for t in list(self._changes) if not self._must_wait(t))
            taken: list[Change] = []
            for target in islice(free, most):
                change = self._changes.pop(target, None)
                if change is not None:  # pragma: no branch
                    self._in_flight[target] = change
                    taken.append(change)
            return taken

    def _must_wait(self, target: Target) -> bool:
        function, hash_ = target
        if hash_ is None:  # a put in flight must not be repeated after it
            return any(other[0] == function for other in list(self._in_flight))
        # What was changed after a clearing needs the new generation.
        clearing = function, None
        return (
            target in self._in_flight
            or clearing in self._in_flight
            or clearing in self._changes
        )

    def put_back(self, changes: list[Change]) -> None:
        """Make those of *changes* pending again that were not acknowledged."""
        with self._lock:
            for change in changes:
                if not change.acknowledged:
                    del self._in_flight[change.target]
                    newer = self._newer(change.target)
                    if newer is None:
                        self._changes[change.target] = change
                    else:  # pragma: no cover  # made while it was in flight
                        newer.take_waiters(change)

    def _newer(self, target: Target) -> Change | None:
        """Return the pending change that supersedes an older one of *target*, or None."""
        return self._changes.get(target) or self._changes.get((target[0], None))

    def acknowledge(self, change: Change) -> None:
        """Record that the server has acknowledged *change*, and wake its waiters."""
        with self._lock:
            del self._in_flight[change.target]
            self.acknowledgements += 1
            change.acknowledge()

    def has_changes_of_entry(self, function: str, hash_: str) -> bool:
        """Return whether the server may still have an outdated value of an entry."""
        with self._lock:
            return bool(self._of_entry(function, hash_))

    def _of_entry(self, function: str, hash_: str) -> list[Change]:
        targets: list[Target] = [(function, hash_), (function, None)]
        found = [c.get(t) for c in (self._in_flight, self._changes) for t in targets]
        return [change for change in found if change is not None]

    async def wait_for_entry(self, function: str, hash_: str) -> None:
        """Return when all changes of an entry so far are acknowledged."""
        with self._lock:
            waiters = _waiters_for(self._of_entry(function, hash_))
        await asyncio.gather(*waiters)  # which forgets all at once when cancelled

    def is_awaited_in(self, loop: AbstractEventLoop) -> bool:
        """Return whether anybody in *loop* waits for a change to be acknowledged."""
        with self._lock:
            changes = [*self._changes.values(), *self._in_flight.values()]
        return any(change.is_awaited_in(loop) for change in changes)

    def has_changes_of_function(self, function: str) -> bool:
        """Return whether any change of a function is not acknowledged yet."""
        with self._lock:
            return bool(self._of_function(function))

    def _of_function(self, function: str) -> list[Change]:
        return [
            change
            for changes in (self._in_flight, self._changes)
            for change in list(changes.values())  # see take
            if change.target[0] == function
        ]

    async def wait_for_function(self, function: str) -> None:
        """Return when all changes of a function so far are acknowledged."""
        with self._lock:
            waiters = _waiters_for(self._of_function(function))
        await asyncio.gather(*waiters)  # which forgets all at once when cancelled


def _waiters_for(changes: "Iterable[Change]") -> "list[Future[None]]":
    """Return a future of the running loop for each change."""
    loop = asyncio.get_running_loop()
    waiters: list[Future[None]] = []
    for change in changes:
        waiter = loop.create_future()
        change.add_waiter(waiter)
        waiters.append(waiter)
    return waiters


def _wake(waiter: "Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
