"""Batching: combines calls for one key each into one call for many keys."""

import inspect
from asyncio import (
    AbstractEventLoop,
    CancelledError,
    Future,
    Handle,
    Task,
    get_running_loop,
)
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial, update_wrapper
from reprlib import repr as short_repr
from typing import Any, Final, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary

from ._arguments import signature_of
from ._numbers import finite_seconds, from_1

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_S = TypeVar("_S")

Load = Callable[[list[Any]], Coroutine[Any, Any, Any]]


class _Batched(Protocol):
    """What ``batched(...)`` returns."""

    @overload
    def __call__(
        self, load: Callable[[list[_K]], Coroutine[Any, Any, Mapping[_K, _V]]], /
    ) -> Callable[[_K], Coroutine[Any, Any, _V]]: ...
    @overload
    def __call__(
        self, load: Callable[[list[_K]], Coroutine[Any, Any, Sequence[_V]]], /
    ) -> Callable[[_K], Coroutine[Any, Any, _V]]: ...
    @overload
    def __call__(
        self,
        load: Callable[[_S, list[_K]], Coroutine[Any, Any, Mapping[_K, _V]]],
        /,
    ) -> Callable[[_S, _K], Coroutine[Any, Any, _V]]: ...
    @overload
    def __call__(
        self, load: Callable[[_S, list[_K]], Coroutine[Any, Any, Sequence[_V]]], /
    ) -> Callable[[_S, _K], Coroutine[Any, Any, _V]]: ...


def batched(max_size: int = 100, window: float = 0.0) -> _Batched:
    """Turn a loader of many keys into a function of one key.

    ``async def load(keys)`` becomes ``async def load(key)``. Concurrent calls are
    collected, and the loader is called once with a list of their distinct keys. It
    returns the values in the order of the keys, or a mapping from keys to values. Works
    under ``alru_cache`` and on methods, where each instance has its own batches.

    Args:
        max_size: The maximum number of keys in a batch. A full batch starts at once.
        window: How many seconds a batch waits for more keys after the first. With 0,
            it starts at the end of the current turn of the event loop.

    Raises:
        RuntimeError: The decorated object is not a coroutine function.
        TypeError: An option has the wrong type, or the loader takes other parameters
            than the keys (after the instance, for methods).
        ValueError: An option has an invalid value.

    If the loader returns an Exception or a CancelledError as a value, it is raised to
    the callers of that key. If a mapping lacks a key, its callers get a KeyError. The
    other callers get their values. If the loader raises an exception, or returns fewer
    or more values than keys (ValueError), all callers get the exception.

    A key whose callers are all cancelled before the batch starts is left out. When all
    callers of a batch are cancelled, the loader is cancelled. A batch belongs to the
    event loop that it started in.

    .. versionadded:: 3.0
    """
    max_size = from_1(
        "max_size",
        max_size,
        "write batched(), with parentheses, and pass a number of keys",
    )
    window = finite_seconds("window", window, "leave it out for the end of the tick")

    def decorate(load: Any) -> Any:
        if not inspect.iscoroutinefunction(load):
            raise RuntimeError(
                f"batched decorates coroutine functions, not {load!r}: "
                "define it with async def"
            )
        open_batches: WeakKeyDictionary[AbstractEventLoop, dict[Any, Batch]]
        open_batches = WeakKeyDictionary()

        def value_of(key: Any, *instance: Any) -> Coroutine[Any, Any, Any]:
            loop = get_running_loop()
            if loop not in open_batches:
                for other in [reference() for reference in open_batches.keyrefs()]:
                    if other is not None and other.is_closed():
                        open_batches.pop(other, None)  # it left a batch behind
            batches = open_batches.setdefault(loop, {})
            owner = id(instance[0]) if instance else None
            batch = batches.get(owner)
            if batch is None:
                batch = Batch(loop, partial(load, *instance), window, batches, owner)
                batches[owner] = batch
            return batch.value_of(key, max_size)

        # Written out, so that Python reports wrong arguments.

        async def of_function(key: Any, /) -> Any:
            return await value_of(key)

        async def of_method(self: Any, key: Any, /) -> Any:
            return await value_of(key, self)

        one: Any = of_method if _takes_instance(load) else of_function
        signature = inspect.signature(one)
        update_wrapper(one, load)
        one.__signature__ = signature
        return one

    return decorate


def _takes_instance(load: Any) -> bool:
    """Return whether *load* takes an instance before the keys."""
    signature = signature_of(load)
    for arguments in (["keys"], ["self", "keys"]):
        with suppress(TypeError):
            signature.bind(*arguments)
            return "self" in arguments
    raise TypeError(
        f"batched decorates functions of one parameter, the list of keys (on methods, "
        f"after the instance), not {load!r}, whose parameters are {signature}: give the "
        f"others defaults, or bind them with functools.partial"
    )


class Batch:
    """Calls that wait for a batch to start, or for the loader to return."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        load: Load,
        window: float,
        batches: "dict[int | None, Batch]",
        owner: int | None,
    ) -> None:
        self.loop = loop
        self.load = load
        #: The batches that take further keys, by the id of their instance.
        self.batches = batches
        self.owner = owner
        self.waiters: dict[Any, list[Future[Any]]] = {}
        self.task: Task[None] | None = None
        #: Starts the batch, full or not. Without a window, other calls in this turn of
        #: the loop come first.
        self.timer: Handle
        if window:
            self.timer = loop.call_later(window, self.go_out)
        else:
            self.timer = loop.call_soon(self.go_out)

    def close(self) -> None:
        """Take no more keys."""
        if self.batches.get(self.owner) is self:
            del self.batches[self.owner]

    async def value_of(self, key: Any, max_size: int) -> Any:
        """Wait for the value of *key*."""
        waiter: Future[Any] = self.loop.create_future()
        self.waiters.setdefault(key, []).append(waiter)
        if len(self.waiters) >= max_size:
            self.go_out()
        try:
            return await waiter
        finally:
            if waiter.cancelled() or not waiter.done():
                self.leave(key, waiter)
            del waiter

    def leave(self, key: Any, waiter: "Future[Any]") -> None:
        """Forget a cancelled caller; after the last one, cancel the batch."""
        waiters = self.waiters.get(key, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self.waiters[key]
        if self.waiters:
            return
        self.close()
        if self.task is not None:
            self.task.cancel()
        else:
            self.timer.cancel()

    def go_out(self) -> None:
        """Start the batch."""
        self.timer.cancel()
        self.close()
        if self.task is None and self.waiters:
            self.task = self.loop.create_task(self.run(list(self.waiters)))

    async def run(self, keys: list[Any]) -> None:
        """Call the loader and pass its results to the callers."""
        try:
            results = await self.load(list(keys))
            self.deliver(_outcomes(keys, results))
        except BaseException as error:  # raised to all callers
            self.fail(error)
            if isinstance(error, CancelledError):
                raise
        finally:
            self.waiters = {}

    def deliver(self, outcomes: dict[Any, Any]) -> None:
        """Pass the value, or the exception, of each key to its callers."""
        for key, waiters in self.waiters.items():
            outcome = outcomes[key]
            # isinstance would ask the value.
            failed = issubclass(type(outcome), (Exception, CancelledError))
            for waiter in waiters:
                if waiter.done():
                    continue
                if failed:
                    _fail(waiter, outcome)
                else:
                    waiter.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Raise *error* to the callers.

        Not in ``run``, whose frame the traceback holds: a variable for a waiter would be
        a cycle there.
        """
        for waiter in self.all_waiters():
            _fail(waiter, error)

    def all_waiters(self) -> list["Future[Any]"]:
        """Return the futures of the callers that still wait."""
        return [
            waiter
            for waiters in self.waiters.values()
            for waiter in waiters
            if not waiter.done()
        ]


def _fail(waiter: "Future[Any]", error: BaseException) -> None:
    """Set any exception on *waiter*."""
    if isinstance(error, CancelledError):
        waiter.cancel(*error.args[:1])
        return
    if isinstance(error, StopIteration):  # futures refuse it
        cause, error = error, RuntimeError("a batched loader gave a StopIteration")
        error.__cause__ = cause
    waiter.set_exception(error)


#: Types that have a length, but no order, or nothing but characters.
_NO_RESULTS: Final[Any] = (set, frozenset, str)


def _outcomes(keys: list[Any], results: Any) -> dict[Any, Any]:
    """Return the value, or the exception, of each key."""
    if isinstance(results, Mapping):
        return {key: results[key] if key in results else KeyError(key) for key in keys}
    if not hasattr(results, "__len__") or isinstance(results, _NO_RESULTS):
        raise TypeError(
            f"a batched loader returned {short_repr(results)}: return a list of one "
            "value per key, in the order of the keys, or a mapping"
        )
    if len(results) != len(keys):
        raise ValueError(
            f"a batched loader got {len(keys)} keys and returned {len(results)} "
            "values: return one value per key, in the order of the keys, or a mapping"
        )
    return dict(zip(keys, results, strict=True))
