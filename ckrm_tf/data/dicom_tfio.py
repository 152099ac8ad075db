"""DICOM pixels through tensorflow-io, whose DCMTK alters them unless the header is bare."""

from __future__ import annotations

import importlib
import struct
import warnings
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

# All that decoding needs. DCMTK also applies rescale and look-up tables, inverts MONOCHROME1 (off
# by one above the middle) and an INVERSE presentation shape, and paints overlays in: none of that
# can be undone from its output, so it never sees those elements.
_DECODING = (
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


@cache
def why_no_tfio() -> str | None:
    """None where tensorflow-io decodes a DICOM file, else the reason why it does not.

    Importing it proves nothing: with a TensorFlow it was not built for, the import succeeds and
    every operation fails. One frame is decoded instead.
    """
    try:
        pixels = _run_op(_one_frame())
    except ImportError as error:
        return f"{error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None if pixels.tolist() == [[1, 2]] else f"it decodes [[1, 2]] as {pixels.tolist()}"


def decode_with_tfio(header: Any) -> np.ndarray:
    """The stored values (H, W) of a parsed single-frame grey file, as pydicom's `pixel_array`.

    Raises:
        Exception: whatever TensorFlow or pydicom raise for a damaged file.
    """
    pixels = _run_op(_bare(header)).astype(np.int64)
    if pixels.shape != (header.Rows, header.Columns):
        raise ValueError(f"decoded to shape {pixels.shape}")
    # DCMTK shifts signed values to start at 0.
    return pixels - (1 << (header.BitsStored - 1)) if header.PixelRepresentation else pixels


def _bare(header: Any) -> bytes:
    """The file with nothing in it but what decoding needs."""
    pydicom = importlib.import_module("pydicom")
    bare = pydicom.Dataset()
    for name in _DECODING:
        setattr(bare, name, header[name].value)
    bare.PhotometricInterpretation = "MONOCHROME2"
    bare.SOPClassUID = header.file_meta.get("MediaStorageSOPClassUID") or _SOP_CLASS
    bare.SOPInstanceUID = header.file_meta.get("MediaStorageSOPInstanceUID") or _SOP_CLASS
    bare["PixelData"] = header["PixelData"]
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    buffer = BytesIO()
    bare.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _run_op(content: bytes) -> np.ndarray:
    """(H, W) uint32 of the first frame."""
    with warnings.catch_warnings():
        # Its import warns at length where it does not fit TensorFlow; the op's failure says it.
        warnings.simplefilter("ignore")
        tf = importlib.import_module("tensorflow")
        image = importlib.import_module("tensorflow_io").image
        # The default, on_error="skip", answers a damaged file with an empty array.
        frames = image.decode_dicom_image(content, on_error="strict", dtype=tf.uint32)
    return np.asarray(frames)[0, :, :, 0]


_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image, for presentation
_EXPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2.1\0"


def _one_frame() -> bytes:
    """A DICOM file of one row of two 16-bit pixels, 1 and 2, written without a DICOM library."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        long = kind in (b"OB", b"OW")
        size = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
        return struct.pack("<HH", group, number) + kind + size + value

    def number(value: int) -> bytes:
        return struct.pack("<H", value)

    meta = element(0x0002, 0x0010, b"UI", _EXPLICIT_LITTLE_ENDIAN)
    body = b"".join(
        element(0x0028, tag, kind, value)
        for tag, kind, value in (
            (0x0002, b"US", number(1)),
            (0x0004, b"CS", b"MONOCHROME2 "),
            (0x0010, b"US", number(1)),
            (0x0011, b"US", number(2)),
            (0x0100, b"US", number(16)),
            (0x0101, b"US", number(16)),
            (0x0102, b"US", number(15)),
            (0x0103, b"US", number(0)),
        )
    )
    length = element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta)))
    pixels = element(0x7FE0, 0x0010, b"OW", struct.pack("<HH", 1, 2))
    return bytes(128) + b"DICM" + length + meta + body + pixels
