"""The settings of a proposal, and what a strategy is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Answer
from ckrm_tf.tuning.history import Outcome


@dataclass(frozen=True, slots=True)
class Rule:
    """The settings of a proposal.

    Attributes:
        margin: largest acceptable loss of validation AUC against trial 0.
        bold: where signals alone decide, the factor on every width while the AUC holds, or what
            saves as many parameters.
        gentle: factors to try after the bold one has failed, in this order.
        keep: smallest share of a width that one step keeps, however redundant it is.
        tolerance: redundancy up to this counts as none.
        least: smallest share of the parent's parameters that a move must save.
        floor: smallest width.
        depth: shrink depths too, such as the blocks of a stage.
        level: take parameters from the heaviest stages first; else every width shrinks alike.
        penalty: weight of the redundancy in the objective, which names the parent of the next
            networks among those of nearly equal size.
        front: how many moves of a way are scored anew at each place, by the losses seen last; None
            for all.
        repeats: the most seeds that a network of the search is trained with; 1 takes every AUC at
            its word.
    """

    margin: float = 0.02
    bold: float = 0.5
    gentle: tuple[float, ...] = (0.7, 0.84)
    keep: float = 0.25
    tolerance: float = 0.01
    least: float = 0.1
    floor: int = 4
    depth: bool = True
    level: bool = True
    repeats: int = 3
    penalty: float = 0.0
    front: int | None = 2

    def __post_init__(self) -> None:
        for step in (self.bold, self.keep, *self.gentle):
            if not 0 < step < 1:
                raise CKRMError("rule: a step", expected="a factor between 0 and 1", received=step)
        counts = (self.floor, self.repeats, 1 if self.front is None else self.front)
        if not min(self.margin, self.penalty) >= 0 or min(counts) < 1:
            raise CKRMError(
                "rule",
                expected="margin >= 0, penalty >= 0, floor, repeats and front >= 1",
                received=self,
            )


class Strategy(Protocol):
    """Anything that maps a history to an answer: score, train or stop.

    A bare design counts as `Train`, None as `Stop`.
    """

    def __call__(
        self,
        history: Sequence[Outcome],
        rule: Rule,
        family: Family,
        running: Collection[Design] = (),
    ) -> Answer | Design | None:
        """What to do next."""
