"""C12: cache_invalidate_where."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Clock, Controlled, counted, outcome, start, steps

from async_lru import alru_cache

Make = Callable[..., Controlled]

CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    (("text",), {}),
    (((1, 2),), {}),
    ((1, 2), {}),
    ((), {"a": 1}),
    ((1,), {"a": 1}),
    ((1, 2), {"a": (), "b": None}),
]

kinds = pytest.mark.parametrize(
    "options", [{}, {"maxsize": None}, {"typed": True}, {"ttl": 10}]
)


@kinds
async def test_the_predicate_gets_each_call_as_it_was_made_C12(
    options: dict[str, Any],
) -> None:
    function, _ = counted(**options)
    for args, kwargs in CALLS:
        await function(*args, **kwargs)
    seen = []

    def predicate(*args: Any, **kwargs: Any) -> bool:
        seen.append((args, kwargs))
        return False

    assert function.cache_invalidate_where(predicate) == 0
    assert sorted(seen, key=repr) == sorted(CALLS, key=repr)
    assert function.cache_info().currsize == len(CALLS)


@kinds
async def test_what_it_says_True_of_is_dropped_and_counted_C12(
    options: dict[str, Any],
) -> None:
    function, runs = counted(**options)
    for key in range(10):
        await function(key)
    assert function.cache_invalidate_where(lambda key: key % 3 == 0) == 4
    assert [key for key in range(10) if function.cache_contains(key)] == [
        1, 2, 4, 5, 7, 8,
    ]  # fmt: skip
    assert function.cache_info().currsize == 6
    assert function.cache_stats().evictions == 0
    assert function.cache_invalidate_where(lambda key: key % 3 == 0) == 0
    await function(3)
    assert len(runs) == 11


async def test_any_true_value_will_do_C12() -> None:
    function, _ = counted()
    for key in ("", "a", "b"):
        await function(key)
    assert function.cache_invalidate_where(lambda key: key) == 2
    assert function.cache_contains("")


async def test_runs_in_flight_are_asked_about_and_dropped_C12_A8(
    controlled: Make,
) -> None:
    function, runs = controlled()
    calls = [start(function(key)) for key in (1, 2)]
    await steps()
    assert function.cache_invalidate_where(lambda key: key == 1) == 1
    assert not function.cache_contains(1)
    assert function.cache_contains(2)
    for run in runs:
        run.succeed(run.arguments[0])
    assert await asyncio.gather(*calls) == [1, 2]
    assert not function.cache_contains(1)
    assert function.cache_contains(2)


async def test_a_key_with_a_value_and_a_run_counts_once_C12(controlled: Make) -> None:
    function, runs = controlled()
    function.cache_put("old", 1)
    refresh = start(function.cache_refresh(1))
    await steps()
    asked = []
    assert function.cache_invalidate_where(lambda key: asked.append(key) or True) == 1
    assert asked == [1]
    runs[0].succeed("new")
    assert await refresh == "new"
    assert not function.cache_contains(1)


async def test_a_run_that_nobody_waits_for_is_cancelled_C12_A8(
    controlled: Make, clock: Clock
) -> None:
    function, runs = controlled(ttl=10, stale_while_revalidate=20)
    function.cache_put("old", 1)
    await clock.advance(10)
    assert await function(1) == "old"
    await steps()
    assert function.cache_invalidate_where(lambda key: True) == 1
    await steps()
    assert runs[0].future.cancelled()


async def test_what_is_overdue_does_not_count_C12_B2(clock: Clock) -> None:
    function, _ = counted(ttl=10)
    await function(1)
    clock.turn(5)
    await function(2)
    clock.turn(5)
    assert function.cache_invalidate_where(lambda key: True) == 1


async def test_kept_failures_are_dropped_C12_C11() -> None:
    runs = []

    @alru_cache(error_ttl={ValueError: 10})
    async def function(key: int) -> None:
        runs.append(key)
        raise ValueError

    await outcome(function(1))
    assert function.cache_invalidate_where(lambda key: key == 1) == 1
    await outcome(function(1))
    assert runs == [1, 1]


async def test_with_key_the_predicate_gets_the_key_C12() -> None:
    function, _ = counted(key=lambda user, page: (user.lower(), page))
    for user, page in (("Ann", 1), ("Ann", 2), ("Bob", 1)):
        await function(user, page)
    seen = []

    def is_of_ann(key: Any) -> bool:
        seen.append(key)
        return key[0] == "ann"

    assert function.cache_invalidate_where(is_of_ann) == 2
    assert sorted(seen) == [("ann", 1), ("ann", 2), ("bob", 1)]


async def test_with_ignore_the_predicate_gets_what_is_left_C12_C2() -> None:
    @alru_cache(ignore=("session", "trace"))
    async def function(
        session: Any, user: int, page: int = 1, *, trace: str = ""
    ) -> int:
        return user

    await function("session", 1)
    await function("session", 2, page=3, trace="x")
    seen = []

    def predicate(*args: Any, **kwargs: Any) -> bool:
        seen.append((args, kwargs))
        return True

    assert function.cache_invalidate_where(predicate) == 2
    assert seen == [((1,), {}), ((2,), {"page": 3})]


async def test_methods_are_asked_about_with_self_C12_A11() -> None:
    class Service:
        @alru_cache
        async def method(self, key: int) -> int:
            return key

    one, other = Service(), Service()
    for service in (one, other):
        for key in (1, 2):
            await service.method(key)
    found = Service.method.cache_invalidate_where(
        lambda self, key: self is one and key == 1
    )
    assert found == 1
    assert not one.method.cache_contains(1)
    assert one.method.cache_contains(2)
    assert other.method.cache_contains(1)


async def test_a_bound_method_asks_about_calls_of_its_instance_C12_A11() -> None:
    class Service:
        @alru_cache
        async def method(self, key: int) -> int:
            return key

    one, other = Service(), Service()
    for service in (one, other):
        for key in (1, 2):
            await service.method(key)
    assert one.method.cache_invalidate_where(lambda key: key == 1) == 1
    assert not one.method.cache_contains(1)
    assert one.method.cache_contains(2)
    assert other.method.cache_contains(1)


async def test_methods_with_a_cache_per_instance_C12_C9() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def method(self, key: int) -> int:
            return key

    one, other = Service(), Service()
    for service in (one, other):
        for key in (1, 2):
            await service.method(key)
    assert one.method.cache_invalidate_where(lambda key: key == 1) == 1
    assert other.method.cache_contains(1)
    assert Service.method.cache_invalidate_where(lambda self, key: self is other) == 2
    assert one.method.cache_contains(2)


async def test_partials_are_asked_about_as_they_were_called_C12_A1() -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    function = alru_cache(functools.partial(add, 1))
    await function(2)
    assert function.cache_invalidate_where(lambda b: b == 2) == 1


async def test_what_the_predicate_raises_reaches_the_caller_C12() -> None:
    function, runs = counted()
    for key in (1, 2, 3):
        await function(key)

    def fail(key: int) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        function.cache_invalidate_where(fail)
    for key in (1, 2, 3):
        assert await function(key) == key
    assert len(runs) == 3


async def test_the_predicate_may_use_the_cache_C12_B15() -> None:
    function, _ = counted(maxsize=4)
    for key in range(4):
        await function(key)

    def predicate(key: int) -> bool:
        function.cache_invalidate(key)
        function.cache_put("put", key + 10)
        function.cache_info()
        return key % 2 == 0

    function.cache_invalidate_where(predicate)
    assert function.cache_info().currsize <= 4
    assert not any(function.cache_contains(key) for key in range(4))


@pytest.mark.parametrize("predicate", [None, 5, "key"])
def test_what_cannot_be_called_is_refused_C12(predicate: Any) -> None:
    function, _ = counted()
    with pytest.raises(TypeError, match=repr(predicate)):
        function.cache_invalidate_where(predicate)


def test_it_needs_no_running_loop_C12_A8() -> None:
    function, _ = counted()
    assert function.cache_invalidate_where(lambda key: True) == 0
    asyncio.run(function(1))
    assert function.cache_invalidate_where(lambda key: True) == 1
    assert function.cache_info().currsize == 0


async def test_it_works_in_any_thread_C12_B13() -> None:
    function, _ = counted(maxsize=100, ttl=100)
    stop = threading.Event()
    errors: list[BaseException] = []

    def drop() -> None:
        try:
            while not stop.is_set():
                assert function.cache_invalidate_where(lambda key: key % 2 == 0) <= 100
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        for key in range(2000):
            assert await function(key % 150) == key % 150
    finally:
        stop.set()
        thread.join()
    assert errors == []


async def test_the_key_is_what_a_cache_per_instance_with_keys_gives_C12_C9() -> None:
    class Service:
        @alru_cache(per_instance=True, key=lambda number: number % 10)
        async def method(self, number: int) -> int:
            return number

    services = Service(), Service()
    for service in services:
        for number in (1, 2):
            await service.method(number)
    assert Service.method.cache_invalidate_where(lambda key: key == 1) == 2
    assert [service.method.cache_contains(11) for service in services] == [False] * 2
    assert [service.method.cache_contains(12) for service in services] == [True] * 2


async def test_a_bound_method_asks_about_its_instance_C12_A11() -> None:
    class Service:
        @alru_cache
        async def method(self, number: int) -> int:
            return number

        @alru_cache(ignore=("self",))
        async def shared(self, number: int) -> int:
            return number

    one, other = Service(), Service()
    for service in (one, other):
        await service.method(1)
        await service.shared(1)
    assert one.method.cache_invalidate_where(lambda number: number == 1) == 1
    assert other.method.cache_contains(1)
    assert one.shared.cache_invalidate_where(lambda number: number == 1) == 1
    assert not other.shared.cache_contains(1)
