"""ROC curves of both trained networks, class by class."""

from __future__ import annotations

from ckrm_tf.reporting.charts.base import Chart, Mark, Scale
from ckrm_tf.reporting.record import Record


def roc_curves(record: Record) -> Chart | None:
    """One curve for each class and network; None without predictions."""
    if not record.curves:
        return None
    classes = list(dict.fromkeys(curve.label for curve in record.curves))
    ordered = sorted(record.curves, key=lambda c: (classes.index(c.label), c.network != "start"))
    marks = [
        Mark(
            "line",
            f"{curve.label}, {curve.network}",
            curve.false_positive,
            curve.true_positive,
            role="series",
            tone=classes.index(curve.label),
            dashed=curve.network == "start",
        )
        for curve in ordered
    ]
    chance = Mark("line", "chance", (0.0, 1.0), (0.0, 1.0), role="limit", dashed=True)
    return Chart(
        name="roc_curves",
        title="ROC curves on the test split",
        caption=(
            "Each class against the rest, one trained network of each kind: the start dashed, the "
            "recommended network solid."
        ),
        x=Scale("1 - specificity (share of the other classes' images)", limits=(-0.01, 1.01)),
        y=Scale("sensitivity (share of the class's images)", limits=(-0.01, 1.01)),
        marks=(chance, *marks),
        height=480,
    )
