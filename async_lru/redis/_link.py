"""The link of one event loop to the server."""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Collection, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from async_lru._loops import call_soon_in

from ._commands import CONNECTION_ERRORS, Commands, UnavailableError, is_refusal
from ._generations import Generations
from ._outbox import Outbox
from ._protocol import PROBE, Message
from ._waiting import wait_or_cancel, wait_without_cancelling
from ._watch import Watches

if TYPE_CHECKING:
    from ._hub import Hub

logger = logging.getLogger("async_lru.redis")

#: Seconds before each check that the server still answers.
PING_INTERVAL: Final = 2.0

#: Seconds between two attempts to connect.
RETRY_DELAY: Final = 0.5

#: Seconds that each step of connecting may take; calls do not wait that long.
CONNECT_TIMEOUT: Final = 5.0


class Link:
    """The client of one event loop, and the tasks that keep it in contact.

    A link is up while the server answers and what was missed has been made up for. Only
    ``wake`` and ``close_soon`` may be called outside the thread of its loop.
    """

    def __init__(self, tier: "Hub", loop: AbstractEventLoop) -> None:
        self._tier = tier
        self.loop = loop
        self.closed = False
        self.commands = Commands(loop, tier.timeout, self._lose_contact)
        self.generations = Generations(self.commands, tier.keyspace)
        self.outbox = Outbox(loop, self.commands, self.generations, tier)
        self.watches = Watches()
        #: Done when the link has come up for the first time, or has failed to.
        self._first_attempt = loop.create_future()
        self._was_down = False
        self._heard_at = 0.0
        self._failure: Future[BaseException] = loop.create_future()
        # Not in the context of the call that happens to be the first.
        self._task = Context().run(loop.create_task, self._stay_connected())

    @property
    def is_up(self) -> bool:
        """Whether commands are sent to the server."""
        return self.commands.enabled

    @property
    def is_broken(self) -> bool:
        """Whether the server is known not to answer."""
        return self._first_attempt.done() and not self.is_up

    # Being in contact

    async def ready(self) -> bool:
        """Return whether the server answers; wait at most one timeout if it never has."""
        if not self.is_up and not self._first_attempt.done():
            await wait_without_cancelling(self._first_attempt, self._tier.timeout)
            if not self._first_attempt.done():
                self._first_attempt.set_result(None)  # later calls do not wait
                self._mark_down(TimeoutError("no connection within the timeout"))
        return self.is_up

    async def _stay_connected(self) -> None:
        """Stay in contact, reconnecting as needed, until the link is closed."""
        try:
            while True:
                try:
                    await self._run_session()
                except Exception as error:  # noqa: BLE001  # logged, then tried again
                    self._mark_down(error)
                await asyncio.sleep(RETRY_DELAY)
        finally:
            self.closed = True
            self.commands.disable()
            if not self.loop.is_closed():  # pragma: no branch  # closed with tasks left
                self.watches.wake_all()
                if not self._first_attempt.done():
                    self._first_attempt.set_result(None)
            self._tier.forget(self)

    async def _run_session(self) -> None:
        """Connect, make up for what was missed, and listen until contact is lost."""
        self._failure = self.loop.create_future()
        client = self._tier.make_client()
        self.commands.use(client)
        pubsub = None
        tasks: list[Task[None]] = []
        is_freed = False
        try:
            await wait_or_cancel(client.initialize(), CONNECT_TIMEOUT)
            pubsub = client.pubsub()
            await wait_or_cancel(self._subscribe(pubsub), CONNECT_TIMEOUT)
            self.generations.forget()
            self._tier.assume_entries_changed(self.loop)
            self.watches.wake_all()
            if self._was_down or self._tier.has_unheard_values:
                self._tier.drop_values(self.loop)
            if self._was_down:
                # A value put here must not overwrite what others have changed since.
                self._tier.pending.turn_puts_into_invalidations()
            tasks.append(self._start(self._listen(pubsub)))
            tasks.append(self._start(self._ping(pubsub)))
            # Runs wait until what was changed of their entries is told in any case.
            await self.outbox.flush(seconds=CONNECT_TIMEOUT)
            await self.outbox.release_deferred()
            # A server that is too slow for calls is not up. The first makes a connection.
            await wait_or_cancel(client.ping(), CONNECT_TIMEOUT)
            await self._probe()
            self._mark_up()
            tasks.append(self._start(self.outbox.flush_forever()))
            try:
                raise await self._failure
            except asyncio.CancelledError:
                self.closed = True
                # Cancelled runs still release their leases.
                await wait_without_cancelling(
                    self.watches.emptied(), self._tier.timeout
                )
                raise
        except GeneratorExit:  # pragma: no cover  # nothing can be awaited any more
            is_freed = True
            raise
        except asyncio.CancelledError:
            self.closed = True  # further changes need another link
            raise
        finally:
            self.commands.disable()
            if not is_freed:
                self.watches.wake_all()
                for task in tasks:
                    task.cancel()
                await self._end_session(tasks, pubsub, client)

    async def _probe(self) -> None:
        """Raise UnavailableError if the server is slow or a replica."""
        try:
            await self.commands.force_run(PROBE, [self._tier.keyspace.probe_key])
        except UnavailableError as error:
            # Whatever it refuses besides, such as all writes for now, it can be read.
            if error.__cause__ is None or not is_refusal(error.__cause__):
                raise

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> "Task[None]":
        """Start a task without which contact is lost."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._on_task_done)
        return task

    async def _end_session(
        self, tasks: "list[Task[None]]", pubsub: Any, client: Any
    ) -> None:
        """Give commands in flight one timeout to finish, then close the client.

        If this is cancelled, it closes the client at once. Tasks that have not ended are
        cancelled first: the client might retry on connections that nobody would close.
        """
        tasks = [*tasks, *self.commands.tasks]
        try:
            await self._wait_for_end(tasks)
        finally:
            for task in tasks:
                task.cancel()
            try:
                if pubsub is not None:  # pragma: no branch
                    await self._close_part(pubsub)
            finally:
                await self._close_part(client)
            await self._wait_for_end(tasks)

    async def _close_part(self, part: Any) -> None:
        try:
            await wait_or_cancel(part.aclose(), self._tier.timeout)
        except CONNECTION_ERRORS:  # pragma: no cover
            pass

    async def _wait_for_end(self, tasks: "Collection[Task[Any]]") -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=self._tier.timeout)

    async def _subscribe(self, pubsub: Any) -> None:
        await pubsub.subscribe(self._tier.keyspace.channel)
        while True:
            message = await pubsub.get_message(timeout=CONNECT_TIMEOUT)
            if (  # pragma: no branch
                message is not None and message["type"] == "subscribe"
            ):
                return

    async def _listen(self, pubsub: Any) -> None:
        """Pass messages on until contact is lost."""
        async for message in pubsub.listen():
            self._heard_at = self.loop.time()
            if message["type"] == "message":
                self._dispatch(Message.unpack(message["data"]))
            elif message["type"] == "subscribe":  # pragma: no cover
                # The client reconnected by itself, and may have missed messages.
                raise ConnectionError("the subscription was interrupted")

    async def _ping(self, pubsub: Any) -> None:  # pragma: no cover  # takes seconds
        """Check regularly that the server still answers."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            asked = self.loop.time()
            await pubsub.ping()
            await asyncio.sleep(self._tier.timeout)
            if self._heard_at < asked:
                # Wait once more, in case the loop was blocked.
                await asyncio.sleep(self._tier.timeout)
                if self._heard_at < asked:
                    raise TimeoutError("no answer to a ping")

    def _on_task_done(self, task: "Task[None]") -> None:
        """Lose contact, since a task that it needs has ended."""
        if not task.cancelled():
            self._lose_contact(task.exception() or ConnectionError("ended"))

    def _lose_contact(self, error: BaseException) -> None:
        self.commands.disable()
        if not self._failure.done():
            self._failure.set_result(error)
        self.watches.wake_all()

    def _mark_up(self) -> None:
        self.commands.enable()
        if self._was_down:
            logger.info("%r: in contact with the server again", self._tier)
        self._was_down = False
        if not self._first_attempt.done():
            self._first_attempt.set_result(None)

    def _mark_down(self, error: BaseException) -> None:
        self.commands.disable()
        if not self._was_down:
            logger.warning(
                "%r: no contact with the server (%s); each process caches for itself "
                "until contact is back",
                self._tier,
                type(error.__cause__ or error).__name__,
                # An error in the callable that makes the client is shown in full.
                exc_info=None if isinstance(error, CONNECTION_ERRORS) else error,
            )
        self._was_down = True
        if not self._first_attempt.done():
            self._first_attempt.set_result(None)
        if not self._tier.is_up:
            # They will not be sent when contact is back, so their bytes can go now.
            self._tier.pending.turn_puts_into_invalidations()

    def _dispatch(self, message: Message | None) -> None:
        if message is not None:
            self._tier.dispatch(self.generations.interpret(message))

    def wake(self) -> None:
        """Send pending changes soon. Can be called from any thread."""
        self.outbox.wake()

    # Closing

    def close_soon(self) -> None:
        """Close the link soon. Can be called from any thread."""
        # A second cancellation would leave connections open.
        if not self.closed:  # pragma: no branch
            self.closed = True
            call_soon_in(self.loop, self._task.cancel)

    async def close(self) -> None:
        """Close the link, and return when nothing of it is left running."""
        if not self.closed:
            self.closed = True
            self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def is_ending(self) -> bool:
        """Whether something of it is still running, in a loop that runs, too."""
        return not self._task.done() and self.loop.is_running()
