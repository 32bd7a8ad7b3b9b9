"""A2: which calls share an entry. B12: what a call that has no key leaves behind."""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from conftest import counted, steps

from async_lru import alru_cache
from async_lru._runs import Run
from async_lru._store import Store


class Text(str):
    __slots__ = ()


class Number(int):
    pass


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1.0,), {}),
    ((True,), {}),
    ((Number(1),), {}),
    ((0,), {}),
    ((False,), {}),
    (("1",), {}),
    ((Text("1"),), {}),
    ((b"1",), {}),
    ((None,), {}),
    (((),), {}),
    (((1,),), {}),
    (((1.0,),), {}),
    ((1, 2), {}),
    ((1.0, 2), {}),
    ((1, 2.0), {}),
    (((1, 2),), {}),
    ((2, 1), {}),
    ((1, int), {}),
    ((frozenset({1}),), {}),
    ((), {"x": 1}),
    ((), {"x": 1.0}),
    ((), {"x": True}),
    ((), {"y": 1}),
    ((1,), {"x": 1}),
    ((1.0,), {"x": 1}),
    ((1,), {"x": 1.0}),
    ((), {"a": 1, "b": 2}),
    ((), {"b": 2, "a": 1}),
    ((), {"a": 1.0, "b": 2}),
    (("x", 1), {}),
    ((("x", 1),), {}),
    ((1,), {"a": 1, "b": 2}),
    ((2,), {"a": 1, "b": 2}),
    ((1,), {"b": 2, "a": 1}),
    ((), {"args": 1, "kwargs": 2, "self": 3}),
    ((1,), {"args": 1, "kwargs": 2, "self": 3}),
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("maxsize", [None, 128])
@pytest.mark.parametrize("ttl", [None, 100])
async def test_keys_are_those_of_functools_A2(
    typed: bool, maxsize: int | None, ttl: float | None
) -> None:
    def same(*args: Any, **kwargs: Any) -> None:
        pass

    async def async_same(*args: Any, **kwargs: Any) -> None:
        pass

    # Each pair of calls on fresh caches: do they share an entry here as there?
    for one, other in product(CALLS, CALLS):
        sync = functools.lru_cache(maxsize=maxsize, typed=typed)(same)
        cached = alru_cache(maxsize=maxsize, typed=typed, ttl=ttl)(async_same)
        for args, kwargs in (one, other):
            sync(*args, **kwargs)
            await cached(*args, **kwargs)
        assert cached.cache_info() == sync.cache_info(), (one, other)
        contains = cached.cache_contains(*other[0], **other[1])
        assert contains, other
        assert cached.cache_invalidate(*other[0], **other[1])
        assert not cached.cache_contains(*other[0], **other[1])


ONE_PARAMETER_CALLS = [
    (args, kwargs)
    for args, kwargs in CALLS
    if len(args) + len(kwargs) <= 1 and kwargs.keys() <= {"x"}
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("ttl", [None, 100])
async def test_keys_of_one_parameter_are_those_of_functools_A2(
    typed: bool, ttl: float | None
) -> None:
    def same(x: Any = None) -> Any:
        return x

    async def async_same(x: Any = None) -> Any:
        return x

    for one, other in product(ONE_PARAMETER_CALLS, ONE_PARAMETER_CALLS):
        sync = functools.lru_cache(typed=typed)(same)
        cached = alru_cache(typed=typed, ttl=ttl)(async_same)
        for args, kwargs in (one, other):
            assert await cached(*args, **kwargs) == sync(*args, **kwargs)
        assert cached.cache_info() == sync.cache_info(), (one, other)
        assert cached.cache_invalidate(*other[0], **other[1])
        assert not cached.cache_contains(*other[0], **other[1])


async def two(a: Any, b: Any) -> Any:
    return a, b


async def one_or_two(a: Any, b: Any = None) -> Any:
    return a, b


async def none_to_two(a: Any = None, b: Any = None) -> Any:
    return a, b


async def two_or_three(a: Any, b: Any, c: Any = None) -> Any:
    return a, b, c


TWO_PARAMETERS_CALLS = [
    *((args, kwargs) for args, kwargs in CALLS if kwargs.keys() <= {"a", "b"}),
    ((1,), {"b": 2}),
    ((1.0,), {"b": 2}),
    (("b", 2), {}),
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("function", [two, one_or_two, none_to_two, two_or_three])
async def test_keys_of_two_parameters_are_those_of_functools_A2(
    function: Callable[..., Any], typed: bool
) -> None:
    def same(*args: Any, **kwargs: Any) -> Any:
        coroutine = function(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value

    async def called(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            result = call(*args, **kwargs)
            return await result if asyncio.iscoroutine(result) else result
        except TypeError:
            return TypeError

    for one, other in product(TWO_PARAMETERS_CALLS, TWO_PARAMETERS_CALLS):
        sync = functools.lru_cache(typed=typed)(same)
        cached = alru_cache(typed=typed)(function)
        for args, kwargs in (one, other):
            expected = await called(sync, args, kwargs)
            assert await called(cached, args, kwargs) == expected
        assert cached.cache_info() == sync.cache_info(), (one, other)


@pytest.mark.parametrize("options", [{}, {"typed": True}, {"ttl": 10}])
async def test_keyword_only_parameters_are_passed_on_A3(
    options: dict[str, Any],
) -> None:
    @alru_cache(**options)
    async def function(a: int, *, b: int = 0) -> tuple[int, int]:
        return a, b

    class Service:
        @alru_cache(**options)
        async def method(self, a: int, *, b: int = 0) -> tuple[int, int]:
            return a, b

    for call in (function, Service().method):
        assert await call(1) == (1, 0)
        assert await call(1, b=2) == (1, 2)
        assert await call(a=1, b=2) == (1, 2)
        with pytest.raises(TypeError):
            await call(1, 2)


@pytest.mark.parametrize("typed", [False, True])
async def test_keys_of_a_method_of_one_parameter_are_those_of_functools_A2(
    typed: bool,
) -> None:
    for one, other in product(ONE_PARAMETER_CALLS, ONE_PARAMETER_CALLS):

        class Service:
            @functools.lru_cache(typed=typed)
            def sync(self, x: Any = None) -> Any:
                return x

            @alru_cache(typed=typed)
            async def cached(self, x: Any = None) -> Any:
                return x

        service = Service()
        for args, kwargs in (one, other):
            called = await service.cached(*args, **kwargs)
            assert called == service.sync(*args, **kwargs)
        assert service.cached.cache_info() == service.sync.cache_info(), (one, other)
        await Service.cached(service, *other[0], **other[1])
        assert service.cached.cache_info().misses == service.sync.cache_info().misses
        assert service.cached.cache_invalidate(*other[0], **other[1])
        assert not service.cached.cache_contains(*other[0], **other[1])


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    "name", ["key", "self", "cache", "store", "argument", "named", "args", "x"]
)
async def test_a_parameter_may_have_any_name(name: str, typed: bool) -> None:
    names: dict[str, Any] = {"alru_cache": alru_cache, "typed": typed}
    exec(
        f"@alru_cache(typed=typed)\nasync def function({name}): return {name}\n"
        "class Service:\n @alru_cache(typed=typed)\n"
        f" async def method(service, {name}): return {name}",
        names,
    )
    service = names["Service"]()
    for call in (names["function"], service.method):
        assert [await call(1), await call(**{name: 2}), await call(1)] == [1, 2, 1]
        assert await call(**{name: 2}) == 2
        assert call.cache_info()[:2] == (2, 2)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2), {}), ((1,), {"x": 2}), ((1, 2, 3), {}), ((), {"y": 1})],
)
async def test_wrong_arguments_are_a_TypeError_A3(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    class Service:
        @alru_cache
        async def method(self, x: int) -> int:
            return x

        @staticmethod
        @alru_cache
        async def function(x: int) -> int:
            return x

    service = Service()
    for call in (service.method, service.function):
        for _ in range(2):
            with pytest.raises(TypeError, match="argument"):
                await call(*args, **kwargs)
        assert call.cache_info().currsize == 0
        assert await call(1) == 1


@pytest.mark.parametrize("options", [{}, {"maxsize": None}, {"ttl": 9}])
async def test_key_replaces_the_rule_A2(options: dict[str, Any]) -> None:
    seen = []

    def key(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return args[0] % 10

    function, runs = counted(key=key, **options)
    assert [await function(1), await function(11), await function(2)] == [1, 1, 2]
    assert runs == [(1,), (2,)]
    assert function.cache_contains(21)
    assert function.cache_invalidate(31, x=1)
    assert not function.cache_contains(1)
    assert seen[-2:] == [((31,), {"x": 1}), ((1,), {})]


@pytest.mark.parametrize(
    "options",
    [{}, {"maxsize": None}, {"maxsize": 0}, {"ttl": 1}, {"typed": True}]
    + [{"key": lambda value: value}, {"key": lambda value: value, "ttl": 1}],
)
async def test_unhashable_arguments_raise_TypeError_A2(options: dict[str, Any]) -> None:
    function, runs = counted(**options)
    with pytest.raises(TypeError, match="unhashable"):
        await function([])
    with pytest.raises(TypeError, match="unhashable"):
        function.cache_contains([])
    with pytest.raises(TypeError, match="unhashable"):
        function.cache_invalidate([])
    assert runs == []
    assert function.cache_info()[:2] == (0, 0)


class Awkward:
    """A key whose hash and comparison count, and raise when told so."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.hashed = 0
        self.compared = 0
        self.raise_at_hash = 0
        self.raise_at_eq: type[BaseException] | None = None

    def __hash__(self) -> int:
        self.hashed += 1
        if self.hashed == self.raise_at_hash:
            raise ZeroDivisionError
        return 1

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        if self.raise_at_eq:
            raise self.raise_at_eq
        return isinstance(other, Awkward) and self.value == other.value


KINDS: list[dict[str, Any]] = [
    {},
    {"maxsize": None},
    {"ttl": 100},
    {"ttl": 100, "jitter": 1},
    {"typed": True},
    {"typed": True, "ttl": 100},
    {"key": lambda *values: values},
]


@pytest.mark.parametrize("options", KINDS)
async def test_a_hit_hashes_twice_and_a_miss_three_times_A2(
    options: dict[str, Any],
) -> None:
    function, _ = counted(**options)
    argument = Awkward()
    await function(argument)
    assert argument.hashed <= 3
    argument.hashed = 0
    await function(argument)
    assert argument.hashed <= 2


@pytest.mark.parametrize("options", KINDS)
async def test_a_hit_compares_its_key_once_D(options: dict[str, Any]) -> None:
    """It moves to the end the very key that is held, which needs no comparison."""

    @alru_cache(**options)
    async def function(argument: Awkward, other: int) -> int:
        return other

    first, second = Awkward(), Awkward()
    await function(first, 1)
    await function(second, 1)
    assert function.cache_info()[:2] == (1, 1)
    assert first.compared + second.compared == 1


@pytest.mark.parametrize("options", [*KINDS, {"maxsize": 1}])
@pytest.mark.parametrize("at", [1, 2])
async def test_an_error_in_hash_changes_nothing_A2(
    options: dict[str, Any], at: int
) -> None:
    function, runs = counted(**options)
    await function("before")
    info = function.cache_info()
    argument = Awkward()
    argument.raise_at_hash = at
    with pytest.raises(ZeroDivisionError):
        await function(argument)
    assert function.cache_info() == info
    assert runs == [("before",)]
    assert function.cache_parameters()["tasks"] == 0
    assert function.cache_contains("before")
    assert await function(Awkward()) == Awkward()


@pytest.mark.parametrize("options", KINDS)
async def test_an_error_in_hash_when_the_value_is_stored_is_the_runs_failure_A2(
    options: dict[str, Any],
) -> None:
    function, _ = counted(**options)
    argument = Awkward()
    argument.raise_at_hash = 3
    with pytest.raises(ZeroDivisionError):
        await function(argument)
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(argument)
    assert await function(argument) is argument
    assert await function(argument) is argument
    assert function.cache_info()[:2] == (1, 2)


async def test_an_entry_that_cannot_be_dropped_is_none_A2() -> None:
    class Broken(Awkward):
        def __hash__(self) -> int:
            self.hashed += 1
            if self.hashed in (3, 4):
                raise ZeroDivisionError
            return 1

    function, runs = counted()
    argument = Broken()
    collected: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: collected.append(c))
    task = asyncio.ensure_future(function(argument))
    await steps()
    assert isinstance(task.exception(), ZeroDivisionError)
    assert not function.cache_contains(argument)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(argument) is argument
    assert len(runs) == 2


@pytest.mark.parametrize("options", KINDS)
async def test_an_error_in_eq_changes_nothing_A2(options: dict[str, Any]) -> None:
    function, runs = counted(**options)
    stored = Awkward(1)
    await function(stored)
    info = function.cache_info()
    argument = Awkward(2)
    stored.raise_at_eq = argument.raise_at_eq = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        await function(argument)
    assert function.cache_info() == info
    stored.raise_at_eq = None
    assert await function(stored) is stored
    assert len(runs) == 1


async def test_an_error_in_eq_while_evicting_leaves_no_run_behind_A2() -> None:
    function, runs = counted(maxsize=2)

    class Late(Awkward):
        compared = 0
        __hash__ = Awkward.__hash__

        def __eq__(self, other: object) -> bool:
            self.compared += 1
            if self.raise_at_eq and self.compared > 2:
                raise self.raise_at_eq
            return self is other

    first, second = Late(1), Late(2)
    await function(first)
    await function(second)
    await function(first)
    for late in (first, second):
        late.raise_at_eq, late.compared = ZeroDivisionError, 0
    third = Late(3)
    with pytest.raises(ZeroDivisionError):
        await function(third)
    for late in (first, second):
        late.raise_at_eq = None
    assert not function.cache_contains(third)
    assert function.cache_parameters()["tasks"] == 0
    assert await asyncio.wait_for(function(third), 1) is third


@pytest.mark.parametrize("during", ["admission", "storing"])
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("options", [*KINDS, {"ttl": 9, "stale_if_error": 9}])
async def test_an_error_in_eq_leaves_the_entries_in_order_A2(
    options: dict[str, Any], suspends: bool, during: str
) -> None:
    """At whichever comparison it is raised, and though it is raised but once."""
    if "maxsize" not in options:
        options = {**options, "maxsize": 3}
    left = 0

    class Once(Awkward):
        __hash__ = Awkward.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal left
            left -= 1
            if left == 0:
                raise ZeroDivisionError
            return self is other

    @alru_cache(**options)
    async def function(argument: Any) -> Any:
        nonlocal left, armed
        if suspends:
            await asyncio.sleep(0)
        if armed:
            left, armed = fails_at, False
        return argument

    raised = 0
    for fails_at in range(1, 20):
        armed = False
        function.cache_clear()
        stored = [Once(value) for value in range(3)]
        for argument in (*stored, stored[0]):
            assert await function(argument) is argument
        new = Once(3)
        armed = during == "storing"
        left = 0 if armed else fails_at
        try:
            assert await function(new) is new
        except ZeroDivisionError:
            raised += 1
        left, armed = 0, False
        for argument in range(4):
            assert await function(argument) is argument
        if options["maxsize"]:
            assert not any(map(function.cache_contains, (*stored, new)))
        for argument in (*stored, new):
            assert await function(argument) is argument
            function.cache_invalidate(argument)
        contained = [
            argument for argument in range(4) if function.cache_contains(argument)
        ]
        assert len(contained) == function.cache_info().currsize
        assert function.cache_parameters()["tasks"] == 0
    assert raised > 2


@pytest.mark.parametrize(
    "options",
    [{}, {"ttl": 9}, {"maxsize": None}, {"typed": True}, {"typed": True, "ttl": 9}],
)
async def test_a_key_may_clear_the_cache_while_it_is_compared_A2(
    options: dict[str, Any],
) -> None:
    function, _ = counted(**options)

    class Clears(Awkward):
        __hash__ = Awkward.__hash__

        def __eq__(self, other: object) -> bool:
            function.cache_clear()
            return True

    assert isinstance(await function(Clears()), Clears)
    assert isinstance(await function(Clears()), Clears)
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("options", KINDS)
async def test_a_key_may_clear_the_cache_under_a_hit_A2(
    options: dict[str, Any],
) -> None:
    """The call has its answer already when the key is hashed the second time."""

    class Clears(Awkward):
        clears_at = 0

        def __hash__(self) -> int:
            self.hashed += 1
            if self.hashed == self.clears_at:
                function.cache_clear()
            return 1

        __eq__ = Awkward.__eq__

    function, runs = counted(**options)
    stored = Clears()
    await function(stored)
    hit = Clears()
    hit.clears_at = 2
    assert await function(hit) is stored
    assert len(runs) == 1


async def test_an_entry_that_could_not_be_dropped_is_evicted_A2() -> None:
    """It is an entry for the count until then, and nothing else."""

    class Stuck(Awkward):
        def __hash__(self) -> int:
            self.hashed += 1
            if self.hashed in (3, 4):
                raise ZeroDivisionError
            return 1

    function, _ = counted(maxsize=2)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    task = asyncio.ensure_future(function(Stuck()))
    await steps()
    assert isinstance(task.exception(), ZeroDivisionError)
    for key in (1, 2, 3):
        await function(key)
    assert function.cache_info().currsize == 2
    assert [key for key in (1, 2, 3) if function.cache_contains(key)] == [2, 3]


@pytest.mark.parametrize("retired", [False, True])
def test_a_store_emptied_while_it_evicts_B13(retired: bool) -> None:
    """By another thread, which retires it first; else the error is the key's."""

    class Emptied(OrderedDict[Any, Any]):
        def popitem(self, last: bool = True) -> Any:
            if retired:
                store.retire()
            raise KeyError

    store = Store(None, 0, set())
    store.entries = Emptied({1: 2})
    run = Run()
    run.key = 1
    if retired:
        store.admit(run)
    else:
        with pytest.raises(KeyError):
            store.admit(run)


@pytest.mark.parametrize("retired", [False, True])
async def test_a_store_emptied_while_a_miss_evicts_B13(retired: bool) -> None:
    class Emptied(OrderedDict[Any, Any]):
        def popitem(self, last: bool = True) -> Any:
            if retired:
                store.retire()
            raise KeyError("popitem")

    @alru_cache(maxsize=1)
    async def function(key: int) -> int:
        return key * 10

    assert await function(1) == 10
    store = function._cache.store
    store.entries = Emptied({1: 10})
    if retired:
        assert await function(2) == 20
    else:
        with pytest.raises(KeyError, match="popitem"):
            await function(2)
        assert 2 not in store.entries
    assert function.cache_parameters()["tasks"] == 0


def test_a_run_that_has_ended_is_not_revived_after_its_eviction_A4() -> None:
    """It stays behind where the comparison of its key fails when it is dropped."""
    store = Store(None, 1, set())
    run = Run()
    run.waiters = None
    store.entries[1] = run
    other = Run()
    other.key = 2
    store.admit(other)
    assert (store.entries, store.aside) == ({2: other}, {})


async def test_a_run_whose_entry_another_thread_has_just_dropped_is_joined_B13(
    controlled: Callable[..., Any],
) -> None:
    function, runs = controlled()
    calls = [asyncio.ensure_future(function(1))]
    await steps()

    def touch(key: Any) -> None:
        raise KeyError(key)

    function._cache.store.touch = touch
    calls.append(asyncio.ensure_future(function(1)))
    await steps()
    runs[0].succeed("value")
    assert await asyncio.gather(*calls) == ["value", "value"]
    assert function.cache_info()[:2] == (1, 1)


def fails(*_: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: counted(), []),
        (lambda: counted(ttl=1), []),
        (lambda: counted(typed=True), []),
        (lambda: counted(key=fails), 1),
    ],
)
def test_a_call_without_a_key_binds_no_loop_B12(
    make: Callable[[], Any], argument: Any
) -> None:
    function, _ = make()

    async def fail() -> None:
        with pytest.raises((TypeError, ZeroDivisionError)):
            await function(argument)

    asyncio.run(fail())
    if not isinstance(argument, int):
        asyncio.run(function(1))  # would warn, and thereby fail, if it were bound
        assert function.cache_info().misses == 1


def test_a_call_without_a_key_takes_the_cache_from_no_loop_B12() -> None:
    function, _ = counted()
    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        runner.run(function(1))

        async def fail() -> None:
            with pytest.raises(TypeError):
                await function([])

        asyncio.run(fail())
        assert function.cache_contains(1)
        asyncio.set_event_loop(None)
        runner.run(function(1))
        assert function.cache_info() == (1, 1, 128, 1)


class _Runner:
    """What asyncio.Runner is on Python 3.11 and later."""

    def __enter__(self) -> "_Runner":
        self.loop = asyncio.new_event_loop()
        return self

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def __exit__(self, *_: object) -> None:
        self.loop.close()
