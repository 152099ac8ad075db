"""The folder of `search.narrow` as a record: one model before and after, no search."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import collect_export, collect_verdicts
from ckrm_tf.reporting.evidence import read_evidence
from ckrm_tf.reporting.record import AxisRow, Network, Record


def collect_narrowing(folder: Path, given: Mapping[str, Any], made: str) -> Record:
    """The record of a narrowed model.

    Args:
        folder: that holds narrow.json.
        given: what narrow.json holds.
        made: when the report is made, ISO 8601.

    Raises:
        CKRMError: a narrow.json that lacks something.
    """
    export, versions = collect_export.read_export(folder / "export1")
    try:
        judgements = collect_verdicts.of_narrowing(given["judged"])
        widths = {name: (old, new) for name, (old, new) in given["widths"].items()}
        arms = [
            Network(
                text=text,
                design={n: int(pair[i]) for n, pair in widths.items() if pair[i] is not None},
                params=int(given[key]["params"]),
                macs=int(given[key]["macs"]),
                trained_auc=(judgements[0].start, judgements[0].candidate)[i]
                if judgements
                else None,
                trainings=1,
            )
            for i, (key, text) in enumerate((("before", "as given"), ("after", "narrowed")))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CKRMError(
            "narrow.json", expected="what search.narrow writes", received=f"no {error}"[:80]
        ) from error
    evidence = read_evidence(folder)
    notes = [
        f"{name} was left alone: {reason}" for name, reason in (given.get("frozen") or {}).items()
    ]
    if evidence is not None and evidence.designs != tuple(dict(arm.design) for arm in arms):
        evidence = None
        notes.append("evidence.json is about other networks and is not shown.")
    shown: dict[str, Any] = {}
    if evidence is not None:
        arms = [replace(a, trained_auc=e) for a, e in zip(arms, evidence.aucs, strict=True)]
        shown = {
            "classes": evidence.classes,
            "curves": evidence.curves,
            "disagreements": evidence.disagreements,
            "counts": evidence.counts,
            "cases": evidence.split,
        }
    return Record(
        kind="narrow",
        folder=folder.resolve().name,
        finished=True,
        made=made,
        settings={"model": Path(str(given.get("model", ""))).name},
        margin=judgements[0].verdict.margin if judgements else None,
        start=arms[0],
        recommended=arms[1],
        axes=tuple(
            AxisRow(name, "width", name, 1, int(old), None if new is None else int(new))
            for name, (old, new) in widths.items()
        ),
        verdicts=tuple(j.verdict for j in judgements),
        export=export,
        latency=collect_export.read_latency(folder),
        versions=versions | {k: str(v) for k, v in (given.get("versions") or {}).items()},
        command=shlex.join(["ckrm-tf", "narrow", *map(str, given.get("command", ()))]),
        notes=tuple(notes),
        **shown,
    )
