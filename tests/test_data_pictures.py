"""Picture files: depth, colour, kinds of file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ckrm_tf.data import load_dataset
from ckrm_tf.data.dataset import Dataset
from ckrm_tf.data.images import has_colour, read_grey, read_header, read_picture
from ckrm_tf.errors import CKRMError

RAMP = np.tile(np.linspace(0, 1, 64), (64, 1))


def folder(root: Path, suffix: str, *pictures: Image.Image, count: int = 4) -> Path:
    """Two classes of `count` pictures; `pictures` take turns."""
    for name in "ab":
        (root / name).mkdir()
        for i in range(count):
            pictures[i % len(pictures)].save(root / name / f"{i}{suffix}")
    return root


def grey(top: float, dtype: str) -> Image.Image:
    return Image.fromarray(np.rint(RAMP * top).astype(dtype))


def all_images(data: Dataset) -> np.ndarray:
    return np.concatenate([split.images for split in data.splits().values()])


def png16(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    size = struct.pack(">II", pixels.shape[1], pixels.shape[0])
    chunks = (
        (b"IHDR", size + bytes([16, colour, 0, 0, 0])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


class TestDepth:
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    @pytest.mark.parametrize(("top", "scale"), [(1023, 1023), (4095, 4095), (65535, 65535)])
    def test_more_than_8_bits_keep_their_contrast(
        self, tmp_path: Path, suffix: str, top: int, scale: int
    ) -> None:
        data = load_dataset(folder(tmp_path, suffix, grey(top, "u2")))
        assert data.scale == scale
        images = all_images(data)
        assert len(np.unique(images)) == 64
        np.testing.assert_array_equal(images[0, ..., 0], np.rint(RAMP * top))
        assert f"divided by {scale}" in data.notes[-1]

    def test_beside_8_bit_files(self, tmp_path: Path) -> None:
        data = load_dataset(folder(tmp_path, ".png", grey(255, "u1"), grey(4095, "u2")))
        assert data.scale == 255
        np.testing.assert_allclose(all_images(data)[..., 0], [255 * RAMP] * 8, atol=0.51)
        # 12 bits are not cut to 8.
        assert max(len(np.unique(image)) for image in all_images(data)) == 64
        assert "4 of 8 files of more than 8 bits brought to 0..255" in data.notes[-1]

    def test_a_doubtful_depth_is_asked_for(self, tmp_path: Path) -> None:
        folder(tmp_path, ".png", grey(1400, "u2"))
        with pytest.raises(CKRMError, match=r"pixels 0 to 1400, uint16.*--scale"):
            load_dataset(tmp_path)
        assert load_dataset(tmp_path, scale=4095).scale == 4095

    def test_resizing_keeps_the_depth(self, tmp_path: Path) -> None:
        data = load_dataset(folder(tmp_path, ".png", grey(4095, "u2")), image_size=32)
        assert data.scale == 4095
        images = all_images(data)
        assert images.shape == (8, 32, 32, 1)
        np.testing.assert_allclose(
            images[0, 0, :, 0], 4095 * RAMP[0].reshape(32, 2).mean(1), atol=25
        )

    @pytest.mark.parametrize("colour", [2, 4, 6])
    def test_16_bits_that_would_be_cut_are_refused(self, tmp_path: Path, colour: int) -> None:
        channels = {2: 3, 4: 2, 6: 4}[colour]
        deep = np.repeat(np.rint(RAMP * 4095)[..., None], channels, axis=2)
        folder(tmp_path, ".png", grey(255, "u1"))
        (tmp_path / "a" / "0.png").write_bytes(png16(deep, colour))
        with pytest.raises(CKRMError, match=r"1 of 8.*16 bits of grey alone.*a/0\.png"):
            load_dataset(tmp_path)
        # The same writer, one channel: read.
        (tmp_path / "a" / "0.png").write_bytes(png16(deep[..., :1], 0))
        assert load_dataset(tmp_path).scale == 255

    def test_fractions(self, tmp_path: Path) -> None:
        data = load_dataset(folder(tmp_path, ".tif", Image.fromarray(RAMP.astype("f4"))))
        assert data.scale == 1
        np.testing.assert_allclose(all_images(data)[0, ..., 0], RAMP, atol=1e-6)

    @pytest.mark.parametrize("top", [255, 65535])
    def test_white_may_be_zero(self, tmp_path: Path, top: int) -> None:
        inverted = TiffImagePlugin.ImageFileDirectory_v2()
        inverted[262] = 0
        image = grey(top, "u1" if top == 255 else "u2")
        image.save(tmp_path / "a.tif", tiffinfo=inverted)
        with Image.open(tmp_path / "a.tif") as opened:
            assert opened.tag_v2[262] == 0
        found = read_picture(tmp_path / "a.tif", (64, 64), 1).pixels[..., 0]
        image.save(tmp_path / "b.tif")
        plain = read_picture(tmp_path / "b.tif", (64, 64), 1).pixels[..., 0]
        # Pillow writes 8-bit pixels inverted too, so that they come back as they were.
        expected = plain if top == 255 else 65535 - plain
        np.testing.assert_array_equal(found, expected)

    def test_masks_of_zeros_and_ones_are_no_black_films(self, tmp_path: Path) -> None:
        data = load_dataset(folder(tmp_path, ".png", Image.fromarray((RAMP > 0.5).astype("u1"))))
        assert data.scale == 1


class TestKinds:
    @pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".bmp", ".png", ".jpeg"])
    def test_every_suffix(self, tmp_path: Path, suffix: str) -> None:
        data = load_dataset(folder(tmp_path, suffix, grey(255, "u1")))
        np.testing.assert_allclose(all_images(data)[0, ..., 0], 255 * RAMP, atol=3)

    @pytest.mark.parametrize(
        "compression", ["tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate"]
    )
    def test_packed_tiff(self, tmp_path: Path, compression: str) -> None:
        grey(4095, "u2").save(tmp_path / "a.tif", compression=compression)
        np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), np.rint(RAMP * 4095))

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM", "ICO", "TGA", "PDF"])
    def test_other_kinds_under_a_known_name(self, tmp_path: Path, kind: str) -> None:
        folder(tmp_path, ".png", grey(255, "u1"))
        grey(255, "u1").save(tmp_path / "a" / "0.png", kind)
        with pytest.raises(CKRMError, match=r"1 of 8 images cannot be decoded.*a/0\.png"):
            load_dataset(tmp_path)

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
    @pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 3), (8, 1)])
    def test_turned_pictures(
        self, tmp_path: Path, suffix: str, orientation: int, quarters: int
    ) -> None:
        """The size that the header gives is that of the picture as it is to be seen."""
        exif = Image.Exif()
        exif[274] = orientation
        wide = 255 * RAMP[:32]
        seen = np.rot90(wide, quarters)
        file = tmp_path / f"a{suffix}"
        Image.fromarray(np.rint(wide).astype("u1")).save(file, exif=exif)
        assert read_header(file).size == seen.shape
        found = read_picture(file, read_header(file).size, 1).pixels[..., 0]
        np.testing.assert_allclose(found, seen, atol=4)

    def test_a_png_that_tells_how_it_is_turned_after_its_pixels(self, tmp_path: Path) -> None:
        """Header and picture agree: it is not turned, and not pressed into another shape."""
        exif = Image.Exif()
        exif[274] = 6
        file = tmp_path / "a.png"
        wide = np.rint(255 * RAMP[:32]).astype("u1")
        Image.fromarray(wide).save(file)
        body = exif.tobytes()[6:]
        chunk = struct.pack(">I", len(body)) + b"eXIf" + body
        chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
        plain = file.read_bytes()
        file.write_bytes(plain[:-12] + chunk + plain[-12:])
        with Image.open(file) as image:
            assert image.getexif()[274] == 6
        assert read_header(file).size == (32, 64)
        np.testing.assert_array_equal(read_picture(file, (32, 64), 1).pixels[..., 0], wide)


class TestColour:
    RED, GREEN = (Image.new("RGB", (32, 32), c) for c in ((200, 0, 0), (0, 102, 0)))

    def hue(self, root: Path) -> Path:
        for name, picture in (("red", self.RED), ("green", self.GREEN)):
            (root / name).mkdir()
            for i in range(10):
                picture.save(root / name / f"{i}.png")
        return root

    def test_a_colour_folder_keeps_its_colours(self, tmp_path: Path) -> None:
        data = load_dataset(self.hue(tmp_path))
        assert data.input_shape == (32, 32, 3)
        for label, colour in enumerate(((0, 102, 0), (200, 0, 0))):
            assert {
                tuple(p) for p in data.train.images[data.train.labels == label].reshape(-1, 3)
            } == {colour}
        assert any("read in colour" in note and "--channels 1" in note for note in data.notes)

    def test_grey_when_asked_for(self, tmp_path: Path) -> None:
        data = load_dataset(self.hue(tmp_path), channels=1)
        assert data.input_shape == (32, 32, 1)
        assert set(np.unique(data.train.images)) == {60}

    def test_few_coloured_ones_are_told(self, tmp_path: Path) -> None:
        film = grey(255, "u1")
        data = load_dataset(folder(tmp_path, ".png", film, film, film, self.RED.resize((64, 64))))
        assert data.input_shape == (64, 64, 1)
        assert any("25% of the images have colour: read as grey" in note for note in data.notes)
        assert load_dataset(tmp_path, channels=3).input_shape == (64, 64, 3)

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_grey_pictures_saved_in_colour_are_grey(self, tmp_path: Path, suffix: str) -> None:
        film = grey(255, "u1").convert("RGB")
        # A mark that a viewer burns in.
        film.paste((255, 255, 0), (0, 0, 4, 4))
        data = load_dataset(folder(tmp_path, suffix, film))
        assert data.input_shape == (64, 64, 1)
        assert not any("colour" in note for note in data.notes)
        assert not has_colour(tmp_path / "a" / f"0{suffix}")

    def test_deep_grey_as_three_channels(self, tmp_path: Path) -> None:
        data = load_dataset(folder(tmp_path, ".png", grey(4095, "u2")), channels=3)
        images = all_images(data)
        assert images.shape == (8, 64, 64, 3)
        assert (images[..., 0] == images[..., 2]).all()
