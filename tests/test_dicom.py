"""The two DICOM readers: where tensorflow-io runs, every pixel test runs on both."""

import sys

import numpy as np
import pydicom
import pytest
from dicom_files import CODED, FRAMES, NATIVE, add_overlay, write_dicom
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000Lossless

from ckrm_tf.data.dicom import eight_bit, read_dicom
from ckrm_tf.data.dicom_tfio import why_no_tfio
from ckrm_tf.errors import CKRMError

TFIO_RUNS = why_no_tfio() is None
READERS = ["pydicom", "tensorflow-io"] if TFIO_RUNS else ["pydicom"]
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)

pytestmark = pytest.mark.filterwarnings(
    # pydicom says so before its error.
    "ignore:End of file reached before delimiter:UserWarning",
)


def recipe(pixels, photometric="MONOCHROME2"):
    """The recipe of MIMIC-CXR-JPG, a pixel at a time."""
    low, high = int(pixels.min()), int(pixels.max())
    rows = [[(int(v) - low) * 255 // (high - low) for v in row] for row in pixels]
    if photometric == "MONOCHROME1":
        rows = [[255 - v for v in row] for row in rows]
    return np.array(rows, np.uint8)


@pytest.mark.parametrize("reader", [*READERS, "auto"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [*NATIVE, *FRAMES])
def test_pixels_of_every_syntax(tmp_path, syntax, photometric, reader):
    file = write_dicom(tmp_path / "a.dcm", CODED, syntax, photometric=photometric)
    image = read_dicom(file, reader)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, recipe(CODED, photometric))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("pixels", "bits"),
    [
        (RAMP, 12),
        (RAMP * 16 + 15, 16),
        (RAMP // 16 + 40, 15),
        ((RAMP // 16).astype(np.uint8), 8),
        (RAMP.astype(np.int16) - 2048, 12),
        (RAMP.astype(np.int16) - 2048, 16),
        (np.rint(RAMP * 16.0 - 32768).astype(np.int16), 16),
        (RAMP[:5, :7].copy(), 12),
    ],
)
def test_pixels_of_every_depth_and_sign(tmp_path, pixels, bits, photometric, reader):
    file = write_dicom(tmp_path / "a.dcm", pixels, photometric=photometric, bits=bits)
    np.testing.assert_array_equal(read_dicom(file, reader), recipe(pixels, photometric))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "2", "RescaleIntercept": "-100"},
        {"RescaleSlope": "0.5", "RescaleIntercept": "0"},
        {"WindowCenter": "100", "WindowWidth": "50"},
        {"PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME1"},
        {"NumberOfFrames": "1"},
    ],
)
def test_stored_values_only(tmp_path, elements, reader):
    file = write_dicom(tmp_path / "a.dcm", RAMP, **elements)
    photometric = elements.get("PhotometricInterpretation", "MONOCHROME2")
    np.testing.assert_array_equal(read_dicom(file, reader), recipe(RAMP, photometric))


@pytest.mark.parametrize("reader", READERS)
def test_overlays_and_bits_above_the_stored_ones_are_no_pixels(tmp_path, reader):
    file = write_dicom(tmp_path / "a.dcm", RAMP | np.uint16(0xF000))
    add_overlay(file)
    np.testing.assert_array_equal(read_dicom(file, reader), recipe(RAMP))


@pytest.mark.parametrize("high", [1, 254, 255, 256, 4095, 65535, 2**31 - 1])
def test_eight_bit_over_any_range(high):
    pixels = np.unique(np.linspace(0, high, 1000).astype(np.int64))
    expected = [v * 255 // high for v in pixels.tolist()]
    np.testing.assert_array_equal(eight_bit(pixels), expected)
    np.testing.assert_array_equal(eight_bit(pixels - 7, invert=True), 255 - np.array(expected))


def test_a_blank_image_is_zero():
    np.testing.assert_array_equal(eight_bit(np.full((2, 3), 700)), np.zeros((2, 3)))


@pytest.mark.parametrize("reader", READERS)
class TestErrors:
    def error(self, file, reader):
        with pytest.raises(CKRMError) as caught:
            read_dicom(file, reader)
        assert file.name in str(caught.value)
        return str(caught.value)

    def test_absent(self, tmp_path, reader):
        assert "not found" in self.error(tmp_path / "absent.dcm", reader)

    @pytest.mark.parametrize("content", [b"", b"no film" * 100, bytes(128) + b"DICM"])
    def test_not_dicom(self, tmp_path, reader, content):
        file = tmp_path / "junk.dcm"
        file.write_bytes(content)
        assert "cannot be read" in self.error(file, reader)

    @pytest.mark.parametrize("syntax", [*NATIVE, *FRAMES])
    @pytest.mark.parametrize("lost", [0.3, 0.9])
    def test_cut_short(self, tmp_path, reader, syntax, lost):
        file = write_dicom(tmp_path / "cut.dcm", CODED, syntax)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * (1 - lost))])
        self.error(file, reader)

    @pytest.mark.parametrize("syntax", FRAMES)
    def test_damaged_frame(self, tmp_path, reader, syntax):
        file = write_dicom(tmp_path / "bad.dcm", CODED, syntax)
        content = bytearray(file.read_bytes())
        # The start of the code stream: its marker and header.
        start = content.rindex(b"\xff\xd8" if b"\xff\xd8" in content else b"\xff\x4f\xff\x51")
        content[start : start + 30] = bytes(30)
        file.write_bytes(content)
        self.error(file, reader)

    def test_colour(self, tmp_path, reader):
        file = write_dicom(tmp_path / "rgb.dcm", RAMP, SamplesPerPixel=3, photometric="RGB")
        assert "one grey frame" in self.error(file, reader)

    def test_film_loop(self, tmp_path, reader):
        file = write_dicom(tmp_path / "loop.dcm", RAMP, NumberOfFrames="2", Rows=32)
        assert "2 frame(s)" in self.error(file, reader)

    def test_no_such_compression(self, tmp_path, reader):
        file = write_dicom(tmp_path / "video.dcm", RAMP)
        content = file.read_bytes()
        # MPEG2: the same length as the UID it replaces, so that the header stays whole.
        file.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
        self.error(file, reader)


def test_unknown_reader(tmp_path):
    with pytest.raises(CKRMError, match="Did you mean 'pydicom'"):
        read_dicom(tmp_path / "a.dcm", "pydcom")


def test_without_pydicom_the_error_names_the_extra(tmp_path, monkeypatch):
    file = write_dicom(tmp_path / "a.dcm", RAMP)
    # What Python does for a package that is not installed.
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(CKRMError, match=r"pip install 'ckrm-tf\[dicom\]'"):
        read_dicom(file)


@pytest.fixture
def no_jpeg2000():
    """pydicom as installed without its decoders for JPEG 2000."""
    decoder = get_decoder(JPEG2000Lossless)
    modules = {name: f"pydicom.pixels.decoders.{name}" for name in decoder.available_plugins}
    for name in modules:
        decoder.remove_plugin(name)
    yield
    for name, module in modules.items():
        decoder.add_plugin(name, (module, "_decode_frame"))


@pytest.mark.usefixtures("no_jpeg2000")
def test_without_a_decoder(tmp_path):
    file = write_dicom(tmp_path / "a.dcm", CODED, "jpeg 2000")
    with pytest.raises(CKRMError, match=r"JPEG 2000.*pip install 'ckrm-tf\[dicom\]'"):
        read_dicom(file, "pydicom")
    if TFIO_RUNS:
        np.testing.assert_array_equal(read_dicom(file), recipe(CODED))
    else:
        with pytest.raises(CKRMError, match=r"JPEG 2000.*pip install 'ckrm-tf\[dicom\]'"):
            read_dicom(file)


@pytest.mark.skipif(TFIO_RUNS, reason="tensorflow-io runs here")
def test_where_tensorflow_io_does_not_run_the_error_says_so(tmp_path):
    file = write_dicom(tmp_path / "a.dcm", RAMP)
    with pytest.raises(CKRMError, match=r"does not run here.*pip install 'ckrm-tf\[tfio\]'"):
        read_dicom(file, "tensorflow-io")
    np.testing.assert_array_equal(read_dicom(file), read_dicom(file, "pydicom"))


@pytest.mark.skipif(not TFIO_RUNS, reason="tensorflow-io does not run here")
def test_bare_tensorflow_io_gives_other_pixels(tmp_path):
    """Why the header is stripped: DCMTK's own inversion cannot be undone."""
    tf, tfio = pytest.importorskip("tensorflow"), pytest.importorskip("tensorflow_io")
    file = write_dicom(tmp_path / "a.dcm", RAMP, photometric="MONOCHROME1")
    frames = tfio.image.decode_dicom_image(file.read_bytes(), dtype=tf.uint16).numpy()
    assert len(np.unique(frames)) < len(np.unique(pydicom.dcmread(file).pixel_array))
