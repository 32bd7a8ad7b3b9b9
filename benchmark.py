"""The cost of what programs do with a cache: ``pytest --codspeed benchmark.py``.

Each benchmark does one thing CALLS times in one event loop and then checks that it
happened. ``benchmarks/compare.py`` compares with other libraries.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
from pytest_codspeed import BenchmarkFixture

from async_lru import alru_cache

CALLS = 1000

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Counted:
    """A cached function of one int, and how often it has run."""

    def __init__(
        self,
        *,
        maxsize: int | None = 128,
        ttl: float | None = None,
        jitter: float | None = None,
        sleep: float | None = None,
    ) -> None:
        self.runs = 0

        @alru_cache(maxsize=maxsize, ttl=ttl, jitter=jitter)
        async def function(number: int) -> int:
            self.runs += 1
            if sleep is not None:
                await asyncio.sleep(sleep)
            return number

        self.call = function

    async def call_all(self) -> None:
        """Call the function with each number below CALLS, one after the other."""
        call = self.call
        for number in range(CALLS):
            await call(number)


class Service:
    """A class with cached methods."""

    runs = 0

    @alru_cache(maxsize=CALLS)
    async def shared(self, number: int) -> int:
        """Share one cache between all instances."""
        Service.runs += 1
        return number

    @alru_cache(per_instance=True)
    async def per_instance(self, number: int) -> int:
        """Have a cache for each instance."""
        Service.runs += 1
        return number


@pytest.fixture
def run() -> Iterator[Run]:
    """Return run_until_complete of one event loop for the whole benchmark."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.close()


def test_mix(benchmark: BenchmarkFixture, run: Run) -> None:
    subject = Counted(maxsize=1100, sleep=0.001)
    numbers = range(5000)
    weights = [(number + 1) ** -1.2 for number in numbers]
    keys = random.Random(1).choices(numbers, weights, k=10 * CALLS)  # noqa: S311

    async def worker(shared: Iterator[int]) -> None:
        for key in shared:
            await subject.call(key)

    async def work() -> None:
        shared = iter(keys)
        await asyncio.gather(*(worker(shared) for _ in range(64)))

    benchmark(lambda: run(work()))
    info = subject.call.cache_info()
    assert info.hits > 4 * info.misses


def test_gathered_in_a_cached_call(benchmark: BenchmarkFixture, run: Run) -> None:
    inner = Counted(maxsize=CALLS, sleep=0)

    @alru_cache(maxsize=CALLS)
    async def outer(number: int) -> int:
        numbers = range(number * 20, number * 20 + 20)
        return sum(await asyncio.gather(*map(inner.call, numbers)))

    async def calls() -> None:
        for number in range(CALLS // 20):
            await outer(number)

    def cold() -> None:
        inner.runs = 0
        inner.call.cache_clear()
        outer.cache_clear()
        run(calls())

    benchmark(cold)
    assert inner.runs == CALLS


@pytest.mark.parametrize("kind", ["shared", "per_instance"])
def test_hit_of_many_instances(
    benchmark: BenchmarkFixture, run: Run, kind: str
) -> None:
    services = [Service() for _ in range(CALLS)]
    Service.runs = 0

    async def shared() -> None:
        for service in services:
            await service.shared(1)

    async def per_instance() -> None:
        for service in services:
            await service.per_instance(1)

    calls = {"shared": shared, "per_instance": per_instance}[kind]
    run(calls())
    benchmark(lambda: run(calls()))
    assert Service.runs == CALLS


def test_first_call_of_instances(benchmark: BenchmarkFixture, run: Run) -> None:
    async def calls() -> None:
        for _ in range(CALLS):
            await Service().per_instance(1)

    def new_instances() -> None:
        Service.runs = 0
        run(calls())

    benchmark(new_instances)
    assert Service.runs == CALLS


@pytest.mark.parametrize("ttl", [None, 3600], ids=["plain", "ttl"])
def test_hit(benchmark: BenchmarkFixture, run: Run, ttl: float | None) -> None:
    subject = Counted(maxsize=CALLS, ttl=ttl)
    run(subject.call_all())
    benchmark(lambda: run(subject.call_all()))
    assert subject.runs == CALLS


async def positional(call: Callable[..., Awaitable[int]]) -> None:
    for _ in range(CALLS):
        await call(1, 2)


async def keywords(call: Callable[..., Awaitable[int]]) -> None:
    for _ in range(CALLS):
        await call(one=1, two=2)


@pytest.mark.parametrize("typed", [False, True], ids=["untyped", "typed"])
@pytest.mark.parametrize("calls", [positional, keywords])
def test_hit_with_two_arguments(
    benchmark: BenchmarkFixture,
    run: Run,
    calls: Callable[..., Coroutine[Any, Any, None]],
    typed: bool,
) -> None:
    @alru_cache(typed=typed)
    async def function(one: int, two: int) -> int:
        return one + two

    benchmark(lambda: run(calls(function)))
    assert function.cache_info().misses == 1


@pytest.mark.parametrize("ttl", [None, 3600], ids=["plain", "ttl"])
@pytest.mark.parametrize("sleep", [0, None], ids=["suspends", "never suspends"])
def test_miss_with_eviction(
    benchmark: BenchmarkFixture, run: Run, ttl: float | None, sleep: float | None
) -> None:
    subject = Counted(maxsize=CALLS // 10, ttl=ttl, sleep=sleep)

    def cold() -> None:
        subject.runs = 0
        run(subject.call_all())

    benchmark(cold)
    assert subject.runs == CALLS
    assert subject.call.cache_info().currsize == CALLS // 10


def test_failure(benchmark: BenchmarkFixture, run: Run) -> None:
    failures = 0

    @alru_cache
    async def function(number: int) -> int:
        await asyncio.sleep(0)
        raise KeyError(number)

    async def calls() -> None:
        nonlocal failures
        failures = 0
        for number in range(CALLS):
            try:
                await function(number)
            except KeyError:
                failures += 1

    benchmark(lambda: run(calls()))
    assert failures == CALLS


def test_join(benchmark: BenchmarkFixture, run: Run) -> None:
    subject = Counted(sleep=0)

    async def calls() -> None:
        await asyncio.gather(*[subject.call(1) for _ in range(CALLS)])

    def join() -> None:
        subject.runs = 0
        subject.call.cache_clear()
        run(calls())

    benchmark(join)
    assert subject.runs == 1


def test_fill_and_invalidate(benchmark: BenchmarkFixture, run: Run) -> None:
    subject = Counted(maxsize=CALLS)

    async def both() -> int:
        await subject.call_all()
        invalidate = subject.call.cache_invalidate
        return sum(invalidate(number) for number in range(CALLS))

    assert benchmark(lambda: run(both())) == CALLS


def test_fill_and_clear(benchmark: BenchmarkFixture, run: Run) -> None:
    subject = Counted(maxsize=CALLS)

    async def both() -> None:
        await subject.call_all()
        subject.call.cache_clear()

    benchmark(lambda: run(both()))
    assert subject.call.cache_info().currsize == 0


@pytest.mark.parametrize("jitter", [None, 0.001], ids=["plain", "jitter"])
def test_fill_until_all_have_expired(
    benchmark: BenchmarkFixture, run: Run, jitter: float | None
) -> None:
    subject = Counted(maxsize=None, ttl=0.001, jitter=jitter)

    async def both() -> None:
        await subject.call_all()
        while subject.call.cache_info().currsize:
            await asyncio.sleep(0)

    def expire() -> None:
        subject.runs = 0
        run(both())

    benchmark(expire)
    assert subject.runs == CALLS


def test_decorate_and_call(benchmark: BenchmarkFixture, run: Run) -> None:
    async def function(number: int) -> int:
        return number

    async def calls() -> int:
        return sum([await alru_cache(function)(1) for _ in range(CALLS // 10)])

    assert benchmark(lambda: run(calls())) == CALLS // 10
