"""How the arguments of a call become its key.

The rules are those of ``functools.lru_cache``. The functions in ``_calls`` repeat the
first two inline, since a Python call costs a fifth of a hit; keep the two alike.
"""

from collections.abc import Callable, Hashable, Iterable
from inspect import Parameter, signature
from typing import Any, TypeAlias

MakeKey: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Hashable]

#: Stands between the names and the values of keyword arguments, which says how many
#: of the items before it are names; equal to nothing else.
KEYWORDS = object()


def default_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Tell calls apart by their arguments as they were written."""
    if kwargs:
        return (*args, *kwargs, KEYWORDS, *kwargs.values())
    if len(args) == 1:
        only = args[0]
        # functools keeps f(1) apart from f(1.0) and f(True) by this rule.
        if type(only) is int or type(only) is str:
            return only
    return args


def typed_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Tell calls apart by their arguments and the arguments' types."""
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
    """Tell calls apart by what the user's own callable makes of them."""

    def make_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return key(*args, **kwargs)

    return make_key


def ignoring(names: Iterable[str], function: Any, make_key: MakeKey) -> MakeKey:
    """Leave the arguments of some parameters out of what *make_key* gets."""
    dropped = set(names)
    parameters = list(signature(function).parameters.values())
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


def without_first(make_key: MakeKey) -> MakeKey:
    """Leave the first argument out, which has a cache of its own."""

    def make_key_of_the_rest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return make_key(args[1:], kwargs)

    return make_key_of_the_rest
