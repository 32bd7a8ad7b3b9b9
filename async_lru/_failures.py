"""Failures that are kept for later calls."""

import copy
from typing import Any


class KeptFailure:
    """A failure as an entry, and a new exception like it for each call.

    It has no traceback, whose frames would stay alive, and no context: the calls it is
    raised to get an exception of their own each, with the traceback of the call.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = duplicate(error)

    def again(self) -> Exception:
        """Return an exception like the one that was raised first."""
        return duplicate(self.error)


def duplicate(error: Exception) -> Exception:
    """Return an exception that equals *error* but for where it was raised."""
    twin: Any
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001  # its __init__ takes other arguments
        twin = None
    if type(twin) is not type(error):
        twin = type(error).__new__(type(error), *error.args)
        twin.args = error.args
        twin.__dict__.update(error.__dict__)
    twin.__cause__ = twin.__context__ = twin.__traceback__ = None
    made: Exception = twin
    return made
