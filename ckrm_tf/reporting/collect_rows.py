"""Every training of a run folder as a row: those of the search, and those of its folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.reporting.record import TrainingRow, Tried
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import Training

JOURNAL = "trials.jsonl"


def fold_rows(
    folder: Path, tried: Sequence[Tried], family: Family, count: int
) -> tuple[TrainingRow, ...]:
    """The trainings of cross-validations, each fold of which has a journal of its own."""
    found: list[TrainingRow] = []
    for path in sorted(folder.glob(f"folds*/fold*/{JOURNAL}")):
        rows = training_rows(Journal(path, family).read(), tried, family, count + len(found))
        part = path.parent.relative_to(folder).as_posix()
        found += [replace(row, part=part) for row in rows]
    return tuple(found)


def training_rows(
    trainings: Sequence[Training], tried: Sequence[Tried], family: Family, before: int = 0
) -> tuple[TrainingRow, ...]:
    """The trainings of a journal as rows.

    Args:
        trainings: in the order of the journal.
        tried: the networks that the rows point to.
        family: describes the designs.
        before: rows that stand before these.
    """
    places = {Design(one.design): one.number for one in tried}
    return tuple(
        TrainingRow(
            number=number,
            network=places.get(t.design, -1),
            text=family.describe(t.design),
            seed=t.seed,
            fold=getattr(t, "fold", None),
            epochs=t.epochs,
            status=t.status,
            params=t.params,
            macs=t.macs,
            val_auc=t.val_auc,
            lam=sum(t.lam.values()) / len(t.lam) if t.lam else None,
            seconds=t.seconds,
            cpu_seconds=t.cpu_seconds,
            reason=t.reason,
            finished=t.finished,
            how=t.how,
            redundancy=max((s.redundancy for s in t.signals.values()), default=None),
        )
        for number, t in enumerate(trainings, start=before + 1)
    )
