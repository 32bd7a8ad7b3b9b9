"""What a failing key leaves of an OrderedDict, and how it is put right.

An OrderedDict looks a key up more than once for some of its operations. An
``__eq__`` that raises in between leaves a key without a place in the order, or
a place without a key, and the dict is of no use from then on.
"""

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, cast

#: The argument ``last`` of popitem. By position, for a name costs 50 ns.
OLDEST = False


def take(entries: OrderedDict[Hashable, Any], key: Hashable, default: Any) -> Any:
    """Take *key* out and return its value, or *default* if it is not there."""
    try:
        return entries.pop(key, default)
    except BaseException:
        mend(entries)
        raise


def mend(entries: OrderedDict[Hashable, Any]) -> None:
    """Put *entries* right after one of its operations has raised.

    The order is that of insertion then, since the one of use may be what is in
    pieces, and a key that fails again is left out. Takes time in proportion to the
    number of entries.
    """
    plain = cast("type[dict[Hashable, Any]]", dict)
    items = list(plain.items(entries))
    entries.clear()
    for key, value in items:
        with suppress(Exception):
            entries[key] = value
