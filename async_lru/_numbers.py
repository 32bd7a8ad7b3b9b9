"""Checks numbers of any type that supports Python's number protocols."""

from datetime import timedelta
from math import inf, isnan, nan
from operator import index
from typing import Any


def from_1(option: str, value: Any, remedy: str) -> int:
    """Check that *value* is an integer of 1 or more."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{option} must be an int, not {value!r}: {remedy}")
    number = index(value)
    if number < 1:
        raise ValueError(f"{option} must be 1 or more, not {value!r}: {remedy}")
    return number


def seconds(option: str, value: Any) -> float:
    """Check that *value* is a number of seconds, or a timedelta."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    # float() alone would also accept strings.
    is_number = hasattr(value, "__float__") or hasattr(value, "__index__")
    if isinstance(value, bool) or not is_number:
        raise TypeError(
            f"{option} must be a number of seconds, not {value!r}: "
            "pass an int, a float or a timedelta"
        )
    try:
        number = float(value)
    except OverflowError:
        number = nan
    if isnan(number):
        raise ValueError(
            f"{option} must be a number of seconds, not {value!r}: "
            "leave it out if it is not wanted"
        )
    return number


def finite_seconds(option: str, value: Any, remedy: str) -> float:
    """Check that *value* is a finite, non-negative number of seconds."""
    number = seconds(option, value)
    if not 0 <= number < inf:
        raise ValueError(
            f"{option} must be a finite number of seconds, 0 or more, not {value!r}: "
            f"{remedy}"
        )
    return number
