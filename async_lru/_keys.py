"""Makes keys of the arguments of calls, and arguments of keys.

The rules are those of ``functools.lru_cache``. The functions in ``_calls`` inline
``default_key``, since a Python call takes 20 % of a hit. Keep them in sync.
"""

from collections.abc import Callable, Hashable, Iterable
from inspect import Parameter
from reprlib import repr as short_repr
from typing import Any, NamedTuple, TypeAlias

from ._arguments import CATCH_ALL, Arguments, signature_of

MakeKey: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Hashable]

#: Separates the names from the values of keyword arguments in a key. As there are as many
#: names as values, it also tells them from positional arguments. Equal to nothing else.
KEYWORDS = object()


def default_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Distinguish calls by their arguments as they were passed."""
    if kwargs:
        return (*args, *kwargs, KEYWORDS, *kwargs.values())
    if len(args) == 1:
        only = args[0]
        # By this rule, functools distinguishes f(1) from f(1.0) and f(True).
        if type(only) is int or type(only) is str:
            return only
    return args


def typed_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Distinguish calls by their arguments and the types of the arguments."""
    if len(args) == 1 and not kwargs:  # three times as fast
        only = args[0]
        return only, type(only)  # pyright: ignore[reportUnknownVariableType]
    if kwargs:
        return (
            *args,
            *kwargs,
            KEYWORDS,
            *kwargs.values(),
            *map(type, args),
            *map(type, kwargs.values()),
        )
    return (*args, *map(type, args))


def called_key(key: Callable[..., Hashable]) -> MakeKey:
    """Distinguish calls by the result of the user's key function."""

    def make_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return key(*args, **kwargs)

    return make_key


def ignoring(names: Iterable[str], function: Any, make_key: MakeKey) -> MakeKey:
    """Return *make_key* for calls without the arguments of some parameters."""
    dropped = set(names)
    signature = signature_of(function, follow_wrapped=False)
    named = {
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind not in CATCH_ALL
    }
    if not dropped <= named:  # those of the function that a decorator has wrapped
        signature = signature_of(function)
    parameters = list(signature.parameters.values())
    positional = [
        parameter.name
        for parameter in parameters
        if parameter.kind
        in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    places = [place for place, name in enumerate(positional) if name not in dropped]
    count = len(positional)
    rest = extra = True
    keywords: set[str] = set()
    for parameter in parameters:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            rest = parameter.name not in dropped
        elif parameter.kind is Parameter.VAR_KEYWORD:
            extra = parameter.name not in dropped
        elif parameter.kind is not Parameter.POSITIONAL_ONLY:
            keywords.add(parameter.name)

    def make_key_of_the_rest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        left = tuple(args[place] for place in places if place < len(args))
        if rest:
            left += args[count:]
        return make_key(
            left,
            {
                name: value
                for name, value in kwargs.items()
                if (name not in dropped if name in keywords else extra)
            },
        )

    return make_key_of_the_rest


def without_first(
    first: Parameter, names: Iterable[str], function: Any, make_key: MakeKey
) -> MakeKey:
    """Like ``ignoring``, for arguments without the first one, the instance."""
    ignored = {*names}
    if first.kind is not Parameter.VAR_POSITIONAL:
        ignored.add(first.name)
    make_key_of_all = ignoring(ignored, function, make_key)
    if first.kind is Parameter.VAR_POSITIONAL:
        return make_key_of_all

    def make_key_of_the_rest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return make_key_of_all((None, *args), kwargs)

    return make_key_of_the_rest


class Keys(NamedTuple):
    """Converts the calls of one function to keys and back."""

    make: MakeKey
    arguments: Arguments
    typed: bool = False
    #: Whether a key function of the user makes the keys, so calls cannot be recovered.
    own: bool = False
    #: Whether keys include the first positional argument of the call.
    with_first: bool = True
    #: What partials and bound methods add to each call.
    bound: tuple[Any, ...] = ()

    def call_of(self, key: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments that *key* was made of."""
        items: tuple[Any, ...] = key
        if self.own or type(key) is not tuple:
            return (key,), {}
        place = next((i for i, item in enumerate(items) if item is KEYWORDS), None)
        if place is None:
            return (items[: len(items) // 2] if self.typed else items), {}
        # KEYWORDS follows the positional arguments and the names. After it come the
        # values and, if typed, the types of all arguments.
        behind = len(items) - place - 1
        count = behind - place if self.typed else behind
        names = items[place - count : place]
        values = items[place + 1 : place + 1 + count]
        return items[: place - count], dict(zip(names, values, strict=True))

    def describe(self, key: Hashable) -> str:
        """Return the arguments as text, as in a call."""
        args, kwargs = self.call_of(key)
        if self.own:
            return f" with the key {short_repr(key)}"
        given = [short_repr(value) for value in args]
        given += [f"{name}={short_repr(value)}" for name, value in kwargs.items()]
        return f"({', '.join(given)})"

    def blame(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise a TypeError with the reason, if the arguments are why there is no key."""
        self.arguments.check(args, kwargs)
        if not self.own:
            self.arguments.check_hashable(args, kwargs)

    def asked(
        self,
        question: Callable[[Hashable], bool],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> bool:
        """Return *question* of the key of a call.

        Raises TypeError if no key can be made of the arguments, or if the answer is no
        and the function does not accept them.
        """
        try:
            found = question(self.make(args, kwargs))
        except TypeError:
            self.blame(args, kwargs)
            raise
        if not found:
            self.arguments.check(args, kwargs)
        return found

    def ask(self, predicate: Callable[..., object], key: Hashable) -> bool:
        """Return whether *predicate* returns true for the call with *key*."""
        args, kwargs = self.call_of(key)
        return bool(predicate(*args, **kwargs))
