"""The values and the hit counter of a cache that several threads share."""

from _thread import get_ident
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, Final

from ._stats import Counters
from ._values import MISSING, Source

#: Values that get a second chance in one go: a cache whose values were all hit must not
#: stop everybody while it looks at each of them.
SECOND_CHANCES: Final = 128


class Entry:
    """What is held for a key, and whether calls have hit it since the hand was here.

    MISSING is held before the value is stored and after it was dropped.
    """

    __slots__ = ("gone", "held", "key", "used")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.held: Any = MISSING
        self.used = False
        #: Whether it was taken out, for good.
        self.gone = False


#: Marked as used in place of an entry that is not there.
_NOBODYS: Final = Entry(None)


class SharedValues:
    """Takes the place of ``Values`` where hits come from many threads at once.

    A hit takes no lock and moves nothing: it finds the entry and marks it as used. All
    changes are made under *lock*. Eviction is second chance, also known as CLOCK: the
    oldest value goes, but one that was used is made the newest instead.

    A key's ``__eq__`` may change anything, or raise, while a key is looked up. So each
    change is one operation of the map, which a dict stands, and all that follows from
    it is done at once, by entry. No map is ever cleared, which a dict does not stand.
    """

    __slots__ = ("_entries", "_hand", "_lock", "_maxsize", "find")

    #: Return the entry of a key for a hit, or None; nothing at all once closed.
    find: Callable[[Hashable], Entry | None]

    def __init__(self, maxsize: int | None, lock: RLock) -> None:
        self._maxsize = maxsize
        self._lock = lock
        self._begin()

    def _begin(self) -> None:
        self._entries: dict[Hashable, Entry] = {}
        #: The entries that hold a value, oldest first.
        self._hand: OrderedDict[Entry, None] = OrderedDict()
        self.find = self._entries.get

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

        Returns the value that it replaces and the one that it evicts, or MISSING. None
        if it was not stored, because its source cannot be joined any more or a key's
        ``__eq__`` cleared the map.
        """
        entries = self._entries
        entry = entries.setdefault(key, Entry(key))
        evicted = MISSING
        while entry.held is MISSING and self._is_full():
            victim = self._victim()
            evicted = self._drop(victim)
            self._forget(victim)
        # Whatever the keys have done so far, nothing comes in between from here on.
        if entries is not self._entries:
            return None
        if entry.gone or (source is not None and not source.joinable):
            if entry.held is MISSING:
                self._drop(entry)
                self._forget(entry)
            return None
        former, entry.held, entry.used = entry.held, value, False
        self._hand[entry] = None
        self._hand.move_to_end(entry)
        return former, evicted

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
        entry.gone = True
        held, entry.held = entry.held, MISSING
        return held

    def _forget(self, entry: Entry) -> None:
        """Take an entry that holds nothing out of the map."""
        found = self._entries.pop(entry.key, None)
        if found is not None and not found.gone:  # a key has put it in just now
            self._entries.setdefault(found.key, found)

    def clear(self) -> list[tuple[Hashable, Any]]:
        """Take all values out and return them with their keys."""
        entries = list(self._hand)
        self._begin()
        items = [(entry.key, entry.held) for entry in entries]
        for entry in entries:  # a hit may have found it just now
            entry.held = MISSING
        return items

    def serve_nobody(self) -> None:
        """Let no call find a value any more, until all are cleared."""
        self.find = _nothing

    def after_fork(self, lock: RLock) -> None:  # pragma: no cover  # in a child
        """Go on in a child process: a thread that was changing the map is gone."""
        was_changing = not self._lock.acquire(blocking=False)
        self._lock = lock
        if not was_changing:
            return
        entries = list(self._entries.values())
        self._hand = OrderedDict.fromkeys(
            entry for entry in entries if entry.held is not MISSING
        )


def _nothing(key: Hashable) -> Entry | None:  # noqa: ARG001
    return None


class Count:
    """How many hits one thread has had."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class SharedCounters(Counters):
    """Counters of which ``hits`` is counted under the lock, and plain hits by thread.

    No count is ever lost, since each thread adds to its own, and nobody sets it back.
    """

    __slots__ = ("_forgotten", "by_thread")

    def __init__(self) -> None:
        #: By the thread's identifier, which a later thread may have again.
        self.by_thread: dict[int, Count] = {}
        super().__init__()

    def zero(self) -> None:
        super().zero()
        self._forgotten = self._plain_hits()

    @property
    def all_hits(self) -> int:
        """Hits of any kind, in all threads."""
        return self.hits + self._plain_hits() - self._forgotten

    def add_hit(self) -> None:
        """Count a plain hit of this thread."""
        try:
            self.by_thread[get_ident()].number += 1
        except KeyError:
            self.by_thread[get_ident()] = count = Count()
            count.number = 1

    def _plain_hits(self) -> int:
        return sum(count.number for count in list(self.by_thread.values()))
