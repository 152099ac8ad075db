"""How a full-size film becomes a training image, and where each training pixel lies in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ckrm_tf.data.resize import FILTER
from ckrm_tf.errors import CKRMError, unknown_name

RECIPES = ("whole", "paper")
# Of the released code of GG-CAM (arXiv 2202.07107): every film is padded to this, (height, width).
CANVAS = (3072, 2560)


@dataclass(frozen=True)
class Frame:
    """One film of size `picture` brought to size `target`; both are (height, width).

    Attributes:
        recipe: "whole" resizes the whole film, without keeping its aspect. "paper" is the GG-CAM
            authors': zeros around the film up to 3072 x 2560, then every k-th pixel, without
            averaging. A film larger than that is first shrunk to fit, with its aspect kept.
    """

    picture: tuple[int, int]
    target: tuple[int, int]
    recipe: str = "whole"

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W) uint8 -> (h, w) uint8."""
        if self.recipe == "whole":
            return _resize(image, self.target)
        height, width = self._fitted()
        canvas = np.zeros(CANVAS, np.uint8)
        top, left = (CANVAS[0] - height) // 2, (CANVAS[1] - width) // 2
        canvas[top : top + height, left : left + width] = _resize(image, (height, width))
        step = CANVAS[0] // self.target[0]
        return canvas[::step, ::step]

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Row (h,) and column (w,) coordinates of the target's pixels in the film, float64.

        Whole numbers are the centres of the film's pixels; coordinates outside it are padding.
        """
        return self._axis(0), self._axis(1)

    def _axis(self, axis: int) -> np.ndarray:
        size, target = self.picture[axis], self.target[axis]
        if self.recipe == "whole":
            return (np.arange(target) + 0.5) * size / target - 0.5
        fitted = self._fitted()[axis]
        inside = np.arange(target) * (CANVAS[axis] // target) - (CANVAS[axis] - fitted) // 2
        return (inside + 0.5) * size / fitted - 0.5

    def _fitted(self) -> tuple[int, int]:
        """The film's size on the canvas."""
        height, width = self.picture
        scale = min(1.0, CANVAS[0] / height, CANVAS[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))


def check_recipe(recipe: str, target: tuple[int, int]) -> None:
    """Raise `CKRMError` for an unknown recipe, or a size that the paper's cannot give."""
    if recipe not in RECIPES:
        raise unknown_name("image recipe", recipe, RECIPES)
    step = CANVAS[0] // target[0]
    if recipe == "paper" and (step * target[0], step * target[1]) != CANVAS:
        raise CKRMError(
            "image_size of recipe 'paper'",
            expected="3072 x 2560 divided by one whole number: (1536, 1280), (768, 640), ...",
            received=target,
        )


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), FILTER))
