"""The only place that builds the network: a bottleneck ResNet with free widths."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from ckrm_tf.errors import unknown_name
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet_cost import network_cost
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.layers.cam import CAMHead
from ckrm_tf.layers.slim_conv import SlimConv2D

# Keras's .99 needs some 500 steps to forget its start; a search's trainings are shorter than that.
BN_MOMENTUM = 0.9
BN_EPSILON = 1e-5


class _Builder:
    """Applies convolution, batch norm and ReLU under names of the form `stage2_block1_conv2`."""

    def __init__(self, layout: Layout, regularizer: Any) -> None:
        self.layout = layout
        self.regularizer = regularizer

    def conv_bn(
        self, x: Any, filters: int, kernel: int, name: str, stride: int = 1, groups: int = 1
    ) -> Any:
        x = layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            groups=groups,
            use_bias=self.layout.bias,
            kernel_regularizer=self.regularizer,
            name=name,
        )(x)
        return self.batch_norm(x, name)

    @staticmethod
    def batch_norm(x: Any, name: str) -> Any:
        return layers.BatchNormalization(
            momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn"
        )(x)

    def middle(self, x: Any, stage: Stage, name: str, stride: int) -> Any:
        if self.layout.conv == "plain":
            return self.conv_bn(x, stage.mid, 3, name, stride, self.layout.groups)
        return SlimConv2D(
            self.layout.ratio,
            strides=stride,
            groups=self.layout.groups,
            bottom_groups=self.layout.bottom_groups,
            kernel_regularizer=self.regularizer,
            momentum=BN_MOMENTUM,
            epsilon=BN_EPSILON,
            name=name,
        )(x)

    def block(self, x: Any, stage: Stage, name: str, stride: int, *, first: bool) -> Any:
        strides = (stride, 1) if self.layout.stride_conv == 1 else (1, stride)
        shortcut = x
        if first:
            shortcut = self.conv_bn(x, stage.out, 1, f"{name}_shortcut", stride)
        x = self.conv_bn(x, stage.mid, 1, f"{name}_conv1", strides[0])
        x = layers.ReLU(name=f"{name}_relu1")(x)
        x = self.middle(x, stage, f"{name}_conv2", strides[1])
        x = layers.ReLU(name=f"{name}_relu2")(x)
        x = self.conv_bn(x, stage.out, 1, f"{name}_conv3")
        x = layers.Add(name=f"{name}_add")([x, shortcut])
        return layers.ReLU(name=f"{name}_relu")(x)


def resnet(
    widths: Widths,
    input_shape: tuple[int, int, int] = (224, 224, 1),
    classes: int = 3,
    *,
    layout: Layout | None = None,
    kernel_regularizer: Any = None,
    head: Literal["dense", "cam"] = "dense",
    name: str = "resnet",
) -> keras.Model:
    """A bottleneck ResNet (He et al. 2015) with any widths, in the CKRM paper's layout by default.

    Args:
        widths: stem filters and, per stage, blocks, mid and out filters. A stage of no blocks is
            left out; `Layout.strides` says where its stride goes. Without any stage the head reads
            the stem.
        input_shape: (height, width, channels); each side at least 2 to the number of the last stage
            that is there.
        classes: number of outputs, at least 2.
        layout: strides, pooling, biases, kind of 3x3; see `Layout`.
        kernel_regularizer: anything Keras takes, put on every convolution kernel.
        head: "dense", global average pooling and a dense layer; or "cam", a `CAMHead` with as many
            parameters, for GG-CAM. `cam_model` adds the class activation maps to either.
        name: the model's name.

    Returns:
        A functional model from `image` (batch, height, width, channels) to `logits`
        (batch, classes). Convolutions are named `stem_conv`, `stage2_block1_conv2`,
        `stage2_block1_shortcut`; batch norms add `_bn`. With `Layout(conv="slim")` the `conv2` are
        `SlimConv2D` layers, which hold their convolutions and batch norms themselves.

    Raises:
        CKRMError: when the input is too small for the strides, `classes` is below 2, a width does
            not divide into the layout's groups, or the head is unknown.

    Example:
        >>> import math
        >>> from ckrm_tf import Stage, Widths, resnet
        >>> widths = Widths(8, (Stage(1, 8, 16),))
        >>> model = resnet(widths, (16, 16, 1), classes=3)
        >>> model.output_shape, [la.name for la in model.layers if la.name.endswith("conv2")]
        ((None, 3), ['stage1_block1_conv2'])
        >>> sum(math.prod(weight.shape) for weight in model.trainable_weights)
        1507
        >>> widths.params((16, 16, 1), 3)
        1507
    """
    layout = layout or Layout()
    if head not in ("dense", "cam"):
        raise unknown_name("head", head, ("dense", "cam"))
    # The arithmetic refuses what cannot be built, in the user's words rather than in Keras's.
    network_cost(widths, input_shape, classes, layout)
    build = _Builder(layout, kernel_regularizer)
    image = keras.Input(input_shape, name="image")
    x = build.conv_bn(image, widths.stem, 7, "stem_conv", 2)
    x = layers.ReLU(name="stem_relu")(x)
    if layout.pool:
        x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    strides = layout.strides([stage.blocks for stage in widths.stages])
    for number, (stage, stride) in enumerate(zip(widths.stages, strides, strict=True), start=1):
        for block in range(1, stage.blocks + 1):
            first = block == 1
            x = build.block(
                x, stage, f"stage{number}_block{block}", stride if first else 1, first=first
            )
    if head == "cam":
        logits, _ = CAMHead(classes, name="logits")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, logits, name=name)
