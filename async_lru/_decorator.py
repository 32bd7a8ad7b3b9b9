"""alru_cache: puts the cache and its wrapper together."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from datetime import timedelta
from functools import partial, partialmethod
from operator import index
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from ._arguments import ANY
from ._calls import calls_of
from ._loops import ResetWarning
from ._options import Options, checked
from ._per_instance import PerInstance
from ._registry import register
from ._shared import SharedCache
from ._shared_calls import shared_calls_of
from ._tier import Tier
from ._wrapper import AlruCacheWrapper

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

if sys.version_info >= (3, 14):  # pragma: py-lt-314
    _is_coroutine_function = inspect.iscoroutinefunction
else:  # pragma: py-gte-314
    # Knows some that inspect does not, Cython's among them.
    _is_coroutine_function = asyncio.iscoroutinefunction


if TYPE_CHECKING:

    class _Anything: ...

    class _Decorator(Generic[_T]):
        """What ``alru_cache(...)`` with options returns: it takes any number of functions.

        *_T* is what they return where a callable ttl has said so. It is one class for
        both, lest mypy take the decorator for untyped where options have the type Any.
        """

        @overload
        def __call__(
            self: "_Decorator[_Anything]",
            function: "partialmethod[Coroutine[Any, Any, _R]]",
            /,
        ) -> "AlruCacheWrapper[Concatenate[Any, ...], _R]": ...
        @overload
        def __call__(
            self: "_Decorator[_Anything]",
            function: Callable[_P, Coroutine[Any, Any, _R]],
            /,
        ) -> AlruCacheWrapper[_P, _R]: ...
        @overload
        def __call__(
            self: "_Decorator[_R]",
            function: "partialmethod[Coroutine[Any, Any, _R]]",
            /,
        ) -> "AlruCacheWrapper[Concatenate[Any, ...], _R]": ...
        @overload
        def __call__(
            self: "_Decorator[_R]", function: Callable[_P, Coroutine[Any, Any, _R]], /
        ) -> AlruCacheWrapper[_P, _R]: ...
        def __call__(self, function: Any, /) -> Any: ...


# In the order in which pyright blames them: of those that could be meant, the last.
@overload
def alru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    ttl: Callable[[_R], float | timedelta | None],
    jitter: float | timedelta | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: Iterable[str] = (),
    per_instance: bool = False,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    stale_if_slow: float | timedelta | None = None,
    stale_retry: float | timedelta | None = None,
    error_ttl: Mapping[type[Exception], float | timedelta] | None = None,
    cancel_abandoned: bool = True,
    shared: bool = False,
    tier: Tier | None = None,
) -> "_Decorator[_R]": ...
@overload
def alru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    ttl: float | timedelta | None = None,
    jitter: float | timedelta | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: Iterable[str] = (),
    per_instance: bool = False,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    stale_if_slow: float | timedelta | None = None,
    stale_retry: float | timedelta | None = None,
    error_ttl: Mapping[type[Exception], float | timedelta] | None = None,
    cancel_abandoned: bool = True,
    shared: bool = False,
    tier: Tier | None = None,
) -> "_Decorator[_Anything]": ...
@overload
def alru_cache(
    function: "partialmethod[Coroutine[Any, Any, _R]]",
    /,
    typed: bool = False,
    *,
    ttl: float | timedelta | Callable[[_R], float | timedelta | None] | None = None,
    jitter: float | timedelta | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: Iterable[str] = (),
    per_instance: bool = False,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    stale_if_slow: float | timedelta | None = None,
    stale_retry: float | timedelta | None = None,
    error_ttl: Mapping[type[Exception], float | timedelta] | None = None,
    cancel_abandoned: bool = True,
    shared: bool = False,
    tier: Tier | None = None,
) -> "AlruCacheWrapper[Concatenate[Any, ...], _R]": ...
@overload
def alru_cache(
    function: Callable[_P, Coroutine[Any, Any, _R]],
    /,
    typed: bool = False,
    *,
    ttl: float | timedelta | Callable[[_R], float | timedelta | None] | None = None,
    jitter: float | timedelta | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: Iterable[str] = (),
    per_instance: bool = False,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    stale_if_slow: float | timedelta | None = None,
    stale_retry: float | timedelta | None = None,
    error_ttl: Mapping[type[Exception], float | timedelta] | None = None,
    cancel_abandoned: bool = True,
    shared: bool = False,
    tier: Tier | None = None,
) -> AlruCacheWrapper[_P, _R]: ...
def alru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    ttl: Any = None,
    jitter: float | timedelta | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: Iterable[str] = (),
    per_instance: bool = False,
    stale_while_revalidate: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    stale_if_slow: float | timedelta | None = None,
    stale_retry: float | timedelta | None = None,
    error_ttl: Mapping[type[Exception], float | timedelta] | None = None,
    cancel_abandoned: bool = True,
    shared: bool = False,
    tier: Tier | None = None,
) -> Any:
    """Decorate a coroutine function with a least-recently-used cache.

    ``functools.lru_cache`` for asyncio, with or without parentheses. Concurrent calls
    with the same key share one run of the function, in a task of its own; failures are
    raised to all who wait and never stored.

    Args:
        maxsize: How many values are kept; past that the least recently used goes.
            Runs in flight evict nothing and are not evicted. None is no bound; 0, as
            anything below it, stores nothing and shares nothing. 128 by default.
        typed: Keep arguments of different types apart: ``f(3)`` and ``f(3.0)``.
        ttl: Seconds, by the loop's clock, or a timedelta, for which a value is served
            after its run has finished; hits do not prolong it. None, the default, is
            for ever; with 0 concurrent calls share a run and nothing is kept. A
            callable is given the result and returns one of these for it; 0 or less
            means that it is not stored.
        jitter: Up to this many seconds, uniformly at random, are added to the ttl of
            each value, so that values that were stored together do not expire
            together. Drawn from the ``random`` module's generator.
        key: Called with the arguments of a call, ``self`` included; returns the key.
            Without it keys are those of ``functools.lru_cache``; :func:`by_value` is
            for arguments that cannot be hashed.
        ignore: Names of parameters that are left out of the key, however they are
            passed; *key* does not see them either. With ``"self"`` instances share
            values.
        per_instance: For methods: each instance has a cache of its own, of *maxsize*
            values, which dies with the instance. Instances are left out of keys, as
            by *ignore*, and must allow weak references.
        stale_while_revalidate: Seconds past its ttl for which a value is still served
            while one run in the background replaces it (RFC 5861). Failures of such
            runs go to the loop's exception handler.
        stale_if_error: Seconds past its ttl for which a value is served if the run
            that was to replace it fails (RFC 5861).
        stale_if_slow: How many seconds a call waits for a run while there is a value
            that one of these two may still serve; then it gets that value, and the
            run goes on in the background. 0 never waits; None, the default, waits
            to the end.
        stale_retry: Seconds after a failed run before the next one is tried for that
            key; meanwhile the value is served. 1 by default.
        error_ttl: Types of exceptions and the seconds for which failures of these
            types, subclasses included, are kept and raised again, to each call an
            exception of its own. The nearest type counts.
        cancel_abandoned: Whether a run is cancelled when the last call that waits for
            it is cancelled. If False it goes on, can be joined again, and its result
            is stored. True by default.
        shared: Share the cache between event loops, in any threads: values are served
            to all of them, and calls from different loops share a run, which takes
            place in the loop of the first. False, the default, is a cache that belongs
            to one loop. Eviction is second chance (CLOCK) then, and time is
            ``time.monotonic``. Results are shared by threads, so they must not be
            changed, nor be bound to a loop.
        tier: A second tier, shared by processes and hosts, that is asked before the
            function is run, and is told of results and invalidations:
            ``async_lru.redis.RedisTier``. Needs a *ttl* above 0. None, the default, is
            a cache of this process alone.

    Returns:
        The function as an :class:`AlruCacheWrapper`, or without a function a
        decorator for any number of them, each with a cache of its own.

    Raises:
        RuntimeError: What is decorated is no coroutine function, nor a
            ``functools.partial`` or ``partialmethod`` of one.
        TypeError: An option has the wrong type.
        ValueError: An option has a value that makes no sense, or no sense with
            another option.

    Cancelling a call cancels the run only if no other call waits for it (see
    *cancel_abandoned*); it can no longer be joined then, and the next call starts a
    new run.

    Every method may be called from any thread. Without *shared* a cache belongs to the
    event loop of its first call, however: a call from another loop clears it and warns,
    once for each decorated function, with :class:`AlruCacheLoopResetWarning`.

    .. versionchanged:: 3.0
        Rewritten; see the changelog.
    """
    function, maxsize = _split(maxsize)
    options = checked(
        maxsize,
        typed,
        ttl,
        jitter,
        key,
        ignore,
        per_instance,
        stale_while_revalidate,
        stale_if_error,
        stale_if_slow,
        stale_retry,
        error_ttl,
        cancel_abandoned,
        shared,
        tier,
    )
    decorate = partial(_decorate, options)
    return decorate if function is None else decorate(function)


class _WrongTypeError(TypeError, NotImplementedError):
    """What has the wrong type: a TypeError, and what async-lru 2.4 raises for it."""


def _split(first: Any) -> tuple[Any, int | None]:
    """Tell a bare decorator's function from a maxsize."""
    if first is None:
        return None, None
    if callable(first) or hasattr(first, "__get__"):  # a function, or meant to be one
        return first, 128
    if hasattr(first, "__index__"):
        return None, max(index(first), 0)
    raise _WrongTypeError(
        f"maxsize must be an int or None, not {first!r}: pass a number of values, or "
        f"None for no bound; {first!r} decorating is not supported"
    )


def _decorate(options: Options, function: Any) -> AlruCacheWrapper[..., Any]:
    """Return *function* with a cache."""
    described = _described(function)
    if isinstance(function, partialmethod):
        function = function.__get__(None, object)
    name = f"{described.__module__}.{_names(described)[1]}"
    keys = options.keys(function, name)
    make_cache = partial(options.make_cache, function, name, keys, ResetWarning(name))
    wrapper: AlruCacheWrapper[..., Any]
    if options.per_instance:
        first = next(iter(inspect.signature(function).parameters.values()))
        wrapper = PerInstance(make_cache, first)
    else:
        cache = make_cache()
        calls = (
            shared_calls_of(cache, function)
            if isinstance(cache, SharedCache)
            else calls_of(cache, function)
        )
        wrapper = AlruCacheWrapper(cache, *calls)
    # The calls too, since asyncio names coroutines after them.
    everything: Any = (wrapper, wrapper._call, wrapper._call_of_method)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for each in everything:
        functools.update_wrapper(each, described)
        each.__name__, each.__qualname__ = _names(described)
        del each.__wrapped__
    for call in everything[1:]:
        call.__signature__ = ANY  # whatever names its parameters have
    wrapper.__wrapped__ = function
    # What partials have of their own is no coroutine function, which beartype asks.
    everything[0].__call__ = everything[1]
    if sys.version_info >= (3, 12):  # pragma: py-lt-312  # pragma: no branch
        inspect.markcoroutinefunction(wrapper)
    register(wrapper)
    return wrapper


def _names(described: Any) -> tuple[str, str]:
    """Return ``__name__`` and ``__qualname__``, of the type where an object has none."""
    kind: Any = cast("Any", type(described))
    return (
        getattr(described, "__name__", kind.__name__),
        getattr(described, "__qualname__", kind.__qualname__),
    )


def _described(function: Any) -> Any:
    """Return the coroutine function that tells what *function* is called."""
    inner = function
    while isinstance(inner, (partial, partialmethod)) and not isinstance(
        inner, AlruCacheWrapper
    ):
        inner = inner.func
    if not _is_coroutine_function(inner):
        raise RuntimeError(
            f"Coroutine function is required, got {function!r}: {_remedy(inner)}"
        )
    return inner


def _remedy(refused: Any) -> str:
    """Return what to do about something that is no coroutine function."""
    kind = cast("Any", type(refused))
    if issubclass(kind, (classmethod, staticmethod, property)):
        return f"it is a {kind.__name__}, so put it above @alru_cache"
    if inspect.isasyncgenfunction(refused):
        return (
            "an async generator can be used up but once, so cache a coroutine function "
            "that returns its items as a list"
        )
    if _is_coroutine_function(getattr(kind, "__call__", None)):  # noqa: B004
        return "pass its __call__, which is one"
    return (
        "define it with async def, and await there what it returns if that is a "
        "coroutine; for synchronous functions there is functools.lru_cache"
    )
