"""The values and hit counters of a cache that several threads share."""

from _thread import get_ident
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from threading import RLock
from typing import Any, Final, TypeAlias

from ._stats import Counters
from ._values import HAS_GIL, MISSING, Source

#: The maximum number of values that one eviction spares. If all values of a cache had hits,
#: an eviction must not block other threads while it checks every one of them.
SECOND_CHANCES: Final = 128


class Entry:
    """The value of a key, and whether it had hits since the hand last passed it."""

    __slots__ = ("held", "key", "live", "used")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        #: MISSING before the value is stored, and after it was dropped.
        self.held: Any = MISSING
        #: None before it holds a value, True while it does, and then False for good. If it
        #: is true before and after ``held`` is read without the lock, that was a value.
        self.live: bool | None = None
        self.used = False


class Reader:
    """The objects that the hits of one thread use: a function to find entries, a counter.

    Hits in two threads must not write to the same object. Without the GIL, counting
    references is a write, too.
    """

    __slots__ = ("expires", "find", "hits")

    def __init__(self, find: "Find", *, expires: bool) -> None:
        #: Return the entry of a key, or None; always None once the cache is closed.
        self.find = find
        #: Whether values have deadlines.
        self.expires = expires
        self.hits = 0


Find: TypeAlias = Callable[[Hashable], "Entry | None"]


#: Marked as used in place of a missing entry.
_NOBODYS: Final = Entry(None)


class _Map:
    """Entries by key, and the state that is replaced together with them."""

    __slots__ = ("entries", "hand", "is_adding")

    def __init__(
        self, entries: dict[Hashable, Entry], hand: "OrderedDict[Entry, None]"
    ) -> None:
        self.entries = entries
        #: The entries that hold a value, oldest first.
        self.hand = hand
        #: Whether a key is being added.
        self.is_adding = False


class SharedValues:
    """Replaces ``Values`` where hits come from many threads at once.

    A hit takes no lock and moves nothing: it finds the entry and marks it as used. All
    changes are made under *lock*. Eviction is second chance, also known as CLOCK: the
    oldest value is evicted, unless it was used; then it becomes the newest.

    While a key is looked up, its ``__eq__`` may change anything or raise an exception. A
    signal handler may change anything between two lines. Therefore an entry that was
    dropped is never used again, each step is a single operation on a map, and what a step
    has found is checked again after the last one. Two things corrupt a dict: clearing it,
    and adding a key while the same key is being added, which may store it twice. In these
    cases another map replaces it, and code that finds its map replaced starts again.
    """

    __slots__ = ("_expires", "_lock", "_map", "_maxsize", "_serves", "readers")

    def __init__(self, maxsize: int | None, lock: RLock, *, expires: bool) -> None:
        self._maxsize = inf if maxsize is None else maxsize
        self._lock = lock
        self._expires = expires
        self._serves = True
        #: By the identifier of the thread, which a later thread may reuse.
        self.readers: dict[int, Reader] = {}
        self._map = _Map({}, OrderedDict())

    # Hits

    def reader(self) -> Reader:
        """Return the reader of this thread."""
        try:
            return self.readers[get_ident()]
        except KeyError:
            with self._lock:
                reader = Reader(self._find(), expires=self._expires)
                return self.readers.setdefault(get_ident(), reader)

    def hits(self) -> int:
        """Return the number of hits in all threads."""
        return sum(reader.hits for reader in list(self.readers.values()))

    def serve_nobody(self) -> None:
        """Let calls find no values until all are cleared."""
        self._serves = False
        self._renew_readers()

    def _renew_readers(self) -> None:
        for reader in list(self.readers.values()):
            reader.find = self._find()

    def _find(self) -> Find:
        """Return a new object with which one thread finds entries."""
        return self._map.entries.get if self._serves else _nothing

    # Everything else

    def __len__(self) -> int:
        return len(self._map.hand)

    def items(self) -> list[tuple[Hashable, Any]]:
        """Return all keys and values."""
        held = [(entry.key, entry.held) for entry in list(self._map.entries.values())]
        return [item for item in held if item[1] is not MISSING]

    def get(self, key: Hashable, default: Any) -> Any:
        """Return the value of *key*, or *default*."""
        entry = self._map.entries.get(key)
        held = MISSING if entry is None else entry.held
        return default if held is MISSING else held

    def use(self, key: Hashable) -> None:
        """Give the value of *key* a second chance, if it is there."""
        self._map.entries.get(key, _NOBODYS).used = True

    def insert(
        self, key: Hashable, value: Any, source: Source | None
    ) -> tuple[Any, Any] | None:
        """Store *value*, if its source can still be joined.

        Returns the value that it replaces and the one that it evicts, or MISSING; None
        if it was not stored.
        """
        evicted = MISSING
        while True:
            found, entry = self._add(Entry(key))
            is_wanted = source is None or source.joinable
            if found is not self._map:
                continue
            if is_wanted and entry.live is None and len(found.hand) >= self._maxsize:
                evicted = self._evict(found.hand)
                continue
            # No key was compared since the entry was found, so all of this is still true.
            found.hand[entry] = None
            fits = len(found.hand) <= self._maxsize and entry.live is not False
            if is_wanted and fits:
                former, entry.held = entry.held, value
                entry.used = former is not MISSING
                entry.live = True
                return former, evicted
            if not entry.live:
                self._drop(entry)
                self._forget(entry)
            if not is_wanted:
                return None

    def _add(self, new: Entry) -> tuple[_Map, Entry]:
        """Return the map and its entry for the key of *new*, which is added if needed."""
        if self._map.is_adding:
            self._map = _Map(self._map.entries.copy(), self._map.hand)
            self._renew_readers()
        there = self._map
        there.is_adding = True
        try:
            return there, there.entries.setdefault(new.key, new)
        finally:
            there.is_adding = False

    def _evict(self, hand: "OrderedDict[Entry, None]") -> Any:
        """Drop and return the oldest value, but spare used ones."""
        for chances in range(SECOND_CHANCES, -1, -1):
            try:
                entry, _ = hand.popitem(last=False)
            except KeyError:  # pragma: no cover  # a signal handler has dropped them
                break
            if not entry.used or not chances:
                evicted = self._drop(entry)
                self._forget(entry)
                return evicted
            entry.used = False
            hand[entry] = None
            if not entry.live:  # pragma: no cover  # a signal handler came in between
                hand.pop(entry, None)
        return MISSING  # pragma: no cover

    def remove(self, key: Hashable, only: Any = MISSING) -> Any:
        """Remove a value (if it is *only*, where given); return it, or MISSING."""
        if only is MISSING:
            entry = self._map.entries.pop(key, None)
            return MISSING if entry is None else self._drop(entry)
        entry = self._map.entries.get(key)
        if entry is None or entry.held is not only:
            return MISSING
        self._drop(entry)
        self._forget(entry)
        return only

    def _drop(self, entry: Entry) -> Any:
        """Empty an entry and return its value."""
        entry.live = False  # first, so that nothing is stored in it
        self._map.hand.pop(entry, None)
        held, entry.held = entry.held, MISSING
        return held

    def _forget(self, entry: Entry) -> None:
        """Remove a dropped entry from the map."""
        found = self._map.entries.pop(entry.key, None)
        if found is not None and found.live is not False:  # a key's __eq__ has added it
            added_to, there = self._add(found)
            if added_to is not self._map or there is not found:
                self._drop(found)

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Remove all values and return them with their keys."""
        former, self._map = self._map, _Map({}, OrderedDict())
        self._serves = True
        self._renew_readers()
        # A hit may just have found one.
        return [(entry.key, self._drop(entry)) for entry in list(former.hand)]

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Continue in a child process, without a thread that was changing the map."""
        was_changing = not self._lock.acquire(blocking=False)
        self._lock = lock
        if was_changing and not HAS_GIL:  # see Values
            self._map = _Map({}, OrderedDict())
            self._renew_readers()
        elif was_changing:
            entries = self._map.entries
            live = [entry for entry in list(entries.values()) if entry.live]
            self._map = _Map(entries, OrderedDict.fromkeys(live))


def _nothing(key: Hashable) -> Entry | None:  # noqa: ARG001
    return None


class SharedCounters(Counters):
    """Counters of a shared cache: ``hits`` counts hits under the lock, readers all others.

    No count is ever lost, since each thread increments its own and none is ever reset.
    """

    __slots__ = ("_forgotten", "_values")

    def __init__(self, values: SharedValues) -> None:
        self._values = values
        super().__init__()

    def zero(self) -> None:
        super().zero()
        self._forgotten = self._values.hits()

    @property
    def all_hits(self) -> int:
        """Hits of any kind, in all threads."""
        forgotten = (
            self._forgotten
        )  # first: another thread may be resetting the counters
        return self.hits + self._values.hits() - forgotten
