"""The families by name, as `--family` takes them: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.errors import unknown_name
from ckrm_tf.families.base import Family, StartOptions
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.vgg import VGGFamily

Maker = Callable[[StartOptions, tuple[int, int, int], int], Family]

FAMILIES: dict[str, Maker] = {
    ResNetFamily.name: ResNetFamily.from_options,
    VGGFamily.name: VGGFamily.from_options,
}


def family(
    name: str, options: StartOptions, input_shape: tuple[int, int, int], classes: int
) -> Family:
    """The family of that name, with its starting network.

    Args:
        name: one of `FAMILIES`.
        options: what the starting network is made from.
        input_shape: (height, width, channels) of one image.
        classes: number of outputs.

    Raises:
        CKRMError: an unknown name, with the nearest known one; options that the family has not.
    """
    if name not in FAMILIES:
        raise unknown_name("family", name, FAMILIES)
    return FAMILIES[name](options, input_shape, classes)
