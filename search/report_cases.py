"""What single images tell of two trained networks: counts, and pictures where they disagree."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from rich.console import Console

from ckrm_tf.data import Dataset, Split
from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.cam import cam_model
from ckrm_tf.reporting.evidence import Evidence, write_evidence
from ckrm_tf.reporting.overlay import overlay
from ckrm_tf.stats import disagreements

# Pictures of a page that loads at once, and their side in pixels.
MOST_PICTURES, SIDE = 24, 192


def told_evidence(console: Console, place: Path, found: Evidence) -> None:
    """Keep evidence in the run folder and say so."""
    path = write_evidence(place, found)
    images = sum(found.counts[found.split.removesuffix(" split")].values())
    told = f"the two networks disagree on {len(found.disagreements)} of {images} images"
    console.print(f"images    {path.name}: {told} of the {found.split}", highlight=False)


def counts_of(data: Dataset) -> dict[str, dict[str, int]]:
    """Images of each class by split."""
    return {
        name: {label: int((split.labels == i).sum()) for i, label in enumerate(data.class_names)}
        for name, split in data.splits().items()
    }


def pictures(
    split: Split,
    scale: float,
    models: Sequence[keras.Model],
    arms: Sequence[np.ndarray],
    inputs: Callable[[list[int]], np.ndarray],
) -> dict[int, str]:
    """The images of the first disagreements, each with the maps of both networks beside it.

    Args:
        split: the images.
        scale: the pixel value of full brightness.
        models: the two networks.
        arms: probabilities (n, classes) of each.
        inputs: from places in the split to images as the networks take them.
    """
    differ = disagreements(split.labels, *arms)[:MOST_PICTURES]
    if not differ:
        return {}
    places = [d.image for d in differ]
    maps = [_maps(model, inputs(places)) for model in models]
    found = {}
    for row, one in enumerate(differ):
        shown = _shown(split.images[one.image], scale)
        parts = [shown]
        for heat, said in zip(maps, (one.reference, one.candidate), strict=True):
            if heat is not None:
                parts.append(overlay(shown, heat[row, :, :, said]))
        found[one.image] = _data_uri(parts)
    return found


def _maps(model: keras.Model, images: np.ndarray) -> np.ndarray | None:
    """Class activation maps (n, h, w, classes), or None where the network has none."""
    try:
        return np.asarray(keras.ops.convert_to_numpy(cam_model(model)(images, training=False)[1]))
    except CKRMError:
        return None


def _shown(image: np.ndarray, scale: float) -> np.ndarray:
    """One image as a screen shows it: (h, w) or (h, w, 3) uint8."""
    grey = np.clip(np.asarray(image, dtype=np.float64) / scale, 0, 1)
    found = np.round(255 * grey).astype(np.uint8)
    return found if found.shape[2] == 3 else found[..., 0]


def _data_uri(parts: Sequence[np.ndarray]) -> str:
    side = [
        Image.fromarray(part).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for part in parts
    ]
    joined = Image.new("RGB", (SIDE * len(side), SIDE))
    for place, picture in enumerate(side):
        joined.paste(picture, (SIDE * place, 0))
    text = io.BytesIO()
    joined.save(text, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(text.getvalue()).decode()}"
