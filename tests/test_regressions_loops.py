"""Crashes, hangs and wrong answers that were seen once: threads, forks, nested loops.

What may crash or hang runs in a Python of its own.
"""

import asyncio
import concurrent.futures
import faulthandler
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import Clock, needs_more_hashes, needs_refcount, steps

import async_lru
from async_lru import alru_cache

#: Where the code is whose steps are taken one by one; nothing in this file counts.
PACKAGE = str(Path(async_lru.__file__).parent)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

#: Seconds that a scenario may take.
LIMIT = 60


def run_alone(scenario: Callable[..., None], *args: object) -> None:
    """Run *scenario*, a function of this file, in a Python of its own.

    Fails if that crashes, hangs, or has anything to say on stderr.
    """
    code = f"import {__name__}; {__name__}.limited({scenario.__name__!r}, *{args!r})"
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", code]
    # To a file: a forked child that hangs would hold a pipe open.
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, stderr=errors, cwd=Path(__file__).parent, timeout=LIMIT + 30
        )
        errors.seek(0)
        said = errors.read()
    if done.returncode or said:
        pytest.fail(f"exit status {done.returncode}\n{said}", pytrace=False)


def limited(scenario: str, *args: object) -> None:
    """Run the function *scenario* and exit if it takes too long."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    globals()[scenario](*args)


def in_a_thread(function: Callable[..., Any], *args: object, seconds: float) -> None:
    """Run *function* in another thread; go on without it if it takes longer.

    It may wait for a lock that is held here.
    """
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(seconds)


class StepByStep:
    """Calls *action* once, before a chosen step of the code that runs in a block.

    A step is an instruction of async_lru, or a line where Python cannot trace
    instructions.
    """

    def __init__(self, action: Callable[[], object], stride: int = 1) -> None:
        self.action = action
        self.stride = stride
        self.at = 0
        self.passed = False

    @contextmanager
    def next_step(self) -> Iterator[None]:
        """Call the action later than in the block before, by *stride* steps."""
        self.at += self.stride
        self.number = 0
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(None)
            self.passed = self.number < self.at

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        self.number += 1
        if self.number == self.at:
            self.action()
        return self.trace


# A foreign thread while a key's __eq__ is running.


class KeyWithPause:
    """All of these are equal; the comparison number *at* calls *action*."""

    action: Callable[[], object]
    comparisons = at = 0

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        KeyWithPause.comparisons += 1
        if KeyWithPause.comparisons == KeyWithPause.at:
            KeyWithPause.action()
        return isinstance(other, KeyWithPause)


def drop_in_each_comparison(method: str) -> None:
    @alru_cache
    async def function(key: KeyWithPause) -> str:
        return "value"

    dropping = {
        "clear": function.cache_clear,
        "invalidate": lambda: function.cache_invalidate(KeyWithPause()),
    }[method]
    KeyWithPause.action = lambda: in_a_thread(dropping, seconds=0.05)

    async def main() -> None:
        for at in range(1, 10):
            await function(KeyWithPause())
            KeyWithPause.at = at
            KeyWithPause.comparisons = 0
            assert await function(KeyWithPause()) == "value"

    asyncio.run(main())


@pytest.mark.parametrize("method", ["clear", "invalidate"])
def test_another_thread_drops_the_value_while_a_hit_compares_keys_B13(
    method: str,
) -> None:
    run_alone(drop_in_each_comparison, method)


@dataclass(frozen=True)
class DataKey:
    number: int


def clear_while_dataclasses_are_keys() -> None:
    @alru_cache
    async def function(key: DataKey) -> int:
        return key.number

    ended = False

    def clear() -> None:
        while not ended:
            function.cache_clear()

    async def main() -> None:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            for number in range(20):
                assert await function(DataKey(number)) == number

    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=clear)
    thread.start()
    try:
        asyncio.run(main())
    finally:
        ended = True
        thread.join()


def test_another_thread_clears_while_the_loop_serves_dataclass_keys_B13() -> None:
    run_alone(clear_while_dataclasses_are_keys)


# Forked children.


@alru_cache
async def cached(argument: Any) -> Any:
    if argument == "slow":
        await asyncio.sleep(3600)
    return argument


def miss_in_a_child(argument: object) -> Any:
    signal.alarm(5)
    return asyncio.run(cached(argument))


def miss_in_a_pool_of_forked_processes() -> None:
    async def main() -> None:
        assert await cached(1) == 1
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(pool, miss_in_a_child, 2) == 2

    asyncio.run(main())


@needs_fork
def test_a_child_forked_while_the_loop_runs_can_miss_A10() -> None:
    run_alone(miss_in_a_pool_of_forked_processes)


def count_tasks_in_a_child() -> None:
    assert cached.cache_parameters()["tasks"] == 0


def close_in_a_child() -> None:
    asyncio.run(cached.cache_close())


def fork_with_a_run_in_flight(in_the_child: str) -> None:
    async def main() -> None:
        call = asyncio.ensure_future(cached("slow"))
        await steps()
        assert cached.cache_parameters()["tasks"] == 1
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(5)
                globals()[in_the_child]()
                os._exit(0)
            finally:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        call.cancel()

    asyncio.run(main())


@needs_fork
@pytest.mark.parametrize("in_the_child", [count_tasks_in_a_child, close_in_a_child])
def test_a_forked_child_forgets_the_run_of_its_parent_A10(
    in_the_child: Callable[[], None],
) -> None:
    run_alone(fork_with_a_run_in_flight, in_the_child.__name__)


# Nested loops.


def miss_in_a_nested_loop() -> None:
    answers = []

    def nest() -> None:
        # In a callback, where no task of the outer loop is the current one.
        outer = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        inner = asyncio.new_event_loop()
        try:
            answers.append(inner.run_until_complete(cached(2)))
        finally:
            inner.close()
            asyncio._set_running_loop(outer)

    async def main() -> None:
        answers.append(await cached(1))
        asyncio.get_running_loop().call_soon(nest)
        await steps()
        answers.append(await cached(3))

    asyncio.run(main())
    assert answers == [1, 2, 3]


def test_a_loop_nested_in_another_can_miss_A10() -> None:
    run_alone(miss_in_a_nested_loop)


# Invalidation from another thread at each step of a hit.


def invalidate_at_each_step_of_a_hit() -> None:
    @alru_cache(ttl=3600, stale_if_error=3600)
    async def function(key: int) -> str:
        return "value"

    def invalidate() -> None:
        in_a_thread(function.cache_invalidate, 1, seconds=0.02)

    async def main() -> None:
        each = StepByStep(invalidate)
        while not each.passed:
            await function(1)
            with each.next_step():
                answer = await function(1)
            assert answer == "value", f"step {each.at}"

    asyncio.run(main())


def test_another_thread_invalidates_at_any_step_of_a_hit_B13() -> None:
    run_alone(invalidate_at_each_step_of_a_hit)


# Dropping a value from another thread while a run in the background replaces it.


def drop_from_another_thread(method: str, *args: Any) -> None:
    cancelled = False

    @alru_cache(ttl=10, stale_while_revalidate=3600)
    async def function(key: int) -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def main() -> None:
        clock = Clock()
        asyncio.get_running_loop().slow_callback_duration = 3600
        function.cache_put("value", 1)
        await clock.advance(10)
        assert await function(1) == "value"
        await steps()
        assert function.cache_parameters()["tasks"] == 1
        await asyncio.to_thread(getattr(function, method), *args)
        await steps()
        assert cancelled

    asyncio.run(main(), debug=True)


@pytest.mark.parametrize("call", [("cache_invalidate", 1), ("cache_clear",)])
def test_a_run_in_the_background_is_cancelled_from_another_thread_B13_A8(
    call: tuple[Any, ...],
) -> None:
    run_alone(drop_from_another_thread, *call)


# Another thread's loop takes the cache while this one does.


@contextmanager
def loop_in_a_thread(
    loop: asyncio.AbstractEventLoop | None = None,
) -> Iterator[asyncio.AbstractEventLoop]:
    loop = loop or asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def take_the_cache_at_each_step(method: str) -> None:
    @alru_cache(ttl=lambda value: value)
    async def function(key: int) -> int:
        await asyncio.sleep(0)
        return key

    def call_elsewhere() -> None:
        call = asyncio.run_coroutine_threadsafe(function(9000), elsewhere)
        assert call.result(5) == 9000

    async def put(key: int) -> int:
        function.cache_put(key, key)
        return key

    asked = {"refresh": function.cache_refresh, "put": put}[method]

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 3600
        each = StepByStep(lambda: in_a_thread(call_elsewhere, seconds=0.005), 3)
        while not each.passed:
            call_elsewhere()
            with each.next_step():
                # Sooner to expire than the other, which needs a timer that is set anew.
                answer = await asyncio.wait_for(asked(8000), 5)
            assert answer == 8000

    with loop_in_a_thread() as elsewhere:
        asyncio.run(main(), debug=True)


@pytest.mark.parametrize("method", ["refresh", "put"])
def test_a_loop_in_another_thread_takes_the_cache_at_any_step_B13(method: str) -> None:
    run_alone(take_the_cache_at_each_step, method)


# Loops in several threads.


def use_in_four_loops(options: dict[str, Any]) -> None:
    class OwnError(Exception):
        pass

    @alru_cache(maxsize=2, **options)
    async def function(key: int) -> int:
        if key != 0:
            await asyncio.sleep(0)
        if key < 0:
            raise OwnError(key)
        return key

    async def call(key: int, chance: random.Random) -> None:
        choice = chance.randrange(8)
        if choice == 0:
            function.cache_invalidate(key)
        elif choice == 1:
            function.cache_clear()
        elif choice == 2:
            function.cache_put(key, key)
        elif choice == 3:
            info, stats = function.cache_info(), function.cache_stats()
            counted = [
                value for value in (*info, *stats) if type(value) in (int, float)
            ]
            assert min(counted) >= 0, (info, stats)
        elif choice == 4:
            function.cache_contains(key)
            function.cache_parameters()
        elif choice == 5:
            assert await function.cache_refresh(key) == key
        elif choice == 6:
            with pytest.raises(OwnError, match="-1"):
                await function(-1)
        else:
            assert await function(key) == key

    async def work(seed: int) -> None:
        asyncio.get_running_loop().slow_callback_duration = 3600
        chance = random.Random(seed)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            calls = [call(chance.randrange(3), chance) for _ in range(20)]
            await asyncio.wait_for(asyncio.gather(*calls), 10)

    def run(seed: int) -> None:
        asyncio.run(work(seed), debug=True)

    sys.setswitchinterval(1e-4)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in pool.map(run, range(4)):
            pass
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ttl": 0.001},
        {"ttl": 0.001, "stale_while_revalidate": 0.001, "stale_if_error": 0.001},
    ],
)
def test_four_loops_in_four_threads_get_right_answers_B13(
    options: dict[str, Any],
) -> None:
    run_alone(use_in_four_loops, options)


# Signal handlers.


class Counted:
    """A value; *alive* is how many there are."""

    alive = 0

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


async def let_all_expire(function: Any, clock: Clock) -> None:
    await clock.advance(20)


async def invalidate_ten_more(function: Any, clock: Clock) -> None:
    for key in range(30, 40):
        function.cache_invalidate(key)


async def miss_and_evict(function: Any, clock: Clock) -> None:
    await function(-1)


def ask_in_a_signal_handler(
    size: int, work: str, stride: int, options: dict[str, Any]
) -> None:
    @alru_cache(maxsize=size, ttl=10, **options)
    async def function(key: int) -> Counted:
        return Counted()

    def ask(number: int, frame: object) -> None:
        function.cache_info()
        function.cache_stats()

    signal.signal(signal.SIGTERM, ask)

    async def main() -> None:
        clock = Clock()
        each = StepByStep(lambda: signal.raise_signal(signal.SIGTERM), stride)
        while not each.passed:
            for key in range(size):
                function.cache_put(Counted(), key)
            for key in range(size - 10):
                function.cache_invalidate(key)
            with each.next_step():
                await globals()[work](function, clock)
            await clock.advance(20)
            assert Counted.alive == 0, f"step {each.at}"

    asyncio.run(main())


@needs_refcount
@pytest.mark.parametrize(
    ("size", "work", "stride", "options"),
    [
        (2, let_all_expire, 2, {}),
        (2, let_all_expire, 2, {"jitter": 1}),
        (2, miss_and_evict, 2, {}),
        (40, invalidate_ten_more, 7, {}),
    ],
)
def test_a_signal_handler_asks_at_any_step_and_values_still_expire_B15_A7(
    size: int,
    work: Callable[..., Coroutine[Any, Any, None]],
    stride: int,
    options: dict[str, Any],
) -> None:
    run_alone(ask_in_a_signal_handler, size, work.__name__, stride, options)


def drop_another_while_a_value_is_replaced() -> None:
    @alru_cache(maxsize=5, ttl=10)
    async def function(key: int) -> Counted:
        return Counted()

    signal.signal(signal.SIGTERM, lambda *_: function.cache_invalidate(1))

    async def main() -> None:
        clock = Clock()
        each = StepByStep(lambda: signal.raise_signal(signal.SIGTERM))
        while not each.passed:
            for key in (1, 2):
                function.cache_put(Counted(), key)
            with each.next_step():
                function.cache_put(Counted(), 2)
            assert function.cache_info().currsize == 1 + each.passed, f"step {each.at}"
            await clock.advance(20)
            assert Counted.alive == 0, f"step {each.at}"

    asyncio.run(main())


@needs_refcount
def test_a_value_that_replaces_another_expires_whatever_is_dropped_meanwhile_B15_A7() -> (
    None
):
    run_alone(drop_another_while_a_value_is_replaced)


class Limited(Counted):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


def drop_a_value_that_is_being_dropped() -> None:
    @alru_cache(ttl=lambda value: value.seconds)
    async def function(seconds: float) -> Limited:
        return Limited(seconds)

    signal.signal(signal.SIGTERM, lambda *_: function.cache_invalidate(1))

    async def main() -> None:
        clock = Clock()
        each = StepByStep(lambda: signal.raise_signal(signal.SIGTERM))
        while not each.passed:
            for seconds in (1, 10):
                await function(seconds)
            clock.turn(2)
            with each.next_step():
                function.cache_info()
            assert Counted.alive == 1, f"step {each.at}"
            await clock.advance(20)
            assert Counted.alive == 0, f"step {each.at}"

    asyncio.run(main())


@needs_refcount
def test_a_value_that_is_dropped_twice_takes_no_other_deadline_along_B15_A7() -> None:
    run_alone(drop_a_value_that_is_being_dropped)


# What signal handlers do, and other threads store, at each step of a shared cache.


WORKS = ("put", "put again", "call", "refresh", "invalidate")


def act_at_each_step(action: str) -> None:
    @alru_cache(maxsize=3, shared=True)
    async def function(key: int) -> int:
        return key

    keys = range(10)

    def act() -> None:
        if action == "clear":
            function.cache_clear()
        elif action == "invalidate all":
            for key in keys:
                function.cache_invalidate(key)
        elif action == "put same":
            function.cache_put(9, 9)
        else:
            for key in (5, 6, 7):
                function.cache_put(key, key)

    async def do(work: str) -> None:
        if work == "put":
            function.cache_put(9, 9)
        elif work == "put again":
            function.cache_put(1, 1)
        elif work == "refresh":
            assert await function.cache_refresh(9) == 9
        elif work == "invalidate":
            function.cache_invalidate(1)
        else:
            assert await function(9) == 9

    async def check(work: str) -> None:
        each = StepByStep(lambda: signal.raise_signal(signal.SIGTERM), 2)
        while not each.passed:
            function.cache_clear()
            for key in (1, 2, 3):
                function.cache_put(key, key)
                await function(key)
            with each.next_step():
                await do(work)
            held = [key for key in keys if function.cache_contains(key)]
            assert function.cache_info().currsize == len(held), (
                f"step {each.at} of {work}"
            )
            assert len(held) <= 3, f"step {each.at} of {work}"
            for key in keys:
                assert await function(key) == key
            held = [key for key in keys if function.cache_contains(key)]
            assert function.cache_info().currsize == len(held) == 3, (
                f"step {each.at} of {work}"
            )

    async def main() -> None:
        for work in WORKS:
            await check(work)

    signal.signal(signal.SIGTERM, lambda *_: act())
    asyncio.run(main())


@pytest.mark.parametrize(
    "action", ["clear", "invalidate all", "put others", "put same"]
)
def test_a_signal_handler_changes_a_shared_cache_at_any_step_B15_E9(
    action: str,
) -> None:
    run_alone(act_at_each_step, action)


class KeyThatGoesSlowly:
    """A key that is hashed only when its thread is let go on, from a moment on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_asked = threading.Event()

    def __hash__(self) -> int:
        self.is_asked.set()
        self.go_on.wait(LIMIT)
        return 1


def store_at_each_step_of_a_hit(ttl: float | None) -> None:
    @alru_cache(maxsize=1, ttl=ttl, shared=True)
    async def function(key: object) -> object:
        return "value"

    async def main() -> None:
        def store() -> None:
            slow.go_on.set()
            storing.join(LIMIT)

        each = StepByStep(store)
        waited = threading.Event()
        while not waited.is_set():
            slow = KeyThatGoesSlowly()
            function.cache_clear()
            function.cache_put("slow", slow)
            slow.go_on.clear()
            slow.is_asked.clear()
            # It has made a place for its value, and now lets go of the other one.
            storing = threading.Thread(target=function.cache_put, args=("value", 1))
            storing.start()
            slow.is_asked.wait(LIMIT)
            # A call that has found no value waits for the lock, which ends all this.
            waiting = threading.Timer(1, lambda: (waited.set(), store()))
            waiting.start()
            with each.next_step():
                answer = await function(1)
            waiting.cancel()
            store()
            assert answer == "value", f"step {each.at}"

    asyncio.run(main())


@needs_more_hashes
@pytest.mark.parametrize("ttl", [None, 3600])
def test_another_thread_stores_at_any_step_of_a_shared_hit_B13_E10(
    ttl: float | None,
) -> None:
    run_alone(store_at_each_step_of_a_hit, ttl)


# A caller in another loop leaves a run of a shared cache while it fails.


class Jumping(asyncio.SelectorEventLoop):
    """An event loop whose time can be set forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def leave_at_each_step_of_a_failure() -> None:
    failing: asyncio.Future[Any]
    told: set[str] = set()

    @alru_cache(ttl=0.001, stale_if_error=3600, stale_if_slow=100, shared=True)
    async def function(key: int) -> Any:
        return await failing

    async def main() -> None:
        nonlocal failing
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: told.add(report["message"]))

        def leave() -> None:
            elsewhere.ahead = 1000
            elsewhere.call_soon_threadsafe(int)
            concurrent.futures.wait([theirs], 0.02)  # it may wait for a lock

        each = StepByStep(leave, 5)
        while not each.passed:
            failing = loop.create_future()
            function.cache_clear()
            function.cache_put("old", 1)
            await asyncio.sleep(0.002)
            mine = asyncio.ensure_future(function(1))
            await steps()
            theirs = asyncio.run_coroutine_threadsafe(function(1), elsewhere)
            while not function.cache_stats().joins:
                await asyncio.sleep(0.001)  # the other thread has to get its turns
            mine.cancel()
            await steps()
            with each.next_step():
                failing.set_exception(ZeroDivisionError())
                await steps()
            assert theirs.result(5) == "old"
            elsewhere.ahead = 0
        assert len(told) == 1
        assert "failed in the background" in told.pop()

    elsewhere = Jumping()
    with loop_in_a_thread(elsewhere):
        asyncio.run(main())


def test_a_caller_leaves_a_failing_run_at_any_step_B3_C13_E9() -> None:
    run_alone(leave_at_each_step_of_a_failure)
