"""Every interleaving against a model that is too simple to be wrong.

The model knows calls, runs and entries, and no tasks, futures or timers. After each
step both must agree on every result, on the counters, on what is held, and on the
number of runs in flight. A5, A6, A7, A8, A9, A10, B1, B2, B4, B5, B14; C1, C4, C5, C6,
C8, C11, and C9 where the function is a method of one instance among others.
"""

import asyncio
import os
import sys
import warnings
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

import hypothesis.strategies as st
from conftest import steps
from hypothesis import HealthCheck, assume, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from async_lru import AlruCacheLoopResetWarning, alru_cache

KEYS = st.integers(0, 3)
TTL = 10.0


class Interrupt(BaseException):
    """A failure that is no Exception."""


class NotFound(LookupError):
    """A failure that is kept where failures are."""


def life_of(value: int) -> float | None:
    """Return the ttl of a value where values decide about it."""
    return (None, TTL, 0)[value % 3]


class ModelRun:
    """A run, as the model sees it."""

    def __init__(self, key: int, caller: "ModelRun | None", stubborn: bool) -> None:
        self.key = key
        #: The call that started it comes from this run, if it comes from one.
        self.waiting: list[ModelCall] = []
        self.place = "dropped"
        #: Whether it shrugs off its first cancellation.
        self.stubborn = stubborn
        #: Before Python 3.12 its function begins in the next tick.
        self.begun = sys.version_info >= (3, 12)
        self.ended = False
        #: Whether it goes on without callers, on behalf of a stale entry.
        self.background = False
        #: Whether it is of the counters' present life.
        self.epoch = 0
        #: The call that it waits for itself.
        self.awaits: ModelCall | None = None


class Entry(NamedTuple):
    """A value, or a failure that is kept."""

    value: Any
    fresh_until: float
    gone: float
    retry_at: float = 0.0


class ModelCall:
    """A call, with the outcome that it must have, once it has one."""

    def __init__(self, caller: "ModelRun | None") -> None:
        self.caller = caller
        self.run: ModelRun | None = None
        self.outcome: Any = None
        #: Whether it is an explicit refresh, which gets failures as they are.
        self.refreshes = False


def callers_of(run: ModelRun) -> list[ModelRun]:
    """Return the runs that wait for *run*."""
    return [call.caller for call in run.waiting if call.caller is not None]


class Model:
    """What a cache is to do."""

    def __init__(
        self,
        maxsize: int | None,
        ttl: Any,
        keeps_failures: bool,
        stale: tuple[float, float],
    ) -> None:
        self.revalidate, self.if_error = stale
        self.is_stale_kind = any(stale)
        self.leaving: list[ModelRun] = []
        #: All runs that ever began, those that have ended at once included.
        self.started: list[ModelRun] = []
        self.maxsize = maxsize
        self.ttl = ttl
        self.keeps_failures = keeps_failures
        self.epoch = 0
        self.now = 0.0
        self.runs: list[ModelRun] = []
        #: Failures that no caller could get.
        self.reported: list[type] = []
        self.clear()

    def clear(self) -> None:
        for run in self.runs:
            run.place = "dropped"
        former = list(getattr(self, "evicted", {}).values())
        self.entries: OrderedDict[int, ModelRun | Entry] = OrderedDict()
        self.evicted: dict[int, ModelRun] = {}
        self.hits = self.joins = self.misses = 0
        self.loads = self.failures = self.evictions = self.expirations = 0
        self.epoch += 1
        self.leaving = former
        self.flush()

    def abandon(self, run: "ModelRun | None") -> None:
        """Cancel a run in the background whose entry has gone."""
        if run is not None and run.background:
            run.background = False
            if not run.waiting:
                self.drop(run)
                self.cancel_run(run)

    def expire(self) -> None:
        for key, entry in list(self.entries.items()):
            if isinstance(entry, Entry) and entry.gone <= self.now:
                del self.entries[key]
                self.expirations += 1
                self.leave(key)
        self.flush()

    def leave(self, key: int) -> None:
        """See to it that the background run of an entry goes with it."""
        if key in self.evicted:
            self.leaving.append(self.evicted[key])

    def flush(self) -> None:
        """Cancel the runs in the background whose entries have gone."""
        while self.leaving:
            self.abandon(self.leaving.pop(0))

    def would_wait_for_itself(self, run: ModelRun, caller: "ModelRun | None") -> bool:
        """Tell whether *run* waits, through other runs, for *caller*."""
        while run.awaits is not None:
            if run is caller:
                return True
            assert run.awaits.run is not None
            run = run.awaits.run
        return run is caller

    def has_order(self, run: ModelRun) -> bool:
        """Tell whether the order is known in which runs end that wait for *run*.

        It is asyncio's affair who wakes first where they branch, and decides about
        evictions where one of them is to replace an entry.
        """
        branches = [self.places(caller) for caller in callers_of(run)]
        placed = [places for places in branches if places != {"dropped"}]
        if len(placed) > 1 and any("refreshing" in places for places in placed):
            return False
        return all(self.has_order(caller) for caller in callers_of(run))

    def places(self, run: ModelRun) -> set[str]:
        """Return where the cache has *run* and those that wait for it."""
        return {run.place}.union(*map(self.places, callers_of(run)))

    def background(self) -> list[ModelRun]:
        """Return the runs that go on without callers."""
        return [run for run in self.runs if run.background]

    def call(self, key: int, caller: "ModelRun | None", stubborn: bool) -> ModelCall:
        """Make a call, and say what comes of it."""
        call = ModelCall(caller)
        self.expire()
        entry = self.entries.get(key)
        stale = isinstance(entry, Entry) and entry.fresh_until <= self.now
        if isinstance(entry, Entry) and (
            not stale
            or self.now < max(entry.fresh_until + self.revalidate, entry.retry_at)
        ):
            self.hits += 1
            self.entries.move_to_end(key)
            call.outcome = entry.value
            if stale and self.now >= entry.retry_at and key not in self.evicted:
                run = self.start(key, None, stubborn)
                run.background = True
                run.place = "refreshing"
                self.evicted[key] = run
            return call
        run = entry if isinstance(entry, ModelRun) else self.evicted.get(key)
        if run is None:
            self.misses += 1
            run = self.start(key, caller, stubborn)
            if stale:
                run.place = "refreshing"
                self.evicted[key] = run
            elif self.maxsize != 0:
                self.enter(run)
        elif self.would_wait_for_itself(run, caller):
            call.outcome = RuntimeError
            return call
        else:
            self.hits += 1
            self.joins += 1
            if run.place == "held":
                self.entries.move_to_end(key)
            elif not stale:
                self.enter(run)
        run.waiting.append(call)
        call.run = run
        if caller is not None:
            caller.awaits = call
        self.flush()
        return call

    def start(self, key: int, caller: "ModelRun | None", stubborn: bool) -> ModelRun:
        run = ModelRun(key, caller, stubborn)
        run.epoch = self.epoch
        self.runs.append(run)
        self.started.append(run)
        return run

    def refresh(self, key: int) -> ModelCall:
        """Refresh an entry, and say what comes of it."""
        self.expire()
        call = ModelCall(None)
        call.refreshes = True
        run = self.evicted.get(key)
        if run is None or run.place != "refreshing":
            if run is not None and self.maxsize != 0:
                self.drop(run)
            run = self.start(key, None, False)
            if self.maxsize != 0:
                run.place = "refreshing"
                self.evicted[key] = run
        run.waiting.append(call)
        call.run = run
        return call

    def put(self, key: int, value: Any) -> None:
        """Make *value* the entry of *key*."""
        self.expire()
        if self.maxsize == 0:
            return
        self.leave(key)
        for run in (self.entries.get(key), self.evicted.get(key)):
            if isinstance(run, ModelRun):
                self.drop(run)
        self.entries.pop(key, None)
        if self.hold(key, value):
            self.shrink()
        self.flush()

    def hold(self, key: int, value: Any) -> bool:
        """Hold a value or a failure for as long as it has to live."""
        stale = max(self.revalidate, self.if_error)
        if isinstance(value, type):
            seconds: float | None = TTL
            stale = 0
        else:
            seconds = life_of(value) if callable(self.ttl) else self.ttl
        fresh_until = float("inf") if seconds is None else self.now + seconds
        self.entries[key] = Entry(value, fresh_until, fresh_until + stale)
        if seconds == 0:
            del self.entries[key]
        return seconds != 0

    def enter(self, run: ModelRun) -> None:
        """Make *run* the newest entry, and evict the oldest."""
        self.evicted.pop(run.key, None)
        self.entries[run.key] = run
        self.entries.move_to_end(run.key)
        run.place = "held"
        self.shrink()

    def shrink(self) -> None:
        if self.maxsize is not None and len(self.entries) > self.maxsize:
            key, entry = self.entries.popitem(last=False)
            self.evictions += 1
            if isinstance(entry, Entry):
                self.leave(key)
            else:
                entry.place = "dropped"
                if key not in self.evicted:  # where a refresh is, calls join that
                    entry.place = "evicted"
                    self.evicted[key] = entry

    def drop(self, run: ModelRun) -> None:
        if run.place == "held":
            del self.entries[run.key]
        elif run.place in ("evicted", "refreshing"):
            del self.evicted[run.key]
        run.place = "dropped"

    def end(self, run: ModelRun, outcome: Any) -> None:
        """End *run* with a value, or with the type of what it raises."""
        self.expire()
        is_value = not isinstance(outcome, type)
        rescued: Any = None
        if run.epoch == self.epoch:
            self.loads += is_value
            self.failures += not is_value and outcome is not asyncio.CancelledError
        is_kept = self.keeps_failures and outcome is NotFound
        if run.place == "held" and (is_value or is_kept):
            self.hold(run.key, outcome)
            run.place = "dropped"
        elif run.place == "refreshing" and is_value:
            run.background = False
            self.put(run.key, outcome)
        else:
            was_refreshing = run.place == "refreshing"
            self.drop(run)
            entry = self.entries.get(run.key)
            if was_refreshing and isinstance(entry, Entry) and self.is_stale_kind:
                entry = entry._replace(retry_at=self.now + 1)
                self.entries[run.key] = entry
                if issubclass(outcome, Exception) and (
                    self.now < entry.fresh_until + self.if_error
                ):
                    rescued = entry.value
        run.ended = True
        self.runs.remove(run)
        in_background, run.background = run.background, False
        if outcome is asyncio.CancelledError or is_value:
            pass
        elif not run.waiting and (rescued is None or in_background):
            self.reported.append(outcome)
        elif in_background and run.waiting and issubclass(outcome, Exception):
            self.reported.append(outcome)
        for call in run.waiting:
            hidden = rescued is not None and not call.refreshes
            self.answer(call, rescued if hidden else outcome)

    def answer(self, call: ModelCall, outcome: Any) -> None:
        call.outcome = outcome
        call.run = None
        if call.caller is not None:  # whose function returns what the call gave
            call.caller.awaits = None
            if not call.caller.ended:
                self.end(call.caller, outcome)

    def cancel(self, call: ModelCall) -> None:
        """Cancel a call from outside."""
        run = call.run
        assert run is not None
        run.waiting.remove(call)
        call.outcome = asyncio.CancelledError
        call.run = None
        if not run.waiting and not run.background:
            self.drop(run)
            self.cancel_run(run)

    def cancel_run(self, run: ModelRun) -> None:
        if run.awaits is not None:  # the call that it waits for is cancelled
            call = run.awaits
            run.awaits = None
            self.cancel(call)
            self.end(run, asyncio.CancelledError)
        elif run.stubborn and run.begun:
            run.stubborn = False
        else:
            self.end(run, asyncio.CancelledError)


class CacheAgainstModel(RuleBasedStateMachine):
    """Does to a cache what hypothesis thinks of, and to the model the same."""

    @initialize(
        maxsize=st.sampled_from([None, 0, 1, 2, 3]),
        ttl=st.sampled_from([None, TTL, life_of]),
        stale=st.sampled_from([(0, 0), (5, 0), (0, 5), (5, 12)]),
        jitter=st.booleans(),
        keeps_failures=st.booleans(),
        per_instance=st.booleans(),
        waits=st.booleans(),
        counts=st.booleans(),
    )
    def make(
        self,
        maxsize: int | None,
        ttl: Any,
        stale: tuple[float, float],
        jitter: bool,
        keeps_failures: bool,
        per_instance: bool,
        waits: bool,
        counts: bool,
    ) -> None:
        if ttl is None or maxsize == 0:
            stale = 0, 0
        self.model = Model(maxsize, ttl, keeps_failures, stale)
        #: Whether statistics are asked for, after which nothing begins bare.
        self.counts = counts
        self.closing_waits = waits
        #: Values of runs that end with their first step.
        self.at_once: dict[ModelRun, Any] = {}
        self.calls: list[tuple[ModelCall, asyncio.Task[Any]]] = []
        self.controls: list[tuple[ModelRun, asyncio.Future[Any]]] = []
        self.unstarted: list[ModelRun] = []
        self.abandoned: list[Any] = []
        self.reports: list[Any] = []
        self.values = 0
        self.loop = self.new_loop()

        async def function(key: int) -> Any:
            # The model has made its run just before, perhaps after some that ended
            # before they could begin.
            run = next(
                run
                for run in self.unstarted
                if run.key == key and (run in self.at_once or not run.ended)
            )
            self.unstarted.remove(run)
            run.begun = True
            if run in self.at_once:
                return self.at_once.pop(run)
            while True:
                control = asyncio.get_running_loop().create_future()
                self.controls.append((run, control))
                try:
                    order, operand = await control
                except asyncio.CancelledError:
                    if self.is_stubborn.pop(run, False):
                        continue
                    raise
                finally:
                    if (run, control) in self.controls:  # not so after its loop's end
                        self.controls.remove((run, control))
                if order == "call":
                    return await self.function(operand)
                if order == "fail":
                    raise operand()
                return operand

        options: dict[str, Any] = {
            "maxsize": maxsize,
            "ttl": ttl,
            "jitter": 0 if ttl and jitter else None,
            "error_ttl": {NotFound: TTL} if keeps_failures and maxsize != 0 else None,
            "stale_while_revalidate": stale[0] or None,
            "stale_if_error": stale[1] or None,
        }
        self.model.keeps_failures = bool(options["error_ttl"])

        class Owner:
            @alru_cache(per_instance=True, **options)
            async def method(self, key: int) -> Any:
                return await function(key)

        self.owner = Owner()
        self.function: Any = self.owner.method
        if not per_instance:
            self.function = alru_cache(**options)(function)
        self.is_stubborn: dict[ModelRun, bool] = {}

    # The loop

    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.time = lambda: self.model.now  # type: ignore[method-assign]
        loop.set_exception_handler(lambda _, report: self.reports.append(report))
        return loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def settle(self) -> None:
        self.run(steps(12))

    # What can happen

    def model_call(
        self, key: int, caller: ModelRun | None, stubborn: bool
    ) -> ModelCall:
        known = len(self.model.started)
        call = self.model.call(key, caller, stubborn)
        for run in self.model.started[known:]:
            self.unstarted.append(run)
            self.is_stubborn[run] = stubborn
        return call

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), stubborn=st.booleans())
    def call_in_one_tick(self, keys: list[int], stubborn: bool) -> None:
        calls = [self.model_call(key, None, stubborn) for key in keys]

        async def main() -> None:
            for key, call in zip(keys, calls, strict=True):
                self.calls.append((call, asyncio.ensure_future(self.function(key))))
            await steps(12)

        self.run(main())

    @rule(key=KEYS)
    def call_what_ends_at_once(self, key: int) -> None:
        """Those that begin after it begin as if they were to end at once too."""
        call = self.model_call(key, None, False)
        if call.run is not None and call.run in self.unstarted:
            self.values += 1
            self.at_once[call.run] = self.values
            self.model.end(call.run, self.values)

        async def main() -> None:
            self.calls.append((call, asyncio.ensure_future(self.function(key))))
            await steps(12)

        self.run(main())

    def pick(self, data: st.DataObject, things: list[Any]) -> Any:
        return data.draw(st.sampled_from(range(len(things))).map(things.__getitem__))

    @precondition(lambda self: self.controls)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            [
                "value",
                ValueError,
                NotFound,
                asyncio.CancelledError,
                Interrupt,
                StopIteration,
            ]
        ),
    )
    def end(self, data: st.DataObject, outcome: Any) -> None:
        run, control = self.pick(data, self.controls)
        if not self.model.has_order(run):
            return
        if outcome == "value":
            self.values += 1
            self.model.end(run, self.values)
            control.set_result(("return", self.values))
        else:
            raised = RuntimeError if outcome is StopIteration else outcome
            self.model.end(run, raised)
            control.set_result(("fail", outcome))
        self.settle()

    @precondition(lambda self: self.controls)
    @rule(data=st.data(), key=KEYS)
    def call_from_inside(self, data: st.DataObject, key: int) -> None:
        run, control = self.pick(data, self.controls)
        if not self.model.has_order(run):
            return
        # Entries take their background runs with them when they go. A run may then be
        # cancelled by the very call that it makes, which the model is too simple for.
        assume(
            not any(
                self.model.would_wait_for_itself(b, run)
                for b in self.model.background()
            )
        )
        self.is_stubborn.pop(run, None)
        run.stubborn = False
        call = self.model_call(key, run, False)
        control.set_result(("call", key))
        if call.run is None:  # answered at once
            self.model.answer(call, call.outcome)
        self.settle()

    @precondition(lambda self: any(call.run for call, _ in self.calls))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        pending = [(call, task) for call, task in self.calls if call.run is not None]
        chosen = data.draw(
            st.lists(st.sampled_from(range(len(pending))), min_size=1, unique=True)
        )
        for index in chosen:
            call, task = pending[index]
            task.cancel()
            if call.run is not None:
                self.model.cancel(call)
        self.settle()

    @rule(key=KEYS)
    def invalidate(self, key: int) -> None:
        self.model.expire()
        entry = self.model.entries.pop(key, None)
        self.model.leave(key)
        self.model.flush()
        for run in (entry, self.model.evicted.pop(key, None)):
            if isinstance(run, ModelRun):
                run.place = "dropped"
        assert self.function.cache_invalidate(key) is (entry is not None)
        self.settle()

    @rule(key=KEYS)
    def put(self, key: int) -> None:
        self.values += 1
        self.model.put(key, self.values)

        async def main() -> None:
            self.function.cache_put(self.values, key)

        self.run(main())

    @rule(key=KEYS)
    def refresh(self, key: int) -> None:
        known = len(self.model.started)
        call = self.model.refresh(key)
        for run in self.model.started[known:]:
            self.unstarted.append(run)

        async def main() -> None:
            refreshing = asyncio.ensure_future(self.function.cache_refresh(key))
            self.calls.append((call, refreshing))
            await steps(12)

        self.run(main())

    @precondition(lambda self: self.model.is_stale_kind)
    @rule(key=KEYS, late=st.sampled_from([0.0, 2.0, 6.0]))
    def let_a_value_go_stale_and_call(self, key: int, late: float) -> None:
        self.put(key)
        self.model.now += TTL + late
        self.settle()
        self.call_in_one_tick([key, key], stubborn=False)

    @rule()
    def clear(self) -> None:
        self.model.clear()
        self.function.cache_clear()
        self.settle()

    @rule(seconds=st.sampled_from([1.0, TTL - 1, TTL]), loop_runs=st.booleans())
    def let_time_pass(self, seconds: float, loop_runs: bool) -> None:
        self.model.now += seconds
        if loop_runs:
            self.settle()

    @rule()
    def change_loops(self) -> None:
        """The loop is closed with runs in flight, and the next call is in another."""
        for _, task in self.calls:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.close()
        self.abandoned += self.calls  # and never heard of again
        self.calls = []
        self.controls.clear()
        self.model.clear()
        self.model.runs.clear()
        self.unstarted.clear()
        self.loop = self.new_loop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlruCacheLoopResetWarning)
            self.call_in_one_tick([0], stubborn=False)

    # What must hold

    @invariant()
    def they_agree(self) -> None:
        model = self.model
        if model.is_stale_kind:  # what is overdue takes its background run with it
            model.expire()
            self.function.cache_info()
            self.settle()
        assert [type(report["exception"]) for report in self.reports] == model.reported
        model.expire()
        info = self.function.cache_info()
        assert info == (model.hits, model.misses, model.maxsize, len(model.entries))
        assert self.function.cache_parameters()["tasks"] == len(model.runs)
        for key in range(4):
            assert self.function.cache_contains(key) is (key in model.entries)
        if self.counts:
            stats = self.function.cache_stats()
            assert (stats.hits, stats.joins, stats.misses) == (
                model.hits,
                model.joins,
                model.misses,
            )
            assert (stats.loads, stats.failures) == (model.loads, model.failures)
            assert (stats.evictions, stats.expirations) == (
                model.evictions,
                model.expirations,
            )
            assert stats.currsize == len(model.entries)
        for call, task in self.calls:
            assert task.done() is (call.run is None), (call.outcome, task)
        done = [(call, task) for call, task in self.calls if task.done()]
        self.calls = [(call, task) for call, task in self.calls if not task.done()]
        for call, task in done:
            if call.outcome is asyncio.CancelledError:
                assert task.cancelled()
            elif isinstance(call.outcome, type):
                assert type(task.exception()) is call.outcome
            else:
                assert task.result() == call.outcome

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            try:
                self.end_well()
            finally:
                self.loop.close()

    def end_well(self) -> None:
        self.is_stubborn.clear()
        for run in self.model.runs:
            run.stubborn = False
        self.model.clear()  # and with it what goes on in the background
        closing = self.loop.create_task(
            self.function.cache_close(wait=self.closing_waits)
        )
        self.settle()
        assert self.function.cache_info().currsize == 0
        if self.closing_waits:
            assert closing.done() is not bool(self.model.runs)
            while self.controls:
                assert not closing.done()
                run, control = self.controls[0]
                assert self.model.has_order(run)  # none replaces an entry any more
                self.values += 1
                self.model.end(run, self.values)
                control.set_result(("return", self.values))
                self.settle()
            for call, task in self.calls:
                assert task.result() == call.outcome
        self.run(closing)
        with suppress(RuntimeError):
            self.run(self.function(0))
            raise AssertionError("a closed cache took a call")
        assert self.function.cache_parameters()["tasks"] == 0
        assert self.function.cache_info().currsize == 0
        assert not asyncio.all_tasks(self.loop)
        timers = self.loop._scheduled  # type: ignore[attr-defined]
        assert not [timer for timer in timers if not timer.cancelled()]


TestModel = CacheAgainstModel.TestCase
TestModel.settings = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "200")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
