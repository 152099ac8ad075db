"""DICOM headers: absurd fields, padding, slopes, and files that would fill the memory."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import CODED, FRAMES, write_dicom
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut
from pydicom.uid import RLELossless

from ckrm_tf.data.dicom import eight_bit, read_dicom
from ckrm_tf.data.dicom_file import coded_size, open_dicom
from ckrm_tf.errors import CKRMError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
# Not symmetric: a film that is turned round is another one.
FILM = (RAMP.astype(np.int64) ** 2 // 4096).astype(np.uint16)


def reference(path: Path) -> np.ndarray:
    """What pydicom says the film means, scaled as MIMIC-CXR-JPG does."""
    image = pydicom.dcmread(path)
    meant = np.asarray(apply_modality_lut(image.pixel_array, image), np.float64)
    low, high = meant.min(), meant.max()
    return np.floor((meant - low) * 255 / (high - low) + 1e-9).astype(np.uint8)


def edit(path: Path, **elements: object) -> Path:
    """Set elements of a written file; None takes one away."""
    image = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    image.save_as(path)
    return path


class TestFields:
    @pytest.mark.parametrize(
        "keyword",
        [
            *("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"),
            *("SamplesPerPixel", "PhotometricInterpretation", "PixelData"),
        ],
    )
    def test_missing(self, tmp_path: Path, keyword: str) -> None:
        path = edit(write_dicom(tmp_path / "film7.dcm", FILM), **{keyword: None})
        with pytest.raises(CKRMError, match=rf"film7\.dcm cannot be read.*{keyword}"):
            read_dicom(path)

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [
            *(("Rows", 0), ("Rows", 65535), ("Columns", [64, 64]), ("BitsAllocated", 12)),
            *(("BitsAllocated", 0), ("BitsAllocated", 64), ("BitsStored", 0), ("BitsStored", 17)),
            *(("HighBit", 15), ("HighBit", 3), ("PixelRepresentation", 2)),
            *(("SamplesPerPixel", 0), ("SamplesPerPixel", 65535)),
            *(("PhotometricInterpretation", "PALETTE COLOR"), ("NumberOfFrames", "99999999")),
            *(("RescaleSlope", "0"), ("RescaleIntercept", "1e999")),
        ],
    )
    def test_absurd(self, tmp_path: Path, keyword: str, value: object) -> None:
        path = write_dicom(tmp_path / "film7.dcm", FILM, RescaleSlope="1", RescaleIntercept="0")
        read_dicom(path)
        edit(path, **{keyword: value})
        with pytest.raises(CKRMError, match=r"film7\.dcm") as caught:
            read_dicom(path)
        assert len(str(caught.value)) < 400

    def test_fields_that_may_be_missing(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", FILM)
        before = read_dicom(path)
        edit(path, HighBit=None, SOPClassUID=None)
        np.testing.assert_array_equal(read_dicom(path, "pydicom"), before)

    def test_not_a_file(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "no.dcm", tmp_path / ("x" * 300)):
            with pytest.raises(CKRMError, match="DICOM file"):
                read_dicom(path)


class TestMeaning:
    @pytest.mark.parametrize("slope", ["1", "-1", "-0.25", "3.5"])
    @pytest.mark.parametrize("signed", [False, True])
    def test_rescale_as_pydicom(self, tmp_path: Path, slope: str, signed: bool) -> None:
        film = FILM.astype(np.int16) - 2048 if signed else FILM
        path = write_dicom(tmp_path / "a.dcm", film, RescaleSlope=slope, RescaleIntercept="-1024")
        np.testing.assert_array_equal(read_dicom(path), reference(path))

    def test_a_negative_slope_turns_the_film(self, tmp_path: Path) -> None:
        plain = read_dicom(write_dicom(tmp_path / "a.dcm", FILM))
        path = write_dicom(tmp_path / "b.dcm", FILM, RescaleSlope="-1", RescaleIntercept="4095")
        turned = read_dicom(path)
        assert (plain[0, 0], plain[-1, -1]) == (0, 255)
        assert (turned[0, 0], turned[-1, -1]) == (255, 0)
        # MONOCHROME1 turns it back.
        both = edit(path, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(read_dicom(both), 255 - turned)

    def test_a_slope_without_intercept_counts_as_little_as_for_pydicom(
        self, tmp_path: Path
    ) -> None:
        path = write_dicom(tmp_path / "a.dcm", FILM, RescaleSlope="-1")
        np.testing.assert_array_equal(read_dicom(path), reference(path))
        np.testing.assert_array_equal(read_dicom(path), eight_bit(FILM))

    def test_a_modality_table(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", FILM)
        image = pydicom.dcmread(path)
        table = pydicom.Dataset()
        table.LUTDescriptor = [4096, 0, 16]
        table.add_new(0x00283006, "US", (65535 - np.arange(4096) ** 2 // 256).tolist())
        image.ModalityLUTSequence = [table]
        image.save_as(path)
        np.testing.assert_array_equal(read_dicom(path), reference(path))
        assert read_dicom(path)[0, 0] == 255

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_padding_has_no_part_in_the_range_and_is_black(
        self, tmp_path: Path, photometric: str
    ) -> None:
        film = (FILM // 4 + 500).astype(np.int16)
        value = -2000 if photometric == "MONOCHROME2" else 4000
        padded = film.copy()
        padded[:, :10] = value
        path = write_dicom(
            tmp_path / "a.dcm", padded, photometric=photometric, bits=16, PixelPaddingValue=value
        )
        image = read_dicom(path)
        expected = eight_bit(film[:, 10:], invert=photometric == "MONOCHROME1")
        np.testing.assert_array_equal(image[:, 10:], expected)
        assert not image[:, :10].any()
        # Without the element these are pixels, and crush the contrast of the others.
        crushed = read_dicom(edit(path, PixelPaddingValue=None))
        assert np.ptp(crushed[:, 10:].astype(int)) < 120

    @pytest.mark.parametrize("limit", [None, 65530])
    def test_padding_in_the_bits_above_the_stored_ones(
        self, tmp_path: Path, limit: int | None
    ) -> None:
        """65535 in a film of 12 bits, of which the decoder gives 4095."""
        film = FILM // 4
        padded = film.copy()
        padded[:, :10] = 65535
        more = {} if limit is None else {"PixelPaddingRangeLimit": limit}
        path = write_dicom(tmp_path / "a.dcm", padded, bits=12, PixelPaddingValue=65535, **more)
        image = read_dicom(path)
        np.testing.assert_array_equal(image[:, 10:], eight_bit(film[:, 10:]))
        assert not image[:, :10].any()
        # Without the element these are pixels.
        bare = write_dicom(tmp_path / "b.dcm", padded, bits=12)
        assert (read_dicom(bare)[:, :10] == 255).all()

    def test_a_padding_value_that_no_pixel_can_have(self, tmp_path: Path) -> None:
        """63536 is 2096 in the lower 12 bits, which is a grey level like others."""
        path = write_dicom(tmp_path / "a.dcm", RAMP, bits=12, PixelPaddingValue=63536)
        np.testing.assert_array_equal(read_dicom(path), eight_bit(RAMP))

    def test_a_range_of_padding(self, tmp_path: Path) -> None:
        film = FILM + 100
        film[0] = np.arange(64) % 50
        path = write_dicom(
            tmp_path / "a.dcm", film, bits=16, PixelPaddingValue=0, PixelPaddingRangeLimit=49
        )
        np.testing.assert_array_equal(read_dicom(path)[1:], eight_bit(film[1:]))

    def test_padding_alone_is_a_film(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", np.zeros_like(FILM), PixelPaddingValue=0)
        assert not read_dicom(path).any()


class TestMemory:
    @pytest.mark.parametrize("kind", FRAMES)
    def test_the_size_in_a_compressed_frame(self, tmp_path: Path, kind: str) -> None:
        path = write_dicom(tmp_path / "a.dcm", CODED, kind)
        frame = get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
        assert coded_size(frame) == CODED.shape
        assert coded_size(frame[2:]) is None

    @pytest.mark.parametrize("kind", FRAMES)
    def test_a_compressed_frame_of_another_size(self, tmp_path: Path, kind: str) -> None:
        path = write_dicom(tmp_path / "a.dcm", CODED, kind)
        read_dicom(path)
        content = path.read_bytes()
        small, large = (struct.pack(">HH", n, n) for n in (16, 60_000))
        if kind == "jpeg 2000":
            small, large = (struct.pack(">II", n, n) for n in (16, 60_000))
        assert small in content
        path.write_bytes(content.replace(small, large, 1))
        with pytest.raises(CKRMError, match=r"16 x 16 pixels.*received 60000 x 60000"):
            read_dicom(path)

    def test_a_deflated_bomb(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", CODED, "deflated")
        content = path.read_bytes()
        start = 144 + struct.unpack("<I", content[140:144])[0]
        plain = zlib.decompress(content[start:], -15)
        # Pixels as long as the element may be, and then more.
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = packer.compress(plain) + b"".join(packer.compress(bytes(2**20)) for _ in range(300))
        path.write_bytes(content[:start] + body + packer.flush())
        assert path.stat().st_size < 3_000_000
        with pytest.raises(CKRMError, match=r"a\.dcm: size: expected at most 268 MB"):
            read_dicom(path)

    def test_an_rle_bomb(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", CODED, "rle")
        image = pydicom.dcmread(path)
        # Each pair of bytes is 128 zeros.
        frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 10_000
        image.PixelData = pydicom.encaps.encapsulate([frame])
        image.file_meta.TransferSyntaxUID = RLELossless
        image.save_as(path)
        with pytest.raises(CKRMError, match="expected 512 bytes of pixels, received 1280000"):
            read_dicom(path)

    def test_what_is_not_read_is_not_decoded(self, tmp_path: Path) -> None:
        file = open_dicom(write_dicom(tmp_path / "a.dcm", FILM, photometric="MONOCHROME1"))
        assert (file.shape, file.inverted, file.slope, file.padding) == ((64, 64), True, 1, None)
