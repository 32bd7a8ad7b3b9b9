"""A10: one loop at a time. A12: all kinds of loops. B13: loops in several threads."""

import asyncio
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from conftest import Controlled, Timers, counted, outcome, start, steps

from async_lru import AlruCacheLoopResetWarning, alru_cache

Make = Callable[..., Controlled]

kinds = pytest.mark.parametrize(
    "options", [{}, {"ttl": 100}, {"maxsize": None}, {"typed": True}, {"maxsize": 0}]
)


def test_the_warning_is_a_UserWarning_A10() -> None:
    assert issubclass(AlruCacheLoopResetWarning, UserWarning)


@kinds
def test_a_call_from_another_loop_clears_and_warns_A10(options: dict[str, Any]) -> None:
    function, runs = counted(**options)

    async def main() -> None:
        await function(1)
        await function(1)

    asyncio.run(main())
    size = options.get("maxsize", 128)
    before = function.cache_info()
    with pytest.warns(AlruCacheLoopResetWarning, match="function") as caught:
        asyncio.run(function(1))
    assert str(caught[0].message).startswith("alru_cache detected event loop change")
    assert len(caught) == 1
    assert function.cache_info() == (0, 1, size, 0 if size == 0 else 1)
    assert before.misses + before.hits == 2
    assert runs[-1] == (1,)


def test_the_warning_comes_once_for_each_function_A10() -> None:
    one, _ = counted()
    other, _ = counted()
    for function in (one, other):
        asyncio.run(function(1))
        with pytest.warns(AlruCacheLoopResetWarning):
            asyncio.run(function(1))
        asyncio.run(function(1))  # a second warning would be an error
        assert function.cache_info() == (0, 1, 128, 1)


def line_of_caller() -> int:
    frame = sys._getframe(1)
    return frame.f_lineno


def test_the_warning_names_the_line_of_the_await_A10() -> None:
    function, _ = counted()
    lines = []

    async def main() -> None:
        lines.append(line_of_caller() + 1)
        await function(1)

    asyncio.run(function(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    assert caught[0].filename == __file__
    assert caught[0].lineno == lines[0]


def test_the_warning_names_the_line_that_runs_the_loop_A10() -> None:
    function, _ = counted()
    asyncio.run(function(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        line = line_of_caller() + 1
        asyncio.run(function(1))
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_the_warning_names_the_line_of_a_method_call_A10() -> None:
    class Service:
        @alru_cache
        async def method(self, key: int) -> int:
            return key

    service = Service()
    lines = []

    async def main() -> None:
        lines.append(line_of_caller() + 1)
        await service.method(1)

    asyncio.run(service.method(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    assert (caught[0].filename, caught[0].lineno) == (__file__, lines[0])


def test_the_warning_finds_the_line_in_tasks_of_anyio_A10() -> None:
    """Whether the task is of a function of the user's or of a decorated one."""
    anyio = pytest.importorskip("anyio")
    one, _ = counted()
    other, _ = counted()
    lines = []

    async def call() -> None:
        lines.append(line_of_caller() + 1)
        await one(1)

    async def main(*functions: Any) -> None:
        async with anyio.create_task_group() as tasks:
            for function in functions:
                tasks.start_soon(function)

    for function in (one, other):
        asyncio.run(function(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        anyio.run(main, call)
        lines.append(line_of_caller() + 1)
        anyio.run(main, other)
    places = [(warning.filename, warning.lineno) for warning in caught]
    assert places == [(__file__, line) for line in lines]


def test_the_warning_finds_a_line_without_a_module_A10() -> None:
    function, _ = counted()
    asyncio.run(function(1))
    names: dict[str, Any] = {"function": function}
    exec("async def main(): await function(1)", names)
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(names["main"]())
    assert caught[0].filename == "<string>"


def test_a_warning_without_any_line_of_the_user_A10() -> None:
    function, _ = counted()
    asyncio.run(function(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        thread = threading.Thread(target=asyncio.run, args=(function(1),))
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_a_warning_that_is_an_error_leaves_the_cache_usable_A10() -> None:
    function, runs = counted()
    asyncio.run(function(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AlruCacheLoopResetWarning):
            asyncio.run(function(1))
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
    asyncio.run(function(1))
    assert len(runs) == 2


def test_clearing_keeps_the_binding_A10() -> None:
    function, _ = counted()
    asyncio.run(function(1))
    function.cache_clear()
    with pytest.warns(AlruCacheLoopResetWarning):
        asyncio.run(function(1))


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@pytest.mark.parametrize("options", [{}, {"ttl": 100}])
@pytest.mark.parametrize("begun", [False, True])
def test_a_run_in_flight_in_a_dead_loop_is_forgotten_A10(
    controlled: Make,
    options: dict[str, Any],
    begun: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    function, runs = controlled(**options)
    former = asyncio.new_event_loop()
    call = former.create_task(function(1))
    former.run_until_complete(steps() if begun else asyncio.sleep(0))
    former.close()
    assert function.cache_contains(1)

    async def main() -> str:
        again = start(function(1))
        await steps()
        assert function.cache_parameters()["tasks"] == 1
        runs[-1].succeed("new")
        return await asyncio.wait_for(again, 1)

    assert asyncio.run(main()) == "new"
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
    # What is left of the dead loop can be collected; asyncio tells of both tasks.
    with caplog.at_level(logging.CRITICAL):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it never began
            del call
            runs.clear()
            gc.collect()
    assert function.cache_contains(1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_a_dead_loop_left_behind_is_destroyed_quietly_A10(
    controlled: Make, order: tuple[int, int]
) -> None:
    function, runs = controlled()
    loop = asyncio.new_event_loop()
    call = loop.create_task(function(1))
    loop.run_until_complete(steps())
    loop.close()
    tasks = [call, runs[0].task]
    for index in order:
        coroutine = tasks[index].get_coro()
        assert coroutine is not None
        coroutine.close()
    assert function.cache_parameters()["tasks"] == 0
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_loop_that_stands_still_does_not_block_A10(controlled: Make) -> None:
    function, runs = controlled()
    former = asyncio.new_event_loop()
    call = former.create_task(function(1))
    former.run_until_complete(steps())

    async def main() -> str:
        with pytest.warns(AlruCacheLoopResetWarning):
            again = start(function(1))
            await steps()
        runs[-1].succeed("new")
        return await asyncio.wait_for(again, 1)

    assert asyncio.run(main()) == "new"
    runs[0].succeed("old")
    assert former.run_until_complete(call) == "old"
    former.close()


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
def test_a_loop_change_releases_the_timer_of_the_former_loop_A10() -> None:
    function, _ = counted(ttl=1000)
    former = asyncio.new_event_loop()
    timers = Timers(former)
    former.run_until_complete(function(1))
    assert timers.armed
    asyncio.run(function(1))
    former.run_until_complete(steps())
    assert timers.armed == []
    former.close()


def default_loop() -> Any:
    return asyncio.new_event_loop()


def debug_loop() -> Any:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    return loop


def custom_factory_loop() -> Any:
    loop = asyncio.new_event_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    return loop


def wrapping_factory_loop() -> Any:
    """As some monitoring tools do it."""
    loop = asyncio.new_event_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        async def wrapped() -> Any:
            return await coroutine

        return asyncio.Task(wrapped(), loop=loop, **options)

    loop.set_task_factory(factory)
    return loop


def python_task_loop() -> Any:
    """Tasks and futures in pure Python, as on PyPy."""
    loop = asyncio.new_event_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        return asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]

    loop.set_task_factory(factory)
    return loop


class CustomLoop(asyncio.SelectorEventLoop):
    """A loop that makes its own tasks, and whose clock runs its own way."""

    made = 0

    def create_task(self, coroutine: Any, **options: Any) -> Any:
        self.made += 1
        return super().create_task(coroutine, **options)

    def time(self) -> float:
        return super().time() * 2 - 5


def eager_loop() -> Any:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def debug_eager_loop() -> Any:
    loop = eager_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    return loop


def uvloop_loop() -> Any:
    return pytest.importorskip("uvloop").new_event_loop()


def uvloop_debug_loop() -> Any:
    loop = uvloop_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    return loop


class OwnRunning(asyncio.SelectorEventLoop):
    """A loop that does not tell its thread as asyncio's own do."""

    def is_running(self) -> bool:
        return super().is_running()


LOOPS = [
    default_loop,
    debug_loop,
    custom_factory_loop,
    wrapping_factory_loop,
    CustomLoop,
    OwnRunning,
    uvloop_loop,
    uvloop_debug_loop,
]
if sys.version_info < (
    3,
    14,
):  # asyncio's own functions know no other tasks from then on
    LOOPS += [python_task_loop]
if sys.version_info >= (3, 12):
    LOOPS += [eager_loop, debug_eager_loop]


@contextmanager
def closing(loop: Any) -> Any:
    try:
        yield loop
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


@pytest.mark.parametrize("make_loop", LOOPS)
def test_everything_works_in_each_kind_of_loop_A12(
    controlled: Make, make_loop: Callable[[], Any]
) -> None:
    async def main() -> None:
        function, runs = controlled(maxsize=2)
        calls = [start(function(key)) for key in (1, 1, 2, 3, 1)]
        await steps()
        assert function.cache_info() == (2, 3, 2, 2)
        for run in runs:
            run.succeed(run.arguments[0])
        assert await asyncio.gather(*calls) == [1, 1, 2, 3, 1]
        await steps()
        assert function.cache_parameters()["tasks"] == 0

        cancelled, patient = start(function(4)), start(function(4))
        await steps()
        cancelled.cancel()
        await steps()
        runs[-1].succeed(4)
        assert await patient == 4
        alone = start(function(5))
        await steps()
        alone.cancel()
        await steps()
        assert runs[-1].future.cancelled()
        assert not function.cache_contains(5)

        at_once, at_once_runs = counted(ttl=0.3, jitter=0.01)
        assert await asyncio.gather(*map(at_once, [1, 2, 1])) == [1, 2, 1]
        assert len(at_once_runs) == 2
        await asyncio.sleep(0.4)
        assert at_once.cache_info().currsize == 0
        for huge in (1e9, 1e300):
            function, _ = counted(ttl=huge, jitter=huge)
            await function(1)

        for suspends in (False, True):
            runs_of_failing = []

            @alru_cache
            async def failing(key: int) -> None:
                runs_of_failing.append(key)  # noqa: B023
                if suspends:  # noqa: B023
                    await asyncio.sleep(0)
                raise ValueError

            results = await asyncio.gather(
                failing(1), failing(1), failing(1), return_exceptions=True
            )
            assert [type(result) for result in results] == [ValueError] * 3
            assert runs_of_failing == [1]
            assert failing.cache_info() == (2, 1, 128, 0)

        @alru_cache
        async def recursive(key: int) -> Any:
            return await recursive(key)

        assert isinstance(await outcome(recursive(1)), RuntimeError)
        closed = start(function(7))
        await steps()
        await function.cache_close()
        await outcome(closed)
        await at_once.cache_close()

    with closing(make_loop()) as loop:
        loop.run_until_complete(asyncio.wait_for(main(), 10))
        if isinstance(loop, CustomLoop):
            assert loop.made > 10


def test_a_custom_task_factory_makes_the_runs_A12() -> None:
    made = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def main() -> None:
        function, _ = counted()
        await function(1)
        asyncio.get_running_loop().set_task_factory(factory)
        await function(2)
        assert len(made) == 1
        await function(2)
        assert len(made) == 1
        asyncio.get_running_loop().set_task_factory(None)
        await function(3)
        assert len(made) == 1

    asyncio.run(main())


def test_a_create_task_set_on_the_loop_makes_the_runs_A12() -> None:
    made = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        create_task = loop.create_task

        def recording(coroutine: Any, **options: Any) -> Any:
            made.append(coroutine)
            return create_task(coroutine, **options)

        loop.create_task = recording  # type: ignore[method-assign, assignment]
        function, _ = counted()
        await function(1)
        assert len(made) == 1

    asyncio.run(main())


def test_a_create_future_set_on_the_loop_makes_what_calls_wait_on_A12() -> None:
    made = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        create_future = loop.create_future

        def recording() -> Any:
            made.append(create_future())
            return made[-1]

        loop.create_future = recording  # type: ignore[method-assign]

        @alru_cache
        async def function(number: int) -> int:
            await asyncio.sleep(0)
            return number

        assert await asyncio.gather(function(1), function(1), function(2)) == [1, 1, 2]
        assert [future.done() for future in made] == [True, True, True]

    asyncio.run(main())


async def test_a_task_factory_that_raises_raises_to_the_caller_A12() -> None:
    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    function, runs = counted()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        with pytest.raises(ZeroDivisionError):
            await function(1)
    finally:
        loop.set_task_factory(None)
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1
    assert runs == [(1,)]


async def test_a_factory_whose_task_never_runs_the_function_A12() -> None:
    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        async def other() -> None:
            coroutine.close()

        return asyncio.Task(other(), loop=loop, **options)

    function, _ = counted()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        with pytest.raises(RuntimeError, match="did not run"):
            await asyncio.shield(_no_task(function(1)))
    finally:
        loop.set_task_factory(None)
    assert function.cache_parameters()["tasks"] == 0


def _no_task(coroutine: Any) -> Any:
    """Wrap a call into an asyncio task whatever factory the loop has."""
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop())


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@pytest.mark.parametrize("options", [{}, {"ttl": 0.001}, {"maxsize": 4}])
def test_loops_in_several_threads_B13(options: dict[str, Any]) -> None:
    """They take the cache from each other; each call gets its own right answer."""

    @alru_cache(**options)
    async def function(key: int) -> int:
        if key % 3:
            await asyncio.sleep(0)
        if key % 5 == 4:
            raise ValueError(key)
        return key * 10

    async def call(key: int) -> None:
        try:
            assert await function(key) == key * 10
        except ValueError as error:
            assert error.args == (key,)  # noqa: PT017
            assert key % 5 == 4  # noqa: PT017

    async def main(number: int) -> None:
        for turn in range(60):
            keys = [(number + turn + key) % 12 for key in range(8)]
            await asyncio.wait_for(asyncio.gather(*map(call, keys)), 20)
            function.cache_invalidate(turn % 12)
            function.cache_info()

    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            asyncio.run(main(number))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    assert function.cache_parameters()["tasks"] == 0
    asyncio.run(call(1))
    assert function.cache_info()[:2] == (0, 1)


async def test_info_may_be_read_from_another_thread_B13() -> None:
    function, _ = counted(maxsize=10, ttl=100)
    stop = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                assert 0 <= function.cache_info().currsize <= 11
                function.cache_parameters()
                function.cache_contains(1)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for key in range(5000):
        await function(key % 30)
    stop.set()
    thread.join()
    assert errors == []
