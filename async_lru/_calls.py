"""What a call does, from top to bottom, when it is a hit, and what asks for its entry.

The functions that users call are put together from the lines that their cache needs
and no others, as ``collections.namedtuple`` puts its classes together: options that
are not used cost nothing, and nothing is written twice. What is no hit is left to
``start_run`` if it is a plain miss, and otherwise to the cache.
"""

from asyncio import CancelledError, get_running_loop
from collections.abc import Callable, Coroutine
from functools import cache as cached
from inspect import CO_VARARGS, CO_VARKEYWORDS
from textwrap import indent
from threading import get_ident
from types import FunctionType
from typing import Any, Literal, NamedTuple, TypeAlias

from ._cache import Cache
from ._failures import KeptFailure
from ._keys import KEYWORDS, MakeKey
from ._loops import GENERATED, HERE
from ._runs import ABSENT, Run
from ._starting import start_run

Call: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
Ask: TypeAlias = Callable[..., bool]


#: Rules of keys: functools', the same with types, and the user's own.
KeyRule: TypeAlias = Literal["default", "typed", "own"]


class Needs(NamedTuple):
    """What a cache needs to be done on a hit."""

    #: How the key is made.
    key: KeyRule
    #: Whether a hit changes the order of eviction.
    order: bool
    #: Whether values are held with their keys: see PairStore.
    pairs: bool
    #: Whether values have a deadline, and are of use for a time past it.
    deadline: bool
    stale: bool
    #: Whether failures are kept.
    failures: bool


class Front(NamedTuple):
    """The functions of a cache that users call with the arguments of the cached one."""

    call: Call
    #: The same for calls through an instance, their first argument.
    call_of_method: Call
    #: Whether there is an entry, ...
    contains: Ask
    #: ... and whether there was one, which is dropped.
    invalidate: Ask


# Counters are written last, so that an error in a key's __hash__ or __eq__ changes
# nothing. A hit hashes its key twice. Methods of the store are looked up before they
# are called, because Python 3.11 is slow to call what it finds in a slot. Hits are
# counted with a float, for Python allocates those faster: 2 % less.
#
# Cancelling a call that waits cancels the run only when nobody else waits for it. The
# waiter may hold the run's exception, whose traceback holds this frame.
_CALL = """
def make(cache, function, make_key, spread, name):
    async def call({parameters}):
{key}
        store = cache.store
        get = store.get
        entry = get(key, ABSENT)
        if {here}:
            if type(entry) is not Run:
{hit}
{arguments}
            if entry is ABSENT and not store.aside:
                run, waiter = start_run(key, store, function, args, kwargs{admit})
            else:
                run, waiter = cache.run_for(store, key, entry, args, kwargs)
        else:
{arguments}
            run, waiter = cache.run_in_new_loop(key, args, kwargs)
        if waiter is None:
            return run
        try:
            await waiter
        except (CancelledError, GeneratorExit):
            run.leave(waiter)
            raise
        finally:
            del waiter
        value = run.value  # as run.take_value does it
        if run.unheard == 1:
            run.value = None
        else:
            run.unheard -= 1
        return value
    return call
"""

# Makes its key inline, too, and is no method of a partial, which Python is slow to look
# up: a seventh of an invalidation on Python 3.13, a twentieth on 3.11.
_ASK = """
def make(cache, make_key):
    def ask(*args, **kwargs):
{key}
        return cache.store.{method}(key)
    return ask
"""

_HIT = """
{order}
store.hits += 1.0
return entry
"""

_HIT_OF_PAIR = """
held, value = entry
{order}
store.hits += 1.0
return value
"""

# The value is read before the deadline: see Entry.empty.
_HIT_BEFORE_DEADLINE = """
value = entry.value
if entry.deadline > store.loop.time():
{order}
    store.hits += 1.0
{give}
store.expire(key)
entry = ABSENT
"""

_HIT_FRESH_OR_STALE = """
value = entry.value
now = store.loop.time()
if entry.fresh_until > now:
    serves = True
elif entry.deadline > now:
{arguments}
    serves = cache.serves_stale(store, entry, args, kwargs, now)
else:
    serves = False
    store.expire(key)
if serves:
{order}
    store.hits += 1.0
{give}
entry = ABSENT
"""

_GIVE = "return value"

_GIVE_OR_RAISE = """
if type(value) is KeptFailure:
    raise value.again()
return value
"""

# Found by the very key that is held where that is at hand, as PairStore says. KeyError:
# a key's __eq__ or another thread has emptied the cache under the call, which has its
# answer already.
_ORDER = """
touch = store.touch
try:
    touch({key})
except KeyError:
    pass
"""

# How arguments come in, and how they go out again as args and kwargs. Where there is
# one parameter no tuple and no dict need be made: its argument is in the first when it
# came by position, and in the second, which is given the parameter's name, when it
# came by name.
_ARGUMENTS = {
    "any": ("*args, **kwargs", ""),
    "two or more": ("*args, **kwargs", ""),
    "one": (
        "argument=ABSENT, /, named=ABSENT",
        """
if named is ABSENT and argument is not ABSENT:
    args = (argument,)
    kwargs = NO_KWARGS
else:
    args, kwargs = spread(argument, named)
""",
    ),
    "self and one": (
        "self, argument=ABSENT, /, named=ABSENT",
        """
if named is ABSENT and argument is not ABSENT:
    args = (self, argument)
    kwargs = NO_KWARGS
else:
    args, kwargs = spread(argument, named, self)
""",
    ),
}

#: Shared by all calls without keyword arguments; stays empty.
NO_KWARGS: dict[str, Any] = {}

# One and two keyword arguments, as most calls with some have, are unpacked: a tenth of
# a hit before Python 3.13, and nothing after. More cost a twentieth for that.
_KEY_WITH_KEYWORDS = """
if kwargs:
    number = len(kwargs)
    if number == 1:
        (first,) = kwargs
        key = args + (first, KEYWORDS, kwargs[first])
    elif number == 2:
        first, second = kwargs
        key = args + (first, second, KEYWORDS, kwargs[first], kwargs[second])
    else:
        key = (*args, *kwargs, KEYWORDS, *kwargs.values())
""".strip()

# The rules of _keys inline, for a Python call costs a fifth of a hit.
_KEY = {
    ("default", "any"): f"""
{_KEY_WITH_KEYWORDS}
elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
    key = args[0]
else:
    key = args
""",
    ("default", "two or more"): f"""
{_KEY_WITH_KEYWORDS}
else:
    key = args  # one alone is too few, as the function will say
""",
    ("default", "one"): """
if named is ABSENT:
    if type(argument) is int or type(argument) is str:
        key = argument
    else:
        key = () if argument is ABSENT else (argument,)
elif argument is ABSENT:
    key = (name, KEYWORDS, named)
else:
    key = (argument, named)  # one too many, as the function will say
""",
    ("default", "self and one"): """
if argument is ABSENT or named is not ABSENT:
    key = make_key(*spread(argument, named, self))
else:
    key = (self, argument)
""",
    ("typed", "any"): """
if kwargs:
    key = make_key(args, kwargs)
else:
    key = (*args, *map(type, args))
""",
    ("typed", "one"): """
if argument is ABSENT or named is not ABSENT:
    key = make_key(*spread(argument, named))
else:
    key = (argument, type(argument))
""",
    ("typed", "self and one"): """
if argument is ABSENT or named is not ABSENT:
    key = make_key(*spread(argument, named, self))
else:
    key = (self, argument, type(self), type(argument))
""",
    ("own", "any"): "key = make_key(args, kwargs)",
}


def front_of(cache: Cache, needs: Needs) -> Front:
    """Return the functions for users of *cache*."""
    return Front(
        _call_of_function(cache, needs),
        _call_of_method(cache, needs),
        _asker(needs.key, "contains")(cache, cache.make_key),
        _asker(needs.key, "remove")(cache, cache.make_key),
    )


def _call_of_function(cache: Cache, needs: Needs) -> Call:
    """Return the coroutine function for calls of a cached function."""
    names = _plain_parameters(cache.function)
    if names is not None and len(names) == 1 and needs.key != "own":
        return _call(cache, needs, "one", names[0])
    return _call_of_any(cache, needs)


def _call_of_method(cache: Cache, needs: Needs) -> Call:
    """Return the coroutine function for calls through an instance, its first argument."""
    names = _plain_parameters(cache.function)
    if names is not None and len(names) == len(("self", "one")) and needs.key != "own":
        return _call(cache, needs, "self and one", names[1])
    return _call_of_any(cache, needs)


def _call_of_any(cache: Cache, needs: Needs) -> Call:
    """Return the coroutine function for calls with any number of arguments."""
    names = _plain_parameters(cache.function)
    if names is not None and needs.key == "default":
        defaults = cache.function.__defaults__ or ()
        if len(names) - len(defaults) > 1:
            return _call(cache, needs, "two or more")
    return _call(cache, needs, "any")


def makes_plain_keys(key: KeyRule, function: object) -> bool:
    """Tell whether the keys of *function* are its arguments themselves, as a rule."""
    names = _plain_parameters(function)
    return key == "default" and names is not None and len(names) == 1


def _plain_parameters(function: object) -> tuple[str, ...] | None:
    """Return the parameters of *function*, or None if some are not plain ones."""
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    if code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
        return None
    return code.co_varnames[: code.co_argcount]


def _call(cache: Cache, needs: Needs, arguments: str, name: str = "") -> Call:
    """Return the call of *cache*; *name* is that of its one parameter."""

    def spread(
        argument: Any, named: Any, *first: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return args and kwargs of a call with one parameter."""
        args = first if argument is ABSENT else (*first, argument)
        if named is ABSENT:
            return args, {}
        if argument is ABSENT:
            return args, {name: named}
        return (*args, named), {}

    call: Any = _maker(needs, arguments)(
        cache, cache.function, cache.make_key, spread, name
    )

    def renamed(variable: str) -> str:
        if variable == "named":
            return name
        # No other of that name: until Python 3.13 a debugger takes the two for one.
        return f"{variable}_" if variable == name else variable

    code = call.__code__
    call.__code__ = code.replace(
        co_varnames=tuple(map(renamed, code.co_varnames)),
        co_freevars=tuple(map(renamed, code.co_freevars)),
    )
    made: Call = call
    return made


@cached
def _maker(needs: Needs, arguments: str) -> Callable[..., Any]:
    """Return a function that makes calls of one sort."""
    parameters, passed_on = _ARGUMENTS[arguments]
    by = 4 if needs.deadline else 0
    hit, key = (_HIT_OF_PAIR, "held") if needs.pairs else (_HIT, "key")
    if needs.deadline:
        hit = _HIT_FRESH_OR_STALE if needs.stale else _HIT_BEFORE_DEADLINE
        key = "entry.key"
    hit = hit.format(
        order=_indent(_ORDER.format(key=key) if needs.order else "", by),
        give=_indent(_GIVE_OR_RAISE if needs.failures else _GIVE, by),
        arguments=_indent(passed_on, 4),
    )
    source = _CALL.format(
        parameters=parameters,
        key=_indent(_KEY[needs.key, arguments], 8),
        here=HERE,
        hit=_indent(hit, 16),
        arguments=_indent(passed_on, 12),
        admit=", store.admit_miss" if needs.stale else "",
    )
    return _made(source)


@cached
def _asker(key: KeyRule, method: str) -> Callable[[Cache, MakeKey], Ask]:
    """Return a function that makes what asks a *method* of the store."""
    return _made(_ASK.format(key=_indent(_KEY[key, "any"], 8), method=method))


def _made(source: str) -> Callable[..., Any]:
    """Return the function ``make`` of *source*."""
    names: dict[str, Any] = {
        "ABSENT": ABSENT,
        "CancelledError": CancelledError,
        "KEYWORDS": KEYWORDS,
        "KeptFailure": KeptFailure,
        "NO_KWARGS": NO_KWARGS,
        "Run": Run,
        "get_ident": get_ident,
        "get_running_loop": get_running_loop,
        "start_run": start_run,
    }
    exec(compile(source, GENERATED, "exec"), names)  # noqa: S102  # ours alone
    maker: Callable[..., Any] = names["make"]
    return maker


def _indent(lines: str, by: int) -> str:
    return indent(lines.strip("\n"), " " * by)
