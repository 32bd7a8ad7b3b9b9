"""B9: wrong arguments of calls and of cache_* methods, and unhashable ones."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import needs_refcount, outcome, steps

from async_lru import alru_cache, by_value


def a_function(**options: Any) -> Any:
    @alru_cache(**options)
    async def load(a: Any, b: Any = None, *, c: Any = None) -> Any:
        return (a, b, c)

    return load


def a_partial() -> Any:
    return alru_cache(functools.partial(a_function().__wrapped__, c=5))


def a_method(**options: Any) -> Any:
    class Service:
        @alru_cache(**options)
        async def load(self, a: Any, b: Any = None, *, c: Any = None) -> Any:
            return (a, b, c)

    return Service().load


MAKERS: dict[str, Callable[[], Any]] = {
    "function": a_function,
    "ttl": lambda: a_function(ttl=60),
    "stale": lambda: a_function(ttl=60, stale_if_error=60),
    "typed": lambda: a_function(typed=True),
    "unbounded": lambda: a_function(maxsize=None),
    "partial": a_partial,
    "method": a_method,
    "per_instance": lambda: a_method(per_instance=True),
}


@pytest.fixture(params=MAKERS)
def cached(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]()


METHODS = ["cache_contains", "cache_invalidate", "cache_put", "cache_refresh"]


#: A call of the function itself, too.
CALLS = [*METHODS, "__call__"]


async def ask(cached: Any, method: str, args: Any, kwargs: Any) -> Any:
    """Call a method with the arguments of the function."""
    given = ("value", *args) if method == "cache_put" else args
    result = getattr(cached, method)(*given, **kwargs)
    return await result if inspect.isawaitable(result) else result


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((), {}, "missing a required argument: 'a'"),
    ((1, 2, 3), {}, "too many positional arguments"),
    ((1,), {"nope": 2}, "unexpected keyword argument 'nope'"),
    ((1,), {"a": 2}, "multiple values for argument 'a'"),
    ((), {"b": 1}, "missing a required argument: 'a'"),
]


@pytest.mark.parametrize(("args", "kwargs", "told"), WRONG)
@pytest.mark.parametrize("method", METHODS)
async def test_methods_refuse_what_the_function_could_not_take_B9(
    cached: Any, method: str, args: Any, kwargs: Any, told: str
) -> None:
    before = cached.cache_info()
    for _ in range(2):
        with pytest.raises(TypeError, match=r"test_arguments\..*load\(.*a") as caught:
            await ask(cached, method, args, kwargs)
        assert told in str(caught.value)
    assert cached.cache_info() == before
    assert cached.cache_stats().failures == 0


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 2), {}), ((), {"a": 1, "b": 2}), ((1,), {"c": 3})],
)
async def test_methods_take_what_the_function_takes_B9(
    cached: Any, args: Any, kwargs: Any
) -> None:
    for _ in range(2):
        assert not cached.cache_contains(*args, **kwargs)
        assert not cached.cache_invalidate(*args, **kwargs)
        cached.cache_put("value", *args, **kwargs)
        assert cached.cache_contains(*args, **kwargs)
        assert await cached(*args, **kwargs) == "value"
        assert (await cached.cache_refresh(*args, **kwargs))[0] == 1
        assert cached.cache_invalidate(*args, **kwargs)


async def test_an_option_among_the_arguments_of_put_is_refused_B9_C5() -> None:
    cached = a_function()
    with pytest.raises(TypeError, match="unexpected keyword argument 'ttl'"):
        cached.cache_put("value", 1, ttl=5)
    assert cached.cache_info().currsize == 0


async def test_a_variadic_function_takes_all_arguments_B9() -> None:
    @alru_cache
    async def load(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert not load.cache_contains(1, 2, 3, a=4)
    assert not load.cache_invalidate()
    load.cache_put("value", 1, 2, nope=3)
    assert await load(1, 2, nope=3) == "value"
    with pytest.raises(TypeError, match=r"load was called with more=\[\],"):
        load.cache_contains(1, more=[])


async def test_a_function_that_tells_no_signature_takes_all_arguments_B9() -> None:
    cached = a_function()
    cached.__wrapped__.__signature__ = "unknown"
    again = alru_cache(cached.__wrapped__)
    assert not again.cache_contains(1, 2, 3, nope=4)
    assert await again(1) == (1, None, None)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("options", [{}, {"ttl": 60}])
async def test_a_key_function_is_not_blamed_for_wrong_arguments_B9(
    method: str, options: Any
) -> None:
    cached = a_function(key=lambda a: a, **options)
    with pytest.raises(TypeError, match=r"load\(.*too many positional arguments"):
        await ask(cached, method, (1, 2, 3), {})


#: What Moody says; Python 3.14 adds that a tuple with it cannot be a key.
NOT_TODAY = r"^not today$|\(not today\)$"


@pytest.mark.parametrize("ttl", [None, 60])
async def test_an_unhashable_argument_of_one_parameter_is_named_B9(ttl: Any) -> None:
    @alru_cache(ttl=ttl)
    async def load(a: Any) -> Any:
        return a

    with pytest.raises(TypeError, match=r"load was called with a=\[\],"):
        await load([])
    with pytest.raises(TypeError, match=r"load was called with a=\[\],"):
        await load(a=[])
    with pytest.raises(TypeError, match=NOT_TODAY):
        await load(Moody(hashes=False))
    assert load.cache_info() == (0, 0, 128, 0)


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_call_outside_asyncio_is_told_so_A9_B9(is_closed: bool) -> None:
    """Whether there is a value or not."""
    for make in MAKERS.values():
        cached = make()
        asyncio.run(cached(1))
        if is_closed:
            asyncio.run(cached.cache_close())
        for key in (1, 2):
            with pytest.raises(RuntimeError, match="no running event loop"):
                cached(key).send(None)


UNHASHABLE: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    (([1],), {}, "a=[1]"),
    ((1, {2: 3}), {}, "b={2: 3}"),
    ((1,), {"c": {4}}, "c={4}"),
    (((1, [2]),), {}, "a=(1, [2])"),
    ((), {"b": [5], "a": 1}, "b=[5]"),
]


@pytest.mark.parametrize(("args", "kwargs", "told"), UNHASHABLE)
@pytest.mark.parametrize("method", CALLS)
async def test_an_unhashable_argument_is_named_with_the_remedy_B9(
    cached: Any, method: str, args: Any, kwargs: Any, told: str
) -> None:
    before = cached.cache_info()
    with pytest.raises(TypeError, match=r"test_arguments\..*load was") as caught:
        await ask(cached, method, args, kwargs)
    for part in ("unhashable type: ", f" {told},", "key=by_value"):
        assert part in str(caught.value)
    assert cached.cache_info() == before


@pytest.mark.parametrize("method", CALLS)
async def test_an_unhashable_argument_that_is_ignored_is_not_named_B9_C2(
    method: str,
) -> None:
    cached = a_function(ignore=("a", "c"))
    with pytest.raises(TypeError, match=r"called with b=\{\},"):
        await ask(cached, method, ([], {}), {"c": []})
    assert await cached([], 1, c=[]) == ([], 1, [])
    assert cached.cache_contains({}, 1, c={})


async def test_the_remedy_helps_B9_C3() -> None:
    cached = a_function(key=by_value)
    assert await cached([1], {2: 3}) == ([1], {2: 3}, None)
    assert cached.cache_contains([1], {2: 3})


class Moody:
    """A key whose hash, or comparison, raises a TypeError of its own."""

    def __init__(self, *, hashes: bool) -> None:
        self.hashes = hashes

    def __hash__(self) -> int:
        if not self.hashes:
            raise TypeError("not today")
        return 1

    def __eq__(self, other: object) -> bool:
        raise TypeError("not with me")


@pytest.mark.parametrize("method", CALLS)
async def test_another_TypeError_of_a_key_is_not_changed_A2(
    cached: Any, method: str
) -> None:
    with pytest.raises(TypeError, match=NOT_TODAY):
        await ask(cached, method, (Moody(hashes=False),), {"b": []})
    cached.cache_put("value", Moody(hashes=True))
    with pytest.raises(TypeError, match="^not with me$"):
        await ask(cached, method, (Moody(hashes=True),), {})
    assert cached.cache_info().currsize == 1


def no_key(a: Any) -> Any:
    raise TypeError("cannot")


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    ("key", "told"), [(no_key, "^cannot$"), (lambda a: [a], "^.*unhashable.*'list'.?$")]
)
async def test_a_TypeError_of_a_key_function_is_not_changed_A2(
    method: str, key: Any, told: str
) -> None:
    cached = a_function(key=key)
    with pytest.raises(TypeError, match=told):
        await ask(cached, method, ([],), {})


async def test_arguments_are_only_checked_where_nothing_is_found_B9() -> None:
    """So it costs no hit and no invalidation."""
    checked = []

    class Recording(inspect.Signature):
        def bind(self, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
            checked.append((args, kwargs))
            return super().bind(*args, **kwargs)

    function = a_function().__wrapped__
    parameters = inspect.signature(function).parameters.values()
    function.__signature__ = Recording(list(parameters))
    cached = alru_cache(function)
    for _ in range(2):
        await cached(1, c=2)
    assert cached.cache_contains(1, c=2)
    assert cached.cache_invalidate(1, c=2)
    assert checked == []
    assert not cached.cache_contains(1, c=2)
    assert checked == [((1,), {"c": 2})]


@needs_refcount
async def test_refused_arguments_are_not_kept_B3_B9(cached: Any) -> None:
    class Argument:
        freed = 0

        def __del__(self) -> None:
            Argument.freed += 1

    for method in CALLS:
        await outcome(ask(cached, method, (Argument(), 2, 3), {}))
        await outcome(ask(cached, method, (Argument(), []), {}))
    await outcome(ask(cached, "__call__", (1,), {}))  # 3.10 keeps the last error
    await steps()
    assert Argument.freed >= 2 * len(CALLS) - (sys.version_info < (3, 11))
