"""`python -m search.measure --data`: what the channels of a saved model say on images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console

from ckrm_tf.measures.responses import ResponseMeasure
from ckrm_tf.models.facts import as_pixels, read_facts
from ckrm_tf.models.load import load_model
from ckrm_tf.narrowing.responses import evenly
from search.brought import IMAGES, pixel_range
from search.console import read_images, show_data
from search.data_flags import loader_options


def measured_on(
    path: Path,
    data: str,
    threshold: float,
    options: Mapping[str, Any],
    *,
    pixels: str | None,
    output: str | None,
    image_size: int | None,
    custom: str | None,
    unsafe: bool,
) -> tuple[ResponseMeasure, pd.DataFrame]:
    """The measure of a saved model on training images of a data set, and its table.

    Raises:
        CKRMError: a model that cannot be rebuilt or that takes other images, or no such data.
    """
    model: keras.Model = load_model(path, custom=custom, unsafe=unsafe)
    facts = read_facts(model, pixels=pixel_range(pixels), output=output)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(f"          {facts}", highlight=False)
    side = facts.side(image_size)
    found = read_images(console, data, image_size=side, **loader_options(options))
    show_data(console, found)
    images: np.ndarray = as_pixels(evenly(found.train.images, IMAGES), found.scale, facts)
    made = ResponseMeasure(model, images, threshold)
    return made, made.table()


def shown_responses(rows: pd.DataFrame) -> pd.DataFrame:
    """The table as text."""
    return pd.DataFrame(
        {
            "width": rows["name"],
            "lambda": rows["lambda_response"].map("{:.3f}".format),
            "null": [
                f"{mean:.3f}±{sd:.3f}"
                for mean, sd in zip(rows["lambda_null"], rows["lambda_null_sd"], strict=True)
            ],
            "needed": [
                f"{needed:.0f}/{channels}"
                for needed, channels in zip(rows["needed"], rows["channels"], strict=True)
            ],
            "directions": rows["directions"].map("{:.0f}".format),
        }
    )


def reading_of_responses(rows: pd.DataFrame, made: ResponseMeasure) -> str:
    """What the table says, in a sentence or two."""
    how = f"Responses to {len(made.arrays[0])} training images, {made.summing.compiled}. "
    lost = rows["lambda_response"].isna()
    if lost.any():
        how += f"Not finite, so not measured: {', '.join(rows.loc[lost, 'name'])}. "
        rows = rows[~lost]
    told = rows[rows["lambda_response"] > rows["lambda_bar"]]
    if told.empty:
        return (
            f"{how}None of {len(rows)} widths is above its null (the same network with random "
            "weights on the same images) by more than chance explains."
        )
    worst = told.loc[told["lambda_response"].idxmax()]
    return (
        f"{how}{len(told)} of {len(rows)} widths are above their null (the same network with "
        "random weights on the same images) by more than chance explains, most of all "
        f"{worst['name']}: {worst['lambda_response']:.0%} of its pairs are alike, "
        f"{worst['needed']:.0f} of {worst['channels']} channels are needed."
    )
