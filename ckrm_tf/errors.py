"""The one error type for everything a user can get wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CKRMError(ValueError):
    """A user's mistake, told once: what is wrong, what was expected, what was received.

    Args:
        what: the thing that is wrong, in the user's words.
        expected: what would have been accepted.
        received: what was given instead.
        hint: the next step to take.

    Example:
        >>> from ckrm_tf import CKRMError
        >>> raise CKRMError("pairs", expected="at least 1", received=0, hint="None compares all.")
        Traceback (most recent call last):
            ...
        ckrm_tf.errors.CKRMError: pairs: expected at least 1, received 0. None compares all.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        received: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.expected, self.received, self.hint = what, expected, received, hint
        parts = []
        if expected is not None:
            parts.append(f"expected {expected}")
        if received is not None:
            parts.append(f"received {received}")
        message = f"{what}: {', '.join(parts)}" if parts else what
        super().__init__(f"{message}. {hint}" if hint else message)

    def __reduce__(self) -> tuple:
        # Errors cross process boundaries; the default would call __init__ with the message alone.
        return _rebuild, (type(self), self.what, self.expected, self.received, self.hint)


def _rebuild(
    cls: type[CKRMError], what: str, expected: object, received: object, hint: str | None
) -> CKRMError:
    return cls(what, expected=expected, received=received, hint=hint)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> CKRMError:
    """The error for a misspelt option: names the nearest known one."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    return CKRMError(
        f"unknown {kind}",
        expected=f"one of {', '.join(names)}",
        received=repr(name)[:100],
        hint=f"Did you mean {near[0]!r}?" if near else None,
    )
