"""Several sizes tested without correction: in a fixed order, up to the first failure.

Each test is at the full level, and the chance that any false "shown" is among them stays that
level (Maurer, Hothorn and Lehmacher 1995; Westfall and Krishen 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckrm_tf.errors import CKRMError


@dataclass(frozen=True, slots=True)
class FixedSequence:
    """What was tested and shown, as positions in the sizes that were given.

    Attributes:
        tested: from the largest down; those after the first failure are not among them.
        shown: those that passed.
        smallest: the last that passed, None where the largest failed.
    """

    tested: tuple[int, ...]
    shown: tuple[int, ...]
    smallest: int | None


def fixed_sequence(sizes: Sequence[float], test: Callable[[int], bool]) -> FixedSequence:
    """Test several sizes from the largest down until the first failure.

    Args:
        sizes: of the candidates, such as parameters; no two alike, so that the order is fixed.
        test: whether the candidate at a position is shown non-inferior, at the full level. It is
            not called after the first failure.

    Raises:
        CKRMError: for no sizes, or two alike.

    Example:
        >>> fixed_sequence([20, 400, 90], lambda position: [True, True, False][position])
        FixedSequence(tested=(1, 2), shown=(1,), smallest=1)
    """
    if not len(sizes) or len(set(sizes)) < len(sizes):
        raise CKRMError("sizes", expected="one or more, no two alike", received=list(sizes))
    tested: list[int] = []
    shown: list[int] = []
    for position in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        tested.append(position)
        if not test(position):
            break
        shown.append(position)
    return FixedSequence(tuple(tested), tuple(shown), shown[-1] if shown else None)
