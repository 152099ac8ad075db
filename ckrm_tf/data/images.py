"""Picture files as arrays: the only place where Pillow opens one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ckrm_tf.data.limits import check_film_file, check_pixels, reading
from ckrm_tf.data.pixels import pixel_sample
from ckrm_tf.data.resize import FILTER, resize_images
from ckrm_tf.errors import CKRMError

# Pillow would try all its decoders on a file, whatever its name says; one starts Ghostscript.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)
_WIDTH, _LENGTH = 256, 257
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# Of a mask: pixels that lie within a twelfth of the range from one of its ends.
_MASK_SHARE, _MASK_LEVELS = 0.98, 4


@contextmanager
def open_picture(file: Path) -> Iterator[Image.Image]:
    """One picture of one frame, its header read, its pixels not yet.

    Raises:
        CKRMError: when the file is missing, none of `FORMATS`, damaged, of too many pixels, a
            stack of pictures, or of a depth that Pillow would cut to 8 bits; and for whatever
            Pillow raises inside the `with`.
    """
    with reading(f"image {file}"):
        check_film_file(file)
        # By its handle: of a path Pillow maps plain TIFFs into memory, and those that are turned
        # with height and width exchanged.
        with file.open("rb") as handle, Image.open(handle, formats=FORMATS) as image:
            check_pixels(f"image {file}", image.height, image.width)
            frames = getattr(image, "n_frames", 1)
            if frames != 1:
                raise CKRMError(
                    f"image {file}", expected="one picture", received=f"a stack of {frames}"
                )
            if _is_cut(image):
                raise CKRMError(
                    f"image {file}",
                    expected="8 bits a channel, or 16 bits of grey alone",
                    received="16-bit colour, which would be cut to 8 bits",
                )
            yield image


@contextmanager
def quiet_pictures() -> Iterator[None]:
    """Pillow without its warnings; the errors of `open_picture` say what they mean.

    To be entered once, before threads are started: Python's filters are those of the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself.

    Attributes:
        size: (height, width) as it is to be seen.
        colour: whether it has channels of colour; they may all be alike.
        deep: whether it has more than 8 bits of grey.
    """

    size: tuple[int, int]
    colour: bool
    deep: bool


def read_header(file: Path) -> Header:
    """See `open_picture` for the errors."""
    with open_picture(file) as image:
        size = image.height, image.width
        if image.format == "TIFF":
            # As stored: Pillow's own size is turned already, in some of its versions.
            tags = image.tag_v2  # type: ignore[attr-defined]
            size = tags[_LENGTH], tags[_WIDTH]
        turned = _tells_orientation(image) and image.getexif().get(_ORIENTATION) in _TURNED
        grey = _is_deep(image) or image.mode in ("1", "L", "LA")
        return Header(size[::-1] if turned else size, not grey, _is_deep(image))


@dataclass(frozen=True)
class Picture:
    """One decoded picture.

    Attributes:
        pixels: (height, width, channels) uint8, or float32 where the file has more than 8 bits:
            then in the values of the file.
        sample: some pixels at full size, in the type of the file: see `pixel_sample`.
        mask: whether it looks like a mask: nearly all pixels at one of two values.
    """

    pixels: np.ndarray
    sample: np.ndarray
    mask: bool


def read_picture(file: Path, size: tuple[int, int], channels: int) -> Picture:
    """A picture at `size` (height, width), as it is to be seen, in grey (1) or colour (3).

    Raises:
        CKRMError: see `open_picture`.
    """
    with open_picture(file) as image:
        deep = _is_deep(image)
        white_is_zero = deep and _white_is_zero(image)
        # In place, and no conversion that changes nothing: a large film is held once.
        if _tells_orientation(image):
            ImageOps.exif_transpose(image, in_place=True)
        if deep:
            values = np.asarray(image)
            if white_is_zero:
                values = 65535 - values
            plane = values.astype(np.float32)[None, ..., None]
            pixels = np.repeat(resize_images(plane, size)[0], channels, axis=2)
            return Picture(pixels, pixel_sample(values), False)
        grey = _converted(image, "L")
        shown = grey if channels == 1 else _converted(image, "RGB")
        pixels = np.asarray(shown.resize((size[1], size[0]), FILTER)).reshape(*size, channels)
        return Picture(pixels, pixel_sample(np.asarray(shown)), _looks_like_mask(grey))


def read_grey(file: Path) -> np.ndarray:
    """A picture at full size: (H, W), uint8, or the file's own type where it has more bits.

    Raises:
        CKRMError: see `open_picture`.
    """
    with open_picture(file) as image:
        return np.asarray(image if _is_deep(image) else image.convert("L"))


def has_colour(file: Path) -> bool:
    """Whether the channels of a picture differ in more than a mark on its edge.

    Raises:
        CKRMError: see `open_picture`.
    """
    with open_picture(file) as opened:
        if _is_deep(opened):
            return False
        small = np.asarray(opened.convert("RGB").resize((64, 64)), np.int16)
    # JPEG leaves a few levels between the channels of a grey picture.
    return bool(np.mean(np.ptp(small, axis=2) > 24) > 0.01)


def is_mask(file: Path) -> bool:
    """Whether a picture looks like a mask: nearly all pixels at one of two values.

    Raises:
        CKRMError: see `open_picture`.
    """
    with open_picture(file) as opened:
        return not _is_deep(opened) and _looks_like_mask(opened.convert("L"))


def _tells_orientation(image: Image.Image) -> bool:
    """Whether the header may tell how a picture is turned.

    Of a PNG only what stands before the pixels counts: Pillow would decode all of it to look
    behind them, and header and picture must agree.
    """
    return image.format != "PNG" or bool({"exif", "Raw profile type exif"} & image.info.keys())


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow would keep the upper 8 of 16 bits."""
    # A BMP file of 16 bits has five or six a channel.
    deep = image.format != "BMP" and any(
        ";16" in str(tile.args) for tile in getattr(image, "tile", ())
    )
    return deep and not _is_deep(image)


def _white_is_zero(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    # Pillow turns 8-bit pictures round, 16-bit ones it does not.
    return image.mode == "I;16" and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _looks_like_mask(grey: Image.Image) -> bool:
    counts = np.array(grey.histogram())
    (levels,) = np.nonzero(counts)
    low, high = int(levels[0]), int(levels[-1])
    if low == high:
        return False
    slack = (high - low) // 12
    ends = counts[low : low + slack + 1].sum() + counts[high - slack : high + 1].sum()
    return len(levels) <= _MASK_LEVELS or ends >= _MASK_SHARE * counts.sum()
