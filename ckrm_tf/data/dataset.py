"""What every data source returns: three checked splits of images and labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ckrm_tf.data.limits import named
from ckrm_tf.errors import CKRMError


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: (n, height, width, channels), uint8 or float32, raw pixel values.
        labels: (n,) int64, class indices.
        gaze: (n, height, width) float32 in [0, 1], or None: where a radiologist looked.
        ids: (n,) names of the images, or None.
        region: (n, height, width) bool, or None: the diseased pixels; all False when normal.
        patients: (n,) names of the patients, or None where each image stands for itself.
    """

    images: np.ndarray
    labels: np.ndarray
    gaze: np.ndarray | None = None
    ids: np.ndarray | None = None
    region: np.ndarray | None = None
    patients: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test splits of one labelled image set.

    Attributes:
        scale: the pixel value that stands for full brightness (255 for 8-bit images); the network
            divides by it.
        notes: one sentence each on what the reader assumed or left out, for the user to see.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    scale: float = 255.0
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        height, width, channels = self.train.images.shape[1:]
        return int(height), int(width), int(channels)

    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}


def check_dataset(data: Dataset) -> Dataset:
    """Return `data`, or raise one `CKRMError` that names the split and what is wrong with it."""
    if not (np.isfinite(data.scale) and data.scale > 0):
        raise CKRMError(f"{data.name}: scale", expected="a positive number", received=data.scale)
    counts = Counter(data.class_names)
    odd = [name for name, count in counts.items() if count > 1 or not name.strip()]
    if odd:
        raise CKRMError(
            f"{data.name}: class names",
            expected="a name of its own for each class",
            received=named(repr(name) for name in data.class_names),
        )
    for name, split in data.splits().items():
        where = f"{data.name}, {name} split"
        _check_images(where, split, data)
        _check_labels(where, split, data)
        _check_extras(where, split)
    return data


def _check_images(where: str, split: Split, data: Dataset) -> None:
    images = split.images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise CKRMError(
            f"{where}: images", expected="shape (n, height, width, 1 or 3)", received=images.shape
        )
    if images.shape[0] == 0:
        raise CKRMError(f"{where}: images", expected="at least one", received="none")
    if min(images.shape[1:]) == 0:
        raise CKRMError(f"{where}: images", expected="at least one pixel", received=images.shape)
    if images.shape[1:] != data.train.images.shape[1:]:
        raise CKRMError(
            f"{where}: (height, width, channels) of an image",
            expected=f"{data.train.images.shape[1:]} as in the train split",
            received=images.shape[1:],
        )
    if images.dtype not in (np.uint8, np.float32):
        raise CKRMError(f"{where}: pixels", expected="uint8 or float32", received=images.dtype)
    if images.dtype == np.float32:
        bad = int(np.sum(~np.isfinite(images).all(axis=(1, 2, 3))))
        if bad:
            raise CKRMError(
                f"{where}: pixels",
                expected="finite values",
                received=f"NaN or infinity in {bad} of {len(images)} images",
            )


def _check_labels(where: str, split: Split, data: Dataset) -> None:
    labels = split.labels
    if labels.shape != (len(split.images),):
        raise CKRMError(
            f"{where}: one label an image",
            expected=f"{len(split.images)} labels",
            received=f"labels of shape {labels.shape}",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise CKRMError(f"{where}: labels", expected="whole numbers", received=labels.dtype)
    present = np.unique(labels)
    if present[0] < 0 or present[-1] >= data.classes:
        raise CKRMError(
            f"{where}: labels",
            expected=f"class indices 0 to {data.classes - 1}",
            received=f"{present[0]} to {present[-1]}",
        )
    if len(present) < 2:
        raise CKRMError(
            f"{where}: classes present",
            expected="at least two, or there is no AUC",
            received=f"only {data.class_names[present[0]]!r}",
        )
    missing = sorted(set(range(data.classes)) - set(present.tolist()))
    if missing:
        names = named(repr(data.class_names[i]) for i in missing)
        raise CKRMError(
            f"{where}: every class", expected="at least one image each", received=f"none of {names}"
        )


def _check_extras(where: str, split: Split) -> None:
    for name, array in (("gaze", split.gaze), ("region", split.region)):
        if array is not None and array.shape != split.images.shape[:3]:
            raise CKRMError(
                f"{where}: {name} maps",
                expected=f"shape {split.images.shape[:3]}, as the images",
                received=array.shape,
            )
    # Written so that a NaN fails it.
    if split.gaze is not None and not (split.gaze.min() >= 0 and split.gaze.max() <= 1):
        raise CKRMError(
            f"{where}: gaze maps",
            expected="values in [0, 1]",
            received=f"{split.gaze.min()} to {split.gaze.max()}",
        )
    if split.region is not None and split.region.dtype != np.bool_:
        raise CKRMError(f"{where}: region", expected="booleans", received=split.region.dtype)
    if split.ids is not None and split.ids.shape != split.labels.shape:
        raise CKRMError(
            f"{where}: one id an image", expected=len(split.images), received=split.ids.shape
        )
