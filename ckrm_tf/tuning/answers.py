"""What a proposal answers: score these slices, train this network, or stop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError


class NotScorableError(CKRMError):
    """Slices of this network have no scores: the signals decide alone."""


@dataclass(frozen=True, slots=True)
class Score:
    """Score slices of a trained network: forward passes only, no training.

    Attributes:
        bases: the network whose weights are sliced; then slices of it, each narrower than the one
            before, of which the last covers all designs. A score is the same from any of them, and
            costs less from the last.
        designs: what is to be scored, each at most as wide as the last base everywhere.
    """

    bases: tuple[Design, ...]
    designs: tuple[Design, ...]


@dataclass(frozen=True, slots=True)
class Train:
    """Train this network; one that was trained already asks for a further seed.

    Attributes:
        design: the network.
        why: the reason in a few words, for the line on screen.
    """

    design: Design
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is left to try.

    Attributes:
        why: the reason in a few words.
    """

    why: str


Answer = Score | Train | Stop
