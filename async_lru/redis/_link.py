"""The contact that one event loop has with the server."""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from redis.exceptions import (
    MaxConnectionsError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from async_lru._loops import begins_at_once

from ._protocol import (
    CHANGE,
    CLEAR,
    GENERATION,
    RELEASE,
    Kind,
    Message,
    Names,
    Script,
    new_token,
)
from ._waiting import Patience, at_most, call_in_loop, within
from ._watch import Watches

if TYPE_CHECKING:
    from . import RedisTier
    from ._pending import Change

logger = logging.getLogger("async_lru.redis")

#: Seconds of silence after which the server is asked whether it is still there.
PING: Final = 2.0

#: Seconds between two attempts to get in contact again.
RETRY: Final = 0.5

#: Seconds that an attempt to get in contact may take; calls do not wait for it so long.
CONNECT: Final = 5.0

#: Leases that are given back when contact was made again; the others end by themselves.
MOST_OWED: Final = 1000

#: Commands that are on their way at the same time, each on a connection.
MOST_COMMANDS: Final = 32


#: The answer to a command, and the error if there is none.
_Reply: TypeAlias = "tuple[Any, BaseException | None]"


class UnavailableError(Exception):
    """The server does not answer, or refuses: do without it."""


#: What is raised where a server does not answer.
_OUTAGES: Final = (
    UnavailableError,
    RedisError,
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
)


class Link:
    """A client of the server in one event loop, and what keeps it in contact.

    It is up while the server answers and has told all that was missed. Belongs to the
    thread of its loop, except for ``wake`` and ``close_soon``.
    """

    def __init__(self, tier: "RedisTier", loop: AbstractEventLoop) -> None:
        self._tier = tier
        self.loop = loop
        self.up = False
        self.closed = False
        #: Whether it has ever been up, or has failed to be.
        self._tried = loop.create_future()
        self._was_down = False
        self._client: Any = None
        self._generations: dict[str, str] = {}
        #: How often a generation was heard to have ended, or may have without our hearing.
        self._turns = 0
        self.watches = Watches()
        self._slots = asyncio.Semaphore(MOST_COMMANDS)
        self._commands: set[Task[Any]] = set()
        self._failure: Future[BaseException] = loop.create_future()
        self._changed = asyncio.Event()
        self._heard_at = 0.0
        self._owed: dict[str, tuple[str, Message]] = {}
        self._start_command = _starter(loop)
        self._main = loop.create_task(self._serve())

    @property
    def is_broken(self) -> bool:
        """Whether the server is known not to answer."""
        return self._tried.done() and not self.up

    # Being in contact

    async def ready(self) -> bool:
        """Tell whether the server answers; waits for the first answer for a moment."""
        if not self.up and not self._tried.done():
            await within(self._tried, self._tier.timeout)
            if not self._tried.done():
                self._tried.set_result(None)  # nobody else waits
                self._note_down(TimeoutError("no connection within the timeout"))
        return self.up

    async def _serve(self) -> None:
        """Get in contact, and stay so, until the link is closed."""
        try:
            while True:
                try:
                    await self._session()
                except Exception as error:  # noqa: BLE001  # it is told, and tried again
                    self._note_down(error)
                await asyncio.sleep(RETRY)
        finally:
            self.closed = True
            self.up = False
            if not self.loop.is_closed():
                self.watches.wake_all()
                if not self._tried.done():
                    self._tried.set_result(None)
            self._tier.forget(self)

    async def _session(self) -> None:
        """Get in contact, make up for what was missed, and listen until contact is lost."""
        self._failure = self.loop.create_future()
        client = self._client = self._tier.make_client()
        pubsub = None
        tasks: list[Task[None]] = []
        is_freed = False
        try:
            await at_most(CONNECT, client.initialize())
            pubsub = client.pubsub()
            await at_most(CONNECT, self._subscribe(pubsub))
            self._generations.clear()
            self._turns += 1
            self.watches.lose()
            if self._was_down:
                # Others that are up may not know yet that they are not.
                self._tier.drop_held(self.loop)
            else:
                self._tier.drop_missed(self.loop)
            tasks.append(self._start(self._listen(pubsub)))
            tasks.append(self._start(self._ping(pubsub)))
            await at_most(CONNECT, self._tell_changes())
            await at_most(CONNECT, self._give_back())
            self._note_up()
            tasks.append(self._start(self._tell_changes_as_they_come()))
            try:
                raise await self._failure
            except asyncio.CancelledError:  # runs that are, too, give their leases back
                await within(self.watches.emptied(), self._tier.timeout)
                raise
        except GeneratorExit:  # nothing can be awaited any more
            is_freed = True
            raise
        finally:
            self.up = False
            if not is_freed:
                self.watches.wake_all()
                for task in tasks:
                    task.cancel()
                await self._end(tasks, pubsub, client)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> "Task[None]":
        """Start what contact is lost without."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._note_end)
        return task

    async def _end(self, tasks: "list[Task[None]]", pubsub: Any, client: Any) -> None:
        """Let commands finish that are on their way, for a moment, and close the client.

        When this is cancelled it does the latter at once. What does not end is cancelled
        first: the client may try again, on connections that nobody would close.
        """
        tasks = [*tasks, *self._commands]
        try:
            await self._wait_for_end(tasks)
        finally:
            for task in tasks:
                task.cancel()
            for part in (pubsub, client):
                if part is not None:
                    try:
                        await at_most(self._tier.timeout, part.aclose())
                    except _OUTAGES:
                        pass
            await self._wait_for_end(tasks)

    async def _wait_for_end(self, tasks: "Collection[Task[Any]]") -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=self._tier.timeout)

    async def _subscribe(self, pubsub: Any) -> None:
        await pubsub.subscribe(self._tier.keyspace.channel)
        while True:
            message = await pubsub.get_message(timeout=CONNECT)
            if message is not None and message["type"] == "subscribe":
                return

    async def _listen(self, pubsub: Any) -> None:
        """Pass messages on until contact is lost."""
        async for message in pubsub.listen():
            self._heard_at = self.loop.time()
            if message["type"] == "message":
                self._hear(message["data"])
            elif message["type"] == "subscribe":
                # The client has connected again by itself, and may have missed some.
                raise ConnectionError("the subscription was interrupted")

    async def _ping(self, pubsub: Any) -> None:
        """Ask the server now and then whether it is still there."""
        while True:
            await asyncio.sleep(PING)
            asked = self.loop.time()
            await pubsub.ping()
            await asyncio.sleep(self._tier.timeout)
            if self._heard_at < asked:  # once more, in case that the loop was blocked
                await asyncio.sleep(self._tier.timeout)
            if self._heard_at < asked:
                raise TimeoutError("no answer to a ping")

    def _note_end(self, task: "Task[None]") -> None:
        """Lose contact when what is needed for it has ended."""
        if not task.cancelled():
            self._lose_contact(task.exception() or ConnectionError("ended"))

    def _lose_contact(self, error: BaseException) -> None:
        self.up = False
        if not self._failure.done():
            self._failure.set_result(error)
        self.watches.wake_all()

    def _note_up(self) -> None:
        self.up = True
        if self._was_down:
            logger.info("%r: in contact with the server again", self._tier)
        self._was_down = False
        if not self._tried.done():
            self._tried.set_result(None)

    def _note_down(self, error: BaseException) -> None:
        self.up = False
        if not self._was_down:
            logger.warning(
                "%r: no contact with the server, so each process caches for itself: %s",
                self._tier,
                type(error).__name__,
                # What the callable raises that makes the client is for its author to see.
                exc_info=None if isinstance(error, _OUTAGES) else error,
            )
        self._was_down = True
        if not self._tried.done():
            self._tried.set_result(None)

    # Commands

    async def run(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Have the server run a script, and return its answer.

        When the caller is cancelled it waits for the end of the command all the same,
        for a moment: an answer that nobody reads would be taken for that of the next.

        Raises UnavailableError.
        """
        async with self._slots:
            if not self.up:
                raise UnavailableError
            return await self._run(script, keys, args)

    async def _run(self, script: Script, keys: list[str], args: Any) -> Any:
        reply: Future[_Reply] = self.loop.create_future()
        command = self._execute(reply, script, keys, args)
        task = self._start_command(command)
        if not task.done():
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)
        timeout = self._tier.timeout
        patience = Patience(self.loop, timeout, partial(self._give_up, reply))
        try:
            value, error = await reply
        except asyncio.CancelledError:
            await within(task, timeout)  # it may have taken a lease
            raise
        finally:
            patience.end()
        if error is not None:
            raise UnavailableError from error
        return value

    async def _execute(
        self, reply: "Future[_Reply]", script: Script, keys: list[str], args: Any
    ) -> None:
        """Send a command, to its end, whoever still waits for the answer."""
        value: Any = None
        error: BaseException | None = None
        client = self._client
        try:
            try:
                value = await client.evalsha(script.sha, len(keys), *keys, *args)
            except NoScriptError:
                value = await client.eval(script.text, len(keys), *keys, *args)
        except asyncio.CancelledError as caught:  # the loop is about to end
            error = caught
            raise
        except Exception as caught:  # noqa: BLE001  # whatever it is, there is no answer
            error = caught
            refuses = isinstance(error, (ResponseError, MaxConnectionsError))
            if not refuses and client is self._client:
                self._lose_contact(error)
        finally:
            if not reply.done():
                reply.set_result((value, error))
            del reply, error  # whose traceback holds this frame

    def _give_up(self, reply: "Future[_Reply]") -> None:
        """Take the server for down."""
        if not reply.done():
            error = TimeoutError("no answer within the timeout")
            self._lose_contact(error)
            reply.set_result((None, error))

    async def names(self, function: str, hash_: str) -> tuple[str, Names]:
        """Return the generation of a function, and the keys of an entry.

        Raises UnavailableError.
        """
        keyspace = self._tier.keyspace
        while (generation := self._generations.get(function)) is None:
            async with self._slots:
                if not self.up:
                    raise UnavailableError
                if await self._ask_generation(function, new_token()) is None:
                    raise UnavailableError
        return generation, keyspace.entry(function, generation, hash_)

    async def _ask_generation(self, function: str, default: str) -> str | None:
        """Return the generation of a function, or None if the server has no room for one."""
        key = self._tier.keyspace.generation(function)
        turns = self._turns
        found: bytes | str | None = await self._run(GENERATION, [key], [default])
        if found is None:
            return None
        generation = found if isinstance(found, str) else found.decode()
        self._note_generation(function, generation, turns)
        return generation

    def _note_generation(self, function: str, generation: str, turns: int) -> None:
        """Keep what an answer says, unless a message that came first may be newer."""
        if turns == self._turns:
            self._generations[function] = generation
        elif self._generations.get(function) != generation:
            self._generations.pop(function, None)

    # Messages

    def _hear(self, packed: bytes | str) -> None:
        message = Message.unpack(packed)
        if message is None:
            return
        known = self._generations.get(message.function)
        if message.kind is Kind.CLEARED:
            self._generations[message.function] = message.generation
            self._turns += 1
        elif known not in (None, message.generation):
            # The server has lost it and somebody has begun anew, as clearing does.
            del self._generations[message.function]
            self._turns += 1
            message = message._replace(kind=Kind.CLEARED)
        self.watches.tell(message)
        self._tier.tell(message)

    # What was changed here

    def wake(self) -> None:
        """Have the server told of what was changed, from any thread."""
        call_in_loop(self.loop, self._changed.set)

    async def _tell_changes_as_they_come(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._tell_changes()

    async def _tell_changes(self) -> None:
        """Tell the server of what was changed, until nothing is left to be told."""
        pending = self._tier.pending
        while changes := pending.take():
            tasks = [self.loop.create_task(self._tell(change)) for change in changes]
            for task in tasks:
                self._commands.add(task)
                task.add_done_callback(self._commands.discard)
            try:
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                pending.put_back(changes)
            for task in tasks:
                task.result()

    async def _tell(self, change: "Change") -> None:
        """Tell the server of a change until it has acknowledged it."""
        async with self._slots:
            if change.target[1] is None:
                await self._tell_of_all(change)
            else:
                await self._tell_of_one(change)
        self._tier.pending.acknowledge(change)

    async def _tell_of_all(self, change: "Change") -> None:
        function, _ = change.target
        keyspace = self._tier.keyspace
        token = new_token()
        message = Message(Kind.CLEARED, change.origin, token, token, "*", function)
        rest = [token, keyspace.channel, message.pack()]
        turns = self._turns
        found: bytes | str
        found = await self._run(CLEAR, [keyspace.generation(function)], rest)
        generation = found if isinstance(found, str) else found.decode()
        self._note_generation(function, generation, turns)

    async def _tell_of_one(self, change: "Change") -> None:
        function, _ = change.target
        generation = self._generations.get(function)
        if generation is None:
            # Without room for one there is nothing to drop, and the message makes all
            # others drop everything, since theirs is another.
            token = new_token()
            generation = await self._ask_generation(function, token) or token
        told = None
        while told != generation:
            told = generation
            await self._tell_of_entry(change, told)
            # Somebody may have begun a new one, if the server has lost the old one.
            generation = await self._ask_generation(function, told) or told

    async def _tell_of_entry(self, change: "Change", generation: str) -> None:
        function, hash_ = change.target
        assert hash_ is not None
        keyspace = self._tier.keyspace
        names = keyspace.entry(function, generation, hash_)
        message = Message(
            Kind.CHANGED, change.origin, change.version, generation, hash_, function
        )
        rest = [keyspace.channel, message.pack()]
        value, left = change.value()
        packed = change.version.encode() + value if value else b""
        # The server may do what we do not hear of, and others may change the entry then:
        # to put the value once more would undo that.
        change.forget_value()
        try:
            await self._run(CHANGE, [*names], [packed, left, *rest])
        except UnavailableError as error:
            if not value or not isinstance(error.__cause__, ResponseError):
                raise
            # There is no room for it.
            await self._run(CHANGE, [*names], [b"", 0, *rest])

    # Leases

    def owe(self, lease: str, token: str, message: Message) -> None:
        """Give back a lease that may be held, as soon as there is contact again."""
        if not self.up and len(self._owed) < MOST_OWED:
            self._owed[lease] = token, message

    async def _give_back(self) -> None:
        """Give back what runs could not that ended without the server."""
        channel = self._tier.keyspace.channel
        for lease, (token, message) in list(self._owed.items()):
            await self._run(RELEASE, [lease], (token, channel, message.pack()))
            del self._owed[lease]

    # The end

    def close_soon(self) -> None:
        """Close the link, from any thread."""
        call_in_loop(self.loop, self._main.cancel)

    async def close(self) -> None:
        """Close the link, and return when nothing of it is left running."""
        self._main.cancel()
        await asyncio.wait([self._main])


def _starter(loop: AbstractEventLoop) -> "Callable[[Any], Task[Any]]":
    """Return what makes tasks in *loop*, which take their first step at once if they can."""
    if not begins_at_once(loop) or loop.get_task_factory() is not None:
        return loop.create_task
    task_type: Any = Task
    return partial(task_type, loop=loop, eager_start=True)
