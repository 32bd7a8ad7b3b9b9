"""Keys as bytes: the same in every process, and equal if and only if the keys are."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from hashlib import blake2b
from math import isfinite
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from async_lru._keys import KEYWORDS, Keys

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of a hash: enough that no two keys ever share one.
_DIGEST_SIZE: Final = 16

#: The largest exponent of a Decimal: its exact ratio has as many digits.
_MAX_DIGITS: Final = 10_000


class NotCanonicalError(TypeError):
    """An argument may look different in another process."""


def hash_of(keys: Keys, key: Any, name: str, salt: bytes) -> str:
    """Return the hash of a *key* of the function called *name*, in hex.

    *salt* is what ``salt_of`` returns for the function.

    Raises TypeError that names the argument, if one is not canonical.
    """
    try:
        text = _encoded(key)
    except NotCanonicalError as error:
        raise _argument_error(keys, key, name, error) from None
    return blake2b(salt + text, digest_size=_DIGEST_SIZE).hexdigest()


def salt_of(keys: Keys, name: str) -> bytes:
    """Return what tells this function from others of its name: its bound arguments.

    Raises TypeError if one is not canonical and no key function stands for it.
    """
    if not keys.bound:
        return b""
    types = tuple(map(type, keys.bound)) if keys.typed else ()
    try:
        return _encoded((keys.bound, types))
    except NotCanonicalError as error:
        if keys.own:
            return b""
        raise TypeError(
            f"the second tier cannot tell {name}, bound to {short_repr(keys.bound)}, from "
            f"others of that name, since {error}: decorate a function of its own that "
            "makes the call, or pass a key= that gives each of them other keys; "
            f"{_ACCEPTED_TYPES}"
        ) from None


def _argument_error(
    keys: Keys, key: Any, name: str, error: NotCanonicalError
) -> TypeError:
    """Return an error that names the argument that is not canonical."""
    args, kwargs = keys.call_of(key)
    where = f"{name}: the second tier cannot use the key {short_repr(key)}"
    remedy = "return something else from the key function"
    if not keys.own:
        named = keys.arguments.named(args, kwargs).items()
        bad = [argument for argument in named if not _is_canonical(argument[1])]
        for argument, value in bad[:1] or list(named):
            where = (
                f"{name} was called with {argument}={short_repr(value)}, which the "
                "second tier cannot use in a key"
            )
            remedy = (
                "pass key= to alru_cache to say what stands for it, or "
                f"ignore=({argument!r},)"
            )
    return TypeError(f"{where}, since {error}: {remedy}; {_ACCEPTED_TYPES}")


def _is_canonical(value: Any) -> bool:
    try:
        _encoded(value)
    except NotCanonicalError:
        return False
    return True


_ACCEPTED_TYPES: Final = (
    "keys can contain str, int, float, bool, None, bytes, tuples, frozensets, enums, "
    "UUIDs, dates and times, and decimals"
)


def _encoded(value: Any) -> bytes:
    """Return bytes that are equal for equal values and different for others."""
    kind: Any = cast("Any", type(value))
    encode = _ENCODERS.get(kind)
    if encode is None:
        encode = _encoder_of(value, kind)
    return encode(value)


def _encoder_of(value: Any, kind: Any) -> "Callable[[Any], bytes]":
    """Return the encoder of a value whose type is not in _ENCODERS."""
    if value is KEYWORDS:
        return lambda _: b"K"
    if issubclass(kind, type):
        return _of_type
    # Subclasses that compare and hash like their plain base are encoded like it:
    # IntEnum, StrEnum, named tuples.
    for base in kind.__mro__:
        if base in _ENCODERS and base not in (UUID, type(None)):
            if kind.__eq__ is base.__eq__ and kind.__hash__ is base.__hash__:
                return _ENCODERS[base]
            break
    if isinstance(value, Enum) and kind.__eq__ in (object.__eq__, Enum.__eq__):
        return _of_enum
    raise NotCanonicalError(
        f"{kind.__module__}.{kind.__qualname__} may look different in another process"
    )


def _framed(tag: bytes, *parts: bytes) -> bytes:
    """Join *parts* so that no other parts give the same bytes."""
    sizes = b",".join(b"%d" % len(part) for part in parts)
    return b"%b%b:%b" % (tag, sizes, b"".join(parts))


def _of_none(_: None) -> bytes:
    return b"N"


def _of_int(value: int) -> bytes:
    return b"i%x;" % value if value >= 0 else b"i-%x;" % -value


def _of_float(value: float) -> bytes:
    if not isfinite(value):
        return b"f%b;" % repr(float(value)).encode()
    return _of_ratio(*value.as_integer_ratio())


def _of_decimal(value: Decimal) -> bytes:
    if not value.is_finite():
        return _of_float(float(value)) if not value.is_snan() else b"fsnan;"
    if abs(value.adjusted()) > _MAX_DIGITS:
        raise NotCanonicalError(f"{value!r} has too large an exponent")
    return _of_ratio(*value.as_integer_ratio())


def _of_ratio(numerator: int, denominator: int) -> bytes:
    """Encode a number of any type, as a ratio in lowest terms."""
    if denominator == 1:
        return _of_int(numerator)
    return b"q%b%b" % (_of_int(numerator), _of_int(denominator))


def _of_str(value: str) -> bytes:
    return _framed(b"s", value.encode("utf-8", "surrogatepass"))


def _of_bytes(value: bytes) -> bytes:
    return _framed(b"b", value)


def _of_tuple(value: "tuple[Any, ...]") -> bytes:
    return _framed(b"t", *map(_encoded, value))


def _of_frozenset(value: "frozenset[Any]") -> bytes:
    return _framed(b"z", *sorted(map(_encoded, value)))


def _of_uuid(value: UUID) -> bytes:
    return b"u" + value.bytes


def _of_datetime(value: datetime) -> bytes:
    value = value.replace(fold=0)  # as comparisons in one zone and hashes do
    offset = value.utcoffset()
    wall = value.replace(tzinfo=None)
    if offset is None:
        return b"dn%b;" % wall.isoformat().encode()
    later = value.replace(fold=1).utcoffset()
    if later is not None and later != offset:
        # Clocks were changed. Such times are equal to no time of another zone.
        parts = wall.isoformat(), str(offset), str(later)
        zone = str(getattr(value.tzinfo, "key", ""))  # the name of a ZoneInfo
        return _framed(b"dz", *(part.encode() for part in (*parts, zone)))
    return b"da%b" % _of_timedelta(wall - _EPOCH - offset)


_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # offsets are subtracted


def _of_date(value: date) -> bytes:
    return b"D%b;" % value.isoformat().encode()


def _of_time(value: time) -> bytes:
    value = value.replace(fold=0)
    since = timedelta(
        hours=value.hour,
        minutes=value.minute,
        seconds=value.second,
        microseconds=value.microsecond,
    )
    offset = value.utcoffset()
    if offset is None:
        return b"hn%b" % _of_timedelta(since)
    return b"ha%b" % _of_timedelta(since - offset)


def _of_timedelta(value: timedelta) -> bytes:
    return b"T%d,%d,%d;" % (value.days, value.seconds, value.microseconds)


def _of_type(value: Any) -> bytes:
    """Encode a type: ``typed`` and ``by_value`` put types into keys."""
    if "<locals>" in value.__qualname__:
        raise NotCanonicalError(f"{value!r} is defined inside a function")
    return _framed(b"c", value.__module__.encode(), value.__qualname__.encode())


def _of_enum(value: Any) -> bytes:
    name = repr(value.value) if isinstance(value, Flag) else value.name
    return _framed(b"e", _of_type(type(value)), name.encode())


_ENCODERS: "Final[dict[Any, Callable[[Any], bytes]]]" = {
    type(None): _of_none,
    bool: _of_int,
    int: _of_int,
    float: _of_float,
    Decimal: _of_decimal,
    str: _of_str,
    bytes: _of_bytes,
    tuple: _of_tuple,
    frozenset: _of_frozenset,
    UUID: _of_uuid,
    datetime: _of_datetime,
    date: _of_date,
    time: _of_time,
    timedelta: _of_timedelta,
}
