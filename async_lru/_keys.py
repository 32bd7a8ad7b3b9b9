"""How the arguments of a call become its key, and a key the arguments again.

The rules are those of ``functools.lru_cache``. The functions in ``_calls`` repeat
``default_key`` inline, since a Python call costs a fifth of a hit; keep them alike.
"""

from collections.abc import Callable, Hashable, Iterable
from inspect import Parameter
from reprlib import repr as short_repr
from typing import Any, NamedTuple, TypeAlias

from ._arguments import Arguments, signature_of

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
    if len(args) == 1 and not kwargs:  # takes a third of the time
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
    """Tell calls apart by what the user's own callable makes of them."""

    def make_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return key(*args, **kwargs)

    return make_key


def ignoring(names: Iterable[str], function: Any, make_key: MakeKey) -> MakeKey:
    """Leave the arguments of some parameters out of what *make_key* gets."""
    dropped = set(names)
    parameters = list(signature_of(function).parameters.values())
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
    """Do what ``ignoring`` does, for arguments from which the first was taken."""
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
    """How one function's calls become keys, and keys calls again."""

    make: MakeKey
    arguments: Arguments
    typed: bool = False
    #: Whether keys are the user's own, from which no call can be made again.
    own: bool = False
    #: Whether keys have the first positional argument of the call.
    with_first: bool = True

    def call_of(self, key: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the keyword arguments that *key* was made of."""
        items: tuple[Any, ...] = key
        if self.own or type(key) is not tuple:
            return (key,), {}
        place = next((i for i, item in enumerate(items) if item is KEYWORDS), None)
        if place is None:
            return (items[: len(items) // 2] if self.typed else items), {}
        # Before the mark are positional arguments and names, behind it the values,
        # and the types of both kinds of arguments if they count.
        behind = len(items) - place - 1
        count = behind - place if self.typed else behind
        names = items[place - count : place]
        values = items[place + 1 : place + 1 + count]
        return items[: place - count], dict(zip(names, values, strict=True))

    def describe(self, key: Hashable) -> str:
        """Return the arguments as they look in a call."""
        args, kwargs = self.call_of(key)
        if self.own:
            return f" with the key {short_repr(key)}"
        given = [short_repr(value) for value in args]
        given += [f"{name}={short_repr(value)}" for name, value in kwargs.items()]
        return f"({', '.join(given)})"

    def blame(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise a TypeError if it is because of the arguments that there is no key."""
        self.arguments.check(args, kwargs)
        if not self.own:
            self.arguments.check_hashable(args, kwargs)

    def asked(
        self,
        question: Callable[[Hashable], bool],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> bool:
        """Put a question about the key of a call.

        Raises TypeError if no key can be made of the arguments, or if the answer is no
        and the function does not take them.
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
        """Tell whether *predicate* says True of the call that has *key*."""
        args, kwargs = self.call_of(key)
        return bool(predicate(*args, **kwargs))
