"""The figures by name: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.reporting.charts.base import Chart
from ckrm_tf.reporting.charts.compared import (
    auc_by_strategy,
    params_by_cpu,
    params_by_training,
)
from ckrm_tf.reporting.charts.curves import roc_curves
from ckrm_tf.reporting.charts.layers import lambda_by_layer
from ckrm_tf.reporting.charts.path import parallel, widths_by_network
from ckrm_tf.reporting.charts.tradeoff import tradeoff
from ckrm_tf.reporting.record import Record

# Each gives None for a record that lacks what it shows.
CHARTS: dict[str, Callable[[Record], Chart | None]] = {
    "auc_by_params": tradeoff,
    "widths_by_network": widths_by_network,
    "parallel_coordinates": parallel,
    "lambda_by_layer": lambda_by_layer,
    "roc_curves": roc_curves,
    "params_by_training": params_by_training,
    "params_by_cpu": params_by_cpu,
    "auc_by_strategy": auc_by_strategy,
}


def charts_of(record: Record) -> dict[str, Chart]:
    """Every figure that the record has the data for, by name."""
    found = {name: make(record) for name, make in CHARTS.items()}
    return {name: chart for name, chart in found.items() if chart is not None}
