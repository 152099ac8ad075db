"""The MedMNIST layout: one .npz with `train_images`, `train_labels`, `val_...`, `test_...`."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.data.arrays import read_arrays
from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.limits import brief
from ckrm_tf.data.options import Option, Source, path_of
from ckrm_tf.data.pixels import find_scale
from ckrm_tf.data.repeats import repeat_notes
from ckrm_tf.data.resize import Size, resize_dataset
from ckrm_tf.errors import CKRMError

SPLITS = ("train", "val", "test")
KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
# Characters of a class name that are kept.
MAX_NAME = 100

OPTIONS = (Option("scale", float | None, None, "pixel value of full brightness; by default found"),)


def load_npz(path: str | PathLike[str], *, scale: float | None = None) -> Dataset:
    """Read a MedMNIST-style file (arXiv 2110.14795).

    Images are (n, H, W) or (n, H, W, 1) grey or (n, H, W, 3) colour; labels (n,) or (n, 1) whole
    numbers. An optional key `class_names` holds the names, else they are "class 0", "class 1", ...

    Args:
        path: the file.
        scale: the pixel value of full brightness; by default `find_scale` finds it.

    Raises:
        CKRMError: when the file is missing, damaged, lacks a key, has several labels an image, its
            pixels leave a doubt about the scale, or `check_dataset` finds fault with it.
    """
    path = Path(path)
    arrays = read_arrays(path, KEYS, ("class_names",))
    images = {split: _with_channels(arrays[f"{split}_images"]) for split in SPLITS}
    labels = {
        split: _one_label(f"{path.name}, {split}_labels", arrays[f"{split}_labels"])
        for split in SPLITS
    }
    names = _class_names(path, arrays.get("class_names"), labels)
    parts = {split: Split(_pixels(path, images[split]), labels[split]) for split in SPLITS}
    # Shapes and numbers first: only sound images have a range.
    train, val, test = (parts[split] for split in SPLITS)
    data = check_dataset(Dataset(path.stem, names, train, val, test))
    found, note = find_scale(path.name, {s: list(a) for s, a in images.items()}, scale)
    repeats = repeat_notes({s: p.images for s, p in data.splits().items()}, labels)
    return replace(data, scale=found, notes=(*repeats, note))


def _load(
    source: str, *, image_size: Size | None, seed: int, progress: object, **options: Any
) -> Dataset:
    data = load_npz(path_of(source), **options)
    return data if image_size is None else check_dataset(resize_dataset(data, image_size))


SOURCE = Source(
    "load_npz",
    "a .npz file",
    lambda text: Path(text).suffix.lower() == ".npz",
    _load,
    OPTIONS,
)


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images


def _one_label(where: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise CKRMError(
            where,
            expected="one label an image, shape (n,) or (n, 1)",
            received=f"shape {labels.shape}",
            hint="Give the index of the 1 in each row (argmax)."
            if _is_one_hot(labels)
            else "Several labels an image (multi-label) are not supported.",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise CKRMError(where, expected="whole numbers", received=f"dtype {str(labels.dtype)[:40]}")
    if int(labels.max(initial=0)) > np.iinfo(np.int64).max:
        raise CKRMError(where, expected="class indices from 0", received=f"up to {labels.max()}")
    return labels.astype(np.int64)


def _is_one_hot(labels: np.ndarray) -> bool:
    """Whether each row holds one 1 and zeros."""
    return (
        labels.ndim == 2
        and labels.dtype.kind in "biuf"
        and bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))
    )


def _pixels(path: Path, images: np.ndarray) -> np.ndarray:
    """8-bit pixels as they are, other numbers as float32."""
    if images.dtype.kind not in "uif":
        raise CKRMError(
            f"{path.name}: pixels", expected="numbers", received=f"dtype {str(images.dtype)[:40]}"
        )
    if images.dtype == np.uint8:
        return images
    # What float32 cannot hold becomes infinity, which `check_dataset` refuses.
    with np.errstate(over="ignore"):
        return images.astype(np.float32)


def _class_names(
    path: Path, names: np.ndarray | None, labels: dict[str, np.ndarray]
) -> tuple[str, ...]:
    if names is None:
        count = 1 + max(int(array.max(initial=0)) for array in labels.values())
        most = max(2, *(len(array) for array in labels.values()))
        # Each class needs an image of its own; a stray label must not make a million classes.
        if count > most:
            raise CKRMError(
                f"{path.name}: labels",
                expected=f"class indices from 0, at most {most - 1}: no split has more images",
                received=f"up to {count - 1}",
            )
        return tuple(f"class {i}" for i in range(count))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise CKRMError(
            f"{path.name}: class_names",
            expected="a row of strings",
            received=f"shape {names.shape}, dtype {str(names.dtype)[:40]}",
        )
    return tuple(brief(name, MAX_NAME) for name in names.astype(str).tolist())
