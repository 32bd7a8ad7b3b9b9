"""Load: ``make soak``, or ``make soak SECONDS=3600``.

Callers with all the bad habits there are, on several cached functions and a method at
once: skewed keys, timeouts, cancellations, failures, invalidations. Every answer is
checked; memory must stay flat, the loop must never stall, and asyncio must have nothing
to complain of. test_soak.py does the same for a moment.
"""

import argparse
import asyncio
import gc
import logging
import random
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from async_lru import AlruCacheWrapper, alru_cache

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: The longest that the loop may take for one turn, in seconds: far more than a slice of
#: expirations, and less than a stall that callers feel. Debug mode is not measured.
STALL = 0.5
#: How much the number of objects may grow between the first quarter and the end.
GROWTH = 1.2
#: How many bytes the peak of the memory may rise after the first quarter.
RISE = 40_000_000
CALLERS = 100


class Unlucky(Exception):
    """A failure of the origin."""


@dataclass
class Tally:
    """What happened."""

    operations: int = 0
    answers: int = 0
    failures: int = 0
    timeouts: int = 0
    cancelled: int = 0
    longest_turn: float = 0.0
    peak: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.operations:,} operations: {self.answers:,} answers, "
            f"{self.failures:,} failures, {self.timeouts:,} timeouts, "
            f"{self.cancelled:,} cancelled; "
            f"longest turn {self.longest_turn * 1000:.0f} ms, "
            f"peak memory {self.peak / 1e6:.0f} MB"
        )


def peak_memory() -> int:
    """Return the most bytes that the process has ever held, 0 where that is unknown."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def zipf(chance: random.Random, keys: int) -> int:
    """Return a key below *keys*, the small ones far more often."""
    return min(int(chance.paretovariate(0.7)) - 1, keys - 1)


def functions(chance: random.Random) -> list[AlruCacheWrapper[[int], int]]:
    """Return cached functions of all kinds, each of which gives 3 * number."""

    async def origin(number: int) -> int:
        luck = chance.random()
        if luck < 0.3:
            return 3 * number
        await asyncio.sleep(0 if luck < 0.6 else chance.uniform(0, 0.01))
        if luck > 0.95:
            raise Unlucky(number)
        return 3 * number

    class Service:
        @alru_cache(maxsize=50, ttl=0.05)
        async def method(self, number: int) -> int:
            return await origin(number)

        @alru_cache(maxsize=50, per_instance=True)
        async def own(self, number: int) -> int:
            return await origin(number)

    options: list[dict[str, Any]] = [
        {"maxsize": 100},
        {"maxsize": None, "ttl": 0.05, "jitter": 0.05},
        {"maxsize": 1000, "ttl": 0.02},
        {"maxsize": 3, "typed": True},
        {"maxsize": 0},
        {"maxsize": 200, "key": lambda number: -number, "ttl": 0.1},
        {"maxsize": 100, "ttl": lambda value: value % 7 / 100, "ignore": ()},
        {"maxsize": 100, "error_ttl": {Unlucky: 0.02}},
        {
            "maxsize": 100,
            "ttl": 0.02,
            "stale_while_revalidate": 0.03,
            "stale_if_error": 0.05,
            "stale_retry": 0.005,
        },
        {"maxsize": 100, "ttl": 0.02, "stale_if_error": 0.05, "stale_if_slow": 0.002},
        {"maxsize": 100, "cancel_abandoned": False},
    ]
    cached = [alru_cache(**kind)(origin) for kind in options]

    @alru_cache(maxsize=100)
    async def outer(number: int) -> int:
        return await cached[0](number)

    service = Service()
    return [*cached, outer, service.method, service.own]


async def one_call(function: Any, number: int, tally: Tally) -> None:
    """Call and check the answer."""
    try:
        answer = await function(number)
    except Unlucky as error:
        assert error.args == (number,)
        tally.failures += 1
    else:
        assert answer == 3 * number, (answer, number)
        tally.answers += 1


async def caller(
    cached: list[Any], chance: random.Random, tally: Tally, end: float
) -> None:
    """Do what callers do, until *end*."""
    while time.monotonic() < end:
        function = chance.choice(cached)
        number = zipf(chance, 10_000)
        tally.operations += 1
        luck = chance.random()
        if luck < 0.80:
            await one_call(function, number, tally)
        elif luck < 0.88:
            try:
                await asyncio.wait_for(one_call(function, number, tally), 0.003)
            except asyncio.TimeoutError:
                tally.timeouts += 1
        elif luck < 0.94:
            call = asyncio.ensure_future(one_call(function, number, tally))
            await asyncio.sleep(chance.choice([0, 0, 0.002]))
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                tally.cancelled += 1
        elif luck < 0.97:
            await asyncio.gather(
                *[one_call(function, number, tally) for _ in range(20)]
            )
        elif luck < 0.98:
            function.cache_invalidate(number)
        elif luck < 0.981:
            function.cache_invalidate_where(lambda *key: key[-1] % 10 == number % 10)
        elif luck < 0.985:
            function.cache_put(3 * number, number)
        elif luck < 0.995:
            await one_call(function.cache_refresh, number, tally)
        elif luck < 0.998:
            function.cache_clear()
        else:
            function.cache_info()
            function.cache_parameters()
            function.cache_contains(number)
        if luck > 0.5:
            await asyncio.sleep(0)


async def watch(
    tally: Tally, seconds: float, progress: Callable[[str], None], *, strict: bool
) -> None:
    """Measure the turns of the loop, and the memory, until *seconds* have gone by."""
    started = before = time.monotonic()
    counted = 0
    next_count = seconds / 4
    while (now := time.monotonic()) < started + seconds:
        if strict:
            tally.longest_turn = max(tally.longest_turn, now - before)
        before = now
        if now - started > next_count:
            progress(f"{now - started:6.0f} s  {tally}")
            gc.collect()
            objects = len(gc.get_objects())
            if counted == 0:
                counted = objects
                tally.peak = peak_memory()
            assert peak_memory() < tally.peak + RISE
            assert objects < GROWTH * counted + 20_000, (objects, counted)
            next_count += max(seconds / 20, 0.5)
            before = time.monotonic()
        await asyncio.sleep(0.001)
    assert tally.longest_turn < STALL, tally
    tally.peak = peak_memory()


async def load(
    seconds: float, seed: int, progress: Callable[[str], None], *, strict: bool
) -> Tally:
    """Put the load on, and return what happened."""
    chance = random.Random(seed)
    tally = Tally()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, report: tally.complaints.append(
            f"{report['message']}: {report.get('exception')!r}"
        )
    )
    cached: list[Any] = functions(chance)
    end = time.monotonic() + seconds
    await asyncio.gather(
        watch(tally, seconds, progress, strict=strict),
        *[caller(cached, chance, tally, end) for _ in range(CALLERS)],
    )
    for function in cached:
        await function.cache_close()
        assert function.cache_parameters()["tasks"] == 0
        function.cache_open()
        assert function.cache_info().currsize == 0
    # What fails when all its callers have gone is for the exception handler.
    tally.complaints = [said for said in tally.complaints if "Unlucky" not in said]
    return tally


class Complaints(logging.Handler):
    """Keeps what asyncio logs, but for its remarks on slow callbacks in debug mode."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Executing" not in record.getMessage() and record.levelno > logging.DEBUG:
            self.said.append(record.getMessage())


def soak(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    seconds: float,
    *,
    seed: int = 0,
    debug: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Put the load on a loop of that kind; raise AssertionError if anything is wrong."""
    gc.collect()  # what others have left behind is not ours
    complaints = Complaints()
    logger = logging.getLogger("asyncio")
    logger.addHandler(complaints)
    loop = new_loop()
    loop.set_debug(debug)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tally = loop.run_until_complete(
                load(seconds, seed, progress, strict=not debug)
            )
            gc.collect()  # let what was never retrieved say so
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
        logger.removeHandler(complaints)
    said = [*tally.complaints, *complaints.said]
    assert not said, said
    return tally


def main() -> None:
    """Run each kind of loop for its share of the time."""
    parser = argparse.ArgumentParser(description="Put load on async_lru.")
    parser.add_argument("seconds", type=float, nargs="?", default=180.0)
    seconds = parser.parse_args().seconds
    loops: dict[str, tuple[Any, bool]] = {
        "asyncio": (asyncio.new_event_loop, False),
        "asyncio in debug mode": (asyncio.new_event_loop, True),
    }
    try:
        import uvloop
    except ImportError:
        print("uvloop is not here")
    else:
        loops["uvloop"] = uvloop.new_event_loop, False
    seed = random.randrange(10**6)
    print(f"Python {sys.version.split()[0]}, seed {seed}")
    for name, (new_loop, debug) in loops.items():
        print(name, flush=True)
        tally = soak(
            new_loop,
            seconds / len(loops),
            seed=seed,
            debug=debug,
            progress=lambda line: print(f"  {line}", flush=True),
        )
        print(f"  done      {tally}")


if __name__ == "__main__":
    main()
