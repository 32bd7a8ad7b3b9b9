from .decorators import cached, cachedmethod

__all__ = (
    "cached",
    "cachedmethod",
)
