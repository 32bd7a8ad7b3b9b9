"""What a cache does, as a model that can be read in five minutes.

The model has the values of finished runs, least recently used first, the runs that
calls can join, and the calls that wait for each run. It has no tasks, futures or timers.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: How long values and kept failures last, and when a run is slow, in seconds.
TTL = 10.0
SLOW = 2.0
NEVER = float("inf")


class Value(NamedTuple):
    """The result of a run, or the type of a failure that is kept."""

    outcome: Any
    fresh_until: float
    gone_at: float
    retry_at: float = 0.0


@dataclass(eq=False)
class Run:
    """One execution of the function."""

    key: int
    waiters: list["Call"] = field(default_factory=list)
    in_background: bool = False
    awaits: "Call | None" = None  # the call that its function makes
    stubborn: bool = False  # whether it survives its cancellation
    cancelled: bool = False
    at_once: Any = None  # the outcome of a function that does not suspend


@dataclass(eq=False)
class Call:
    """A call, or a refresh: it waits for a run, or has its outcome."""

    key: int
    caller: Run | None = None
    refreshes: bool = False
    run: Run | None = None
    outcome: Any = None
    gives_up_at: float = NEVER  # when it takes the stale value instead


class Model:
    """What a cache does. An outcome is a value, or the type of an exception."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.maxsize, self.ttl = options["maxsize"], options.get("ttl")
        self.revalidate = options.get("stale_while_revalidate", 0)
        self.if_error = options.get("stale_if_error", 0)
        self.slow = options.get("stale_if_slow", NEVER)
        self.kept = tuple(options.get("error_ttl") or ())
        self.cancels_abandoned = options.get("cancel_abandoned", True)
        self.now = 0.0
        self.values: OrderedDict[int, Value] = OrderedDict()
        self.runs: dict[int, Run] = {}
        self.in_flight: list[Run] = []
        self.begun: list[Run] = []  # those whose functions have yet to be called
        self.reported: list[type] = []
        self.count: Counter[str] = Counter()

    # Calls

    def call(self, key: int, caller: Run | None = None) -> Call:
        self.expire()
        call = Call(key, caller)
        value, run = self.values.get(key), self.runs.get(key)
        stale = value and value.fresh_until <= self.now
        if value and self.now < max(
            value.fresh_until + self.revalidate, value.retry_at
        ):
            self.count.update(hits=1, stale_hits=int(bool(stale)))
            self.values.move_to_end(key)
            call.outcome = value.outcome
            if stale and not run and value.retry_at <= self.now:
                self.begin(key).in_background = True
        elif not run:
            self.count["misses"] += 1
            self.wait(call, self.begin(key))
        elif self.would_hang(caller, run):
            call.outcome = RuntimeError
        else:
            self.count.update(hits=1, joins=1)
            self.wait(call, run)
        if stale and call.run:
            call.gives_up_at = self.now + self.slow
        return call

    def refresh(self, key: int) -> Call:
        self.expire()
        call = Call(key, refreshes=True)
        self.wait(call, self.runs.get(key) or self.begin(key))
        return call

    def would_hang(self, caller: Run | None, run: Run) -> bool:
        """Tell whether *run* is the caller, or waits for it through other runs."""
        while run is not caller and run.awaits and run.awaits.run:
            run = run.awaits.run
        return run is caller

    def wait(self, call: Call, run: Run) -> None:
        run.waiters.append(call)
        call.run = run
        if call.caller:
            call.caller.awaits = call

    def answer(self, call: Call, outcome: Any) -> None:
        """Give a call its outcome; the run that made it ends with the same."""
        call.outcome, call.run = outcome, None
        if call.caller:
            call.caller.awaits = None
            self.end(call.caller, outcome)

    def cancel(self, call: Call) -> None:
        run, call.run, call.outcome = call.run, None, asyncio.CancelledError
        run.waiters.remove(call)
        self.cancel_if_useless(run)

    # Runs

    def begin(self, key: int) -> Run:
        run = Run(key)
        self.begun.append(run)
        self.in_flight.append(run)
        if self.maxsize != 0:
            self.runs[key] = run
        return run

    def end(self, run: Run, outcome: Any) -> None:
        self.expire()
        self.in_flight.remove(run)
        fails = isinstance(outcome, type) and outcome is not asyncio.CancelledError
        loads = not isinstance(outcome, type)
        self.count.update(loads=loads, failures=fails)
        rescue = outcome
        value = self.values.get(run.key)
        if fails and outcome is not BaseException and self.can_be_given(value):
            if self.now < value.fresh_until + self.if_error and self.if_error:
                rescue = value.outcome
        if self.runs.get(run.key) is run:
            del self.runs[run.key]
            if loads or (not value and issubclass(outcome, self.kept)):
                self.store(run.key, outcome)
            elif value:
                self.values[run.key] = value._replace(retry_at=self.now + 1)
        if fails and (run.in_background or not run.waiters):
            self.reported.append(outcome)
        for call in run.waiters:
            self.answer(call, outcome if call.refreshes else rescue)

    def can_be_given(self, value: Value | None) -> bool:
        """Tell whether a value can be given to a call instead of what a run gives."""
        return value is not None and not isinstance(value.outcome, type)

    def cancel_if_useless(self, run: Run) -> None:
        """Cancel a run that nobody waits for, unless it is to go on and can store."""
        goes_on = run.in_background or not self.cancels_abandoned
        can_store = self.runs.get(run.key) is run
        if not run.waiters and not (can_store and goes_on):
            if can_store:
                del self.runs[run.key]
            self.cancel_run(run)

    def cancel_run(self, run: Run) -> None:
        run.cancelled = True
        if run.awaits or not run.stubborn:
            if run.awaits:
                self.cancel(run.awaits)
            self.end(run, asyncio.CancelledError)

    # Values

    def store(self, key: int, outcome: Any) -> None:
        self.values.pop(key, None)
        seconds, stale = TTL, 0.0
        if not isinstance(outcome, type):
            seconds = self.ttl(outcome) if callable(self.ttl) else self.ttl
            stale = max(self.revalidate, self.if_error)
        if seconds != 0:
            fresh_until = self.now + (NEVER if seconds is None else seconds)
            self.values[key] = Value(outcome, fresh_until, fresh_until + stale)
        if len(self.values) > (NEVER if self.maxsize is None else self.maxsize):
            self.values.popitem(last=False)
            self.count["evictions"] += 1

    def put(self, key: int, outcome: Any) -> None:
        self.expire()
        if self.maxsize != 0:
            self.drop(key)
            self.store(key, outcome)

    def drop(self, key: int) -> None:
        """Drop the value and let nobody join the run."""
        self.values.pop(key, None)
        if run := self.runs.pop(key, None):
            self.cancel_if_useless(run)

    def clear(self) -> None:
        for key in self.keys():
            self.drop(key)
        self.count.clear()

    def keys(self) -> list[int]:
        self.expire()
        return sorted({*self.values, *self.runs})

    def expire(self) -> None:
        for key, value in list(self.values.items()):
            if value.gone_at <= self.now:
                del self.values[key]
                self.count["expirations"] += 1

    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.expire()
        for call in [call for run in self.in_flight for call in run.waiters]:
            value, run = self.values.get(call.key), call.run
            if call.gives_up_at <= self.now:
                call.gives_up_at = NEVER
                if self.can_be_given(value):
                    run.in_background |= self.runs.get(run.key) is run
                    run.waiters.remove(call)
                    self.answer(call, value.outcome)
                    self.cancel_if_useless(run)
