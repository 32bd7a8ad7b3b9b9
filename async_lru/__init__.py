"""functools.lru_cache for asyncio."""

# pyright: reportPrivateUsage=false

from ._batching import batched
from ._by_value import by_value
from ._compat import _LRUCacheWrapper as _LRUCacheWrapper
from ._compat import _LRUCacheWrapperInstanceMethod as _LRUCacheWrapperInstanceMethod
from ._decorator import alru_cache
from ._loops import AlruCacheLoopResetWarning
from ._registry import all_caches
from ._stats import CacheInfo, CacheParameters, CacheStats
from ._wrapper import AlruCacheBoundMethod, AlruCacheWrapper

__version__ = "3.0.0"

__all__ = (
    "AlruCacheBoundMethod",
    "AlruCacheLoopResetWarning",
    "AlruCacheWrapper",
    "CacheInfo",
    "CacheParameters",
    "CacheStats",
    "all_caches",
    "alru_cache",
    "batched",
    "by_value",
)
