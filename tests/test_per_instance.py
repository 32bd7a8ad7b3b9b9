"""C9: methods whose instances have a cache each."""

import asyncio
import gc
import inspect
import pickle
import sys
import weakref
from contextlib import suppress
from typing import Any

import pytest
from conftest import (
    Clock,
    measurable,
    needs_refcount_of_functions,
    outcome,
    start,
    steps,
)

from async_lru import alru_cache, by_value


class Service:
    def __init__(self) -> None:
        self.runs: list[Any] = []

    @alru_cache(maxsize=2, per_instance=True)
    async def method(self, key: int, factor: int = 10) -> int:
        """Multiply."""
        self.runs.append(key)
        return key * factor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Service)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _clear() -> None:
    Service.method.cache_clear()  # which has counted for instances that have died


async def test_each_instance_has_entries_of_its_own_C9() -> None:
    one, other = Service(), Service()  # equal, and cannot be hashed
    for key in (1, 2, 3, 3):
        assert await one.method(key) == key * 10
    assert await other.method(1) == 10
    assert (one.runs, other.runs) == ([1, 2, 3], [1])
    assert one.method.cache_info() == (1, 3, 2, 2)
    assert other.method.cache_info() == (0, 1, 2, 1)
    assert Service.method.cache_info()[0:3] == (1, 4, 2)
    assert other.method.cache_contains(1)
    assert not one.method.cache_contains(1)
    assert other.method.cache_invalidate(1)
    assert not other.method.cache_contains(1)
    one.method.cache_clear()
    assert one.method.cache_info() == (0, 0, 2, 0)


async def test_the_class_asks_by_instance_and_for_all_C9() -> None:
    class Class(Service):
        @alru_cache(per_instance=True)
        async def other(self, key: int) -> int:
            return key

    one, two = Class(), Class()
    assert await Class.other(one, 1) == 1
    assert await Class.other(two, key=1) == 1
    assert Class.other.cache_contains(one, 1)
    assert Class.other.cache_contains(two, key=1)
    assert not Class.other.cache_contains(two, 1)
    Class.other.cache_put(5, two, 1)
    assert await two.other(1) == 5
    assert await Class.other.cache_refresh(two, 1) == 1
    assert Class.other.cache_info() == (1, 2, 128, 3)
    stats = Class.other.cache_stats()
    assert (stats.hits, stats.loads, stats.currsize, stats.maxsize) == (1, 3, 3, 128)
    assert await Class.other.cache_warm([(one, 7), (two, 7)]) == [7, 7]
    assert Class.other.cache_invalidate(one, 7)
    Class.other.cache_clear()
    assert Class.other.cache_info() == (0, 0, 128, 0)


@measurable
async def test_the_memory_of_all_is_that_of_each_C9_C4() -> None:
    one, other = Service(), Service()
    await one.method(1)
    await other.method(2)
    one_holds, other_holds = one.method.cache_memory(), other.method.cache_memory()
    assert Service.method.cache_memory() == one_holds + other_holds > 0


@needs_refcount_of_functions
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ttl": 100},
        {"ttl": 100, "stale_while_revalidate": 50},
        {"error_ttl": {ValueError: 5}},
        {"key": by_value},
        {"maxsize": None, "typed": True},
    ],
)
@pytest.mark.parametrize("suspends", [False, True])
async def test_a_cache_dies_with_its_instance_by_reference_count_C9(
    options: Any, suspends: bool
) -> None:
    class Value:
        pass

    class Class:
        @alru_cache(per_instance=True, **options)
        async def method(self, key: int) -> Value:
            if suspends:
                await asyncio.sleep(0)
            if key < 0:
                raise ValueError
            return Value()

    instance = Class()
    values = []
    for key in (1, 2, 3):
        values.append(weakref.ref(await instance.method(key)))
        await instance.method(key)

    async def fail() -> None:
        with suppress(ValueError):
            await instance.method(-1)

    await start(fail())
    del fail
    await steps()
    references = [weakref.ref(instance), *values]
    gc.disable()
    try:
        del instance
        await steps()
        assert [reference() for reference in references] == [None] * 4
        assert Class.method.cache_info().currsize == 0  # type: ignore[attr-defined]
    finally:
        gc.enable()


async def test_a_run_keeps_its_instance_C9() -> None:
    class Class:
        @alru_cache(per_instance=True)
        async def method(self, key: int) -> int:
            await gate
            return key

    gate = asyncio.get_running_loop().create_future()
    instance = Class()
    reference = weakref.ref(instance)
    calls = [start(instance.method(1)) for _ in range(2)]
    await steps()
    del instance
    assert Class.method.cache_parameters()["tasks"] == 1  # type: ignore[attr-defined]
    gate.set_result(None)
    assert await asyncio.gather(*calls) == [1, 1]
    del calls
    await steps()
    gc.collect()
    assert reference() is None


async def test_all_arguments_but_the_instance_make_the_key_C9() -> None:
    class Class:
        @alru_cache(per_instance=True)
        async def method(*args: int) -> tuple[int, ...]:
            return args[1:]

    instance = Class()
    for args in ((), (1,), (2,), (1, 2), (1,)):
        assert await instance.method(*args) == args
    assert instance.method.cache_info()[:2] == (1, 4)
    reference = weakref.ref(instance)
    del instance
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("of_all", [False, True])
async def test_closing_cancels_unless_told_to_wait_C9_A9(of_all: bool) -> None:
    class Class:
        @alru_cache(per_instance=True)
        async def method(self) -> None:
            await asyncio.Event().wait()

    instance = Class()
    call = start(instance.method())
    await steps()
    await (Class if of_all else instance).method.cache_close()
    assert call.cancelled() or isinstance(await outcome(call), asyncio.CancelledError)


async def test_closing_is_of_one_or_of_all_C9() -> None:
    one, other = Service(), Service()

    class Class(Service):
        @alru_cache(per_instance=True)
        async def other(self, key: int) -> int:
            return key

    first, second = Class(), Class()
    await first.other(1)
    await second.other(1)
    await first.other.cache_close()
    with pytest.raises(RuntimeError, match="is closed"):
        await first.other(1)
    assert await second.other(1) == 1
    assert not Class.other.cache_parameters()["closed"]
    await Class.other.cache_close(wait=True)
    assert Class.other.cache_parameters()["closed"]
    for instance in (second, Class()):
        with pytest.raises(RuntimeError, match="is closed"):
            await instance.other(2)
    assert await one.method(1) == await other.method(1)


def test_it_looks_like_any_method_C9() -> None:
    service = Service()
    bound = service.method
    assert str(inspect.signature(bound)) == "(key: int, factor: int = 10) -> int"
    assert list(inspect.signature(Service.method).parameters) == [
        "self",
        "key",
        "factor",
    ]
    assert bound.__self__ is service
    assert bound.__func__ is Service.method
    assert bound == service.method
    assert bound != Service().method
    assert hash(bound) == hash(service.method)
    assert bound.__name__ == Service.method.__name__ == "method"
    assert bound.__doc__ == "Multiply."
    assert inspect.iscoroutinefunction(bound)
    assert inspect.iscoroutinefunction(Service.method)
    assert "Service.method" in repr(bound)
    assert pickle.loads(pickle.dumps(Service.method)) is Service.method  # noqa: S301


async def test_classmethods_have_a_cache_for_each_class_C9() -> None:
    class Base:
        runs: list[str] = []

        @classmethod
        @alru_cache(per_instance=True)
        async def method(cls) -> str:
            cls.runs.append(cls.__name__)
            return cls.__name__

    class Derived(Base):
        pass

    for _ in range(2):
        assert await Base.method() == "Base"
        assert await Derived().method() == "Derived"
    assert Base.runs == ["Base", "Derived"]


async def test_methods_of_any_arguments_C9() -> None:
    class Class:
        @alru_cache(per_instance=True, ignore=("more",))
        async def method(*args: Any, **more: Any) -> Any:
            return args[1:]

    instance = Class()
    assert await instance.method(1, 2, a=1) == (1, 2)  # type: ignore[call-arg]
    assert await instance.method(1, 2, a=2) == (1, 2)  # type: ignore[call-arg]
    assert instance.method.cache_info().hits == 1  # type: ignore[attr-defined]


@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy has weak references to everything"
)
async def test_an_instance_without_weak_references_is_told_how_C9() -> None:
    class Slotted:
        __slots__ = ()

        @alru_cache(per_instance=True)
        async def method(self) -> None: ...

    class Weak(Slotted):
        __slots__ = ("__weakref__",)

    with pytest.raises(TypeError, match='Slotted cannot be .* add "__weakref__"'):
        await Slotted().method()
    with pytest.raises(TypeError, match="cannot be weakly referenced"):
        await Slotted.method(Slotted())
    assert hasattr(Slotted(), "method")  # for those who only look
    await Weak().method()


@pytest.mark.parametrize("function", ["async def f(): ...", "async def f(*, a): ..."])
def test_functions_without_an_instance_are_refused_C9(function: str) -> None:
    names: dict[str, Any] = {}
    exec(function, names)  # noqa: S102
    with pytest.raises(TypeError, match="per_instance=True is for methods"):
        alru_cache(per_instance=True)(names["f"])


@pytest.mark.parametrize("bad", [1, None, "yes"])
def test_it_is_a_bool_C9(bad: Any) -> None:
    with pytest.raises(TypeError, match="per_instance must be a bool"):
        alru_cache(per_instance=bad)


async def test_each_has_a_ttl_of_its_own_C9(clock: Clock) -> None:
    class Class:
        @alru_cache(per_instance=True, ttl=10)
        async def method(self) -> int:
            return 1

    one, other = Class(), Class()
    await one.method()
    await clock.advance(5)
    await other.method()
    await clock.advance(5)
    assert one.method.cache_info().currsize == 0
    assert Class.method.cache_info().currsize == 1


async def test_the_instance_may_be_passed_by_keyword_C9_A11() -> None:
    service = Service()
    method: Any = Service.method
    assert await method(self=service, key=1) == 10
    assert await method(service, key=1) == 10
    assert await service.method(key=1) == 10
    assert service.runs == [1]
    assert method.cache_contains(self=service, key=1)
    assert await method.cache_refresh(self=service, key=1) == 10
    assert method.cache_invalidate(self=service, key=1)
    method.cache_put(5, self=service, key=1)
    assert await service.method(key=1) == 5


@pytest.mark.parametrize("name", ["cache_contains", "cache_invalidate", "__call__"])
async def test_a_missing_instance_is_told_of_as_python_does_C9_B9(name: str) -> None:
    class Class:
        @alru_cache(per_instance=True)
        async def method(self, /, **more: Any) -> None: ...

    for method in (Service.method, Class.method):
        with pytest.raises(
            TypeError,
            match=r"method\(\) missing 1 required positional argument: 'self'",
        ):
            called = getattr(method, name)(key=1)
            await called
    with pytest.raises(TypeError, match="missing 1 required"):
        await Class.method(self=Class())  # type: ignore[call-arg]  # one of **more
