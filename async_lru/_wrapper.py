"""What the decorator returns, and what its attribute access on instances gives."""

# ruff: noqa: SLF001  # wrappers and their bound methods know each other
# pyright: reportPrivateUsage=false

import copy
import sys
from collections.abc import Callable, Coroutine
from types import MethodType
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
from ._callable import CallInSlot, CallOfFunction
from ._compat import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._calls import Call

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_T = TypeVar("_T")


class AlruCacheWrapper(CallOfFunction, _LRUCacheWrapper[_R], Generic[_P, _R]):
    """A coroutine function with a cache: what ``alru_cache`` returns.

    Generic in the function's parameters and result. On instances of a class it
    gives an :class:`AlruCacheBoundMethod`, as functions give bound methods.

    .. versionadded:: 3.0
    """

    __slots__ = (
        "_cache",  # pyright: ignore[reportIncompatibleMethodOverride]  # only read there
        "_call_of_method",
    )

    if TYPE_CHECKING:
        __wrapped__: Callable[_P, Coroutine[Any, Any, _R]]
        _cache: Cache
        #: What is called through an instance.
        _call_of_method: Call

        # With async def checkers make of it just what they make of the function.
        async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
        def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
        def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    # Not for users, whose checkers need not know what a Cache is.
    def __new__(cls, cache: Any, call: Any, call_of_method: Any) -> "Self":
        self = super().__new__(cls, call)
        self._cache = cache
        self._call_of_method = call_of_method
        return self

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

    def cache_put(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Store *value* as the result for these arguments, without a run.

        Takes the place of the value there is. A run in flight still answers those
        who wait for it, but its result is not stored. The value lives as long as
        that of a run would, and is the most recently used.

        Raises TypeError if an argument is not hashable or the function does not take
        these arguments, and RuntimeError after ``cache_close()``, or without a running
        event loop, to which the cache then belongs; one that is ``shared`` needs none.
        """
        self._cache.keys.asked(self._cache.contains, args, kwargs)
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
        self._cache.keys.asked(self._cache.contains, args, kwargs)
        key = self._cache.make_key(args, kwargs)
        result: _R = await self._cache.refresh(key, args, kwargs)
        return result

    # Of class methods, which the class passes itself to
    @overload
    def __get__(  # type: ignore[misc]  # not the self of all, but of some
        self: Callable[Concatenate[type[_T], _Q], Coroutine[Any, Any, _R]],
        instance: _T | None,
        owner: type[_T],
        /,
    ) -> "AlruCacheBoundMethod[_Q, _R]": ...
    @overload
    def __get__(
        self, instance: None, owner: type | None = None, /
    ) -> "AlruCacheWrapper[_P, _R]": ...
    @overload
    def __get__(
        self: Callable[Concatenate[_T, _Q], Coroutine[Any, Any, _R]],
        instance: _T,
        owner: type | None = None,
        /,
    ) -> "AlruCacheBoundMethod[_Q, _R]": ...
    # Of static methods and attributes of instances, which nothing is put in front of
    @overload
    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> "AlruCacheWrapper[_P, _R]": ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        if instance is None:
            return self
        # Not in an __init__, which would take a tenth of a hit more.
        bound = _bare_bound_method()
        bound.__call__ = MethodType(self._call_of_method, instance)
        bound._wrapper = self
        return bound

    def _holder_of(self, instance: Any) -> _LRUCacheWrapper[_R]:  # noqa: ARG002
        """Return what holds the cache of *instance*: all share one."""
        return self

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

    if sys.version_info >= (3, 14) and not TYPE_CHECKING:  # pragma: py-lt-314

        def __getattr__(self, name: str) -> Any:
            # Annotations are evaluated when asked for, not at decoration.
            if name == "__annotations__":
                return self.__wrapped__.__annotations__
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)


class _OfClass:
    """What a class tells of itself; its instances tell what their function does."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        return self if instance is None else getattr(instance.__func__, self._name)


class _Text(_OfClass, str):  # noqa: SLOT000  # has a name
    pass


class _Annotations(_OfClass, dict[str, Any]):
    pass


class _OfFunctionAndInstance(type):
    """A class that is called as Python's type of bound methods is, by WeakMethod say."""

    def __call__(cls, function: Any, instance: object, /) -> Any:
        return function.__get__(instance)


class AlruCacheBoundMethod(
    CallInSlot,
    _LRUCacheWrapperInstanceMethod[_R],
    Generic[_P, _R],
    metaclass=_OfFunctionAndInstance,
):
    __doc__ = _Text(
        """A cached method of an instance: ``instance.method``.

    Puts the instance in front of the arguments of calls and of
    ``cache_contains`` and ``cache_invalidate``; the cache is that of the
    function, and all instances share it. Has ``__self__`` and ``__func__`` and
    the function's attributes, compares and hashes as bound methods do.

    .. versionadded:: 3.0
    """
    )
    __module__ = _Text(__name__)

    __slots__ = ("_wrapper",)

    if TYPE_CHECKING:
        # Any to type checkers, who would bind a wrapper that is an attribute.
        _wrapper: Any

        async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
        def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
        def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    else:
        __annotations__ = _Annotations()

        @property
        def __class__(self) -> type:
            # inspect, mock, pydantic and Starlette take it for the bound method it is.
            return MethodType

        # Of the function's attributes checkers know none.
        def __getattr__(self, name: str) -> Any:
            return getattr(self._wrapper, name)

    @property
    def __func__(self) -> AlruCacheWrapper[Concatenate[Any, _P], _R]:
        """The wrapper that is the attribute of the class."""
        wrapper: AlruCacheWrapper[Concatenate[Any, _P], _R] = self._wrapper
        return wrapper

    @property
    def __self__(self) -> Any:
        """The instance."""
        return self.__call__.__self__  # type: ignore[attr-defined]

    @property
    def _holder(self) -> _LRUCacheWrapper[_R]:
        """What holds the cache: the function, but with ``per_instance=True``."""
        holder: _LRUCacheWrapper[_R] = self._wrapper._holder_of(self.__self__)
        return holder

    @property
    def _cache(self) -> Cache:
        return self._holder._cache

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

    def __dir__(self) -> set[str]:
        return {*dir(type(self)), *vars(self._wrapper)}

    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> "AlruCacheBoundMethod[_P, _R]":
        # As an attribute of a class it is what it is, like Python's bound methods.
        return self

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


def check_predicate(predicate: object) -> None:
    """Raise TypeError unless *predicate* can be called."""
    if not callable(predicate):
        raise TypeError(
            f"cache_invalidate_where takes a function, not {predicate!r}: pass one that "
            "takes the arguments of a call and tells whether to invalidate it"
        )


#: Make a bound method that is of no function and no instance yet.
_bare_bound_method: Callable[[], Any] = type.__call__.__get__(AlruCacheBoundMethod)
