"""`python -m search.measure MODEL.keras`: the CKRM table of any saved Keras model."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd

from ckrm_tf.criteria.eigenvalues import CRITERIA, slice_values, threshold_for
from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import ConvolutionKernel, model_kernels
from ckrm_tf.measures.redundancy import THRESHOLD
from ckrm_tf.measures.responses_table import with_responses
from ckrm_tf.measures.table import check_arguments, kernel_table
from ckrm_tf.models.load import load_model
from ckrm_tf.models.stored import stored_kernels
from search.cli import main
from search.data_flags import data_flags
from search.measure_data import measured_on, reading_of_responses, shown_responses
from search.model_file import model_path
from search.narrow_inputs import check_data

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
    custom: str | None = None,
    unsafe: bool = False,
    data: str | None = None,
    pixels: str | None = None,
    output: str | None = None,
    image_size: int | None = None,
    **options: Annotated[Any, data_flags],
) -> None:
    """Print how redundant each convolution of a saved Keras model is; with data each width.

    Args:
        model: a .keras or .h5 file, a SavedModel folder, or the folder of an export.
        threshold: two kernels are alike above this similarity, 0 to 1.
        epsilon: absolute; by default a quarter of each layer's own energy.
        pairs: compare only so many random pairs of kernels per layer.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
        criteria: show the slice criteria of arXiv 2102.02804 side by side.
        weight: the threshold T of the slice criteria.
        csv: write the whole table to this file too.
        custom: a Python file that defines the model's own layers.
        unsafe: let code inside the model's file run.
        data: what `search.run` takes; the responses of the channels to its training images are
            measured too.
        pixels: LOW,HIGH, the values of a black and of a white pixel, where the model tells not.
        output: softmax, sigmoid or logits, where the model tells not.
        image_size: side of the images, where the model takes any.
        options: of the data; --help lists them.
    """
    check_arguments(threshold, epsilon, pairs)
    check_data(data, options)
    path = model_path(str(model), saved_model=True)
    kernels, notes = read_kernels(path, custom, unsafe)
    rule = "a quarter of each layer's own energy" if epsilon is None else f"{epsilon:g}"
    say(f"{path}: threshold {threshold}, epsilon {rule}, on {device()}")
    for note in notes:
        say(note)
    found = list(kernels(pointwise, True))
    if not found:
        expected = "at least one convolution"
        raise CKRMError(f"model {brief(path)}", expected=expected, received="none")
    table = kernel_table(found, threshold, epsilon, pairs)
    columns = shown(table)
    draw(columns)
    for reason, names in table[table["skipped"] != ""].groupby("skipped", sort=False)["name"]:
        say(f"Skipped {len(names)} ({some(list(names))}): {reason}.")
    folded = int(table["folded"].sum())
    say(f"{folded} of {len(columns)} are measured together with the batch norm that follows.")
    if criteria:
        say(f"\nShare of slices below T = {weight:g}, criterion by criterion (det: T to the k)")
        draw(slice_table(kernels(False, False), weight))
    made, weights = None, table
    if data is not None:
        made, rows = measured_on(
            path, data, threshold, options, pixels=pixels, output=output, image_size=image_size,
            custom=custom, unsafe=unsafe,
        )  # fmt: skip
        draw(shown_responses(rows))
        table = with_responses(table, made, rows)
    if csv is not None:
        try:
            table.to_csv(csv, index=False)
        except OSError as error:
            raise CKRMError("csv", expected="a file that can be written", received=csv) from error
    say(reading(weights))
    if made is not None:
        say(reading_of_responses(rows, made))


def read_kernels(
    path: Path, custom: str | None, unsafe: bool
) -> tuple[Callable[[bool, bool], Iterable[ConvolutionKernel]], list[str]]:
    """A function of (pointwise, fold) that gives the kernels of a saved model, and what to say.

    Where the model cannot be rebuilt its weights are read from the file as they are.

    Raises:
        CKRMError: no such file, or neither a model nor weights in it.
    """
    cause = None
    if not path.is_dir():
        try:
            model = load_model(path, custom=custom, unsafe=unsafe)
        except CKRMError as error:
            if custom is not None or not path.is_file():
                raise
            cause = error
        else:
            return lambda pointwise, fold: model_kernels(model, pointwise=pointwise, fold=fold), []
    try:
        stored = stored_kernels(path, pointwise=True)
    except CKRMError:
        if cause is None:
            raise
        raise cause from None
    notes = ["The weights are read from the variables; the layers' kinds are not in them."]
    if cause is not None:
        notes = [f"The model is not rebuilt, its weights are read from the file: {cause}"]
    if stored.assumed:
        names = some(stored.assumed)
        notes.append(f"Taken for plain convolutions, as their layers are unknown: {names}.")

    def kernels(pointwise: bool, fold: bool) -> Iterable[ConvolutionKernel]:
        return stored_kernels(path, pointwise=pointwise, fold=fold).kernels

    return kernels, notes


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
                "convolution": shorten(row["name"], 30),
                "shape": "x".join(map(str, row["shape"])),
                "lambda": lam,
                "null": f"{row['null']:.3f}±{row['null_sd']:.3f}",
                "mean": f"{row['mean']:.2f}",
                "95%": f"{row['q95']:.2f}",
                "pairs": str(int(row["pairs"])),
                "unlike": "-" if pd.isna(needed) else f"{int(needed)}/{filters}",
                "epsilon": f"{row['epsilon']:.1e}",
            }
        )
    return pd.DataFrame(rows)


def slice_table(kernels: Iterable[ConvolutionKernel], weight: float) -> pd.DataFrame:
    """For each convolution with square slices, the share below the threshold per criterion."""
    rows = []
    for kernel in kernels:
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
    above = measured[measured["told"].astype(bool)]
    if above.empty:
        return (
            f"None of {len(measured)} layers is above its null (random kernels of the same shape) "
            "by more than chance explains. "
            "A lambda of 0 proves nothing by itself: random kernels read 0 too. "
            "Kernels of trained networks are seldom alike as weights."
        )
    worst = above.loc[above["lambda"].astype(float).idxmax()]
    return (
        f"{len(above)} of {len(measured)} layers are above their null (random kernels of the same "
        f"shape) by more than chance explains, most of all {worst['name']}: "
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
