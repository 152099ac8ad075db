"""How a host asks a strategy: it scores what is asked for, and asks again. Pure but for that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Answer, NotScorableError, Score, Stop, Train
from ckrm_tf.tuning.history import History, Outcome, Scores
from ckrm_tf.tuning.rule import Rule, Strategy


class Scoring(Protocol):
    """What scores slices for a host: `ckrm_tf.tuning.slices.SliceScorer`."""

    @property
    def known(self) -> Scores:
        """Every score so far."""

    def __call__(self, asked: Score) -> None:
        """Score what is asked for; `known` has it then."""


def answer_of(
    strategy: Strategy,
    history: Sequence[Outcome],
    rule: Rule,
    family: Family,
    running: Collection[Design],
    scoring: Scoring | None,
    note: Callable[[str], None],
) -> tuple[Train | Stop, Scoring | None]:
    """What a strategy wants trained, once it has the scores that it asks for.

    Args:
        strategy: see `ckrm_tf.tuning.rule.Strategy`.
        history: one outcome per network, the starting network's first; not empty.
        rule: settings of the proposal.
        family: the networks.
        running: networks that are trained elsewhere.
        scoring: scores slices, or None where nothing does.
        note: told why slices cannot be scored, where they cannot.

    Returns:
        The answer, and what scores slices from now on: None once they cannot be scored.

    Raises:
        CKRMError: scores are asked for and none can be had.
    """
    while True:
        known = None if scoring is None else scoring.known
        found = strategy(History(history, known), rule, family, running)
        answer: Answer
        if found is None:
            answer = Stop("no move is left")
        else:
            answer = Train(found) if isinstance(found, Design) else found
        if not isinstance(answer, Score):
            return answer, scoring
        if scoring is None:
            raise CKRMError("strategy", expected="no scores: none can be had", received=answer)
        before = len(scoring.known)
        try:
            scoring(answer)
        except NotScorableError as error:
            note(str(error))
            scoring = None
            continue
        if len(scoring.known) == before:
            raise CKRMError("scores", expected="those asked for", received="none")
