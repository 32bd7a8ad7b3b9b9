"""Processes that act at random behind one server, and the law that no value may break.

    python tests/tier_model.py SECONDS --seed N

Worker processes call, invalidate, put, clear, refresh and cancel at random, while they
and the server are killed, stopped, cut off and emptied. Every result says when its run
began; every change is recorded with when it was made and when ``cache_settled`` returned
after it. For each call the parent checks:

*Here* (F5)
    A call in the process that made a change never gets a result whose run began before
    the change.
*Everywhere* (F3, F5, F7)
    Once its process has read all messages up to some time, a call never gets a result
    whose run began before a change that had been acknowledged by that time. A process
    shows how far it has read with a probe: a second tier in the same process invalidates
    a value that the first holds. When that message is read, the value is dropped, and so
    are all values that earlier messages were about. Values made without the server are no
    exception, since contact is new then.
*In time* (F5)
    A process that has stayed in contact has read a message within the time of a ping.
*Lifetime* (F6)
    A call never gets a result past its ttl, counted from the end of its run. A value in
    transit to a stopped server starts its lifetime there when the server continues, if
    the lease is still alive. In a process that was stopped, a call may join a run whose
    function has long ended. Both are counted, but not refused.
*Refresh* (C6)
    A refresh never returns the result of a run that ended before the refresh began.

A put counts only once it is acknowledged, or seen in another process: until then it may
reach the server later than a change that another process makes. test_tier_model.py runs
this for a moment.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import redis
from redis.asyncio import Redis

from async_lru import alru_cache
from async_lru.redis import RedisTier
from servers import PROGRAMS, Server

WORKERS = 4
CALLERS = 12
KEYS = 3
#: Seconds; shorter than the default, so that leases end in the middle of things.
LEASE = 1.0
#: Seconds for which a process is stopped.
STOPS = [0.05, 0.3, 1.5 * LEASE, 3.0]
#: Seconds within which a process notices that contact is lost: a ping is sent after 2.0 s
#: and answered within the timeout. The rest is for a slow machine.
IN_TIME = 2.0 + 1.0 + 1.0
#: Seconds after a tick in which the next one of a running process comes.
TICKS = 0.5
#: Seconds that the workers may take to start.
PATIENCE = 30.0
#: Seconds by which a deadline may seem to be exceeded, between two readings of the clock.
CLOCKS = 0.05
#: The most seconds from the end of a function to the end of its run: storing, and
#: releasing the lease, take one timeout each.
STORING = 2.5
#: Seconds after which everything has been reported, and after which it is forgotten.
REPORTED, FORGOTTEN = 6.0, 90.0

#: The functions and their options.
FUNCTIONS: dict[str, dict[str, Any]] = {
    "plain": {"ttl": 1.0},
    "lasting": {"ttl": 30.0},
    "shared": {"ttl": 10.0, "shared": True},
    "small": {"ttl": 10.0, "maxsize": 2},
    "stale": {
        "ttl": 0.5,
        "stale_while_revalidate": 0.5,
        "stale_if_error": 1.0,
        "stale_retry": 0.05,
    },
    "failing": {"ttl": 3.0},
}
ERROR_TTL = 1.0


class Unlucky(Exception):
    """A failure of a function. Its args hold what a result would."""


# The workers


class Worker:
    """A process that acts at random, and reports what it did."""

    def __init__(self, name: str, url: str, seed: int) -> None:
        self.name = name
        self.chance = random.Random(seed)
        self.timeout = self.chance.choice([0.1, 0.3, 1.0])
        self.url = url
        self.replies: dict[int, asyncio.Future[int]] = {}
        self.requests = 0
        #: How many times contact was lost or found.
        self.turns = 0
        logger = logging.getLogger("async_lru.redis")
        logger.setLevel(logging.INFO)
        logger.addFilter(self.note_turn)
        logger.addHandler(logging.NullHandler())

    def note_turn(self, record: logging.LogRecord) -> bool:
        self.turns += 1
        text = record.getMessage().partition(": ")[2]
        self.report(
            "log", text=text, error=repr(record.exc_info and record.exc_info[1])
        )
        return False

    def tier(self) -> RedisTier:
        client: Any = self.url
        if self.chance.random() < 0.5:  # with the retries of redis-py
            client = self.new_client
        return RedisTier(client, namespace="model", lease=LEASE, timeout=self.timeout)

    def new_client(self) -> Any:
        return Redis.from_url(self.url)

    # Reports to the parent

    def report(self, what: str, **told: Any) -> None:
        told = {"what": what, "at": time.monotonic(), **told}
        self.writer.write(json.dumps(told).encode() + b"\n")

    async def ask_version(self, function: str, key: int) -> int:
        """Let the origin count one more result, and return its version."""
        self.requests += 1
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.replies[self.requests] = reply
        self.report("ask", id=self.requests, function=function, key=key)
        return await reply

    async def receive(self) -> None:
        while line := await self.reader.readline():
            told = json.loads(line)
            reply = self.replies.pop(told["id"])
            if not reply.done():
                reply.set_result(told["version"])
        os._exit(0)  # the parent has gone

    # Actions

    def function(self, name: str, options: dict[str, Any]) -> Any:
        async def run(key: int) -> dict[str, Any]:
            begun = time.monotonic()
            version = await self.ask_version(name, key)
            luck = self.chance.random()
            if luck < 0.005:
                time.sleep(self.chance.uniform(0, 2 * LEASE))  # noqa: ASYNC251
            elif luck < 0.95:
                await asyncio.sleep(self.chance.choice([0, 0.005, 0.05]))
            else:
                await asyncio.sleep(self.chance.uniform(0, 2 * LEASE))
            value = {"version": version, "begun": begun, "by": self.name}
            self.report("end", function=name, key=key, **value)
            if name in ("failing", "stale") and self.chance.random() < 0.3:
                raise Unlucky(value)
            return value

        run.__qualname__ = name
        if name == "failing":
            options = {**options, "error_ttl": {Unlucky: ERROR_TTL}}
        return alru_cache(**options, tier=self.first)(run)

    async def call(self, function: str, key: int) -> None:
        await self.told("call", function, key, self.functions[function](key))

    async def told(
        self, what: str, function: str, key: int, call: Awaitable[Any]
    ) -> Any:
        """Await a call, and report what it gave."""
        began = time.monotonic()
        failed = False
        try:
            value = await call
        except Unlucky as error:
            value, failed = error.args[0], True
        self.report(
            what, function=function, key=key, began=began, failed=failed, **value
        )
        return None if failed else value

    async def cancelled_call(self, function: str, key: int) -> None:
        call = asyncio.ensure_future(self.call(function, key))
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.02, 0.3]))
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call

    async def change(self, function: str, key: int) -> None:
        self.changed(function, key, self.functions[function].cache_invalidate, key)

    async def clear(self, function: str, _: int) -> None:
        self.changed(function, None, self.functions[function].cache_clear)

    async def put(self, function: str, key: int) -> None:
        version = await self.ask_version(function, key)
        value = {"version": version, "begun": time.monotonic(), "by": self.name}
        put = self.functions[function].cache_put
        self.changed(function, key, put, value, key, version=version)

    def changed(
        self,
        function: str,
        key: int | None,
        change: Callable[..., Any],
        *args: Any,
        version: int | None = None,
    ) -> None:
        """Make a change; report when it was made, and when it is acknowledged."""
        made = time.monotonic()
        change(*args)
        self.requests += 1
        told: dict[str, Any] = {
            "function": function,
            "key": key,
            "made": made,
            "id": self.requests,
            "version": version,
        }
        self.report("change", kind=change.__name__, **told)
        self.start(self.settle(self.functions[function], self.requests))

    async def settle(self, function: Any, number: int) -> None:
        await function.cache_settled()
        self.report("settled", id=number)

    async def refresh(self, function: str, key: int) -> None:
        """Refresh, which is a change if the result of its own run was kept.

        The result of a run that was overtaken by a change is neither (F3).
        """
        cached = self.functions[function]
        began = time.monotonic()
        value = await self.told("refresh", function, key, cached.cache_refresh(key))
        if value is None or value["by"] != self.name or value["begun"] < began:
            return  # it failed, or joined another run
        if not cached.cache_contains(key):
            return
        try:
            is_kept = await cached(key) == value
        except Unlucky:
            return
        if is_kept:
            self.requests += 1
            self.report(
                "change",
                kind="cache_refresh",
                function=function,
                key=key,
                made=value["begun"],
                id=self.requests,
                version=None,
            )
            self.start(self.settle(cached, self.requests))

    async def block(self, _: str, __: int) -> None:
        time.sleep(self.chance.uniform(0, 1.5 * LEASE))  # noqa: ASYNC251

    async def gathered(self, function: str, key: int) -> None:
        await asyncio.gather(*[self.call(function, key) for _ in range(5)])

    async def caller(self) -> None:
        acts: dict[Callable[[str, int], Awaitable[None]], float] = {
            self.call: 70,
            self.cancelled_call: 8,
            self.gathered: 3,
            self.change: 6,
            self.put: 4,
            self.refresh: 4,
            self.clear: 0.5,
            self.block: 0.02,
        }
        while True:
            (act,) = self.chance.choices(list(acts), list(acts.values()))
            function = self.chance.choice(list(self.functions))
            await act(function, self.chance.randrange(KEYS))
            await asyncio.sleep(self.chance.choice([0, 0.001, 0.01, 0.03]))

    async def probe(self) -> None:
        """Report again and again up to when all messages have been read."""

        async def mark(name: str) -> str:
            return name

        mark.__qualname__ = "mark"
        held = alru_cache(ttl=3600, tier=self.first)(mark)
        other = alru_cache(ttl=3600, tier=self.second)(mark)
        for number in itertools.count():
            mine = f"{self.name}-{number}"
            at_least = time.monotonic() + 1.5  # made alone, it lives for 2 s
            await held(mine)
            since = time.monotonic()
            if held.cache_contains(mine):
                other.cache_invalidate(mine)
                while held.cache_contains(mine) and time.monotonic() < at_least:
                    await asyncio.sleep(0.002)
                if time.monotonic() < at_least:
                    self.report("read", since=since)
            await asyncio.sleep(self.chance.choice([0, 0.02, 0.1]))

    async def tick(self) -> None:
        """Report again and again whether the server answers."""
        plain = self.functions["plain"]
        while True:
            up = plain.cache_stats().tier_up
            self.report("tick", up=up, turns=self.turns)
            await asyncio.sleep(0.1)

    def start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task: Any) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.report("raised", text=repr(task.exception()))

    async def main(self, path: str) -> None:
        self.reader, self.writer = await asyncio.open_unix_connection(path)
        self.writer.write(self.name.encode() + b"\n")
        self.tasks: set[Any] = set()
        self.first, self.second = self.tier(), self.tier()
        self.functions = {n: self.function(n, o) for n, o in FUNCTIONS.items()}
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.note_complaint)
        self.start(self.probe())
        self.start(self.tick())
        for _ in range(CALLERS):
            self.start(self.caller())
        await self.receive()

    def note_complaint(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Unlucky):
            self.report("raised", text=f"{context['message']}: {error!r}")


# The parent


@dataclass
class Change:
    """An invalidation, put, clear or refresh."""

    worker: str
    made: float
    #: When the call that made it had returned.
    done: float
    kind: str
    version: int | None
    acknowledged: float = inf


@dataclass
class Calm:
    """How long a process has been in contact without a break."""

    since: float = inf
    last: float = -inf
    turns: int = 0

    def note(self, at: float, up: bool | None, turns: int) -> None:
        if not up:
            self.since = inf
        elif self.since == inf or turns != self.turns or at - self.last > TICKS:
            self.since = at
        self.last, self.turns = at, turns


@dataclass
class Law:
    """What has happened, and whether it was allowed."""

    done: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    #: Changes not acknowledged yet, by worker and number.
    open: dict[tuple[str, int], Change] = field(default_factory=dict)
    #: By function and key, in the order in which they were made.
    changes: dict[tuple[str, int], list[tuple[float, int, Change]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    puts: dict[int, Change] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    #: By worker: when a probe ended, and up to when it showed that all was read.
    reads: dict[str, deque[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    calms: dict[str, Calm] = field(default_factory=lambda: defaultdict(Calm))
    #: When the server or a worker was continued after a stop.
    thaws: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    waiting: deque[tuple[float, str, dict[str, Any], float, float]] = field(
        default_factory=deque
    )
    history: deque[dict[str, Any]] = field(default_factory=deque)

    def note(self, worker: str, told: dict[str, Any]) -> None:
        """Record what a worker reports."""
        what = told["what"]
        self.done[told.get("kind", what)] += 1
        if what not in ("tick", "read"):
            self.history.append({"worker": worker, **told})
        if what in ("call", "refresh"):
            self.note_call(worker, told)
        elif what == "change":
            self.note_change(worker, told)
        elif what == "settled":
            change = self.open.pop((worker, told["id"]))
            change.acknowledged = told["at"]
        elif what == "end":
            self.ends[told["version"]] = told["at"]
        elif what == "read":
            self.reads[worker].append((told["at"], told["since"]))
        elif what == "tick":
            self.calms[worker].note(told["at"], told["up"], told["turns"])
        elif what == "raised":
            self.found.append(f"{worker} raised {told['text']}")

    def note_change(self, worker: str, told: dict[str, Any]) -> None:
        change = Change(worker, told["made"], told["at"], told["kind"], told["version"])
        self.open[worker, told["id"]] = change
        if change.version is not None:
            self.puts[change.version] = change
            self.ends[change.version] = change.made
        keys = range(KEYS) if told["key"] is None else [told["key"]]
        for key in keys:
            insort(
                self.changes[told["function"], key], (change.made, id(change), change)
            )

    def note_call(self, worker: str, told: dict[str, Any]) -> None:
        """Keep a call until everything that may forbid its result has been reported."""
        began = told["began"]
        reads = self.reads[worker]
        while len(reads) > 1 and reads[1][0] < began - REPORTED:
            reads.popleft()
        read = max((since for at, since in reads if at <= began), default=-inf)
        calm = self.calms[worker]
        # Without a tick just before, it may have been stopped, and only just continue.
        has_stayed = calm.since < began - IN_TIME and began - calm.last <= TICKS
        in_time = began - IN_TIME if has_stayed else -inf
        self.waiting.append((told["at"], worker, told, read, in_time))
        self.done["calls after a probe"] += read > -inf

    def note_death(self, worker: str, at: float) -> None:
        """A put that was in flight has arrived by now, or never will."""
        for name, number in list(self.open):
            if name == worker:
                change = self.open.pop((name, number))
                if change.version is not None:
                    change.acknowledged = at
                    change.kind += ", died"
        self.calms.pop(worker, None)
        self.reads.pop(worker, None)

    def check(self, until: float) -> None:
        """Check the calls up to a time, and forget what no longer matters."""
        while self.waiting and self.waiting[0][0] < until:
            _, worker, told, read, in_time = self.waiting.popleft()
            self.check_call(worker, told, read, in_time)
        while self.history and self.history[0]["at"] < until - FORGOTTEN:
            self.history.popleft()
        for changes in self.changes.values():
            while changes and changes[0][2].made < until - FORGOTTEN:
                self.puts.pop(changes.pop(0)[2].version or 0, None)

    def check_call(
        self, worker: str, told: dict[str, Any], read: float, in_time: float
    ) -> None:
        entry = told["function"], told["key"]
        began = told["began"]
        put = self.puts.get(told["version"])
        if put is not None and put.worker != worker:
            put.acknowledged = min(put.acknowledged, told["at"])
        for made, _, change in reversed(self.changes[entry]):
            if put is None:
                if made <= told["begun"]:
                    break
                is_older = True
            elif put.worker == change.worker:
                is_older = put.made < made
            else:
                is_older = put.acknowledged < made
            if not is_older or change.version == told["version"]:
                continue
            own = change.worker == worker and change.kind != "cache_refresh"
            if own and change.done <= began:
                self.tell("here", worker, told, change)
            elif change.kind.endswith("died"):
                continue  # nobody was told that it was done
            elif change.acknowledged <= read:
                self.tell("everywhere", worker, told, change)
            elif change.acknowledged <= in_time:
                self.tell("in time", worker, told, change)
            else:
                continue
            break
        self.check_lifetime(worker, told)
        ended = self.ends.get(told["version"], inf)
        if told["what"] == "refresh" and ended + STORING < began:
            self.tell("refresh", worker, told, None)

    def check_lifetime(self, worker: str, told: dict[str, Any]) -> None:
        options = FUNCTIONS[told["function"]]
        lifetime = ERROR_TTL if told["failed"] else options["ttl"]
        if not told["failed"]:
            lifetime += max(
                options.get("stale_while_revalidate", 0),
                options.get("stale_if_error", 0),
            )
        ended = self.ends.get(told["version"])
        if ended is None or told["began"] <= ended + lifetime + CLOCKS:
            return
        late = told["began"] - ended - lifetime
        excused = max(STOPS) if told["by"] == worker else LEASE
        if late < excused + CLOCKS and any(ended - 0.1 < at for at in self.thaws):
            self.done["calls past a ttl after a stop"] += 1
        else:
            self.tell("lifetime", worker, told, None)

    def tell(
        self, law: str, worker: str, told: dict[str, Any], change: Change | None
    ) -> None:
        """Record a broken law, with the history of the entry."""
        entry = told["function"], told["key"]
        at = told["at"]
        lines = [
            f"law broken ({law}): {worker} got version {told['version']} of {entry}, "
            f"begun {told['begun'] - at:+.4f}, in a call from {told['began'] - at:+.4f}"
        ]
        if change is not None:
            lines.append(
                f"  after {change.kind} by {change.worker}, made {change.made - at:+.4f}, "
                f"settled {change.acknowledged - at:+.4f}"
            )
        numbers = set()
        for past in self.history:
            if past["at"] < at - 15 or past["at"] > at + 0.5:
                continue
            key = past.get("key", told["key"])
            if past.get("function", entry[0]) != entry[0] or key not in (
                entry[1],
                None,
            ):
                continue
            if past["what"] == "change":
                numbers.add((past["worker"], past["id"]))
            if (
                past["what"] == "settled"
                and (past["worker"], past["id"]) not in numbers
            ):
                continue
            rest = {
                name: round(value - at, 4)
                if name in ("began", "begun", "made")
                else value
                for name, value in past.items()
                if name not in ("at", "what", "worker", "function", "key")
            }
            lines.append(
                f"  {past['at'] - at:+9.4f} {past['worker']:8} {past['what']:8} {rest}"
            )
        self.found.append("\n".join([*lines[:2], *lines[2:][-400:]]))


class Parent:
    """Starts the workers and the server, harms them, and checks the law."""

    def __init__(
        self,
        program: str,
        seed: int,
        progress: Callable[[str], None],
        *,
        monitors: bool = False,
    ) -> None:
        self.monitors = monitors
        self.chance = random.Random(seed)
        self.server = Server(program)
        self.law = Law()
        self.versions = 0
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.started = 0
        self.progress = progress
        self.fates: set[asyncio.Task[None]] = set()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve as the origin for a worker, and record its reports."""
        worker = (await reader.readline()).decode().strip()
        with contextlib.suppress(ConnectionError):
            while (line := await reader.readline()).endswith(b"\n"):
                told = json.loads(line)
                self.law.note(worker, told)
                if told["what"] == "ask":
                    self.versions += 1
                    reply = {"id": told["id"], "version": self.versions}
                    writer.write(json.dumps(reply).encode() + b"\n")
        writer.close()
        self.law.note_death(worker, time.monotonic() + 1.0)

    async def start_worker(self) -> None:
        self.started += 1
        name = f"w{self.started}"
        seed = self.chance.randrange(10**9)
        command = [__file__, "--worker", name, self.server.url, str(seed), self.path]
        self.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, *command
        )

    async def monitor(self) -> None:
        """Record the commands that the server gets, for the histories."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.server.port
                )
                writer.write(b"MONITOR\r\n")
                while line := await reader.readline():
                    text = line.decode(errors="replace").strip()
                    function = text.partition("__main__.")[2].partition(":")[0]
                    if "evalsha" in text.lower() and "lua" not in text:
                        self.law.history.append(
                            {
                                "worker": "server",
                                "what": "command",
                                "at": time.monotonic(),
                                "function": function,
                                "text": text.replace("async-lru:model:__main__.", ""),
                            }
                        )
                writer.close()
            await asyncio.sleep(0.05)

    def harm(self, what: str, whom: str = "server", **told: Any) -> None:
        self.law.done[what] += 1
        if what in ("thawed", "continued"):
            self.law.thaws.append(time.monotonic())
        report = {"worker": whom, "what": what, "at": time.monotonic(), **told}
        self.law.history.append(report)

    # Faults

    async def kill_worker(self) -> None:
        name = self.chance.choice(list(self.processes))
        self.harm("killed", name)
        process = self.processes.pop(name)
        process.kill()
        await process.wait()
        await self.start_worker()

    async def stop_worker(self) -> None:
        name = self.chance.choice(list(self.processes))
        process = self.processes[name]
        seconds = self.chance.choice(STOPS)
        self.harm("stopped", name, seconds=seconds)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        self.harm("continued", name)

    async def freeze_server(self) -> None:
        seconds = self.chance.choice([0.02, 0.2, 0.5, 2.5])
        self.harm("frozen", seconds=seconds)
        self.server.freeze()
        await asyncio.sleep(seconds)
        self.server.thaw()
        self.harm("thawed")

    async def restart_server(self) -> None:
        self.harm("restarted")
        self.server.kill()
        await asyncio.sleep(self.chance.choice([0, 0, 0.5, 2.0]))
        await asyncio.to_thread(self.server.start)
        self.harm("started")

    async def flush(self) -> None:
        await self.command("FLUSHALL")

    async def cut(self) -> None:
        kinds = [("TYPE", "pubsub"), ("TYPE", "normal"), ("SKIPME", "yes")]
        await self.command("CLIENT", "KILL", *self.chance.choice(kinds))

    async def cut_one(self) -> None:
        clients = await self.command("CLIENT", "LIST")
        ids = [line.split()[0][3:] for line in clients.decode().splitlines()]
        await self.command("CLIENT", "KILL", "ID", self.chance.choice(ids))

    async def command(self, *command: str) -> Any:
        """Send the server a command; return its raw answer."""
        if command[1:] != ("LIST",):
            self.harm(" ".join(command[:2]), more=" ".join(command[2:]))

        def ask() -> Any:
            client = redis.Redis(port=self.server.port, socket_timeout=5)
            client.response_callbacks.clear()
            try:
                return client.execute_command(*command)  # type: ignore[no-untyped-call]
            except redis.RedisError:
                return b"id=0"
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def misfortunes(self) -> None:
        fates: dict[Callable[[], Awaitable[None]], float] = {
            self.kill_worker: 3,
            self.stop_worker: 5,
            self.freeze_server: 3,
            self.restart_server: 1.5,
            self.flush: 2,
            self.cut: 2,
            self.cut_one: 4,
        }
        while True:
            await asyncio.sleep(self.chance.choice([0.05, 0.2, 0.5, 2.0]))
            (fate,) = self.chance.choices(list(fates), list(fates.values()))
            await fate()

    # The whole

    async def run(self, seconds: float) -> Law:
        with tempfile.TemporaryDirectory() as folder:
            self.path = str(Path(folder) / "origin")
            origin = await asyncio.start_unix_server(self.serve, self.path)
            for _ in range(WORKERS):
                await self.start_worker()
            patience = time.monotonic() + PATIENCE
            while len(self.law.reads) < WORKERS and time.monotonic() < patience:
                await asyncio.sleep(0.05)  # until all have been in contact
            end = time.monotonic() + seconds
            bad = asyncio.ensure_future(self.misfortunes())
            watch = asyncio.ensure_future(self.monitor()) if self.monitors else None
            next_told = time.monotonic() + 10
            try:
                while time.monotonic() < end and not self.law.found:
                    await asyncio.sleep(0.2)
                    self.law.check(time.monotonic() - REPORTED)
                    if bad.done():
                        bad.result()
                    self.check_workers()
                    if time.monotonic() > next_told:
                        next_told += 10
                        self.progress(self.tally())
            finally:
                bad.cancel()
                if watch is not None:
                    watch.cancel()
                for process in self.processes.values():
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
                self.server.close()
                origin.close()
            await asyncio.sleep(0.1)
            self.law.check(inf)
        return self.law

    def check_workers(self) -> None:
        for name, process in self.processes.items():
            if process.returncode is not None:
                self.law.found.append(f"{name} ended with {process.returncode}")

    def tally(self) -> str:
        return ", ".join(
            f"{n:,} {what}"
            for what, n in sorted(self.law.done.items())
            if what not in ("tick", "change")
        )


def run_model(
    program: str,
    seconds: float,
    seed: int,
    progress: Callable[[str], None],
    *,
    monitors: bool = False,
) -> Law:
    """Run the processes, and return what was found."""
    parent = Parent(program, seed, progress, monitors=monitors)
    return asyncio.run(parent.run(seconds))


def main() -> int:
    """Run it for a given time, on each server program in turn."""
    if sys.argv[1:2] == ["--worker"]:
        name, url, seed, path = sys.argv[2:]
        asyncio.run(Worker(name, url, int(seed)).main(path))
        return 0
    parser = argparse.ArgumentParser(description="Test the second tier at random.")
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--monitor", action="store_true", help="record commands, too")
    options = parser.parse_args()
    if not PROGRAMS:
        print("no server: nothing is tried")
        return 0
    for name, program in PROGRAMS.items():
        print(f"{name}, seed {options.seed}", flush=True)
        law = run_model(
            program,
            options.seconds / len(PROGRAMS),
            options.seed,
            lambda line: print(f"  {line}", flush=True),
            monitors=options.monitor,
        )
        print(f"  {dict(law.done)}")
        for found in law.found[:3]:
            print(found)
        if law.found:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
