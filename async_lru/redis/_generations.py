"""The current generation of each function's entries."""

from collections.abc import Awaitable, Callable
from typing import Any

from ._commands import Commands, UnavailableError
from ._protocol import (
    GENERATION,
    EntryKeys,
    Keyspace,
    Message,
    MessageKind,
    new_token,
    text_of,
)


class Generations:
    """The generations that one event loop knows. ``cache_clear`` begins a new one.

    They are learned from answers to commands and from messages. These come on different
    connections, so an answer may be older than a message that arrived before it.
    """

    def __init__(self, commands: Commands, keyspace: Keyspace) -> None:
        self._commands = commands
        self._keyspace = keyspace
        self._known: dict[str, str] = {}
        #: How many times a generation has ended, or may have ended unnoticed.
        self.epoch = 0

    def forget(self) -> None:
        """Forget all generations: messages may have been missed."""
        self._known.clear()
        self.epoch += 1

    def forget_function(self, function: str) -> None:
        """Forget the generation of a function. Can be called from any thread."""
        self.epoch += 1
        self._known.pop(function, None)

    async def entry_keys(self, function: str, hash_: str) -> tuple[str, EntryKeys]:
        """Return the generation of a function, and the keys of one of its entries.

        Raises UnavailableError.
        """
        while (generation := self._known.get(function)) is None:
            await self.fetch(function)
        return generation, self._keyspace.entry_keys(function, generation, hash_)

    async def fetch(self, function: str) -> str:
        """Ask the server for the generation, even if it is known: it may be lost there.

        Raises UnavailableError.
        """
        default = self._known.get(function) or new_token()
        generation = await self._fetch(self._commands.run, function, default)
        if generation is None:
            raise UnavailableError  # the server is full
        return generation

    async def force_fetch(self, function: str, default: str) -> str:
        """Return the server's generation, even if commands are disabled.

        It becomes *default* if there was none.
        """
        # A full server may have none. A message with a new one makes others drop all.
        return await self._fetch(self._commands.force_run, function, default) or default

    async def _fetch(
        self, run: Callable[..., Awaitable[Any]], function: str, default: str
    ) -> str | None:
        """Return the server's generation: *default* if it had none, None if it is full."""
        epoch = self.epoch
        key = self._keyspace.generation_key(function)
        found: bytes | str | None = await run(GENERATION, [key], default)
        if found is None:
            return None
        self.record(function, found, epoch)
        return text_of(found)

    def known(self, function: str) -> str | None:
        """Return the generation of a function without asking the server, or None."""
        return self._known.get(function)

    def record(self, function: str, answer: "bytes | str", epoch: int) -> None:
        """Record the generation in an answer, unless an earlier message may be newer."""
        generation = text_of(answer)
        if epoch == self.epoch:
            self._known[function] = generation
        elif self._known.get(function) != generation:  # pragma: no branch
            self._known.pop(function, None)  # pragma: no cover  # heard just now

    def interpret(self, message: Message) -> Message:
        """Update the generation from *message*; return what it means for entries."""
        known = self._known.get(message.function)
        if message.kind is MessageKind.CLEARED:
            # The message may be late, and its generation have ended: ask the server.
            self.forget_function(message.function)
            return message
        if known in (None, message.generation) or message.kind is MessageKind.RELEASED:
            return message
        # Either the server lost the known generation and a process began a new one, which
        # no message announces, or this message is late. We cannot know which.
        self.forget_function(message.function)
        return message._replace(kind=MessageKind.CLEARED, version="", sender_id="")
