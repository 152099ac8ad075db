"""Checks of what was lost, and how firmly that is known: R005, R006, R010, R011."""

from __future__ import annotations

from ckrm_tf.reporting.checks.base import Answer, cannot_tell, quiet, warns
from ckrm_tf.reporting.record import ClassRow, Record
from ckrm_tf.reporting.words import NONE, plural


def a_class_lost_more(record: Record) -> Answer:
    """R005: whether a class lost more AUC than the mean did, and more than the margin."""
    if not record.classes or record.margin is None or not record.smaller:
        return cannot_tell("No figures by class are recorded; ckrm-tf final makes them.")
    rows = [row for row in record.classes if row.source == record.classes[0].source]
    rows = [row for row in rows if row.split == rows[0].split]
    losses = {row.name: _loss(row) for row in rows}
    mean = sum(losses.values()) / len(losses)
    worst = max(losses, key=lambda name: losses[name])
    text = (
        f"The AUC of {worst} changed by {-losses[worst]:+.3f}, the mean of "
        f"{plural(len(losses), 'class', 'classes')} by {-mean:+.3f} ({rows[0].split})."
    )
    if losses[worst] > max(mean, record.margin):
        return warns(f"{text} That class lost more than the margin of {record.margin:g}.")
    return quiet(text)


def _loss(row: ClassRow) -> float:
    return row.auc[0].value - row.auc[1].value


def test_and_validation_disagree(record: Record) -> Answer:
    """R006: whether the difference on unseen images is far from that on validation images."""
    verdict, start, best = record.verdict, record.start, record.recommended
    if verdict is None or record.margin is None or not record.smaller:
        return cannot_tell("No smaller network was judged on unseen images.")
    if start is None or best is None or start.val_auc is None or best.val_auc is None:
        return cannot_tell("No validation AUC is recorded.")
    seen = best.val_auc.value - start.val_auc.value
    text = (
        f"Recommended minus start: {seen:+.3f} on validation images, "
        f"{verdict.difference:+.3f} on {verdict.split}; the margin is {record.margin:g}."
    )
    if abs(seen - verdict.difference) > record.margin:
        return warns(
            f"{text} The validation split chose the network and flatters it, or one of the splits "
            "is too small."
        )
    return quiet(text)


def trainings_failed(record: Record) -> Answer:
    """R010: whether trainings ended without an AUC."""
    if not record.trainings:
        return cannot_tell("No trainings are recorded.")
    failed = record.failed
    if not failed:
        return quiet(f"All of {plural(len(record.trainings), 'training')} finished.")
    reason = (failed[0].reason or NONE)[:160]
    return warns(f"{len(failed)} of {plural(len(record.trainings), 'training')}; first: {reason}")


def one_training(record: Record) -> Answer:
    """R011: whether the claim rests on one training of a network."""
    if record.recommended is None or not record.smaller:
        return cannot_tell("Nothing smaller than the start is recommended.")
    if record.kind == "narrow":
        return cannot_tell("A narrowed model is one model: its verdict is about that one.")
    verdict = record.verdict
    next_step = "How the next training would come out it cannot tell: ckrm-tf final --seeds 5."
    if verdict is not None and verdict.about == "networks" and verdict.low is not None:
        return quiet(f"The verdict is about networks trained anew ({verdict.source}).")
    if verdict is not None and verdict.low is not None:
        return warns(f"The only verdict is about two trained models. {next_step}")
    least = min(n.trainings for n in (record.start, record.recommended) if n is not None)
    if least > 1:
        return cannot_tell("No verdict is recorded; both networks were trained more than once.")
    return warns(f"The recommendation rests on one training of a network. {next_step}")
