"""Copies of exceptions, to be raised to other calls."""

import builtins
import copy
from collections.abc import Callable
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypeAlias

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not a built-in class


def duplicate(error: BaseException) -> Any:
    """Return a copy of *error* without a traceback or context.

    It has the same type, args, attributes and notes, and copies of the cause, of the
    members of a group, and of exceptions among args and attributes, or in lists and
    tuples there. Does not call ``__init__``, which may take other arguments than ``args``,
    or build them, unless its type is written in C or Rust. Raises whatever a type raises
    that cannot be copied.
    """
    return _duplicate(error, {})


def twin_of(error: BaseException) -> Any:
    """Return a copy of *error* with its traceback and context.

    Later changes to either do not affect the other.
    """
    known: _Known = {}
    twin = _duplicate(error, known)
    for original, its_copy in known.values():
        its_copy.with_traceback(original.__traceback__)
        _set(its_copy, "__context__", original.__context__)
    return twin


#: Exceptions and their copies, by the ids of the former.
_Known: TypeAlias = dict[int, tuple[BaseException, BaseException]]


def _duplicate(error: BaseException, known: _Known) -> Any:
    if id(error) in known:
        return known[id(error)][1]
    kind = type(error)
    built_in: Any = kind
    while built_in.__flags__ & _HEAP_TYPE:
        built_in = built_in.__base__  # that of the same layout, if there are several
    args: Any = error.args
    twin: Any

    def own(value: Any) -> Any:
        return _own(value, known)

    if issubclass(built_in, _Groups):
        members: Any = getattr(error, "exceptions", ())
        args = getattr(error, "message", ""), list(map(own, members))
    make: Any = built_in.__new__
    try:
        twin = make(kind, *args)
    except TypeError:  # pragma: no cover  # written in C or Rust, e.g. pydantic's
        twin = copy.copy(error)
    known[id(error)] = error, twin
    for base in kind.__mro__:
        for name, attribute in vars(base).items():
            if isinstance(attribute, _FIELDS) and not name.startswith("__"):
                _copy_field(error, twin, name, own)
    # After the fields, one of which it is.
    _set(twin, "args", tuple(map(own, error.args)))
    twin.__dict__.update((name, own(value)) for name, value in vars(error).items())
    notes: Any = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        _set(twin, "__notes__", notes.copy())
    if error.__cause__ is not None:
        _set(twin, "__cause__", own(error.__cause__))
    _set(twin, "__suppress_context__", error.__suppress_context__)
    return twin


def _own(value: Any, known: _Known) -> Any:
    """Return *value*, with copies of the exceptions that it is, or has as members."""
    if type(value) in {list, tuple}:
        if any(map(_is_exception, value)):
            return type(value)(_copy_of(member, known) for member in value)
        return value
    return _copy_of(value, known)


def _copy_of(value: Any, known: _Known) -> Any:
    """Return a copy of an exception, or anything else as it is."""
    if not _is_exception(value):
        return value
    try:
        return _duplicate(value, known)
    except Exception:  # noqa: BLE001  # its type cannot be copied
        return value


def _is_exception(value: Any) -> bool:
    return issubclass(type(value), BaseException)  # isinstance would ask the value


def _copy_field(
    error: BaseException, twin: BaseException, name: str, own: Callable[[Any], Any]
) -> None:
    """Copy a slot, where many built-in exceptions keep their attributes."""
    try:
        value = getattr(error, name)
        if getattr(twin, name, _UNSET) is not value:
            _set(twin, name, own(value))
    except (AttributeError, TypeError):  # not set, or read-only
        pass


#: Sets an attribute, even if the type of the exception refuses that to others.
_set: Callable[[BaseException, str, Any], None] = BaseException.__setattr__

_UNSET = object()

_FIELDS: Any = (GetSetDescriptorType, MemberDescriptorType)

_Groups: Any = getattr(builtins, "BaseExceptionGroup", ())  # from Python 3.11 on
