"""The figures of a comparison: parameters against trainings and processor time, AUC and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ckrm_tf.reporting.charts.base import Chart, Mark, Scale
from ckrm_tf.reporting.comparison import Comparison, Spread, Step
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.words import duration, plural

SIZE = Scale("parameters at intact AUC (log scale)", "log")


def params_by_training(record: Record) -> Chart | None:
    """What each search has after so many trainings; None without a comparison."""
    found = record.comparison
    if found is None or not found.strategies:
        return None
    marks: list[Mark] = []
    for tone, one in enumerate(found.strategies):
        last = max(one.budget, *one.after)
        numbers = range(1, last + 1)
        heights = [one.after_all(n) for n in numbers]
        marks += _band(one.name, tone, [float(n) for n in numbers], heights)
    return Chart(
        name="params_by_training",
        title="Parameters against trainings",
        caption=(
            f"{_read(found)} Intact: as each search sees it, by the trainings that it has had. A "
            "network that has lost since leaves again, so a line may rise."
        ),
        x=Scale("trainings (the first is that of the start)", "count"),
        y=SIZE,
        marks=tuple(marks),
    )


def params_by_cpu(record: Record) -> Chart | None:
    """What each search has after so much processor time; None without its trainings."""
    found = record.comparison
    if found is None or not found.steps:
        return None
    marks: list[Mark] = []
    for tone, one in enumerate(found.strategies):
        repeats = _repeats(found, one.name)
        times = sorted({0.0, *(s.cpu_seconds for steps in repeats for s in steps)})
        heights = [Spread.of(_within(steps, t) for steps in repeats) for t in times]
        marks += _band(one.name, tone, times, heights)
    return Chart(
        name="params_by_cpu",
        title="Parameters against processor time",
        caption=(
            f"{_read(found)} Processor time is that of the trainings and of what a search works "
            "out between them; a training that two searches share counts for both."
        ),
        x=Scale("processor time of the trainings (CPU s)"),
        y=SIZE,
        marks=tuple(marks),
    )


def auc_by_strategy(record: Record) -> Chart | None:
    """AUC and parameters of every full training; None without any beside a start's."""
    found = record.comparison
    if found is None:
        return None
    marks = []
    for tone, one in enumerate(found.strategies):
        rows = [s for s in found.steps if s.strategy == one.name and _full(s, found)]
        if rows:
            marks.append(
                Mark(
                    "points",
                    one.name,
                    tuple(float(s.params) for s in rows),
                    tuple(_difference(s) for s in rows),
                    role="series",
                    tone=tone,
                    text=tuple(
                        f"repeat {s.repeat}, training {s.number}: {s.text}<br>{s.params:,} "
                        f"parameters, AUC {s.val_auc:.3f}, {duration(s.cpu_seconds)} of CPU so far"
                        for s in rows
                    ),
                )
            )
    if not marks:
        return None
    sizes = [x for mark in marks for x in mark.x if isinstance(x, float)]
    limits = []
    if record.margin is not None:
        ends, height = (min(sizes), max(sizes)), -record.margin
        limits = [Mark("line", "margin", ends, (height, height), role="limit", dashed=True)]
    return Chart(
        name="auc_by_strategy",
        title="AUC against parameters, every strategy",
        caption=(
            "One point for each full training, less the AUC of the first training of its repeat's "
            "start."
            + (f" Dashed: the margin of {record.margin:g} below it." if limits else "")
            + " Single trainings differ by luck too: nothing here is a verdict."
        ),
        x=Scale("trainable parameters (log scale)", "log"),
        y=Scale("validation AUC minus that of the start (no unit)"),
        marks=(*limits, *marks),
        height=460,
    )


def _read(found: Comparison) -> str:
    repeats = plural(found.repeats, "repeat")
    if found.repeats == 1:
        return "One line for each strategy, of its one repeat."
    return f"Lines: the median over {repeats}. Bands reach from the lowest to the highest."


def _band(name: str, tone: int, x: Sequence[float], heights: Sequence[Spread]) -> list[Mark]:
    """The median as a line, and the range where there is one."""
    places = tuple(x)

    def of(side: Callable[[Spread], float | None]) -> tuple[float, ...]:
        return tuple(side(h) or 0.0 for h in heights)

    middle = of(lambda h: h.median)
    line = Mark("line", name, places, middle, role="series", tone=tone, step=True)
    low, high = of(lambda h: h.low), of(lambda h: h.high)
    if low == high:
        return [line]
    return [replace(line, kind="band", low=low, high=high, listed=False), line]


def _repeats(found: Comparison, name: str) -> list[list[Step]]:
    steps: dict[int, list[Step]] = {}
    for step in found.steps:
        if step.strategy == name:
            steps.setdefault(step.repeat, []).append(step)
    return list(steps.values())


def _within(steps: Sequence[Step], seconds: float) -> int:
    """Parameters in so much time; the start is there from the beginning."""
    done = [s for s in steps if s.cpu_seconds <= seconds]
    return done[-1].best_params if done else steps[0].params


def _full(step: Step, found: Comparison) -> bool:
    return None not in (step.val_auc, step.start_auc) and step.epochs >= found.epochs


def _difference(step: Step) -> float:
    return (step.val_auc or 0.0) - (step.start_auc or 0.0)
