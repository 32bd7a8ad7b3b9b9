"""The commands of one event loop, each with a time limit."""

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from redis.exceptions import (
    MaxConnectionsError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from async_lru._loops import begins_at_once

from ._protocol import Script
from ._waiting import Patience, within

#: Commands that are on their way at the same time, each on a connection.
MOST_COMMANDS: Final = 32

#: The answer to a command, and the error if there is none.
_Reply: TypeAlias = "tuple[Any, BaseException | None]"


class UnavailableError(Exception):
    """The server does not answer, or refuses: do without it."""


#: What is raised where a server does not answer.
OUTAGES: Final = (
    UnavailableError,
    RedisError,
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
)


class Commands:
    """Has the server run scripts, while there is contact.

    *lose_contact* is called with the error when a command has none, or too late an
    answer.
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
        #: Whether they are sent for all, and not only by ``run_now``.
        self.are_sent = False
        self._client: Any = None
        self._slots = asyncio.Semaphore(MOST_COMMANDS)
        self._start = _starter(loop)
        #: What is on its way.
        self.tasks: set[Task[Any]] = set()

    def use(self, client: Any) -> None:
        """Send commands with *client* from now on."""
        self._client = client

    def open(self) -> None:
        """Send them for all."""
        self.are_sent = True

    def shut(self) -> None:
        """Send them no more."""
        self.are_sent = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> "Task[None]":
        """Start a task that may be cancelled when contact ends."""
        task = self._start(coroutine)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return task

    async def run(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Have the server run a script, and return its answer.

        When the caller is cancelled it waits for the end of the command all the same,
        for a moment: an answer that nobody reads would be taken for that of the next.

        Raises UnavailableError.
        """
        async with self._slots:
            if not self.are_sent:
                raise UnavailableError
            return await self._run(script, keys, args)

    async def run_now(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Do the same to make up for what was missed, before others do."""
        async with self._slots:
            return await self._run(script, keys, args)

    async def _run(self, script: Script, keys: list[str], args: Any) -> Any:
        reply: Future[_Reply] = self._loop.create_future()
        task = self.start(self._execute(reply, script, keys, args))
        patience = Patience(self._loop, self._timeout, partial(self._give_up, reply))
        try:
            value, error = await reply
        except asyncio.CancelledError:
            await within(task, self._timeout)  # it may have taken a lease
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


def _starter(loop: AbstractEventLoop) -> "Callable[[Any], Task[Any]]":
    """Return what makes tasks in *loop*, which take their first step at once if they can."""
    if not begins_at_once(loop) or loop.get_task_factory() is not None:
        return loop.create_task
    task_type: Any = Task
    return partial(task_type, loop=loop, eager_start=True)
