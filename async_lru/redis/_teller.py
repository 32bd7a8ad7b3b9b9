"""Sending the server what is due: changes made here, and leases to release."""

import asyncio
from typing import TYPE_CHECKING, Final

from async_lru._loops import call_soon_in

from ._commands import Commands
from ._protocol import CHANGE, CLEAR, RELEASE, Keyspace, Kind, Message, new_token

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ._generations import Generations
    from ._pending import Change, Pending

#: The most leases to release when contact is back; the others expire.
MOST_OWED: Final = 1000


class Teller:
    """Sends pending changes, and releases leases, as soon as there is contact."""

    def __init__(
        self,
        loop: "AbstractEventLoop",
        commands: Commands,
        generations: "Generations",
        pending: "Pending",
        keyspace: Keyspace,
    ) -> None:
        self._loop = loop
        self._commands = commands
        self._generations = generations
        self._pending = pending
        self._keyspace = keyspace
        self._changed = asyncio.Event()
        self._owed: dict[str, tuple[str, Message]] = {}

    # Changes

    def wake(self) -> None:
        """Send pending changes soon. Can be called from any thread."""
        call_soon_in(self._loop, self._changed.set)

    async def tell_changes_as_they_come(self) -> None:
        """Send changes to the server as they are made, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.tell_changes()

    async def tell_changes(self) -> None:
        """Send pending changes to the server until none is left."""
        while changes := self._pending.take():
            tasks = [self._commands.start(self._tell(change)) for change in changes]
            try:
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                self._pending.put_back(changes)
            for task in tasks:
                task.result()

    async def _tell(self, change: "Change") -> None:
        """Send a change, and record that the server has acknowledged it."""
        if change.target[1] is None:
            await self._tell_of_all(change)
        else:
            await self._tell_of_one(change)
        self._pending.acknowledge(change)

    async def _tell_of_all(self, change: "Change") -> None:
        function, _ = change.target
        token = new_token()
        message = Message(Kind.CLEARED, change.origin, token, token, "*", function)
        turn = self._generations.turn
        found = await self._commands.run_now(
            CLEAR,
            [self._keyspace.generation(function)],
            token,
            self._keyspace.channel,
            message.pack(),
        )
        self._generations.note(function, found, turn)

    async def _tell_of_one(self, change: "Change") -> None:
        function, _ = change.target
        generation = self._generations.get(function)
        if generation is None:
            generation = await self._generations.ask(function, new_token())
        told = None
        while told != generation:
            told = generation
            await self._tell_of_entry(change, told)
            # If the server lost the old one, a process may have begun a new one.
            generation = await self._generations.ask(function, told)

    async def _tell_of_entry(self, change: "Change", generation: str) -> None:
        function, hash_ = change.target
        assert hash_ is not None
        names = self._keyspace.entry(function, generation, hash_)
        message = Message(
            Kind.CHANGED, change.origin, change.version, generation, hash_, function
        )
        rest = [self._keyspace.channel, message.pack()]
        value, left = change.value()
        packed = change.version.encode() + value if value else b""
        # The server may store the value without our hearing of it, and others may change
        # the entry then. Putting the value again would undo their change.
        change.forget_value()
        await self._commands.run_now(CHANGE, [*names], packed, left, *rest)

    # Leases

    def owe(self, lease: str, token: str, message: Message) -> None:
        """Release a lease that may be ours, as soon as contact is back."""
        if (  # pragma: no branch
            not self._commands.are_sent and len(self._owed) < MOST_OWED
        ):
            self._owed[lease] = token, message

    async def give_back(self) -> None:
        """Release the leases of runs that ended without the server."""
        channel = self._keyspace.channel
        for lease, (token, message) in list(self._owed.items()):
            await self._commands.run_now(
                RELEASE, [lease], token, channel, message.pack()
            )
            del self._owed[lease]
