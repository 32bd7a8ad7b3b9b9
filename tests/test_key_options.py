"""C2: parameters that keys leave out. C3: keys by value."""

import functools
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from async_lru import alru_cache, by_value


@pytest.mark.parametrize(
    "calls",
    [
        [((1, 2, "x"), {}), ((1, 2, "y"), {})],
        [((1, 2), {"request_id": "x"}), ((1, 2), {"request_id": "y"}), ((1, 2), {})],
        [((1,), {"b": 2, "request_id": 1}), ((1,), {"request_id": 2, "b": 2})],
    ],
)
@pytest.mark.parametrize("typed", [False, True])
async def test_ignored_arguments_make_no_difference_C2(calls: Any, typed: bool) -> None:
    runs = []

    @alru_cache(typed=typed, ignore=("request_id",))
    async def function(a: int, b: int, request_id: object = None, c: int = 0) -> int:
        runs.append(request_id)
        return a + b

    for args, kwargs in calls:
        assert await function(*args, **kwargs) == 3
        assert function.cache_contains(*args, **kwargs)
    assert len(runs) == 1
    args, kwargs = calls[-1]
    assert function.cache_invalidate(*args, **kwargs)


async def test_wrong_arguments_are_an_error_though_there_is_an_entry_C2_A3() -> None:
    @alru_cache(ignore=("b",))
    async def function(a: int, b: int = 0) -> int:
        return a

    assert await function(1) == 1
    with pytest.raises(TypeError):
        await function(1, 2, 3)
    with pytest.raises(TypeError):
        await function(1, c=3)
    assert await function(1, b=4) == 1
    assert function.cache_info().hits == 1


async def test_what_is_left_is_told_apart_C2() -> None:
    runs = []

    @alru_cache(ignore=["b"])
    async def function(
        a: Any, b: Any = None, *rest: Any, c: Any = 0, **more: Any
    ) -> None:
        runs.append(a)

    for args, kwargs in [
        ((1,), {}),
        ((2,), {}),
        ((1, 5, 3), {}),
        ((1, 5, 4), {}),
        ((1,), {"c": 1}),
        ((1,), {"d": 1}),
        ((1.0,), {}),
    ]:
        before = len(runs)
        await function(*args, **kwargs)
        assert len(runs) == before + 1
    await function(1, 6, 3)
    await function(1, b=3)
    assert len(runs) == 7


async def test_the_rest_of_the_arguments_can_be_ignored_C2() -> None:
    runs = []

    @alru_cache(ignore=("rest", "more"))
    async def function(a: int, *rest: Any, c: int = 0, **more: Any) -> None:
        runs.append(a)

    await function(1)
    await function(1, 2, 3)
    await function(1, x=1, rest=2, more=3)
    assert len(runs) == 1
    await function(1, c=1)
    assert len(runs) == 2


async def test_a_parameter_by_position_and_a_name_among_keywords_C2() -> None:
    """In ``def f(a, /, **more)`` a keyword called a is one of more."""
    runs = []

    @alru_cache(ignore=("a",))
    async def function(a: int, /, **more: Any) -> None:
        runs.append(more)

    await function(1, a=1)
    await function(2, a=1)
    await function(2, a=2)
    assert runs == [{"a": 1}, {"a": 2}]


async def test_the_key_callable_sees_what_is_left_C2() -> None:
    seen = []

    def key(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return args[0]

    @alru_cache(key=key, ignore=("b", "d"))
    async def function(a: int, b: int, c: int, *, d: int = 0, e: int = 0) -> int:
        return a

    await function(1, 2, 3, d=4, e=5)
    await function(1, b=2, c=3)
    assert seen == [((1, 3), {"e": 5}), ((1,), {"c": 3})]


async def test_instances_share_entries_without_self_C2() -> None:
    runs = []

    class Service:
        @alru_cache(ignore=("self",))
        async def method(self, key: int) -> int:
            runs.append(key)
            return key

    one, other = Service(), Service()
    await one.method(1)
    await other.method(1)
    await Service.method(other, 1)
    assert runs == [1]
    assert other.method.cache_contains(1)


async def test_partials_ignore_by_the_names_that_are_left_C2() -> None:
    async def function(a: int, b: int, c: int = 0) -> int:
        return a + b + c

    cached = alru_cache(ignore=("c",))(functools.partial(function, 1))
    assert await cached(2, 3) == 6
    assert await cached(2, 4) == 6
    assert await cached(3, c=4) == 8
    with pytest.raises(ValueError, match="no parameter 'a'"):
        alru_cache(ignore=("a",))(functools.partial(function, 1))


@pytest.mark.parametrize(
    ("ignore", "error", "message"),
    [
        ("self", TypeError, "ignore must be a tuple"),
        (5, TypeError, "ignore must be a tuple"),
        ((1,), TypeError, "parameter names, not 1"),
        (
            ("x",),
            ValueError,
            r"has no parameter 'x'; name one of its parameters: 'a', 'b'",
        ),
    ],
)
def test_bad_names_are_refused_C2(
    ignore: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):

        @alru_cache(ignore=ignore)
        async def function(a: int, b: int) -> None: ...


def test_a_function_without_parameters_has_none_to_ignore_C2() -> None:
    with pytest.raises(
        ValueError, match="has no parameter 'x'; name one of its parameters: none"
    ):

        @alru_cache(ignore=("x",))
        async def function() -> None: ...


@dataclass
class Point:
    x: int
    y: Any
    label: str = field(default="", compare=False)


@dataclass
class OtherPoint:
    x: int
    y: Any


class Pair(NamedTuple):
    x: int
    y: int


class Unhashable:
    __hash__ = None  # type: ignore[assignment]


def values() -> Iterator[Any]:
    """Yield values that all differ, made anew."""
    yield from ([1], (1,), [1, 2], [2, 1], [[1]], [(1,)], [], (), {}, set(), "", 0)
    yield from ({"a": 1}, {"a": 2}, {"b": 1}, OrderedDict(a=1), {"a": [1]}, {1: 1})
    yield from (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2})
    yield from ({1}, {1, 2}, frozenset({1}), {(1,)}, deque([1]), bytearray(b"a"), b"a")
    yield from (Point(1, 2), Point(1, [2]), OtherPoint(1, 2), Pair(1, 2), (1, 2), Point)
    yield from ((list, 1), (bytearray, b"a"), {"a": {"a": [{1}]}}, None, "a")


def test_values_that_differ_have_keys_that_differ_C3() -> None:
    keys = [by_value(value) for value in values()]
    for index, key in enumerate(keys):
        assert [other for other, found in enumerate(keys) if found == key] == [index]


def test_values_that_are_equal_have_one_key_C3() -> None:
    for one, other in zip(values(), values(), strict=True):
        assert by_value(one) == by_value(other)
        assert hash(by_value(one, a=one)) == hash(by_value(other, a=other))
        assert by_value(one) != by_value(a=one)
    assert by_value({"a": 1, "b": 2}) == by_value({"b": 2, "a": 1})
    assert by_value(Point(1, 2, "a")) == by_value(Point(1, 2, "b"))


async def test_unhashable_arguments_are_cached_C3() -> None:
    runs = []

    @alru_cache(key=by_value)
    async def function(rows: list[dict[str, Any]], *, limit: int = 1) -> int:
        runs.append(rows)
        return len(rows)

    rows: list[dict[str, Any]] = [{"a": [1]}]
    assert await function(rows) == 1
    assert await function([{"a": [1]}]) == 1
    rows[0]["a"].append(2)  # the key is of what it was
    assert await function(rows) == 1
    assert len(runs) == 2
    assert function.cache_invalidate([{"a": [1]}])


class Ordered(OrderedDict[str, int]):
    pass


async def test_the_order_of_an_OrderedDict_counts_as_in_its_equality_C3() -> None:
    @alru_cache(key=by_value)
    async def function(mapping: dict[str, int]) -> list[str]:
        return list(mapping)

    for kind in (OrderedDict, Ordered):
        assert await function(kind(a=1, b=2)) == ["a", "b"]
        assert await function(kind(b=2, a=1)) == ["b", "a"]
        assert await function(kind(a=1, b=2)) == ["a", "b"]
    assert function.cache_info()[:2] == (2, 4)


@pytest.mark.parametrize("where", [lambda x: x, lambda x: [x], lambda x: {"a": (x,)}])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Unhashable(), "test_key_options.Unhashable"),
        (memoryview(bytearray(1)), "builtins.memoryview"),
        (array("i"), "array.array"),
    ],
)
async def test_what_cannot_be_frozen_is_a_type_error_C3(
    where: Any, value: Any, name: str
) -> None:
    @alru_cache(key=by_value)
    async def function(value: Any) -> None: ...

    with pytest.raises(TypeError, match=f"cannot make a key of {name}"):
        await function(where(value))
    assert function.cache_info() == (0, 0, 128, 0)


async def test_a_container_that_holds_itself_is_an_error_C3() -> None:
    @alru_cache(key=by_value)
    async def function(value: Any) -> None: ...

    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        await function(endless)


async def test_what_is_ignored_need_not_be_frozen_C2_C3() -> None:
    @alru_cache(key=by_value, ignore=("session",))
    async def function(session: Any, keys: list[int]) -> int:
        return sum(keys)

    assert await function(Unhashable(), [1, 2]) == 3
    assert function.cache_contains(Unhashable(), [1, 2])
