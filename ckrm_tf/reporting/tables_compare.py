"""A comparison as files for other programs: every repeat as CSV, the main table as LaTeX. Pure."""

from __future__ import annotations

import csv
import io

from ckrm_tf.reporting.comparison import Comparison, Spread, Strategy
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.tex import tabular
from ckrm_tf.reporting.words import plural, spread, whole

COLUMNS = (
    "strategy", "repeat", "trainings", "params", "params_held", "macs_held", "cpu_seconds",
    "trainings_to_target",
)  # fmt: skip


def strategies_csv(record: Record) -> str:
    """One row for each strategy, repeat and number of trainings that the page shows.

    `params` is as the search saw it, `params_held` over new seeds; a number that was not asked for
    or never reached is left empty.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    found = record.comparison
    for one in found.strategies if found else ():
        held = {h.trainings: h for h in one.held}
        spent = {
            (s.repeat, s.number): s.cpu_seconds
            for s in (found.steps if found else ())
            if s.strategy == one.name
        }
        for repeat in range(len(one.trainings)):
            for number in found.columns if found else ():
                if number > one.budget:
                    continue
                new = held.get(number)
                row = [
                    one.after_all(number).each[repeat],
                    new and new.params.each[repeat],
                    new and new.macs.each[repeat],
                    spent.get((repeat + 1, number)),
                    one.to_target and one.to_target.each[repeat],
                ]
                cells = ["" if value is None else value for value in row]
                rows.writerow([one.name, repeat + 1, number, *cells])
    return text.getvalue()


def strategies_table(record: Record) -> str:
    """Every strategy as a tabular; needs booktabs."""
    found = record.comparison
    if found is None or not found.strategies:
        return "% No repeat of the comparison has ended.\n"
    head = ["Strategy", f"Parameters after {found.budget} trainings"]
    head += [f"Held over {plural(len(found.seeds), 'new seed')}"] if found.seeds else []
    head += [f"Trainings to {whole(found.target)}"] if found.target else []
    head.append("CPU s")
    rows = [_cells(found, one) for one in found.strategies]
    return tabular(_caption(found, record), head, rows)


def _caption(found: Comparison, record: Record) -> str:
    start = f" The start has {whole(record.start.params)} parameters." if record.start else ""
    return (
        "Parameters of the smallest network at intact AUC. "
        f"Median (range) over {plural(found.repeats, 'repeat')}.{start}"
    )


def _cells(found: Comparison, one: Strategy) -> list[str]:
    held = [h.params for h in one.held if h.trainings == found.budget]
    cells: list[Spread | None] = [one.after_all(found.budget)]
    cells += [held[0] if held else None] if found.seeds else []
    cells += [one.to_target] if found.target else []
    return [one.name, *(spread(cell) for cell in (*cells, one.cpu))]
