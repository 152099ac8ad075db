"""Seeded chest-radiograph phantoms: a data set with no download, for first runs and tests.

Three classes that overlap: an enlarged heart is one whose width is drawn from a higher but
overlapping distribution, pneumonia a patchy opacity that may be too faint to see, and normal
chests show faint harmless shadows as well. They stand for the task, not for any real patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from ckrm_tf.data import phantom_anatomy as anatomy
from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.limits import check_dataset_bytes
from ckrm_tf.data.options import Option, Source
from ckrm_tf.data.resize import Size, as_size
from ckrm_tf.errors import CKRMError

CLASS_NAMES = ("normal", "cardiomegaly", "pneumonia")
NORMAL, CARDIOMEGALY, PNEUMONIA = range(3)

# Cardiothoracic ratio: radiologists call .5 the upper limit of normal.
RATIO_MEAN, RATIO_GAIN, RATIO_SPREAD = 0.42, 0.12, 0.037
OPACITY_LEAST, OPACITY_GAIN = 0.10, 0.40


def phantom(
    n: int | Sequence[int] = (600, 200, 200),
    image_size: Size = 64,
    seed: int = 1,
    separation: float = 1.0,
) -> Dataset:
    """Draw a phantom data set; the same arguments give the same bits.

    Every image has its own random stream, so the splits are independent draws. Classes are
    balanced in each split.

    Args:
        n: images in train, val and test; one number n stands for (n, n // 3, n // 3).
        image_size: side in pixels, or (height, width).
        seed: a whole number of at least 0.
        separation: 0 makes the images of all classes alike (AUC .5; gaze and region still follow
            the label), 1 is the default overlap.

    Returns:
        Images (n, height, width, 1) uint8; gaze maps that a radiologist's fixations might give
        (around the heart's border, around the opacity, or spread out), each with maximum 1; and
        the diseased region: the heart, the opacity, or nothing.

    Raises:
        CKRMError: when a number is out of range or a split too small for all classes.
    """
    counts = _counts(n)
    size = as_size(image_size)
    # An image of a byte, a gaze map of four and a region of one a pixel.
    check_dataset_bytes("phantom", sum(counts) * size[0] * size[1] * 6)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise CKRMError("seed", expected="a whole number of at least 0", received=repr(seed))
    if isinstance(separation, str) or not 0 <= separation < float("inf"):
        raise CKRMError("separation", expected="a number of at least 0", received=repr(separation))
    train, val, test = (
        _split(seed, part, count, size, separation) for part, count in enumerate(counts)
    )
    note = "pixels 0 to 255, uint8: divided by 255"
    return check_dataset(Dataset("phantom", CLASS_NAMES, train, val, test, notes=(note,)))


OPTIONS = (
    Option("n", tuple[int, ...], (600, 200, 200), "phantoms in train, val and test"),
    Option("separation", float, 1.0, "how far the classes lie apart: 0 not at all, 1 the usual"),
)


def _load(
    source: str, *, image_size: Size | None, seed: int, progress: object, **options: Any
) -> Dataset:
    if image_size is not None:
        options["image_size"] = image_size
    return phantom(seed=seed, **options)


SOURCE = Source("phantom", '"phantom"', lambda text: text == "phantom", _load, OPTIONS)


def _counts(n: int | Sequence[int]) -> tuple[int, ...]:
    counts = (n, n // 3, n // 3) if isinstance(n, int) else n
    least = len(CLASS_NAMES)
    if (
        not isinstance(counts, Sequence)
        or len(counts) != 3
        or not all(isinstance(c, int) and c >= least for c in counts)
    ):
        raise CKRMError(
            "n",
            expected=f"the number of train, val and test images, each at least {least}",
            received=repr(n),
        )
    return tuple(counts)


def _split(seed: int, part: int, count: int, size: tuple[int, int], separation: float) -> Split:
    labels = np.arange(count, dtype=np.int64) % len(CLASS_NAMES)
    np.random.default_rng((seed, part)).shuffle(labels)
    images = np.empty((count, *size, 1), np.uint8)
    gaze = np.empty((count, *size), np.float32)
    region = np.empty((count, *size), np.bool_)
    for i, label in enumerate(labels):
        # From 1: NumPy pads seeds with zeros, so (seed, part, 0) would repeat the label stream.
        rng = np.random.default_rng((seed, part, i + 1))
        images[i, :, :, 0], gaze[i], region[i] = _chest(rng, int(label), size, separation)
    return Split(images, labels, gaze=gaze, region=region)


def _chest(
    rng: np.random.Generator, label: int, size: tuple[int, int], separation: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image (height, width) uint8, its gaze map float32 and its diseased region bool."""
    grid = anatomy.place(rng, size)
    thorax = anatomy.LUNG_X + anatomy.LUNG_WIDTH + rng.normal(0, 0.04)
    enlarged = separation * RATIO_GAIN if label == CARDIOMEGALY else 0.0
    ratio = float(np.clip(rng.normal(RATIO_MEAN + enlarged, RATIO_SPREAD), 0.25, 0.75))
    heart = anatomy.Heart.of_ratio(rng, ratio, thorax)
    air = anatomy.lungs(rng, grid, thorax)
    inside_heart = heart.inside(grid)

    # What hides the air of the lungs: heart and mediastinum.
    cover = 1 - expit(inside_heart / 0.10) * 0.92
    cover *= 1 - 0.8 * np.exp(-np.square(np.square(grid.x / 0.15)))
    depth = 0.36 + rng.normal(0, 0.03)
    chest = 0.58 - depth * air * cover + anatomy.bones(rng, grid, thorax)
    chest += anatomy.vessels(rng, grid) * air * cover
    chest += _harmless(rng, grid) * air
    region = np.zeros(size, np.bool_)
    where: list[tuple[float, float]] = []
    if label == PNEUMONIA:
        extent, where = _opacity(rng, grid)
        visible = extent * (0.35 + 0.65 * air * cover)
        patches = 0.55 + 0.45 * np.tanh(2 * anatomy.texture(rng, size, 0.025))
        strength = OPACITY_LEAST + OPACITY_GAIN * rng.beta(1.6, 2.0)
        chest += separation * strength * visible * patches
        region = visible > 0.5 * visible.max()
    elif label == CARDIOMEGALY:
        region = inside_heart > 0
    image = _film(rng, chest * anatomy.soft_tissue(grid, thorax), size)
    return image, _gaze(rng, grid, label, heart, where), region


def _opacity(
    rng: np.random.Generator, grid: anatomy.Grid
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The extent of an opacity, peak 1, in one or two places of the lungs, and those places."""
    places = 1 + int(rng.random() < 0.3)
    total, where = np.zeros_like(grid.x), []
    for _ in range(places):
        x = float(rng.choice((-1, 1)) * rng.uniform(0.28, 0.55))
        y = float(rng.uniform(-0.45, 0.42))
        total = np.maximum(total, grid.blob(x, y, *rng.uniform(0.08, 0.20, 2)))
        where.append((x, y))
    return total, where


def _harmless(rng: np.random.Generator, grid: anatomy.Grid) -> np.ndarray:
    """Shadows that any chest may show: breast tissue on both sides, a nipple, a smooth haze."""
    total = np.zeros_like(grid.x)
    if rng.random() < 0.5:
        y, strength = rng.normal(0.30, 0.06), rng.uniform(0.02, 0.07)
        for side in (-1, 1):
            total += strength * grid.blob(side * rng.normal(0.45, 0.03), y, 0.16, 0.13)
    for _ in range(rng.poisson(0.8)):
        x, y = rng.choice((-1, 1)) * rng.uniform(0.28, 0.55), rng.uniform(-0.5, 0.42)
        total += rng.uniform(0.015, 0.06) * grid.blob(x, y, *rng.uniform(0.03, 0.20, 2))
    return total


def _film(rng: np.random.Generator, chest: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Exposure, contrast, scatter and quantum noise; (height, width) uint8."""
    chest = chest + 0.012 * anatomy.texture(rng, size, 0.06)
    exposed = np.clip(0.08 + chest, 0, 1.2) ** rng.uniform(0.88, 1.14)
    exposed = rng.normal(0, 0.03) + rng.uniform(0.9, 1.15) * exposed
    exposed += rng.uniform(0.010, 0.025) * rng.standard_normal(size, dtype=np.float32)
    return np.rint(255 * np.clip(exposed, 0, 1)).astype(np.uint8)


def _gaze(
    rng: np.random.Generator,
    grid: anatomy.Grid,
    label: int,
    heart: anatomy.Heart,
    opacities: list[tuple[float, float]],
) -> np.ndarray:
    """(height, width) float32, maximum 1: blurred fixations, longer ones where the finding is."""
    survey = 4
    x = rng.choice((-1, 1), survey) * rng.uniform(0.2, 0.55, survey)
    spread = np.stack([x, rng.uniform(-0.5, 0.45, survey)], axis=1)
    if label == CARDIOMEGALY:
        # Either side of the border, not the top, where the heart meets the great vessels.
        side = np.pi * rng.integers(0, 2, 5) + rng.uniform(-0.7, 0.7, 5)
        finding = heart.border(side)
    elif label == PNEUMONIA:
        finding = np.repeat(np.array(opacities), 6 // len(opacities), axis=0)
    else:
        finding = np.array([(heart.x, heart.y)])
    finding = finding + rng.normal(0, 0.04, finding.shape)
    points = np.concatenate([spread, finding])
    lengths = rng.gamma(4.0, 0.25, len(points))
    lengths[:survey] *= 1.0 if label == NORMAL else 0.3
    gaze = np.zeros_like(grid.x)
    for (px, py), length in zip(points.tolist(), lengths.tolist(), strict=True):
        gaze += length * grid.blob(px, py, 0.11, 0.11)
    return gaze / gaze.max()
