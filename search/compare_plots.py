"""Plots of a comparison: parameters against trainings and time, AUC against parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.compare_rows import Row
from search.compare_tables import Runs, best_after, best_within


def plot_all(runs: Runs, folder: Path, trainings: int, margin: float) -> list[Path]:
    """Write the three plots as PNG and return their paths.

    Args:
        runs: every strategy's repeats.
        folder: where the plots go.
        trainings: the budget, to which the line of a strategy that ended before it is drawn out.
        margin: drawn into the plot of AUC.
    """
    return [
        plot_trainings(runs, folder / "params_by_training.png", trainings),
        plot_seconds(runs, folder / "params_by_seconds.png"),
        plot_auc(runs, folder / "auc_by_params.png", margin),
    ]


def _figure() -> tuple[Figure, Axes]:
    # A Figure of its own rather than pyplot: no global state, no display needed.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _finish(figure: Figure, axes: Axes, path: Path) -> Path:
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    return path


def _band(axes: Axes, name: str, x: np.ndarray, values: np.ndarray, colour: str) -> None:
    """Median over repeats as a line, their range as a band; `values` is (repeats, points)."""
    axes.step(x, np.median(values, axis=0), where="post", color=colour, label=name)
    low, high = values.min(axis=0), values.max(axis=0)
    axes.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def plot_trainings(runs: Runs, path: Path, trainings: int) -> Path:
    """Parameters of the smallest acceptable network against trainings."""
    figure, axes = _figure()
    for index, (name, repeats) in enumerate(runs.items()):
        numbers = range(1, max(trainings, *(len(rows) for rows in repeats)) + 1)
        values = np.array([[best_after(rows, n) for n in numbers] for rows in repeats])
        _band(axes, name, np.array(numbers), values, f"C{index}")
    axes.set(yscale="log", xlabel="trainings", ylabel="parameters, smallest at intact AUC")
    return _finish(figure, axes, path)


def plot_seconds(runs: Runs, path: Path) -> Path:
    """Parameters of the smallest acceptable network against the wall time of the trainings."""
    figure, axes = _figure()
    for index, (name, repeats) in enumerate(runs.items()):
        times = sorted({r.cumulative_seconds for rows in repeats for r in rows})
        values = np.array([[best_within(rows, t) for t in times] for rows in repeats])
        _band(axes, name, np.array(times), values, f"C{index}")
    axes.set(
        yscale="log", xlabel="seconds of training", ylabel="parameters, smallest at intact AUC"
    )
    return _finish(figure, axes, path)


def plot_auc(runs: Runs, path: Path, margin: float) -> Path:
    """Validation AUC of every full training against its parameters, less that of its start."""
    figure, axes = _figure()
    for index, (name, repeats) in enumerate(runs.items()):
        points = [p for rows in repeats for p in _differences(rows)]
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.scatter(x, y, s=14, color=f"C{index}", alpha=0.6, label=name)
    axes.axhline(-margin, color="grey", linewidth=1, linestyle="--")
    axes.set(xscale="log", xlabel="parameters", ylabel="validation AUC - that of the start")
    return _finish(figure, axes, path)


def _differences(rows: Sequence[Row]) -> list[tuple[int, float]]:
    start = rows[0].val_auc
    if start is None:
        return []
    return [
        (r.params, r.val_auc - start)
        for r in rows
        if r.val_auc is not None and r.epochs >= rows[0].epochs
    ]
