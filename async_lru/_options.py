"""The options of alru_cache, checked."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import timedelta
from inspect import Parameter, signature
from math import inf, isinf, isnan, nan
from typing import Any, NamedTuple

from ._calls import KeyRule, Needs, makes_plain_keys
from ._expiring import Lifetimes
from ._keys import MakeKey, called_key, default_key, ignoring, typed_key, without_first


class Options(NamedTuple):
    """What was asked for, with times in seconds."""

    maxsize: int | None
    typed: bool
    #: As it was given, for those who ask.
    ttl: Any
    lifetimes: Lifetimes
    key: Callable[..., Hashable] | None
    ignore: tuple[str, ...]
    per_instance: bool

    def needs(self, function: Any) -> Needs:
        """Return what a hit of *function* needs."""
        rule: KeyRule = "typed" if self.typed else "default"
        if self.key is not None or self.ignore or self.per_instance:
            rule = "own"
        order = self.maxsize is not None
        deadline = bool(self.lifetimes)
        return Needs(
            rule,
            order=order,
            pairs=order and not deadline and not makes_plain_keys(rule, function),
            deadline=deadline,
            stale=bool(self.lifetimes.stale),
            failures=bool(self.lifetimes.of_failures),
        )

    def make_key(self, function: Any, name: str) -> MakeKey:
        """Return what makes the keys of *function*, which is called *name*."""
        make_key: MakeKey = typed_key if self.typed else default_key
        if self.key is not None:
            make_key = called_key(self.key)
        if not self.ignore and not self.per_instance:
            return make_key
        parameters = signature(function).parameters
        ignored = set(self.ignore)
        for unknown in ignored - set(parameters):
            raise ValueError(
                f"ignore={self.ignore!r}: {name} has no parameter {unknown!r}, but "
                f"{', '.join(map(repr, parameters)) or 'none'}; name one of these"
            )
        if self.per_instance:
            first = next(iter(parameters.values()), None)
            if first is None or first.kind in _BY_KEYWORD:
                raise TypeError(
                    f"per_instance=True is for methods, and {name} has no parameter for "
                    "an instance: leave per_instance out"
                )
            if first.kind is Parameter.VAR_POSITIONAL:
                return without_first(ignoring(ignored, function, make_key))
            ignored.add(first.name)
        return ignoring(ignored, function, make_key)


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
    stale_retry: Any,
    error_ttl: Any,
) -> Options:
    """Return the options, or raise TypeError or ValueError for the first bad one."""
    _check_bool("typed", typed, " (ttl and jitter are keyword-only)")
    _check_bool("per_instance", per_instance)
    lifetimes = Lifetimes(
        **_checked_ttl(ttl, jitter),
        **_checked_stale(
            maxsize,
            ttl,
            stale_while_revalidate=stale_while_revalidate,
            stale_if_error=stale_if_error,
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
        if typed:
            raise ValueError(
                f"typed=True has no effect with key={key!r}: leave typed out and "
                "put the types into the key"
            )
    return Options(
        maxsize,
        typed,
        lifetimes.ttl if lifetimes.of_value is None else ttl,
        lifetimes,
        key,
        _checked_ignore(ignore),
        per_instance,
    )


def _checked_ttl(ttl: Any, jitter: Any) -> dict[str, Any]:
    """Check ttl and jitter."""
    found: dict[str, Any] = {}
    if callable(ttl):
        found["of_value"] = _lifetime_of(ttl)
    elif ttl is not None:
        seconds = found["ttl"] = _seconds("ttl", ttl)
        if not seconds > 0:
            raise ValueError(
                f"ttl must be a number of seconds above 0, not {ttl!r}: "
                "leave it out for entries that do not expire"
            )
    if jitter is not None:
        seconds = found["jitter"] = _seconds("jitter", jitter)
        if ttl is None:
            raise ValueError(
                f"jitter={jitter!r} requires a ttl: it is added to the ttl of each "
                "entry, so pass a ttl too or leave the jitter out"
            )
        if seconds < 0 or isinf(seconds):
            raise ValueError(
                f"jitter must be a finite number of seconds from 0 up, not {jitter!r}: "
                "leave it out for none"
            )
    return found


def _lifetime_of(ttl: Callable[[Any], Any]) -> Callable[[Any], float | None]:
    """Return the ttl of a value in seconds, and check it."""

    def of_value(value: Any) -> float | None:
        seconds = ttl(value)
        return None if seconds is None else _seconds("the result of ttl", seconds)

    return of_value


def _checked_stale(
    maxsize: int | None, ttl: Any, *, stale_retry: Any, **options: Any
) -> dict[str, Any]:
    """Check the options about values past their time."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if ttl is None:
            raise ValueError(
                f"{name}={value!r} requires a ttl: it is about what comes after it, so "
                f"pass a ttl too or leave {name} out"
            )
        if maxsize == 0:
            raise ValueError(
                f"{name}={value!r} has no effect with maxsize=0, which stores nothing: "
                "leave one of them out"
            )
        found[name] = _seconds_from_0(name, value)
    if stale_retry is not None:
        if not found:
            raise ValueError(
                f"stale_retry={stale_retry!r} requires stale_while_revalidate or "
                "stale_if_error: pass one of them or leave it out"
            )
        found["retry"] = _seconds_from_0("stale_retry", stale_retry)
    return found


def _checked_error_ttl(maxsize: int | None, error_ttl: Any) -> dict[Any, float]:
    """Check the option about failures that are kept."""
    if error_ttl is None:
        return {}
    kinds: Any = error_ttl
    if not isinstance(error_ttl, Mapping):
        raise TypeError(
            f"error_ttl must be a mapping, not {error_ttl!r}: "
            "pass types of exceptions and seconds, as in {LookupError: 30}"
        )
    found: dict[Any, float] = {}
    for kind, value in kinds.items():
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(
                f"error_ttl has types of exceptions for keys, not {kind!r}: "
                "pass them as in {LookupError: 30}"
            )
        if not issubclass(kind, Exception):
            raise ValueError(  # noqa: TRY004  # it is a type
                f"error_ttl cannot keep {kind.__name__}, which is no Exception but "
                "ends what runs: leave it out"
            )
        found[kind] = _seconds(f"error_ttl[{kind.__name__}]", value)
        if not found[kind] > 0:
            raise ValueError(
                f"error_ttl[{kind.__name__}] must be a number of seconds above 0, not "
                f"{value!r}: leave it out for failures that are not kept"
            )
    if found and maxsize == 0:
        raise ValueError(
            f"error_ttl={error_ttl!r} has no effect with maxsize=0, which stores "
            "nothing: leave one of them out"
        )
    return found


def _checked_ignore(ignore: Any) -> tuple[str, ...]:
    """Check the names of parameters."""
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
                f"ignore must have names of parameters, not {name!r}: "
                'pass them as in ("request_id",)'
            )
    return names


def _check_bool(option: str, value: Any, hint: str = "") -> None:
    if not isinstance(value, bool):
        raise TypeError(
            f"{option} must be a bool, not {value!r}: pass True or False{hint}"
        )


def _seconds_from_0(option: str, value: Any) -> float:
    """Check that *value* is a finite number of seconds from 0 up."""
    seconds = _seconds(option, value)
    if not 0 <= seconds < inf:
        raise ValueError(
            f"{option} must be a finite number of seconds from 0 up, not {value!r}: "
            "leave it out for none"
        )
    return seconds


def _seconds(option: str, value: Any) -> float:
    """Check that *value* is a number of seconds, or a timedelta."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{option} must be a number of seconds, not {value!r}: "
            "pass an int, a float or a timedelta"
        )
    try:
        seconds = float(value)
    except OverflowError:
        seconds = nan
    if isnan(seconds):
        raise ValueError(
            f"{option} must be a number of seconds, not {value!r}: "
            "leave it out if it is not wanted"
        )
    return seconds
