"""The values of a cache by key, in the order of eviction."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, Final, Protocol, cast

#: Stands for no value.
MISSING: Final[Any] = object()

#: Whether the interpreter runs one thread at a time.
HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()

_set_item: Any = cast("Any", dict).__setitem__

#: Without the GIL, only one thread at a time may use an OrderedDict. PyPy may switch
#: threads between a load and a store; CPython switches at calls and jumps only.
_TOUCH_NEEDS_NO_LOCK: Final[bool] = HAS_GIL and sys.implementation.name == "cpython"

#: The argument ``last`` of ``popitem``, passed by position: a keyword costs 50 ns.
_OLDEST: Final = False


class Source(Protocol):
    """The run that a value comes from."""

    joinable: bool


class Values:
    """A map of at most *maxsize* values, least recently used first.

    It changes under *lock*. Calls need no lock for ``get`` and ``use``, but only the thread
    of the cache's loop may call ``use``.

    An OrderedDict looks up a key several times in one operation. If a key's ``__eq__``
    changes the map in between, or raises an exception, the map is corrupt and may crash
    the interpreter. So a map is abandoned if a change or a touch of it is unfinished: a
    copy of its items replaces it, and code that finds its map replaced starts again. While
    a map is being changed, ``touch`` does nothing. For the same reason, no map is ever
    cleared.
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

    #: A dict, or an OrderedDict if there is a maxsize.
    _map: Any
    #: Whether a change of the map is unfinished.
    _changing: bool
    #: The key that is being added, which must not get into a copy of the map.
    _adding: Hashable

    #: Return the value of a key, or a default.
    get: Callable[[Hashable, Any], Any]
    #: Make a key the most recently used; KeyError if it is missing. See ``use``.
    touch: Callable[[Hashable], object]
    #: The value of ``touch`` while the map is not being changed.
    _touch: Callable[[Hashable], object]
    #: The ``touch`` that is being called, or that failed since keys raised an exception.
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
        # An OrderedDict iterates step by step, a dict does it in one operation.
        return list(cast("type[dict[Hashable, Any]]", dict).items(self._map))

    def use(self, key: Hashable) -> None:
        """Make a key the most recently used, if it is there. Each hit does this.

        If a change happens in between, it sees in ``touching`` that the map is being
        touched. An exception leaves it set, so that the next change is made in a copy.
        """
        touching = self.touching
        touch = self.touching = self.touch
        try:
            touch(key)
        except KeyError:  # another thread has just dropped it
            pass
        self.touching = touching

    def insert(
        self, key: Hashable, value: Any, source: Source | None
    ) -> tuple[Any, Any] | None:
        """Store *value* as the most recently used, if its source can still be joined.

        Returns the value that it replaces and the one that it evicts, or MISSING; None
        if it was not stored.
        """
        # Written out here and in remove: makes a miss 3 % faster. Until the end, no other
        # code may change this map.
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
                evicted = values.popitem(_OLDEST)[1] if HAS_GIL else _pop_oldest(values)
        except BaseException as error:
            # A signal handler that drops the very key replaces the map, too.
            if (  # pragma: no branch
                values is self._map or not isinstance(error, KeyError)
            ):
                self._replace(values)
                raise
        if values is self._map:
            self._changing = False
            self._adding = MISSING
            self.touch = self._touch
            return former, evicted
        again = self.insert(key, value, source)  # a key's __eq__ has changed the map
        # The copy may have had the value already, in place of what it replaces.
        return again if again is None or again[0] is not value else (former, again[1])

    def remove(self, key: Hashable, only: Any = MISSING) -> Any:
        """Remove a value (if it is *only*, where given); return it, or MISSING."""
        values: Any = self._map  # as in insert
        is_busy = self._changing
        self._changing = True
        self.touch = callable
        if is_busy or self.touching is not None or values is not self._map:
            values = self._make_way(values, is_busy=is_busy)
        try:
            value = values.get(key, MISSING)
            if value is not MISSING and (only is MISSING or value is only):
                del values[key]  # see _pop_oldest
            else:
                value = MISSING
        except BaseException:
            self._replace(values)
            raise
        if values is self._map:
            self._changing = False
            self.touch = self._touch
            return value
        again = self.remove(key, only)
        return value if again is MISSING else again

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Remove all values and return them with their keys."""
        items = self.items()
        self._begin_with(self._new_map())
        return items

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Continue in a child process, without the threads that were changing the map."""
        is_locked = not self._lock.acquire(blocking=False)
        self._lock = lock
        if is_locked and not HAS_GIL:
            # CPython locks each object: the map may be locked by a thread that is gone.
            self._begin_with(self._new_map())
        elif self._changing:
            self._replace(self._map)

    def _make_way(self, values: Any, *, is_busy: bool) -> Any:
        """Start a change with another map, if a change of *values* is unfinished."""
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
        """Replace *broken* with a copy, unless it has been replaced already."""
        items = [item for item in self.items() if item[0] is not self._adding]
        copy = None
        while broken is self._map and copy is None:
            copy = self._map_of(items)
        self._map = copy if broken is self._map else self._map
        self._expose()

    def _map_of(self, items: list[tuple[Hashable, Any]]) -> Any:
        """Return a new map of *items*; if an item fails, remove it and return None."""
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
        """Let calls use the map, when no change of it is unfinished."""
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
            if self._changing:  # by a key's __eq__; the order is not worth a copy
                return
            self._changing = True
            try:
                self._map.move_to_end(key)
            finally:
                self._changing = False


def _pop_oldest(values: Any) -> Any:  # pragma: gil
    """Like popitem, in which a key that raises an exception crashes Python 3.13t."""
    oldest = next(iter(values))
    value = values[oldest]
    del values[oldest]
    return value
