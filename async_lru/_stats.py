"""What a cache tells about itself."""

from typing import NamedTuple, TypedDict


class CacheInfo(NamedTuple):
    """What ``cache_info()`` returns: the fields of ``functools.lru_cache``'s.

    .. versionadded:: 3.0
    """

    #: Calls answered by an entry, finished or in flight.
    hits: int
    #: Calls that started a run.
    misses: int
    #: The bound on entries, or None where there is none.
    maxsize: int | None
    #: Entries held now, those whose run is still in flight included.
    currsize: int


class CacheParameters(TypedDict):
    """What ``cache_parameters()`` returns.

    .. versionadded:: 3.0
    """

    #: The bound on entries, or None where there is none.
    maxsize: int | None
    #: Whether arguments of different types are kept apart.
    typed: bool
    #: Runs in flight, those whose entry was dropped included.
    tasks: int
    #: Whether ``cache_close()`` was called.
    closed: bool
