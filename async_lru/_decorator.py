"""The decorator ``alru_cache``."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from datetime import timedelta
from functools import partial, partialmethod
from operator import index
from types import MethodType
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
    # Recognises some that inspect does not, such as Cython's.
    _is_coroutine_function = asyncio.iscoroutinefunction


if TYPE_CHECKING:

    class _Anything: ...

    class _Decorator(Generic[_T]):
        """What ``alru_cache(...)`` with options returns: a decorator for any functions.

        *_T* is the result that a callable ttl accepts. With two classes, mypy would
        treat the decorator as untyped if an option has the type Any.
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


# Pyright reports errors for the last overload that could be meant, hence this order.
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

    ``functools.lru_cache`` for asyncio. Works with and without parentheses. Concurrent
    calls with the same key share one run of the function, in a task of its own.
    Exceptions are raised to all calls that wait and are not stored.

    Args:
        maxsize: The maximum number of values, 128 by default. When there are more,
            the least recently used one is evicted. Runs in flight do not count and
            are not evicted. None removes the limit. With 0 or less, nothing is stored
            or shared.
        typed: Whether arguments of different types have different keys, as in
            ``f(3)`` and ``f(3.0)``.
        ttl: How long a value is served after its run finished: seconds on the event
            loop's clock, or a timedelta. Hits do not extend it. With None, the
            default, values do not expire. With 0, concurrent calls share a run and
            nothing is stored. A callable gets the result and returns its ttl; 0 or
            less means that the result is not stored.
        jitter: Adds a random number of seconds, up to this one, to the ttl of each
            value, so that values that were stored together do not expire together.
            Uses the ``random`` module's generator.
        key: A function that gets the arguments of a call, including ``self``, and
            returns the key. The default keys are those of ``functools.lru_cache``.
            Use :func:`by_value` for unhashable arguments.
        ignore: Names of parameters that are not part of the key, however they are
            passed. *key* does not get them, either. With ``"self"``, instances share
            values.
        per_instance: For methods: each instance has its own cache of *maxsize*
            values, which is freed with the instance. Instances are not part of the
            key, but must allow weak references.
        stale_while_revalidate: For this many seconds past its ttl, calls still get a
            value while a run in the background replaces it (RFC 5861). If that run
            fails, the event loop's exception handler gets the exception.
        stale_if_error: For this many seconds past its ttl, calls get a value if the
            run that should replace it fails (RFC 5861).
        stale_if_slow: While one of the two options above allows a stale value, a call
            waits at most this many seconds for a run. Then it gets the stale value,
            and the run continues in the background. 0 never waits. With None, the
            default, calls wait until the run ends.
        stale_retry: After a failed run, calls for its key get the stale value for
            this many seconds before the next run starts. 1 by default.
        error_ttl: Maps exception types to the seconds for which exceptions of that
            type, or of a subclass, are stored. Each later call raises a new
            exception. The nearest base class decides.
        cancel_abandoned: Whether a run is cancelled when the last call that waits for
            it is cancelled. If False, the run continues, later calls can join it, and
            its result is stored. True by default.
        shared: Whether the cache serves all event loops, in any threads. If True,
            calls from different loops share a run, which takes place in the loop of
            the first call. Eviction is then second chance (CLOCK), and time is
            ``time.monotonic``. Threads share results, so results must not be modified
            or bound to a loop. If False, the default, the cache belongs to one loop.
        tier: A second tier that processes and hosts share, an
            :class:`async_lru.redis.RedisTier`. On a miss, it is asked before the function
            runs. Results and invalidations are sent to it. Needs a *ttl* above 0. With
            None, the default, the cache is local to the process.

    Returns:
        The function as an :class:`AlruCacheWrapper`. If called with options only, a
        decorator for any number of functions, each with its own cache.

    Raises:
        RuntimeError: The decorated object is not a coroutine function, or a
            ``functools.partial`` or ``partialmethod`` of one.
        TypeError: An option has the wrong type.
        ValueError: An option has an invalid value, or cannot be combined with
            another one.

    Cancelling a call cancels the run only if no other call waits for it (see
    *cancel_abandoned*). A cancelled run can no longer be joined, and the next call
    starts a new one.

    Every method can be called from any thread. But without *shared*, a cache belongs to
    the event loop of its first call. A call from another loop clears it and issues an
    :class:`AlruCacheLoopResetWarning`, once per decorated function.

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
    """A TypeError that is also a NotImplementedError, which async-lru 2.4 raises."""


def _split(first: Any) -> tuple[Any, int | None]:
    """Return the function, if the decorator has no parentheses, and maxsize."""
    if first is None:
        return None, None
    if callable(first) or hasattr(first, "__get__"):  # or meant to be a function
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
    bound = _bound_arguments(function, options.ignore)
    if isinstance(function, partialmethod):
        function = function.__get__(None, object)
    name = f"{described.__module__}.{_names(described)[1]}"
    keys = options.keys(function, name)._replace(bound=bound)
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
    # Including the calls, since asyncio names coroutines after them.
    everything: Any = (wrapper, wrapper._call, wrapper._call_of_method)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for each in everything:
        functools.update_wrapper(each, described)
        each.__name__, each.__qualname__ = _names(described)
        del each.__wrapped__
    for call in everything[1:]:
        call.__signature__ = ANY  # hides the names of its own parameters
    wrapper.__wrapped__ = function
    # A partial's own __call__ is not a coroutine function, and beartype checks that.
    everything[0].__call__ = everything[1]
    if sys.version_info >= (3, 12):  # pragma: py-lt-312  # pragma: no branch
        inspect.markcoroutinefunction(wrapper)
    register(wrapper)
    return wrapper


def _names(described: Any) -> tuple[str, str]:
    """Return ``__name__`` and ``__qualname__``, or those of the type if there are none."""
    kind: Any = cast("Any", type(described))
    return (
        getattr(described, "__name__", kind.__name__),
        getattr(described, "__qualname__", kind.__qualname__),
    )


def _described(function: Any) -> Any:
    """Return the coroutine function whose name and docstring describe *function*."""
    inner = function
    while _is_partial(inner):
        inner = inner.func
    if not _is_coroutine_function(inner):
        raise RuntimeError(
            f"Coroutine function is required, got {function!r}: {_remedy(inner)}"
        )
    return inner


def _bound_arguments(function: Any, ignored: Iterable[str]) -> tuple[Any, ...]:
    """Return what partials and bound methods add to each call of *function*."""
    bound: list[Any] = []
    while _is_partial(function):
        names = sorted(set(function.keywords) - {*ignored})
        values = [function.keywords[name] for name in names]
        bound += [len(function.args), *function.args, len(names), *names, *values]
        function = function.func
    if isinstance(function, MethodType):
        bound.append(function.__self__)
    return tuple(bound)


def _is_partial(function: Any) -> bool:
    return isinstance(function, (partial, partialmethod)) and not isinstance(
        function, AlruCacheWrapper
    )


def _remedy(refused: Any) -> str:
    """Return what to do about an object that is not a coroutine function."""
    kind = cast("Any", type(refused))
    if issubclass(kind, (classmethod, staticmethod, property)):
        return f"it is a {kind.__name__}, so put it above @alru_cache"
    if inspect.isasyncgenfunction(refused):
        return (
            "an async generator can be consumed only once, so cache a coroutine function "
            "that returns its items as a list"
        )
    if _is_coroutine_function(getattr(kind, "__call__", None)):  # noqa: B004
        return "pass its __call__, which is one"
    return (
        "define it with async def, and await the coroutine in it if it returns one; for "
        "synchronous functions use functools.lru_cache"
    )
