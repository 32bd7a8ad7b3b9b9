"""The values and the hit counter of a cache that several threads share."""

from _thread import get_ident
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from threading import RLock
from typing import Any, Final, TypeAlias

from ._stats import Counters
from ._values import MISSING, Source

#: Values that get a second chance in one go: a cache whose values were all hit must not
#: stop everybody while it looks at each of them.
SECOND_CHANCES: Final = 128


class Entry:
    """What is held for a key, and whether calls have hit it since the hand was here."""

    __slots__ = ("held", "key", "live", "used")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        #: MISSING before the value is stored, and after it was dropped.
        self.held: Any = MISSING
        #: None before, True while it holds a value, and then False for good. What is read
        #: of ``held`` while no lock is held is a value if this is true before and after.
        self.live: bool | None = None
        self.used = False


class Reader:
    """What a thread hits with: its own way to find entries, and its own count.

    Two threads that hit write to nothing that both of them use. To count references is
    to write as well where there is no GIL.
    """

    __slots__ = ("expires", "find", "hits")

    def __init__(self, find: "Find", *, expires: bool) -> None:
        #: Return the entry of a key, or None; nothing at all once closed.
        self.find = find
        #: Whether what is held are values with deadlines.
        self.expires = expires
        self.hits = 0


Find: TypeAlias = Callable[[Hashable], "Entry | None"]


#: Marked as used in place of an entry that is not there.
_NOBODYS: Final = Entry(None)


class _Map:
    """Entries by their keys, and what is replaced with them."""

    __slots__ = ("entries", "hand", "is_adding")

    def __init__(
        self, entries: dict[Hashable, Entry], hand: "OrderedDict[Entry, None]"
    ) -> None:
        self.entries = entries
        #: The entries that hold a value, oldest first.
        self.hand = hand
        #: Whether a key is being added just now.
        self.is_adding = False


class SharedValues:
    """Takes the place of ``Values`` where hits come from many threads at once.

    A hit takes no lock and moves nothing: it finds the entry and marks it as used. All
    changes are made under *lock*. Eviction is second chance, also known as CLOCK: the
    oldest value goes, but one that was used is made the newest instead.

    A key's ``__eq__`` may change anything, or raise, while a key is looked up, and a
    signal handler may change anything between two lines. So an entry that was dropped is
    never used again, whoever drops it; each step is one operation of a map, which maps
    stand; and what was found is looked at once more after the last such step. What a
    dict does not stand is to be cleared, and to be given a key in the middle of being
    given it, which it may have twice then: another map takes its place, and whoever
    finds that has to begin anew.
    """

    __slots__ = ("_expires", "_lock", "_map", "_maxsize", "_serves", "readers")

    def __init__(self, maxsize: int | None, lock: RLock, *, expires: bool) -> None:
        self._maxsize = inf if maxsize is None else maxsize
        self._lock = lock
        self._expires = expires
        self._serves = True
        #: By the thread's identifier, which a later thread may have again.
        self.readers: dict[int, Reader] = {}
        self._map = _Map({}, OrderedDict())

    # Hits

    def reader(self) -> Reader:
        """Return what this thread hits with."""
        try:
            return self.readers[get_ident()]
        except KeyError:
            with self._lock:
                reader = Reader(self._find(), expires=self._expires)
                return self.readers.setdefault(get_ident(), reader)

    def hits(self) -> int:
        """Return how many hits all threads have had."""
        return sum(reader.hits for reader in list(self.readers.values()))

    def serve_nobody(self) -> None:
        """Let no call find a value any more, until all are cleared."""
        self._serves = False
        self._renew_readers()

    def _renew_readers(self) -> None:
        for reader in list(self.readers.values()):
            reader.find = self._find()

    def _find(self) -> Find:
        """Return what one thread finds entries with, which is an object of its own."""
        return self._map.entries.get if self._serves else _nothing

    # All else

    def __len__(self) -> int:
        return len(self._map.hand)

    def items(self) -> list[tuple[Hashable, Any]]:
        """Return all keys and what is held for them."""
        held = [(entry.key, entry.held) for entry in list(self._map.entries.values())]
        return [item for item in held if item[1] is not MISSING]

    def get(self, key: Hashable, default: Any) -> Any:
        """Return what is held for *key*, or *default*."""
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
            # Nothing was compared since the key was found, so all of this is still true.
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
        """Return the map and what it has for the key of *new*, which is added if need be."""
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
        """Drop and return the oldest value, but give used ones another round."""
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
        """Take a value out and return it, or MISSING; if it is *only*, where given."""
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
        """Let an entry hold nothing any more, and return what it held."""
        entry.live = False  # first: nobody is to store anything in it
        self._map.hand.pop(entry, None)
        held, entry.held = entry.held, MISSING
        return held

    def _forget(self, entry: Entry) -> None:
        """Take an entry that was dropped out of the map."""
        found = self._map.entries.pop(entry.key, None)
        if found is not None and found.live is not False:  # put in just now, by a key
            added_to, there = self._add(found)
            if added_to is not self._map or there is not found:
                self._drop(found)

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Take all values out and return them with their keys."""
        former, self._map = self._map, _Map({}, OrderedDict())
        self._serves = True
        self._renew_readers()
        # A hit may have found one just now.
        return [(entry.key, self._drop(entry)) for entry in list(former.hand)]

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Go on in a child process: a thread that was changing the map is gone."""
        was_changing = not self._lock.acquire(blocking=False)
        self._lock = lock
        if was_changing:
            entries = self._map.entries
            live = [entry for entry in list(entries.values()) if entry.live]
            self._map = _Map(entries, OrderedDict.fromkeys(live))


def _nothing(key: Hashable) -> Entry | None:  # noqa: ARG001
    return None


class SharedCounters(Counters):
    """Counters of which ``hits`` counts those under the lock, and readers all others.

    No count is ever lost, since each thread adds to its own, and nobody sets it back.
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
        forgotten = self._forgotten  # first: a thread may be zeroing just now
        return self.hits + self._values.hits() - forgotten
