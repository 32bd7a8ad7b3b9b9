from .async_lru import AsyncLRU
from .async_ttl import AsyncTTL
from .async_cache import AsyncCache
