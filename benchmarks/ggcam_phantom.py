"""Does gaze help? GG-CAM (arXiv 2202.07107) on phantoms, whose diseased regions are known.

    python benchmarks/ggcam_phantom.py

Each seed draws its own phantoms and its own weights, and trains one network twice from the same
start: by cross-entropy, and by the GG-CAM loss. Scored on the test split, or on val to choose
settings.
"""

from __future__ import annotations

import os
import time
from typing import Literal

import fire

# As the commands set it; TensorFlow reads it when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats

from ckrm_tf import Layout, Stage, Widths, resnet
from ckrm_tf.data import Split
from ckrm_tf.data.phantom import CARDIOMEGALY, PNEUMONIA, phantom
from ckrm_tf.layers.cam import cam_model
from ckrm_tf.reporting.overlay import overlay
from ckrm_tf.stats import macro_auc
from ckrm_tf.train.gaze import GazeStart, gaze_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict

# Two stages leave a grid of 8 x 8 at 64 pixels; four would leave 2 x 2, too coarse to point.
WIDTHS = Widths(8, (Stage(2, 8, 24), Stage(2, 16, 48)))
LAYOUT = Layout()
SICK = {"cardiomegaly": CARDIOMEGALY, "pneumonia": PNEUMONIA}


def class_maps(model: keras.Model, split: Split, scale: float) -> np.ndarray:
    """The map of each image's own class, (n, h, w)."""
    with_maps = cam_model(model)
    images = np.asarray(split.images, np.float32) / np.float32(scale)
    maps = np.concatenate(
        [
            keras.ops.convert_to_numpy(with_maps(images[i : i + 128], training=False)[1])
            for i in range(0, len(images), 128)
        ]
    )
    return maps[np.arange(len(maps)), ..., split.labels]


def hits(maps: np.ndarray, region: np.ndarray, cells: int = 0) -> np.ndarray:
    """(n,) bool: does the map's brightest cell have its middle in the region?

    Args:
        maps: (n, h, w).
        region: (n, H, W) bool.
        cells: so many cells away from it counts too.
    """
    (n, h, w), (height, width) = maps.shape, region.shape[1:]
    rows, columns = np.divmod(maps.reshape(n, -1).argmax(axis=1), w)
    if cells:
        reach = np.ones((1, 2 * cells * height // h + 1, 2 * cells * width // w + 1), bool)
        region = ndimage.binary_dilation(region, reach)
    y = ((rows + 0.5) * height / h).astype(int)
    x = ((columns + 0.5) * width / w).astype(int)
    return region[np.arange(n), y, x]


def scores(model: keras.Model, split: Split, scale: float) -> dict[str, float]:
    """AUC, and by class the share of maps whose peak is in the region or a cell from it."""
    maps = class_maps(model, split, scale)
    found = {"AUC": macro_auc(split.labels, predict(model, split, scale))}
    for name, label in SICK.items():
        own = split.labels == label
        for text, cells in (("peak in region", 0), ("within a cell", 1)):
            found[f"{name}, {text}"] = float(np.mean(hits(maps[own], split.region[own], cells)))
    return found


def chance(split: Split, grid: tuple[int, int]) -> dict[str, float]:
    """The same shares for a peak in a cell drawn at random; AUC is a half."""
    every = np.eye(grid[0] * grid[1]).reshape(-1, 1, *grid)
    found = {"AUC": 0.5}
    for name, label in SICK.items():
        region = split.region[split.labels == label]
        for text, cells in (("peak in region", 0), ("within a cell", 1)):
            shares = [hits(np.repeat(m, len(region), 0), region, cells).mean() for m in every]
            found[f"{name}, {text}"] = float(np.mean(shares))
    return found


def interval(values: np.ndarray) -> str:
    """Mean over seeds with its 95% interval by Student's t."""
    mean, half = values.mean(), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def picture(split: Split, maps: dict[str, np.ndarray], path: str, side: int = 160) -> None:
    """The first test image of each disease: bare, with its gaze, and with each network's map."""
    rows = []
    for label in SICK.values():
        first = int(np.flatnonzero(split.labels == label)[0])
        image = np.asarray(Image.fromarray(split.images[first, ..., 0]).resize((side, side)))
        heats = [split.gaze[first], *(m[first] for m in maps.values())]
        bare = np.repeat(image[..., None], 3, axis=-1)
        rows.append(np.hstack([bare, *(overlay(image, heat) for heat in heats)]))
    # 128 colours, which a file format with a palette stores in a third of the space.
    Image.fromarray(np.vstack(rows)).quantize(128).save(path, optimize=True)


def main(
    seeds: int = 5,
    first_seed: int = 31,
    train: int = 320,
    images: int = 240,
    image_size: int = 64,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 0.004,
    a: float = GazeStart().a,
    e: float = GazeStart().e,
    gaze_shift: float = GazeStart().shift,
    split: Literal["val", "test"] = "test",
    overlay_file: str | None = None,
) -> None:
    """Train `seeds` pairs and print one table.

    Args:
        seeds: pairs of trainings.
        first_seed: of as many in a row. 11 to 15 and 101 to 104 have been used to choose settings.
        train: training images a seed.
        images: of the split that is scored.
        image_size: side in pixels.
        epochs: of both trainings, as are the next two.
        batch_size: images a step.
        learning_rate: Adam's, at the start of a cosine decay.
        a: where the classes' log scale starts.
        e: where the maps' log scale starts.
        gaze_shift: fixed offset inside the sigmoid of the maps.
        split: the one scored; settings are chosen on val.
        overlay_file: where to draw the maps of the first seed.
    """
    recipe = Recipe(epochs, batch_size, learning_rate, l1=1e-4, shift=2)
    shape = (image_size, image_size, 1)

    def build() -> keras.Model:
        return resnet(WIDTHS, shape, 3, layout=LAYOUT, kernel_regularizer=recipe.regularizer())

    trainers: dict[str, Trainer] = {}
    found: list[dict[str, dict[str, float]]] = []
    for seed in range(first_seed, first_seed + seeds):
        # Each image has its own random stream: the other split's size changes none of them.
        sizes = (train, images, 3) if split == "val" else (train, 30, images)
        data = phantom(sizes, image_size, seed)
        judged: Split = getattr(data, split)
        if not trainers:
            trainers = {
                "plain": Trainer(build, data, recipe),
                "GG-CAM": gaze_trainer(build, data, recipe, GazeStart(a=a, e=e, shift=gaze_shift)),
            }
        row, maps = {}, {}
        for name, trainer in trainers.items():
            # The step is traced once for all data sets of one shape.
            trainer.data = data
            start = time.process_time()
            trainer.train(seed)
            seconds = time.process_time() - start
            row[name] = scores(trainer.model, judged, data.scale)
            maps[name] = class_maps(trainer.model, judged, data.scale)
            shown = ", ".join(f"{v:.3f}" for v in row[name].values())
            print(f"seed {seed} {name:<6} {shown}  ({seconds:.0f} CPU s)", flush=True)
        row["chance"] = chance(judged, maps["plain"].shape[1:])
        found.append(row)
        if overlay_file and len(found) == 1:
            picture(judged, maps, overlay_file)

    table = {}
    for score in found[0]["plain"]:
        plain, gazed, luck = (
            np.array([row[name][score] for row in found]) for name in ("plain", "GG-CAM", "chance")
        )
        table[score] = {
            "chance": f"{luck.mean():.3f}",
            "plain": interval(plain),
            "GG-CAM": interval(gazed),
            "difference": interval(gazed - plain),
        }
    print(f"\n{seeds} seeds, mean over seeds [95% interval], {split} split:")
    print(pd.DataFrame(table).T.to_string())


if __name__ == "__main__":
    fire.Fire(main)
