"""The checks in the order of their numbers: a new one is a function and a line here."""

from __future__ import annotations

from ckrm_tf.reporting.checks import guidance, images, outcome, space
from ckrm_tf.reporting.checks.base import Answer, Check
from ckrm_tf.reporting.record import Record

CHECKS: tuple[Check, ...] = (
    Check("R001", "Validation too small for the margin", images.validation_too_small),
    Check("R002", "Unseen images too few for the margin", images.test_too_small),
    Check("R003", "A width at its floor", space.at_the_floor),
    Check("R004", "Recommendation at the edge of what was tried", space.at_the_edge),
    Check("R005", "A class lost more than the mean", outcome.a_class_lost_more),
    Check("R006", "Test and validation disagree", outcome.test_and_validation_disagree),
    Check("R007", "No width was redundant", guidance.no_redundancy),
    Check("R008", "The start learned little", images.start_learned_little),
    Check("R009", "Random widths might have done", guidance.random_widths_would_do),
    Check("R010", "Trainings failed", outcome.trainings_failed),
    Check("R011", "A claim from one training", outcome.one_training),
)


def answers(record: Record) -> tuple[tuple[Check, Answer], ...]:
    """Every check with its answer."""
    return tuple((check, check.judge(record)) for check in CHECKS)
