"""Attacks on the library by somebody who knows its contract and nothing else.

``python tests/attacks.py SECONDS [NAME...]`` runs each attack for so many seconds and
exits with 1 if one of them has found anything. test_attacks.py runs each for a moment.
An attack consists of rounds, each with a seed of its own, which a finding names:
``--seed`` repeats the round, as far as threads allow.

Most attacks let actors do at random what programs do with a cached function, see
``ACTIONS``, while something disturbs them. A Subject is the function and knows enough
of its runs to tell whether an answer is right.
"""

import argparse
import asyncio
import contextlib
import contextvars
import faulthandler
import functools
import gc
import itertools
import logging
import os
import platform
import random
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import async_lru
from async_lru import AlruCacheLoopResetWarning, alru_cache

#: Where the lines are at which calls are disturbed.
PACKAGE = os.path.dirname(os.path.abspath(async_lru.__file__)) + os.sep
COUNTS_REFERENCES = platform.python_implementation() == "CPython"
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
#: Arguments of the cached functions are below this.
NUMBERS = 6
#: How much older than its ttl an answer may seem, in seconds: the turns of the loop
#: from the end of the function to that of its run.
SLACK = 0.05
#: How long a round may take, in seconds, before it counts as hanging.
LIMIT = 60

Chance = random.Random


class Failure(Exception):
    """What a run raises: the number it was called with, and which run it was."""


class Interruption(Exception):
    """What is raised where the function does not raise: in a comparison, say."""


class Answer:
    """What a run returns: the number it was called with, and which run it was."""

    def __init__(self, number: int, run: int) -> None:
        self.number = number
        self.run = run
        #: By the loop's clock, when the function returned.
        self.ended = 0.0


def lifetime(answer: Answer) -> "float | None":
    """Return the ttl of an answer where answers decide about it."""
    return (None, 2.0, 0.0)[answer.number % 3]


def absolute(*arguments: Any) -> Any:
    """Return the key of a call of a function or a method."""
    return abs(arguments[-1])


#: Options of the cached function, with seconds as the unit of time.
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "maxsize 2": {"maxsize": 2},
    "unbounded": {"maxsize": None},
    "maxsize 0": {"maxsize": 0},
    "typed": {"typed": True},
    "key": {"key": absolute},
    "ignore": {"ignore": ("request",)},
    "per_instance": {"per_instance": True, "maxsize": 3},
    "per_instance ttl": {"per_instance": True, "ttl": 2.0},
    "ttl": {"ttl": 2.0},
    "jitter": {"ttl": 2.0, "jitter": 1.0, "maxsize": 3},
    "ttl 0": {"ttl": 0.0},
    "callable ttl": {"ttl": lifetime},
    "stale_while_revalidate": {"ttl": 2.0, "stale_while_revalidate": 4.0},
    "stale_if_error": {"ttl": 2.0, "stale_if_error": 4.0},
    "stale": {
        "ttl": 2.0,
        "stale_while_revalidate": 2.0,
        "stale_if_error": 5.0,
        "stale_retry": 0.5,
        "maxsize": 3,
    },
    "stale_if_slow": {"ttl": 2.0, "stale_if_error": 4.0, "stale_if_slow": 0.05},
    "error_ttl": {"error_ttl": {Failure: 2.0}},
    "cancel_abandoned": {"cancel_abandoned": False},
    "everything": {
        "maxsize": 3,
        "ttl": 2.0,
        "jitter": 1.0,
        "ignore": ("request",),
        "stale_while_revalidate": 2.0,
        "stale_if_error": 4.0,
        "stale_if_slow": 0.0,
        "error_ttl": {Failure: 1.0},
        "cancel_abandoned": False,
    },
}
TIMES = ("ttl", "jitter", "stale_while_revalidate", "stale_if_error", "stale_if_slow")


def scaled(options: dict[str, Any], second: float) -> dict[str, Any]:
    """Return the options with another unit of time than the second."""
    options = dict(options)
    for name in {*TIMES, "stale_retry"} & options.keys():
        value = options[name]
        if callable(value):
            options[name] = lambda answer, ttl=value: (
                None if ttl(answer) is None else ttl(answer) * second
            )
        else:
            options[name] = value * second
    if "error_ttl" in options:
        options["error_ttl"] = {Failure: options["error_ttl"][Failure] * second}
    return options


class Key:
    """An argument with comparisons in Python, half of which collide."""

    #: Called at each comparison and each hash, where a test wants to know of them.
    disturb: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        Key.disturb()
        return self.number % 2

    def __eq__(self, other: object) -> bool:
        Key.disturb()
        return isinstance(other, Key) and self.number == other.number


class NotedTask(asyncio.Task):  # type: ignore[type-arg]
    """A task that knows whether it was cancelled, on Pythons where tasks do not."""

    noted = False

    def cancel(self, msg: Any = None) -> bool:
        self.noted = True
        return super().cancel(msg)


def note_cancellations(loop: Any, coroutine: Any, **options: Any) -> NotedTask:
    return NotedTask(coroutine, loop=loop, **options)


def was_cancelled(task: Any) -> bool:
    """Tell whether anybody has asked the task to end."""
    if sys.version_info >= (3, 11):
        return bool(task.cancelling())
    return getattr(task, "noted", False)


class Clock:
    """The time of a loop, which stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]


#: Of the call that starts a run: whose, and how often its key had been dropped.
started_under: contextvars.ContextVar[Any] = contextvars.ContextVar("started_under")


class Subject:
    """A cached function under attack, with what is known of its runs.

    *second* scales all times. *cancels* lets runs raise CancelledError, and actors
    close the cache. *single* checks that no two runs of a key can be joined. *exact*
    checks the counters. *keys* makes arguments of the numbers. *shared* is the option.
    """

    def __init__(
        self,
        chance: Chance,
        kind: str,
        *,
        second: float = 1.0,
        cancels: bool = False,
        single: bool = True,
        exact: bool = True,
        keys: Callable[[int], Any] = int,
        shared: bool = False,
    ) -> None:
        self.chance = chance
        self.kind = kind
        self.second = second
        self.cancels = cancels
        self.single = single
        self.exact = exact
        self.keys = int if kind in ("key", "typed") else keys
        #: Whether runs neither fail nor call others, and whether they call others.
        self.calm = False
        self.nests = True
        self.clock: Clock | None = None
        self.options = {**scaled(OPTIONS[kind], second), "shared": shared}
        #: Errors that calls and methods may raise, apart from what runs raise.
        self.permitted: tuple[type[Exception], ...] = ()
        self.findings: list[str] = []
        self.open: set[asyncio.Task[Any]] = set()
        self.lock = threading.RLock()
        self.begun = 0
        self.calls = 0
        #: Key -> the first run that calls for it may still be given.
        self.floors: dict[Any, int] = {}
        #: Key -> how often it was dropped; and drops that may be of any key.
        self.drops: Counter[Any] = Counter()
        self.unsure = 0
        #: Key -> the task of the run that can be joined.
        self.joinable: dict[Any, asyncio.Task[Any]] = {}
        self.failed: list[int] = []
        self.received: set[int] = set()
        self.reported: list[int] = []
        self.answers: weakref.WeakSet[Answer] = weakref.WeakSet()
        self.make_answer: Callable[[int, int], Answer] = Answer
        self.cached = self.decorated()

    def decorated(self) -> Any:
        """Return the cached function, or the bound method of an instance."""

        class Service:
            @alru_cache(**self.options)
            async def origin(_, number: Any, request: object = None) -> Answer:
                return await self.run(number)

        @alru_cache(**self.options)
        async def origin(number: Any, request: object = None) -> Answer:
            return await self.run(number)

        self.service = Service()
        in_class = self.options.get("per_instance") or self.chance.random() < 0.2
        return self.service.origin if in_class else origin

    # The function.

    async def run(self, argument: Any) -> Answer:
        """Be the function: suspend or not, and return an answer, or raise."""
        # No variable for the task, which would make a cycle with its CancelledError.
        number = getattr(argument, "number", argument)
        identity = self.identity(number)
        run = self.begin(identity)
        try:
            await self.work(number, run)
            answer = self.make_answer(number, run)
            self.answers.add(answer)
            answer.ended = asyncio.get_running_loop().time()
            return answer
        except Failure:
            self.failed.append(run)
            raise
        finally:
            # The loop may have been closed, and this be destroyed: in no task then.
            with self.lock, contextlib.suppress(RuntimeError, KeyError):
                if self.joinable.get(identity) is asyncio.current_task():
                    del self.joinable[identity]

    def begin(self, identity: Any) -> int:
        """Return the number of a run that begins, and check that it is the only one."""
        with self.lock:
            self.begun += 1
            if self.single and self.is_joinable(identity):
                other = self.joinable.get(identity)
                if (
                    other is not None
                    and not was_cancelled(other)
                    and not other.get_loop().is_closed()
                ):
                    self.findings.append(f"two runs of {identity} can be joined")
                self.joinable[identity] = asyncio.current_task()  # type: ignore[assignment]
            return self.begun - 1

    def is_joinable(self, identity: Any) -> bool:
        """Tell whether the run that begins was dropped by nobody meanwhile."""
        return (
            self.options.get("maxsize") != 0
            and not self.unsure
            and started_under.get(None) == (id(self), identity, self.drops[identity])
        )

    async def work(self, number: int, run: int) -> None:
        luck = self.chance.random()
        for _ in range(self.chance.choice((0, 0, 1, 2, 5))):
            try:
                await self.suspend()
            except asyncio.CancelledError:
                if self.chance.random() < 0.3:
                    await self.suspend()  # cleaning up
                if self.chance.random() < 0.1:
                    break  # shrug it off
                raise
        if self.calm:
            return
        if luck < 0.2:
            raise Failure(number, run)
        if luck < 0.25 and self.cancels:
            raise asyncio.CancelledError
        if luck < 0.35 and 0 < number < NUMBERS - 1 and self.nests:
            # Upwards alone, lest runs wait for each other.
            inner = range(int(number) + 1, NUMBERS)
            await asyncio.gather(*(self.call(other) for other in inner))
            try:
                await self.ask(NUMBERS - 1)
            except Failure:
                raise Failure(number, run) from None

    async def suspend(self) -> None:
        real = self.clock is None and self.chance.random() < 0.3
        await asyncio.sleep(self.chance.random() * self.second if real else 0)

    # Calls.

    def number(self) -> Any:
        """Return the number for a call."""
        number = min(int(self.chance.expovariate(0.5)), NUMBERS - 1)
        if self.kind == "key":
            return self.chance.choice((number, -number))
        if self.kind == "typed":
            return self.chance.choice((number, float(number)))
        return number

    def identity(self, number: Any) -> Any:
        """Return what numbers have in common that share a run."""
        if self.kind == "key":
            return abs(number)
        if self.kind == "typed":
            return type(number), number
        return number

    def arguments(self, number: Any) -> tuple[Any, ...]:
        argument = self.keys(number) if self.keys is not int else number
        if "ignore" in self.options:
            return argument, self.chance.random()
        return (argument,)

    async def ask(self, number: Any) -> None:
        """Call, and check the answer. A failure of the run is raised."""
        await self.checked(number, self.cached, counts=True)

    async def call(self, number: Any) -> None:
        """Call, and check the answer, or the failure."""
        with contextlib.suppress(Failure):
            await self.ask(number)

    async def refresh(self, number: Any) -> None:
        with contextlib.suppress(Failure):
            await self.checked(number, self.cached.cache_refresh, counts=False)

    async def checked(self, number: Any, function: Any, *, counts: bool) -> None:
        identity = self.identity(number)
        floor = self.floors.get(identity, 0)
        now = asyncio.get_running_loop().time()
        started_under.set((id(self), identity, self.drops[identity]))
        self.calls += counts
        try:
            answer = await function(*self.arguments(number))
        except Failure as failure:
            of, run = failure.args
            self.received.add(run)
            self.check(identity == self.identity(of), f"{failure!r} of {number}")
            self.check(run >= floor, f"{failure!r} of {number} had been dropped")
            raise
        except asyncio.CancelledError:
            mine = was_cancelled(asyncio.current_task())
            allowed = mine or (self.cancels and not self.calm) or self.is_mortal()
            self.check(allowed, f"cancelled {number}")
            raise
        except RuntimeError as error:
            self.check_closed(error)
            self.calls -= counts
            return
        except self.permitted:
            return
        self.check(isinstance(answer, Answer), f"{answer!r} for {number}")
        right = self.identity(answer.number) == identity
        self.check(right, f"{answer.number} for {number}")
        self.check(answer.run >= floor, f"the answer for {number} had been dropped")
        if self.clock is not None:
            age = now - answer.ended
            self.check(age <= self.oldest(answer), f"an answer {age} s old")

    def check_closed(self, error: RuntimeError) -> None:
        """Raise what is no refusal of a closed cache."""
        if not (self.cancels and "is closed for" in str(error)):
            raise error

    def oldest(self, answer: Answer) -> float:
        """Return how old an answer may be that is served."""
        ttl = self.options.get("ttl")
        if callable(ttl):
            ttl = ttl(answer)
        if ttl is None:
            return float("inf")
        stale = max(
            self.options.get("stale_while_revalidate", 0.0),
            self.options.get("stale_if_error", 0.0),
        )
        return ttl + self.options.get("jitter", 0.0) + stale + SLACK  # type: ignore[no-any-return]

    def check(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.findings.append(what)

    # The other methods.

    @contextlib.contextmanager
    def dropping(self, numbers: Any) -> Iterator[None]:
        """Know that calls after this are given nothing of what was before it."""
        with self.lock:
            begun = self.begun
            identities = {self.identity(number) for number in numbers}
            self.unsure += 1
            for identity in identities:
                self.drops[identity] += 1
                self.joinable.pop(identity, None)
        try:
            yield
            for identity in identities:
                self.floors[identity] = max(begun, self.floors.get(identity, 0))
        finally:
            with self.lock:
                for identity in identities:
                    self.drops[identity] += 1
                    self.joinable.pop(identity, None)
                self.unsure -= 1

    def all_numbers(self) -> list[Any]:
        numbers: list[Any] = list(range(NUMBERS))
        if self.kind == "key":
            numbers += [-number for number in numbers]
        if self.kind == "typed":
            numbers += [float(number) for number in numbers]
        return numbers

    def invalidate(self) -> None:
        number = self.number()
        with self.dropping([number]):
            said = self.cached.cache_invalidate(*self.arguments(number))
        self.check(isinstance(said, bool), f"invalidate: {said!r}")

    def invalidate_where(self) -> None:
        wanted = self.identity(self.number())

        def is_wanted(argument: Any, *rest: object, **options: object) -> bool:
            return self.identity(getattr(argument, "number", argument)) == wanted

        same = [n for n in self.all_numbers() if self.identity(n) == wanted]
        with self.dropping(same):
            dropped = self.cached.cache_invalidate_where(is_wanted)
        self.check(dropped >= 0, f"invalidate_where: {dropped!r}")

    def clear(self) -> None:
        with self.dropping(self.all_numbers()):
            self.cached.cache_clear()
            self.calls = 0

    def put(self) -> None:
        number = self.number()
        answer = self.make_answer(number, sys.maxsize)
        self.answers.add(answer)
        answer.ended = asyncio.get_running_loop().time()
        try:
            with self.dropping([number]):
                self.cached.cache_put(answer, *self.arguments(number))
        except RuntimeError as error:
            self.check_closed(error)
        with self.lock:  # only now, since it may have been dropped before it was there
            answer.run = self.begun
            self.begun += 1

    def open_again(self) -> None:
        with self.lock:  # or another thread may open it, and call, in between
            if self.cached.cache_parameters()["closed"]:
                with self.dropping(self.all_numbers()):
                    self.cached.cache_open()

    def info(self) -> None:
        info = self.cached.cache_info()
        self.check(min(info.hits, info.misses, info.currsize) >= 0, f"{info}")
        self.check(info.maxsize is None or info.currsize <= info.maxsize, f"{info}")

    def stats(self) -> None:
        stats = self.cached.cache_stats()
        counts = (value for value in stats if isinstance(value, (int, float)))
        self.check(min(counts) >= 0, f"{stats!r}")
        str(stats)

    def parameters(self) -> None:
        parameters = self.cached.cache_parameters()
        self.check(parameters["tasks"] >= 0, f"{parameters}")

    def contains(self) -> None:
        said = self.cached.cache_contains(*self.arguments(self.number()))
        self.check(isinstance(said, bool), f"contains: {said!r}")

    def memory(self) -> None:
        held = self.cached.cache_memory()
        self.check(held is None or held >= 0, f"memory: {held!r}")

    #: What may be called in any thread at any time, without a loop, and in handlers.
    ANYWHERE = (
        info,
        stats,
        parameters,
        contains,
        memory,
        invalidate,
        invalidate,
        invalidate_where,
        clear,
    )

    def operate(self) -> None:
        """Call one of these methods, and take note of what goes wrong."""
        method = self.chance.choice(self.ANYWHERE)
        if method is Subject.clear:
            self.exact = False
        try:
            method(self)
        except self.permitted:
            pass
        except BaseException:
            self.findings.append(traceback.format_exc())

    # Time, tasks and reports.

    def enter_loop(self) -> None:
        """Hear what the running loop reports, and know what is cancelled in it."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.report)
        if sys.version_info < (3, 11):
            loop.set_task_factory(note_cancellations)

    def is_mortal(self, loop: Any = None) -> bool:
        """Tell whether a loop cancels and destroys its tasks while others go on."""
        return getattr(loop or asyncio.get_running_loop(), "is_mortal", False)

    async def pause(self, seconds: float) -> None:
        """Let so much time go by."""
        if self.clock is None:
            await asyncio.sleep(seconds * self.second)
        else:
            self.clock.now += seconds
            await asyncio.sleep(0)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task that anybody may cancel."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.open.add(task)
        task.add_done_callback(self.open.discard)
        return task

    def report(self, loop: Any, context: dict[str, Any]) -> None:
        """Be the exception handler of a loop."""
        error = context.get("exception")
        message = context["message"]
        if self.is_mortal(loop) and "was destroyed" in message:
            return
        if isinstance(error, self.permitted or ()):
            return
        if isinstance(error, Failure):
            announced = "origin" in message and "never retrieved" not in message
            self.check(announced, f"reported without telling of what: {message}")
            self.reported.append(error.args[1])
            return
        told = traceback.format_exception(error) if error else []
        self.findings.append(f"reported: {context}\n{''.join(told)}")

    async def act(self, actions: list["Action"], number: int) -> None:
        """Be an actor."""
        for _ in range(number):
            try:
                await self.chance.choice(actions)(self)
                if self.chance.random() < 0.3:
                    await asyncio.sleep(0)
            except self.permitted:
                pass
            except asyncio.CancelledError:  # of a run, since nobody cancels actors
                # Early versions of Python 3.12 cancel too late what timed out.
                if not self.cancels and sys.version_info[:2] != (3, 12):
                    raise

    # The end.

    async def quiet(self) -> None:
        """Wait until nothing goes on, and check that nothing is left."""
        mine = asyncio.current_task()
        for _ in range(5000):
            if asyncio.all_tasks() == {mine} and (
                self.clock is None or not self.cached.cache_parameters()["tasks"]
            ):
                break
            await asyncio.sleep(0 if self.clock else 0.001)
        else:
            left = [task for task in asyncio.all_tasks() if task is not mine]
            parameters = self.cached.cache_parameters()
            self.findings.append(f"goes on for ever: {parameters}, {left}")
        for _ in range(3):
            await asyncio.sleep(0)

    def check_counters(self) -> None:
        """Check what must be so when nothing goes on."""
        self.info()
        self.stats()
        info = self.cached.cache_info()
        said = [self.cached.cache_contains(*self.arguments(n)) for n in self.distinct()]
        later = self.cached.cache_info()  # since when more may have expired
        is_right = later.currsize <= sum(said) <= info.currsize
        self.check(is_right, f"{info}, then {later}, but contains {sum(said)}")
        if self.exact:
            counted = info.hits + info.misses
            self.check(counted == self.calls, f"{counted} counted of {self.calls}")
        if "error_ttl" not in self.options:
            twice = [n for n, times in Counter(self.reported).items() if times > 1]
            self.check(not twice, f"failures of {twice} reported more than once")
        # A run in the background may be joined, and is reported all the same.
        if not {"stale_while_revalidate", "stale_if_slow", "error_ttl"} & set(
            self.options
        ):
            both = self.received.intersection(self.reported)
            self.check(not both, f"failures of {both} raised to a caller and reported")
        hides = {"stale_while_revalidate", "stale_if_error", "error_ttl"}
        if self.exact and not self.cancels and not hides & self.options.keys():
            lost = set(self.failed) - self.received - set(self.reported)
            self.check(not lost, f"nobody was told of the failures of {lost}")

    def distinct(self) -> list[Any]:
        """Return numbers that have nothing in common."""
        return list({self.identity(n): n for n in self.all_numbers()}.values())

    async def check_calls(self) -> None:
        """Check that the cache still works: it answers, and keeps what it has."""
        self.calm = True
        for number in self.distinct():
            await self.call(number)
        await self.quiet()
        if not {"ttl", "maxsize", "error_ttl"} & self.options.keys():
            for number in self.distinct():
                kept = self.cached.cache_contains(*self.arguments(number))
                begun = self.begun
                await self.call(number)
                self.check(not kept or begun == self.begun, f"{number} ran again")

    async def check_freed(self) -> None:
        """Check that nothing holds what the cache does not."""
        await self.quiet()
        self.cached.cache_clear()
        await self.quiet()
        # A CancelledError of a run's own, raised in its first step, knows the frames of
        # the call that began it, which may hold an answer, for as long as it lives.
        if COUNTS_REFERENCES and HAS_GIL and not self.cancels:
            left = len(self.answers)
            self.check(not left, f"{left} answers are alive after cache_clear()")

    def conclude(self) -> None:
        """Raise AssertionError if there was anything."""
        assert not self.findings, "\n".join((self.kind, *self.findings[:5]))


# What actors do.

Action = Callable[[Subject], Awaitable[None]]
ACTIONS: list[Action] = []
#: Those that close the cache.
CLOSING: list[Action] = []


def action(function: Action) -> Action:
    ACTIONS.append(function)
    return function


def closing(function: Action) -> Action:
    CLOSING.append(function)
    return function


async def settle(task: "asyncio.Task[Any]") -> None:
    """Wait for the end of a task that may be cancelled."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def some_steps(subject: Subject) -> None:
    for _ in range(subject.chance.randrange(4)):
        await subject.suspend()


@action
async def call(subject: Subject) -> None:
    await subject.call(subject.number())


@action
async def call_twice(subject: Subject) -> None:
    number = subject.number()
    await subject.call(number)
    await subject.call(number)


@action
async def call_many(subject: Subject) -> None:
    for number in subject.distinct():
        await settle(subject.start(subject.call(number)))


@action
async def join(subject: Subject) -> None:
    number = subject.number()
    calls = [subject.start(subject.call(number)) for _ in range(3)]
    for task in calls:
        await settle(task)


@action
async def gather(subject: Subject) -> None:
    calls = [subject.ask(subject.number()) for _ in range(4)]
    try:
        await asyncio.gather(*calls)
    except Failure:
        pass


@action
async def group(subject: Subject) -> None:
    if sys.version_info < (3, 11):
        return
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                asked = subject.ask(subject.number())
                try:
                    tasks.create_task(asked)
                except RuntimeError:  # one has failed at once, in an eager task
                    asked.close()
    except ExceptionGroup as failures:
        # With no variable for each: with eager tasks that would be a cycle.
        kinds = {type(failure) for failure in failures.exceptions}
        assert kinds <= {Failure, *subject.permitted}, failures.exceptions
        # Before 3.13.1, the group and a frame of its traceback keep each other alive.
        failures.__traceback__ = None


@action
async def cancel(subject: Subject) -> None:
    task = subject.start(subject.call(subject.number()))
    await some_steps(subject)
    task.cancel()
    if subject.chance.random() < 0.3:
        await asyncio.sleep(0)
        task.cancel()
    await settle(task)


@action
async def cancel_another(subject: Subject) -> None:
    running = asyncio.get_running_loop()
    others = [task for task in list(subject.open) if task.get_loop() is running]
    if others:
        subject.chance.choice(sorted(others, key=id)).cancel()


@action
async def call_impatiently(subject: Subject) -> None:
    timeout = subject.chance.choice((0, 0.01, 0.05)) * subject.second
    asked = subject.call(subject.number())
    try:
        if sys.version_info >= (3, 11) and subject.chance.random() < 0.5:
            async with asyncio.timeout(timeout):
                await asked
        else:
            await asyncio.wait_for(asked, timeout)
    except asyncio.TimeoutError:
        asked.close()  # if it has not begun


@action
async def shield(subject: Subject) -> None:
    task = subject.start(subject.call(subject.number()))
    outer = asyncio.shield(task)
    await some_steps(subject)
    outer.cancel()
    await settle(task)


class Thrown(Exception):
    """What is thrown into a call."""


class Thrower:
    """Awaits a call by hand, and throws into it, or closes it, while it waits."""

    def __init__(self, subject: Subject, *, closes: bool) -> None:
        self.subject = subject
        self.closes = closes

    def __await__(self) -> Iterator[None]:
        coroutine = self.subject.call(self.subject.number())
        try:
            coroutine.send(None)
        except StopIteration:
            return
        yield
        if self.closes:
            coroutine.close()
            return
        try:
            coroutine.throw(Thrown())
        except Thrown:
            return
        except StopIteration:
            self.subject.findings.append("a call swallowed what was thrown into it")
            return
        coroutine.close()
        self.subject.findings.append("a call went on waiting when something was thrown")


@action
async def throw(subject: Subject) -> None:
    thrown = Thrower(subject, closes=subject.chance.random() < 0.5)
    await settle(subject.start(wait(thrown)))


async def wait(awaitable: Any) -> None:
    await awaitable


@action
async def refresh(subject: Subject) -> None:
    task = subject.start(subject.refresh(subject.number()))
    if subject.chance.random() < 0.3:
        await some_steps(subject)
        task.cancel()
    await settle(task)


@action
async def refresh_twice(subject: Subject) -> None:
    number = subject.number()
    tasks = [
        subject.start(subject.refresh(number)),
        subject.start(subject.call(number)),
        subject.start(subject.refresh(number)),
    ]
    for task in tasks:
        await settle(task)


@action
async def warm(subject: Subject) -> None:
    numbers = [subject.number() for _ in range(4)]
    calls = [subject.arguments(number) for number in numbers]
    epoch = dict(subject.drops)
    subject.calls += len(calls)
    task = subject.start(subject.cached.cache_warm(calls, concurrency=2))
    if subject.chance.random() < 0.3:
        await some_steps(subject)
        subject.exact = False
        task.cancel()
    await asyncio.wait([task])
    if dict(subject.drops) != epoch or subject.cancels:
        subject.exact = False  # how many of them were counted is not known
    if task.cancelled():  # perhaps by another actor
        subject.exact = False
        return
    if isinstance(task.exception(), RuntimeError):
        subject.exact = False  # it was refused as a whole
        return subject.check_closed(task.exception())  # type: ignore[arg-type]
    for number, got in zip(numbers, task.result(), strict=True):
        if isinstance(got, Failure):
            subject.received.add(got.args[1])
            got = Answer(*got.args)
        if isinstance(got, (asyncio.CancelledError, RuntimeError)) and subject.cancels:
            continue
        if isinstance(got, subject.permitted or ()):
            continue
        right = subject.identity(got.number) == subject.identity(number)
        subject.check(right, f"warm: {got!r} for {number}")


@action
async def invalidate(subject: Subject) -> None:
    subject.invalidate()


@action
async def invalidate_where(subject: Subject) -> None:
    subject.invalidate_where()


@action
async def clear(subject: Subject) -> None:
    if subject.chance.random() < 0.3:
        subject.clear()


@action
async def put(subject: Subject) -> None:
    subject.put()


@action
async def look(subject: Subject) -> None:
    subject.info()
    subject.stats()
    subject.parameters()
    subject.contains()
    subject.memory()


@action
async def pause(subject: Subject) -> None:
    await subject.pause(subject.chance.choice((0.5, 1.9, 2.0, 2.1, 4.0)))


@closing
async def close(subject: Subject) -> None:
    subject.exact = False
    waits = subject.chance.random() < 0.3
    await settle(subject.start(subject.cached.cache_close(wait=waits)))
    subject.open_again()


async def battle(
    subject: Subject, actors: int, actions: list[Action], length: int = 8
) -> None:
    """Let actors act, in a time that is ours, and check that nothing is left."""
    loop = asyncio.get_running_loop()
    subject.enter_loop()
    subject.clock = Clock()
    if sys.version_info >= (3, 12) and subject.chance.random() < 0.2:
        loop.set_task_factory(asyncio.eager_task_factory)
    loop.set_debug(subject.chance.random() < 0.1)
    tasks = [loop.create_task(subject.act(actions, length)) for _ in range(actors)]
    for _ in range(20_000):
        if all(task.done() for task in tasks):
            break
        subject.clock.now += 0.01
        await asyncio.sleep(0)
    else:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        raise AssertionError(f"{subject.kind}: hangs: {left}")
    for task in tasks:
        task.result()
    tasks.clear()
    await subject.quiet()


async def aftermath(subject: Subject) -> None:
    """Check that the cache is as it should be after a battle."""
    subject.check_counters()
    await subject.check_calls()
    await subject.check_freed()


# How attacks are run.

Attack = Callable[[float, int], int]
ATTACKS: dict[str, Attack] = {}


class Complaints(logging.Handler):
    """Keeps what is said by asyncio's log, dying objects and threads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Executing" not in record.getMessage():  # slow, in debug mode
            self.said.append(record.getMessage())

    def complain(self, report: Any) -> None:
        """Be the hook for errors that cannot be raised, or end a thread."""
        told = traceback.format_exception(None, report.exc_value, report.exc_traceback)
        self.said.append("".join(told))


@contextlib.contextmanager
def no_complaints() -> Iterator[None]:
    """Raise AssertionError if anything is said that nobody can catch."""
    complaints = Complaints()
    logger = logging.getLogger("asyncio")
    hooks = sys.unraisablehook, threading.excepthook
    logger.addHandler(complaints)
    logger.propagate = False
    sys.unraisablehook = threading.excepthook = complaints.complain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", AlruCacheLoopResetWarning)
            warnings.filterwarnings("ignore", message=".*fork.*")
            yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        logger.removeHandler(complaints)
    assert not complaints.said, "\n".join(complaints.said[:5])


def attack(one_round: Callable[[Chance], None]) -> Attack:
    """Make an attack of what one round of it does."""

    @functools.wraps(one_round)
    def rounds(seconds: float, seed: int) -> int:
        end = time.monotonic() + seconds
        for number in itertools.count():
            faulthandler.dump_traceback_later(LIMIT, exit=True)
            try:
                with no_complaints():
                    one_round(Chance(seed + number))
            except BaseException as error:
                message = f"{one_round.__name__}, --seed {seed + number}: {error}"
                raise AssertionError(message) from error
            finally:
                faulthandler.cancel_dump_traceback_later()
            if time.monotonic() > end:
                return number + 1
        raise AssertionError("never reached")

    ATTACKS[one_round.__name__] = rounds
    return rounds


class Lines:
    """Disturbs the thread that enters it, at lines of the package picked at random."""

    def __init__(
        self, chance: Chance, rate: float, disturb: Callable[[], None]
    ) -> None:
        self.chance = chance
        self.rate = rate
        self.disturb = disturb

    def __enter__(self) -> None:
        self.former = sys.gettrace()
        sys.settrace(self.enter_frame)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.former)

    def enter_frame(self, frame: Any, event: str, _: object) -> Any:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) or code is Key.__eq__.__code__:
            return self.at_line
        return None

    def at_line(self, frame: Any, event: str, _: object) -> Any:
        if event == "line" and self.chance.random() < self.rate:
            self.disturb()
        return self.at_line


# The attacks.


@attack
def storms(chance: Chance) -> None:
    """Actors who call, time out, cancel and drop (A3-A9, B1-B4, C4-C8, C11-C14)."""
    cancels = chance.random() < 0.5
    subject = Subject(chance, chance.choice(list(OPTIONS)), cancels=cancels)

    async def main() -> None:
        actions = [*ACTIONS, *CLOSING] if cancels else ACTIONS
        await battle(subject, 8, actions)
        await aftermath(subject)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    subject.conclude()


@attack
def threads_at_lines(chance: Chance) -> None:
    """Another thread calls a method between two lines of the package (A8, B13)."""
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        cancels=chance.random() < 0.3,
        keys=chance.choice((int, Key)),
    )
    blocked: list[threading.Thread] = []

    def disturb() -> None:
        thread = threading.Thread(target=subject.operate, daemon=True)
        thread.start()
        # It has to wait if the package holds a lock.
        thread.join(0.02)
        if thread.is_alive():
            blocked.append(thread)

    async def main() -> None:
        actions = [*ACTIONS, *CLOSING] if subject.cancels else ACTIONS
        with Lines(chance, chance.choice((0.003, 0.01, 0.03)), disturb):
            await battle(subject, 2, actions, length=4)
        for thread in blocked:
            thread.join(10)
            assert not thread.is_alive(), "a thread waits for ever"
        await aftermath(subject)

    asyncio.run(main())
    subject.conclude()


@attack
def signals_at_lines(chance: Chance) -> None:
    """The same thread calls a method between two lines, as signal handlers do (B15)."""
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        cancels=chance.random() < 0.3,
        keys=chance.choice((int, Key)),
    )

    async def main() -> None:
        actions = [*ACTIONS, *CLOSING] if subject.cancels else ACTIONS
        with Lines(chance, chance.choice((0.003, 0.01, 0.03)), subject.operate):
            await battle(subject, 3, actions)
        await aftermath(subject)

    asyncio.run(main())
    subject.conclude()


@attack
def signals(chance: Chance) -> None:
    """Signal handlers call methods while calls hit, miss and expire (B15)."""
    if not hasattr(signal, "setitimer"):
        return
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        second=0.001,
        single=False,
        exact=False,
        keys=chance.choice((int, Key)),
        shared=chance.random() < 0.3,
    )
    end = time.monotonic() + 0.2

    def handle(*_: object) -> None:
        subject.operate()
        if time.monotonic() < end:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 3e-4))

    async def main() -> None:
        subject.enter_loop()
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        while time.monotonic() < end:
            await subject.act(ACTIONS, 10)
        signal.setitimer(signal.ITIMER_REAL, 0)
        await subject.quiet()
        subject.info()
        await subject.check_calls()

    former = signal.signal(signal.SIGALRM, handle)
    try:
        asyncio.run(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    subject.conclude()


@attack
def loops_in_threads(chance: Chance) -> None:
    """Four loops in four threads use one function, with every method (A10, B13)."""
    threads_with_loops(chance, shared=False)


@attack
def shared_by_threads(chance: Chance) -> None:
    """The same where they share the cache and its runs (E1-E10)."""
    threads_with_loops(chance, shared=True)


def threads_with_loops(chance: Chance, *, shared: bool) -> None:
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        second=chance.choice((0.0005, 0.002)),
        cancels=chance.random() < 0.3,
        single=False,
        exact=False,
        keys=chance.choice((int, Key)),
        shared=shared,
    )
    end = time.monotonic() + 0.3

    async def main() -> None:
        subject.enter_loop()
        actions = [*ACTIONS, *CLOSING] if subject.cancels else ACTIONS
        while time.monotonic() < end:
            await asyncio.gather(*(subject.act(actions, 5) for _ in range(3)))
        await subject.quiet()

    def thread(debug: bool) -> None:
        try:
            asyncio.run(main(), debug=debug)
        except BaseException:
            subject.findings.append(traceback.format_exc())

    threads = [
        threading.Thread(target=thread, args=(chance.random() < 0.5,), daemon=True)
        for _ in range(4)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(chance.choice((interval, 1e-5)))
    try:
        for started in threads:
            started.start()
        for started in threads:
            started.join(LIMIT / 3)
            if started.is_alive():
                faulthandler.dump_traceback()
                subject.findings.append("a thread hangs")
                break
    finally:
        sys.setswitchinterval(interval)
    subject.conclude()
    parameters = subject.cached.cache_parameters()
    subject.check(parameters["tasks"] == 0, f"{parameters}, but all loops have ended")
    subject.info()
    subject.stats()
    subject.conclude()


@attack
def dying_loops(chance: Chance) -> None:
    """Loops that share a cache die in every way while others wait (E3-E5, E9)."""
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        second=chance.choice((0.0005, 0.002)),
        # A run that its last waiter has left from another thread goes on for a moment.
        single=chance.random() < 0.5,
        exact=False,
        keys=chance.choice((int, Key)),
        shared=True,
    )
    end = time.monotonic() + 0.3
    actions = [call, call_many, gather, look] if subject.single else ACTIONS
    ready = threading.Event()
    # Tasks that the function had made when their loop was closed.
    warnings.filterwarnings("ignore", message=".*was never awaited")

    async def live(death: str) -> None:
        subject.enter_loop()
        loop = asyncio.get_running_loop()
        loop.is_mortal = True  # type: ignore[attr-defined]
        if death == "close":  # tasks are destroyed then
            loop.set_exception_handler(lambda *_: None)
        calls = [loop.create_task(subject.call(subject.number())) for _ in range(4)]
        if death == "interrupt":
            loop.call_later(chance.random() * 0.003, interrupt)
            await asyncio.sleep(1)
        await subject.act([call, gather, look], chance.randrange(4))
        del calls

    def interrupt() -> None:
        raise KeyboardInterrupt

    def live_and_die() -> None:
        death = chance.choice(("run", "close", "interrupt"))
        try:
            if death == "close":
                loop = asyncio.new_event_loop()
                loop.run_until_complete(live(death))
                loop.close()
            else:
                asyncio.run(live(death))
        except (KeyboardInterrupt, asyncio.CancelledError):
            assert death == "interrupt"

    async def stay() -> None:
        subject.enter_loop()
        while time.monotonic() < end:
            await asyncio.gather(*(subject.act(actions, 5) for _ in range(3)))
        await asyncio.to_thread(ready.wait, LIMIT / 3)
        await subject.quiet()
        subject.cached.cache_clear()
        await subject.check_calls()
        subject.check_counters()

    def thread(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException:
            subject.findings.append(traceback.format_exc())

    def die_often() -> None:
        while time.monotonic() < end:
            live_and_die()

    def operate() -> None:
        while time.monotonic() < end and not subject.single:
            subject.operate()
            time.sleep(chance.random() * 0.01)

    threads = [
        threading.Thread(target=thread, args=(work,), daemon=True)
        for work in (die_often, die_often, operate, lambda: asyncio.run(stay()))
    ]
    for started in threads:
        started.start()
    for started in threads:
        started.join(LIMIT / 3)
        if started is threads[-2]:
            ready.set()
        if started.is_alive():
            faulthandler.dump_traceback()
            subject.findings.append("a thread hangs")
            break
    gc.collect()  # tasks that were pending, while nobody minds
    subject.conclude()


class SlowKey(Key):
    """Lets other threads go on while it is compared."""

    def __eq__(self, other: object) -> bool:
        time.sleep(0)
        return super().__eq__(other)

    __hash__ = Key.__hash__


@attack
def forks(chance: Chance) -> None:
    """Processes fork with runs in flight, and while threads use the cache (A10, E11)."""
    if not hasattr(os, "fork"):
        return
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        second=0.01,
        single=False,
        exact=False,
        keys=chance.choice((int, Key, SlowKey)),
        shared=chance.random() < 0.5,
    )
    hammering = chance.random() < 0.7
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            subject.operate()

    async def in_child() -> None:
        subject.enter_loop()
        tasks = subject.cached.cache_parameters()["tasks"]
        assert tasks == 0, f"{tasks} tasks in the child"
        if chance.random() < 0.3:
            await subject.cached.cache_close(wait=chance.random() < 0.5)
            subject.cached.cache_open()
        for _ in range(3):
            await subject.act(ACTIONS, 3)
        await subject.quiet()
        await subject.cached.cache_close()
        assert subject.cached.cache_parameters()["tasks"] == 0

    def child() -> None:
        status = 1
        try:
            signal.alarm(LIMIT // 4)  # which kills it
            subject.lock = threading.RLock()  # another thread may have held it
            chance.seed(os.getpid())
            asyncio.run(in_child())
            subject.conclude()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    async def parent() -> None:
        subject.enter_loop()
        calls = [
            asyncio.ensure_future(subject.call(subject.number())) for _ in range(5)
        ]
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        children = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                child()
            children.append(pid)
            await subject.act(ACTIONS, 2)
        for pid in children:
            while True:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    break
                await asyncio.sleep(0.005)
            subject.check(status == 0, f"a child ended with {status}")
        await asyncio.gather(*calls)
        stop.set()
        await subject.quiet()

    threads = [threading.Thread(target=hammer, daemon=True) for _ in range(hammering)]
    for thread in threads:
        thread.start()
    try:
        asyncio.run(parent())
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    subject.conclude()


@attack
def re_entrancy(chance: Chance) -> None:
    """Comparisons, dying values and weak references call the cache back (A2, B15)."""
    subject = Subject(
        chance,
        chance.choice(list(OPTIONS)),
        cancels=chance.random() < 0.3,
        exact=False,
        keys=Key,
    )
    comparisons = chance.random() < 0.7
    deaths = chance.random() < 0.5
    # A call that a comparison makes at once begins inside the look-up of another.
    subject.single = not deaths and not comparisons
    rate = chance.choice((0.02, 0.1, 0.5))
    raises = chance.random() < 0.4
    if raises:
        subject.permitted = (Interruption,)
    busy = False

    def disturb() -> None:
        nonlocal busy
        if busy or chance.random() > rate:
            return
        busy = True
        try:
            luck = chance.random()
            if raises and luck < 0.5:
                raise Interruption
            running = asyncio._get_running_loop() is not None
            if luck > 0.8 and running and len(subject.open) < 10:
                subject.start(subject.call(subject.number()))
            elif luck > 0.7 and running:
                subject.put()
            else:
                subject.operate()
        finally:
            busy = False

    def die(*_: object) -> None:
        try:
            disturb()
        except Interruption:
            pass
        except BaseException:
            subject.findings.append(traceback.format_exc())

    class Dying(Answer):
        def __del__(self) -> None:
            die()

    class Watched(Answer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watching.append(weakref.ref(self, die))
            if chance.random() < 0.3:
                self.itself = self  # freed by the garbage collector, at any time

    watching: list[Any] = []

    async def main() -> None:
        if deaths:
            subject.make_answer = chance.choice((Dying, Watched))
        if comparisons:
            Key.disturb = staticmethod(disturb)
        actions = [*ACTIONS, *CLOSING] if subject.cancels else ACTIONS
        try:
            await battle(subject, 4, actions)
        finally:
            Key.disturb = staticmethod(lambda: None)
        subject.make_answer = Answer
        rest = rates_of_rest()
        await subject.quiet()
        subject.check_counters()
        await subject.check_calls()
        del rest

    def rates_of_rest() -> None:
        nonlocal rate
        rate = 0.0

    often = chance.choice((5, 50, 700))
    if not COUNTS_REFERENCES:  # PyPy has no thresholds
        asyncio.run(main())
    else:
        threshold = gc.get_threshold()
        gc.set_threshold(often, 5, 5)
        try:
            asyncio.run(main())
        finally:
            gc.set_threshold(*threshold)
    subject.conclude()


async def one_by_one(calls: list[Coroutine[Any, Any, None]]) -> None:
    for index, asked in enumerate(calls):
        try:
            await asked
        except BaseException:
            for never in calls[index + 1 :]:
                never.close()
            raise


async def gathered(calls: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*calls)


async def grouped(calls: list[Coroutine[Any, Any, None]]) -> None:
    if sys.version_info < (3, 11):
        return await one_by_one(calls)
    async with asyncio.TaskGroup() as tasks:
        for asked in calls:
            tasks.create_task(asked)


async def shielded(calls: list[Coroutine[Any, Any, None]]) -> None:
    for task in [asyncio.ensure_future(asked) for asked in calls]:
        await asyncio.shield(task)


async def waited_for(calls: list[Coroutine[Any, Any, None]]) -> None:
    tasks = [asyncio.ensure_future(asked) for asked in calls]
    await asyncio.wait(tasks, timeout=1000)
    for task in tasks:
        await task


@attack
def recursion(chance: Chance) -> None:
    """Functions that call each other neither hang nor raise without a cycle (B5)."""
    has_cycles = chance.random() < 0.5
    size = chance.randint(2, 7)
    # Through other tasks a cycle cannot be found.
    ways = [one_by_one, gathered, grouped]
    if not has_cycles:
        ways += [shielded, waited_for]
    callees = {
        number: [
            (
                chance.choice(ways),
                [
                    chance.randrange(0 if has_cycles else number + 1, size)
                    for _ in range(chance.randint(1, 3))
                ],
            )
            for _ in range(chance.randrange(3))
            if has_cycles or number + 1 < size
        ]
        for number in range(size)
    }

    async def visit(number: int) -> int:
        for way, others in callees[number]:
            for _ in range(chance.randrange(2)):
                await asyncio.sleep(0)
            await way([call(other) for other in others])
        return number

    async def call(number: int) -> None:
        assert await cached[number % 2](number) == number

    cached = [alru_cache(visit), alru_cache(maxsize=2)(visit)]
    findings: list[Any] = []

    def is_cycle(error: Any) -> bool:
        if sys.version_info >= (3, 11) and isinstance(error, BaseExceptionGroup):
            return all(map(is_cycle, error.exceptions))
        return type(error) is RuntimeError

    async def root() -> None:
        await call(chance.randrange(size))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: findings.append(context))
        tasks = [loop.create_task(root()) for _ in range(3)]
        for _ in range(3000):
            if all(task.done() for task in tasks):
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"hangs: {callees}")
        for task in tasks:
            error = task.exception()
            allowed = error is None or (has_cycles and is_cycle(error))
            assert allowed, (error, callees)
        while not has_cycles and any(f.cache_parameters()["tasks"] for f in cached):
            await asyncio.sleep(0)

    asyncio.run(main())
    findings = [c for c in findings if not is_cycle(c.get("exception"))]
    assert not findings, (findings, callees)


class Number(IntEnum):
    ONE = 1


class Text(str):
    pass


ARGUMENTS = [
    *(0, 1, 2, -1, -2, 2**61 - 1, 0.0, -0.0, 1.0, True, False, 1 + 0j, 1e100),
    *(Decimal(1), Fraction(1), Number.ONE, "", "1", "a", Text("a"), b"a", None),
    *((), (1,), (1.0,), (True,), ("a",), frozenset({1}), frozenset({1.0}), int, float),
    float("nan"),
]


@attack
def like_functools(chance: Chance) -> None:
    """Sequential calls are hits, misses and evictions as with functools (A2, A3, A6)."""
    ran: list[Any] = []
    sizes = (None, 0, 1, 2, 3, 5, 8, -1, 128)
    maxsize, typed = chance.choice(sizes), chance.random() < 0.5
    few = chance.sample(ARGUMENTS, chance.randint(2, len(ARGUMENTS)))
    names = ["a", "b", "key", "number", "self", "function", "args"]

    async def anything(*args: Any, **kwargs: Any) -> Any:
        ran.append((args, kwargs))
        return await result(len(ran), [*args, *kwargs.values()])

    async def one(number: Any) -> Any:
        ran.append(number)
        return await result(len(ran), [number])

    async def one_or_none(number: Any = 7) -> Any:
        ran.append(number)
        return await result(len(ran), [number])

    async def two(a: Any, b: Any = 1) -> Any:
        ran.append((a, b))
        return await result(len(ran), [a, b])

    async def keywords(a: Any = 1, *, b: Any = 2) -> Any:
        ran.append((a, b))
        return await result(len(ran), [a, b])

    async def result(run: int, arguments: list[Any]) -> int:
        if run % 3:
            await asyncio.sleep(0)
        if "1" in arguments:
            raise Failure(run)
        return run

    function, shapes = chance.choice(
        [
            (anything, [(n, k) for n in range(4) for k in range(3)]),
            (one, [(1, ()), (0, ("number",))]),
            (one_or_none, [(0, ()), (1, ()), (0, ("number",))]),
            (two, [(1, ()), (2, ()), (1, ("b",)), (0, ("a", "b")), (0, ("b", "a"))]),
            (keywords, [(0, ()), (1, ()), (1, ("b",)), (0, ("b", "a")), (0, ("a",))]),
        ]
    )
    cached = alru_cache(maxsize=maxsize, typed=typed)(function)
    current: list[Any] = []  # what the other one calls
    judge = functools.lru_cache(maxsize=maxsize, typed=typed)(
        lambda *a, **k: current[0]()
    )
    made: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def some_arguments() -> tuple[tuple[Any, ...], dict[str, Any]]:
        if made and chance.random() < 0.3:
            return chance.choice(made)
        count, keywords = chance.choice(shapes)
        if isinstance(keywords, int):
            keywords = tuple(chance.sample(names, keywords))
        args = tuple(chance.choice(few) for _ in range(count))
        made.append((args, {name: chance.choice(few) for name in keywords}))
        return made[-1]

    async def main() -> None:
        for _ in range(300):
            args, kwargs = some_arguments()
            if chance.random() < 0.03 and maxsize not in (0, -1):
                args = ([], *args[1:])
            expected = before = len(ran)

            def run(args: Any = args) -> int:
                if "1" in [*args, *kwargs.values()]:
                    raise Failure(before + 1)
                return before + 1

            current[:] = [run]
            told = []
            for answer in (judge, cached):
                try:
                    got = answer(*args, **kwargs)
                    told.append(await got if answer is cached else got)
                except Failure as failure:
                    told.append(failure.args)
                except TypeError:
                    told.append(TypeError)
            del expected
            assert told[0] == told[1], (told, args, kwargs, made)
            assert tuple(cached.cache_info()) == tuple(judge.cache_info()), (
                cached.cache_info(),
                judge.cache_info(),
                (args, kwargs),
            )
            if chance.random() < 0.01:
                cached.cache_clear()
                judge.cache_clear()

    asyncio.run(main())


@attack
def leftovers(chance: Chance) -> None:
    """Failures and cancellations leave no cycle for the garbage collector (B3)."""
    if not COUNTS_REFERENCES:
        return
    subject = Subject(chance, chance.choice(list(OPTIONS)), single=False, exact=False)
    subject.nests = False  # gather makes cycles of its own

    async def failing(function: Any) -> None:
        with contextlib.suppress(Failure):
            await function(*subject.arguments(subject.number()))

    async def several(number: int) -> None:
        tasks = [subject.start(subject.call(subject.number())) for _ in range(number)]
        await asyncio.sleep(0)
        if chance.random() < 0.3:
            for task in tasks:
                task.cancel()
        for task in tasks:
            await settle(task)

    async def main() -> None:
        subject.enter_loop()
        subject.clock = Clock()
        ways: list[Callable[[], Awaitable[None]]] = [
            lambda: failing(subject.cached),
            lambda: failing(subject.cached.cache_refresh),
            lambda: several(3),
            lambda: throw(subject),
            lambda: pause(subject),
            lambda: invalidate(subject),
            lambda: refresh_twice(subject),
        ]
        if sys.version_info < (
            3,
            14,
        ):  # whose asyncio.wait leaves a cycle when cancelled
            ways.append(lambda: warm(subject))
        for _ in range(8):
            await chance.choice(ways)()  # which makes what is made once
        await subject.quiet()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(12):
            await chance.choice(ways)()
        await subject.quiet()
        gc.collect()
        left = [f"{type(found)} {found!r:.200}" for found in gc.garbage]
        gc.set_debug(0)
        gc.garbage.clear()
        assert not left, f"{subject.kind}: garbage {left}"

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    subject.conclude()


def main() -> int:
    parser = argparse.ArgumentParser(description="Attack async_lru.")
    parser.add_argument("seconds", type=float)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ATTACKS))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    found = 0
    print(
        f"Python {sys.version.split()[0]}, {PACKAGE}, --seed {given.seed}", flush=True
    )
    for name in given.names or ATTACKS:
        print(f"{name}: ", end="", flush=True)
        try:
            rounds = ATTACKS[name](given.seconds, given.seed)
        except AssertionError as finding:
            found += 1
            print(f"FOUND {finding}")
            traceback.print_exception(
                finding.__cause__, finding.__cause__, finding.__cause__.__traceback__
            )
        else:
            print(f"nothing in {rounds} rounds", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
