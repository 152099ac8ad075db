"""Films decoded once: an on-disk cache of images at training size."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ckrm_tf.data.arrays import read_arrays
from ckrm_tf.data.frame import Frame
from ckrm_tf.data.limits import check_dataset_bytes, reading
from ckrm_tf.errors import CKRMError

CACHE_VARIABLE = "CKRM_TF_CACHE"
# Part of every file's name: raise it when decoding or framing changes what a pixel is.
VERSION = 2


def default_cache_dir() -> Path:
    """$CKRM_TF_CACHE, or `ckrm-tf` in the user's cache folder of the platform."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ckrm-tf"


def cached_images(
    files: Sequence[Path],
    target: tuple[int, int],
    recipe: str,
    *,
    read: Callable[[Path], np.ndarray],
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[Frame]]:
    """Read films at training size, from the cache where it holds them, else from their files.

    One cache file an image, written whole or not at all, so that a run that was stopped goes on
    where it was. It holds the source's name, size and time of change; if they differ, or the file
    is damaged, the image is decoded again. No file is ever deleted but the cache's own unfinished
    ones.

    Args:
        files: the films.
        target: (height, width) of the training images.
        recipe: how they are brought to it: see `Frame`.
        read: decodes one file into (H, W) uint8.
        cache_dir: the cache folder; `default_cache_dir()` by default.
        progress: called after each image with the number done and the number of all.

    Returns:
        Images (n, height, width) uint8, and the frame of each.

    Raises:
        CKRMError: when the cache folder cannot be written; whatever `read` raises.
    """
    check_dataset_bytes("decoded films", len(files) * target[0] * target[1])
    folder = Path(cache_dir).expanduser() if cache_dir is not None else default_cache_dir()
    images = np.empty((len(files), *target), np.uint8)
    frames = []
    for i, file in enumerate(files):
        entry = folder / f"{file.name}-{target[0]}x{target[1]}-{recipe}-v{VERSION}.npz"
        with reading(f"image {file}"):
            stat = file.stat()
        source = f"{file.name} {stat.st_size} {stat.st_mtime_ns}"
        known = _load(entry, source, target)
        if known is None:
            film = read(file)
            frame = Frame((film.shape[0], film.shape[1]), target, recipe)
            images[i] = frame.apply(film)
            _store(entry, images[i], frame.picture, source)
        else:
            images[i], picture = known
            frame = Frame(picture, target, recipe)
        frames.append(frame)
        if progress is not None:
            progress(i + 1, len(files))
    return images, frames


def _load(
    entry: Path, source: str, target: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The image and its film's size; None if absent, damaged, or of another source."""
    try:
        # The archive's checksums are verified as its members are read.
        held = read_arrays(entry, ("source", "image", "picture"))
    except CKRMError:
        return None
    if str(held["source"]) != source:
        return None
    image, picture = held["image"], held["picture"]
    if image.shape != target or image.dtype != np.uint8:
        return None
    if picture.shape != (2,) or picture.dtype.kind not in "iu" or picture.min() < 1:
        return None
    return image, (int(picture[0]), int(picture[1]))


def _store(entry: Path, image: np.ndarray, picture: tuple[int, int], source: str) -> None:
    """Write beside, then rename: another process sees the old file or the new one."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                np.savez(out, image=image, picture=np.array(picture), source=np.array(source))
            os.replace(unfinished, entry)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        raise CKRMError(
            f"the image cache cannot be written to {entry.parent}",
            received=str(error),
            hint=f"Give another cache_dir, or set {CACHE_VARIABLE}.",
        ) from error
