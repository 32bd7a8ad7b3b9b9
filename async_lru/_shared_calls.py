"""What a call of a shared cache does when it is a plain hit; see ``_calls``.

It takes no lock, asks for no loop and moves nothing. What it uses belongs to the thread,
as far as can be: where there is no GIL threads that count the same references are no
faster than one. Whether values have deadlines is asked in place, which costs 4 % and
saves writing all of it twice.
"""

from _thread import get_ident
from time import monotonic
from typing import Any

from ._calls import Call, call_by_hit, positional_parameters
from ._keys import KEYWORDS, default_key
from ._shared import SharedCache
from ._values import MISSING

# KeyError: this thread has had no hit yet. An entry that is live before and after held a
# value in between, which no look at an object that all threads use has to tell. What is
# held must not stay in the frame of a call that waits; the entry may, for it holds nothing
# when its value has been dropped.


def shared_call_for_any(cache: SharedCache) -> Call:
    """Return the call of a function with the default keys."""
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
    """Return what is called as a function, and what as a method of an instance."""
    if cache.keys.make is not default_key:
        call = call_by_hit(cache)
        return call, call
    method_call = shared_call_for_any(cache)
    _, most = positional_parameters(function)
    if most == 1:
        return shared_call_for_one_parameter(cache), method_call
    return method_call, method_call
