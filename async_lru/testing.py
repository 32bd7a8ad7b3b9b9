"""Fresh caches for each test, or no caching at all. The pytest plugin uses this module.

.. versionadded:: 3.0
"""

# ruff: noqa: SLF001  # part of the package
# pyright: reportPrivateUsage=false

from collections.abc import Generator
from contextlib import contextmanager

from ._registry import all_caches, disable, enable

__all__ = ("caching_disabled", "reset_caches")


def reset_caches() -> None:
    """Return every cache to its state at decoration.

    Drops values, resets counters and opens closed caches. The next call may come from
    any event loop without an ``AlruCacheLoopResetWarning``. Runs in flight continue for
    the calls that wait for them, but their results are not stored. Needs no running
    event loop.
    """
    for wrapper in all_caches():
        wrapper._reset()


@contextmanager
def caching_disabled() -> Generator[None, None, None]:
    """Disable all caches: each call runs its function, as with ``maxsize=0``.

    This includes functions that are decorated in the meantime. Calls count as misses.
    Nothing is stored, joined or served stale, and ``cache_put`` does nothing. All caches
    are reset (:func:`reset_caches`) on entry and on exit. This affects the whole process,
    not one task or thread. It can be nested.
    """
    disable()
    reset_caches()
    try:
        yield
    finally:
        enable()
        reset_caches()
