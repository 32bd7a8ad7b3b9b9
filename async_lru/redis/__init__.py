"""A second tier on Redis or Valkey: ``pip install async-lru[redis]``.

.. versionadded:: 3.0
"""

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

try:
    import redis.asyncio as _  # noqa: F401  # so that the error says what to install
except ImportError as _missing:  # pragma: no cover  # tested in another process
    raise ImportError(
        'async_lru.redis needs redis-py: install it with "pip install async-lru[redis]"'
    ) from _missing

from async_lru._tier import Tier

from ._cache import TIERED_TYPES
from ._codecs import to_json
from ._hub import Hub
from ._settings import make_settings

if TYPE_CHECKING:
    from async_lru._timed import TimedCache

__all__ = ("RedisTier",)


class RedisTier(Tier):
    """A second tier on a Redis or Valkey server, which processes and hosts share.

    >>> tier = RedisTier("redis://cache", namespace="v1")
    >>> @alru_cache(maxsize=1000, ttl=60, tier=tier)
    ... async def load(key: str) -> dict[str, str]: ...

    One tier serves any number of functions, in any number of event loops and threads.
    The server is asked only on a miss in the process. At most one process at a time runs
    the function for a key, and invalidations reach all processes. While the server does
    not answer, each process caches for itself; no call raises or hangs because of it.

    Args:
        client: A URL, as ``redis.asyncio.Redis.from_url`` takes it, or a callable that
            returns a ``redis.asyncio.Redis``, a Sentinel's master or a
            ``RedisCluster`` (redis-py 8.0 or later). The callable is called in each
            event loop, and again after contact was lost. The tier owns the client and
            closes it.
        namespace: Part of every key on the server. It is the version of what the
            functions return: when a deploy changes that, change the namespace.
            Functions with the same module and qualified name in one namespace share
            results.
        lease: The longest, in seconds, that a process killed in the middle of a run
            keeps the others waiting. A run may take longer. 5 by default.
        timeout: Seconds that a call waits for an answer from the server. After one
            timeout, the server counts as down until it answers again. 0.1 by default.
        max_bytes: Results whose encoding is larger stay in the process that made them.
            1 MiB by default.
        encode: Converts a result to bytes; JSON by default. Pass it with *decode*.
        decode: Converts the bytes back to the result.
        check: Decode each result before it is stored and compare the two. A result that
            does not survive is then an error where it is made, and never a different
            value elsewhere. True by default.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option has an invalid value.

    .. versionadded:: 3.0
    """

    def __init__(
        self,
        client: "str | Callable[[], Any]",
        *,
        namespace: str,
        lease: float = 5.0,
        timeout: float = 0.1,
        max_bytes: int = 1_048_576,
        encode: Callable[[Any], bytes] = to_json,
        decode: Callable[[bytes], Any] = json.loads,
        check: bool = True,
    ) -> None:
        self._hub = Hub(
            make_settings(
                client, namespace, lease, timeout, max_bytes, encode, decode, check
            )
        )

    def __repr__(self) -> str:
        return repr(self._hub)

    def _cache_factory(
        self, kind: "type[TimedCache]", /
    ) -> "Callable[..., TimedCache]":
        return partial(TIERED_TYPES[kind], tier=self._hub)
