"""What the trained networks say of single images: classes, ROC curves, disagreements.

A search records verdicts, not predictions. A caller that has predictions of both networks on unseen
images hands them over once; they stay in the run folder as evidence.json, for every later report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf import stats
from ckrm_tf.errors import CKRMError
from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.files import read_json
from ckrm_tf.reporting.record import ClassRow, Curve, Disagreement, Estimate

FILE = "evidence.json"
# Of a curve drawn: more are thinned out evenly.
POINTS = 200
OVER_IMAGES = "95% interval, other images"


@dataclass(frozen=True)
class Evidence:
    """Both trained networks on the same unseen images.

    Attributes:
        split: the images, in words.
        designs: of start and recommended, so that evidence about others is not shown.
        counts: images of each class by split, of every split.
        aucs: macro AUC of start and recommended.
    """

    split: str
    designs: tuple[Mapping[str, int], Mapping[str, int]]
    counts: Mapping[str, Mapping[str, int]]
    aucs: tuple[Estimate, Estimate]
    classes: tuple[ClassRow, ...]
    curves: tuple[Curve, ...]
    disagreements: tuple[Disagreement, ...] = field(default=())


def evidence_of(
    labels: np.ndarray,
    start: np.ndarray,
    recommended: np.ndarray,
    class_names: Sequence[str],
    *,
    designs: tuple[Mapping[str, int], Mapping[str, int]],
    split: str = "test split",
    counts: Mapping[str, Mapping[str, int]] | None = None,
    pictures: Mapping[int, str] | None = None,
) -> Evidence:
    """The evidence of two trained networks.

    Args:
        labels: (n,) class indices.
        start, recommended: (n, classes) probabilities of one trained network each.
        class_names: one for each class.
        designs: of the two networks.
        split: the images, in words.
        counts: images of each class by split.
        pictures: data URIs of images on which the two may disagree, by position.

    Raises:
        CKRMError: as `ckrm_tf.stats.disagreements`.
    """
    names = [str(name) for name in class_names]
    arms = (np.asarray(start), np.asarray(recommended))
    rows, curves = [], []
    hits = [stats.sensitivity(labels, arm) for arm in arms]
    for index, name in enumerate(names):
        truth = (np.asarray(labels) == index).astype(int)
        one = [_estimate(stats.macro_auc_interval(truth, _against(arm, index))) for arm in arms]
        recognised = [_estimate(hit[index]) for hit in hits]
        rows.append(
            ClassRow(
                FILE,
                split,
                name,
                int(truth.sum()),
                (one[0], one[1]),
                (recognised[0], recognised[1]),
            )
        )
        for network, arm in zip(("start", "recommended"), arms, strict=True):
            curves.append(roc(truth, arm[:, index], name, network))
    macro = [_estimate(stats.macro_auc_interval(labels, arm)) for arm in arms]
    differ = tuple(
        Disagreement(
            d.image,
            names[d.label],
            names[d.reference],
            names[d.candidate],
            (pictures or {}).get(d.image),
        )
        for d in stats.disagreements(labels, *arms)
    )
    return Evidence(
        split, designs, counts or {}, (macro[0], macro[1]), tuple(rows), tuple(curves), differ
    )


def roc(truth: np.ndarray, scores: np.ndarray, label: str, network: str) -> Curve:
    """The ROC curve of one class: a point for each score, ties as one, thinned for drawing.

    Args:
        truth: (n,) 1 for images of the class.
        scores: (n,) the higher, the more the class.
        label: name of the class.
        network: "start" or "recommended".

    Example:
        >>> roc(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.4, 0.1]), "a", "start").true_positive
        (0.0, 0.5, 0.5, 1.0, 1.0)
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits, misses = np.cumsum(truth[order])[ends], np.cumsum(1 - truth[order])[ends]
    true = np.concatenate([[0.0], hits / max(hits[-1], 1)])
    false = np.concatenate([[0.0], misses / max(misses[-1], 1)])
    if len(true) > POINTS:
        kept = np.unique(np.linspace(0, len(true) - 1, POINTS).round().astype(int))
        true, false = true[kept], false[kept]
    return Curve(
        label, network, tuple(np.round(false, 5).tolist()), tuple(np.round(true, 5).tolist())
    )


def write_evidence(folder: Path, found: Evidence) -> Path:
    """Keep evidence in the run folder; it is made anew with the networks that it is about."""
    path = folder / FILE
    write_atomically(path, json.dumps(asdict(found), indent=1) + "\n")
    return path


def read_evidence(folder: Path) -> Evidence | None:
    """The evidence that a run folder holds.

    Raises:
        CKRMError: a file that is none.
    """
    given = read_json(folder / FILE)
    if given is None:
        return None
    try:
        return Evidence(
            given["split"],
            (given["designs"][0], given["designs"][1]),
            given["counts"],
            _two(given["aucs"]),
            tuple(_class_row(row) for row in given["classes"]),
            tuple(Curve(**curve | _points(curve)) for curve in given["curves"]),
            tuple(Disagreement(**one) for one in given["disagreements"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise CKRMError(FILE, expected="the evidence of a report", received=str(error)) from error


def _points(curve: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {key: tuple(curve[key]) for key in ("false_positive", "true_positive")}


def _class_row(row: Mapping[str, Any]) -> ClassRow:
    pairs = {key: _two(row[key]) for key in ("auc", "sensitivity")}
    return ClassRow(**{**row, **pairs})


def _two(given: Sequence[Mapping[str, Any]]) -> tuple[Estimate, Estimate]:
    first, second = (Estimate(**one) for one in given)
    return first, second


def _against(arm: np.ndarray, index: int) -> np.ndarray:
    # One class against the rest is a data set of two classes, whose macro AUC is its AUC.
    return np.stack([1 - arm[:, index], arm[:, index]], axis=1)


def _estimate(found: stats.Interval) -> Estimate:
    return Estimate(found.value, found.low, found.high, OVER_IMAGES)
