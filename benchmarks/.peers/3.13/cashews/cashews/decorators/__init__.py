from cashews.cache_condition import NOT_NONE

from .bloom import bloom, dual_bloom
from .cache.defaults import CacheDetect, context_cache_detect
from .cache.early import early
from .cache.fail import failover, fast_condition
from .cache.hit import hit
from .cache.iterator import iterator
from .cache.simple import cache
from .cache.soft import soft
from .circuit_breaker import circuit_breaker
from .locked import locked, thunder_protection
from .rate import rate_limit
from .rate_slide import slice_rate_limit

__all__ = [
    "NOT_NONE",
    "bloom",
    "dual_bloom",
    "CacheDetect",
    "context_cache_detect",
    "early",
    "failover",
    "fast_condition",
    "hit",
    "iterator",
    "cache",
    "soft",
    "circuit_breaker",
    "locked",
    "thunder_protection",
    "rate_limit",
    "slice_rate_limit",
]
