"""A folder of PNG or JPEG files: one sub-folder per class, already split or not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.resize import FILTER, Size, as_size
from ckrm_tf.errors import CKRMError

SUFFIXES = (".png", ".jpg", ".jpeg")
SPLITS = ("train", "val", "test")
VAL_SHARE, TEST_SHARE = 0.1, 0.2
# Used when the files differ in size and the user named none.
COMMON_SIZE = (224, 224)

Listing = dict[str, list[tuple[Path, int]]]
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def load_folder(
    path: str | PathLike[str],
    *,
    image_size: Size | None = None,
    seed: int = 1,
    channels: int = 1,
) -> Dataset:
    """Read `path/train/CLASS/*.png`, `val`, `test`, or `path/CLASS/*.png`.

    The second form is split 70/10/20 per class, by image: if a patient has several images, split
    them yourself, or the test split will hold patients seen in training. 16-bit files are brought
    to 8 bits. Hidden files and other suffixes are passed over.

    Args:
        path: the folder.
        image_size: side, or (height, width); by default the files' own size if it is one size,
            else 224 x 224.
        seed: of the 70/10/20 split.
        channels: 1 (grey) or 3 (colour).

    Raises:
        CKRMError: when the layout is not one of the two, files cannot be decoded (their number
            and the first few names), or `check_dataset` finds fault.
    """
    root = Path(path)
    if not root.is_dir():
        raise CKRMError("data folder not found", received=str(root))
    if channels not in (1, 3):
        raise CKRMError("channels", expected="1 (grey) or 3 (colour)", received=repr(channels))
    wanted = None if image_size is None else as_size(image_size)
    names, listing = _list(root, seed)
    files = [file for entries in listing.values() for file, _ in entries]
    pixels = _decode_all(root, files, wanted, channels)
    splits, start = [], 0
    for entries in listing.values():
        labels = np.array([label for _, label in entries], np.int64)
        ids = np.array([file.relative_to(root).as_posix() for file, _ in entries])
        splits.append(Split(pixels[start : start + len(entries)], labels, ids=ids))
        start += len(entries)
    train, val, test = splits
    return check_dataset(Dataset(root.resolve().name, names, train, val, test))


def _list(root: Path, seed: int) -> tuple[tuple[str, ...], Listing]:
    """The class names and, per split, the files with their labels."""
    folders = _folders(root)
    found = [split for split in SPLITS if split in folders]
    if not found:
        return _list_unsplit(root, folders, seed)
    if len(found) < len(SPLITS):
        raise CKRMError(
            f"folders in {root}",
            expected="train, val and test, or one folder per class",
            received=", ".join(folders),
        )
    names = _folders(root / "train")
    listing: Listing = {}
    for split in SPLITS:
        unknown = sorted(set(_folders(root / split)) - set(names))
        if unknown:
            raise CKRMError(
                f"class folders in {split}",
                expected=f"those of train ({', '.join(names) or 'none'})",
                received=f"also {', '.join(unknown)}",
            )
        listing[split] = [
            (file, label)
            for label, name in enumerate(names)
            for file in _images(root / split / name)
        ]
    if not any(listing.values()):
        raise _no_images(root)
    return tuple(names), listing


def _list_unsplit(root: Path, folders: list[str], seed: int) -> tuple[tuple[str, ...], Listing]:
    by_class = {name: files for name in folders if (files := list(_images(root / name)))}
    if not by_class:
        raise _no_images(root)
    rng = np.random.default_rng(seed)
    listing: Listing = {split: [] for split in SPLITS}
    for label, (name, files) in enumerate(by_class.items()):
        if len(files) < len(SPLITS):
            raise CKRMError(
                f"class {name!r} in {root}",
                expected="at least 3 images: one each for train, val and test",
                received=len(files),
            )
        order = rng.permutation(len(files))
        val = max(1, round(VAL_SHARE * len(files)))
        test = max(1, round(TEST_SHARE * len(files)))
        for split, chosen in zip(
            SPLITS, (order[val + test :], order[:val], order[val : val + test]), strict=True
        ):
            listing[split] += [(files[i], label) for i in sorted(chosen)]
    return tuple(by_class), listing


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    """Image files at any depth, in an order that does not depend on the file system."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.suffix.lower() in SUFFIXES and file.is_file():
            yield file


def _no_images(root: Path) -> CKRMError:
    return CKRMError(
        f"no images under {root}",
        expected=f"CLASS/*{' or CLASS/*'.join(SUFFIXES)}, or the same in train, val and test",
        received=", ".join(sorted(p.name for p in root.iterdir())[:5]) or "an empty folder",
    )


def _decode_all(
    root: Path, files: list[Path], wanted: tuple[int, int] | None, channels: int
) -> np.ndarray:
    """(n, height, width, channels) uint8; one error for all files that cannot be decoded."""
    # Decoding releases the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        if wanted is None:
            # Headers only: films of several thousand pixels a side never stand in memory at once.
            sizes = {size for size in pool.map(_header_size, files) if size is not None}
            wanted = sizes.pop() if len(sizes) == 1 else COMMON_SIZE
        images = list(pool.map(partial(_decode, size=wanted, channels=channels), files))
    bad = [file for file, image in zip(files, images, strict=True) if image is None]
    if bad:
        names = ", ".join(file.relative_to(root).as_posix() for file in bad[:3])
        more = ", ..." if len(bad) > 3 else ""
        raise CKRMError(
            f"{len(bad)} of {len(files)} images cannot be decoded",
            received=f"{names}{more}",
            hint="Replace or remove them.",
        )
    return np.stack([image for image in images if image is not None])


def _header_size(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except _UNREADABLE:
        return None


def _decode(file: Path, *, size: tuple[int, int], channels: int) -> np.ndarray | None:
    """(height, width, channels) uint8, or None when the file cannot be decoded."""
    try:
        with Image.open(file) as opened:
            image = _eight_bit(ImageOps.exif_transpose(opened))
            image = image.convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(image.resize((size[1], size[0]), FILTER))
    except _UNREADABLE:
        return None
    return pixels.reshape(*size, channels)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit pixels at 255 when it converts them; divide them instead."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
