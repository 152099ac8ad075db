"""Where the files of EGD-CXR and MIMIC-CXR lie, in the trees that people have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ckrm_tf.data.dicom import eight_bit, read_dicom
from ckrm_tf.data.egd_tables import MASTER
from ckrm_tf.data.images import read_grey
from ckrm_tf.data.limits import brief, reading
from ckrm_tf.errors import CKRMError

# The master sheet names the DICOM file; MIMIC-CXR-JPG has the same tree with .jpg.
SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
_RELEASE = ("", "*/", "egd-cxr/*/", "files/egd-cxr/*/")
_IMAGES = ("", "mimic-cxr*", "mimic-cxr*/*", "files/mimic-cxr*/*")


def find_release(path: Path) -> Path:
    """The folder with `master_sheet.csv`: `path`, or below it as PhysioNet lays it out.

    Searched: PATH, PATH/*, PATH/egd-cxr/*, PATH/files/egd-cxr/* (a whole download).

    Raises:
        CKRMError: when it is in none of them.
    """
    with reading(f"folder {path}"):
        for pattern in _RELEASE:
            found = sorted(path.glob(pattern + MASTER))
            if found:
                return found[-1].parent
    raise CKRMError(
        f"EGD-CXR file not found: {MASTER}",
        expected=f"in {path}, or in egd-cxr/VERSION below it",
        hint=None if path.is_dir() else f"There is no folder {path}.",
    )


def find_images(
    release: Path, paths: Sequence[str], ids: Sequence[str], images: Path | None = None
) -> list[Path]:
    """Each image's file, DICOM before PNG before JPEG.

    Searched in `images` if it is given, else in the release and the three folders above it; there
    and in mimic-cxr*/, mimic-cxr*/VERSION/ and files/mimic-cxr*/VERSION/ below; the path of the
    master sheet first, then ID.dcm (.png, .jpg, .jpeg) without folders.

    Raises:
        CKRMError: when files are missing: their number and the first.
    """
    bases = [images] if images is not None else [release, *release.resolve().parents[:3]]
    with reading("the folders of the images"):
        roots = [
            root
            for base in bases
            for pattern in _IMAGES
            for root in ([base] if not pattern else sorted(base.glob(pattern), reverse=True))
            if root.is_dir()
        ]
        candidates = [
            next((file for file in _candidates(roots, path, name) if file.is_file()), None)
            for path, name in zip(paths, ids, strict=True)
        ]
    found = [file for file in candidates if file is not None]
    missing = [path for path, file in zip(paths, candidates, strict=True) if file is None]
    if missing:
        raise CKRMError(
            f"{len(missing)} of {len(paths)} images not found",
            expected=f"{brief(missing[0])} (or .png, .jpg) in mimic-cxr/VERSION beside the "
            "release, or in the folder given as `images`",
            received=f"none in {', '.join(str(base) for base in bases)}",
        )
    return found


def read_film(file: Path, reader: str = "auto") -> np.ndarray:
    """A film at full size, (H, W) uint8, from DICOM, PNG or JPEG.

    More than 8 bits a pixel are reduced as in MIMIC-CXR-JPG: see `eight_bit`.

    Raises:
        CKRMError: when the file cannot be decoded.
    """
    if file.suffix.lower() == ".dcm":
        return read_dicom(file, reader)
    pixels = read_grey(file)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iu":
        raise CKRMError(f"image {file}", expected="whole numbers", received=pixels.dtype)
    return eight_bit(pixels)


def _candidates(roots: Sequence[Path], path: str, name: str) -> Iterator[Path]:
    stem = path.removesuffix(".dcm")
    for suffix in SUFFIXES:
        for root in roots:
            yield root / f"{stem}{suffix}"
            yield root / f"{name}{suffix}"
