"""What a call does, from top to bottom, when it is a hit.

There is one coroutine function for each kind of cache, chosen at decoration,
so that no call asks which options the cache has. All of them look the key up,
and leave whatever is no plain hit to ``Cache.answer``.
"""

from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from ._cache import Cache
from ._keys import KEYWORDS
from ._runs import Run
from ._store import ABSENT

Call: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

# The key is made inline, by the rule of default_key, and counters are written
# last, so that an error in a key's __hash__ or __eq__ changes nothing. A hit
# hashes its key twice. KeyError means that a key's __eq__ or another thread has
# emptied the cache under the call, which has its answer already.


def bounded_call(cache: Cache) -> Call:
    """Return the call path of a cache with a maxsize and no ttl."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            key: Any = (*args, KEYWORDS, *kwargs.items())
        elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
            key = args[0]
        else:
            key = args
        store = cache.store
        entry = store.get(key, ABSENT)
        if type(entry) is Run or get_running_loop() is not store.loop:
            return await cache.answer(store, key, entry, args, kwargs)
        try:
            store.touch(key)
        except KeyError:
            pass
        store.hits += 1
        return entry

    return call


def unbounded_call(cache: Cache) -> Call:
    """Return the call path of a cache without maxsize and ttl: it needs no order."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            key: Any = (*args, KEYWORDS, *kwargs.items())
        elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
            key = args[0]
        else:
            key = args
        store = cache.store
        entry = store.get(key, ABSENT)
        if type(entry) is Run or get_running_loop() is not store.loop:
            return await cache.answer(store, key, entry, args, kwargs)
        store.hits += 1
        return entry

    return call


def expiring_call(cache: Cache) -> Call:
    """Return the call path of a cache with a ttl."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            key: Any = (*args, KEYWORDS, *kwargs.items())
        elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
            key = args[0]
        else:
            key = args
        store = cache.store
        entry = store.get(key, ABSENT)
        loop = get_running_loop()
        if type(entry) is Run or loop is not store.loop:
            return await cache.answer(store, key, entry, args, kwargs)
        value = entry.value  # before the deadline: see Entry.empty
        if entry.deadline <= loop.time():
            store.remove(key)
            return await cache.answer(store, key, ABSENT, args, kwargs)
        try:
            store.touch(key)
        except KeyError:
            pass
        store.hits += 1
        return value

    return call


def keyed_call(cache: Cache) -> Call:
    """Return the call path of a cache with a key rule of its own and no ttl."""
    make_key = cache.make_key

    async def call(*args: Any, **kwargs: Any) -> Any:
        key = make_key(args, kwargs)
        store = cache.store
        entry = store.get(key, ABSENT)
        if type(entry) is Run or get_running_loop() is not store.loop:
            return await cache.answer(store, key, entry, args, kwargs)
        try:
            store.touch(key)
        except KeyError:
            pass
        store.hits += 1
        return entry

    return call


def keyed_expiring_call(cache: Cache) -> Call:
    """Return the call path of a cache with a key rule of its own and a ttl."""
    make_key = cache.make_key

    async def call(*args: Any, **kwargs: Any) -> Any:
        key = make_key(args, kwargs)
        store = cache.store
        entry = store.get(key, ABSENT)
        loop = get_running_loop()
        if type(entry) is Run or loop is not store.loop:
            return await cache.answer(store, key, entry, args, kwargs)
        value = entry.value  # before the deadline: see Entry.empty
        if entry.deadline <= loop.time():
            store.remove(key)
            return await cache.answer(store, key, ABSENT, args, kwargs)
        try:
            store.touch(key)
        except KeyError:
            pass
        store.hits += 1
        return value

    return call


def call_path(cache: Cache, *, default_key: bool, expiring: bool) -> Call:
    """Return the call path for a cache of that kind."""
    if expiring:
        return expiring_call(cache) if default_key else keyed_expiring_call(cache)
    if not default_key:
        return keyed_call(cache)
    return unbounded_call(cache) if cache.maxsize is None else bounded_call(cache)
