"""Torchvision's architectures in Keras, where keras.applications has none of the same shape.

Every parameter count equals torchvision's to the unit (`PARAMETERS`): batch norms carry gamma and
beta, convolutions a bias only where torchvision's do. 224 x 224 x 3 in, 1000 logits out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

CLASSES = 1000
SIZE = 224

# torchvision 0.29.1, without auxiliary heads
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904,
    "googlenet": 6_624_904,
    "shufflenet_v2_x1_0": 2_278_604,
    "squeezenet1_0": 1_248_424,
    "mnasnet1_0": 4_383_312,
    "regnet_y_400mf": 4_344_144,
    "vit_b_16": 86_567_656,
}


def conv(
    x: Any, filters: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> Any:
    """Convolution without bias, batch norm, and a ReLU unless told otherwise."""
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", groups=groups, use_bias=False
    )(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def depthwise(x: Any, kernel: int, stride: int = 1, relu: bool = True) -> Any:
    x = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def pool(x: Any, size: int = 3, stride: int = 2, padding: str = "same") -> Any:
    return layers.MaxPooling2D(size, strides=stride, padding=padding)(x)


def classified(image: Any, x: Any, name: str) -> keras.Model:
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES)(x), name=name)


def added(x: Any, shortcut: Any) -> Any:
    return layers.ReLU()(layers.Add()([x, shortcut]))


def residual(name: str, block: Callable[..., Any], depths: Sequence[int]) -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    x = pool(conv(image, 64, 7, 2))
    for stage, depth in enumerate(depths):
        for position in range(depth):
            x = block(x, 64 * 2**stage, 2 if stage > 0 and position == 0 else 1)
    return classified(image, x, name)


def basic(x: Any, width: int, stride: int) -> Any:
    changed = stride > 1 or x.shape[-1] != width
    shortcut = conv(x, width, 1, stride, relu=False) if changed else x
    return added(conv(conv(x, width, 3, stride), width, 3, relu=False), shortcut)


def bottleneck(x: Any, width: int, stride: int, groups: int = 1, base: int = 64) -> Any:
    inner = width * base // 64 * groups
    changed = stride > 1 or x.shape[-1] != 4 * width
    shortcut = conv(x, 4 * width, 1, stride, relu=False) if changed else x
    y = conv(conv(x, inner, 1), inner, 3, stride, groups)
    return added(conv(y, 4 * width, 1, relu=False), shortcut)


def resnet18() -> keras.Model:
    return residual("resnet18", basic, (2, 2, 2, 2))


def resnet50() -> keras.Model:
    return residual("resnet50", bottleneck, (3, 4, 6, 3))


def resnext50_32x4d() -> keras.Model:
    def block(x: Any, width: int, stride: int) -> Any:
        return bottleneck(x, width, stride, groups=32, base=4)

    return residual("resnext50_32x4d", block, (3, 4, 6, 3))


def googlenet() -> keras.Model:
    def inception(x: Any, widths: Sequence[int]) -> Any:
        one, three_in, three, five_in, five, pooled = widths
        return layers.Concatenate()(
            [
                conv(x, one, 1),
                conv(conv(x, three_in, 1), three, 3),
                conv(conv(x, five_in, 1), five, 3),
                conv(pool(x, 3, 1), pooled, 1),
            ]
        )

    stages: tuple[tuple[tuple[int, ...], ...], ...] = (
        ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        (
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ),
        ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    )
    image = keras.Input((SIZE, SIZE, 3))
    x = pool(conv(conv(pool(conv(image, 64, 7, 2)), 64, 1), 192, 3))
    for stage, blocks in enumerate(stages):
        x = pool(x, 3 if stage == 1 else 2) if stage else x
        for widths in blocks:
            x = inception(x, widths)
    return classified(image, layers.Dropout(0.2)(x), "googlenet")


def shufflenet_v2_x1_0() -> keras.Model:
    def shuffled(x: Any) -> Any:
        height, width, channels = x.shape[1:]
        x = layers.Reshape((height, width, 2, channels // 2))(x)
        return layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(x))

    def block(x: Any, width: int, stride: int) -> Any:
        half = width // 2
        if stride == 1:
            kept, y = keras.ops.split(x, 2, axis=-1)
        else:
            kept, y = conv(depthwise(x, 3, 2, relu=False), half, 1), x
        y = conv(depthwise(conv(y, half, 1), 3, stride, relu=False), half, 1)
        return shuffled(layers.Concatenate()([kept, y]))

    image = keras.Input((SIZE, SIZE, 3))
    x = pool(conv(image, 24, 3, 2))
    for width, depth in ((116, 4), (232, 8), (464, 4)):
        for position in range(depth):
            x = block(x, width, 2 if position == 0 else 1)
    return classified(image, conv(x, 1024, 1), "shufflenet_v2_x1_0")


def squeezenet1_0() -> keras.Model:
    def fire(x: Any, squeezed: int, expanded: int) -> Any:
        x = layers.Conv2D(squeezed, 1, activation="relu")(x)
        return layers.Concatenate()(
            [
                layers.Conv2D(expanded, 1, activation="relu")(x),
                layers.Conv2D(expanded, 3, padding="same", activation="relu")(x),
            ]
        )

    image = keras.Input((SIZE, SIZE, 3))
    x = pool(layers.Conv2D(96, 7, strides=2, activation="relu")(image), padding="valid")
    for squeezed, expanded in ((16, 64), (16, 64), (32, 128)):
        x = fire(x, squeezed, expanded)
    x = pool(x)
    for squeezed, expanded in ((32, 128), (48, 192), (48, 192), (64, 256)):
        x = fire(x, squeezed, expanded)
    x = layers.Dropout(0.5)(fire(pool(x, padding="valid"), 64, 256))
    x = layers.Conv2D(CLASSES, 1, activation="relu")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="squeezenet1_0")


def mnasnet1_0() -> keras.Model:
    def block(x: Any, width: int, kernel: int, stride: int, expansion: int) -> Any:
        y = depthwise(conv(x, expansion * x.shape[-1], 1), kernel, stride)
        y = conv(y, width, 1, relu=False)
        return layers.Add()([y, x]) if stride == 1 and x.shape[-1] == width else y

    image = keras.Input((SIZE, SIZE, 3))
    x = conv(depthwise(conv(image, 32, 3, 2), 3), 16, 1, relu=False)
    for width, kernel, stride, expansion, depth in (
        (24, 3, 2, 3, 3),
        (40, 5, 2, 3, 3),
        (80, 5, 2, 6, 3),
        (96, 3, 1, 6, 2),
        (192, 5, 2, 6, 4),
        (320, 3, 1, 6, 1),
    ):
        for position in range(depth):
            x = block(x, width, kernel, stride if position == 0 else 1, expansion)
    return classified(image, layers.Dropout(0.2)(conv(x, 1280, 1)), "mnasnet1_0")


def regnet_y_400mf() -> keras.Model:
    def excited(x: Any, squeezed: int) -> Any:
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(squeezed, 1, activation="relu")(gate)
        return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)])

    def block(x: Any, width: int, stride: int) -> Any:
        changed = stride > 1 or x.shape[-1] != width
        shortcut = conv(x, width, 1, stride, relu=False) if changed else x
        y = conv(conv(x, width, 1), width, 3, stride, groups=width // 8)
        y = excited(y, round(0.25 * x.shape[-1]))
        return added(conv(y, width, 1, relu=False), shortcut)

    image = keras.Input((SIZE, SIZE, 3))
    x = conv(image, 32, 3, 2)
    for width, depth in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for position in range(depth):
            x = block(x, width, 2 if position == 0 else 1)
    return classified(image, x, "regnet_y_400mf")


CONVOLUTIONAL = {
    build.__name__: build
    for build in (
        resnet18,
        resnet50,
        resnext50_32x4d,
        googlenet,
        shufflenet_v2_x1_0,
        squeezenet1_0,
        mnasnet1_0,
        regnet_y_400mf,
    )
}
