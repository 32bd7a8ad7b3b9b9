"""What the decorator returns: a decorated function, and its bound methods."""

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
    """A coroutine function with a cache, as returned by ``alru_cache``.

    Generic in the function's parameters and result. Accessed through an instance of
    its class, it returns an :class:`AlruCacheBoundMethod`.

    .. versionadded:: 3.0
    """

    __slots__ = (
        "_cache",  # pyright: ignore[reportIncompatibleMethodOverride]  # only read there
        "_call_of_method",
    )

    if TYPE_CHECKING:
        __wrapped__: Callable[_P, Coroutine[Any, Any, _R]]
        _cache: Cache
        #: Called through an instance.
        _call_of_method: Call

        # With async def, checkers treat it just like the function.
        async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
        def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
        def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    # Private, so checkers of user code need not know what a Cache is.
    def __new__(cls, cache: Any, call: Any, call_of_method: Any) -> "Self":
        self = super().__new__(cls, call)
        self._cache = cache
        self._call_of_method = call_of_method
        return self

    def cache_invalidate_where(self, predicate: Callable[..., object]) -> int:
        """Invalidate every key for which *predicate* returns true; return their number.

        *predicate* is called with the arguments of each value and each run in flight,
        as they were passed, including ``self``. It does not get arguments that
        ``ignore`` leaves out, and with ``key`` it gets the key. If it raises an
        exception, nothing is dropped and the exception is raised here.

        Can be called from any thread. Takes time in proportion to the number of
        values. Raises TypeError if *predicate* is not callable.

        .. versionadded:: 3.0
        """
        check_predicate(predicate)
        return self._cache.invalidate_where(predicate)

    def cache_put(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Store *value* as the result for these arguments, without running the function.

        Replaces the old value, if there is one. Calls that wait for a run in flight
        still get its result, but the result is not stored. The value gets the same ttl
        as the result of a run, and is the most recently used.

        Raises TypeError if an argument is not hashable, or if the function does not
        accept these arguments. Raises RuntimeError after ``cache_close()``. Unless the
        cache is ``shared``, it binds the cache to the running event loop, and raises
        RuntimeError if there is none.
        """
        self._cache.keys.asked(self._cache.contains, args, kwargs)
        self._cache.put(self._cache.make_key(args, kwargs), value)

    async def cache_refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the function, replace the value with the result, and return it.

        Until the run ends, other calls get the old value. Calls that find no value
        join the run. If the run fails, the old value stays and the exception is
        raised here.

        If a run for these arguments is already in flight, this joins it instead of
        starting a new one. That run may have read what was there before a write: call
        ``cache_invalidate`` first to make sure that a new run starts. If the key is
        invalidated or ``cache_put`` is called meanwhile, the result is not stored.
        Counts as a load or a failure, not as a hit or a miss.

        Cancelling this cancels the run only if no other call waits for it. Raises
        TypeError like ``cache_put``, and RuntimeError after ``cache_close()``.
        """
        self._cache.keys.asked(self._cache.contains, args, kwargs)
        key = self._cache.make_key(args, kwargs)
        result: _R = await self._cache.refresh(key, args, kwargs)
        return result

    # For class methods
    @overload
    def __get__(  # type: ignore[misc]  # matches only some wrappers
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
    # For static methods and attributes of instances, which get no first argument
    @overload
    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> "AlruCacheWrapper[_P, _R]": ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        if instance is None:
            return self
        # An __init__ would make a hit 10 % slower.
        bound = _bare_bound_method()
        bound.__call__ = MethodType(self._call_of_method, instance)
        bound._wrapper = self
        return bound

    def _holder_of(self, instance: Any) -> _LRUCacheWrapper[_R]:  # noqa: ARG002
        """Return the object with the cache of *instance*; all instances share one."""
        return self

    def _reset(self) -> None:
        """Return the cache to its state before the first call."""
        self._cache.reset()

    def _after_fork(self) -> None:  # pragma: no cover  # in a child
        """Forget the runs and the event loop of the parent process."""
        self._cache.after_fork()

    def __repr__(self) -> str:
        return f"<AlruCacheWrapper of {self._cache.name}>"

    # Copies are the function itself, as with functools.

    def __copy__(self) -> "AlruCacheWrapper[_P, _R]":
        return self

    def __deepcopy__(self, memo: object, /) -> "AlruCacheWrapper[_P, _R]":
        return self

    def __reduce__(self) -> str:
        return self.__qualname__

    if sys.version_info >= (3, 14) and not TYPE_CHECKING:  # pragma: py-lt-314

        def __getattr__(self, name: str) -> Any:
            # Evaluate annotations on access, not at decoration.
            if name == "__annotations__":
                return self.__wrapped__.__annotations__
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)


class _OfClass:
    """An attribute of a class, which on instances is that of their function."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        return self if instance is None else getattr(instance.__func__, self._name)


class _Text(_OfClass, str):  # noqa: SLOT000  # has a name
    pass


class _Annotations(_OfClass, dict[str, Any]):
    pass


class _OfFunctionAndInstance(type):
    """A class with the call signature of ``types.MethodType``, which WeakMethod uses."""

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

    Passes the instance as the first argument of calls and of the ``cache_*``
    methods that take the function's arguments. All instances share the cache of
    the function, unless it has ``per_instance=True``. Has ``__self__``,
    ``__func__`` and the attributes of the function. Compares and hashes like
    Python's bound methods.

    .. versionadded:: 3.0
    """
    )
    __module__ = _Text(__name__)

    __slots__ = ("_wrapper",)

    if TYPE_CHECKING:
        # Any, since type checkers would bind a wrapper that is an attribute.
        _wrapper: Any

        async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
        def cache_contains(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
        def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    else:
        __annotations__ = _Annotations()

        @property
        def __class__(self) -> type:
            # So inspect, mock, pydantic and Starlette recognise a bound method.
            return MethodType

        # Type checkers do not see the function's own attributes.
        def __getattr__(self, name: str) -> Any:
            return getattr(self._wrapper, name)

    @property
    def __func__(self) -> AlruCacheWrapper[Concatenate[Any, _P], _R]:
        """The decorated function, which is the attribute of the class."""
        wrapper: AlruCacheWrapper[Concatenate[Any, _P], _R] = self._wrapper
        return wrapper

    @property
    def __self__(self) -> Any:
        """The instance."""
        return self.__call__.__self__  # type: ignore[attr-defined]

    @property
    def _holder(self) -> _LRUCacheWrapper[_R]:
        """The object with the cache: the function, unless ``per_instance=True``."""
        holder: _LRUCacheWrapper[_R] = self._wrapper._holder_of(self.__self__)
        return holder

    @property
    def _cache(self) -> Cache:
        return self._holder._cache

    def cache_invalidate_where(self, predicate: Callable[..., object]) -> int:
        """Invalidate the instance's keys for which *predicate* returns true.

        *predicate* gets the arguments without ``self``. If keys do not contain the
        instance, because of ``key`` or ``ignore``, this acts on the keys of all
        instances, and *predicate* gets the same as through the class.
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
        """Run the method and replace the instance's value with the result."""
        return await self.__func__.cache_refresh(self.__self__, *args, **kwargs)

    def __dir__(self) -> set[str]:
        return {*dir(type(self)), *vars(self._wrapper)}

    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> "AlruCacheBoundMethod[_P, _R]":
        # Stays bound as an attribute of a class, like Python's bound methods.
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
            "gets the arguments of a call and returns whether to invalidate it"
        )


#: Make a bound method that has no function and no instance yet.
_bare_bound_method: Callable[[], Any] = type.__call__.__get__(AlruCacheBoundMethod)
