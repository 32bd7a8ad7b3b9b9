"""A second tier on Redis or Valkey: ``pip install async-lru[redis]``.

.. versionadded:: 3.0
"""

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

try:
    import redis.asyncio as _  # noqa: F401  # to tell what to install
except ImportError as _missing:  # pragma: no cover  # tried in another process
    raise ImportError(
        'async_lru.redis needs redis-py: install it with "pip install async-lru[redis]"'
    ) from _missing

from async_lru._tier import Tier

from ._cache import TIERED
from ._codecs import to_json
from ._hub import Hub
from ._settings import checked

if TYPE_CHECKING:
    from async_lru._timed import TimedCache

__all__ = ("RedisTier",)


class RedisTier(Tier):
    """A Redis or Valkey server that many processes and hosts share results through.

    >>> tier = RedisTier("redis://cache", namespace="v1")
    >>> @alru_cache(maxsize=1000, ttl=60, tier=tier)
    ... async def load(key: str) -> dict[str, str]: ...

    One tier serves any number of functions, in any number of event loops and threads.
    The server is asked on misses of the process alone; a run takes place in one process
    at a time, and invalidations reach all. Where the server does not answer each process
    caches for itself, and no call raises or hangs for it.

    Args:
        client: A URL, as ``redis.asyncio.Redis.from_url`` takes it, or a callable that
            returns a ``redis.asyncio.Redis``, a Sentinel's master or a
            ``RedisCluster`` (of redis-py 8.0 or later). It is called in each event
            loop, again whenever contact was lost, and what it returns belongs to the
            tier, which closes it.
        namespace: What the keys on the server begin with. It is the version of what
            functions return: a deploy that changes that changes it. Functions of equal
            module and name in one namespace share results.
        lease: Seconds for which a process that was killed in the middle of a run keeps
            the others waiting, at most; a run may take longer. 5 by default.
        timeout: Seconds that a call waits for an answer of the server, once: then the
            server counts as down until it answers again. 0.1 by default.
        max_bytes: Results that are larger when encoded stay in their process. 1 MiB
            by default.
        encode: Makes bytes of a result; JSON by default. With *decode*.
        decode: Makes the result of bytes again.
        check: Decode each result that is stored and compare, so that what does not
            survive is an error where it is made and never a different value elsewhere.
            True by default.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option has a value that makes no sense.

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
            checked(client, namespace, lease, timeout, max_bytes, encode, decode, check)
        )

    def __repr__(self) -> str:
        return repr(self._hub)

    def _behind(self, kind: "type[TimedCache]", /) -> "Callable[..., TimedCache]":
        return partial(TIERED[kind], tier=self._hub)
