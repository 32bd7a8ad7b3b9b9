"""What waits to be sent to the server: changes made here, and leases to release."""

import asyncio
from contextlib import suppress
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from async_lru._loops import call_soon_in

from ._commands import Commands, UnavailableError
from ._protocol import (
    CHANGE,
    CLEAR,
    RELEASE,
    STORE,
    EntryKeys,
    Message,
    MessageKind,
    new_token,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ._generations import Generations
    from ._hub import Hub
    from ._pending import Change

#: How many changes are sent at a time; others need room for their commands, too.
SENT_AT_ONCE: Final = 16

#: The most leases to release when contact is back; the others expire.
MAX_UNRELEASED: Final = 1000


class Outbox:
    """Sends pending changes and deferred releases of leases as soon as there is contact."""

    def __init__(
        self,
        loop: "AbstractEventLoop",
        commands: Commands,
        generations: "Generations",
        tier: "Hub",
    ) -> None:
        self._loop = loop
        self._commands = commands
        self._generations = generations
        self._tier = tier
        self._pending = tier.pending
        self._keyspace = tier.keyspace
        self._changed = asyncio.Event()
        self._unreleased: dict[str, tuple[str, Message]] = {}

    # Changes

    def wake(self) -> None:
        """Send pending changes soon. Can be called from any thread."""
        call_soon_in(self._loop, self._changed.set)

    async def flush_forever(self) -> None:
        """Send changes to the server whenever some are made."""
        while True:
            self._changed.clear()
            await self.flush()
            await self._changed.wait()

    async def flush(self, seconds: float = inf) -> None:
        """Send pending changes to the server until none is left, or for *seconds*."""
        end = self._loop.time() + seconds
        while self._loop.time() < end and (changes := self._pending.take(SENT_AT_ONCE)):
            tasks = [self._commands.start(self._send(change)) for change in changes]
            try:
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                self._pending.put_back(changes)
            for task in tasks:
                task.result()

    async def _send(self, change: "Change") -> None:
        """Send a change, and record that the server has acknowledged it."""
        if change.target[1] is None:
            await self._send_clear(change)
        else:
            await self._send_change(change)
        self._pending.acknowledge(change)

    async def _send_clear(self, change: "Change") -> None:
        """Begin a new generation of a function."""
        function, _ = change.target
        token = new_token()
        message = Message(
            MessageKind.CLEARED, change.sender_id, token, token, "*", function
        )
        epoch = self._generations.epoch
        found = await self._commands.force_run(
            CLEAR,
            [self._keyspace.generation_key(function)],
            token,
            self._keyspace.channel,
            message.pack(),
        )
        self._generations.record(function, found, epoch)
        self._tier.forget_generation(function, but=self._generations)

    async def _send_change(self, change: "Change") -> None:
        """Put or invalidate an entry in the current generation of its function."""
        function, _ = change.target
        generation = self._generations.known(function)
        if generation is None:
            generation = await self._generations.force_fetch(function, new_token())
        sent_in = None
        while sent_in != generation:
            sent_in = generation
            await self._send_in_generation(change, sent_in)
            # If the server lost the old one, a process may have begun a new one.
            generation = await self._generations.force_fetch(function, sent_in)

    async def _send_in_generation(self, change: "Change", generation: str) -> None:
        function, hash_ = change.target
        assert hash_ is not None
        keys = self._keyspace.entry_keys(function, generation, hash_)
        message = Message(
            MessageKind.CHANGED,
            change.sender_id,
            change.version,
            generation,
            hash_,
            function,
        )
        if not change.has_value:
            await self._change(keys, message, "", 0)
            return
        try:
            await self._put(change, keys, message)
        except asyncio.CancelledError:
            with suppress(UnavailableError):
                await self._release(keys.lease, change.version, message)
            raise

    async def _change(
        self, keys: EntryKeys, message: Message, token: str, lease: int
    ) -> None:
        await self._commands.force_run(
            CHANGE, [*keys], self._keyspace.channel, message.pack(), token, lease
        )

    async def _put(self, change: "Change", keys: EntryKeys, message: Message) -> None:
        """Store a value like that of a run: take the lease, then show it."""
        version = change.version
        lease = int(self._tier.lease * 1000)
        value, left = change.value()
        # The server may store the value without our hearing of it, and others may change
        # the entry then. Putting the value again would undo their change.
        change.turn_into_invalidation()
        began = self._loop.time()
        await self._change(keys, message, version, lease)
        left -= int((self._loop.time() - began) * 1000)
        stored = 0
        try:
            if left > 0:  # pragma: no branch  # its lifetime may have ended
                told = message._replace(kind=MessageKind.STORED).pack()
                stored = await self._commands.force_run(
                    STORE,
                    [*keys],
                    version,
                    version.encode() + value,
                    left,
                    self._keyspace.channel,
                    told,
                    "0",
                    lease + 1,
                )
        except UnavailableError:
            pass  # the server may be full, and then the lease can be released
        if not stored:
            await self._release(keys.lease, version, message)
            # Nobody else has the value, so it must not stay here.
            self._tier.dispatch(message._replace(sender_id="", version=""))

    async def _release(self, lease: str, token: str, message: Message) -> None:
        told = message._replace(kind=MessageKind.RELEASED).pack()
        await self._commands.force_run(
            RELEASE, [lease], token, self._keyspace.channel, told
        )

    # Leases

    def defer_release(self, lease: str, token: str, message: Message) -> None:
        """Release a lease, which may be ours, as soon as contact is back."""
        if (  # pragma: no branch
            not self._commands.enabled and len(self._unreleased) < MAX_UNRELEASED
        ):
            self._unreleased[lease] = token, message

    async def release_deferred(self) -> None:
        """Release the leases of runs that ended without the server."""
        while self._unreleased:
            taken = list(islice(self._unreleased.items(), SENT_AT_ONCE))
            await asyncio.gather(
                *(self._release(lease, *released) for lease, released in taken)
            )
            for lease, _ in taken:
                del self._unreleased[lease]
