"""Error messages for wrong arguments."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from inspect import Parameter, Signature, signature
from reprlib import repr as short_repr
from typing import Any, Final

if sys.version_info >= (3, 14):  # pragma: py-lt-314
    from annotationlib import Format

    # Annotations may use names that are imported for type checkers only.
    signature_of: Callable[..., Signature] = partial(
        signature, annotation_format=Format.FORWARDREF
    )
else:  # pragma: py-gte-314
    signature_of: Callable[..., Signature] = signature

#: The kinds of ``*args`` and ``**kwargs``.
CATCH_ALL: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

#: The signature of functions that have none.
ANY = Signature(
    [
        Parameter("args", Parameter.VAR_POSITIONAL),
        Parameter("kwargs", Parameter.VAR_KEYWORD),
    ]
)


class Arguments:
    """The arguments that a function accepts, to explain errors.

    Most programs never need it, so the signature is read on first use.
    """

    __slots__ = ("_function", "_ignored", "_name", "_signature", "_taken")

    def __init__(self, function: Any, name: str, ignored: Iterable[str] = ()) -> None:
        self._function = function
        self._name = name
        #: Names of parameters that are not part of keys.
        self._ignored = frozenset(ignored)
        self._signature: Signature | None = None
        #: Counts of positional arguments that are known to be accepted.
        self._taken: frozenset[int] = frozenset()

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise TypeError for arguments that the function does not accept."""
        if kwargs or len(args) not in self._taken:
            self.named(args, kwargs)
            if not kwargs:
                self._taken |= {len(args)}

    def check_hashable(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise TypeError for an unhashable argument.

        Does nothing if ``__hash__`` fails for another reason.
        """
        for name, value in self.named(args, kwargs).items():
            try:
                hash(value)
            except TypeError as error:  # noqa: PERF203  # the end
                if "unhashable" not in str(error):
                    return
                raise TypeError(
                    f"{error}: {self._name} was called with {name}={short_repr(value)}, "
                    "which cannot be part of a key; decorate it with key=by_value, or with "
                    f"ignore=({name!r},) to leave it out of the key"
                ) from None

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that are part of the key, by parameter name."""
        signature = self._signature = self._signature or self._read()
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            # A decorator may pass arguments of its own to what it shows as __wrapped__.
            own = self._read(follow_wrapped=False)
            try:
                if any(each.kind in CATCH_ALL for each in own.parameters.values()):
                    signature.bind_partial(*args, **kwargs)  # that of __wrapped__
                signature = own
                bound = signature.bind(*args, **kwargs).arguments
            except TypeError:
                raise TypeError(
                    f"{self._name}{self._signature} does not take these arguments: "
                    f"{error}"
                ) from None
        named: dict[str, Any] = {}
        for name, value in bound.items():
            if name in self._ignored:
                continue
            if signature.parameters[name].kind is Parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return named

    def _read(self, *, follow_wrapped: bool = True) -> Signature:
        try:
            return signature_of(self._function, follow_wrapped=follow_wrapped)
        except (TypeError, ValueError):  # it has none
            return ANY
