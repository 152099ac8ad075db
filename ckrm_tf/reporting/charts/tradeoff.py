"""AUC against parameters: every network of a search, with the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ckrm_tf.judge.select import CONFIRMED_SHARE
from ckrm_tf.reporting.charts.base import Chart, Mark, Role, Scale
from ckrm_tf.reporting.record import Baseline, Record, Tried
from ckrm_tf.reporting.words import plural

# The tones before it look like those of start, recommended and front.
FIRST_TONE = 3


def tradeoff(record: Record) -> Chart | None:
    """Mean validation AUC against trainable parameters; None before any finished training."""
    done = [one for one in record.tried if one.aucs]
    if not done:
        return None
    parts: list[tuple[str, Role, list[Tried]]] = [
        ("start", "start", [t for t in done if t.role == "start"]),
        ("recommended", "recommended", [t for t in done if t.role == "recommended"]),
        ("on the front", "front", [t for t in done if not t.role and t.front]),
        ("other networks", "other", [t for t in done if not t.role and not t.front]),
    ]
    best = sorted((t for t in done if t.front), key=lambda t: t.params)
    line = Mark("line", "front", *_places(best), role="front", listed=False)
    single = [(float(t.params), auc) for t in done if len(t.aucs) > 1 for auc in t.aucs]
    trainings = Mark(
        "points",
        "single trainings",
        tuple(x for x, _ in single),
        tuple(y for _, y in single),
        role="training",
    )
    marks = [
        line,
        *([trainings] if single else []),
        *(_points(name, role, rows) for name, role, rows in reversed(parts) if rows),
    ]
    strategy = record.settings.get("strategy")
    if strategy == "uniform":
        marks = [_renamed(m, "other networks (uniform widths)") for m in marks]
    marks = [*_baselines(record.baselines), *marks]
    limit = _limit(record, done)
    return Chart(
        name="auc_by_params",
        title="Validation AUC against trainable parameters",
        caption=(
            "One point for each network, its mean over its trainings; small circles are the "
            "trainings of a network trained more than once. Bars reach from the lowest "
            "to the highest training; a network trained once has none. They are no confidence "
            "intervals. The line joins the networks that no other beats in both."
            + (
                f" Dashed: {CONFIRMED_SHARE:g} of the margin below the start, the least that holds."
                if limit
                else ""
            )
            + (
                " Baselines are networks of searches that no measure guides, by the same recipe."
                if record.baselines
                else ""
            )
        ),
        x=Scale("trainable parameters (log scale)", "log"),
        y=Scale("validation AUC, macro mean (no unit)"),
        marks=(*([limit] if limit else []), *marks),
        height=460,
    )


def _places(rows: Sequence[Tried | Baseline]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(float(t.params) for t in rows), tuple(sum(t.aucs) / len(t.aucs) for t in rows)


def _points(
    name: str,
    role: Role,
    rows: Sequence[Tried | Baseline],
    called: Callable[[Any], str] = lambda t: f"network {t.number}",
    tone: int | None = None,
) -> Mark:
    return Mark(
        "points",
        name,
        *_places(rows),
        role=role,
        tone=tone,
        low=tuple(min(t.aucs) for t in rows),
        high=tuple(max(t.aucs) for t in rows),
        text=tuple(
            f"{called(t)}: {t.text}<br>{t.params:,} parameters, {plural(len(t.aucs), 'training')}"
            for t in rows
        ),
    )


def _renamed(mark: Mark, name: str) -> Mark:
    return Mark(**vars(mark) | {"name": name}) if mark.name == "other networks" else mark


def _baselines(networks: Sequence[Baseline]) -> list[Mark]:
    """The networks of each unguided strategy."""
    marks = []
    for tone, name in enumerate(dict.fromkeys(n.strategy for n in networks), start=FIRST_TONE):
        rows = [n for n in networks if n.strategy == name]
        marks.append(_points(f"baseline: {name}", "series", rows, lambda n: n.strategy, tone))
    return marks


def _limit(record: Record, done: Sequence[Tried]) -> Mark | None:
    start = next((t for t in done if t.role == "start"), None)
    # With folds a difference is taken within each fold, so no one height is the limit.
    if start is None or record.margin is None or any(t.fold is not None for t in record.trainings):
        return None
    height = (start.auc or 0.0) - CONFIRMED_SHARE * record.margin
    ends = (float(min(t.params for t in done)), float(max(t.params for t in done)))
    return Mark("line", "kept margin", ends, (height, height), role="limit", dashed=True)
