"""What the decorator returns, and what its attribute access on instances gives."""

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
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

from ._cache import Cache
from ._calls import Call
from ._stats import CacheInfo, CacheParameters

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
    _call_of_method: Call

    def __new__(cls, cache: Cache, call: Call, call_of_method: Call) -> "Self":
        self = super().__new__(cls, call)
        self._cache = cache
        self._call_of_method = call_of_method
        return self

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and the number of entries.

        Works without a running loop, as all but ``cache_close`` do.
        """
        return self._cache.info()

    def cache_parameters(self) -> CacheParameters:
        """Return maxsize, typed, tasks (the runs in flight) and closed."""
        return self._cache.parameters()

    def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Tell whether a call with these arguments would be a hit.

        This is no use of the entry: it counts nothing and changes no order.
        Raises TypeError if an argument is not hashable.
        """
        cache = self._cache
        return cache.store.contains(cache.make_key(args, kwargs))

    def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Drop the entry of these arguments and tell whether there was one.

        Callers who wait for a run in flight still get its result, but it is not
        stored, and the next call starts a new run. Raises TypeError if an
        argument is not hashable.
        """
        cache = self._cache
        return cache.store.remove(cache.make_key(args, kwargs))

    def cache_clear(self) -> None:
        """Drop every entry as ``cache_invalidate`` does, and zero the counters.

        The cache stays bound to its event loop. Takes time in proportion to the
        number of entries.
        """
        self._cache.clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Refuse later calls and return when no run is in flight any more.

        Drops all entries, and cancels the runs in flight unless *wait* is true;
        their callers get the CancelledError, or with *wait* the result. Calls
        that come later raise RuntimeError. Closing again does no harm: with the
        default *wait* it cancels what an earlier ``wait=True`` still waits for.

        When this is cancelled the cache stays closed, and the runs go on to
        their ends. Called from inside a run, it does not wait for that run. Runs
        of another loop are waited for if that loop is running, and forgotten if
        it is closed.
        """
        await self._cache.close(wait=wait)

    @overload
    def __get__(
        self, instance: None, owner: type | None = None, /
    ) -> "AlruCacheWrapper[_P, _R]": ...
    @overload
    def __get__(
        self: "AlruCacheWrapper[Concatenate[Any, _Q], _R]",
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._cache.name}>"

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

    def cache_info(self) -> CacheInfo:
        """Return ``cache_info()`` of the function, which all instances share."""
        return self.__func__.cache_info()

    def cache_parameters(self) -> CacheParameters:
        """Return ``cache_parameters()`` of the function."""
        return self.__func__.cache_parameters()

    def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Tell whether a call with these arguments would be a hit."""
        return self.__func__.cache_contains(self.__self__, *args, **kwargs)

    def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Drop the instance's entry of these arguments; tell whether there was one."""
        return self.__func__.cache_invalidate(self.__self__, *args, **kwargs)

    def cache_clear(self) -> None:
        """Drop every entry, those of other instances included."""
        self.__func__.cache_clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the cache of the function, for all instances."""
        await self.__func__.cache_close(wait=wait)

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
