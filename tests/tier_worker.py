"""A process that shares a second tier with others, and obeys JSON lines on stdin.

Each line is an object with an ``id``, what to ``do``, and its ``args``. The answer is a
line with the same ``id`` and a ``result``, or an ``error``: its type and message. A run of
the cached function writes a line of its own, with its key as ``run``. It ends when it is
told to, unless it was told beforehand how long to take.

Tests start the process with ``Worker``, and talk to it through that.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any

PATIENCE = 20


class Worker:
    """A worker process, seen from the process that started it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "random"},
        )
        #: The keys of all runs that have begun.
        self.runs: list[Any] = []
        self._number = 0
        self._answers: dict[int, Future[Any]] = {}
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            with self._changed:
                if "run" in told:
                    self.runs.append(told["run"])
                elif "error" in told:
                    kind, message = told["error"]
                    error = RuntimeError(f"{kind}: {message}")
                    self._answers.pop(told["id"]).set_exception(error)
                else:
                    self._answers.pop(told["id"]).set_result(told["result"])
                self._changed.notify_all()

    def start(self, do: str, *args: Any) -> "Future[Any]":
        """Ask for something to be done; return a future for the answer."""
        self._number += 1
        answer: Future[Any] = Future()
        with self._changed:
            self._answers[self._number] = answer
        line = json.dumps({"id": self._number, "do": do, "args": args})
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return answer

    def do(self, do: str, *args: Any) -> Any:
        """Ask for something to be done, and return the answer."""
        return self.start(do, *args).result(PATIENCE)

    def open(self, url: str, namespace: str, **options: Any) -> None:
        """Create the function again, with another tier and other options."""
        self.runs.clear()
        self.do("open", url, namespace, options)

    def wait_for_runs(self, number: int = 1) -> None:
        """Wait until *number* runs have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.runs) >= number, PATIENCE)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.close()

    def close(self) -> str:
        """End the process; return what it wrote to stderr, which should be nothing."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        if self.process.stderr.closed:  # it was killed
            return ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            said = self.process.stderr.read()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process.stderr.close()
        return said


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class NotFoundError(Exception):
    """A failure that is kept."""


class Process:
    """The worker itself: each public method is something that it can ``do``."""

    def __init__(self) -> None:
        self._function: Any = None
        self._runs: dict[Any, asyncio.Future[Any]] = {}

    async def open(self, url: str, namespace: str, options: dict[str, Any]) -> None:
        from async_lru import alru_cache
        from async_lru.redis import RedisTier

        await self.close()
        of_tier = {
            name: options.pop(name)
            for name in ("lease", "timeout", "max_bytes")
            if name in options
        }
        tier = RedisTier(url, namespace=namespace, **{"timeout": 2.0, **of_tier})
        #: Seconds that runs take; None means until they are told to end.
        takes = options.pop("takes", None)
        if options.pop("keeps_failures", False):
            options["error_ttl"] = {NotFoundError: 30}

        @alru_cache(**{"maxsize": 100, "ttl": 60, "tier": tier, **options})
        async def load(key: Any) -> Any:
            tell(run=repr(key) if isinstance(key, frozenset) else key)
            if takes is not None:
                await asyncio.sleep(takes)
                return f"{key} of {os.getpid()} at {time.monotonic()}"
            self._runs[key] = asyncio.get_running_loop().create_future()
            return await self._runs[key]

        self._function = load

    async def close(self) -> None:
        if self._function is not None:
            await self._function.cache_close()
            self._function = None

    async def call(self, key: Any) -> Any:
        return await self._function(key)

    async def call_with_set(self, members: list[Any]) -> Any:
        """Call it with a set, whose order differs from process to process."""
        return await self._function(frozenset(members))

    async def call_many(self, keys: list[Any]) -> Any:
        return await asyncio.gather(*map(self._function, keys))

    async def succeed(self, key: Any, value: Any) -> None:
        self._runs.pop(key).set_result(value)

    async def fail(self, key: Any, message: str) -> None:
        self._runs.pop(key).set_exception(NotFoundError(message))

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)

    async def block_and_succeed(self, seconds: float, key: Any, value: Any) -> None:
        """End a run in the same turn of the loop that is blocked."""
        time.sleep(seconds)
        self._runs.pop(key).set_result(value)

    async def contains(self, key: Any) -> bool:
        found: bool = self._function.cache_contains(key)
        return found

    async def invalidate(self, key: Any) -> None:
        self._function.cache_invalidate(key)

    async def put(self, value: Any, key: Any) -> None:
        self._function.cache_put(value, key)

    async def clear(self) -> None:
        self._function.cache_clear()

    async def refresh(self, key: Any) -> Any:
        return await self._function.cache_refresh(key)

    async def settle(self) -> None:
        await self._function.cache_settled()

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self._function.cache_stats()._asdict()
        return stats

    async def tasks(self) -> list[str]:
        """Return the tasks that run here besides the worker's own."""
        own = (asyncio.current_task(), self._main)
        return [repr(task) for task in asyncio.all_tasks() if task not in own]

    # The process itself

    async def serve(self, told: dict[str, Any]) -> None:
        try:
            result = await getattr(self, told["do"])(*told["args"])
            tell(id=told["id"], result=result)
        except BaseException as error:
            tell(id=told["id"], error=(type(error).__name__, str(error)))

    async def main(self) -> None:
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[str] = asyncio.Queue()

        def read() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, "")

        threading.Thread(target=read, daemon=True).start()
        tasks: set[asyncio.Task[None]] = set()
        while line := await lines.get():
            task = loop.create_task(self.serve(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await self.close()
        for task in list(tasks):
            task.cancel()


if __name__ == "__main__":
    asyncio.run(Process().main(), debug=False)  # which would tell of what is slow
