"""The range of the pixels: the one place that decides what value stands for full brightness.

A network divides its images by `Dataset.scale`. A wrong scale ruins a training without a word:
pixels in [0, 1] divided by 255 reach the network as darkness. So the scale is never guessed from
the type of the numbers or from one maximum. It follows from the range in which nearly all pixels
lie, in every split, and where that leaves a doubt the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ckrm_tf.errors import CKRMError

# Full brightness of whole numbers of 1, 8, 10, 12, 14 and 16 bits, and of fractions.
WHOLE = (1, 255, 1023, 4095, 16383, 65535)
FRACTIONS = (1, 255)
# The brightest of nearly all pixels reaches this share of full brightness, or there is a doubt; in
# each split, half of it. Below 8 bits there is nothing near that files use, so that dark ones are
# believed; from 8 to 16 bits the depths are a factor of four apart.
LEAST_SHARE = {1: 1 / 4, 255: 1 / 8, 1023: 1 / 2, 4095: 1 / 2, 16383: 1 / 2, 65535: 1 / 2}
# Resizing by splines leaves a few fractions that far outside the range, and next to none beyond.
OVERSHOOT, OVERSHOOT_OF_MOST = 0.25, 0.02
# With a scale from the user, splits may still not differ by more than this factor.
MOST_APART = 16
# The share of images of one split that may be far darker than the others.
MOST_FAINT = 0.05
# "Nearly all" pixels: letters that a device burns into a film take less than the rest.
MOST = 0.99
# Beyond it the numbers of a network, of 32 bits, become infinite or all alike.
SCALES = (1e-6, 1e9)
# Films of 12 bits and more have values far above it; images that stay below have 8 bits.
EIGHT_BITS, DEEP = 255, 8 * 255
# Pixels that the shares are counted over.
SAMPLE = 2**22


@dataclass(frozen=True)
class PixelRange:
    """The values of one array of images.

    Attributes:
        low: smallest finite value.
        high: largest finite value.
        most_low: the value that `MOST` of the pixels reach.
        most_high: the value that `MOST` of the pixels do not pass, the background (the smallest
            value) not counted.
        whole: whether all values are whole numbers.
        faint: share of the images whose contrast is under a 64th of the array's, or whose values
            are those of 8 bits among whole numbers of 12 and more.
        dtype: the type of the numbers.
    """

    low: float
    high: float
    most_low: float
    most_high: float
    whole: bool
    faint: float
    dtype: str

    @property
    def stray(self) -> bool:
        """Whether a few pixels lie far outside the range of the others."""
        slack = 0.1 * (self.high - self.low)
        return self.most_high < self.high - slack or self.most_low > self.low + slack

    def __str__(self) -> str:
        most = f" (nearly all {self.most_low:g} to {self.most_high:g})" if self.stray else ""
        return f"{self.low:g} to {self.high:g}{most}, {self.dtype}"


def pixel_range(images: Sequence[np.ndarray]) -> PixelRange:
    """The range of arrays of any real type; NaN and infinity are passed over.

    The extremes are exact; the other figures are those of every k-th pixel, some four million.
    """
    total = sum(image.size for image in images)
    step = max(1, -(-total // SAMPLE))
    sample = np.concatenate([image.reshape(-1)[::step] for image in images])
    sample = sample[np.isfinite(sample)].astype(np.float64)
    kind = str(images[0].dtype)
    if not sample.size:
        return PixelRange(0, 0, 0, 0, True, 0.0, kind)
    ends = [_extremes(image) for image in images]
    lows, highs = (np.array(side, np.float64) for side in zip(*ends, strict=True))
    low, high = float(np.nanmin(lows)), float(np.nanmax(highs))
    bright = sample[sample > low]
    most_high = float(np.quantile(bright, MOST, method="lower")) if bright.size else high
    contrast = highs - lows
    whole = images[0].dtype.kind in "iu" or bool(np.all(sample == np.rint(sample)))
    shallow = highs <= EIGHT_BITS if whole and low >= 0 and most_high > DEEP else False
    faint = (contrast < (most_high - low) / 64) | shallow
    return PixelRange(
        low,
        high,
        most_low=float(np.quantile(sample, 1 - MOST, method="lower")),
        most_high=most_high,
        whole=whole,
        faint=float(np.mean((contrast > 0) & faint)),
        dtype=kind,
    )


def pixel_sample(image: np.ndarray) -> np.ndarray:
    """(k,) some pixels of one image, its extremes among them: all that `pixel_range` needs.

    For images that are not all in memory at full size at one time.
    """
    flat = image.reshape(-1)
    some = flat[:: max(1, flat.size // 1024)]
    return np.concatenate([some, [flat.min(), flat.max()]]).astype(flat.dtype)


def find_scale(
    what: str, images: Mapping[str, Sequence[np.ndarray]], scale: float | None = None
) -> tuple[float, str]:
    """The value of full brightness of all splits, and the sentence that tells it.

    Args:
        what: the source, for messages.
        images: split -> its images, any real type.
        scale: what the user says it is, or None.

    Returns:
        The scale, and a note such as "pixels 0 to 4011, uint16: divided by 4095".

    Raises:
        CKRMError: when the range leaves a doubt and `scale` is None, or the splits are encoded
            differently.
    """
    ranges = {split: pixel_range(array) for split, array in images.items() if len(array)}
    seen = _told(ranges)
    _check_alike(what, ranges, seen)
    if scale is not None:
        given = checked_scale(scale)
        return given, f"pixels {seen}: divided by {given:g}, as given"
    if not ranges:
        return 255.0, "no pixels"
    _check_no_faint(what, ranges)
    found = _candidate(ranges)
    if found is None:
        raise CKRMError(
            f"{what}: pixels {seen}",
            expected="a range that fills 0 to 1 or 0 to 255, or whole numbers of 10, 12, 14 or 16 "
            "bits, or the option scale=VALUE (--scale VALUE), the pixel value of full brightness",
        )
    return found, f"pixels {seen}: divided by {found:g}"


def checked_scale(scale: object) -> float:
    """`scale` as a float, or the error that names the option."""
    if isinstance(scale, (int, float, np.integer, np.floating)) and not isinstance(scale, bool):
        value = float(scale)
        least, most = SCALES
        if least <= value <= most:
            return value
        if 0 < value < np.inf:
            raise CKRMError("scale", expected=f"from {least:g} to {most:g}", received=f"{value:g}")
    raise CKRMError("scale", expected="a positive number", received=repr(scale)[:60])


def _extremes(image: np.ndarray) -> tuple[float, float]:
    finite = image if image.dtype.kind in "iu" else image[np.isfinite(image)]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)


def _told(ranges: Mapping[str, PixelRange]) -> str:
    """The range of all splits in one, or each where they differ."""
    found = list(ranges.values())
    spans = [r.high - r.low for r in found]
    alike = max(spans, default=0) <= 2 * min(spans, default=0) and not any(r.stray for r in found)
    if alike and len({r.dtype for r in found}) == 1:
        low, high = min(r.low for r in found), max(r.high for r in found)
        return f"{low:g} to {high:g}, {found[0].dtype}"
    return "; ".join(f"{r} in {split}" for split, r in ranges.items()) or "none"


def _candidate(ranges: Mapping[str, PixelRange]) -> float | None:
    """The one scale that every split fills, or None."""
    whole = all(r.whole for r in ranges.values())
    # One pixel too bright counts in whole numbers, which nothing leaves beyond their depth.
    peak = max(r.high if whole else r.most_high / (1 + OVERSHOOT_OF_MOST) for r in ranges.values())
    top = next((s for s in (WHOLE if whole else FRACTIONS) if peak <= s), None)
    if top is None or max(r.most_high for r in ranges.values()) < LEAST_SHARE[top] * top:
        return None
    beyond = 0 if whole else top
    for found in ranges.values():
        if found.low < -OVERSHOOT * beyond or found.most_low < -OVERSHOOT_OF_MOST * beyond:
            return None
        if found.high > top + OVERSHOOT * beyond or found.most_high < LEAST_SHARE[top] * top / 2:
            return None
    return float(top)


def _check_alike(what: str, ranges: Mapping[str, PixelRange], seen: str) -> None:
    """Refuse splits between which no single scale can be right."""
    spans = [found.most_high - found.low for found in ranges.values()]
    # Blank images say nothing of their encoding.
    spans = [span for span in spans if span > 0]
    if spans and max(spans) > MOST_APART * min(spans):
        raise CKRMError(
            f"{what}: the splits are encoded differently: pixels {seen}",
            expected="one range for all",
            hint="Bring the splits to one range: no single scale (--scale) fits them.",
        )


def _check_no_faint(what: str, ranges: Mapping[str, PixelRange]) -> None:
    """Refuse a split of which some images look encoded differently."""
    for split, found in ranges.items():
        if found.faint > MOST_FAINT:
            raise CKRMError(
                f"{what}, {split} split: images seem encoded differently: pixels {found}",
                expected="one range for all",
                received=f"{found.faint:.0%} of the images with a 64th of that contrast, or of 8 "
                "bits",
                hint="Bring the images to one range, or, if they are right, give the option "
                "scale=VALUE (--scale VALUE), the pixel value of full brightness.",
            )
