"""How wide every group becomes: given widths, a share of all, or what a constraint allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.narrowing.plan import Channels, Counter

Widths = dict[str, int]
CONSTRAINTS = ("params", "macs", "latency")
STEPS = 40


def rounded(channels: Channels, widths: Mapping[str, float], floor: int, multiple: int) -> Widths:
    """Whole widths within [floor, old width], in channels a multiple of `multiple`, rounded up.

    A width below two multiples is left as it is: rounding would change it by half.
    """
    found = {}
    for name, group in channels.groups.free.items():
        width = max(1, min(group.width, round(widths.get(name, group.width))))
        width = max(width, min(floor, group.width))
        if multiple > 1 and width * group.step >= 2 * multiple:
            unit = multiple // math.gcd(multiple, group.step)
            width = min(group.width, -(-width // unit) * unit)
        found[name] = width
    return found


def shared(channels: Channels, share: float, floor: int, multiple: int) -> Widths:
    """The same share of every free width."""
    wanted = {name: share * group.width for name, group in channels.groups.free.items()}
    return rounded(channels, wanted, floor, multiple)


def given(channels: Channels, widths: Mapping[str, int]) -> Widths:
    """Widths by group, checked; a group that is not named stays as wide as it is.

    Raises:
        CKRMError: an unknown or frozen group, or a width that it cannot have.
    """
    found = channels.widths
    for name, width in widths.items():
        if name not in channels.groups:
            raise unknown_name("width group", name, list(channels.groups))
        group = channels.groups[name]
        whole = isinstance(width, int | np.integer) and not isinstance(width, bool)
        if not whole or not 1 <= width <= group.width:
            raise CKRMError(
                f"width of {name}",
                expected=f"a whole number from 1 to {group.width}",
                received=repr(width),
            )
        if not group.free and width != group.width:
            raise CKRMError(
                f"width of {name}", expected="a free group", received=f"frozen: {group.reason}"
            )
        if group.free:
            found[name] = int(width)
    return found


def constrained(
    at: Callable[[float], Widths], cost: Callable[[Widths], float], limit: float, what: str
) -> Widths:
    """The widest network of a family of widths whose cost keeps to a limit.

    Args:
        at: from a number in (0, 1] to widths, wider for larger numbers.
        cost: of widths.
        limit: the largest cost allowed.
        what: the constraint, for the message.

    Raises:
        CKRMError: when not even the narrowest keeps to it.
    """
    least = cost(at(0.0))
    if least > limit:
        raise CKRMError(
            what,
            expected=f"at least {least:,.4g}, what the narrowest network costs",
            received=f"{limit:,.4g}",
        )
    low, high = 0.0, 1.0
    if cost(at(high)) <= limit:
        return at(high)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if cost(at(middle)) <= limit:
            low = middle
        else:
            high = middle
    return at(low)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number, NumPy's among them, and not a truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def constraint_of(to: Mapping[str, Any], channels: Channels) -> tuple[str, float] | None:
    """The constraint that a mapping names, or None where it names widths.

    Raises:
        CKRMError: a constraint beside other keys, or a value that is none.
    """
    names = [key for key in to if key in CONSTRAINTS and key not in channels.groups]
    if not names:
        return None
    if len(to) > 1:
        raise CKRMError(
            "narrow to", expected="one constraint, or widths of groups", received=dict(to)
        )
    name, value = names[0], to[names[0]]
    if (
        not is_number(value)
        or not math.isfinite(value)
        or value <= 0
        or (value > 1 and value != int(value))
    ):
        raise CKRMError(
            f"narrow to {name}",
            expected="a share above 0 and up to 1, or a whole number",
            received=repr(value),
        )
    return name, float(value)


def counted(channels: Channels, name: str) -> tuple[Counter, int]:
    """A quick count of parameters or multiply-accumulates by widths, and what the model has."""
    terms = channels.params if name == "params" else channels.trace.macs
    counter = channels.counter(terms)
    return counter, counter({})
