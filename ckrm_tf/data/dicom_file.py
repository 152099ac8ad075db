"""DICOM files opened and weighed: every header field that decoding trusts is checked first."""

from __future__ import annotations

import importlib
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ckrm_tf.data.limits import (
    EXPANSION,
    FREE_BYTES,
    brief,
    check_film_file,
    check_pixels,
    check_unpacked,
)
from ckrm_tf.errors import CKRMError

PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_RLE = "1.2.840.10008.1.2.5"
# Before the meta header's own content: preamble, "DICM", and the element that gives its length.
_BEFORE_META = 128 + 4 + 12
# The start of a frame in JPEG and JPEG-LS, which all give the size alike: SOF0 to 3, 5 to 7, 9 to
# 11, 13 to 15, and SOF55.
_JPEG_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_JPEG_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class DicomFile:
    """One grey frame, not decoded yet.

    Attributes:
        header: pydicom's data set, its pixels not decoded.
        shape: (rows, columns).
        inverted: whether small values are bright (MONOCHROME1).
        slope: of the values that the film means over those that are stored: 1 or -1.
        padding: (low, high) stored values that are no part of the film, or None.
    """

    header: Any
    shape: tuple[int, int]
    inverted: bool
    slope: int
    padding: tuple[int, int] | None


def open_dicom(path: Path) -> DicomFile:
    """Parse a file and check that it holds one grey frame of whole numbers.

    Raises:
        CKRMError: a field is missing or absurd, with the file's name.
        Exception: whatever pydicom raises for a damaged file.
    """
    check_film_file(path)
    header = _parse(path)
    what = f"DICOM file {path}"
    frames = _whole(what, header, "NumberOfFrames", 0, 2**31, 1) or 1
    samples = _whole(what, header, "SamplesPerPixel", 1, 4)
    photometric = str(_value(what, header, "PhotometricInterpretation"))
    if samples != 1 or frames != 1 or photometric not in PHOTOMETRIC:
        raise CKRMError(
            what,
            expected="one grey frame (MONOCHROME1 or MONOCHROME2)",
            received=f"{frames} frame(s) of {samples} sample(s) a pixel, {brief(photometric, 40)}",
        )
    rows = _whole(what, header, "Rows", 1, 65535)
    columns = _whole(what, header, "Columns", 1, 65535)
    check_pixels(what, rows, columns)
    bits = _check_bits(what, header)
    _check_pixel_data(what, header, rows, columns, bits)
    return DicomFile(
        header,
        (rows, columns),
        photometric == "MONOCHROME1",
        _slope(what, header),
        _padding(what, header, bits),
    )


def _parse(path: Path) -> Any:
    pydicom = importlib.import_module("pydicom")
    meta = importlib.import_module("pydicom.filereader").read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        return pydicom.dcmread(_inflated(path, meta))
    return pydicom.dcmread(path)


def _inflated(path: Path, meta: Any) -> BytesIO:
    """A deflated file as a plain one: pydicom would inflate it without a bound."""
    pydicom = importlib.import_module("pydicom")
    packed = path.read_bytes()[_BEFORE_META + int(meta.FileMetaInformationGroupLength) :]
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflate.decompress(packed, max(FREE_BYTES, EXPANSION * len(packed)) + 1)
    check_unpacked(f"DICOM file {path}", len(plain), len(packed))
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    whole = BytesIO()
    whole.write(bytes(128) + b"DICM")
    pydicom.filewriter.write_file_meta_info(whole, meta, enforce_standard=False)
    whole.write(plain)
    whole.seek(0)
    return whole


def _value(what: str, header: Any, keyword: str) -> Any:
    value = header.get(keyword)
    if value is None or value == "":
        raise CKRMError(f"{what} cannot be read: {keyword}", expected="a value", received="none")
    return value


def _whole(
    what: str, header: Any, keyword: str, low: int, high: int, default: int | None = None
) -> int:
    """A header field that is one whole number in [low, high]."""
    value = header.get(keyword)
    if value in (None, "") and default is not None:
        return default
    value = _value(what, header, keyword)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = low - 1
    if not low <= number <= high:
        raise CKRMError(
            f"{what}: {keyword}",
            expected=f"a whole number from {low} to {high}",
            received=brief(value, 40),
        )
    return number


def _check_bits(what: str, header: Any) -> int:
    """Bits of a stored pixel; the other fields of the pixel's form must agree with them."""
    allocated = _whole(what, header, "BitsAllocated", 8, 32)
    if allocated % 8 or allocated == 24:
        raise CKRMError(f"{what}: BitsAllocated", expected="8, 16 or 32", received=allocated)
    stored = _whole(what, header, "BitsStored", 1, allocated)
    high = _whole(what, header, "HighBit", 0, allocated - 1, stored - 1)
    if high != stored - 1:
        raise CKRMError(
            f"{what}: HighBit",
            expected=f"{stored - 1}, for {stored} bits stored",
            received=high,
        )
    _whole(what, header, "PixelRepresentation", 0, 1)
    return stored


def _check_pixel_data(what: str, header: Any, rows: int, columns: int, bits: int) -> None:
    syntax = _value(what, header.file_meta, "TransferSyntaxUID")
    data = _value(what, header, "PixelData")
    needed = rows * columns * (int(header.BitsAllocated) // 8)
    if not syntax.is_compressed:
        if len(data) < needed:
            raise CKRMError(
                f"{what} is cut short",
                expected=f"{needed} bytes for {rows} x {columns} pixels",
                received=f"{len(data)} bytes",
            )
        return
    frame = importlib.import_module("pydicom.encaps").get_frame(data, 0, number_of_frames=1)
    coded = _rle_bytes(frame) if syntax == _RLE else None
    if coded is not None and coded > 2 * needed + 1024:
        raise CKRMError(what, expected=f"{needed} bytes of pixels", received=f"{coded}, packed")
    size = None if syntax == _RLE else coded_size(frame)
    if size is not None and size != (rows, columns):
        raise CKRMError(
            f"{what}: the compressed frame",
            expected=f"{rows} x {columns} pixels, as the header says",
            received=f"{size[0]} x {size[1]}",
        )


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """(height, width) that a JPEG, JPEG-LS or JPEG 2000 frame says it has; None if it does not.

    Decoders allocate by these numbers, whatever the DICOM header says.
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 24:
        width, height, left, top = struct.unpack(">4I", frame[8:24])
        return height - top, width - left
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", frame[at + 5 : at + 9])
            return height, width
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_NO_LENGTH:
            at += 2
        else:
            at += 2 + struct.unpack(">H", frame[at + 2 : at + 4])[0]
    return None


def _rle_bytes(frame: bytes) -> int:
    """The bytes that an RLE frame unpacks to (PackBits, DICOM PS3.5 annex G), without unpacking."""
    total, at = 0, 64
    while at < len(frame):
        count = frame[at]
        if count < 128:
            total += count + 1
            at += count + 2
        else:
            total += 0 if count == 128 else 257 - count
            at += 1 if count == 128 else 2
    return total


def _slope(what: str, header: Any) -> int:
    """The sign of the rescale slope; as for pydicom, it counts with its intercept alone."""
    if "RescaleSlope" not in header or "RescaleIntercept" not in header:
        return 1
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        value = _value(what, header, keyword)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) < float("inf") or (keyword == "RescaleSlope" and number == 0):
            raise CKRMError(
                f"{what}: {keyword}", expected="a usable number", received=brief(value, 40)
            )
    return -1 if float(header.RescaleSlope) < 0 else 1


def _padding(what: str, header: Any, bits: int) -> tuple[int, int] | None:
    """The range of the padding values (DICOM PS3.3 C.7.5.1.1.2)."""
    if header.get("PixelPaddingValue") in (None, ""):
        return None
    signed = int(header.PixelRepresentation) == 1
    ends: list[int] = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        default = ends[0] if ends else None
        end = _whole(what, header, keyword, -(2**31), 2**32, default)
        # Written as unsigned by some devices although the pixels are signed.
        end = end - 65536 if signed and 32768 <= end < 65536 and bits <= 16 else end
        ends.append(_stored(end, bits, signed))
    return min(ends), max(ends)


def _stored(value: int, bits: int, signed: bool) -> int:
    """A padding value as the decoder gives it, which takes the stored bits of a pixel alone.

    65535 in films of 12 bits is 4095. Only where that is an end of their range: a grey level in the
    midst of the film is no padding.
    """
    least = -(1 << (bits - 1)) if signed else 0
    most = least + (1 << bits) - 1
    left = (value - least) % (1 << bits) + least
    return left if left in (least, most) else value
