"""Estimates the memory that objects use."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any


def size_of(objects: Iterable[Any]) -> int | None:
    """Return the estimated size of *objects* and everything they refer to, in bytes.

    Returns None where Python cannot tell. Each object counts once. Modules, classes and
    functions do not count, nor does memory that objects implemented in C allocate.
    """
    if sys.implementation.name == "pypy":  # pragma: no cover
        return None
    total = 0
    seen: set[int] = set()
    pending: deque[Any] = deque(objects)
    # Keep objects that are created here alive, so that their ids are not reused.
    kept: list[Any] = []
    while pending:
        item: Any = pending.popleft()
        if id(item) in seen or issubclass(type(item), _SHARED):
            continue
        seen.add(id(item))
        kept.append(item)
        with suppress(Exception):  # a dead proxy, or changed by another thread
            total += sys.getsizeof(item, 0)
            pending.extend(_parts_of(item))
    return total


def _parts_of(item: Any) -> list[Any]:
    """Return the objects that *item* refers to."""
    if isinstance(item, (str, bytes, bytearray)):
        return []
    parts: list[Any] = []
    contents: Any = item
    if isinstance(contents, Mapping):
        parts += item.keys()
        parts += item.values()
    elif isinstance(contents, (list, tuple, set, frozenset, deque)):
        parts += item
    held = getattr(item, "__dict__", None)
    if held is not None:
        parts.append(held)
    return [*parts, *_in_slots(item)]


def _in_slots(item: Any) -> Iterator[Any]:
    """Yield the objects in the slots of *item*."""
    for kind in type(item).__mro__:
        if "__slots__" in kind.__dict__:
            # Not by name, since names may be mangled.
            for slot in list(kind.__dict__.values()):
                if isinstance(slot, MemberDescriptorType):
                    with suppress(AttributeError):  # empty
                        yield slot.__get__(item)


_SHARED: Any = (type, ModuleType, FunctionType, BuiltinFunctionType)
