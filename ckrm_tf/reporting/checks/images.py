"""Checks of what the images can show: R001, R002, R008."""

from __future__ import annotations

import math

from ckrm_tf.judge.select import CONFIRMED_SHARE, LEARNED
from ckrm_tf.reporting.checks.base import Answer, cannot_tell, quiet, warns
from ckrm_tf.reporting.record import Record, Verdict
from ckrm_tf.reporting.words import plural

# Standard errors of a 95% interval.
NORMAL = 1.96


def validation_too_small(record: Record) -> Answer:
    """R001: whether differences on the validation split are known to within the margin."""
    if record.margin is None:
        return cannot_tell("No margin is recorded.")
    own = [v for v in record.verdicts if v.ours and not v.unseen]
    if own and own[0].low is not None:
        return _half_width("validation", own[0], record.margin)
    found = _noise(record)
    if found is None:
        return cannot_tell(
            "No network was trained twice on the same images: nothing shows how its AUC varies."
        )
    sd, trainings = found
    half = NORMAL * sd * math.sqrt(2 / trainings)
    kept = CONFIRMED_SHARE * record.margin
    text = (
        f"The validation AUC of one network varies with a standard deviation of {sd:.3f} from "
        f"training to training; over {plural(trainings, 'training')} of each network a difference "
        f"is known to about ±{half:.3f}, and the search keeps to {kept:g}."
    )
    if half > kept:
        return warns(f"{text} Use more validation images, or a larger --confirm.")
    return quiet(text)


def test_too_small(record: Record) -> Answer:
    """R002: whether the interval of the verdict is narrow enough to show the margin."""
    verdict = record.verdict
    if verdict is None or verdict.low is None or record.margin is None or not record.smaller:
        return cannot_tell("No interval on unseen images is recorded.")
    return _half_width("unseen", verdict, record.margin)


def start_learned_little(record: Record) -> Answer:
    """R008: whether the starting network is far enough above chance."""
    start = record.start
    found = None if start is None else start.val_auc or start.test_auc or start.trained_auc
    if found is None:
        return cannot_tell("The starting network has no AUC.")
    text = f"The starting network has an AUC of {found.value:.3f}; chance is 0.5."
    if found.value < LEARNED:
        return warns(f"{text} Not to be worse than that says nothing: train longer (--epochs).")
    return quiet(text)


def _half_width(images: str, verdict: Verdict, margin: float) -> Answer:
    half = ((verdict.high or 0.0) - (verdict.low or 0.0)) / 2
    text = (
        f"On {images} images ({verdict.split}) the difference is known to ±{half:.3f}; "
        f"the margin is {margin:g}."
    )
    if half > margin:
        return warns(
            f"{text} Even two equal networks would hardly be shown so. "
            "Use more images: ckrm-tf final --folds."
        )
    return quiet(text)


def _noise(record: Record) -> tuple[float, int] | None:
    """Pooled standard deviation between trainings of one network, and trainings of the chosen.

    In a search by folds only trainings of one fold are compared: some folds are harder.
    """
    tried = record.tried
    found = [one.aucs for one in tried]
    if any(t.fold is not None for t in record.trainings):
        within: dict[tuple[int, int | None], list[float]] = {}
        for t in record.trainings:
            if t.val_auc is not None and t.network >= 0 and not t.part:
                within.setdefault((t.network, t.fold), []).append(t.val_auc)
        found = [tuple(aucs) for aucs in within.values()]
    groups = [aucs for aucs in found if len(aucs) > 1]
    if not groups:
        return None
    squares = sum(sum((a - sum(g) / len(g)) ** 2 for a in g) for g in groups)
    freedom = sum(len(g) - 1 for g in groups)
    chosen = next((t for t in tried if t.role == "recommended"), tried[0])
    return math.sqrt(squares / freedom), max(1, len(chosen.aucs))
