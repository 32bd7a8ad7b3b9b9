"""Calls of wrappers reach their coroutine function in C, without a Python frame."""

import sys
from functools import partial
from types import CodeType, MethodWrapperType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._calls import Call


class CallInSlot:
    """Calls the object in its slot ``__call__``."""

    # Python looks up __call__ in the class, finds the slot, and calls the object that the
    # slot holds for the instance.
    __slots__ = ("__call__", "__weakref__")


async def _takes_anything(*args: Any, **kwargs: Any) -> None:
    """The signature of wrappers for code that does not follow ``__wrapped__``."""


class _FunctionLike:
    """Has the attributes that inspect and mock expect of functions."""

    __slots__ = ()

    if TYPE_CHECKING:
        #: The coroutine function.
        _call: Call

    __code__: CodeType = _takes_anything.__code__
    __defaults__ = None
    __kwdefaults__ = None


if TYPE_CHECKING:

    class CallOfFunction(_FunctionLike):
        def __new__(cls, call: Call, /) -> Self: ...

elif (
    sys.version_info >= (3, 12) and sys.implementation.name == "cpython"
):  # pragma: py-lt-312

    class _Unless:
        """An attribute of partials that an attribute set by the user overrides."""

        def __init__(self, descriptor: Any) -> None:
            self._descriptor = descriptor

        def __get__(self, instance: object, owner: Any = None) -> Any:
            return self._descriptor.__get__(instance, owner)

    class CallOfFunction(_FunctionLike, partial):
        """Calls the coroutine function that it was created with.

        It is a partial, since Python calls these without packing the arguments: a hit
        takes 10 % less time, with keyword arguments 20 %. This is hidden from users.
        """

        __slots__ = ()

        _call = partial.func
        # asyncio and inspect, among others, read these of every partial.
        args = _Unless(partial.args)
        keywords = _Unless(partial.keywords)
        func = _Unless(partial.func)

        if sys.version_info[:2] == (3, 13):  # pragma: py-not-313  # pragma: no branch
            # On Python 3.13, inspect.isroutine rejects every partial, but accepts method
            # wrappers. isinstance and type still see the real type.
            @property
            def __class__(self) -> type:
                return MethodWrapperType

        def __dir__(self) -> set[str]:
            return {*dir(type(self))} - {"args", "keywords"} | self.__dict__.keys()

else:  # pragma: py-gte-312

    class CallOfFunction(_FunctionLike, CallInSlot):
        """Calls the coroutine function that it was created with."""

        __slots__ = ("__dict__",)

        _call = CallInSlot.__call__

        def __new__(cls, call: "Call", /) -> "Self":
            self = super().__new__(cls)
            self.__call__ = call
            return self
