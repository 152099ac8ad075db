"""What every data source returns: three checked splits of images and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ckrm_tf.errors import CKRMError


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: (n, height, width, channels), uint8 or float32, raw pixel values.
        labels: (n,) int64, class indices.
        gaze: (n, height, width) float32 in [0, 1], or None: where a radiologist looked.
        ids: (n,) names of the images, or None.
    """

    images: np.ndarray
    labels: np.ndarray
    gaze: np.ndarray | None = None
    ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test splits of one labelled image set.

    Attributes:
        scale: the pixel value that stands for full brightness (255 for 8-bit images); the network
            divides by it.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    scale: float = 255.0

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
    for name, split in data.splits().items():
        _check_split(f"{data.name}, {name} split", split, data)
    return data


def _check_split(where: str, split: Split, data: Dataset) -> None:
    if split.images.ndim != 4 or split.images.shape[-1] not in (1, 3):
        raise CKRMError(
            f"{where}: images",
            expected="shape (n, height, width, 1 or 3)",
            received=split.images.shape,
        )
    if split.images.shape[1:] != data.train.images.shape[1:]:
        raise CKRMError(
            f"{where}: image size",
            expected=f"{data.train.images.shape[1:]} as in the train split",
            received=split.images.shape[1:],
        )
    if split.labels.shape != (len(split.images),):
        raise CKRMError(
            f"{where}: one label an image",
            expected=f"{len(split.images)} labels",
            received=f"labels of shape {split.labels.shape}",
        )
    if np.issubdtype(split.images.dtype, np.floating):
        bad = int(np.sum(~np.isfinite(split.images).all(axis=(1, 2, 3))))
        if bad:
            raise CKRMError(
                f"{where}: pixels",
                expected="finite values",
                received=f"NaN or infinity in {bad} images",
            )
    present = np.unique(split.labels)
    if present.size and (present.min() < 0 or present.max() >= data.classes):
        raise CKRMError(
            f"{where}: labels",
            expected=f"class indices 0 to {data.classes - 1}",
            received=f"{present.min()} to {present.max()}",
        )
    if len(present) < 2:
        raise CKRMError(
            f"{where}: classes", expected="at least two, for an AUC", received=f"{len(present)}"
        )
    missing = sorted(set(range(data.classes)) - set(present.tolist()))
    if missing:
        names = ", ".join(data.class_names[i] for i in missing)
        raise CKRMError(
            f"{where}: every class", expected="at least one image each", received=f"none of {names}"
        )
