"""`python -m search.measure MODEL.keras`: the CKRM table of any saved Keras model, without data."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd

from ckrm_tf.criteria.eigenvalues import CRITERIA, slice_values, threshold_for
from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import model_kernels
from ckrm_tf.measures.redundancy import THRESHOLD
from ckrm_tf.measures.table import measure
from ckrm_tf.models.load import load_model
from search.cli import main
from search.model_file import model_path

WIDTH = 100
SLICE_THRESHOLD = 1e-3


def report(
    model: str,
    *,
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    pairs: int | None = None,
    pointwise: bool = False,
    criteria: bool = False,
    weight: float = SLICE_THRESHOLD,
    csv: str | None = None,
) -> None:
    """Print how redundant each convolution of a saved Keras model is.

    Args:
        model: a .keras or .h5 file.
        threshold: two kernels are alike above this similarity, 0 to 1.
        epsilon: absolute; by default a quarter of each layer's initial variance.
        pairs: compare only so many random pairs of kernels per layer.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
        criteria: show the slice criteria of arXiv 2102.02804 side by side.
        weight: the threshold T of the slice criteria.
        csv: write the whole table to this file too.
    """
    loaded = load_model(model_path(str(model)))
    rule = "a quarter of each layer's initial variance" if epsilon is None else f"{epsilon:g}"
    say(f"{model}: threshold {threshold}, epsilon {rule}, on {device()}")
    table = measure(loaded, threshold=threshold, epsilon=epsilon, pairs=pairs, pointwise=pointwise)
    columns = shown(table)
    draw(columns)
    for reason, names in table[table["skipped"] != ""].groupby("skipped", sort=False)["name"]:
        say(f"Skipped {len(names)} ({some(list(names))}): {reason}.")
    if criteria:
        say(f"\nShare of slices below T = {weight:g}, criterion by criterion (det: T to the k)")
        draw(slice_table(loaded, weight))
    if csv is not None:
        try:
            table.to_csv(csv, index=False)
        except OSError as error:
            raise CKRMError("csv", expected="a file that can be written", received=csv) from error
    say(reading(table))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The measured rows as text, the columns that fit a screen."""
    rows = []
    for row in table[table["skipped"] == ""].to_dict("records"):
        lam = f"{row['lambda']:.3f}"
        if row["low"] is not None and not math.isnan(row["low"]):
            lam += f" ({row['low']:.3f}-{row['high']:.3f})"
        needed = row["dissimilar"]
        filters = row["shape"][-1]
        rows.append(
            {
                "convolution": shorten(row["name"], 34),
                "shape": "x".join(map(str, row["shape"])),
                "lambda": lam,
                "null": f"{row['null']:.3f}",
                "mean": f"{row['mean']:.2f}",
                "95%": f"{row['q95']:.2f}",
                "pairs": str(int(row["pairs"])),
                "unlike": "-" if pd.isna(needed) else f"{int(needed)}/{filters}",
                "epsilon": f"{row['epsilon']:.1e}",
            }
        )
    return pd.DataFrame(rows)


def slice_table(model: keras.Model, weight: float) -> pd.DataFrame:
    """For each convolution with square slices, the share below the threshold per criterion."""
    rows = []
    for kernel in model_kernels(model):
        square = len(kernel.shape) == 4 and kernel.shape[0] == kernel.shape[1]
        if kernel.reason is None and square:
            weights = np.concatenate(kernel.groups, axis=-1)
            k = weights.shape[0]
            shares = {
                SHORT.get(name, name): np.mean(
                    slice_values(weights, name) < threshold_for(name, weight, k)
                )
                for name in CRITERIA
            }
            rows.append(
                {"convolution": shorten(kernel.name, 24)}
                | {name: f"{share:.3f}" for name, share in shares.items()}
            )
    return pd.DataFrame(rows)


SHORT = {
    "min_eig_real": "min_real",
    "spectral_radius": "radius",
    "spectral_radius_real": "radius_real",
    "spectral_norm": "norm",
}


def reading(table: pd.DataFrame) -> str:
    """What the table says, in a sentence."""
    measured = table[table["skipped"] == ""]
    if measured.empty:
        return "Nothing could be measured; --pointwise measures 1x1 convolutions."
    # A sampled lambda is above the null when its whole interval is.
    floor = measured["low"].astype(float).fillna(measured["lambda"].astype(float))
    above = measured[floor > measured["null"].astype(float) + 0.005]
    if above.empty:
        return (
            f"None of {len(measured)} layers is above its null (random kernels of the same shape). "
            "A lambda of 0 proves nothing by itself: random kernels read 0 too. "
            "Training with an L1 penalty lets unneeded kernels die, and lambda see them."
        )
    worst = above.loc[above["lambda"].astype(float).idxmax()]
    return (
        f"{len(above)} of {len(measured)} layers are above their null "
        f"(random kernels of the same shape), most of all {worst['name']}: "
        f"{worst['lambda']:.0%} of its pairs are alike."
    )


def draw(table: pd.DataFrame) -> None:
    """A rich table on a terminal, aligned text elsewhere; nothing for an empty table."""
    if table.empty:
        return
    if not sys.stdout.isatty():
        cells = [list(table.columns), *table.astype(str).to_numpy().tolist()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            first, *rest = (
                text.ljust(width) if i == 0 else text.rjust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            say("  ".join([first, *rest]))
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for i, name in enumerate(table.columns):
        drawn.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in table.astype(str).to_numpy():
        drawn.add_row(*row)
    Console(width=WIDTH).print(drawn)


def shorten(name: str, width: int) -> str:
    """The end of a long name: layers inside others differ there."""
    return name if len(name) <= width else "…" + name[1 - width :]


def some(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")


def device() -> str:
    """Where Keras computes."""
    backend = keras.backend.backend()
    listed: list[Any] = keras.distribution.list_devices()
    return f"{backend}, {listed[0] if listed else 'cpu:0'}"


def say(text: str) -> None:
    """One paragraph of output."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main(report)
