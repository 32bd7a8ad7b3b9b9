"""functools.lru_cache for asyncio."""

from ._decorator import alru_cache
from ._loops import AlruCacheLoopResetWarning
from ._stats import CacheInfo, CacheParameters
from ._wrapper import AlruCacheBoundMethod, AlruCacheWrapper

__version__ = "3.0.0"

__all__ = (
    "AlruCacheBoundMethod",
    "AlruCacheLoopResetWarning",
    "AlruCacheWrapper",
    "CacheInfo",
    "CacheParameters",
    "alru_cache",
)
