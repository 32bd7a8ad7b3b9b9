"""An estimate of the memory that objects hold."""

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any


def size_of(objects: Iterable[Any]) -> int | None:
    """Return about how many bytes *objects* and what they hold take together.

    None where Python cannot tell. Each object counts once. Modules, classes and functions do not, nor does what only
    an object implemented in C knows of.
    """
    if sys.implementation.name == "pypy":  # pragma: no cover
        return None
    total = 0
    seen: set[int] = set()
    pending: deque[Any] = deque(objects)
    # What is made here must not be freed: its id would be used again.
    kept: list[Any] = []
    while pending:
        item: Any = pending.popleft()
        if id(item) in seen or isinstance(item, _SHARED):
            continue
        seen.add(id(item))
        kept.append(item)
        total += sys.getsizeof(item, 0)
        if isinstance(item, (str, bytes, bytearray)):
            continue
        contents: Any = item
        if isinstance(contents, Mapping):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(contents, (list, tuple, set, frozenset, deque)):
            pending.extend(item)
        held = getattr(item, "__dict__", None)
        if held is not None:
            pending.append(held)
        for kind in type(item).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                value = getattr(item, name, None)
                if value is not None:
                    pending.append(value)
    return total


_SHARED: Any = (type, ModuleType, FunctionType, BuiltinFunctionType)
