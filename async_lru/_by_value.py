"""Keys that compare unhashable arguments by value."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Any, cast

from ._keys import default_key

#: Types whose instances are their own value.
_ATOMS = frozenset({bool, bytes, complex, float, int, str, type(None)})


def by_value(*args: object, **kwargs: object) -> Hashable:
    """Make a key of unhashable arguments: ``alru_cache(key=by_value)``.

    Compares lists, tuples, dicts, sets, bytearrays, deques and dataclasses, nested at any
    depth, by type and contents at the time of the call. ``[1]`` and ``(1,)`` differ.
    ``{"a": 1, "b": 2}`` and ``{"b": 2, "a": 1}`` are equal, unless they are OrderedDicts.
    Other arguments are compared with ``==``. Takes time in proportion to the contents.

    Raises:
        TypeError: An argument contains an unhashable object of any other type. The
            message names the type.
        RecursionError: A container contains itself.

    .. versionadded:: 3.0
    """
    return default_key(
        tuple(frozen(value) for value in args),
        {name: frozen(value) for name, value in kwargs.items()},
    )


def frozen(value: Any) -> Any:  # noqa: PLR0911  # a case each
    """Return a hashable copy, equal to those of equal values only."""
    kind: Any = cast("Any", type(value))
    contents: Any = value
    if kind in _ATOMS:
        return value
    if isinstance(value, (list, tuple, deque)):
        return (kind, *map(frozen, contents))
    if isinstance(value, dict):
        items = [(frozen(key), frozen(held)) for key, held in contents.items()]
        is_ordered = isinstance(value, OrderedDict)
        return (kind, *items) if is_ordered else (kind, frozenset(items))
    if isinstance(value, (set, frozenset)):
        return (kind, frozenset(map(frozen, contents)))
    if isinstance(value, bytearray):
        return (kind, bytes(contents))
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields  # noqa: PLC0415  # a tenth of the import

        return (
            kind,
            *(
                frozen(getattr(value, field.name))
                for field in fields(value)
                if field.compare
            ),
        )
    try:
        hash(value)
    except (TypeError, ValueError) as error:  # the latter from a memoryview
        raise TypeError(
            f"by_value cannot make a key of {kind.__module__}.{kind.__qualname__}: it is "
            "neither hashable nor a container that by_value knows; leave it out with "
            "ignore, or pass a key function of your own"
        ) from error
    return value
