"""The comparisons on unseen images that a run folder holds, in one form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.reporting.files import numbered, read_json
from ckrm_tf.reporting.record import ClassRow, Estimate, Status, Verdict
from ckrm_tf.reporting.words import per_cent
from ckrm_tf.train.way import PLAIN_NAME

NETWORKS, MODELS = "networks", "trained models"
BOTH = "other trainings and images"


@dataclass(frozen=True)
class Judgement:
    """A verdict, the AUC of each network on its images, and both by class."""

    verdict: Verdict
    start: Estimate
    candidate: Estimate
    classes: tuple[ClassRow, ...] = ()


def of_final(
    folder: Path, family: Family, recommended: Design | None
) -> tuple[list[Judgement], list[str]]:
    """Those of `search.final`: by folds before those on the test split, the newest first.

    Args:
        folder: the run folder.
        family: reads the designs.
        recommended: the network that the report is about.

    Returns:
        The comparisons, and in sentences which files could not be read: a search that has ended
        has its report whatever became of a later comparison.
    """
    found: list[Judgement] = []
    unread: list[str] = []
    for path in [*numbered(folder, r"folds\d+"), *numbered(folder, "final")]:
        try:
            report = read_json(path) or {}
            ours = family.from_record(report["candidate"]) == recommended and _plain(report)
            parts = [part for part in ("folds", "test", "val") if part in report]
            found += [_judged(path.name, part, report, ours) for part in parts]
        except (CKRMError, KeyError, TypeError, AttributeError, ValueError) as error:
            unread.append(f"{path.name} is not shown: it is no report of search.final ({error}).")
    return found, unread


def of_summary(summary: Mapping[str, Any], text: str) -> list[Judgement]:
    """The two verdicts that a search ends with, where it opened the test split."""
    found = []
    for name, about in (("test_non_inferiority", NETWORKS), ("test_trained_models", MODELS)):
        given = summary.get(name)
        if isinstance(given, Mapping):
            verdict = _verdict("summary.json", "test split", about, given, text, ours=True)
            found.append(Judgement(verdict, *_arms(given)))
    return found


def of_narrowing(given: Mapping[str, Any] | None) -> list[Judgement]:
    """The verdict of `search.narrow`, if it judged."""
    if not given:
        return []
    split = {"val": "validation split"}.get(given["split"], f"{given['split']} split")
    verdict = _verdict("narrow.json", split, MODELS, given, "narrowed", ours=True)
    return [Judgement(verdict, *_arms(given))]


def _arms(given: Mapping[str, Any]) -> tuple[Estimate, Estimate]:
    return Estimate(float(given["auc_reference"])), Estimate(float(given["auc_candidate"]))


def _verdict(
    source: str,
    split: str,
    about: str,
    given: Mapping[str, Any],
    candidate: str,
    *,
    ours: bool,
    unseen: bool = True,
    images: int | None = None,
) -> Verdict:
    status = _status(given)
    known = status != "no verdict"
    trainings = given.get("seeds")
    return Verdict(
        source=source,
        split=split,
        about=about,
        candidate=candidate,
        difference=float(given["difference"]),
        low=float(given["low"]) if known else None,
        high=float(given["high"]) if known else None,
        margin=float(given["margin"]),
        status=status,
        confidence=float(given.get("confidence", 0.95)),
        images=images or given.get("images"),
        trainings=(int(trainings[0]), int(trainings[1])) if trainings else None,
        folds=int(given.get("folds", 1)),
        ours=ours,
        unseen=unseen,
    )


def _status(given: Mapping[str, Any]) -> Status:
    """The status as it stands there; version 0.1 and verdicts about two models have two flags."""
    told = given.get("status")
    if told in ("equivalent", "non-inferior", "not shown", "no verdict"):
        return told
    if given["equivalent"]:
        return "equivalent"
    return "non-inferior" if given["non_inferior"] else "not shown"


def _judged(source: str, part: str, report: Mapping[str, Any], ours: bool) -> Judgement:
    split = report[part]
    folds = re.match(r"folds(\d+)", source)
    words = {
        "folds": f"training and test images in {folds[1] if folds else '?'} folds",
        "test": "test split",
        "val": "validation split",
    }[part]
    verdict = _verdict(
        source,
        words,
        NETWORKS,
        split["non_inferiority"],
        str(report["candidate"].get("widths_text", "candidate"))
        + ("" if _plain(report) else f", {report['candidate']['how']}"),
        ours=ours,
        unseen=part != "val",
        images=split.get("images"),
    )
    arms = [split[arm] for arm in ("start", "candidate")]
    classes = tuple(
        ClassRow(
            source=source,
            split=words,
            name=name,
            images=None,
            auc=_pair([arm["classes"][name]["auc"] for arm in arms]),
            sensitivity=_pair([arm["classes"][name]["sensitivity"] for arm in arms]),
        )
        for name in arms[0]["classes"]
    )
    return Judgement(verdict, *_pair([arm["macro_auc"] for arm in arms]), classes)


def _plain(report: Mapping[str, Any]) -> bool:
    """Whether the candidate took nothing over from the start."""
    return bool(report["candidate"].get("how", PLAIN_NAME) == PLAIN_NAME)


def _pair(given: list[Mapping[str, Any]]) -> tuple[Estimate, Estimate]:
    first, second = (
        Estimate(
            float(one["value"]),
            _finite(one.get("low")),
            _finite(one.get("high")),
            f"{per_cent(one.get('confidence', 0.95))} interval, {BOTH}",
        )
        for one in given
    )
    return first, second


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
