"""What Ray says of a death, in one line."""

from __future__ import annotations

# Characters of it.
LONGEST = 400


def cause(error: BaseException) -> str:
    """The innermost error and its first words, without the lines of a traceback.

    >>> cause(ValueError("no room\\n  at all"))
    'ValueError: no room at all'
    """
    found = getattr(error, "cause", None) or error
    words = " ".join(str(found).split())
    return f"{type(found).__name__}: {words}"[:LONGEST]
