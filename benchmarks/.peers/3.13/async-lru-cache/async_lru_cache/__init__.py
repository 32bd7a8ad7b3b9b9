from .cache import CacheStats, alru_cache

__version__ = "0.1.0"
__all__ = ["alru_cache", "CacheStats"]
