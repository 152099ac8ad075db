"""Lambda by layer, the start beside the recommended network."""

from __future__ import annotations

from collections.abc import Mapping

from ckrm_tf.reporting.charts.base import Chart, Mark, Role, Scale
from ckrm_tf.reporting.record import Record


def lambda_by_layer(record: Record) -> Chart | None:
    """Lambda of each measured convolution of the two networks; None where none was measured."""
    parts: list[tuple[str, Role, Mapping[str, float]]] = []
    if record.start is not None:
        parts += [
            ("start", "start", record.start.lam),
            ("random kernels, shapes of the start", "random", record.start.null),
        ]
    if record.recommended is not None and record.smaller:
        parts += [
            ("recommended", "recommended", record.recommended.lam),
            ("random kernels, shapes of the recommended", "random", record.recommended.null),
        ]
    layers = tuple(dict.fromkeys(layer for _, _, lam in parts for layer in lam))
    if not layers:
        return None
    marks = tuple(
        Mark(
            "points",
            name,
            tuple(lam.values()),
            tuple(lam),
            role=role,
            text=tuple(f"{layer}: {value:.4f}" for layer, value in lam.items()),
        )
        for name, role, lam in parts
        if lam
    )
    return Chart(
        name="lambda_by_layer",
        title="Lambda of each convolution",
        caption=(
            "The share of kernel pairs that are too alike, mean over trainings; 0 is none. A layer "
            "that only one network has shows one point."
        ),
        x=Scale("lambda (share of pairs, 0 to 1)", limits=(-0.03, 1.03)),
        # The first layer stands at the top.
        y=Scale("", "names", layers[::-1]),
        marks=marks,
        height=140 + 26 * len(layers),
    )
