"""EGD-CXR (doi 10.13026/qfdz-zr67): chest films, three classes, and where radiologists looked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.decode_cache import cached_images
from ckrm_tf.data.dicom import READERS
from ckrm_tf.data.egd_files import find_images, find_release, read_film
from ckrm_tf.data.egd_regions import REGION_FOLDER, diseased_region
from ckrm_tf.data.egd_tables import CLASS_NAMES, GAZE_FILES, MASTER, Master, read_gaze, read_master
from ckrm_tf.data.frame import RECIPES, Frame, check_recipe
from ckrm_tf.data.gaze import SIGMA, gaze_map, inside_film
from ckrm_tf.data.limits import check_dataset_bytes
from ckrm_tf.data.options import Option, Source, path_of
from ckrm_tf.data.resize import Size, as_size
from ckrm_tf.data.splits import Parts, split_by_image, split_by_patient
from ckrm_tf.errors import CKRMError, unknown_name

# Of the GG-CAM authors, whose training set-up the CKRM paper follows.
PAPER_SIZE = (1536, 1280)
SPLITS = ("patient", "image")
EGD_PREFIX = "egd-cxr:"

OPTIONS = (
    Option("split", str, "patient", "by patient, or by image as the papers", SPLITS),
    Option(
        "gaze",
        str | None,
        "fixations",
        "the source of the gaze maps, or none",
        tuple(GAZE_FILES),
    ),
    Option("recipe", str, "whole", "how a film is brought to size", RECIPES),
    Option("sigma", float, SIGMA, "blur of the gaze maps, in pixels of the full-size film"),
    Option("region", bool, False, "read the segmented anatomy too"),
    Option("images", str | None, None, "folder of the MIMIC-CXR images; by default searched"),
    Option("reader", str, "auto", "what decodes DICOM files", READERS),
    Option("cache_dir", str | None, None, "folder where decoded films are kept"),
)


def load_egd_cxr(
    path: str | PathLike[str],
    *,
    image_size: Size | None = None,
    seed: int = 1,
    split: str = "patient",
    gaze: str | None = "fixations",
    recipe: str = "whole",
    sigma: float = SIGMA,
    region: bool = False,
    images: str | PathLike[str] | None = None,
    reader: str = "auto",
    cache_dir: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read the PhysioNet release: Normal, CHF and pneumonia as labels 0, 1, 2.

    At the default size the 1,083 images take 2.1 GB of memory and their gaze maps 8.5 GB.

    Args:
        path: the folder of `master_sheet.csv`, or one above it: see `find_release`.
        image_size: side in pixels, or (height, width); 1536 x 1280, the papers', by default.
        seed: of the split by patient.
        split: "patient" (70/10/20 of each class's patients, none in two parts) or "image" (the
            papers': 70/10/20 of each class's images, in table order).
        gaze: the gaze maps' source, "fixations" or "eye_gaze" (each raw sample, as GG-CAM), or
            None for no maps.
        recipe: "whole" (the film resized) or "paper" (padded and subsampled): see `Frame`.
        sigma: blur of the gaze maps, in pixels of the full-size film.
        region: read the segmented anatomy, for the diseased region of each image.
        images: the folder of the MIMIC-CXR images; by default searched: see `find_images`.
        reader: of DICOM files: see `read_dicom`.
        cache_dir: where decoded images are kept: see `cached_images`.
        progress: called after each image with the number done and the number of all.

    Returns:
        A data set that has passed `check_dataset`: images (n, height, width, 1) uint8, and gaze
        maps (n, height, width) float32 with maximum 1, or all zero where nobody looked at the
        film.

    Raises:
        CKRMError: when a file or column is missing, a file is corrupt, a label is not one of
            three, an option is unknown, or a class is too small to split.

    Warns:
        UserWarning: with their number, of images without gaze inside the film, of images that
            gaze says are not at full size, and of gaze rows of unknown images.
    """
    target = PAPER_SIZE if image_size is None else as_size(image_size)
    check_recipe(recipe, target)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if reader not in READERS:
        raise unknown_name("DICOM reader", reader, READERS)
    release = find_release(Path(path))
    master = read_master(release / MASTER)
    # Before the slow part: a table that cannot be split, or files that are not there, say so now.
    parts = _parts(master, split, seed)
    points = None if gaze is None else _points(release, gaze, master)
    files = find_images(
        release, master.files, master.ids.tolist(), None if images is None else Path(images)
    )
    # A byte of pixels and four of gaze for each.
    each = target[0] * target[1] * (1 if gaze is None else 5)
    check_dataset_bytes("egd-cxr", len(files) * each)
    if region and not (release / REGION_FOLDER).is_dir():
        raise CKRMError("EGD-CXR folder not found", received=str(release / REGION_FOLDER))
    pixels, frames = cached_images(
        files,
        target,
        recipe,
        read=partial(read_film, reader=reader),
        cache_dir=cache_dir,
        progress=progress,
    )
    if points is not None:
        _warn_of_gaze(points, frames)

    def take(chosen: np.ndarray) -> Split:
        own = [frames[i] for i in chosen]
        return Split(
            pixels[chosen][..., None],
            master.labels[chosen],
            gaze=None if points is None else _maps([points[i] for i in chosen], own, sigma),
            ids=master.ids[chosen],
            region=_regions(release, master, chosen, own) if region else None,
            patients=np.asarray(master.patients)[chosen],
        )

    train, val, test = (take(chosen) for chosen in parts)
    note = "pixels 0 to 255, uint8, of each film's own range: divided by 255"
    notes = (f"split by {split}", note)
    return check_dataset(Dataset("egd-cxr", CLASS_NAMES, train, val, test, notes=notes))


def _load(source: str, **options: Any) -> Dataset:
    return load_egd_cxr(path_of(source.removeprefix(EGD_PREFIX)), **options)


SOURCE = Source(
    "load_egd_cxr",
    '"egd-cxr:PATH"',
    lambda text: text.startswith(EGD_PREFIX),
    _load,
    OPTIONS,
)


def _parts(master: Master, split: str, seed: int) -> Parts:
    if split == "image":
        return split_by_image(master.labels, CLASS_NAMES)
    return split_by_patient(master.labels, master.patients, CLASS_NAMES, seed)


def _points(release: Path, kind: str, master: Master) -> list[np.ndarray]:
    """Each image's gaze points (m, 2); none for an image without rows."""
    read = read_gaze(release, kind, master.ids.tolist())
    if read.unknown:
        warnings.warn(
            f"{len(read.unknown)} ids of the {kind} table are not in {MASTER}; their rows are "
            f"dropped. The first: {read.unknown[0]}",
            stacklevel=3,
        )
    nothing = np.empty((0, 2))
    return [read.points.get(name, nothing) for name in master.ids.tolist()]


def _warn_of_gaze(points: Sequence[np.ndarray], frames: Sequence[Frame]) -> None:
    blind = sum(
        not inside_film(own, frame.picture).any() for own, frame in zip(points, frames, strict=True)
    )
    if blind:
        warnings.warn(
            f"{blind} of {len(points)} images have no gaze inside the film: their maps are zero",
            stacklevel=3,
        )
    # Looks beside a film are negative in the tables, and a film of odd side ends one pixel later.
    small = sum(
        bool((own > np.array(frame.picture[::-1])).any())
        for own, frame in zip(points, frames, strict=True)
    )
    if small:
        warnings.warn(
            f"{small} of {len(points)} images are smaller than their gaze points say: gaze maps "
            "need the films at full size",
            stacklevel=3,
        )


def _maps(points: Sequence[np.ndarray], frames: Sequence[Frame], sigma: float) -> np.ndarray:
    maps = np.empty((len(points), *frames[0].target), np.float32)
    for i, (own, frame) in enumerate(zip(points, frames, strict=True)):
        maps[i] = gaze_map(own, frame, sigma)
    return maps


def _regions(
    release: Path, master: Master, chosen: np.ndarray, frames: Sequence[Frame]
) -> np.ndarray:
    return np.stack(
        [
            diseased_region(release, master.ids[i], int(master.labels[i]), frame)
            for i, frame in zip(chosen, frames, strict=True)
        ]
    )
