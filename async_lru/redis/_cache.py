"""Caches that ask a second tier on their misses."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Hashable, Mapping
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakKeyDictionary, WeakSet

from async_lru._cache import Cache, disown
from async_lru._runs import CALL, REFRESH, Function, Purpose, Run, current_run
from async_lru._shared import SharedStaleCache, SharedTimedCache
from async_lru._stale import StaleCache
from async_lru._timed import TimedCache
from async_lru._values import MISSING

from ._canonical import hash_of, salt_of
from ._load import LOCAL_TTL, Load, Outcome
from ._pending import Change
from ._protocol import Message, MessageKind, new_token
from ._versions import EntryVersions

if TYPE_CHECKING:
    from ._hub import Hub


#: What is no reason to drop a value.
_NO_CHANGE: Final = (MessageKind.RELEASED, MessageKind.FAILED)


class TieredCache(TimedCache):
    """A first tier for one event loop: its runs ask the second before the function.

    Changes are sent to the tier, and values that other processes changed are dropped. A
    ``Load`` does the work of a run. When a run ends, the tier may have set the value's
    deadline, or refused the value.
    """

    def __init__(self, *args: Any, tier: "Hub", **options: Any) -> None:
        self.tier = tier
        super().__init__(*args, **options)
        self._salt = salt_of(self.keys, self.name)
        #: Identifies this cache in messages.
        self.sender_id = new_token()
        values = self.values  # a lambda over self would be a reference cycle
        self._versions = EntryVersions(
            lambda key: values.get(key, MISSING) is not MISSING
        )
        #: What becomes of the results of runs that are about to end.
        self._outcomes: WeakKeyDictionary[Run, Outcome] = WeakKeyDictionary()
        #: Runs that a refresh has joined.
        self._refreshed: WeakSet[Run] = WeakSet()
        #: The loads of runs in flight.
        self._loads: dict[Run, Load] = {}
        self._loads_by_hash: dict[str, dict[Run, Load]] = {}
        self._has_closed = False
        tier.register(self)

    @property
    def failures_kept(self) -> Mapping[type[Exception], float]:
        """The types of failures that are kept, and for how many seconds."""
        return {}

    def new_lock(self) -> RLock:
        # One for all caches of the tier: their changes are pending in one place.
        return self.tier.lock

    def hash_of(self, key: Hashable) -> str:
        """Return the hash of *key*, or raise TypeError if *key* is not canonical."""
        return hash_of(self.keys, key, self.name, self._salt)

    # Runs

    async def answer(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        purpose: Purpose = CALL,
    ) -> Any:
        self._check_canonical(key)
        return await super().answer(key, args, kwargs, purpose=purpose)

    async def refresh(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._check_canonical(key)
        return await super().refresh(key, args, kwargs)

    def _check_canonical(self, key: Hashable) -> None:
        """Raise TypeError, before anything changes, if *key* is not canonical."""
        if self._shares:
            self.hash_of(key)

    def function_for(self, purpose: Purpose) -> Function:
        return self._reload if purpose is REFRESH else self._load

    async def _load(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return what the tier has, or else the result of the function."""
        return await self._load_for(args, kwargs, refresh=False)

    async def _reload(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the result of the function, or of a run that is in flight elsewhere."""
        return await self._load_for(args, kwargs, refresh=True)

    async def _load_for(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool
    ) -> Any:
        run = current_run()
        assert run is not None
        if not self._shares:  # caching is disabled
            return await self._function(*args, **kwargs)
        load = Load(self, run, self.hash_of(run.key))
        if refresh or run in self._refreshed:
            load.refresh()
        with self.lock:
            self._loads[run] = load
            self._loads_by_hash.setdefault(load.hash, {})[run] = load
        try:
            return await load.execute(self._function, args, kwargs)
        finally:
            with self.lock:
                del self._loads[run]
                same = self._loads_by_hash[load.hash]
                del same[run]
                if not same:
                    del self._loads_by_hash[load.hash]

    def ask(
        self,
        key: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        purpose: Purpose = CALL,
    ) -> "tuple[Run, Future[Any]]":
        run, waiter = super().ask(key, args, kwargs, purpose)
        if purpose is REFRESH:
            self._refreshed.add(run)  # it may not have begun to load
            load = self._loads.get(run)
            if load is not None:  # it may be about to accept the server's value
                load.refresh()
        if current_run() is not None and len(run.waiting()) > 1:
            load = self._loads.get(run)
            if load is not None:  # pragma: no branch  # it may not have begun
                load.look_again()
        return run, waiter

    def loads_of(self, hash_: str | None) -> list[Load]:
        """Return the loads of an entry, or all. Can be called from any thread."""
        with self.lock:
            found = self._loads if hash_ is None else self._loads_by_hash.get(hash_, {})
            return list(found.values())

    def record_outcome(self, run: Run, outcome: Outcome) -> None:
        """Record what becomes of the result of a run that is about to end."""
        self._outcomes[run] = outcome

    def run_succeeded(
        self, run: Run, held: Any, seconds: float, loads: int = 1
    ) -> None:
        outcome = self._outcomes.get(run)
        if outcome is None:
            TimedCache.run_succeeded(self, run, held, seconds, loads)
            return
        try:
            if self.runs.get(run.key) is run:
                held = self.hold(held, outcome.end, self.time())
            Cache.run_succeeded(self, run, held, outcome.seconds, outcome.loads)
        finally:
            self._outcomes.pop(run, None)

    def run_failed(self, run: Run, error: BaseException, failures: int = 1) -> None:
        outcome = self._outcomes.get(run)
        if outcome is not None:
            failures = outcome.loads
        try:
            super().run_failed(run, error, failures)
        finally:
            self._outcomes.pop(run, None)

    def put_held(self, key: Hashable, held: Any, run: Run | None) -> Any:
        dropped = super().put_held(key, held, run)
        outcome = None if run is None else self._outcomes.get(run)
        if dropped is None or outcome is None:
            return dropped
        return dropped, self._record_version(outcome.hash, key, outcome.version)

    def _record_version(self, hash_: str, key: Hashable, version: str) -> Any:
        """Record the version of a value; return what is dropped instead of it.

        Unequal keys may have one entry, such as two objects that are not a number. Only
        the last has a value, since messages tell of the entry.
        """
        former = self._versions.get(hash_)
        self._versions.add(hash_, key, version)
        if former is None or former.key is key or former.key == key:
            return None
        return self.remove_held(former.key)

    def clear_held(self) -> Any:
        self._versions.clear()
        return super().clear_held()

    def count(self, what: str) -> None:
        """Increment one of the counters of the tier, such as "hits"."""
        name = f"tier_{what}"
        with self.lock:
            setattr(self.counters, name, getattr(self.counters, name) + 1)

    # Changes made here

    def invalidate(self, key: Hashable) -> bool:
        self.invalidate_elsewhere(self.hash_of(key), new_token())
        return super().invalidate(key)

    def invalidate_elsewhere(self, hash_: str, version: str) -> None:
        """Drop the value of an entry on the server and in all other processes."""
        self._tell_others(Change((self.name, hash_), self.sender_id, version))

    def invalidate_where(self, predicate: Callable[..., object]) -> NoReturn:  # noqa: ARG002
        raise RuntimeError(
            f"cache_invalidate_where does not work on {self.name}, which has a tier: the "
            "server knows only hashes of arguments; call cache_invalidate or cache_clear"
        )

    def clear(self) -> None:
        self._tell_others(Change((self.name, None), self.sender_id, new_token()))
        super().clear()

    def put(self, key: Hashable, held: Any) -> None:
        hash_ = self.hash_of(key)
        loop = self.enter_loop()
        now = self.clock_of(loop)()
        end = self.end_of(held, now)
        packed = self.tier.codec.pack(held, self.name)
        if self._shares and not self.tier.will_send():
            end = min(end, now + LOCAL_TTL)
            packed = None  # others may change the entry before it could be sent
            self.tier.has_unheard_values = True
        if not now < end < inf:
            packed = None
        change = Change(
            (self.name, hash_), self.sender_id, new_token(), packed, end - now
        )
        with self.lock:
            dropped = self.bind(loop)
            replaced = self.replace(key, self.hold(held, end, now))
            other = self._record_version(hash_, key, change.version)
            if self._shares:
                self.tier.pending.add(change)
        if self._shares:
            self._announce(change)
        disown(dropped)
        disown(replaced)
        del dropped, replaced, other

    def _tell_others(self, change: Change) -> None:
        """Tell all others of a change."""
        if self._shares and not self._has_closed:
            self.tier.pending.add(change)
            self._announce(change)

    def _announce(self, change: Change) -> None:
        """Tell other caches of this function here at once, and others by the server."""
        _, hash_ = change.target
        kind = MessageKind.CLEARED if hash_ is None else MessageKind.CHANGED
        self.tier.dispatch(
            Message(kind, self.sender_id, change.version, "", hash_ or "*", self.name)
        )
        self.tier.wake()

    # Changes made elsewhere

    def on_message(self, message: Message) -> None:
        """Tell runs of *message*, and drop the values that it makes outdated."""
        is_cleared = message.kind is MessageKind.CLEARED
        for load in self.loads_of(None if is_cleared else message.hash):
            load.on_message(message)
        if message.sender_id == self.sender_id or message.kind in _NO_CHANGE:
            return
        if is_cleared:
            self.drop_values()
            return
        dropped = None
        with self.lock:
            known = self._versions.get(message.hash)
            if known is not None and known.version != message.version:
                dropped = self.remove_held(known.key)
        del dropped

    def drop_values(self) -> None:
        """Drop all values, but leave runs in flight alone."""
        with self.lock:
            dropped = self.clear_held()
        del dropped

    def invalidate_run(self, run: Run) -> None:
        """Make a run unjoinable, as its result is already outdated."""
        if run.joinable:  # pragma: no branch
            self.take_out(run)
            run.disown()

    def is_served_in(self, loop: AbstractEventLoop) -> bool:
        """Return whether this cache may answer calls in *loop*."""
        return self.loop is loop

    # The cache as a whole

    @property
    def tier_up(self) -> bool:
        return self.tier.is_up

    async def settled(self) -> None:
        if self.tier.pending.has_changes_of_function(self.name):
            self.tier.wake()
            await self.tier.pending.wait_for_function(self.name)

    async def close(self, *, wait: bool) -> None:
        await super().close(wait=wait)
        await self.tier.settle(self)
        self._has_closed = self.closed  # it may have been opened again
        await self.tier.close_unused_links()

    def reset(self) -> None:
        self._has_closed = False
        super().reset()

    def after_fork(self) -> None:  # pragma: no cover  # in a child
        """Become separate from the parent's cache, and connect when called."""
        self.tier.after_fork()
        super().after_fork()
        self._loads, self._loads_by_hash = {}, {}
        self.sender_id = new_token()
        self.drop_values()


class TieredStaleCache(TieredCache, StaleCache):
    """A first tier for one event loop that serves stale values or keeps failures."""

    @property
    def failures_kept(self) -> Mapping[type[Exception], float]:
        return self._grace.of_failures

    def end_of_failure(self, run: Run, error: BaseException) -> float | None:
        end = super().end_of_failure(run, error)
        outcome = self._outcomes.get(run)
        if end is None or outcome is None:
            return end
        end = min(end, outcome.end)
        return end if end > self.time() else None


class TieredSharedCache(TieredCache, SharedTimedCache):
    """A first tier for any number of event loops."""

    def is_served_in(self, loop: AbstractEventLoop) -> bool:  # noqa: ARG002
        return True


class TieredSharedStaleCache(TieredStaleCache, SharedStaleCache):
    """A first tier for any number of loops that serves stale values or keeps failures."""

    def is_served_in(self, loop: AbstractEventLoop) -> bool:  # noqa: ARG002
        return True


#: The tiered version of each type of cache.
TIERED_TYPES: Final[dict[Any, type[TieredCache]]] = {
    TimedCache: TieredCache,
    StaleCache: TieredStaleCache,
    SharedTimedCache: TieredSharedCache,
    SharedStaleCache: TieredSharedStaleCache,
}
