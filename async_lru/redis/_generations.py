"""Which generation of each function's entries is the one that counts."""

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
        """Know none any more: messages may have been missed."""
        self._known.clear()
        self.turn += 1

    def doubt(self, function: str) -> None:
        """Ask the server for the generation of a function next time: it may have lost it."""
        self._known.pop(function, None)

    async def names(self, function: str, hash_: str) -> tuple[str, Names]:
        """Return the generation of a function, and the keys of an entry.

        Raises UnavailableError.
        """
        while (generation := self._known.get(function)) is None:
            key = self._keyspace.generation(function)
            turn = self.turn
            found: bytes | str | None = await self._commands.run(
                GENERATION, [key], new_token()
            )
            if found is None:
                raise UnavailableError  # it is full
            self.note(function, found, turn)
        return generation, self._keyspace.entry(function, generation, hash_)

    async def ask(self, function: str, default: str) -> str:
        """Return the generation that the server has, or *default* from now on."""
        key = self._keyspace.generation(function)
        turn = self.turn
        found: bytes | str | None = await self._commands.run_now(
            GENERATION, [key], default
        )
        if found is None:  # a full server: what is told with another drops all
            return default
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
