"""How the arguments of a call become its key.

The rules are those of ``functools.lru_cache``. The calls in ``_calls`` repeat the
first two inline, since a Python call costs a fifth of a hit; keep the two alike.
"""

from collections.abc import Callable, Hashable
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
