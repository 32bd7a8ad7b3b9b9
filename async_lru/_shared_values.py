"""The values and the hit counter of a cache that several threads share."""

from _thread import get_ident
from collections import OrderedDict
from collections.abc import Callable, Hashable
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
        #: None before, True while it holds a value, False after. Changes so that what
        #: is read of ``held`` first is the value if this is true then.
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


class SharedValues:
    """Takes the place of ``Values`` where hits come from many threads at once.

    A hit takes no lock and moves nothing: it finds the entry and marks it as used. All
    changes are made under *lock*. Eviction is second chance, also known as CLOCK: the
    oldest value goes, but one that was used is made the newest instead.

    A key's ``__eq__`` may change anything, or raise, while a key is looked up. So each
    change is one operation of the map, which a dict stands, and all that follows from
    it is done at once, by entry. What a dict does not stand is to be cleared, and to be
    given a key in the middle of being given it, which it may have twice then: a copy
    takes its place, and whoever finds the map replaced has to begin anew.
    """

    __slots__ = (
        "_adding",
        "_entries",
        "_expires",
        "_hand",
        "_lock",
        "_maxsize",
        "_serves",
        "readers",
    )

    def __init__(self, maxsize: int | None, lock: RLock, *, expires: bool) -> None:
        self._maxsize = maxsize
        self._lock = lock
        self._expires = expires
        #: By the thread's identifier, which a later thread may have again.
        self.readers: dict[int, Reader] = {}
        self._begin()

    def _begin(self) -> None:
        self._entries: dict[Hashable, Entry] = {}
        #: Whether a key is being added to the map.
        self._adding = False
        #: The entries that hold a value, oldest first.
        self._hand: OrderedDict[Entry, None] = OrderedDict()
        self._serves = True
        self._renew_readers()

    # Hits

    def reader(self) -> Reader:
        """Return what this thread hits with."""
        try:
            return self.readers[get_ident()]
        except KeyError:
            with self._lock:
                reader = Reader(self._find(), expires=self._expires)
                self.readers[get_ident()] = reader
                return reader

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
        return self._entries.get if self._serves else _nothing

    # All else

    def __len__(self) -> int:
        return len(self._hand)

    def items(self) -> list[tuple[Hashable, Any]]:
        """Return all keys and what is held for them."""
        held = [(entry.key, entry.held) for entry in list(self._entries.values())]
        return [item for item in held if item[1] is not MISSING]

    def get(self, key: Hashable, default: Any) -> Any:
        """Return what is held for *key*, or *default*."""
        entry = self._entries.get(key)
        held = MISSING if entry is None else entry.held
        return default if held is MISSING else held

    def use(self, key: Hashable) -> None:
        """Give the value of *key* a second chance, if it is there."""
        self._entries.get(key, _NOBODYS).used = True

    def insert(
        self, key: Hashable, value: Any, source: Source | None
    ) -> tuple[Any, Any] | None:
        """Store *value*, if its source can still be joined.

        Returns the value that it replaces and the one that it evicts, or MISSING; None
        if it was not stored.
        """
        entries, entry = self._add(Entry(key))
        evicted = MISSING
        while not entry.live and self._is_full():
            victim = self._victim()
            evicted = self._drop(victim)
            self._forget(victim)
        # Whatever the keys have done so far, nothing comes in between from here on.
        is_wanted = source is None or source.joinable
        if entries is self._entries and entry.live is not False and is_wanted:
            former, entry.held = entry.held, value
            entry.live, entry.used = True, False
            self._hand[entry] = None
            self._hand.move_to_end(entry)
            return former, evicted
        if entries is self._entries and not entry.live:
            self._drop(entry)
            self._forget(entry)
        return self.insert(key, value, source) if is_wanted else None

    def _add(self, new: Entry) -> tuple[dict[Hashable, Entry], Entry]:
        """Return the map and what it has for the key of *new*, which is added if need be."""
        if self._adding:
            self._entries = self._entries.copy()
            self._renew_readers()
        entries = self._entries
        self._adding = True
        try:
            return entries, entries.setdefault(new.key, new)
        finally:
            if entries is self._entries:
                self._adding = False

    def _is_full(self) -> bool:
        return self._maxsize is not None and len(self._hand) >= self._maxsize

    def _victim(self) -> Entry:
        """Return the entry that is to go, and give used ones before it another round."""
        hand = self._hand
        for _ in range(SECOND_CHANCES):
            entry = next(iter(hand))
            if not entry.used:
                return entry
            entry.used = False
            hand.move_to_end(entry)
        return next(iter(hand))

    def remove(self, key: Hashable, only: Any = MISSING) -> Any:
        """Take a value out and return it, or MISSING; if it is *only*, where given."""
        if only is MISSING:
            entry = self._entries.pop(key, None)
            return MISSING if entry is None else self._drop(entry)
        entry = self._entries.get(key)
        if entry is None or entry.held is not only:
            return MISSING
        self._drop(entry)
        self._forget(entry)
        return only

    def _drop(self, entry: Entry) -> Any:
        """Let an entry hold nothing any more, and return what it held."""
        self._hand.pop(entry, None)
        entry.live = False
        held, entry.held = entry.held, MISSING
        return held

    def _forget(self, entry: Entry) -> None:
        """Take an entry that holds nothing out of the map."""
        found = self._entries.pop(entry.key, None)
        if found is not None and found.live is not False:  # put in just now, by a key
            entries, there = self._add(found)
            if entries is not self._entries or there is not found:
                self._drop(found)

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Take all values out and return them with their keys."""
        entries = list(self._hand)
        self._begin()
        items = [(entry.key, entry.held) for entry in entries]
        for entry in entries:  # a hit may have found it just now
            entry.live = False
            entry.held = MISSING
        return items

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Go on in a child process: a thread that was changing the map is gone."""
        was_changing = not self._lock.acquire(blocking=False)
        self._lock = lock
        self._adding = False
        if not was_changing:
            return
        entries = list(self._entries.values())
        self._hand = OrderedDict.fromkeys(
            entry for entry in entries if entry.held is not MISSING
        )


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
