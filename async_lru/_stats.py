"""Counters, and what the introspection methods return."""

from typing import Any, NamedTuple, TypedDict


class Counters:
    """The counters of a cache, which CacheStats describes."""

    __slots__ = (
        "evictions",
        "expirations",
        "failures",
        "hits",
        "joins",
        "load_seconds",
        "loads",
        "misses",
        "stale_hits",
        "tier_errors",
        "tier_hits",
        "tier_misses",
        "tier_refused",
        "tier_waits",
    )

    def __init__(self) -> None:
        self.zero()

    def zero(self) -> None:
        """Set all counters to zero."""
        self.hits = self.joins = self.stale_hits = self.misses = 0
        self.loads = self.failures = self.evictions = self.expirations = 0
        self.load_seconds = 0.0
        self.tier_hits = self.tier_misses = self.tier_waits = 0
        self.tier_refused = self.tier_errors = 0

    @property
    def all_hits(self) -> int:
        """Hits of any kind."""
        return self.hits


class CacheInfo(NamedTuple):
    """What ``cache_info()`` returns. The fields are those of ``functools.lru_cache``.

    .. versionadded:: 3.0
    """

    #: Calls that found a value, or a run in flight to join.
    hits: int
    #: Calls that started a run.
    misses: int
    #: The maximum number of values, or None for no limit.
    maxsize: int | None
    #: Keys that have a value, or a run that calls can join.
    currsize: int


class CacheParameters(TypedDict):
    """What ``cache_parameters()`` returns.

    .. versionadded:: 3.0
    """

    #: The maximum number of values, or None for no limit.
    maxsize: int | None
    #: Whether arguments of different types have different keys.
    typed: bool
    #: Runs in flight, including those that can no longer be joined.
    tasks: int
    #: Whether ``cache_close()`` was called.
    closed: bool


class CacheStats(NamedTuple):
    """What ``cache_stats()`` returns. ``cache_clear()`` resets the counters.

    .. versionadded:: 3.0
    """

    #: Calls that found a value, or a run in flight to join.
    hits: int
    #: Hits that waited for a run in flight.
    joins: int
    #: Hits that got a stale value at once, without waiting for a run.
    stale_hits: int
    #: Calls that started a run.
    misses: int
    #: Runs that returned a value, including refreshes.
    loads: int
    #: Runs that raised an exception or could not start. Cancelled runs do not count.
    failures: int
    #: Values dropped because there were more than maxsize.
    evictions: int
    #: Values dropped because they expired.
    expirations: int
    #: The total duration of all loads, in seconds.
    load_seconds: float
    #: Runs in flight, including those that can no longer be joined.
    in_flight: int
    #: Keys that have a value, or a run that calls can join.
    currsize: int
    #: The maximum number of values, or None for no limit.
    maxsize: int | None
    #: The ttl in seconds, the callable that was passed as ttl, or None.
    ttl: Any
    #: Misses that the second tier answered, which are neither loads nor failures.
    tier_hits: int = 0
    #: Misses that the second tier had no answer for, and left to a run here.
    tier_misses: int = 0
    #: Misses that waited for a run of another process.
    tier_waits: int = 0
    #: Results that the second tier refused because their runs had lost the lease. The entry
    #: was invalidated meanwhile, or the event loop was blocked for too long.
    tier_refused: int = 0
    #: Commands to the second tier that failed, and answers of it that made no sense.
    tier_errors: int = 0
    #: Whether the second tier answers; None where there is none.
    tier_up: bool | None = None

    @property
    def hit_rate(self) -> float:
        """The share of calls that were hits, from 0 to 1; 0 if there were no calls."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0

    @property
    def mean_load_seconds(self) -> float:
        """The average duration of a load in seconds; 0 if there were no loads."""
        return self.load_seconds / self.loads if self.loads else 0.0

    def plus(self, other: "CacheStats") -> "CacheStats":
        """Return the sums of the counters of both."""
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in self._fields
            if name not in ("maxsize", "ttl", "tier_up")
        }
        return self._replace(**sums)

    def __str__(self) -> str:
        bound = "unbounded" if self.maxsize is None else f"of {self.maxsize:,}"
        ttl = "no ttl" if self.ttl is None else f"ttl {self.ttl}"
        if isinstance(self.ttl, float):
            ttl = f"ttl {self.ttl:g} s"
        report = (
            f"{self.hits + self.misses:,} calls, {self.hit_rate:.1%} hits: "
            f"{self.hits:,} hits ({self.joins:,} joined a run, "
            f"{self.stale_hits:,} stale), {self.misses:,} misses\n"
            f"{self.loads:,} loads in {self.load_seconds:.3f} s "
            f"({self.mean_load_seconds * 1000:.3f} ms each), "
            f"{self.failures:,} failures, {self.in_flight:,} in flight\n"
            f"{self.currsize:,} entries {bound}, {ttl}: "
            f"{self.evictions:,} evicted, {self.expirations:,} expired"
        )
        if self.tier_up is None:
            return report
        return (
            f"{report}\n"
            f"tier {'up' if self.tier_up else 'down'}: {self.tier_hits:,} hits, "
            f"{self.tier_misses:,} misses, {self.tier_waits:,} waits, "
            f"{self.tier_refused:,} refused, {self.tier_errors:,} errors"
        )
