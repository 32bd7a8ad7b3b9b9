"""Which decorated functions there are, and whether they cache."""

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._wrapper import AlruCacheWrapper

#: By id, in the order of their decoration, for as long as somebody holds them.
_references: "dict[int, weakref.ref[AlruCacheWrapper[..., Any]]]" = {}

#: How many times caching has been disabled and not enabled again.
_disabled = 0


def register(wrapper: "AlruCacheWrapper[..., Any]") -> None:
    """Let ``all_caches`` tell of *wrapper* while it lives."""
    key = id(wrapper)
    references = _references  # which the interpreter may have cleared when it ends
    references[key] = weakref.ref(wrapper, lambda _: references.pop(key, None))


def all_caches() -> "list[AlruCacheWrapper[..., Any]]":
    """Return every decorated function that still exists, in the order of decoration.

    What ``alru_cache`` returned, that is: a method counts once, however many instances
    it has, with ``per_instance=True`` too. Nothing is kept alive by being listed here.

    .. versionadded:: 3.0
    """
    wrappers = [reference() for reference in list(_references.values())]
    return [wrapper for wrapper in wrappers if wrapper is not None]


def disable() -> None:
    """Let the stores that are made from now on store nothing."""
    global _disabled  # noqa: PLW0603  # of the process, as the functions are
    _disabled += 1


def enable() -> None:
    """Take one ``disable`` back."""
    global _disabled  # noqa: PLW0603
    _disabled -= 1


def is_disabled() -> bool:
    """Tell whether caching is disabled."""
    return _disabled > 0


def _after_fork() -> None:  # pragma: no cover  # in a child
    """Let no cache wait for threads and loops that the parent process has."""
    for wrapper in all_caches():
        wrapper._after_fork()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
