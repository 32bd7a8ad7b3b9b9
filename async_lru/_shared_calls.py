"""The code of a plain hit in a shared cache; see ``_calls``.

It takes no lock, needs no loop and moves nothing. As far as possible, it uses objects of
its own thread: without the GIL, threads that count references of the same objects are no
faster than one thread. Values with deadlines share this code, which makes a hit 4 % slower
and saves a second copy of everything.
"""

from _thread import get_ident
from time import monotonic
from typing import Any

from ._calls import Call, call_by_hit, positional_parameters
from ._keys import KEYWORDS, default_key
from ._shared import SharedCache
from ._values import MISSING

# A KeyError means that this thread has had no hit yet. If an entry is live before and after
# ``held`` is read, ``held`` was a value, and no object that all threads use had to be read.
# The frame of a call that waits must not keep the value alive, hence ``del``. It may keep
# the entry, which is empty when its value has been dropped.


def shared_call_for_any(cache: SharedCache) -> Call:
    """Return the call of any function with default keys."""
    readers = cache.values.readers

    async def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            key: Any = (*args, *kwargs, KEYWORDS, *kwargs.values())
        elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
            key = args[0]
        else:
            key = args
        try:
            reader = readers[get_ident()]
        except KeyError:
            reader = cache.values.reader()
        try:
            entry = reader.find(key)
        except TypeError:
            cache.keys.blame(args, kwargs)
            raise
        if entry is not None and entry.live:
            held = entry.held
            if entry.live and (not reader.expires or held.fresh_until > monotonic()):
                if not entry.used:
                    entry.used = True
                reader.hits += 1
                return held.value if reader.expires else held
            del held
        return await cache.answer(key, args, kwargs)

    return call


def shared_call_for_one_parameter(cache: SharedCache) -> Call:
    """Return the call of a function with one parameter."""
    readers = cache.values.readers

    async def call(argument: Any = MISSING, /, *rest: Any, **kwargs: Any) -> Any:
        if (type(argument) is int or type(argument) is str) and not rest and not kwargs:
            key: Any = argument
        elif rest or kwargs or argument is MISSING:
            args = rest if argument is MISSING else (argument, *rest)
            key = default_key(args, kwargs)
        else:
            key = (argument,)
        try:
            reader = readers[get_ident()]
        except KeyError:
            reader = cache.values.reader()
        try:
            entry = reader.find(key)
        except TypeError:
            args = rest if argument is MISSING else (argument, *rest)
            cache.keys.blame(args, kwargs)
            raise
        if entry is not None and entry.live:
            held = entry.held
            if entry.live and (not reader.expires or held.fresh_until > monotonic()):
                if not entry.used:
                    entry.used = True
                reader.hits += 1
                return held.value if reader.expires else held
            del held
        args = rest if argument is MISSING else (argument, *rest)
        return await cache.answer(key, args, kwargs)

    return call


def shared_calls_of(cache: SharedCache, function: Any) -> tuple[Call, Call]:
    """Return the calls of the function, and of its bound methods."""
    if cache.keys.make is not default_key:
        call = call_by_hit(cache)
        return call, call
    method_call = shared_call_for_any(cache)
    _, most = positional_parameters(function)
    if most == 1:
        return shared_call_for_one_parameter(cache), method_call
    return method_call, method_call
