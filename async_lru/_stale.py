"""A store that serves values past their time, as RFC 5861 has it."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Hashable
from math import inf
from typing import Any

from ._expiring import ExpiringStore, Lifetimes
from ._expiry import Entry
from ._failures import KeptFailure
from ._runs import ABSENT, DROPPED, REFRESHING, Run, report


class StaleEntry(Entry):
    """A value that is fresh for some time, and is kept until its deadline."""

    __slots__ = ("fresh_until", "retry_at")

    def __init__(
        self, key: Hashable, value: Any, deadline: float, fresh_until: float
    ) -> None:
        super().__init__(key, value, deadline)
        self.fresh_until = fresh_until
        #: When the next run may be tried, after one that failed.
        self.retry_at = -inf


class Background:
    """Runs that nobody waits for, on behalf of the entries that they are to replace.

    Each has a waiter that never wakes, lest it be cancelled with the callers who join
    it; it is cancelled when its entry goes.
    """

    def __init__(self) -> None:
        self.runs: dict[Hashable, tuple[Run, Future[Any]]] = {}

    def watch(self, run: Run, waiter: "Future[Any]") -> None:
        """Let a run go on in the background, on behalf of the entry of its key."""
        assert run.waiters is not None
        run.waiters[waiter] = None  # nobody's: no run waits for this one
        self.runs[run.key] = run, waiter

    def forget(self, run: Run) -> bool:
        """Leave *run* to those who have joined it; tell whether it was here."""
        known, waiter = self.runs.get(run.key, (None, None))
        if known is not run:  # another of the same key may be
            return False
        del self.runs[run.key]
        assert waiter is not None
        assert run.waiters is not None
        del run.waiters[waiter]
        return True

    def end(self, entry: Entry) -> None:
        """Cancel the run that is to replace *entry*, if nobody waits for it."""
        if self.runs:
            run, waiter = self.runs.pop(entry.key, (None, None))
            if run is not None and waiter is not None:
                run.leave(waiter)

    def end_all(self) -> None:
        """Cancel the runs that nobody waits for."""
        runs, self.runs = self.runs, {}
        for run, waiter in runs.values():
            run.leave(waiter)


class StaleStore(ExpiringStore):
    """A store whose values are served past their time while they are replaced.

    The run that is to replace a value is aside, not an entry.
    """

    __slots__ = ("background",)

    def __init__(
        self,
        loop: AbstractEventLoop,
        maxsize: int | None,
        runs: set[Run],
        lifetimes: Lifetimes,
    ) -> None:
        super().__init__(loop, maxsize, runs, lifetimes)
        background = self.background = Background()
        expiry = self.expiry
        expiry.on_expired = background.end

        def let_go(entry: Entry) -> None:  # knows no store, lest that be a cycle
            background.end(entry)
            expiry.discard(entry)

        self.let_go = let_go

    def hold(self, key: Hashable, entry: Entry) -> None:
        fresh_until = deadline = entry.deadline
        if not isinstance(entry.value, KeptFailure):
            deadline += self.lifetimes.stale
        super().hold(key, StaleEntry(key, entry.value, deadline, fresh_until))

    def serves(self, entry: StaleEntry, now: float) -> bool:
        """Tell whether a stale value is given at once, and not after a run."""
        fresh_until = entry.fresh_until + self.lifetimes.stale_while_revalidate
        return now < fresh_until or now < entry.retry_at

    def wants_run(self, entry: StaleEntry, now: float) -> bool:
        """Tell whether it is time to replace a stale value in the background."""
        return now >= entry.retry_at and entry.key not in self.aside

    def admit(self, run: Run) -> None:
        if type(self.get(run.key, ABSENT)) is Run:
            super().admit(run)
        else:  # stale, and of use if the run fails
            self.aside.pop(run.key, ABSENT).place = DROPPED
            self.aside[run.key] = run
            run.place = REFRESHING
            self.entered -= 1

    def revive(self, run: Run) -> None:
        if type(self.get(run.key, ABSENT)) is Run:
            super().revive(run)

    def replace(self, run: Run, value: Any) -> None:
        self.background.forget(run)
        super().replace(run, value)

    def failed(self, run: Run, error: BaseException) -> Any:
        is_refresh = run.place is REFRESHING
        entry = self.get(run.key, ABSENT)
        in_background = self.background.forget(run)
        super().failed(run, error)
        if not is_refresh or type(entry) is Run:
            return ABSENT
        now = self.loop.time()
        entry.retry_at = now + self.lifetimes.retry
        rescued: Any = ABSENT
        if isinstance(error, Exception):
            if now < entry.fresh_until + self.lifetimes.stale_if_error:
                rescued = entry.value
                run.rescued_from = error
            if in_background and (run.waiters or rescued is not ABSENT):
                report(error, self.loop)  # what its callers get is something else
        return rescued

    def discard(self, entry: Entry) -> bool:
        self.background.end(entry)
        return super().discard(entry)

    def retire(self) -> None:
        super().retire()
        self.background.end_all()
