"""What each thing costs: ``pytest --codspeed benchmark.py``.

Every scenario does a thing CALLS times, in one loop, and checks afterwards that it
did what it says.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_codspeed import BenchmarkFixture

from async_lru import alru_cache

CALLS = 1000

Loop = asyncio.AbstractEventLoop


class Subject:
    """A cached function of one int, and how often it has run."""

    def __init__(self, *, ttl: float | None = None, **options: Any) -> None:
        self.runs = 0

        @alru_cache(ttl=ttl, **options)
        async def function(number: int) -> int:
            self.runs += 1
            return number

        self.call = function

    async def fill(self) -> None:
        """Call the function with each number below CALLS, once."""
        call = self.call
        for number in range(CALLS):
            await call(number)

    def reset(self) -> None:
        """Empty the cache and count anew."""
        self.call.cache_clear()
        self.runs = 0


class Method(Subject):
    """The same as a method of an instance."""

    def __init__(self, *, ttl: float | None = None, **options: Any) -> None:
        class Service:
            @alru_cache(ttl=ttl, **options)
            async def method(service, number: int) -> int:  # noqa: N805
                self.runs += 1
                return number

        self.runs = 0
        self.service = Service()

    @property
    def call(self) -> Any:  # type: ignore[override]
        """The bound method, bound anew for each round."""
        return self.service.method


KINDS: dict[str, tuple[type[Subject], dict[str, Any]]] = {
    "bounded": (Subject, {}),
    "unbounded": (Subject, {"maxsize": None}),
    "ttl": (Subject, {"ttl": 3600}),
    "jitter": (Subject, {"ttl": 3600, "jitter": 60}),
    "method": (Method, {}),
}


def make(kind: str, maxsize: int = CALLS) -> Subject:
    """Return an empty cache of one of KINDS."""
    subject, options = KINDS[kind]
    return subject(**{"maxsize": maxsize, **options})


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Return an event loop for the whole scenario."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest) -> Subject:
    """Return an empty cache of each kind."""
    return make(request.param)


@pytest.fixture
def filled(subject: Subject, loop: Loop) -> Subject:
    """Return a cache of each kind with an entry for each number."""
    loop.run_until_complete(subject.fill())
    assert subject.call.cache_info().currsize == CALLS
    return subject


def test_uncached(benchmark: BenchmarkFixture, loop: Loop) -> None:
    async def function(number: int) -> int:
        return number

    async def calls() -> int:
        total = 0
        for number in range(CALLS):
            total += await function(number)
        return total

    assert benchmark(lambda: loop.run_until_complete(calls())) == sum(range(CALLS))


def test_hit(benchmark: BenchmarkFixture, loop: Loop, filled: Subject) -> None:
    benchmark(lambda: loop.run_until_complete(filled.fill()))
    assert filled.runs == CALLS
    assert filled.call.cache_info().misses == CALLS


def test_hit_of_method_bound_anew(benchmark: BenchmarkFixture, loop: Loop) -> None:
    subject = Method()

    async def calls() -> None:
        service = subject.service
        for _ in range(CALLS):
            await service.method(1)

    benchmark(lambda: loop.run_until_complete(calls()))
    assert subject.runs == 1


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2), {}), ((1,), {"other": 2}), ((), {"one": 1, "two": 2})],
    ids=["two arguments", "argument and keyword", "keywords"],
)
def test_hit_with(
    benchmark: BenchmarkFixture,
    loop: Loop,
    args: tuple[int, ...],
    kwargs: dict[str, int],
    typed: bool,
) -> None:
    runs = 0

    @alru_cache(typed=typed)
    async def function(*args: int, **kwargs: int) -> int:
        nonlocal runs
        runs += 1
        return 1

    async def calls() -> None:
        for _ in range(CALLS):
            await function(*args, **kwargs)

    benchmark(lambda: loop.run_until_complete(calls()))
    assert runs == 1


def test_fill(benchmark: BenchmarkFixture, loop: Loop, subject: Subject) -> None:
    def fill() -> None:
        subject.reset()
        loop.run_until_complete(subject.fill())

    benchmark(fill)
    assert subject.runs == subject.call.cache_info().currsize == CALLS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unbounded"])
def test_miss_with_eviction(benchmark: BenchmarkFixture, loop: Loop, kind: str) -> None:
    subject = make(kind, maxsize=CALLS // 10)

    def fill() -> None:
        subject.runs = 0
        loop.run_until_complete(subject.fill())

    benchmark(fill)
    assert subject.runs == CALLS
    assert subject.call.cache_info().currsize == CALLS // 10


@pytest.mark.parametrize("ttl", [None, 3600])
def test_miss_of_function_that_suspends(
    benchmark: BenchmarkFixture, loop: Loop, ttl: float | None
) -> None:
    runs = 0

    @alru_cache(maxsize=CALLS // 10, ttl=ttl)
    async def function(number: int) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return number

    async def calls() -> None:
        nonlocal runs
        runs = 0
        for number in range(CALLS):
            await function(number)

    benchmark(lambda: loop.run_until_complete(calls()))
    assert runs == CALLS


def test_failure(benchmark: BenchmarkFixture, loop: Loop) -> None:
    failures = 0

    @alru_cache
    async def function(number: int) -> int:
        raise KeyError(number)

    async def calls() -> None:
        nonlocal failures
        failures = 0
        for number in range(CALLS):
            try:
                await function(number)
            except KeyError:
                failures += 1

    benchmark(lambda: loop.run_until_complete(calls()))
    assert failures == CALLS


def test_concurrent_hits(
    benchmark: BenchmarkFixture, loop: Loop, filled: Subject
) -> None:
    async def calls() -> None:
        call = filled.call
        await asyncio.gather(*[call(number) for number in range(CALLS)])

    benchmark(lambda: loop.run_until_complete(calls()))
    assert filled.runs == CALLS


def test_joins(benchmark: BenchmarkFixture, loop: Loop) -> None:
    runs = 0

    @alru_cache
    async def function(number: int) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return number

    async def calls() -> None:
        await asyncio.gather(*[function(1) for _ in range(CALLS)])

    def join() -> None:
        nonlocal runs
        runs = 0
        function.cache_clear()
        loop.run_until_complete(calls())

    benchmark(join)
    assert runs == 1
    assert function.cache_info().hits == CALLS - 1


def test_contains(benchmark: BenchmarkFixture, filled: Subject) -> None:
    def contains() -> int:
        contains = filled.call.cache_contains
        return sum(contains(number) for number in range(CALLS))

    assert benchmark(contains) == CALLS


def test_info(benchmark: BenchmarkFixture, filled: Subject) -> None:
    def info() -> None:
        info = filled.call.cache_info
        for _ in range(CALLS):
            info()

    benchmark(info)
    assert filled.call.cache_info() == (
        0,
        CALLS,
        filled.call.cache_info().maxsize,
        CALLS,
    )


def test_fill_and_invalidate(
    benchmark: BenchmarkFixture, loop: Loop, subject: Subject
) -> None:
    async def both() -> int:
        await subject.fill()
        invalidate = subject.call.cache_invalidate
        return sum(invalidate(number) for number in range(CALLS))

    assert benchmark(lambda: loop.run_until_complete(both())) == CALLS
    assert subject.call.cache_info().currsize == 0


def test_fill_and_clear(
    benchmark: BenchmarkFixture, loop: Loop, subject: Subject
) -> None:
    async def both() -> None:
        await subject.fill()
        subject.call.cache_clear()

    benchmark(lambda: loop.run_until_complete(both()))
    assert subject.call.cache_info() == (0, 0, subject.call.cache_info().maxsize, 0)


@pytest.mark.parametrize("jitter", [None, 0.001])
def test_fill_until_all_have_expired(
    benchmark: BenchmarkFixture, loop: Loop, jitter: float | None
) -> None:
    subject = Subject(maxsize=None, ttl=0.001, jitter=jitter)

    async def both() -> None:
        await subject.fill()
        while subject.call.cache_info().currsize:
            await asyncio.sleep(0)

    def expire() -> None:
        subject.reset()
        loop.run_until_complete(both())

    benchmark(expire)
    assert subject.runs == CALLS
