"""DICOM films as 8-bit images, by the recipe of MIMIC-CXR-JPG, through either of two readers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.data.dicom_tfio import decode_with_tfio, why_no_tfio
from ckrm_tf.errors import CKRMError, unknown_name

READERS = ("auto", "pydicom", "tensorflow-io")


def read_dicom(path: str | PathLike[str], reader: str = "auto") -> np.ndarray:
    """The one grey frame of a DICOM file, (H, W) uint8.

    The stored values, without rescale or window, go through `eight_bit`; MONOCHROME1 is inverted,
    so that bone is bright in every film. Both readers give the same pixels.

    Args:
        path: the file.
        reader: what decodes the pixels. "pydicom"; "tensorflow-io", which runs with TensorFlow
            2.16 and 2.17 only; "auto" takes pydicom where it has a decoder for the file, else
            tensorflow-io where it runs. pydicom reads the header in every case.

    Raises:
        CKRMError: when the reader is unknown or not installed (with the extra that brings it), or
            the file is missing, corrupt, or not a single grey frame of whole numbers.
    """
    if reader not in READERS:
        raise unknown_name("DICOM reader", reader, READERS)
    path = Path(path)
    header = _open(path)
    decode = _decoder(header, reader, path)
    try:
        pixels = decode(header)
    # The decoders are other people's C and Python; a damaged file can raise anything in them.
    except Exception as error:
        raise _unreadable(path, error) from error
    return eight_bit(pixels, invert=header.PhotometricInterpretation == "MONOCHROME1")


def eight_bit(pixels: np.ndarray, *, invert: bool = False) -> np.ndarray:
    """Whole numbers of any range as uint8: subtract the minimum, divide by the maximum, truncate.

    In whole numbers throughout, so exact. A blank image becomes zeros. `invert` takes the result
    from 255.
    """
    shifted = pixels.astype(np.int64) - int(pixels.min())
    scaled = (shifted * 255 // max(1, int(shifted.max()))).astype(np.uint8)
    return 255 - scaled if invert else scaled


def _open(path: Path) -> Any:
    """The parsed file, checked to hold one grey frame of whole numbers."""
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise CKRMError(
            f"DICOM file {path}: the reader is not installed",
            hint="pip install 'ckrm-tf[dicom]'",
        ) from error
    try:
        header = pydicom.dcmread(path)
        shape = header.Rows, header.Columns
        frames, samples = int(header.get("NumberOfFrames") or 1), header.SamplesPerPixel
        photometric, stored = header.PhotometricInterpretation, header.PixelData
        compressed = header.file_meta.TransferSyntaxUID.is_compressed
    except Exception as error:
        raise _unreadable(path, error) from error
    if samples != 1 or frames != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise CKRMError(
            f"DICOM file {path}",
            expected="one grey frame (MONOCHROME1 or MONOCHROME2)",
            received=f"{frames} frame(s) of {samples} sample(s) a pixel, {photometric}",
        )
    needed = shape[0] * shape[1] * header.BitsAllocated // 8
    if not shape[0] * shape[1] or (not compressed and len(stored) < needed):
        raise CKRMError(
            f"DICOM file {path} is cut short",
            expected=f"{needed} bytes for {shape[0]} x {shape[1]} pixels",
            received=f"{len(stored)} bytes",
        )
    return header


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


def _unreadable(path: Path, error: Exception) -> CKRMError:
    if isinstance(error, FileNotFoundError):
        return CKRMError("DICOM file not found", received=str(path))
    return CKRMError(
        f"DICOM file {path} cannot be read", received=f"{type(error).__name__}: {error}"
    )
