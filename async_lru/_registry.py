"""All decorated functions, and whether caching is disabled."""

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._wrapper import AlruCacheWrapper

#: All decorated functions that exist, by id, in the order of decoration.
_references: "dict[int, weakref.ref[AlruCacheWrapper[..., Any]]]" = {}

#: How many more times caching was disabled than enabled.
_disabled = 0


def register(wrapper: "AlruCacheWrapper[..., Any]") -> None:
    """Add *wrapper* to ``all_caches()`` while it exists."""
    key = id(wrapper)
    references = _references  # the interpreter may clear the global at exit
    references[key] = weakref.ref(wrapper, lambda _: references.pop(key, None))


def all_caches() -> "list[AlruCacheWrapper[..., Any]]":
    """Return every decorated function that still exists, in the order of decoration.

    A method is listed once, however many instances there are, even with
    ``per_instance=True``. The registry keeps no function alive.

    .. versionadded:: 3.0
    """
    wrappers = [reference() for reference in list(_references.values())]
    return [wrapper for wrapper in wrappers if wrapper is not None]


def disable() -> None:
    """Disable caching, for caches that are created or reset from now on."""
    global _disabled  # noqa: PLW0603  # affects the whole process
    _disabled += 1


def enable() -> None:
    """Undo one call of ``disable``."""
    global _disabled  # noqa: PLW0603
    _disabled -= 1


def is_disabled() -> bool:
    """Return whether caching is disabled."""
    return _disabled > 0


def _after_fork() -> None:  # pragma: no cover  # in a child
    """Let all caches forget the threads and loops of the parent process."""
    for wrapper in all_caches():
        wrapper._after_fork()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
