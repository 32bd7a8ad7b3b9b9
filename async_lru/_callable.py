"""How a call of a wrapper gets to its coroutine function: in C, without a frame."""

import sys
from functools import partial
from types import CodeType, MethodWrapperType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._calls import Call


class CallInSlot:
    """Calls what its slot ``__call__`` holds."""

    # Python looks for __call__ in the class, finds the slot there, and calls what that
    # gives for the instance.
    __slots__ = ("__call__", "__weakref__")


async def _takes_anything(*args: Any, **kwargs: Any) -> None:
    """What wrappers look like to those who do not follow ``__wrapped__``."""


class _FunctionLike:
    """Has what inspect and mock ask of things that look like functions."""

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
        """An attribute of partials that gives way to one that the user has set."""

        def __init__(self, descriptor: Any) -> None:
            self._descriptor = descriptor

        def __get__(self, instance: object, owner: Any = None) -> Any:
            return self._descriptor.__get__(instance, owner)

    class CallOfFunction(_FunctionLike, partial):
        """Calls the coroutine function that it was made with.

        A partial, since these are called without a tuple of the arguments: a tenth of a
        hit, a fifth with keyword arguments. Users see as little of that as can be.
        """

        __slots__ = ()

        _call = partial.func
        # Asked of all that are partials, by asyncio and inspect among others.
        args = _Unless(partial.args)
        keywords = _Unless(partial.keywords)
        func = _Unless(partial.func)

        if sys.version_info[:2] == (3, 13):  # pragma: py-not-313  # pragma: no branch
            # There inspect.isroutine says no to partials, whatever else they are, but
            # not to these. isinstance, type and the like look at the type itself.
            @property
            def __class__(self) -> type:
                return MethodWrapperType

        def __dir__(self) -> set[str]:
            return {*dir(type(self))} - {"args", "keywords"} | self.__dict__.keys()

else:  # pragma: py-gte-312

    class CallOfFunction(_FunctionLike, CallInSlot):
        """Calls the coroutine function that it was made with."""

        __slots__ = ("__dict__",)

        _call = CallInSlot.__call__

        def __new__(cls, call: "Call", /) -> "Self":
            self = super().__new__(cls)
            self.__call__ = call
            return self
