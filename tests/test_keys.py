"""A2: which calls share an entry, and keys that fail. B12: calls without a key."""

import asyncio
import functools
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from conftest import counted, outcome

from async_lru import alru_cache


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
    """A key that raises when it is hashed or compared, as told."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.hashed = 0
        self.raises_at_hash = range(0)
        self.raises_at_eq = False

    def __hash__(self) -> int:
        self.hashed += 1
        if self.hashed in self.raises_at_hash:
            raise ZeroDivisionError
        return 1

    def __eq__(self, other: object) -> bool:
        if self.raises_at_eq:
            raise ZeroDivisionError
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


@pytest.mark.parametrize("options", [*KINDS, {"maxsize": 1}])
@pytest.mark.parametrize("at", range(1, 9))
async def test_an_error_in_hash_before_the_run_changes_nothing_A2(
    options: dict[str, Any], at: int
) -> None:
    function, runs = counted(**options)
    await function("before")
    info = function.cache_info()
    argument = Awkward()
    argument.raises_at_hash = range(at, at + 1)
    result = await outcome(function(argument))
    if len(runs) == 1:
        assert isinstance(result, ZeroDivisionError)
        assert function.cache_info() == info
        assert function.cache_contains("before")
    assert function.cache_parameters()["tasks"] == 0
    assert await function(Awkward()) == Awkward()


@pytest.mark.parametrize("options", [*KINDS, {"maxsize": 2}])
@pytest.mark.parametrize("times", [1, 2, 3, 100])
async def test_an_error_in_hash_when_the_value_is_stored_is_the_runs_failure_A2(
    options: dict[str, Any], times: int
) -> None:
    """Where it is hashed then at all; and the error may last."""

    @alru_cache(**options)
    async def function(argument: Any) -> Any:
        if argument is awkward and not awkward.raises_at_hash:
            first = awkward.hashed + 1
            awkward.raises_at_hash = range(first, first + times)
        return argument

    awkward = Awkward()
    result = await outcome(function(awkward))
    awkward.raises_at_hash = range(1)
    assert result is awkward or isinstance(result, ZeroDivisionError)
    assert function.cache_contains(awkward) is (result is awkward)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(awkward) is awkward
    for key in (1, 2):
        assert await function(key) == key
    if options == {"maxsize": 2}:
        assert not function.cache_contains(awkward)
    assert function.cache_contains(1) and function.cache_contains(2)


@pytest.mark.parametrize("options", KINDS)
async def test_an_error_in_eq_changes_nothing_A2(options: dict[str, Any]) -> None:
    function, runs = counted(**options)
    stored = Awkward(1)
    await function(stored)
    info = function.cache_info()
    argument = Awkward(2)
    stored.raises_at_eq = argument.raises_at_eq = True
    with pytest.raises(ZeroDivisionError):
        await function(argument)
    assert function.cache_info() == info
    stored.raises_at_eq = False
    assert await function(stored) is stored
    assert len(runs) == 1


@pytest.mark.parametrize("during", ["calling", "storing"])
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
    assert raised


@pytest.mark.parametrize(
    "options",
    [{}, {"ttl": 9}, {"maxsize": None}, {"typed": True}, {"typed": True, "ttl": 9}],
)
async def test_a_key_may_clear_the_cache_while_it_is_compared_A2_B15(
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
@pytest.mark.parametrize("clears_at", range(1, 5))
async def test_a_key_may_clear_the_cache_while_it_is_hashed_A2_B15(
    options: dict[str, Any], clears_at: int
) -> None:
    class Clears(Awkward):
        clears_at = 0

        def __hash__(self) -> int:
            self.hashed += 1
            if self.hashed == self.clears_at:
                function.cache_clear()
            return 1

        __eq__ = Awkward.__eq__

    function, runs = counted(**options)
    stored, call = Clears(), Clears()
    await function(stored)
    call.clears_at = clears_at
    assert await function(call) is (stored if len(runs) == 1 else call)
    assert function.cache_parameters()["tasks"] == 0


def fails_below_0(value: int) -> int:
    if value < 0:
        raise ValueError("negative")
    return value


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({}, []),
        ({"ttl": 1}, []),
        ({"typed": True}, []),
        ({"key": fails_below_0}, -1),
    ],
)
def test_a_call_without_a_key_binds_no_loop_B12(
    options: dict[str, Any], argument: Any
) -> None:
    function, _ = counted(**options)

    async def fail() -> None:
        with pytest.raises((TypeError, ValueError)):
            await function(argument)

    asyncio.run(fail())
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
