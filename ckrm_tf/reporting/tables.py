"""The run as files for other programs: every training as CSV, the main table as LaTeX. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from ckrm_tf.reporting import words
from ckrm_tf.reporting.record import Estimate, Network, Record
from ckrm_tf.reporting.tables_compare import strategies_csv, strategies_table
from ckrm_tf.reporting.tex import tabular

COLUMNS = (
    "training", "part", "network", "seed", "fold", "epochs", "status", "params", "macs", "val_auc",
    "mean_lambda", "wall_seconds", "cpu_seconds", "finished", "reason", "how",
)  # fmt: skip


def trials_csv(record: Record) -> str:
    """One row for each training; after the fixed columns one for each width or depth."""
    designs = {one.number: one.design for one in record.tried}
    names = [axis.name for axis in record.axes]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *names])
    for t in record.trainings:
        design = designs.get(t.network, {})
        rows.writerow(
            [
                t.number, t.part or "search", t.network, t.seed,
                "" if t.fold is None else t.fold, t.epochs, t.status,
                t.params, t.macs, "" if t.val_auc is None else t.val_auc,
                "" if t.lam is None else t.lam, t.seconds, t.cpu_seconds, t.finished,
                t.reason or "", t.how, *(design.get(name, "") for name in names),
            ]
        )  # fmt: skip
    return text.getvalue()


def latex_table(record: Record) -> str:
    """Start and recommended as a tabular, with the verdict in the caption; needs booktabs."""
    if record.start is None or record.recommended is None:
        return "% No two networks to set side by side.\n"
    head = ("Network", "Parameters", "MACs", "Validation AUC", "AUC, unseen images")
    rows = [_row("Start", record.start), _row("Recommended", record.recommended)]
    return tabular(words.verdict(record.verdict), head, rows)


def _row(name: str, network: Network) -> list[str]:
    return [
        name,
        words.whole(network.params),
        words.amount(network.macs),
        _estimate(network.val_auc),
        _estimate(network.test_auc or network.trained_auc),
    ]


def _estimate(found: Estimate | None) -> str:
    return "not measured" if found is None else words.estimate(found).removesuffix(" (no interval)")


Writer = Callable[[Record], str]


def data_files(record: Record) -> dict[str, Writer]:
    """The files for other programs that stand beside a page, by name."""
    if record.comparison is not None:
        return {"strategies.csv": strategies_csv, "table.tex": strategies_table}
    return {"trials.csv": trials_csv, "table.tex": latex_table}
