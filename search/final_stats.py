"""All statistics of the final comparison on one split, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ckrm_tf import stats
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.files import keep
from ckrm_tf.train.way import PLAIN_NAME
from search.console import count

ARMS = ("start", "candidate")

# The splits that a report may have, and what the tables call them.
SPLITS = {
    "val": "val split",
    "test": "test split",
    "folds": "all training and test images, by folds",
}


def describe_arms(family: Family, networks: Sequence[Design]) -> dict[str, dict[str, Any]]:
    """Design and cost of the network of each of `ARMS`."""
    found = {}
    for arm, design in zip(ARMS, networks, strict=True):
        cost = family.cost(design)
        found[arm] = {
            **family.to_record(design),
            "widths_text": family.describe(design),
            "params": cost.params,
            "macs": cost.macs,
        }
    return found


def compare_on(
    labels: np.ndarray,
    found: dict[str, np.ndarray],
    names: Sequence[str],
    margin: float,
    folds: np.ndarray | None = None,
) -> dict[str, Any]:
    """All statistics of one split.

    Args:
        labels: (n,) class indices.
        found: (seeds, n, classes) probabilities of each of `ARMS`.
        names: of the classes.
        margin: of non-inferiority.
        folds: (n,) fold of each image, of cross-validation. The paper's ANOVA and DeLong's test
            are about single networks: with folds they are left out.
    """
    start, candidate = (found[arm] for arm in ARMS)
    verdict = stats.non_inferiority(labels, start, candidate, margin=margin, folds=folds)
    report = {
        "non_inferiority": asdict(verdict) | {"text": str(verdict)},
        **{arm: _describe(labels, found[arm], names, folds) for arm in ARMS},
    }
    if folds is not None:
        return report | {"folds": len(np.unique(folds)), "images": len(labels)}
    aucs = [report[arm]["macro_auc_by_seed"]["values"] for arm in ARMS]
    return report | {
        "anova": _anova(*aucs),
        "delong": {name: _delong(labels == i, start, candidate, i) for i, name in enumerate(names)},
    }


def _anova(*groups: Sequence[float]) -> dict[str, Any]:
    """As the paper reports it; not a test of non-inferiority."""
    try:
        return asdict(stats.anova(*groups))
    except CKRMError as error:
        return {"f": None, "p_value": None, "reason": str(error)}


def _delong(
    truth: np.ndarray, start: np.ndarray, candidate: np.ndarray, index: int
) -> list[dict[str, Any]]:
    """One test per seed, of the two networks trained with it."""
    pairs = zip(start, candidate, strict=True)
    return [asdict(stats.delong(truth, a[:, index], b[:, index])) for a, b in pairs]


def _describe(
    labels: np.ndarray, arm: np.ndarray, names: Sequence[str], folds: np.ndarray | None
) -> dict[str, Any]:
    parts = [slice(None)] if folds is None else [folds == fold for fold in np.unique(folds)]
    aucs = [fmean(stats.macro_auc(labels[p], one[p]) for p in parts) for one in arm]
    classes = {}
    for index, name in enumerate(names):
        # One class against the rest is a data set of two classes, whose macro AUC is its AUC.
        p = arm[:, :, index]
        two = np.stack([1 - p, p], axis=2)
        interval = stats.macro_auc_interval((labels == index).astype(int), two, folds=folds)
        hits = [stats.sensitivity(labels, one)[index] for one in arm]
        classes[name] = {"auc": asdict(interval), "sensitivity": _mean_interval(hits)}
    return {
        "macro_auc": asdict(stats.macro_auc_interval(labels, arm, folds=folds)),
        "macro_auc_by_seed": asdict(stats.spread(aucs)) | {"values": aucs},
        "accuracy": _mean_interval([stats.accuracy(labels, one) for one in arm]),
        "classes": classes,
    }


def _mean_interval(intervals: Sequence[stats.Interval]) -> dict[str, Any]:
    """Means of estimate and bounds over seeds: the interval of one typical training."""
    means = {k: fmean(getattr(i, k) for i in intervals) for k in ("value", "low", "high")}
    return means | {"confidence": intervals[0].confidence, "values": [i.value for i in intervals]}


def keep_report(folder: Path, name: str, report: dict[str, Any]) -> Path:
    """Write name.json, or name_2.json where name.json is another report: none is overwritten."""
    text = json.dumps(report, indent=1) + "\n"
    return keep(folder, lambda n: f"{name}_{n}.json" if n > 1 else f"{name}.json", text)


def show_final(console: Console, report: dict[str, Any]) -> None:
    """Print a report of `search.final`."""
    for arm in ARMS:
        one = report[arm]
        share = one["params"] / report["start"]["params"]
        how = one.get("how", PLAIN_NAME)
        console.print(
            f"{arm:<10} {one['widths_text']}: {one['params']:,} params ({share:.2%}), "
            f"{count(one['macs'])} MACs ({one['macs'] / report['start']['macs']:.2%})"
            + ("" if how == PLAIN_NAME else f", {how}"),
            highlight=False,
            soft_wrap=True,
        )
    for name, title in SPLITS.items():
        if name not in report:
            continue
        split = report[name]
        table = Table(title=f"{title}, {len(report['seeds'])} seed(s)", box=None)
        for head in ("", *ARMS, *(["DeLong p, by seed"] if "delong" in split else [])):
            table.add_column(head)
        table.add_row("macro AUC", *(_words(split[arm]["macro_auc"]) for arm in ARMS))
        table.add_row("accuracy", *(_words(split[arm]["accuracy"]) for arm in ARMS))
        for label in split["start"]["classes"]:
            tests = split.get("delong", {}).get(label, [])
            p_values = ", ".join(f"{t['p_value']:.3f}" for t in tests)
            cells = [[split[arm]["classes"][label][k] for arm in ARMS] for k in _PARTS]
            table.add_row(f"AUC {label}", *map(_words, cells[0]), p_values)
            table.add_row(f"sensitivity {label}", *map(_words, cells[1]))
        console.print(table)
        console.print(f"AUC difference {split['non_inferiority']['text']}", highlight=False)
        p_value = split.get("anova", {}).get("p_value")
        if p_value is not None:
            console.print(f"one-way ANOVA over seeds: p = {p_value:.3f}", highlight=False)


_PARTS = ("auc", "sensitivity")


def _words(interval: dict[str, Any]) -> str:
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
