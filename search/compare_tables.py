"""From rows to tables: best so far, trainings to a target, medians over repeats. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ckrm_tf.reporting.comparison import GUIDED, Spread
from search.compare_rows import Row

# Trainings after which the strategies are compared early in their search; in the names below too.
EARLY = 10


def best_after(rows: Sequence[Row], number: int) -> int:
    """Parameters of the smallest acceptable network after `number` trainings, or at the end."""
    return rows[min(number, len(rows)) - 1].best_params


def best_within(rows: Sequence[Row], seconds: float) -> int:
    """The same after so many seconds; the starting network is there from the beginning."""
    done = [r for r in rows if r.cumulative_seconds <= seconds]
    return done[-1].best_params if done else rows[0].params


def trainings_to(rows: Sequence[Row], params: int) -> int | None:
    """Trainings until the smallest acceptable network has at most `params`; None when never."""
    return next((r.number for r in rows if r.best_params <= params), None)


def seconds_to(rows: Sequence[Row], params: int) -> float | None:
    """Seconds until the smallest acceptable network has at most `params`; None when never."""
    return next((r.cumulative_seconds for r in rows if r.best_params <= params), None)


def seconds_of(rows: Sequence[Row], trainings: int) -> float | None:
    """Wall time of the first so many trainings; None when there were fewer."""
    return rows[trainings - 1].cumulative_seconds if len(rows) >= trainings else None


def cpu_seconds_of(rows: Sequence[Row], trainings: int) -> float | None:
    """Processor time of the first so many trainings; None when there were fewer."""
    return rows[trainings - 1].cumulative_cpu_seconds if len(rows) >= trainings else None


def spread_of(values: Iterable[float | None]) -> dict[str, Any]:
    """Median and range over repeats, where None ("never") is above every number."""
    found = Spread.of(values)
    return {
        "median": found.median,
        "min": found.low,
        "max": found.high,
        "repeats": list(found.each),
    }


Runs = dict[str, list[list[Row]]]
"""Rows by strategy, one list a repeat, in the order of the repeats."""


def summarise(runs: Runs, trainings: int, targets: Sequence[int]) -> dict[str, Any]:
    """Everything the comparison says, per strategy and repeat and over repeats, as plain values.

    Args:
        runs: every strategy's repeats.
        trainings: the common budget.
        targets: parameter counts to be reached.
    """
    strategies: dict[str, Any] = {}
    for name, repeats in runs.items():
        longest = max(trainings, *(len(rows) for rows in repeats))
        strategies[name] = {
            "trainings": [len(rows) for rows in repeats],
            "full_trainings": [rows[-1].full for rows in repeats],
            "seconds": [rows[-1].cumulative_seconds for rows in repeats],
            "steps": [sum(r.steps for r in rows) for rows in repeats],
            "best_params_after": {
                n: spread_of(best_after(rows, n) for rows in repeats) for n in range(1, longest + 1)
            },
            "smallest": [_smallest(rows, trainings) for rows in repeats],
            "trainings_to": {
                t: spread_of(trainings_to(rows, t) for rows in repeats) for t in targets
            },
            "seconds_to": {t: spread_of(seconds_to(rows, t) for rows in repeats) for t in targets},
            "seconds_of_first_10": spread_of(seconds_of(rows, EARLY) for rows in repeats),
            "cpu_seconds_of_first_10": spread_of(cpu_seconds_of(rows, EARLY) for rows in repeats),
        }
    return {
        "trainings": trainings,
        "strategies": strategies,
        "within_seconds": _within_seconds(runs, trainings),
        "guided_after_10": matching(runs, EARLY),
    }


def _smallest(rows: Sequence[Row], trainings: int) -> dict[str, Any]:
    within = rows[: min(trainings, len(rows))]
    best = next(r for r in within if r.widths == within[-1].best_widths)
    return {
        "widths": best.widths,
        "params": best.params,
        "macs": best.macs,
        "val_auc": best.val_auc,
        "training": best.number,
    }


def _within_seconds(runs: Runs, trainings: int) -> list[dict[str, Any]]:
    """The table by time, at the times the first strategy took for 5, 10, ... trainings."""
    if not runs:
        return []
    lead = next(iter(runs))
    table = []
    for number in sorted({n for n in (5, 10, 20, 40) if n < trainings} | {trainings}):
        times = [rows[min(number, len(rows)) - 1].cumulative_seconds for rows in runs[lead]]
        seconds = median(times)
        best = {k: spread_of(best_within(r, seconds) for r in v) for k, v in runs.items()}
        table.append({"as_long_as": f"{lead}, {number}", "seconds": seconds, "best_params": best})
    return table


def matching(runs: Runs, after: int, guided: str = GUIDED) -> dict[str, Any]:
    """Trainings each other strategy needs for what the guided one has after so many.

    Repeats are compared one with one: they share their training seeds. None: never.
    """
    if guided not in runs:
        return {}
    goals = [best_after(rows, after) for rows in runs[guided]]
    found = {}
    for name, repeats in runs.items():
        if name != guided:
            pairs = zip(repeats, goals, strict=True)
            found[name] = spread_of(trainings_to(rows, goal) for rows, goal in pairs)
    return {"params": goals, "trainings": found}


def curves(runs: Runs) -> list[dict[str, Any]]:
    """One record per strategy and number of trainings: each repeat's best, median and range."""
    records = []
    for name, repeats in runs.items():
        for number in range(1, max(len(rows) for rows in repeats) + 1):
            params = [best_after(rows, number) for rows in repeats]
            spread = {"median": median(params), "min": min(params), "max": max(params)}
            each = {f"repeat_{i}": p for i, p in enumerate(params, start=1)}
            records.append({"strategy": name, "trainings": number} | spread | each)
    return records
