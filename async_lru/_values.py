"""The values of a cache by their keys, in the order in which they are evicted."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, Final, Protocol, cast

#: Stands for no value.
MISSING: Final[Any] = object()

_HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()

_set_item: Any = cast("Any", dict).__setitem__

#: Without the GIL an OrderedDict takes one thread at a time, and PyPy may change threads
#: between a load and a store; CPython changes them at calls and jumps alone.
_TOUCH_NEEDS_NO_LOCK: Final[bool] = _HAS_GIL and sys.implementation.name == "cpython"

#: The argument ``last`` of ``popitem``, by position: a name costs 50 ns.
_OLDEST: Final = False


class Source(Protocol):
    """What a value comes from."""

    joinable: bool


class Values:
    """A map of values, least recently used first, that holds *maxsize* at most.

    All changes are made under *lock*. Calls do without it for ``get``, and for what
    ``use`` does. The latter is for the thread of the cache's loop alone.

    An OrderedDict looks a key up several times in one operation. A key's ``__eq__``
    that changes the map in between, or raises, leaves it broken, and may crash the
    interpreter. So a map is given up if somebody is half-way through changing or
    touching it: a copy of its items takes its place, and whoever finds the map replaced
    has to begin anew. While a map is being changed, ``touch`` does nothing. For the
    same reason no map is ever cleared.
    """

    __slots__ = (
        "_adding",
        "_changing",
        "_lock",
        "_map",
        "_maxsize",
        "_touch",
        "get",
        "touch",
        "touching",
    )

    #: A dict, or an OrderedDict where there is a bound.
    _map: Any
    #: Whether somebody is half-way through a change of it.
    _changing: bool
    #: The very key that is being added, which belongs to no copy of the map.
    _adding: Hashable

    #: Return the value of a key, or a default.
    get: Callable[[Hashable, Any], Any]
    #: Make a key the most recently used; KeyError if it is not there. See ``use``.
    touch: Callable[[Hashable], object]
    #: What ``touch`` is while the map is not being changed.
    _touch: Callable[[Hashable], object]
    #: The ``touch`` that is being called, or was when a key could not be compared.
    touching: Callable[[Hashable], object] | None

    def __init__(self, maxsize: int | None, lock: RLock) -> None:
        self._lock = lock
        self._maxsize = maxsize
        self.touching = None
        self._begin_with(self._new_map())

    def __len__(self) -> int:
        return len(self._map)

    def items(self) -> list[tuple[Hashable, Any]]:
        """Return all keys and values."""
        # An OrderedDict iterates in steps, a dict does all at once.
        return list(cast("type[dict[Hashable, Any]]", dict).items(self._map))

    def use(self, key: Hashable) -> None:
        """Make a key the most recently used, if it is there: what a hit does.

        A change that comes in between finds in ``touching`` what is being touched. An
        error leaves it there, so that the next change is made in a copy.
        """
        touching = self.touching
        touch = self.touching = self.touch
        try:
            touch(key)
        except KeyError:  # dropped just now, by another thread
            pass
        self.touching = touching

    def insert(
        self, key: Hashable, value: Any, source: Source | None
    ) -> tuple[Any, Any] | None:
        """Store *value* as the most recently used, if its source can still be joined.

        Returns the value that it replaces and the one that it evicts, or MISSING; None
        if it was not stored.
        """
        # Written out here and in remove, for 3 % of a miss. Nobody else is to have a
        # hand in the map until the end.
        values: Any = self._map
        is_busy = self._changing
        self._changing = True
        self.touch = callable
        if is_busy or self.touching is not None or values is not self._map:
            values = self._make_way(values, is_busy=is_busy)
        if source is not None and not source.joinable:
            self._changing = False
            self.touch = self._touch
            return None
        former = evicted = MISSING
        try:
            former = values.get(key, MISSING)
            if former is not MISSING:
                if self._maxsize is not None:
                    values.move_to_end(key)
                _set_item(values, key, value)  # the order is right
            else:
                self._adding = key
                values[key] = value
            if self._maxsize is not None and len(values) > self._maxsize:
                evicted = (
                    values.popitem(_OLDEST)[1] if _HAS_GIL else _pop_oldest(values)
                )
        except BaseException as error:
            # A signal handler that drops the very key replaces the map, too.
            if (  # pragma: no branch
                values is self._map or not isinstance(error, KeyError)
            ):
                self._replace(values)
                raise
        finally:
            if values is self._map:
                self._changing = False
                self._adding = MISSING
                self.touch = self._touch
        if values is not self._map:  # a key's __eq__ has changed it
            again = self.insert(key, value, source)
            # The copy may have had the value already, in place of what it replaces.
            return (
                again if again is None or again[0] is not value else (former, again[1])
            )
        return former, evicted

    def remove(self, key: Hashable, only: Any = MISSING) -> Any:
        """Take a value out and return it, or MISSING; if it is *only*, where given."""
        values: Any = self._map  # as in insert
        is_busy = self._changing
        self._changing = True
        self.touch = callable
        if is_busy or self.touching is not None or values is not self._map:
            values = self._make_way(values, is_busy=is_busy)
        try:
            value = values.get(key, MISSING)
            if only is not MISSING and value is not only:
                value = MISSING
            if value is not MISSING:
                del values[key]  # see _pop_oldest
        except BaseException:
            self._replace(values)
            raise
        finally:
            if values is self._map:
                self._changing = False
                self.touch = self._touch
        if values is not self._map:
            again = self.remove(key, only)
            return value if again is MISSING else again
        return value

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Take all values out and return them with their keys."""
        items = self.items()
        self._begin_with(self._new_map())
        return items

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Go on in a child process: the threads that were changing the map are gone."""
        self._lock = lock
        if self._changing:
            self._replace(self._map)

    def _make_way(self, values: Any, *, is_busy: bool) -> Any:
        """Begin a change with another map, if somebody is half-way through *values*."""
        # A signal handler may change anything between two lines.
        while is_busy or self._is_being_touched() or values is not self._map:
            self._replace(values)
            values = self._map
            is_busy = self._changing
            self._changing = True
            self.touch = callable
        return values

    def _is_being_touched(self) -> bool:
        return (
            self.touching is self._touch
            and _TOUCH_NEEDS_NO_LOCK
            and self._maxsize is not None
        )

    def _replace(self, broken: Any) -> None:
        """Put a copy of what is in *broken* in its place, unless that was done."""
        items = [item for item in self.items() if item[0] is not self._adding]
        copy = None
        while broken is self._map and copy is None:
            copy = self._map_of(items)
        self._map = copy if broken is self._map else self._map
        self._expose()

    def _map_of(self, items: list[tuple[Hashable, Any]]) -> Any:
        """Return a new map of *items*; if one fails take it out, and return None."""
        values = self._new_map()
        for place, (key, value) in enumerate(items):
            try:
                values[key] = value
            except Exception:  # noqa: BLE001, PERF203  # it cannot be compared
                del items[place]
                return None
        return values

    def _new_map(self) -> Any:
        plain: dict[Hashable, Any] = {}
        return plain if self._maxsize is None else OrderedDict(plain)

    def _begin_with(self, values: Any) -> None:
        self._map = values
        self._expose()

    def _expose(self) -> None:
        """Let calls use the map, in which nobody has a hand."""
        values = None
        while values is not self._map:  # a signal handler may replace it meanwhile
            values = self._map
            self._changing = False
            self._adding = MISSING
            self.get = values.get
            if self._maxsize is None:
                self._touch = callable  # there is no order to keep
            elif _TOUCH_NEEDS_NO_LOCK:
                self._touch = values.move_to_end
            else:  # pragma: gil
                self._touch = self._touch_locked
            self.touch = self._touch

    def _touch_locked(self, key: Hashable) -> None:  # pragma: gil
        with self._lock:
            if self._changing:  # by the __eq__ of a key: the order is not worth a copy
                return
            self._changing = True
            try:
                self._map.move_to_end(key)
            finally:
                self._changing = False


def _pop_oldest(values: Any) -> Any:  # pragma: gil
    """Do what popitem does, and pop: a key that raises there crashes Python 3.13t."""
    oldest = next(iter(values))
    value = values[oldest]
    del values[oldest]
    return value
