"""The options of RedisTier, checked."""

import json
from collections.abc import Callable
from inspect import signature
from math import inf
from typing import Any, Final

import redis.asyncio as redis_client
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from async_lru._numbers import from_1, seconds
from async_lru._options import check_bool

from ._codecs import Codec, to_json
from ._hub import Settings
from ._protocol import Keyspace


def make_settings(  # noqa: PLR0917
    client: Any,
    namespace: Any,
    lease: Any,
    timeout: Any,
    max_bytes: Any,
    encode: Any,
    decode: Any,
    check: Any,
) -> Settings:
    """Return the options, or raise TypeError or ValueError for the first invalid one."""
    keyspace = Keyspace(_checked_namespace(namespace))
    lease = _checked_seconds("lease", lease)
    timeout = _checked_seconds("timeout", timeout)
    check_bool("check", check)
    codec = Codec(
        _checked_function("encode", encode),
        _checked_function("decode", decode),
        check,
        from_1("max_bytes", max_bytes, "pass a number of bytes"),
    )
    if (encode is to_json) is not (decode is json.loads):
        raise ValueError(
            f"encode={encode!r} and decode={decode!r} do not belong together: pass "
            "both, or neither"
        )
    make_client = _checked_client(client, timeout)
    return Settings(make_client, keyspace, lease, timeout, codec)


def _checked_client(client: Any, timeout: float) -> Callable[[], Any]:
    if callable(client):
        return lambda: _prepared(client())
    if not isinstance(client, str):
        raise TypeError(
            f"client must be a URL or a callable, not a {type(client).__qualname__}: "
            "a client belongs to one event loop, so pass a function that returns one"
        )
    try:
        parse_url(client)
    except ValueError:
        raise ValueError(  # without the URL, which may contain a password
            "client is not a valid server URL: pass one that begins with redis://, "
            "rediss:// or unix://"
        ) from None
    client_type: Any = redis_client.Redis  # its options have no types
    return lambda: _prepared(
        client_type.from_url(
            client,
            socket_connect_timeout=timeout * 10,
            socket_timeout=None,  # a blocked loop would look like an outage
            **_WITHOUT_NOTIFICATIONS,
        )
    )


def _without_notifications() -> dict[str, Any]:
    """Return the option with which a client notices that an idle connection was closed.

    With maintenance notifications, the default of redis-py 8, it does not look.
    """
    if "maint_notifications_config" not in signature(redis_client.Redis).parameters:
        return {}  # pragma: no cover  # an older version, which looks
    from redis.maint_notifications import (  # noqa: PLC0415
        MaintNotificationsConfig,
    )

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


_WITHOUT_NOTIFICATIONS: Final = _without_notifications()


def _prepared(client: Any) -> Any:
    """Return a client that sends each command only once, if it can.

    A put whose answer was lost would undo what others have changed meanwhile, if the
    client sent it again by itself.
    """
    if not all(hasattr(client, name) for name in _USED):
        raise TypeError(
            "client must return a client of redis.asyncio, not "
            f"{type(client).__qualname__}: RedisCluster needs redis-py 8.0 or later"
        )
    # A cluster's client notices only by an error that an idle connection was closed.
    retries = 1 if isinstance(client, redis_client.RedisCluster) else 0
    client.set_retry(Retry(NoBackoff(), retries))
    return client


#: Methods of clients without which there is no tier.
_USED: Final = ("initialize", "evalsha", "pubsub", "set_retry")


def _checked_namespace(namespace: Any) -> str:
    if not isinstance(namespace, str):
        raise TypeError(f"namespace must be a str, not {namespace!r}: pass a name")
    if not namespace or not namespace.isprintable() or set(namespace) & set("{} "):
        raise ValueError(
            "namespace must consist of printable characters other than spaces and "
            f"braces, not {namespace!r}: pass a name such as 'v1'"
        )
    return namespace


#: The server counts in milliseconds.
_MIN_SECONDS: Final = 0.001


def _checked_function(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}: pass a function")
    function: Callable[..., Any] = value
    return function


def _checked_seconds(name: str, value: Any) -> float:
    found = seconds(name, value)
    if not _MIN_SECONDS <= found < inf:
        raise ValueError(
            f"{name} must be a finite number of seconds, {_MIN_SECONDS} or more, not "
            f"{value!r}: leave it out for the default"
        )
    return found
