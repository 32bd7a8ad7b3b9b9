"""Checks the options of alru_cache."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from inspect import Parameter, iscoroutinefunction
from math import inf, isinf
from typing import Any, NamedTuple

from ._arguments import Arguments, signature_of
from ._cache import Cache
from ._keys import (
    Keys,
    MakeKey,
    called_key,
    default_key,
    ignoring,
    typed_key,
    without_first,
)
from ._loops import ResetWarning
from ._numbers import finite_seconds, seconds
from ._runs import Function
from ._shared import SharedCache, SharedStaleCache, SharedTimedCache
from ._stale import Grace, StaleCache
from ._tier import Tier
from ._timed import Lifetime, TimedCache


class Options(NamedTuple):
    """The options, with times in seconds."""

    maxsize: int | None
    typed: bool
    #: As it was passed, for ``cache_stats()``.
    ttl: Any
    lifetime: Lifetime
    grace: Grace
    key: Callable[..., Hashable] | None
    ignore: tuple[str, ...]
    per_instance: bool
    cancel_abandoned: bool
    shared: bool
    tier: Tier | None

    def make_cache(
        self, function: Function, name: str, keys: Keys, reset_warning: ResetWarning
    ) -> Cache:
        """Return a cache for *function*, of the class that the options need."""
        kind: Any = Cache
        kinds: dict[str, Any] = {}
        if self.lifetime or self.grace:
            kind = TimedCache
            kinds["lifetime"] = self.lifetime
        if self.grace:
            kind = StaleCache
            kinds["grace"] = self.grace
        if self.shared:
            kind = _SHARED[kind]
        if self.tier is not None:
            kind = self.tier._cache_factory(kind)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        cache: Cache = kind(
            function,
            name,
            keys,
            reset_warning,
            maxsize=self.maxsize,
            ttl=self.ttl,
            cancel_abandoned=self.cancel_abandoned,
            **kinds,
        )
        return cache

    def keys(self, function: Any, name: str) -> Keys:
        """Return how to make keys of calls of *function*, whose name is *name*."""
        make: MakeKey = typed_key if self.typed else default_key
        if self.key is not None:
            make = called_key(self.key)
        own = self.key is not None
        if not self.ignore and not self.per_instance:
            arguments = Arguments(function, name)
            return Keys(make, arguments, typed=self.typed, own=own, with_first=not own)
        parameters = signature_of(function).parameters
        ignored = set(self.ignore)
        for unknown in ignored - set(parameters):
            raise ValueError(
                f"ignore={self.ignore!r}: {name} has no parameter {unknown!r}; name one "
                f"of its parameters: {', '.join(map(repr, parameters)) or 'none'}"
            )
        first = next(iter(parameters.values()), None)
        if self.per_instance and self.tier is not None:
            self._check_instance_is_ignored(name, first, ignored)
        if self.per_instance:
            if first is None or first.kind in _BY_KEYWORD:
                raise TypeError(
                    f"per_instance=True is for methods, but {name} has no parameter for "
                    "an instance: leave per_instance out"
                )
            if ignored:
                make = without_first(first, ignored, function, make)
            arguments = Arguments(partial(function, None), name, ignored)
            return Keys(make, arguments, typed=self.typed, own=own, with_first=False)
        with_first = not own and first is not None and first.name not in ignored
        make = ignoring(ignored, function, make)
        arguments = Arguments(function, name, ignored)
        return Keys(make, arguments, typed=self.typed, own=own, with_first=with_first)

    def _check_instance_is_ignored(
        self, name: str, first: Parameter | None, ignored: set[str]
    ) -> None:
        """Refuse a second tier for instances that it could not tell apart."""
        if first is not None and first.name not in ignored:
            raise ValueError(
                f"tier={self.tier!r} cannot tell the instances of {name} apart with "
                f"per_instance=True: pass ignore=({first.name!r},) too if they may share "
                "its values, or leave per_instance out and let key= say what stands "
                "for an instance"
            )


_SHARED: dict[Any, type[Cache]] = {
    Cache: SharedCache,
    TimedCache: SharedTimedCache,
    StaleCache: SharedStaleCache,
}

_BY_KEYWORD = (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)


def checked(  # noqa: PLR0917
    maxsize: int | None,
    typed: Any,
    ttl: Any,
    jitter: Any,
    key: Any,
    ignore: Any,
    per_instance: Any,
    stale_while_revalidate: Any,
    stale_if_error: Any,
    stale_if_slow: Any,
    stale_retry: Any,
    error_ttl: Any,
    cancel_abandoned: Any,
    shared: Any,
    tier: Any,
) -> Options:
    """Return the options, or raise TypeError or ValueError for the first bad one."""
    check_bool("typed", typed, " (ttl and jitter are keyword-only)")
    check_bool("per_instance", per_instance)
    check_bool("cancel_abandoned", cancel_abandoned)
    check_bool("shared", shared)
    lifetime = Lifetime(**_checked_ttl(ttl, jitter))
    grace = Grace(
        **_checked_stale(
            maxsize,
            ttl,
            stale_while_revalidate=stale_while_revalidate,
            stale_if_error=stale_if_error,
            stale_if_slow=stale_if_slow,
            stale_retry=stale_retry,
        ),
        of_failures=_checked_error_ttl(maxsize, error_ttl),
    )
    if key is not None:
        if not callable(key):
            raise TypeError(
                f"key must be callable, not {key!r}: "
                "pass a function of the arguments that returns the key"
            )
        _refuse_coroutine_function("key", key)
        if typed:
            raise ValueError(
                "typed is ignored when a custom key callable is provided: leave typed "
                f"out, and include the types in what key={key!r} returns"
            )
    return Options(
        maxsize,
        typed,
        lifetime.ttl if lifetime.of_value is None else ttl,
        lifetime,
        grace,
        key,
        _checked_ignore(ignore),
        per_instance,
        cancel_abandoned,
        shared,
        _checked_tier(tier, maxsize, lifetime),
    )


def _refuse_coroutine_function(name: str, value: Any) -> None:
    if iscoroutinefunction(value):
        raise TypeError(
            f"{name} must not be a coroutine function, as {value!r} is: define it with "
            "def"
        )


def _checked_tier(tier: Any, maxsize: int | None, lifetime: Lifetime) -> Tier | None:
    """Check the second tier, and what it needs."""
    if tier is None:
        return None
    if not isinstance(tier, Tier):
        # Without a text, which may be a URL with a password.
        told = "a str" if isinstance(tier, str) else repr(tier)
        raise TypeError(
            f"tier must be a second tier, not {told}: pass a RedisTier of "
            "async_lru.redis, or leave it out"
        )
    is_finite = lifetime.ttl is not None and 0 < lifetime.ttl < inf
    if lifetime.of_value is None and not is_finite:
        raise ValueError(
            f"tier={tier!r} requires a finite ttl above 0, not {lifetime.ttl!r}: values "
            "that other processes hold must not live for ever, so pass a ttl too"
        )
    if maxsize == 0:
        raise ValueError(
            f"tier={tier!r} has no effect with maxsize=0, which stores and shares "
            "nothing: leave one of them out"
        )
    return tier


def _checked_ttl(ttl: Any, jitter: Any) -> dict[str, Any]:
    """Check ttl and jitter."""
    found: dict[str, Any] = {}
    if callable(ttl):
        _refuse_coroutine_function("ttl", ttl)
        found["of_value"] = _lifetime_of(ttl)
    elif ttl is not None:
        found["ttl"] = seconds("ttl", ttl)
        if found["ttl"] < 0:
            raise ValueError(
                f"ttl must be a number of seconds, 0 or more, not {ttl!r}: "
                "leave it out for values that do not expire"
            )
    if jitter is not None:
        found["jitter"] = seconds("jitter", jitter)
        if ttl is None:
            raise ValueError(
                f"jitter requires ttl to be set: jitter={jitter!r} is added to the ttl "
                "of each value, so pass a ttl too or leave jitter out"
            )
        if found["jitter"] < 0 or isinf(found["jitter"]):
            raise ValueError(
                f"jitter must be non-negative and finite, not {jitter!r}: pass a number "
                "of seconds, or leave it out for none"
            )
    return found


def _lifetime_of(ttl: Callable[[Any], Any]) -> Callable[[Any], float | None]:
    """Return the ttl of a value in seconds, and check it."""

    def of_value(value: Any) -> float | None:
        found = ttl(value)
        return None if found is None else seconds("the result of ttl", found)

    return of_value


def _checked_stale(
    maxsize: int | None,
    ttl: Any,
    *,
    stale_if_slow: Any,
    stale_retry: Any,
    **options: Any,
) -> dict[str, Any]:
    """Check the options about stale values."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if ttl is None:
            raise ValueError(
                f"{name}={value!r} requires a ttl, since it takes effect after the ttl: "
                f"pass a ttl too or leave {name} out"
            )
        if maxsize == 0:
            raise ValueError(
                f"{name}={value!r} has no effect with maxsize=0, which stores nothing: "
                "leave one of them out"
            )
        found[name.removeprefix("stale_")] = finite_seconds(
            name, value, "leave it out to disable it"
        )
    for name, value in (
        ("stale_if_slow", stale_if_slow),
        ("stale_retry", stale_retry),
    ):
        if value is None:
            continue
        if not found:
            raise ValueError(
                f"{name}={value!r} requires stale_while_revalidate or "
                "stale_if_error: pass one of them or leave it out"
            )
        found[name.removeprefix("stale_")] = finite_seconds(
            name, value, "leave it out for the default"
        )
    return found


def _checked_error_ttl(maxsize: int | None, error_ttl: Any) -> dict[Any, float]:
    """Check error_ttl."""
    if error_ttl is None:
        return {}
    kinds: Any = error_ttl
    if not isinstance(error_ttl, Mapping):
        raise TypeError(
            f"error_ttl must be a mapping, not {error_ttl!r}: "
            "pass exception types and seconds, as in {LookupError: 30}"
        )
    found: dict[Any, float] = {}
    for kind, value in kinds.items():
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(
                f"error_ttl has exception types for keys, not {kind!r}: "
                "pass them as in {LookupError: 30}"
            )
        if not issubclass(kind, Exception):
            raise ValueError(  # noqa: TRY004  # it is a type
                f"error_ttl cannot keep {kind.__name__}, which is not a subclass of "
                "Exception: leave it out"
            )
        found[kind] = seconds(f"error_ttl[{kind.__name__}]", value)
        if not found[kind] > 0:
            raise ValueError(
                f"error_ttl[{kind.__name__}] must be a number of seconds above 0, not "
                f"{value!r}: leave the type out if its exceptions are not to be cached"
            )
    if found and maxsize == 0:
        raise ValueError(
            f"error_ttl={error_ttl!r} has no effect with maxsize=0, which stores "
            "nothing: leave one of them out"
        )
    return found


def _checked_ignore(ignore: Any) -> tuple[str, ...]:
    """Check ignore."""
    given: Any = ignore
    if isinstance(ignore, str) or not isinstance(ignore, Iterable):
        raise TypeError(
            f"ignore must be a tuple of parameter names, not {ignore!r}: "
            'pass them as in ("request_id",)'
        )
    names: tuple[Any, ...] = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"ignore must contain parameter names, not {name!r}: "
                'pass them as in ("request_id",)'
            )
    return names


def check_bool(option: str, value: Any, hint: str = "") -> None:
    """Raise TypeError unless *value* is a bool."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{option} must be a bool, not {value!r}: pass True or False{hint}"
        )
