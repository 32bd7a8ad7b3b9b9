"""Every interleaving against the model in model.py.

After each step the cache and the model agree on every result, counter and key.

A3 to A10, B1, B2, B4, B5; C1, C4, C5, C6, C8, C11, C12, C13, C14, and C9 where the
function is a method of one instance among others.
"""

import asyncio
import itertools
import os
from contextlib import closing
from typing import Any

import hypothesis.strategies as st
import pytest
from conftest import steps
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from model import NEVER, SLOW, TTL, Call, Model, Run

from async_lru import alru_cache

KEYS = st.integers(0, 2)
OUTCOMES = [int, ValueError, KeyError, asyncio.CancelledError, BaseException]
WHILE_REVALIDATE = {"ttl": TTL, "stale_while_revalidate": 5}
IF_ERROR = {"ttl": TTL, "stale_if_error": 12}
TIMES: list[dict[str, Any]] = [
    {},
    {"ttl": 0},
    {"ttl": TTL},
    {"ttl": lambda value: (None, TTL, 0)[value % 3]},
    WHILE_REVALIDATE,
    IF_ERROR,
    WHILE_REVALIDATE | IF_ERROR,
    IF_ERROR | {"stale_if_slow": SLOW},
    WHILE_REVALIDATE | IF_ERROR | {"stale_if_slow": SLOW},
]
COUNTERS = "hits joins stale_hits misses loads failures evictions expirations".split()


class CacheAgainstModel(RuleBasedStateMachine):
    """Does to a cache what hypothesis thinks of, and to the model the same."""

    @initialize(
        maxsize=st.sampled_from([None, 1, 2]),
        times=st.sampled_from(TIMES),
        error_ttl=st.sampled_from([None, {LookupError: TTL}]),
        flags=st.tuples(*[st.booleans()] * 4),
    )
    def make(self, maxsize: int | None, times: Any, error_ttl: Any, flags: Any) -> None:
        stores, cancels, per_instance, self.close_waits = flags
        options = {"maxsize": maxsize, "error_ttl": error_ttl, **times}
        options["cancel_abandoned"] = cancels
        if not stores and times in TIMES[:3]:
            options = {"maxsize": 0, **times}
        self.model = Model(options)
        self.calls: list[tuple[Call, asyncio.Task[Any]]] = []
        self.controls: list[tuple[Run, asyncio.Future[Any]]] = []
        self.reports: list[dict[str, Any]] = []
        self.new_value = itertools.count(1).__next__
        self.timers_are_late = False
        self.dead: list[Any] = []
        self.open_loop()

        class Owner:
            @alru_cache(per_instance=True, **options)
            async def method(self, key: int) -> Any:
                return await function(key)

        async def function(key: int) -> Any:
            return await self.execute(key)

        self.owner, self.other = Owner(), Owner()
        shared = alru_cache(**options)(function)
        self.function: Any = self.owner.method if per_instance else shared

    async def execute(self, key: int) -> Any:
        """Do as the rules say, in the run that the model has just begun."""
        run = next(run for run in self.model.begun if run.key == key)
        self.model.begun.remove(run)
        order, controls, survives = run.at_once, self.controls, True
        while order is None:
            controls.append((run, asyncio.get_running_loop().create_future()))
            mine = controls[-1]
            try:
                order = await mine[1]
            except asyncio.CancelledError:
                if not (run.stubborn and survives):
                    raise
                survives = False
            finally:
                controls.remove(mine)
        if isinstance(order, Call):
            return await self.function(order.key)
        if isinstance(order, type):
            raise order
        return order

    def open_loop(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.time = lambda: self.model.now  # type: ignore[method-assign]
        self.loop.set_exception_handler(lambda _, report: self.reports.append(report))

    def settle(self) -> None:
        self.loop.run_until_complete(steps(20))
        self.timers_are_late = False

    def start(self, *calls: Call) -> None:
        for call in calls:
            how = self.function.cache_refresh if call.refreshes else self.function
            self.calls.append((call, self.loop.create_task(how(call.key))))
        self.settle()

    def pick(self, data: st.DataObject) -> tuple[Run, "asyncio.Future[Any]"]:
        return self.controls[data.draw(st.integers(0, len(self.controls) - 1))]

    def end_run(self, run: Run, control: "asyncio.Future[Any]", outcome: Any) -> None:
        outcome = self.new_value() if outcome is int else outcome
        self.model.end(run, outcome)
        control.set_result(outcome)
        self.settle()

    # What can happen

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), stubborn=st.booleans())
    def call(self, keys: list[int], stubborn: bool) -> None:
        calls = [self.model.call(key) for key in keys]
        for run in self.model.begun:
            run.stubborn = stubborn
        self.start(*calls)

    @rule(key=KEYS, fails=st.booleans())
    def call_what_does_not_suspend(self, key: int, fails: bool) -> None:
        # Concurrent calls share a run that fails, and perhaps one that does not.
        number = 3 if fails and key not in self.model.values else 1
        calls = [self.model.call(key) for _ in range(number)]
        for run in self.model.begun:
            run.at_once = ValueError if fails else self.new_value()
            self.model.end(run, run.at_once)
        self.start(*calls)

    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def end(self, data: st.DataObject, outcome: Any) -> None:
        if self.controls:
            self.end_run(*self.pick(data), outcome)

    @rule(
        key=KEYS,
        age=st.sampled_from([0, 2, 6, 12]),
        late=st.booleans(),
        outcome=st.none() | st.sampled_from(OUTCOMES),
    )
    def call_past_the_ttl(self, key: int, age: int, late: bool, outcome: Any) -> None:
        self.put(key)
        self.let_time_pass(TTL + age, late)
        self.call([key, key], stubborn=False)
        self.they_agree()
        if outcome and self.controls:
            self.end_run(*self.controls[-1], outcome)
            self.call([key], stubborn=False)

    @rule(data=st.data(), key=st.sampled_from([None, 0, 1, 2]))
    def call_from_inside(self, data: st.DataObject, key: int | None) -> None:
        if not self.controls:
            return
        caller, control = self.pick(data)
        call_for = caller.key if key is None else key
        # Which of two that wait for a run goes on first is for asyncio to say. It must
        # not decide what is evicted, nor who finds a stale value.
        model, run = self.model, self.model.runs.get(call_for)
        branches = run and any(call.caller for call in run.waiters)
        if model.maxsize is not None and (branches or model.if_error):
            return
        if model.slow < NEVER and call_for in model.values:
            return
        call = self.model.call(call_for, caller)
        control.set_result(call)
        if not call.run:
            self.model.answer(call, call.outcome)
        self.settle()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.calls:
            numbers = st.sets(st.integers(0, len(self.calls) - 1), min_size=1)
            for number in data.draw(numbers):
                call, task = self.calls[number]
                self.model.cancel(call)
                task.cancel()
            self.settle()

    @rule(keys=st.sets(KEYS), one_by_one=st.booleans())
    def invalidate(self, keys: set[int], one_by_one: bool) -> None:
        known = [key for key in self.model.keys() if key in keys]
        for key in known:
            self.model.drop(key)
        if one_by_one:
            found = [key for key in sorted(keys) if self.function.cache_invalidate(key)]
            assert found == known
        else:
            number = self.function.cache_invalidate_where(lambda key: key in keys)
            assert number == len(known)
        self.settle()

    @rule(loop_changes=st.booleans())
    def clear(self, loop_changes: bool) -> None:
        """Clear the cache, or close the loop; then the next call is in another one."""
        self.model.clear()
        if not loop_changes:
            self.function.cache_clear()
            self.settle()
            return
        self.loop.set_exception_handler(lambda _, report: None)
        self.loop.close()
        self.dead += [self.loop, self.calls, self.controls]
        self.calls, self.controls = [], []
        self.model.in_flight.clear()
        self.open_loop()
        self.call([0], stubborn=False)

    @rule(key=KEYS)
    def put(self, key: int) -> None:
        value = self.new_value()
        self.model.put(key, value)
        self.loop.call_soon(self.function.cache_put, value, key)
        self.settle()

    @rule(key=KEYS)
    def refresh(self, key: int) -> None:
        self.start(self.model.refresh(key))

    @rule(seconds=st.sampled_from([1, SLOW, 5, TTL]), late=st.booleans())
    def let_time_pass(self, seconds: float, late: bool) -> None:
        # Late timers decide who gives up, and what is evicted for want of an expiry.
        if self.model.slow < NEVER or self.model.maxsize is not None:
            late = False
        self.model.let_time_pass(seconds)
        self.timers_are_late = True
        if not late:
            self.settle()

    # What must hold

    @invariant()
    def they_agree(self) -> None:
        if self.timers_are_late:  # let the next step find out
            return
        model, function = self.model, self.function
        function(0).close()  # nothing happens before it is awaited
        self.other.method.cache_clear()  # another instance has another cache
        keys = model.keys()
        assert [key for key in range(3) if function.cache_contains(key)] == keys
        size = len(keys) if model.maxsize is None else min(len(keys), model.maxsize)
        info = model.count["hits"], model.count["misses"], model.maxsize, size
        assert function.cache_info() == info
        stats = function.cache_stats()
        counted = {name: getattr(stats, name) for name in COUNTERS}
        assert counted == {name: model.count[name] for name in COUNTERS}
        assert function.cache_parameters()["tasks"] == len(model.in_flight)
        assert [type(report["exception"]) for report in self.reports] == model.reported
        for call, task in self.calls:
            assert task.done() is not bool(call.run), (call, task)
            if task.cancelled():
                assert call.outcome is asyncio.CancelledError
            elif task.done():
                error = task.exception()
                assert call.outcome == (type(error) if error else task.result())
        self.calls = [(call, task) for call, task in self.calls if call.run]

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            with closing(self.loop):
                self.close()

    def close(self) -> None:
        """Close the cache: it waits for its runs, keeps its values, leaves no timer."""
        closes = self.loop.create_task(self.function.cache_close(wait=self.close_waits))
        if not self.close_waits:
            runs = list(self.model.in_flight)
            for run in runs:  # those that clean up already are not cancelled again
                run.stubborn = run.cancelled
            for run in runs:
                if run in self.model.in_flight:
                    self.model.cancel_run(run)
        self.settle()
        while self.controls:
            assert not closes.done()
            self.end_run(*self.controls[0], int)
        assert closes.done()
        self.they_agree()
        with pytest.raises(RuntimeError):
            self.loop.run_until_complete(self.function(0))
        assert not asyncio.all_tasks(self.loop)
        timers = self.loop._scheduled  # type: ignore[attr-defined]
        assert all(timer.cancelled() for timer in timers)


ignored = pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
TestModel = ignored(CacheAgainstModel.TestCase)
TestModel.settings = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "100")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
