"""Every training, the seeds and folds behind the means, and what was left out."""

from __future__ import annotations

from ckrm_tf.reporting import words
from ckrm_tf.reporting.record import Record, TrainingRow
from ckrm_tf.reporting.sections.base import Block, Page, Table, Text
from ckrm_tf.train.way import PLAIN_NAME

HEAD = (
    "training", "network", "widths", "seed", "fold", "epochs", "status", "parameters",
    "MACs, one image", "validation AUC", "mean lambda", "wall time", "CPU time", "how",
)  # fmt: skip


def every_training(page: Page) -> list[Block]:
    """One row for each line of the journal."""
    rows = [t for t in page.record.trainings if not t.part]
    if not rows:
        return []
    total = sum(t.seconds for t in rows)
    folds = any(t.fold is not None for t in rows)
    ways = any(t.how != PLAIN_NAME for t in rows)
    dull = {name for name, told in (("fold", folds), ("how", ways)) if not told}
    kept = [i for i, name in enumerate(HEAD) if name not in dull]
    cells = [_cells(t) for t in rows]
    return [
        Text(
            f"{words.plural(len(rows), 'training')} of "
            f"{words.plural(len(page.record.tried), 'network')}, {words.duration(total)} in all. "
            "The same rows, with every width, are in trials.csv."
        ),
        Table(
            "trainings",
            "Every training in the order in which it was recorded; network 0 is the start.",
            tuple(HEAD[i] for i in kept),
            tuple(tuple(row[i] for i in kept) for row in cells),
            numeric=tuple(n for n, i in enumerate(kept) if i in (3, 4, 5, 7, 8, 9, 10, 11, 12)),
            prose=(2,),
            states=tuple("" if t.val_auc is not None else "failed" for t in rows),
        ),
    ]


def _cells(t: TrainingRow) -> tuple[str, ...]:
    return (
        str(t.number),
        str(t.network) if t.network >= 0 else "-",
        t.text,
        str(t.seed),
        "-" if t.fold is None else str(t.fold),
        str(t.epochs),
        t.status,
        words.whole(t.params),
        f"{words.amount(t.macs)} MACs",
        words.auc(t.val_auc),
        words.NONE if t.lam is None else f"{t.lam:.4f}",
        words.duration(t.seconds),
        words.duration(t.cpu_seconds),
        t.how,
    )


def seeds(page: Page) -> list[Block]:
    """The networks that were trained more than once."""
    again = [t for t in page.record.tried if len(t.aucs) > 1]
    if not again:
        blocks: list[Block] = [Text("Every network was trained once.")]
        return blocks + _folds(page) if page.record.tried else []
    return [
        Table(
            "seeds",
            "Networks trained more than once: the validation AUC of each training.",
            ("network", "widths", "trainings", "mean AUC", "lowest", "highest", "each AUC"),
            tuple(
                (
                    f"{t.number} {t.role}".strip(),
                    t.text,
                    str(len(t.aucs)),
                    words.auc(t.auc),
                    words.auc(min(t.aucs)),
                    words.auc(max(t.aucs)),
                    ", ".join(words.auc(a) for a in t.aucs),
                )
                for t in again
            ),
            numeric=(2, 3, 4, 5),
            prose=(1,),
        ),
        *_folds(page),
    ]


def _folds(page: Page) -> list[Block]:
    """The trainings of cross-validations: each fold has networks of its own."""
    groups: dict[tuple[str, str], list[TrainingRow]] = {}
    for row in page.record.trainings:
        if row.part:
            groups.setdefault((row.part, row.text), []).append(row)
    if not groups:
        return []
    rows = []
    for (part, text), found in groups.items():
        aucs = [t.val_auc for t in found if t.val_auc is not None]
        rows.append(
            (
                part,
                text,
                str(len(aucs)),
                words.auc(sum(aucs) / len(aucs) if aucs else None),
                ", ".join(words.auc(a) for a in aucs) or words.NONE,
            )
        )
    return [
        Table(
            "folds",
            "Trainings of cross-validations: each fold has networks of its own, so their AUC is in "
            "no mean of the search. It is that of the fold's validation images.",
            ("fold", "widths", "finished", "mean validation AUC", "each AUC"),
            tuple(rows),
            numeric=(2, 3),
            prose=(1,),
        )
    ]


def excluded(page: Page) -> list[Block]:
    """Trainings that the figures leave out, with the reason."""
    # Those of a cross-validation stand in a table of their own.
    own = [t for t in page.record.trainings if not t.part]
    rows = [(t, _why(t, page.record)) for t in own]
    rows = [(t, why) for t, why in rows if why]
    if not rows:
        return [Text("Nothing: every training stands in the figures.")] if page.record.tried else []
    return [
        Table(
            "excluded",
            "Trainings that no mean and no figure counts.",
            ("training", "widths", "seed", "status", "why"),
            tuple((str(t.number), t.text, str(t.seed), t.status, why) for t, why in rows),
            prose=(1, 4),
            stacked=True,
        )
    ]


def _why(t: TrainingRow, record: Record) -> str:
    if t.val_auc is None:
        return t.reason or "no reason was recorded"
    if t.how != PLAIN_NAME:
        own = [x for x in record.trainings if x.network == t.network and not x.part]
        plain = any(x.how == PLAIN_NAME and x.val_auc is not None for x in own)
        return f"{t.how}, and the network has plain trainings" if plain else ""
    epochs = record.settings.get("epochs", t.epochs)
    if t.epochs != epochs:
        return f"{t.epochs} epochs, where the search has {epochs}"
    return ""
