"""Commands that one event loop sends to the server, each with a time limit."""

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from redis.exceptions import (
    MaxConnectionsError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from async_lru._loops import begins_at_once

from ._protocol import Script
from ._waiting import Timer, wait_without_cancelling

#: The most commands in flight at a time, each on a connection of its own.
MAX_COMMANDS: Final = 32

#: The answer to a command, and the error if there is none.
_Reply: TypeAlias = "tuple[Any, BaseException | None]"


class UnavailableError(Exception):
    """The server does not answer or refuses the command: go on without it."""


#: Exceptions that mean that the server does not answer.
CONNECTION_ERRORS: Final = (
    UnavailableError,
    RedisError,
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
)


#: Errors of one command, after which the server is still there. Text cannot be read from
#: bytes by a client that decodes answers.
_REFUSALS: Final = (ResponseError, MaxConnectionsError, UnicodeDecodeError)


def is_refusal(error: BaseException) -> bool:
    """Return whether the server only refuses one command."""
    # If the server has become a replica, a new connection may find the new primary.
    return isinstance(error, _REFUSALS) and not isinstance(error, ReadOnlyError)


class Commands:
    """Sends scripts to the server while there is contact.

    *lose_contact* is called with the error when a command gets no answer, or not in
    time.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        timeout: float,
        lose_contact: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._lose_contact = lose_contact
        #: Whether ``run`` sends commands; ``force_run`` always does.
        self.enabled = False
        self._client: Any = None
        self._slots = asyncio.Semaphore(MAX_COMMANDS)
        self._start = _starter(loop)
        #: Tasks in flight.
        self.tasks: set[Task[Any]] = set()

    def use(self, client: Any) -> None:
        """Send commands with *client* from now on."""
        self._client = client
        pool: Any = getattr(client, "connection_pool", None)
        most: int = getattr(pool, "max_connections", None) or MAX_COMMANDS + 1
        # One connection is for messages, and the pool refuses what exceeds the others.
        self._slots = asyncio.Semaphore(max(min(MAX_COMMANDS, most - 1), 1))

    def enable(self) -> None:
        """Let ``run`` send commands from now on."""
        self.enabled = True

    def disable(self) -> None:
        """Let ``run`` refuse commands from now on."""
        self.enabled = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> "Task[None]":
        """Start a task that may be cancelled when contact ends."""
        task = self._start(coroutine)
        if not task.done():  # pragma: no branch  # its first step may be the last
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return task

    async def run(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Run a script on the server and return its answer.

        A caller that is cancelled still waits for the command to end, within the timeout:
        an unread answer would be taken for the answer to the next command.

        Raises UnavailableError.
        """
        async with self._slots:
            if not self.enabled:
                raise UnavailableError
            return await self._run(script, keys, args)

    async def force_run(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Do the same even if commands are disabled, to catch up after an outage."""
        async with self._slots:
            return await self._run(script, keys, args)

    async def _run(self, script: Script, keys: list[str], args: Any) -> Any:
        reply: Future[_Reply] = self._loop.create_future()
        task = self.start(self._execute(reply, script, keys, args))
        timer = Timer(self._loop, self._timeout, partial(self._give_up, reply))
        try:
            value, error = await reply
        except asyncio.CancelledError:
            # The command may have taken a lease.
            await wait_without_cancelling(task, self._timeout)
            raise
        finally:
            timer.cancel()
        if error is not None:
            raise UnavailableError from error
        return value

    async def _execute(
        self, reply: "Future[_Reply]", script: Script, keys: list[str], args: Any
    ) -> None:
        """Send a command and wait for it to end, even if no caller does any more."""
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
            if not is_refusal(error) and client is self._client:
                self._lose_contact(error)
        finally:
            if not reply.done():
                reply.set_result((value, error))
            del reply, error  # its traceback refers to this frame

    def _give_up(self, reply: "Future[_Reply]") -> None:
        """Treat the server as down."""
        if not reply.done():
            error = TimeoutError("no answer within the timeout")
            self._lose_contact(error)
            reply.set_result((None, error))


def _starter(loop: AbstractEventLoop) -> "Callable[[Any], Task[Any]]":
    """Return a function that creates tasks in *loop*, with an eager start if possible."""
    if not begins_at_once(loop) or loop.get_task_factory() is not None:
        return loop.create_task
    task_type: Any = Task
    return partial(task_type, loop=loop, eager_start=True)
