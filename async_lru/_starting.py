"""How a run is started, and which run the code that asks is part of."""

import asyncio
import sys
import weakref
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from inspect import CO_COROUTINE
from types import FunctionType, MethodType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from ._awaiting import awaits
from ._order import OLDEST, mend
from ._runs import (
    DROPPED,
    HELD,
    MAX_EAGER_DEPTH,
    NOBODY,
    Keeper,
    Run,
    current_run,
    without_last_frame,
)

#: Whether tasks can take their first step when they are made.
EAGER = sys.version_info >= (3, 12)

_Task: Any = Task  # whose eager_start not all Pythons know

Function: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


#: A way for a run to begin: makes its task, and returns the value if it ends at once.
Begin: TypeAlias = Callable[..., Any]


class Starts:
    """What is being started in an event loop, by all caches together."""

    __slots__ = ("bare", "steps")

    def __init__(self) -> None:
        #: Runs in a first step that is taken at once, inside each other.
        self.steps: list[Run] = []
        #: Runs of bare functions that have suspended: no context tells of them.
        self.bare: set[weakref.ref[Run]] = set()


_starts: WeakKeyDictionary[AbstractEventLoop, Starts] = WeakKeyDictionary()


def starts_of(loop: AbstractEventLoop | None) -> Starts:
    """Return what is being started in *loop*."""
    if loop is None:
        return Starts()
    try:
        return _starts.setdefault(loop, Starts())
    except TypeError:  # cannot be weakly referenced
        return Starts()


def start_run(  # noqa: PLR0912, PLR0915, PLR0917  # calls and keywords cost time
    key: Hashable,
    store: Keeper,
    function: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    admit: Callable[[Run], None] | None = None,
) -> "tuple[Any, Future[Any] | None]":
    """Make a run an entry of *store* and start its function in a task of its own.

    Returns the run and the future to wait on, or the value and None if the run has
    ended already. *admit* makes the run an entry, if that is to be done otherwise than
    for a miss in most stores.

    From Python 3.12 on, and where nobody but asyncio makes tasks, the function takes
    its first step here: see step and step_bare. While it does the run is in
    starts.steps, and if it goes on it is in store.runs from then on.
    """
    loop = store.loop
    starts = store.starts
    steps = starts.steps
    # Without an __init__, which would cost a tenth of a miss.
    run = Run()
    run.key = key
    run.loop = loop
    run.store = store
    run.place = DROPPED
    run.waiters = NOBODY
    run.task = run.coroutine = run.starter = caller = None
    begin: Any = None
    try:
        if admit is None:
            # As Store.admit_miss does it, for three calls less: 2 % of a miss.
            entries = store.entries
            try:
                entries[key] = run
                run.place = HELD
                if len(entries) > store.limit:
                    oldest, entry = entries.popitem(OLDEST)
                    if type(entry) is Run:
                        store.evict(oldest, entry)
                    elif store.let_go is not None:
                        store.let_go(entry)
                    del oldest, entry  # not to live as long as the first step takes
            except BaseException as error:
                mend(entries)
                if not (store.retired and isinstance(error, KeyError)):
                    raise
            store.misses += 1.0
        else:
            admit(run)
        begin = store.begin
        if steps or starts.bare or current_run() is not None:
            caller = run.starter = enclosing_run(starts)
            begin = begin_within(starts, begin)
        if not store.stock or loop._task_factory is not None:  # noqa: SLF001
            begin = delegate
        steps.append(run)
        try:
            value = begin(run, function, args, kwargs)
        finally:
            steps.pop()
        if run.waiters is None:  # pragma: py-lt-312
            return value, None
        store.runs.add(run)
        run.coroutine = run.starter = None
        # As run.add_waiter does it, for a call less: 0.5 % of a miss that suspends.
        waiter = store.make_future()
        if run.waiters:  # pragma: py-lt-312  # somebody has joined it meanwhile
            run.waiters[waiter] = caller
        else:
            run.waiters = {waiter: caller}
        try:
            return run, waiter
        finally:
            del waiter  # it may hold an error, whose traceback holds this frame
    except BaseException as error:
        waiters = run.waiters
        # First of all, with as few calls that might fail too: nobody can join it.
        run.waiters = run.starter = None
        try:
            if run.task is not None:
                run.task.cancel()
            elif run.coroutine is not None:
                # No task has got it. Done here, for there may be no stack further in.
                run.coroutine.close()
        finally:
            store.runs.discard(run)
            # It may have ended, and its value be stored, before a factory failed.
            if run.store is store:  # pragma: no branch  # always, before Python 3.12
                store.drop(run)
                if begin is not None:  # it was admitted
                    store.count_failure(error)
                if waiters:  # pragma: py-lt-312  # they joined it in its first step
                    run.tell_failure(error, waiters)
            del waiters  # the error is theirs now, and knows this frame
        raise


def begin_within(starts: Starts, begin: Begin) -> Begin:
    """Return how a run begins while others do, or have begun bare."""
    if len(starts.steps) >= MAX_EAGER_DEPTH:  # pragma: py-lt-312
        return schedule
    if begin is step_bare and starts.bare:  # pragma: py-lt-312
        return step
    return begin


def schedule(
    run: Run, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Give *run* a task that begins when the loop gets to it."""
    run.coroutine = coroutine = run.execute(function, args, kwargs, True)  # noqa: FBT003
    coroutine.send(None)
    # The function's name says more than a number, and before Python 3.12 is found
    # faster: 2 % of such a miss.
    name = getattr(function, "__qualname__", None)
    run.task = Task(coroutine, loop=run.loop, name=name)


def delegate(
    run: Run, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Let the loop or its task factory make a task for *run*, of whatever kind."""
    run.coroutine = run.execute_in_any(function, args, kwargs)
    task = run.loop.create_task(run.coroutine)
    if run.waiters is None:  # pragma: py-lt-312
        return run.take_value()
    if run.task is None:  # pragma: no branch  # always, before Python 3.12
        run.task = task
    task.add_done_callback(run.end_untold)
    return None


def step(
    run: Run, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:  # pragma: py-lt-312
    """Let *run* take its first step in a task of its own, here and now."""
    store = run.store
    run.coroutine = coroutine = run.execute(function, args, kwargs, False)  # noqa: FBT003
    task = _Task(coroutine, loop=run.loop, eager_start=True)
    if not task.done():
        run.task = task
    elif run.waiters is None:
        if not store.timed and is_native(function):
            store.begin = step_bare
        return run.take_value()
    elif not task.cancelled() and task.exception() is not None:  # no stack left
        run.end_untold(task)
    return None


def step_bare(
    run: Run, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:  # pragma: py-lt-312
    """Let *run* take its first step without anything round the function.

    There is no coroutine that tells the waiters, and no context that tells of the
    run, which makes one that ends with that step a third cheaper. One that does not
    costs its waiters a trip round the loop, for they are told by a callback.
    """
    # After a KeyboardInterrupt asyncio logs that nobody has asked the task for it:
    # there is no task to be asked. Such a line more is what the speed costs.
    store = run.store
    coroutine = task = None
    try:
        coroutine = function(*args, **kwargs) if kwargs else function(*args)
        run.coroutine = coroutine
        task = _Task(coroutine, loop=run.loop, eager_start=True)
        if task.done():
            value = task.result()
            if run.place is HELD and run.waiters is NOBODY:
                # As run.succeed does it, for one whom nobody knows.
                if store.plain_values:
                    # As Store.put does it, for a call less: 1 % of such a miss.
                    try:
                        store.entries[run.key] = value
                    except BaseException:
                        mend(store.entries)
                        raise
                else:
                    store.put(run.key, value)
                run.waiters = None
                return value
            run.succeed(value)
            return run.take_value() if run.waiters is None else None
    except BaseException as error:  # noqa: BLE001  # told to the waiters
        if coroutine is not None:  # perhaps there was no stack for the task
            coroutine.close()
        # The error's frames know this one, which must not know the error.
        coroutine = task = None
        run.fail(without_last_frame(error))
        return None
    store.begin = step
    run.task = task
    bare = store.starts.bare
    bare.add(weakref.ref(run, bare.discard))
    task.add_done_callback(run.settle)
    return None


def is_native(function: object) -> bool:  # pragma: py-lt-312
    """Tell whether *function* is made of ``async def`` and nothing but partials."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    return isinstance(function, FunctionType) and bool(
        function.__code__.co_flags & CO_COROUTINE
    )


#: How runs begin that are timed even if they end at once.
BEGIN_TIMED: Begin = step if EAGER else schedule

#: How the runs of a new cache begin.
BEGIN: Begin = BEGIN_TIMED


def enclosing_run(starts: Starts) -> Run | None:
    """Return the run that cannot end before the code that asks does, if any."""
    task = asyncio.current_task()
    if task is None:  # called from a callback, for which nobody waits
        return None
    for run in starts.steps[-1:]:  # pragma: py-lt-312
        if run.coroutine is not None and run.coroutine is task.get_coro():
            return run
    for known in [current_run(), *(run() for run in list(starts.bare))]:
        if known is not None and known.waiters is not None:  # noqa: SIM102
            if known.task is task or awaits(known.task, task):
                return known
    return None
