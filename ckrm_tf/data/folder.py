"""A folder of picture files: one sub-folder per class, already split or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.films import Films
from ckrm_tf.data.images import Picture, quiet_pictures
from ckrm_tf.data.layout import Layout, read_layout
from ckrm_tf.data.limits import named, reading
from ckrm_tf.data.names import figures_of, named_after
from ckrm_tf.data.options import Option, Source, path_of
from ckrm_tf.data.pixels import find_scale
from ckrm_tf.data.repeats import repeat_notes
from ckrm_tf.data.resize import Size, as_size
from ckrm_tf.errors import CKRMError

EIGHT_BIT = 255.0

OPTIONS = (
    Option("channels", int | None, None, "1 reads grey, 3 colour; by default as the files are"),
    Option("scale", float | None, None, "pixel value of full brightness; by default found"),
)


def load_folder(
    path: str | PathLike[str],
    *,
    image_size: Size | None = None,
    seed: int = 1,
    channels: int | None = None,
    scale: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read `path/train/CLASS/*.png`, `val`, `test`, or `path/CLASS/*.png`.

    The second form is split 70/10/20 per class, by image: if a patient has several images, split
    them yourself, or the test split will hold patients seen in training. `read_layout` says how
    folders are read, and its notes what was left out. PNG, JPEG, TIFF and BMP are read. Files of
    more than 8 bits keep their values; beside 8-bit files they are brought to 0..255 without
    rounding.

    Args:
        path: the folder.
        image_size: side, or (height, width); by default the files' own size if it is one size,
            else 224 x 224.
        seed: of the split.
        channels: 1 (grey) or 3 (colour); by default colour if most files have it.
        scale: the pixel value of full brightness; by default `find_scale` finds it.
        progress: called after each image with the number done and the number of all.

    Raises:
        CKRMError: when the folders leave a doubt, files cannot be decoded (their number and the
            first few names), or `check_dataset` finds fault.
    """
    root = Path(path)
    if not root.is_dir():
        raise CKRMError("data folder not found", received=str(root))
    if channels not in (None, 1, 3) or isinstance(channels, bool):
        raise CKRMError("channels", expected="1 (grey) or 3 (colour)", received=repr(channels))
    wanted = None if image_size is None else as_size(image_size)
    with reading(f"folder {root}"), quiet_pictures():
        layout = read_layout(root, seed)
        films = Films(root, layout)
        channels = films.channels() if channels is None else channels
        pictures = films.read(wanted, channels, progress)
    _check_no_masks(layout, films.files, pictures)
    parts = _by_split(layout, pictures)
    images, scale, note = _pixels(root, parts, scale)
    splits = {}
    for split, entries in layout.listing.items():
        labels = np.array([label for _, label in entries], np.int64)
        ids = np.array([file.relative_to(root).as_posix() for file, _ in entries], str)
        splits[split] = Split(images[split], labels, ids=ids)
    repeats = repeat_notes(images, {split: part.labels for split, part in splits.items()})
    notes = (*layout.notes, *films.notes, *repeats, note)
    name = root.resolve().name
    return check_dataset(Dataset(name, layout.class_names, **splits, scale=scale, notes=notes))


def _load(source: str, **options: Any) -> Dataset:
    return load_folder(path_of(source), **options)


SOURCE = Source(
    "load_folder",
    "a folder of images per class",
    lambda text: bool(text) and os.path.isdir(path_of(text)),
    _load,
    OPTIONS,
)


def _by_split(layout: Layout, pictures: list[Picture]) -> dict[str, list[Picture]]:
    parts, start = {}, 0
    for split, entries in layout.listing.items():
        parts[split] = pictures[start : start + len(entries)]
        start += len(entries)
    return parts


def _pixels(
    root: Path, parts: dict[str, list[Picture]], scale: float | None
) -> tuple[dict[str, np.ndarray], float, str]:
    """The images of each split, their scale, and the note on it."""
    what = root.resolve().name
    flat = [picture for pictures in parts.values() for picture in pictures]
    deep = [picture for picture in flat if picture.pixels.dtype != np.uint8]
    found, note = find_scale(
        what,
        {
            split: [p.sample for p in pictures if not deep or p.pixels.dtype != np.uint8]
            for split, pictures in parts.items()
        },
        scale,
    )
    if not deep or len(deep) == len(flat):
        images = {s: np.stack([p.pixels for p in pictures]) for s, pictures in parts.items()}
        return images, found, note
    note = f"{len(deep)} of {len(flat)} files of more than 8 bits brought to 0..255: {note}"
    images = {
        split: np.stack([_to_eight(p.pixels, found) for p in pictures])
        for split, pictures in parts.items()
    }
    return images, EIGHT_BIT, note


def _to_eight(pixels: np.ndarray, scale: float) -> np.ndarray:
    """float32 in units of 8-bit pixels, not rounded: a film of 12 bits keeps its contrast."""
    values = pixels.astype(np.float32)
    return values if pixels.dtype == np.uint8 else values * np.float32(EIGHT_BIT / scale)


def _check_no_masks(layout: Layout, files: list[Path], pictures: list[Picture]) -> None:
    """Refuse masks beside films in one class, by what they look like: in folders or among them."""
    labels = [label for entries in layout.listing.values() for _, label in entries]
    seen: dict[int, dict[Path, dict[Path, bool]]] = {}
    for file, label, picture in zip(files, labels, pictures, strict=True):
        seen.setdefault(label, {}).setdefault(file.parent, {})[file] = picture.mask
    for label, folders in seen.items():
        odd = [folder for folder, masks in folders.items() if all(masks.values())]
        where = named(odd) if odd and len(odd) < len(folders) else _among(folders.values())
        if where:
            raise CKRMError(
                f"class {layout.class_names[label]!r}",
                expected="films",
                received=f"images of two values alone, as masks have, in {where}",
                hint="Move them elsewhere.",
            )


def _among(folders: Iterable[dict[Path, bool]]) -> str:
    """The masks of a folder that bear the names of its films, two or more; or nothing."""
    for masks in folders:
        # By their numbers: every mask against every film would take minutes of a large folder.
        films: dict[tuple[str, ...], list[str]] = {}
        for file, mask in masks.items():
            if not mask:
                films.setdefault(figures_of(file.stem), []).append(file.stem)
        kin = [
            file
            for file, mask in masks.items()
            if mask
            and any(named_after(file.stem, film) for film in films.get(figures_of(file.stem), ()))
        ]
        if len(kin) > 1:
            return f"{kin[0].parent}: {named((file.name for file in kin), 3)}"
    return ""
