"""The MedMNIST layout: one .npz with `train_images`, `train_labels`, `val_...`, `test_...`."""

from __future__ import annotations

import zipfile
import zlib
from os import PathLike
from pathlib import Path

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.errors import CKRMError

SPLITS = ("train", "val", "test")
KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError)


def load_npz(path: str | PathLike[str], *, scale: float | None = None) -> Dataset:
    """Read a MedMNIST-style file (arXiv 2110.14795).

    Images are (n, H, W) or (n, H, W, 1) grey or (n, H, W, 3) colour; labels (n,) or (n, 1) whole
    numbers. An optional key `class_names` holds the names, else they are "class 0", "class 1", ...

    Args:
        path: the file.
        scale: the pixel value of full brightness. By default 255 for 8-bit and 65535 for 16-bit
            images; for floats 1 if no pixel is above 1, else 255 if none is above that.

    Raises:
        CKRMError: when the file is missing, damaged, lacks a key, has several labels an image, or
            `check_dataset` finds fault with it.
    """
    path = Path(path)
    arrays = _read(path)
    images = {split: _with_channels(arrays[f"{split}_images"]) for split in SPLITS}
    labels = {
        split: _one_label(f"{path.name}, {split}_labels", arrays[f"{split}_labels"])
        for split in SPLITS
    }
    scale = _scale(path, images) if scale is None else float(scale)
    parts = {split: Split(_pixels(images[split]), labels[split]) for split in SPLITS}
    names = _class_names(path, arrays.get("class_names"), labels)
    return check_dataset(Dataset(path.stem, names, **parts, scale=scale))


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise CKRMError("data file not found", received=str(path))
    try:
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            # A lone .npy under the name .npz loads as a bare array.
            keys = set(file.files) if isinstance(file, np.lib.npyio.NpzFile) else set()
            missing = [key for key in KEYS if key not in keys]
            if not missing:
                wanted = [*KEYS, "class_names"] if "class_names" in keys else KEYS
                return {key: file[key] for key in wanted}
    except _UNREADABLE as error:
        raise CKRMError(
            f"cannot read {path.name}",
            expected="an undamaged .npz file of plain arrays (no pickled objects)",
            received=f"{type(error).__name__}: {error}",
        ) from error
    raise CKRMError(
        f"{path.name} lacks {', '.join(missing)}",
        expected=f"the keys {', '.join(KEYS)}",
        received=", ".join(sorted(keys)) or "none",
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
            hint="Several labels an image (multi-label) are not supported.",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise CKRMError(where, expected="whole numbers", received=f"dtype {labels.dtype}")
    return labels.astype(np.int64)


def _pixels(images: np.ndarray) -> np.ndarray:
    """8-bit pixels as they are, other numbers as float32; the rest is left for `check_dataset`."""
    if images.dtype == np.uint8 or images.dtype.kind not in "uif":
        return images
    return images.astype(np.float32)


def _scale(path: Path, images: dict[str, np.ndarray]) -> float:
    dtype = images["train"].dtype
    if dtype == np.uint8:
        return 255.0
    if dtype == np.uint16:
        return 65535.0
    if dtype.kind not in "uif":
        raise CKRMError(f"{path.name}: pixels", expected="numbers", received=f"dtype {dtype}")
    # NaN and infinity are told apart from brightness here, and refused by `check_dataset`.
    peak = max(np.max(a, where=np.isfinite(a), initial=0) for a in images.values())
    for scale in (1.0, 255.0):
        if peak <= scale:
            return scale
    raise CKRMError(
        f"{path.name}: pixels up to {peak:g} in {dtype}",
        expected="at most 1 or 255, or the option scale=VALUE, the pixel value of full brightness",
    )


def _class_names(
    path: Path, names: np.ndarray | None, labels: dict[str, np.ndarray]
) -> tuple[str, ...]:
    if names is None:
        count = 1 + max(int(array.max(initial=0)) for array in labels.values())
        return tuple(f"class {i}" for i in range(count))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise CKRMError(
            f"{path.name}: class_names",
            expected="a row of strings",
            received=f"shape {names.shape}, dtype {names.dtype}",
        )
    return tuple(names.astype(str).tolist())
