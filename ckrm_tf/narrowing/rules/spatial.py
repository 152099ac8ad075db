"""Pooling, padding, cropping, resizing: channels pass, places change."""

from __future__ import annotations

from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.rules.base import channel_rule, op_rule
from ckrm_tf.narrowing.rules.convolution import channel_axis

PER_MAP = ("MaxPooling", "AveragePooling", "AdaptiveAveragePooling", "AdaptiveMaxPooling")
SIZED = ("UpSampling", "ZeroPadding", "Cropping")
WINDOWED = [f"{kind}{n}D" for kind in (*PER_MAP, *SIZED) for n in (1, 2, 3)] + [
    *("Resizing", "CenterCrop", "RandomCrop", "RandomFlip", "RandomRotation"),
    *("RandomTranslation", "RandomZoom"),
]
GLOBAL = [f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)]
# Augmentation and preprocessing that belong on an image, whose channels are fixed anyway.
IMAGE = [
    *("RandomBrightness", "RandomContrast", "RandomColorJitter", "RandomColorDegeneration"),
    *("RandomGrayscale", "RandomHue", "RandomSaturation", "RandomSharpness"),
    *("RandomPosterization", "RandomInvert", "RandomErasing", "RandomElasticTransform"),
    *("RandomGaussianBlur", "RandomPerspective", "RandomShear", "AutoContrast", "Equalization"),
    *("Solarization", "MixUp", "CutMix", "RandAugment", "AugMix"),
]


def _known(names: list[str]) -> list[type]:
    """The layer classes of this version of Keras that have these names."""
    return [getattr(layers, name) for name in names if hasattr(layers, name)]


@channel_rule(*_known(WINDOWED))
def windowed(call: Call) -> list[Label]:
    """Places change; a channel stays what it is."""
    axis = channel_axis(call.layer, len(call.shapes[0]))
    return call.result(call.only(axis), axis)


@channel_rule(*_known(GLOBAL))
def pooled(call: Call) -> list[Label]:
    """All places of a channel become one number; the axes of places may go."""
    rank = len(call.shapes[0])
    axis = channel_axis(call.layer, rank)
    ids = call.only(axis)
    out = len(call.out_shapes[0])
    label: Label = [None] * out
    label[axis if out == rank else -1] = ids
    return [label]


@channel_rule(*_known(IMAGE))
def image_only(call: Call) -> list[Label]:
    """Meant for the image itself; anywhere else it has no rule."""
    if any(ids is not None for label in call.labels for ids in label):
        raise NoRuleError("it works on images, not on feature maps")
    return [[None] * len(shape) for shape in call.out_shapes]


@op_rule("MaxPool", "AveragePool", "AdaptiveAveragePool", "AdaptiveMaxPool")
def pool_op(call: Call) -> list[Label]:
    """As the layers."""
    axis = channel_axis(call.layer, len(call.shapes[0]))
    return call.result(call.only(axis), axis)


@op_rule("Resize")
def resize_op(call: Call) -> list[Label]:
    """As the layer; only whole maps (batch, height, width, channels)."""
    if len(call.shapes[0]) != 4:
        raise NoRuleError("not a batch of maps")
    axis = channel_axis(call.layer, 4)
    return call.result(call.only(axis), axis)
