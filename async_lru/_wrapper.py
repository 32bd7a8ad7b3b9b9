"""What the decorator returns, and what its attribute access on instances gives."""

import copy
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterable
from types import GenericAlias, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    overload,
)

from ._cache import Cache, check_predicate
from ._calls import Call
from ._introspection import info_of, memory_of, parameters_of, stats_of
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._warming import WarmCall, warm

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")

if TYPE_CHECKING:
    from typing_extensions import Self

    class _Callable(Generic[_P, _R]):
        func: Callable[..., Coroutine[Any, Any, _R]]
        args: tuple[Any, ...]

        def __new__(
            cls, func: Callable[..., Coroutine[Any, Any, Any]], /, *args: object
        ) -> Self: ...
        # With async def checkers make of it just what they make of the function.
        async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...

else:

    class _Callable(functools.partial):
        # Both are partials of a coroutine function because that makes their calls
        # run at C speed and lets inspect see what they are. To users it is of no
        # concern, so the types do not tell.
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)  # not all Pythons' partials do


class AlruCacheWrapper(_Callable[_P, _R]):
    """A coroutine function with a cache: what ``alru_cache`` returns.

    Generic in the function's parameters and result. On instances of a class it
    gives an :class:`AlruCacheBoundMethod`, as functions give bound methods.

    .. versionadded:: 3.0
    """

    __slots__ = ("_cache", "_call_of_method")

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str
        __wrapped__: Callable[_P, Coroutine[Any, Any, _R]]

    _cache: Cache
    #: What is called through an instance.
    _call_of_method: Call

    # Not for users, whose checkers need not know what a Cache is.
    def __new__(cls, cache: Any, call: Any, call_of_method: Any) -> "Self":
        self = super().__new__(cls, call)
        self._cache = cache
        self._call_of_method = call_of_method
        return self

    def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Tell whether a call with these arguments would be a hit.

        Does not count as a hit and does not affect the order of eviction. May be
        called from any thread. Raises TypeError if an argument is not hashable, or
        if the function does not take these arguments.
        """
        cache = self._cache
        try:
            found = cache.contains(cache.make_key(args, kwargs))
        except TypeError:
            cache.keys.blame(args, kwargs)
            raise
        if not found:
            cache.keys.arguments.check(args, kwargs)
        return found

    def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Drop the value of these arguments; tell whether a call would have been a hit.

        Calls that wait for a run in flight still get its result, but it is not
        stored, and the next call starts a new run. A run in the background that
        nobody waits for is cancelled. May be called from any thread. Raises
        TypeError if an argument is not hashable, or if nothing is found and the
        function does not take these arguments.
        """
        cache = self._cache
        try:
            found = cache.invalidate(cache.make_key(args, kwargs))
        except TypeError:
            cache.keys.blame(args, kwargs)
            raise
        if not found:
            cache.keys.arguments.check(args, kwargs)
        return found

    def cache_invalidate_where(self, predicate: Callable[..., object]) -> int:
        """Invalidate every call of which *predicate* says True; return their number.

        It is called with the arguments of each value and each run in flight as the
        call was made, ``self`` included; with ``ignore`` with what is left of them;
        with ``key`` with the key. What it raises is raised
        here, and nothing is dropped then.

        May be called from any thread. Takes time in proportion to the number of
        values. Raises TypeError if *predicate* is not callable.

        .. versionadded:: 3.0
        """
        check_predicate(predicate)
        return self._cache.invalidate_where(predicate)

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and the number of keys.

        Works without a running loop, as do all but ``cache_put``, ``cache_refresh``,
        ``cache_warm`` and ``cache_close``.
        """
        return info_of(self._cache)

    def cache_parameters(self) -> CacheParameters:
        """Return maxsize, typed, tasks (the runs in flight) and closed."""
        return parameters_of(self._cache)

    def cache_put(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Store *value* as the result for these arguments, without a run.

        Takes the place of the value there is. A run in flight still answers those
        who wait for it, but its result is not stored. The value lives as long as
        that of a run would, and is the most recently used.

        Raises TypeError if an argument is not hashable or the function does not take
        these arguments, and RuntimeError without a running event loop, to which the
        cache then belongs, or after ``cache_close()``.
        """
        self.cache_contains(*args, **kwargs)  # raises for what is wrong with them
        self._cache.put(self._cache.make_key(args, kwargs), value)

    async def cache_refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the function now, replace the value with the result, and return it.

        Others are served the old value meanwhile, and if the run fails, which is
        raised here. If a run for these arguments is in flight it is joined, so what
        it has read may be older than this call: to be sure of a run that begins now,
        after a write for instance, call ``cache_invalidate`` first. Calls that find
        no value join the refresh. It counts as a load or a failure, not as a hit or
        a miss. What is invalidated or put meanwhile is not replaced.

        Cancelling it cancels the run only if nobody else waits for it. Raises
        TypeError as ``cache_put`` does, and RuntimeError after ``cache_close()``.
        """
        self.cache_contains(*args, **kwargs)  # see cache_put
        key = self._cache.make_key(args, kwargs)
        result: _R = await self._cache.refresh(key, args, kwargs)
        return result

    async def cache_warm(
        self,
        calls: Iterable[WarmCall],
        *,
        concurrency: int = 10,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[_R | BaseException]:
        """Make many calls, *concurrency* at a time.

        Each of *calls* is a tuple of arguments, a mapping of keyword arguments, or a
        pair of both: ``(1, 2)``, ``{"x": 1}``, ``((1,), {"y": 2})``.

        Returns the results in the order of *calls*, or the exception of a call that
        failed; the others go on. *progress* is called with the number of calls that
        are done and of all, after each; what it raises ends the warming.

        When this is cancelled, so are the calls that it waits for. Raises TypeError
        for anything else in *calls*, before any call is made, and RuntimeError after
        ``cache_close()``.
        """
        self._cache.enter_loop()
        return await warm(self, calls, concurrency, progress)

    def cache_stats(self) -> CacheStats:
        """Return everything that is counted; ``str()`` of it is a short report.

        May be called from any thread.
        """
        return stats_of(self._cache)

    def cache_memory(self) -> int | None:
        """Return about how many bytes keys and values take, or None.

        Each object counts once; what objects implemented in C hold by themselves may
        not be known. None where Python cannot tell, as on PyPy. Takes time in
        proportion to the contents.
        """
        return memory_of(self._cache)

    def cache_clear(self) -> None:
        """Drop every value as ``cache_invalidate`` does, and zero the counters.

        The cache stays bound to its event loop. May be called from any thread. Takes
        time in proportion to the number of values.
        """
        self._cache.clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Refuse later calls and return when no run is in flight any more.

        Cancels the runs in flight unless *wait* is true; their callers get the
        CancelledError, or with *wait* the result. Calls that come later raise
        RuntimeError. Values stay, for ``cache_info`` and ``cache_contains`` to tell
        of. Closing again does no harm: with the default *wait* it cancels what an
        earlier ``wait=True`` still waits for.

        When this is cancelled the cache stays closed, and the runs go on to their
        ends. Called from inside a run, it does not wait for that run. Runs of
        another loop are waited for while that loop is running, and forgotten if it
        is closed.
        """
        await self._cache.close(wait=wait)

    def cache_open(self) -> None:
        """Let a closed cache take calls again, empty; does nothing to an open one.

        For services that are started and shut down more than once in a process. The
        next call may come from any event loop.

        .. versionadded:: 3.0
        """
        self._cache.open()

    @overload
    def __get__(
        self, instance: None, owner: type | None = None, /
    ) -> "AlruCacheWrapper[_P, _R]": ...
    @overload
    def __get__(
        self: Callable[Concatenate[Any, _Q], Coroutine[Any, Any, _R]],
        instance: object,
        owner: type | None = None,
        /,
    ) -> "AlruCacheBoundMethod[_Q, _R]": ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        if instance is None:
            return self
        bound: AlruCacheBoundMethod[..., _R] = AlruCacheBoundMethod(
            self._call_of_method, instance
        )
        # Not in a __new__ of its own, which would cost a tenth of a method's hit.
        bound._wrapper = self  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return bound

    def _cache_of(self, instance: Any) -> Cache:  # noqa: ARG002
        """Return the cache of *instance*: all share one."""
        return self._cache

    def _reset(self) -> None:
        """Make the cache as it was before the first call."""
        self._cache.reset()

    def _after_fork(self) -> None:  # pragma: no cover  # in a child
        """Forget what the parent process was at."""
        self._cache.after_fork()

    def __repr__(self) -> str:
        return f"<AlruCacheWrapper of {self._cache.name}>"

    # The function in its module is the one there is, as with functools.

    def __copy__(self) -> "AlruCacheWrapper[_P, _R]":
        return self

    def __deepcopy__(self, memo: object, /) -> "AlruCacheWrapper[_P, _R]":
        return self

    def __reduce__(self) -> str:
        return self.__qualname__

    if sys.version_info >= (3, 14):  # pragma: py-lt-314

        def __getattr__(self, name: str) -> Any:
            # Annotations are evaluated when asked for, not at decoration.
            if name == "__annotations__":
                return self.__wrapped__.__annotations__
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)


class _ClassText(str):
    """A text about a class, which instances have of their wrapper instead."""

    __slots__ = ("name",)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        return self if instance is None else getattr(instance.__func__, self.name)


class AlruCacheBoundMethod(_Callable[_P, _R]):
    __doc__ = _ClassText(
        """A cached method of an instance: ``instance.method``.

    Puts the instance in front of the arguments of calls and of
    ``cache_contains`` and ``cache_invalidate``; the cache is that of the
    function, and all instances share it. Has ``__self__`` and ``__func__`` and
    the function's attributes, compares and hashes as bound methods do.

    .. versionadded:: 3.0
    """
    )
    __module__ = _ClassText(__name__)

    __slots__ = ("_wrapper",)

    # Any to type checkers, who would bind a wrapper that is an attribute.
    _wrapper: Any

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str

    @property
    def __func__(self) -> AlruCacheWrapper[Concatenate[Any, _P], _R]:
        """The wrapper that is the attribute of the class."""
        wrapper: AlruCacheWrapper[Concatenate[Any, _P], _R] = self._wrapper
        return wrapper

    @property
    def __self__(self) -> Any:
        """The instance."""
        return self.args[0]

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's signature without its first parameter."""
        return inspect.signature(MethodType(self.__func__.__wrapped__, self.__self__))

    @property
    def _cache(self) -> Cache:
        """The cache, which is the instance's own with ``per_instance=True``."""
        cache: Cache = self._wrapper._cache_of(self.__self__)  # noqa: SLF001
        return cache

    def cache_info(self) -> CacheInfo:
        """Return ``cache_info()`` of the cache, which all instances share.

        So it is with all methods that take no arguments of the function, unless
        the cache is the instance's own (``per_instance=True``).
        """
        return info_of(self._cache)

    def cache_parameters(self) -> CacheParameters:
        """Return ``cache_parameters()`` of the cache."""
        return parameters_of(self._cache)

    def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Tell whether a call with these arguments would be a hit."""
        return self.__func__.cache_contains(self.__self__, *args, **kwargs)

    def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Drop the instance's value of these arguments; tell whether there was one."""
        return self.__func__.cache_invalidate(self.__self__, *args, **kwargs)

    def cache_invalidate_where(self, predicate: Callable[..., object]) -> int:
        """Invalidate the instance's calls of which *predicate* says True.

        It is called with the arguments without ``self``; where keys do not tell the
        instance, because of ``key`` or ``ignore``, with what it gets through the
        class, for the calls of all instances.
        """
        check_predicate(predicate)
        keys = self._cache.keys
        if not keys.with_first:
            return self._cache.invalidate_where(predicate)
        instance = self.__self__

        def is_chosen(*args: Any, **kwargs: Any) -> bool:
            return args[:1] == (instance,) and bool(predicate(*args[1:], **kwargs))

        return self._cache.invalidate_where(is_chosen)

    def cache_put(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Store *value* as the instance's result for these arguments."""
        self.__func__.cache_put(value, self.__self__, *args, **kwargs)

    async def cache_refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the method now, and replace the instance's value with the result."""
        return await self.__func__.cache_refresh(self.__self__, *args, **kwargs)

    async def cache_warm(
        self,
        calls: Iterable[WarmCall],
        *,
        concurrency: int = 10,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[_R | BaseException]:
        """Make many calls of the method, *concurrency* at a time."""
        self._cache.enter_loop()
        return await warm(self, calls, concurrency, progress)

    def cache_stats(self) -> CacheStats:
        """Return everything that the cache has counted."""
        return stats_of(self._cache)

    def cache_memory(self) -> int | None:
        """Return about how many bytes keys and values of the cache take, or None."""
        return memory_of(self._cache)

    def cache_clear(self) -> None:
        """Drop every value, those of other instances included."""
        self._cache.clear()

    async def cache_close(
        self,
        *,
        wait: bool = False,
        cancel: bool | None = None,
        return_exceptions: bool | None = None,
    ) -> None:
        """Close the cache, for all instances that share it.

        *cancel* and *return_exceptions* are deprecated and have no effect, as in 2.4.
        """
        if cancel is not None or return_exceptions is not None:
            warnings.warn(
                "cancel/return_exceptions are deprecated and have no effect: leave them "
                "out, and pass wait=True to let runs in flight finish",
                DeprecationWarning,
                stacklevel=2,
            )
        await self._cache.close(wait=wait)

    def cache_open(self) -> None:
        """Let a closed cache take calls again, empty."""
        self._cache.open()

    def __getattr__(self, name: str) -> Any:
        if name == "_wrapper":  # not there yet
            raise AttributeError(name)
        return getattr(self._wrapper, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AlruCacheBoundMethod):
            return NotImplemented
        return self.__self__ is other.__self__ and self._wrapper is other._wrapper

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__))

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} to {self.__self__!r}>"

    def __deepcopy__(self, memo: dict[int, Any], /) -> Any:
        return self._wrapper.__get__(copy.deepcopy(self.__self__, memo))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, str]]:
        return getattr, (self.__self__, self.__name__)
