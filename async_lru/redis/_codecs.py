"""Converting results and failures to bytes, and back."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, time
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, NamedTuple, TypeAlias, cast

#: Marks of a result and of a failure, in front of its bytes.
_VALUE: Final = b"v"
_FAILURE: Final = b"e"


def to_json(value: Any) -> bytes:
    """Encode a result as JSON: the default of *encode*."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class UnreadableError(Exception):
    """What the server has for an entry cannot be decoded."""


class Codec(NamedTuple):
    """How results are converted to bytes and back."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    #: Whether to decode each result before it is stored, to see whether it survives.
    check: bool
    max_bytes: int

    def pack(self, value: Any, name: str) -> bytes | None:
        """Return a result of the function called *name* as bytes; None if too large.

        Raises TypeError if the result does not survive.
        """
        try:
            encoded: Any = self.encode(value)
            if not isinstance(encoded, bytes):
                raise TypeError(  # noqa: TRY301  # reported like any other error
                    f"encode returned {type(encoded).__qualname__}, not bytes"
                )
            survives = not self.check or is_same(value, self.decode(encoded))
        except Exception as error:
            raise self._encoding_error(
                value, name, f"its codec raised {error!r}"
            ) from error
        if not survives:
            raise self._encoding_error(value, name, "decoding gives a different value")
        return None if len(encoded) > self.max_bytes else _VALUE + encoded

    def _encoding_error(self, value: Any, name: str, why: str) -> TypeError:
        kind: Any = cast("Any", type(value))
        return TypeError(
            f"{name} returned a value of type {kind.__module__}.{kind.__qualname__} that "
            f"the second tier cannot store, since {why}: return what JSON can represent, "
            "pass encode= and decode= to RedisTier, or pass check=False to trust the codec"
        )

    def unpack(
        self, packed: bytes, failures: Mapping[type[Exception], float]
    ) -> "tuple[Any, BaseException | None]":
        """Return the result and None, or None and the failure.

        Rebuilds only failures of the types in *failures*. Raises UnreadableError.
        """
        try:
            if packed[:1] == _VALUE:
                return self.decode(packed[1:]), None
            if packed[:1] == _FAILURE:
                return None, _failure_of(json.loads(packed[1:]), failures)
        except Exception as error:
            raise UnreadableError from error
        raise UnreadableError


def pack_failure(
    error: BaseException, failures: Mapping[type[Exception], float]
) -> bytes | None:
    """Return a failure as bytes, or None if it cannot be stored.

    Its type must be in *failures*, and JSON must be able to represent its args and
    attributes.
    """
    kind: Any = type(error)
    if kind not in failures:
        return None
    parts = {
        "type": _name_of(kind),
        "args": list(error.args),
        "attributes": vars(error),
    }
    try:
        packed = to_json(parts)
        if not is_same(parts, json.loads(packed)):
            return None
        if not _have_same_fields(error, _failure_of(parts, failures)):
            return None
    except Exception:  # noqa: BLE001  # whatever its type raises when it is copied
        return None
    return _FAILURE + packed


def _failure_of(parts: Any, failures: Mapping[type[Exception], float]) -> BaseException:
    """Rebuild a failure from its parts."""
    kind = {_name_of(known): known for known in failures}[parts["type"]]
    # Without __init__, whose arguments may be other than args.
    error: BaseException = kind.__new__(kind, *parts["args"])
    error.args = tuple(parts["args"])
    vars(error).update(parts["attributes"])
    return error


def _have_same_fields(one: BaseException, other: BaseException) -> bool:
    """Return whether two failures of one type have the same in all slots."""
    names = [
        name
        for base in type(one).__mro__
        for name, attribute in vars(base).items()
        if isinstance(attribute, (GetSetDescriptorType, MemberDescriptorType))
        and not name.startswith("__")
    ]
    return all(
        is_same(getattr(one, name, None), getattr(other, name, None)) for name in names
    )


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


#: Types whose instances have no parts.
_ATOMS: Final = frozenset({bool, bytes, float, int, str, type(None)})


#: The pairs of objects that have been compared, or are, by their ids.
_Pairs: TypeAlias = dict[tuple[int, int], tuple[Any, Any]]


def is_same(one: Any, other: Any, pairs: _Pairs | None = None) -> bool:
    """Return whether two values are equal and have the same types at any depth.

    Values whose ``==`` returns no bool are not equal. What ``==`` raises is raised here.
    """
    return (
        type(one) is type(other)
        and _have_same_parts(one, other, {} if pairs is None else pairs)
        and (one == other) is True
    )


def _have_same_parts(one: Any, other: Any, pairs: _Pairs) -> bool:
    pair = id(one), id(other)
    if type(one) in _ATOMS or pair in pairs:
        return True
    pairs[pair] = one, other  # keep the ids theirs
    # Enum members, functions and types decode to the very same objects.
    return one is other or (
        _have_same_contents(one, other, pairs)
        and all(
            is_same(getattr(one, name, None), getattr(other, name, None), pairs)
            for name in _attributes_of(one)
        )
    )


def _have_same_contents(one: Any, other: Any, pairs: _Pairs) -> bool:
    """Return whether two objects of a type agree in all but attributes and equality."""
    kind: Any = cast("Any", type(one))
    if issubclass(kind, (datetime, time)):  # equality overlooks these
        return one.fold == other.fold and is_same(one.tzinfo, other.tzinfo, pairs)
    if issubclass(kind, (list, tuple, deque)):
        return len(one) == len(other) and all(
            is_same(item, twin, pairs) for item, twin in zip(one, other, strict=True)
        )
    if issubclass(kind, dict):
        return _have_same_members(one, other, pairs) and all(
            is_same(value, other[key], pairs) for key, value in one.items()
        )
    return not issubclass(kind, (set, frozenset)) or _have_same_members(
        one, other, pairs
    )


def _have_same_members(one: Any, other: Any, pairs: _Pairs) -> bool:
    """Return whether the members of two sets, or the keys of two dicts, are the same."""
    if len(one) != len(other):
        return False
    twins = {member: member for member in other}
    return all(
        member in twins and is_same(member, twins[member], pairs) for member in one
    )


def _attributes_of(value: Any) -> list[str]:
    """Return the names of an object's attributes, including its slots."""
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots: Any = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    return [name for name in names if name not in ("__dict__", "__weakref__")]
