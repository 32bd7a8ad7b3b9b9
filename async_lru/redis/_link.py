"""The contact that one event loop has with the server."""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any, Final

from async_lru._loops import call_soon_in

from ._commands import OUTAGES, Commands
from ._generations import Generations
from ._protocol import Message
from ._teller import Teller
from ._waiting import at_most, within
from ._watch import Watches

if TYPE_CHECKING:
    from ._hub import Hub

logger = logging.getLogger("async_lru.redis")

#: Seconds of silence after which the server is asked whether it is still there.
PING: Final = 2.0

#: Seconds between two attempts to get in contact again.
RETRY: Final = 0.5

#: Seconds that an attempt to get in contact may take; calls do not wait for it so long.
CONNECT: Final = 5.0


class Link:
    """A client of the server in one event loop, and what keeps it in contact.

    It is up while the server answers and has told all that was missed. Belongs to the
    thread of its loop, except for ``wake`` and ``close_soon``.
    """

    def __init__(self, tier: "Hub", loop: AbstractEventLoop) -> None:
        self._tier = tier
        self.loop = loop
        self.closed = False
        self.commands = Commands(loop, tier.timeout, self._lose_contact)
        self.generations = Generations(self.commands, tier.keyspace)
        self.teller = Teller(
            loop, self.commands, self.generations, tier.pending, tier.keyspace
        )
        self.watches = Watches()
        #: Whether it has ever been up, or has failed to be.
        self._tried = loop.create_future()
        self._was_down = False
        self._heard_at = 0.0
        self._failure: Future[BaseException] = loop.create_future()
        self._main = loop.create_task(self._serve())

    @property
    def up(self) -> bool:
        """Whether commands are sent to the server."""
        return self.commands.are_sent

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
            self.commands.shut()
            if not self.loop.is_closed():  # pragma: no branch  # no task was cancelled
                self.watches.wake_all()
                if not self._tried.done():
                    self._tried.set_result(None)
            self._tier.forget(self)

    async def _session(self) -> None:
        """Get in contact, make up for what was missed, and listen until contact is lost."""
        self._failure = self.loop.create_future()
        client = self._tier.make_client()
        self.commands.use(client)
        pubsub = None
        tasks: list[Task[None]] = []
        is_freed = False
        try:
            await at_most(CONNECT, client.initialize())
            pubsub = client.pubsub()
            await at_most(CONNECT, self._subscribe(pubsub))
            self.generations.forget()
            self.watches.lose()
            if self._was_down:
                self._tier.drop_held(self.loop)
                # What was put before others have changed must not come after that.
                self._tier.pending.forget_values()
            tasks.append(self._start(self._listen(pubsub)))
            tasks.append(self._start(self._ping(pubsub)))
            await at_most(CONNECT, self.teller.tell_changes())
            await at_most(CONNECT, self.teller.give_back())
            self._note_up()
            tasks.append(self._start(self.teller.tell_changes_as_they_come()))
            try:
                raise await self._failure
            except asyncio.CancelledError:  # runs that are, too, give their leases back
                await within(self.watches.emptied(), self._tier.timeout)
                raise
        except GeneratorExit:  # pragma: no cover  # nothing can be awaited any more
            is_freed = True
            raise
        finally:
            self.commands.shut()
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
        tasks = [*tasks, *self.commands.tasks]
        try:
            await self._wait_for_end(tasks)
        finally:
            for task in tasks:
                task.cancel()
            for part in (pubsub, client):
                if part is not None:  # pragma: no branch
                    try:
                        await at_most(self._tier.timeout, part.aclose())
                    except OUTAGES:  # pragma: no cover
                        pass
            await self._wait_for_end(tasks)

    async def _wait_for_end(self, tasks: "Collection[Task[Any]]") -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=self._tier.timeout)

    async def _subscribe(self, pubsub: Any) -> None:
        await pubsub.subscribe(self._tier.keyspace.channel)
        while True:
            message = await pubsub.get_message(timeout=CONNECT)
            if (  # pragma: no branch
                message is not None and message["type"] == "subscribe"
            ):
                return

    async def _listen(self, pubsub: Any) -> None:
        """Pass messages on until contact is lost."""
        async for message in pubsub.listen():
            self._heard_at = self.loop.time()
            if message["type"] == "message":
                self._hear(Message.unpack(message["data"]))
            elif message["type"] == "subscribe":  # pragma: no branch
                # The client has connected again by itself, and may have missed some.
                raise ConnectionError("the subscription was interrupted")

    async def _ping(self, pubsub: Any) -> None:  # pragma: no cover  # takes seconds
        """Ask the server now and then whether it is still there."""
        while True:
            await asyncio.sleep(PING)
            asked = self.loop.time()
            await pubsub.ping()
            await asyncio.sleep(self._tier.timeout)
            if self._heard_at < asked:
                # Once more, in case that the loop was blocked.
                await asyncio.sleep(self._tier.timeout)
                if self._heard_at < asked:
                    raise TimeoutError("no answer to a ping")

    def _note_end(self, task: "Task[None]") -> None:
        """Lose contact when what is needed for it has ended."""
        if not task.cancelled():
            self._lose_contact(task.exception() or ConnectionError("ended"))

    def _lose_contact(self, error: BaseException) -> None:
        self.commands.shut()
        if not self._failure.done():
            self._failure.set_result(error)
        self.watches.wake_all()

    def _note_up(self) -> None:
        self.commands.open()
        if self._was_down:
            logger.info("%r: in contact with the server again", self._tier)
        self._was_down = False
        if not self._tried.done():
            self._tried.set_result(None)

    def _note_down(self, error: BaseException) -> None:
        self.commands.shut()
        if not self._was_down:
            logger.warning(
                "%r: no contact with the server (%s); each process caches for itself "
                "until contact is back",
                self._tier,
                type(error).__name__,
                # What the callable raises that makes the client is for its author to see.
                exc_info=None if isinstance(error, OUTAGES) else error,
            )
        self._was_down = True
        if not self._tried.done():
            self._tried.set_result(None)

    def _hear(self, message: Message | None) -> None:
        if message is not None:
            meant = self.generations.hear(message)
            self.watches.tell(meant)
            self._tier.tell(meant)

    def wake(self) -> None:
        """Have the server told of what was changed, from any thread."""
        self.teller.wake()

    # The end

    def close_soon(self) -> None:
        """Close the link, from any thread."""
        call_soon_in(self.loop, self._main.cancel)

    async def close(self) -> None:
        """Close the link, and return when nothing of it is left running."""
        self._main.cancel()
        await asyncio.wait([self._main])
