"""Fresh caches for each test, or none: for unittest, and for what pytest's plugin does.

.. versionadded:: 3.0
"""

# ruff: noqa: SLF001  # part of the package
# pyright: reportPrivateUsage=false

from collections.abc import Generator
from contextlib import contextmanager

from ._registry import all_caches, disable, enable

__all__ = ("caching_disabled", "reset_caches")


def reset_caches() -> None:
    """Make every decorated function as it was when it was decorated.

    Values and counters go, closed caches take calls again, and the next call of each
    may come from any event loop without an ``AlruCacheLoopResetWarning``. Runs in flight
    go on for those who wait for them, and are not stored. Needs no running loop.
    """
    for wrapper in all_caches():
        wrapper._reset()


@contextmanager
def caching_disabled() -> Generator[None, None, None]:
    """Let every call of every decorated function run it, as with ``maxsize=0``.

    Functions that are decorated meanwhile included. Calls count as misses; nothing is
    stored, joined or served stale, and ``cache_put`` does nothing. All caches are
    reset as by :func:`reset_caches` when this begins and when it ends. It is for the whole
    process, not for one task or thread; one may be inside another.
    """
    disable()
    reset_caches()
    try:
        yield
    finally:
        enable()
        reset_caches()
