"""SlimConv: a 3x3 convolution and its batch norm for about a third of the parameters."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.slim_shape import (
    SlimShape,
    check_groups,
    fold_count,
    given_shape,
    slim_output,
    slim_shape,
)
from ckrm_tf.registration import saved_class

__all__ = ["SlimConv2D", "slim_output"]


def _check_step(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CKRMError(
            f"SlimConv {name}", expected="a whole number of at least 1", received=repr(value)
        )


def _checked(shape: Any) -> tuple[int, ...]:
    whole = isinstance(shape, list | tuple) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in shape
    )
    if not whole or len(shape) != 5:
        raise CKRMError(
            "SlimConv shape",
            expected="five whole numbers of at least 1: squeeze, fold, top, reduce, bottom",
            received=repr(shape),
        )
    return tuple(shape)


def fold(x: Any, width: int) -> Any:
    """Add the chunks of `width` channels: channel c of (..., C) is added to channel c mod width.

    Where width does not divide C, the last, shorter chunk is added to the first channels.
    """
    channels = x.shape[-1]
    chunks = [x[..., start : start + width] for start in range(0, channels, width)]
    missing = width * len(chunks) - channels
    if missing:
        padding = [(0, 0)] * (len(x.shape) - 1) + [(0, missing)]
        chunks[-1] = ops.pad(chunks[-1], padding)
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    return total


@saved_class
class SlimConv2D(layers.Layer):
    """Stands for a 3x3 convolution and its batch norm (arXiv 2003.07469, Section III).

    (batch, height, width, C) -> (batch, ceil(height / s), ceil(width / s), slim_output(C, k)).
    A squeezed 1x1 branch weighs the channels, once in order and once reversed; both weighted
    copies are folded by adding chunks of channels; the first passes a 3x3, the second a 1x1 and a
    3x3; the results stand side by side, normalised but not rectified. `slim_shape` gives the
    channel counts, and what narrow widths are rounded to.

    The convolutions are ordinary layers: `weigh_squeeze`, `weigh_excite`, `conv_top`,
    `conv_reduce`, `conv_bottom`; batch norms add `_bn`.

    Args:
        ratio: k = channels in / channels out, a multiple of 2/3 of at least 4/3.
        strides: stride s of both 3x3 convolutions.
        groups: groups of the upper 3x3 convolution.
        bottom_groups: groups of the lower one; by default as many of `groups` as divide its
            channels.
        dilation_rate: dilation of both 3x3 convolutions; excludes strides.
        kernel_regularizer: anything Keras takes, put on all five kernels.
        momentum: of the batch norms' moving statistics, in Keras's sense.
        epsilon: of the batch norms.
        shape: five whole numbers in place of the ratio, the channels of squeeze, fold, top, reduce
            and bottom as in `SlimShape`: what a narrowed layer has.

    Raises:
        CKRMError: for an impossible ratio, stride or dilation; when built, for an input that is
            not a batch of images or whose channels do not divide into the groups.

    Example:
        >>> import keras
        >>> from ckrm_tf import SlimConv2D
        >>> image = keras.Input((16, 16, 64))
        >>> slim = keras.Model(image, SlimConv2D(4 / 3, strides=2)(image))
        >>> plain = keras.Model(image, keras.layers.Conv2D(48, 3, 2, padding="same")(image))
        >>> slim.output_shape, plain.output_shape
        ((None, 8, 8, 48), (None, 8, 8, 48))
        >>> slim.count_params(), plain.count_params()
        (12616, 27696)
    """

    def __init__(
        self,
        ratio: float = 4 / 3,
        *,
        strides: int = 1,
        groups: int = 1,
        bottom_groups: int | None = None,
        dilation_rate: int = 1,
        kernel_regularizer: Any = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        shape: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        fold_count(ratio)
        check_groups(0, groups)
        _check_step("strides", strides)
        _check_step("dilation_rate", dilation_rate)
        if strides > 1 and dilation_rate > 1:
            raise CKRMError(
                "SlimConv with strides and dilation",
                expected="one of the two to be 1",
                received=f"strides={strides}, dilation_rate={dilation_rate}",
            )
        self.ratio, self.strides, self.groups = ratio, strides, groups
        self.bottom_groups, self.dilation_rate = bottom_groups, dilation_rate
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.momentum, self.epsilon = momentum, epsilon
        self.shape = None if shape is None else _checked(shape)

    def _shape(self, input_shape: tuple[int | None, ...]) -> SlimShape:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise CKRMError(
                "SlimConv input",
                expected="(batch, height, width, channels) with known channels",
                received=tuple(input_shape),
            )
        if self.shape is not None:
            return given_shape(input_shape[-1], self.shape, self.groups, self.bottom_groups)
        return slim_shape(input_shape[-1], self.ratio, self.groups, self.bottom_groups)

    def _conv(self, name: str, filters: int, kernel: int, bias: bool, groups: int) -> layers.Layer:
        small = kernel == 1
        return layers.Conv2D(
            filters,
            kernel,
            strides=1 if small else self.strides,
            dilation_rate=1 if small else self.dilation_rate,
            padding="same",
            groups=groups,
            use_bias=bias,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name: str) -> layers.Layer:
        return layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the sub-layers; their channels follow from the input's."""
        s = self._shape(input_shape)
        self.weigh_squeeze = self._conv("weigh_squeeze", s.squeeze, 1, False, 1)
        self.weigh_squeeze_bn = self._norm("weigh_squeeze_bn")
        self.weigh_excite = self._conv("weigh_excite", s.channels, 1, True, 1)
        self.conv_top = self._conv("conv_top", s.top, 3, False, s.groups)
        self.conv_top_bn = self._norm("conv_top_bn")
        self.conv_reduce = self._conv("conv_reduce", s.reduce, 1, False, 1)
        self.conv_reduce_bn = self._norm("conv_reduce_bn")
        self.conv_bottom = self._conv("conv_bottom", s.bottom, 3, False, s.bottom_groups)
        self.conv_bottom_bn = self._norm("conv_bottom_bn")
        self.width = s.fold
        for layer, channels in (
            (self.weigh_squeeze, s.channels),
            (self.weigh_squeeze_bn, s.squeeze),
            (self.weigh_excite, s.squeeze),
            (self.conv_top, s.fold),
            (self.conv_top_bn, s.top),
            (self.conv_reduce, s.fold),
            (self.conv_reduce_bn, s.reduce),
            (self.conv_bottom, s.reduce),
            (self.conv_bottom_bn, s.bottom),
        ):
            layer.build((None, None, None, channels))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Weigh, fold, transform, fuse (Fig. 2)."""
        pooled = ops.mean(inputs, axis=(1, 2), keepdims=True)
        squeezed = self.weigh_squeeze_bn(self.weigh_squeeze(pooled), training=training)
        weights = ops.sigmoid(self.weigh_excite(ops.relu(squeezed)))
        upper = fold(inputs * weights, self.width)
        lower = fold(inputs * ops.flip(weights, axis=-1), self.width)
        upper = self.conv_top_bn(self.conv_top(upper), training=training)
        lower = ops.relu(self.conv_reduce_bn(self.conv_reduce(lower), training=training))
        lower = self.conv_bottom_bn(self.conv_bottom(lower), training=training)
        return ops.concatenate([upper, lower], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape after the stride, with `slim_output` channels."""
        batch, height, width, _ = input_shape
        sides = [None if side is None else -(-side // self.strides) for side in (height, width)]
        return (batch, *sides, self._shape(input_shape).output)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "strides": self.strides,
            "groups": self.groups,
            "bottom_groups": self.bottom_groups,
            "dilation_rate": self.dilation_rate,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "shape": self.shape,
        }
