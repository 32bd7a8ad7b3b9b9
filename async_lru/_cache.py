"""The cache of one function: all that happens beyond a plain hit."""

import asyncio
from asyncio import AbstractEventLoop, CancelledError, Future, get_running_loop
from collections import defaultdict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, cast

from ._keys import MakeKey
from ._loops import warn_of_reset
from ._memory import size_of
from ._runs import ABSENT, HELD, REFRESHING, Run, current_run, report
from ._stale import StaleEntry, StaleStore
from ._starting import enclosing_run, start_run, starts_of
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._store import Store

_new_tuple: Any = cast("Any", tuple).__new__


class Cache:
    """The cache of one function, whatever loop it is in.

    The calls in ``_calls`` answer plain hits; everything else is here.
    """

    __slots__ = (
        "closed",
        "counted",
        "function",
        "make_key",
        "make_store",
        "maxsize",
        "name",
        "runs",
        "starts",
        "store",
        "ttl",
        "typed",
        "warned",
    )

    def __init__(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        name: str,
        *,
        maxsize: int | None,
        typed: bool,
        ttl: Any,
        make_key: MakeKey,
        make_store: Callable[[AbstractEventLoop, set[Run]], Store],
    ) -> None:
        self.function = function
        self.name = name
        self.maxsize = maxsize
        self.typed = typed
        self.ttl = ttl
        self.make_key = make_key
        self.make_store = make_store
        #: Every run in flight whose first step is over, with an entry or without.
        self.runs: set[Run] = set()
        self.closed = False
        self.warned = False
        #: The entries; they belong to no loop before the first call.
        self.store = Store(None, maxsize, self.runs)
        #: Where the counters are once the cache is closed, until they are cleared.
        self.counted: Store | None = None
        #: What is being started in the loop of the last call.
        self.starts = self.store.starts

    # Calls

    def run_for(
        self,
        store: Store,
        key: Hashable,
        entry: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> "tuple[Any, Future[Any] | None]":
        """Return the run that answers a call that is no hit of a value.

        With it comes the future to wait on; or the value and None, if the run has
        ended already. *entry* is the run that the call found for *key*, which may be
        ABSENT.
        """
        if entry.waiters is None and store.aside:
            entry = store.aside.get(key, ABSENT)
        if entry.waiters is None:
            return start_run(key, store, self.function, args, kwargs, store.admit_miss)
        # A join: a hit, and a use.
        caller = None
        starts = store.starts
        # Most calls are in no run. As in start_run this is asked in place, for a call less.
        if starts.steps or starts.bare or current_run() is not None:
            caller = self.enclosing_run(store, entry)
        if entry.place is not HELD:
            store.revive(entry)
        else:
            try:
                store.touch(entry.key)
            except KeyError:  # cleared by another thread just now
                pass
        store.hits += 1.0
        store.joins += 1
        # As entry.add_waiter does it, for a call less: 0.6 % of a join.
        waiter = store.make_future()
        if entry.waiters:
            entry.waiters[waiter] = caller
        else:  # pragma: py-lt-312  # in its first step
            entry.waiters = {waiter: caller}
        return entry, waiter

    def run_in_new_loop(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> "tuple[Any, Future[Any] | None]":
        """Return what run_for does, for a call from a loop that is not the store's."""
        store = self.enter_loop(get_running_loop())

        def admit(run: Run) -> None:
            store.admit_miss(run)
            self.replace_store(store)

        return start_run(key, store, self.function, args, kwargs, admit)

    def enclosing_run(self, store: Store, run: Run) -> Run | None:
        """Return the run that will wait for *run* here, if any.

        Raises RuntimeError if that is *run* itself, or one that it waits for.
        """
        caller = enclosing_run(store.starts)
        if caller is not None and run.waits_for(caller):
            raise RuntimeError(
                f"{self.name} was called from its own run for the same key and would "
                "wait for itself: call it with other arguments there, or call the "
                "undecorated function, which is its __wrapped__"
            )
        return caller

    # What users do to entries

    def serves_stale(
        self,
        store: StaleStore,
        entry: StaleEntry,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        now: float,
    ) -> bool:
        """Tell whether a stale value answers a call; see to it that it is replaced."""
        if not store.serves(entry, now):
            return False
        if store.wants_run(entry, now):
            try:
                run, waiter = start_run(
                    entry.key, store, self.function, args, kwargs, store.admit_refresh
                )
            except Exception as error:  # noqa: BLE001  # as one in the background
                entry.retry_at = now + store.lifetimes.retry
                report(error, store.loop)
                return True
            if waiter is None:  # pragma: py-lt-312  # it has ended at once
                return True
            store.background.watch(run, waiter)
        return True

    def put(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store *value* as if a run had returned it."""
        key = self.make_key(args, kwargs)
        hash(key)
        self.store_here("cache_put").insert(key, value)

    async def refresh(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function, replace the entry with its result, and return that."""
        key = self.make_key(args, kwargs)
        hash(key)
        store = self.store_here("cache_refresh")
        run: Any = store.aside.get(key, ABSENT)
        if run.place is REFRESHING and run.waiters is not None:
            waiter = run.add_waiter(self.enclosing_run(store, run))
        else:
            run, first = start_run(
                key, store, self.function, args, kwargs, store.admit_refresh
            )
            if first is None:  # pragma: py-lt-312
                return run
            waiter = first
        try:
            await waiter
        except (CancelledError, GeneratorExit):
            run.leave(waiter)
            raise
        finally:
            del waiter
        value = run.take_value()
        failure = getattr(run, "rescued_from", None)
        if failure is not None:
            raise failure  # others are served the old value
        return value

    def store_here(self, method: str) -> Store:
        """Return the store for the running loop, a new one if that is another."""
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{method}() of {self.name} needs a running event loop, for a cache "
                "belongs to one: call it from a coroutine"
            ) from None
        if loop is not self.store.loop:
            self.replace_store(self.enter_loop(loop))
        return self.store

    # Event loops

    def enter_loop(self, loop: AbstractEventLoop) -> Store:
        """Return an empty store for a call from *loop*, to take the store's place.

        The cache itself stays as it is until the call has proved valid.
        """
        if self.closed:
            raise RuntimeError(
                f"the cache of {self.name} is closed: it takes no calls after "
                "cache_close()"
            )
        if self.store.loop is not None and not self.warned:
            self.warned = True
            warn_of_reset(self.name)
        return self.make_store(loop, self.runs)

    def replace_store(self, store: Store) -> None:
        """Go on with *store*; drop the entries of the one before, if it had any."""
        former, self.store = self.store, store
        if store.loop is not None:
            self.starts = store.starts
        if former.timed:
            store.time_all()
        former.retire()
        self.forget_dead_runs()

    def runs_in_flight(self) -> list[Run]:
        """Return all runs in flight, those in a first step that is taken now included."""
        self.forget_dead_runs()
        stepping = [
            run
            for run in self.starts.steps
            if getattr(run.store, "runs", None) is self.runs  # has not ended since
        ]
        return [*self.runs, *stepping]

    def forget_dead_runs(self) -> None:
        """Forget the runs that a closed loop has left behind."""
        for run in list(self.runs):
            if run.loop.is_closed():
                self.runs.discard(run)

    # What users ask of the cache

    def clear(self) -> None:
        """Drop every entry and zero the counters; stay in the same loop."""
        loop = self.store.loop
        self.counted = None
        self.replace_store(
            Store(None, self.maxsize, self.runs)
            if loop is None
            else self.make_store(loop, self.runs)
        )

    def reset(self) -> None:
        """Make everything as it was before the first call."""
        self.closed = self.warned = False
        self.counted = None
        self.replace_store(Store(None, self.maxsize, self.runs))

    def info(self) -> CacheInfo:
        """Return the counters and the number of entries."""
        store = self.counted or self.store
        store.drop_due()
        # As CacheInfo() does it, without its detour through Python: a fifth less.
        hits, misses = int(store.hits), int(store.misses)
        counts = hits, misses, self.maxsize, len(store.entries)
        info: CacheInfo = _new_tuple(CacheInfo, counts)
        return info

    def stats(self) -> CacheStats:
        """Return all that is counted."""
        store = self.counted or self.store
        store.drop_due()
        if not store.timed:  # from now on
            store.time_all()
        in_flight = self.runs_in_flight()
        misses = int(store.misses)
        ended = misses + store.refreshes
        ended -= sum(run.store is store for run in in_flight)
        entered = store.entered + (misses if store.limit else 0)
        left = int(store.left) + store.expired()
        return CacheStats(
            hits=int(store.hits),
            joins=store.joins,
            misses=misses,
            loads=ended - store.failures - store.cancelled,
            failures=store.failures,
            evictions=max(0, entered - left - len(store.entries)) if store.limit else 0,
            expirations=store.expired(),
            load_seconds=store.load_seconds,
            in_flight=len(in_flight),
            currsize=len(store.entries),
            maxsize=self.maxsize,
            ttl=self.ttl,
        )

    def memory(self) -> int:
        """Return about how many bytes keys and values hold."""
        entries = self.store.entries
        return size_of(
            (key, entry if type(entry) is not Run else None)
            for key, entry in list(entries.items())
        )

    def parameters(self) -> CacheParameters:
        """Return the options and the state of the cache."""
        return {
            "maxsize": self.maxsize,
            "typed": self.typed,
            "tasks": len(self.runs_in_flight()),
            "closed": self.closed,
        }

    async def close(self, *, wait: bool) -> None:
        """Refuse calls from now on, and return when no run is in flight."""
        here = get_running_loop()
        if not self.closed:
            self.closed = True
            self.counted = self.store  # by the runs that have yet to end, too
        self.replace_store(Store(None, self.maxsize, self.runs))
        runs_by_loop: dict[AbstractEventLoop, list[Run]] = defaultdict(list)
        for run in self.runs_in_flight():
            runs_by_loop[run.loop].append(run)
        runs_here = runs_by_loop.pop(here, [])
        elsewhere: list[Future[None]] = []
        for loop, runs in runs_by_loop.items():
            if loop.is_running():
                ending = asyncio.run_coroutine_threadsafe(_end(runs, wait=wait), loop)
                elsewhere.append(asyncio.wrap_future(ending))
            elif not wait:  # to happen when the loop goes on, if ever
                for run in runs:
                    loop.call_soon_threadsafe(run.cancel)
        await _end(runs_here, wait=wait)
        await asyncio.gather(*elsewhere, return_exceptions=True)


async def _end(runs: Sequence[Run], *, wait: bool) -> None:
    """Wait, in their loop, until *runs* have ended; cancel them first unless *wait*."""
    # A run that closes its own cache cannot be waited for here.
    caller = enclosing_run(starts_of(get_running_loop()))
    awaited = [run for run in runs if caller is None or not run.waits_for(caller)]
    if not wait:
        for run in runs:
            run.cancel()
    while awaited := [run for run in awaited if run.waiters is not None]:
        tasks = [run.task for run in awaited if run.task and not run.task.done()]
        if tasks:
            await asyncio.wait(tasks)
        else:  # pragma: py-lt-312  # tells its waiters in the next tick (see Run.fail)
            await asyncio.sleep(0)
