"""alru_cache: checks the options and puts the cache and its wrapper together."""

import asyncio
import functools
import inspect
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Hashable
from functools import partial, partialmethod
from math import isinf, isnan, nan
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from ._cache import Cache
from ._calls import KeyRule, Needs, call_of_function, call_of_method
from ._keys import called_key, default_key, typed_key
from ._runs import Run
from ._store import ExpiringStore, Store
from ._wrapper import AlruCacheWrapper

_P = ParamSpec("_P")
_R = TypeVar("_R")

if sys.version_info >= (3, 14):  # pragma: py-lt-314
    _is_coroutine_function = inspect.iscoroutinefunction
else:  # pragma: py-gte-314
    # Knows some that inspect does not, Cython's among them.
    _is_coroutine_function = asyncio.iscoroutinefunction


class _Decorator(Protocol):
    """What ``alru_cache(...)`` with options returns: it takes any number of functions."""

    @overload
    def __call__(
        self, function: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> AlruCacheWrapper[_P, _R]: ...
    @overload
    def __call__(
        self, function: "partialmethod[Coroutine[Any, Any, _R]]", /
    ) -> "AlruCacheWrapper[Concatenate[Any, ...], _R]": ...


@overload
def alru_cache(
    function: Callable[_P, Coroutine[Any, Any, _R]],
    /,
    typed: bool = False,
    *,
    ttl: float | None = None,
    jitter: float | None = None,
    key: Callable[..., Hashable] | None = None,
) -> AlruCacheWrapper[_P, _R]: ...
@overload
def alru_cache(
    function: "partialmethod[Coroutine[Any, Any, _R]]",
    /,
    typed: bool = False,
    *,
    ttl: float | None = None,
    jitter: float | None = None,
    key: Callable[..., Hashable] | None = None,
) -> "AlruCacheWrapper[Concatenate[Any, ...], _R]": ...
@overload
def alru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    ttl: float | None = None,
    jitter: float | None = None,
    key: Callable[..., Hashable] | None = None,
) -> _Decorator: ...
def alru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    ttl: float | None = None,
    jitter: float | None = None,
    key: Callable[..., Hashable] | None = None,
) -> Any:
    """Decorate a coroutine function with a least-recently-used cache.

    ``functools.lru_cache`` for asyncio, with or without parentheses. Concurrent
    calls with the same key share one run of the function, in a task of its own;
    failures are raised to all who wait and never stored.

    Args:
        maxsize: Entries held at most, runs in flight included; past that the
            least recently used goes. None is no bound; 0, as anything below it,
            stores nothing and shares nothing.
        typed: Keep arguments of different types apart: ``f(3)`` and ``f(3.0)``.
        ttl: Seconds, by the loop's clock, that a value is served after its run
            has finished; hits do not prolong it. None is for ever.
        jitter: Up to so many seconds, uniformly at random, are added to the ttl
            of each entry, lest those that were stored together expire together.
            Drawn from the ``random`` module's generator.
        key: Called with the arguments of a call, ``self`` included; what it
            returns is the key. Without it keys are those of ``functools.lru_cache``.

    Returns:
        The function as an :class:`AlruCacheWrapper`, or without a function a
        decorator for any number of them, each with a cache of its own.

    Raises:
        RuntimeError: What is decorated is no coroutine function, nor a
            ``functools.partial`` or ``partialmethod`` of one.
        TypeError: An option has the wrong type.
        ValueError: An option has a value that makes no sense, or no sense with
            another option.

    Cancelling a call cancels the run only if no other call waits for it; the
    entry is gone then, and the next call starts a new run.

    A cache belongs to the event loop of its first call. A call from another
    loop clears it and warns, once for each decorated function, with
    :class:`AlruCacheLoopResetWarning`.

    .. versionchanged:: 3.0
        Rewritten; see the changelog.
    """
    function, maxsize = _split(maxsize)
    decorate = _decorator(maxsize, typed, ttl, jitter, key)
    return decorate if function is None else decorate(function)


def _split(first: Any) -> tuple[Any, int | None]:
    """Tell a bare decorator's function from a maxsize."""
    if first is None or isinstance(first, int):
        return None, first if first is None else max(int(first), 0)
    if callable(first) or hasattr(first, "__get__"):  # a function, or meant to be one
        return first, 128
    raise TypeError(
        f"maxsize must be an int or None, not {first!r}: "
        "pass a number of entries, or None for no bound"
    )


def _decorator(
    maxsize: int | None, typed: Any, ttl: Any, jitter: Any, key: Any
) -> Callable[[Any], AlruCacheWrapper[..., Any]]:
    """Check the options and return the decorator for them."""
    if not isinstance(typed, bool):
        raise TypeError(
            f"typed must be a bool, not {typed!r}: pass True or False "
            "(ttl and jitter are keyword-only)"
        )
    if ttl is not None:
        ttl = _seconds("ttl", ttl)
        if not ttl > 0:
            raise ValueError(
                f"ttl must be a number of seconds above 0, not {ttl!r}: "
                "leave it out for entries that do not expire"
            )
    if jitter is not None:
        jitter = _seconds("jitter", jitter)
        if ttl is None:
            raise ValueError(
                f"jitter={jitter!r} requires a ttl: it is added to the ttl of each "
                "entry, so pass a ttl too or leave the jitter out"
            )
        if jitter < 0 or isinf(jitter):
            raise ValueError(
                f"jitter must be a finite number of seconds from 0 up, not {jitter!r}: "
                "leave it out for none"
            )
    if key is not None:
        if not callable(key):
            raise TypeError(
                f"key must be callable, not {key!r}: "
                "pass a function of the arguments that returns the key"
            )
        if typed:
            raise ValueError(
                f"typed=True has no effect with key={key!r}: leave typed out and "
                "put the types into the key"
            )

    rule: KeyRule
    if key is not None:
        rule, make_key = "own", called_key(key)
    elif typed:
        rule, make_key = "typed", typed_key
    else:
        rule, make_key = "default", default_key
    needs = Needs(rule, order=maxsize is not None, deadline=ttl is not None)

    def make_store(loop: AbstractEventLoop, runs: set[Run]) -> Store:
        if ttl is None:
            return Store(loop, maxsize, runs)
        return ExpiringStore(loop, maxsize, runs, ttl, jitter)

    def decorate(function: Any) -> AlruCacheWrapper[..., Any]:
        described = _described(function)
        if isinstance(function, partialmethod):
            function = function.__get__(None, object)
        cache = Cache(
            function,
            f"{described.__module__}.{described.__qualname__}",
            maxsize=maxsize,
            typed=typed,
            make_key=make_key,
            make_store=make_store,
        )
        calls = [call_of_function(cache, needs), call_of_method(cache, needs)]
        for call in calls:  # asyncio names coroutines and tasks after these
            call.__name__ = described.__name__
            call.__qualname__ = described.__qualname__
        wrapper: AlruCacheWrapper[..., Any] = AlruCacheWrapper(cache, *calls)
        functools.update_wrapper(wrapper, described)
        wrapper.__wrapped__ = function
        return wrapper

    return decorate


def _described(function: Any) -> Any:
    """Return the coroutine function that tells what *function* is called."""
    inner = function
    while isinstance(inner, (partial, partialmethod)):
        inner = inner.func
    if not _is_coroutine_function(inner):
        raise RuntimeError(
            f"alru_cache decorates coroutine functions, not {function!r}: "
            "define it with async def, or cache it with functools.lru_cache"
        )
    return inner


def _seconds(option: str, value: Any) -> float:
    """Check that *value* is a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{option} must be a number of seconds, not {value!r}: "
            "pass an int or a float"
        )
    try:
        seconds = float(value)
    except OverflowError:
        seconds = nan
    if isnan(seconds):
        raise ValueError(
            f"{option} must be a number of seconds, not {value!r}: "
            "leave it out if it is not wanted"
        )
    return seconds
