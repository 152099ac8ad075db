"""The tables that a comparison shows on screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ckrm_tf.reporting.comparison import GUIDED, SHOWN
from search.console import count, duration


def show_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the tables of `search.compare_tables.summarise`."""
    trainings, strategies = summary["trainings"], summary["strategies"]
    numbers = sorted({n for n in SHOWN if n < trainings} | {trainings})
    table = _table(
        console, "parameters of the smallest network at intact AUC, after so many trainings:"
    )
    table.add_column("strategy")
    for number in numbers:
        table.add_column(str(number), justify="right")
    for name, found in strategies.items():
        table.add_row(name, *(_cell(found["best_params_after"][n], count) for n in numbers))
    console.print(table)

    table = _table(console, "the same, in so much time of training:")
    table.add_column("strategy")
    for column in summary["within_seconds"]:
        table.add_column(
            f"{duration(column['seconds'])}\n({column['as_long_as']})", justify="right"
        )
    for name in strategies:
        table.add_row(
            name, *(_cell(c["best_params"][name], count) for c in summary["within_seconds"])
        )
    console.print(table)

    table = _table(console, "what it takes:")
    table.add_column("strategy")
    targets = list(next(iter(strategies.values()))["trainings_to"])
    for target in targets:
        table.add_column(f"trainings to\n{target:,} params", justify="right")
    table.add_column("time of the\nfirst 10", justify="right")
    matched = summary["guided_after_10"]
    if matched:
        table.add_column(f"trainings to what\n{GUIDED} has after 10", justify="right")
    for name, found in strategies.items():
        cells = [_cell(found["trainings_to"][t], str) for t in targets]
        cells.append(_cell(found["seconds_of_first_10"], duration))
        if matched:
            cells.append(_cell(matched["trainings"][name], str) if name != GUIDED else "")
        table.add_row(name, *cells)
    console.print(table)


def show_confirmed(console: Console, held: Mapping[str, Any]) -> None:
    """Print what `search.compare_final.confirm_all` found."""
    table = _table(
        console,
        f"smallest network that holds over {len(held['seeds'])} new seeds, of each repeat:",
    )
    table.add_column("strategy")
    for head in ("full trainings", "parameters", "each repeat"):
        table.add_column(head, justify="right")
    for name, budgets in held["strategies"].items():
        for budget, found in budgets.items():
            each = ", ".join(count(p) for p in found["params"]["repeats"])
            table.add_row(name, str(budget), _cell(found["params"], count), each)
    console.print(table)


def _table(console: Console, title: str) -> Table:
    # A title of the table itself would be wrapped at the table's width.
    console.print(f"\n{title}", highlight=False)
    return Table(box=None, pad_edge=False)


def _cell(spread: Mapping[str, Any], text: Any) -> str:
    """Median and range; a dash where it was never reached."""
    words = [text(v) if v is not None else "-" for v in (spread[k] for k in _KEYS)]
    middle, low, high = words
    return middle if low == high else f"{middle} ({low} to {high})"


_KEYS = ("median", "min", "max")
