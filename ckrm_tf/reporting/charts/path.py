"""How the widths went over the networks of a search, and all widths beside size and AUC."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ckrm_tf.reporting.charts.base import Chart, Mark, Role, Scale
from ckrm_tf.reporting.record import AxisRow, Record, Tried

# More lines than this cannot be told apart: then the mean of each stage is drawn, or of all.
MOST_LINES = 8
# Of more networks than this each line is thin.
MOST_THICK = 40


# What stands for the widths of a stage that is absent, where a logarithm is taken.
ABSENT = 0.5


def widths_by_network(record: Record) -> Chart | None:
    """Each width as a share of the start's, over the networks in the order of the search."""
    tried = record.tried
    if len(tried) < 2:
        return None
    lines = _lines([a for a in record.axes if a.kind == "width"])
    numbers = tuple(float(t.number) for t in tried)
    marks = [
        Mark(
            "line",
            name,
            numbers,
            tuple(_share(t, axes) for t in tried),
            role="series",
        )
        for name, axes in lines.items()
    ]
    chosen = [t for t in tried if t.role == "recommended"]
    if chosen:
        marks.append(
            Mark(
                "points",
                "recommended",
                tuple(float(t.number) for t in chosen for _ in lines),
                tuple(_share(t, axes) for t in chosen for axes in lines.values()),
                role="recommended",
            )
        )
    return Chart(
        name="widths_by_network",
        title="Widths over the search",
        caption=(
            "Networks in the order of their first training; 0 is the start. Where a line stands "
            "for several widths it is their geometric mean."
        ),
        x=Scale("network (number in the order of the search)", "count"),
        y=Scale("width (% of the start's channels, log scale)", "log"),
        marks=tuple(marks),
    )


def parallel(record: Record) -> Chart | None:
    """One line for each network through its size, its AUC and its widths."""
    done = [t for t in record.tried if t.aucs]
    if len(done) < 2:
        return None
    lines = _lines([a for a in record.axes if a.kind == "width"])
    columns: dict[str, list[float]] = {
        f"{name} (%)": [_share(t, axes) for t in done] for name, axes in lines.items()
    }
    columns["parameters (%)"] = [100 * t.params / max(done[0].params, 1) for t in done]
    columns["AUC"] = [t.auc or 0.0 for t in done]
    log = set(columns) - {"AUC"}
    heights = {name: _unit(values, log=name in log) for name, values in columns.items()}
    names = tuple(
        f"{name}<br>{min(values):.3g} to {max(values):.3g}" for name, values in columns.items()
    )
    groups: list[tuple[str, Role, list[int]]] = [
        ("below the kept margin", "lost", [i for i, t in enumerate(done) if _plain(t, False)]),
        ("holds", "front", [i for i, t in enumerate(done) if _plain(t, True)]),
        ("not judged", "other", [i for i, t in enumerate(done) if _plain(t, None)]),
        ("start", "start", [i for i, t in enumerate(done) if t.role == "start"]),
        ("recommended", "recommended", [i for i, t in enumerate(done) if t.role == "recommended"]),
    ]
    marks = []
    for name, role, rows in groups:
        if rows:
            x: list[float | str | None] = []
            y: list[float | str | None] = []
            for row in rows:
                x += [*names, None]
                y += [*(heights[column][row] for column in columns), None]
            thin = len(rows) > MOST_THICK
            marks.append(Mark("line", name, tuple(x), tuple(y), role=role, thin=thin))
    return Chart(
        name="parallel_coordinates",
        title="Every network: widths, parameters and AUC",
        caption=(
            "One line for each network. Each column runs from its lowest value at the bottom to "
            "its highest at the top, both named below it; all but the AUC on a log scale. Widths "
            "and parameters are in % of the start's."
        ),
        x=Scale("", "names", names),
        y=Scale("from lowest (0) to highest (1)", limits=(-0.04, 1.04)),
        marks=tuple(marks),
        height=460,
    )


def _plain(one: Tried, holds: bool | None) -> bool:
    return not one.role and one.holds is holds


def _lines(axes: Sequence[AxisRow]) -> dict[str, list[AxisRow]]:
    """What each line stands for: a width, or a stage where there are many, or all."""
    if len(axes) <= MOST_LINES:
        return {axis.name: [axis] for axis in axes}
    stages: dict[str, list[AxisRow]] = {}
    for axis in axes:
        stages.setdefault(axis.group, []).append(axis)
    if len(stages) <= MOST_LINES:
        return {f"{name}, mean": found for name, found in stages.items()}
    return {f"all {len(axes)} widths, mean": list(axes)}


def _share(one: Tried, axes: Sequence[AxisRow]) -> float:
    """Geometric mean of the widths in per cent of the start's."""
    logs = [
        math.log(max(one.design[a.name], ABSENT) / a.start) for a in axes if a.name in one.design
    ]
    return 100 * math.exp(sum(logs) / len(logs)) if logs else 100.0


def _unit(values: Sequence[float], *, log: bool) -> list[float]:
    found = [math.log(max(v, 1e-12)) for v in values] if log else list(values)
    low, high = min(found), max(found)
    return [0.5 if high == low else (v - low) / (high - low) for v in found]
