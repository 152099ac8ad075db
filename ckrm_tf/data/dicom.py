"""DICOM films as 8-bit images, by the recipe of MIMIC-CXR-JPG, through either of two readers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.data.dicom_file import DicomFile, open_dicom
from ckrm_tf.data.dicom_tfio import decode_with_tfio, why_no_tfio
from ckrm_tf.data.limits import reading
from ckrm_tf.errors import CKRMError, unknown_name

READERS = ("auto", "pydicom", "tensorflow-io")
# Rows that are brought to 8 bits at a time.
BLOCK = 256


def read_dicom(path: str | PathLike[str], reader: str = "auto") -> np.ndarray:
    """The one grey frame of a DICOM file, (H, W) uint8.

    The values go through `eight_bit`; MONOCHROME1 is inverted, so that bone is bright in every
    film. A modality look-up table and the sign of the rescale slope are applied, as pydicom's
    `apply_modality_lut` does (its size and the intercept cancel in `eight_bit`); windows are not,
    as in MIMIC-CXR-JPG. Padding values have no part in the range and are black. Both readers give
    the same pixels.

    Args:
        path: the file.
        reader: what decodes the pixels. "pydicom"; "tensorflow-io", which runs with TensorFlow
            2.16 and 2.17 only; "auto" takes pydicom where it has a decoder for the file, else
            tensorflow-io where it runs. pydicom reads the header in every case.

    Raises:
        CKRMError: when the reader is unknown or not installed (with the extra that brings it), or
            the file is missing, corrupt, too large, or not a single grey frame of whole numbers;
            with the file's name.
    """
    if reader not in READERS:
        raise unknown_name("DICOM reader", reader, READERS)
    path = Path(path)
    try:
        importlib.import_module("pydicom")
    except ImportError as error:
        raise CKRMError(
            f"DICOM file {path}: the reader is not installed",
            hint="pip install 'ckrm-tf[dicom]'",
        ) from error
    # pydicom warns of every odd value of a header; those that decoding trusts are checked.
    with reading(f"DICOM file {path}", quiet=(UserWarning,)):
        file = open_dicom(path)
        stored = _decoder(file.header, reader, path)(file.header)
        if stored.shape != file.shape or stored.dtype.kind not in "iu":
            raise CKRMError(
                f"DICOM file {path}",
                expected=f"{file.shape[0]} x {file.shape[1]} whole numbers",
                received=f"{stored.dtype} of shape {stored.shape}",
            )
        padding = None if file.padding is None else _within(stored, *file.padding)
        return eight_bit(_meant(stored, file), invert=file.inverted, padding=padding)


def eight_bit(
    pixels: np.ndarray, *, invert: bool = False, padding: np.ndarray | None = None
) -> np.ndarray:
    """Whole numbers of any range as uint8: subtract the minimum, divide by the maximum, truncate.

    In whole numbers throughout, so exact. A blank image becomes zeros.

    Args:
        pixels: (H, W) whole numbers.
        invert: takes the result from 255.
        padding: (H, W) bool: pixels that are no part of the film. They have no part in minimum
            and maximum, and become 0; ignored where it covers the whole film.
    """
    film = pixels if padding is None or padding.all() else pixels[~padding]
    low, high = int(film.min()), int(film.max())
    scaled = np.empty(pixels.shape, np.uint8)
    for at in range(0, len(pixels), BLOCK):
        rows = np.clip(pixels[at : at + BLOCK].astype(np.int64), low, high) - low
        scaled[at : at + BLOCK] = rows * 255 // max(1, high - low)
    if invert:
        scaled = 255 - scaled
    if padding is not None and not padding.all():
        scaled[padding] = 0
    return scaled


def _within(pixels: np.ndarray, low: int, high: int) -> np.ndarray:
    return (pixels >= low) & (pixels <= high)


def _meant(stored: np.ndarray, file: DicomFile) -> np.ndarray:
    """What the stored values mean, up to a positive factor and a constant."""
    if file.header.get("ModalityLUTSequence"):
        table = importlib.import_module("pydicom.pixels").apply_modality_lut
        return np.asarray(table(stored, file.header))
    return -stored.astype(np.int64) if file.slope < 0 else stored


def _decoder(header: Any, reader: str, path: Path) -> Callable[[Any], np.ndarray]:
    """The function that decodes this file, or the error that says what to install."""
    if reader == "tensorflow-io":
        reason = why_no_tfio()
        if reason:
            raise CKRMError(
                f"DICOM reader 'tensorflow-io' does not run here: {reason}",
                hint="It needs TensorFlow 2.16 or 2.17, in an environment of its own: pip install "
                "'ckrm-tf[tfio]'. reader='pydicom' gives the same pixels.",
            )
        return decode_with_tfio
    syntax = header.file_meta.TransferSyntaxUID
    try:
        found = importlib.import_module("pydicom.pixels").get_decoder(syntax).is_available
    except NotImplementedError:
        found = False
    if found:
        return _decode_with_pydicom
    if reader == "auto" and why_no_tfio() is None:
        return decode_with_tfio
    raise CKRMError(
        f"DICOM file {path}: no decoder for its compression",
        received=syntax.name,
        hint="pip install 'ckrm-tf[dicom]'",
    )


def _decode_with_pydicom(header: Any) -> np.ndarray:
    return np.asarray(header.pixel_array)
