"""Which generation of each function's entries is the one that counts."""

from collections.abc import Awaitable, Callable
from typing import Any

from ._commands import Commands, UnavailableError
from ._protocol import GENERATION, Keyspace, Kind, Message, Names, new_token


class Generations:
    """What one event loop knows of the generations, which ``cache_clear`` changes.

    They are learned from answers to commands and from messages, which come on different
    connections: an answer may be older than a message that was heard before it.
    """

    def __init__(self, commands: Commands, keyspace: Keyspace) -> None:
        self._commands = commands
        self._keyspace = keyspace
        self._known: dict[str, str] = {}
        #: How often one was heard to have ended, or may have without our hearing.
        self.turn = 0

    def forget(self) -> None:
        """Forget all generations: messages may have been missed."""
        self._known.clear()
        self.turn += 1

    async def names(self, function: str, hash_: str) -> tuple[str, Names]:
        """Return the generation of a function, and the keys of an entry.

        Raises UnavailableError.
        """
        while (generation := self._known.get(function)) is None:
            await self.confirm(function)
        return generation, self._keyspace.entry(function, generation, hash_)

    async def confirm(self, function: str) -> None:
        """Ask the server for the generation, known or not: it may have lost it.

        Raises UnavailableError.
        """
        default = self._known.get(function) or new_token()
        if await self._ask(self._commands.run, function, default) is None:
            raise UnavailableError  # it is full

    async def ask(self, function: str, default: str) -> str:
        """Return the generation that the server has, or *default* from now on."""
        # A full server may have none. A message with a new one makes others drop all.
        return await self._ask(self._commands.run_now, function, default) or default

    async def _ask(
        self, run: Callable[..., Awaitable[Any]], function: str, default: str
    ) -> str | None:
        """Return what the server has; *default* if it had none, or None if it is full."""
        turn = self.turn
        key = self._keyspace.generation(function)
        found: bytes | str | None = await run(GENERATION, [key], default)
        if found is None:
            return None
        self.note(function, found, turn)
        return _text(found)

    def get(self, function: str) -> str | None:
        """Return the generation of a function, if it is known."""
        return self._known.get(function)

    def note(self, function: str, answer: "bytes | str", turn: int) -> None:
        """Keep what an answer says, unless a message that came first may be newer."""
        generation = _text(answer)
        if turn == self.turn:
            self._known[function] = generation
        elif self._known.get(function) != generation:  # pragma: no branch
            self._known.pop(function, None)  # pragma: no cover  # heard just now

    def hear(self, message: Message) -> Message:
        """Take note of what *message* tells; return what it means for entries."""
        known = self._known.get(message.function)
        if message.kind is Kind.CLEARED:
            self._known[message.function] = message.generation
            self.turn += 1
            return message
        if known in (None, message.generation):
            return message
        # The server has lost what is known, and somebody has begun anew, which is told by
        # nobody; or the message is late. Which one cannot be known.
        del self._known[message.function]
        self.turn += 1
        return message._replace(kind=Kind.CLEARED, version="", origin="")


def _text(answer: "bytes | str") -> str:
    return answer if isinstance(answer, str) else answer.decode()
