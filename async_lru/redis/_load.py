"""How a run asks the tier, and what it does with the answer."""

import asyncio
from asyncio import AbstractEventLoop, TimerHandle
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from async_lru._deadlock import waits_for
from async_lru._loops import call_in, runs_here
from async_lru._runs import Function, Run

from ._codecs import UnreadableError, pack_failure
from ._commands import UnavailableError
from ._link import Link
from ._protocol import (
    ACQUIRE,
    MAX_MILLISECONDS,
    RELEASE,
    RENEW,
    STORE,
    TOKEN_SIZE,
    EntryKeys,
    Message,
    MessageKind,
    new_token,
    text_of,
)
from ._waiting import wait_or_cancel, wait_without_cancelling
from ._watch import Watch

if TYPE_CHECKING:
    from ._cache import TieredCache

#: Seconds that a value made without the server is kept.
LOCAL_TTL: Final = 2.0

#: Seconds added to what is left of another run's lease before asking again.
MARGIN: Final = 0.01


class Outcome(NamedTuple):
    """What becomes of the result or the failure of a run."""

    hash: str
    version: str
    #: When it expires at the latest, by the cache's clock; -inf if it is not kept.
    end: float
    #: 1 if it was made here, else 0; and how many seconds that took.
    loads: int = 1
    seconds: float = 0.0


class Load:
    """Asks the server on behalf of one run, and stores the result.

    Asks for the value or the lease of the entry, and waits while another run holds the
    lease. With the lease, it runs the function and stores the result, unless the lease was
    lost meanwhile. If the server does not answer, it runs the function without a lease.
    """

    def __init__(self, cache: "TieredCache", run: Run, hash_: str) -> None:
        self._cache = cache
        self.run = run
        self.hash = hash_
        self._token = new_token()
        self._watch = Watch()
        #: Whether the result depends on what the entry was like some time ago.
        self._has_seen = False
        self._refreshes = False
        #: Whether any value on the server will do.
        self._any_value = True
        self._seconds = 0.0

    def on_message(self, message: Message) -> None:
        """Hear what has happened to the entry. Can be called from any thread."""
        is_here = runs_here(self.run.loop)
        is_own = message.sender_id == self._cache.sender_id
        if message.kind is not MessageKind.RELEASED:
            if message.is_local or not is_here:
                # This loop's own link may tell of it too late, or end before it does.
                self._watch.doubt()
            if not is_own:
                self.on_change()
        if is_here and not message.is_local:
            self._watch.record(message)
        if is_here:  # pragma: no branch  # else its own link will tell it
            self._watch.wake()

    def on_change(self) -> None:
        """Hear that another cache changed the entry. Can be called from any thread.

        If another run has stored its outcome, the run here has lost its lease.
        """
        if self._has_seen:
            self._cache.invalidate_run(self.run)

    async def execute(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Return the result of the entry, or raise its failure."""
        link = self._cache.tier.link()
        link.watches.add(self._watch)
        try:
            try:
                found = await self._find_or_acquire(link)
            except UnavailableError:
                found = None  # called below: failures would chain to this
            if found is None:
                return await self._call_without_lease(link, function, args, kwargs)
            if isinstance(found, EntryKeys):
                return await self._call_with_lease(link, found, function, args, kwargs)
            return _result_of(found)
        finally:
            link.watches.remove(self._watch)
            found = None  # a failure's traceback holds this frame

    # Asking

    def look_again(self) -> None:
        """Ask the server again, as a call from a run has joined this run."""
        call_in(self.run.loop, self._watch.wake)

    def refresh(self) -> None:
        """Require a result that is newer than this call."""
        self._refreshes = True
        self._any_value = False

    async def _find_or_acquire(self, link: Link) -> Any:
        """Return the entry's result and failure, or its keys if the run has the lease."""
        cache = self._cache
        if not await link.ready():
            raise UnavailableError
        has_waited = False
        end = cache.time() + cache.tier.timeout
        while True:
            if cache.time() >= end:
                raise UnavailableError  # the entry is changed too often to ask
            self._watch.reset()
            if cache.tier.pending.has_changes_of_entry(cache.name, self.hash):
                await self._settle(link)
                continue
            asked = cache.time()
            try:
                keys, reply = await self._acquire(link)
            except UnavailableError:
                cache.count("errors")
                raise
            if reply is None:
                if not self._watch.is_outdated(self._token):
                    cache.count("misses")
                    return keys
                # It may have been cleared, and then nobody reads these keys: ask again.
                await self._release(link, keys)
            elif isinstance(reply[0], int):
                if self._is_awaited_by_another():
                    raise UnavailableError
                if not has_waited:
                    cache.count("waits")
                has_waited = True
                await self._wait(link, *reply)
                end = cache.time() + cache.tier.timeout
            else:
                found = self._read(reply, asked)
                if found is not None:
                    return found

    def _is_awaited_by_another(self) -> bool:
        """Return whether a run of this entry in another cache here waits for this run.

        That one may have the lease, and would wait for itself.
        """
        task = asyncio.current_task()
        assert task is not None
        tier = self._cache.tier
        return any(
            load is not self and waits_for(load.run, (self.run, task))
            for load in tier.loads_of(self._cache.name, self.hash)
        )

    async def _acquire(self, link: Link) -> tuple[EntryKeys, Any]:
        """Ask for the value or the lease; return the keys and the answer."""
        cache = self._cache
        if self._refreshes:  # all must find the result of a refresh
            await link.generations.fetch(cache.name)
        self._generation, keys = await link.generations.entry_keys(
            cache.name, self.hash
        )
        lease = int(cache.tier.lease * 1000)
        wanted = "0" if self._any_value else "1"
        try:
            return keys, await link.commands.run(
                ACQUIRE, [*keys], self._token, lease, wanted
            )
        except asyncio.CancelledError:
            await self._release(link, keys)  # the lease may be ours
            raise
        except UnavailableError:  # here, too, it may be ours
            link.outbox.defer_release(
                keys.lease, self._token, self._message(MessageKind.RELEASED)
            )
            raise

    async def _wait(self, link: Link, milliseconds: int, holder: Any) -> None:
        """Wait until another run ends, or its lease does."""
        await self._watch.wait(link.loop, milliseconds / 1000 + MARGIN)
        if self._watch.has_heard_of(text_of(holder)):
            self._any_value = True  # the other run's result is new enough

    async def _settle(self, link: Link) -> None:
        """Wait until the server has acknowledged the changes made here."""
        cache = self._cache
        cache.tier.wake()
        try:
            await wait_or_cancel(
                cache.tier.pending.wait_for_entry(cache.name, self.hash),
                cache.tier.timeout,
            )
        except TimeoutError:
            raise UnavailableError from None
        if not link.is_up:  # pragma: no cover
            raise UnavailableError

    def _read(self, reply: Any, asked: float) -> Any:
        """Return the result and failure in *reply*, or None if they are unusable."""
        cache = self._cache
        packed, left = reply
        if isinstance(packed, str):
            packed = packed.encode("utf-8", "surrogateescape")
        version = packed[:TOKEN_SIZE].decode("latin-1")
        end = asked + left / 1000
        found = None
        self._has_seen = True
        if not self._watch.is_outdated(version) and end > cache.time():
            try:
                found = cache.tier.codec.unpack(
                    packed[TOKEN_SIZE:], cache.failures_kept
                )
            except UnreadableError:
                cache.count("errors")
                self._any_value = False
        if found is None or not self._any_value:  # a refresh may have joined meanwhile
            self._has_seen = False
            return None
        cache.count("hits")
        cache.record_outcome(self.run, Outcome(self.hash, version, end, loads=0))
        return found

    # Running the function

    async def _call_without_lease(
        self, link: Link, function: Function, args: Any, kwargs: Any
    ) -> Any:
        """Run the function without a lease; the result is kept only briefly."""
        cache = self._cache
        was_up = link.is_up
        try:
            value = await self._run_function(function, args, kwargs)
            cache.tier.codec.pack(value, cache.name)
            now = cache.time()
            end = cache.end_of(value, now)
        except Exception:
            self._record_outcome(cache.time() + LOCAL_TTL)
            raise
        # What happened before contact was back has not been heard.
        has_missed = link.is_up and not was_up
        self._record_outcome(-inf if has_missed else min(end, now + LOCAL_TTL))
        self._end_old_value()
        return value

    async def _call_with_lease(
        self, link: Link, keys: EntryKeys, function: Function, args: Any, kwargs: Any
    ) -> Any:
        """Run the function with the lease; store and return its result."""
        renewal = Renewal(link, keys, self._token, self._cache.tier.lease)
        is_over = False
        try:
            value = await self._run_function(function, args, kwargs)
            await self._store(link, keys, value, renewal)
            is_over = True
            return value  # noqa: TRY300  # the lease is released below
        except GeneratorExit:  # pragma: no cover  # nothing can be awaited any more
            is_over = True
            raise
        except Exception as error:
            is_over = await self._store_failure(link, keys, error, renewal)
            if not is_over:
                self._record_outcome(inf)  # as long as the cache itself keeps failures
            raise
        finally:
            renewal.stop()
            if not is_over:
                await self._release(link, keys)

    async def _run_function(self, function: Function, args: Any, kwargs: Any) -> Any:
        """Run the function and time it; changes to the entry matter from now on."""
        self._has_seen = True
        started = self._cache.time()
        value = await function(*args, **kwargs)
        self._seconds = self._cache.time() - started
        return value

    def _record_outcome(self, end: float) -> None:
        outcome = Outcome(self.hash, self._token, end, 1, self._seconds)
        self._cache.record_outcome(self.run, outcome)

    async def _store(
        self, link: Link, keys: EntryKeys, value: Any, renewal: "Renewal"
    ) -> None:
        """Store a result, or release the lease if the result is not to be stored."""
        cache = self._cache
        now = cache.time()
        end = cache.end_of(value, now)
        packed = cache.tier.codec.pack(value, cache.name)
        if packed is None or not now < end < inf or not self.run.joinable:
            await self._release(link, keys)
            self._end_old_value()
        else:
            message = self._message(MessageKind.STORED)
            end = await self._send(link, keys, packed, end, message, renewal)
        self._record_outcome(end)

    def _end_old_value(self) -> None:
        """Called when the result is not stored: after a refresh, nobody gets an older one."""
        if self._refreshes and self.run.joinable:
            self._cache.invalidate_elsewhere(self.hash, self._token)

    async def _send(  # noqa: PLR0917
        self,
        link: Link,
        keys: EntryKeys,
        packed: bytes,
        end: float,
        message: Message,
        renewal: "Renewal",
    ) -> float:
        """Store a result on the server; return when it expires in the first tier."""
        cache = self._cache
        left = await renewal.left()
        now = cache.time()
        try:
            stored = await link.commands.run(
                STORE,
                [*keys],
                self._token,
                self._token.encode() + packed,
                min(max(int((end - now) * 1000), 1), MAX_MILLISECONDS),
                cache.tier.keyspace.channel,
                message.pack(),
                "1" if self._refreshes else "0",
                left,
            )
        except UnavailableError:
            cache.count("errors")
            await self._release(link, keys)
            self._end_old_value()
            return min(end, now + LOCAL_TTL)
        if stored and not await self._is_lost(link):
            return end
        cache.count("refused")
        self._end_old_value()
        return -inf

    async def _is_lost(self, link: Link) -> bool:
        """Return whether a refresh was stored in a generation that has ended.

        If the server lost that one, a process may have begun another, in which an older
        value would live on.
        """
        if not self._refreshes:
            return False
        try:
            return await link.generations.fetch(self._cache.name) != self._generation
        except UnavailableError:  # pragma: no cover  # contact was lost just now
            return True

    async def _store_failure(
        self, link: Link, keys: EntryKeys, error: Exception, renewal: "Renewal"
    ) -> bool:
        """Store a failure that is to be kept; return False if this one is not."""
        cache = self._cache
        packed = pack_failure(error, cache.failures_kept)
        # A refresh that fails leaves the old value alone.
        if packed is None or not self.run.joinable or self._refreshes:
            return False
        end = cache.time() + cache.failures_kept[type(error)]
        message = self._message(MessageKind.FAILED)
        end = await self._send(link, keys, packed, end, message, renewal)
        self._record_outcome(end)
        return True

    async def _release(self, link: Link, keys: EntryKeys) -> None:
        """Release the lease, so that no other run waits until it expires."""
        message = self._message(MessageKind.RELEASED)
        channel = self._cache.tier.keyspace.channel
        try:
            await link.commands.run(
                RELEASE, [keys.lease], self._token, channel, message.pack()
            )
        except UnavailableError:
            self._cache.count("errors")
            link.outbox.defer_release(keys.lease, self._token, message)

    def _message(self, kind: MessageKind) -> Message:
        cache = self._cache
        return Message(
            kind, cache.sender_id, self._token, self._generation, self.hash, cache.name
        )


def _result_of(found: "tuple[Any, BaseException | None]") -> Any:
    """Return the result that was found, or raise the failure."""
    value, failure = found
    if failure is None:
        return value
    try:
        raise failure
    finally:
        del failure, found  # its traceback holds this frame


class Renewal:
    """Renews a lease while its run is in flight. A blocked loop does not renew it."""

    def __init__(self, link: Link, keys: EntryKeys, token: str, lease: float) -> None:
        self._link = link
        self._keys = keys
        self._token = token
        self._lease = lease
        self._tasks: set[asyncio.Task[None]] = set()
        #: When we learned that the lease was taken or renewed.
        self._since = link.loop.time()
        self._timer = self._set_timer(link.loop)

    def _set_timer(self, loop: AbstractEventLoop) -> TimerHandle:
        return loop.call_later(self._lease / 3, self._renew, context=Context())

    def _renew(self) -> None:
        loop = self._link.loop
        self._timer = self._set_timer(loop)
        task = loop.create_task(self._send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        milliseconds = int(self._lease * 1000)
        try:
            await self._link.commands.run(
                RENEW, [self._keys.lease], self._token, milliseconds
            )
        except UnavailableError:  # pragma: no cover  # the next may succeed
            return
        self._since = self._link.loop.time()

    async def left(self) -> int:
        """Stop renewing; return the most milliseconds that the lease can have left."""
        self.stop()
        for task in list(self._tasks):  # pragma: no cover  # one is in flight
            await wait_without_cancelling(task, self._lease)
        return int((self._lease - (self._link.loop.time() - self._since)) * 1000) + 1

    def stop(self) -> None:
        """Stop renewing the lease."""
        self._timer.cancel()
