"""A head whose logits are the spatial means of class activation maps."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.registration import saved_class


def _check_features(shape: tuple[int | None, ...]) -> int:
    if len(shape) != 4 or shape[-1] is None:
        raise CKRMError(
            "CAMHead input",
            expected="(batch, height, width, channels) with known channels",
            received=tuple(shape),
        )
    return shape[-1]


@saved_class
class CAMHead(layers.Layer):
    """Class activation maps and the logits they average to (GG-CAM, arXiv 2202.07107).

    (batch, h, w, D) -> logits (batch, classes) and maps (batch, h, w, classes):
    `maps_k = mean over d of V_dk F_d`, `logits_k = spatial mean of maps_k + b_k`. It is global
    average pooling and a dense layer with weights V / D, so it has as many parameters as these.

    Args:
        classes: number of maps and logits, at least 1.
        divisor: what the sum over channels is divided by, in place of D: a narrowed head keeps that
            of the head it was made from.

    Raises:
        CKRMError: for fewer classes, or, when built, for an input that is not feature maps.

    Example:
        >>> import numpy as np
        >>> from ckrm_tf import CAMHead
        >>> head = CAMHead(3)
        >>> logits, maps = head(np.ones((2, 4, 4, 8), "float32"))
        >>> logits.shape, maps.shape, head.count_params()
        (TensorShape([2, 3]), TensorShape([2, 4, 4, 3]), 27)
        >>> means = np.mean(maps, axis=(1, 2)) + np.asarray(head.bias.value)
        >>> bool(np.allclose(logits, means, atol=1e-6))
        True
    """

    def __init__(self, classes: int, divisor: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise CKRMError(
                "CAMHead classes", expected="a whole number of at least 1", received=repr(classes)
            )
        if divisor is not None and (
            isinstance(divisor, bool) or not isinstance(divisor, int) or divisor < 1
        ):
            raise CKRMError(
                "CAMHead divisor", expected="a whole number of at least 1", received=repr(divisor)
            )
        self.classes, self.divisor = classes, divisor

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create V and b, uniform within 1 / sqrt(D) as in the released code."""
        depth = _check_features(input_shape)
        limit = 1 / math.sqrt(depth)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(depth, self.classes),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.classes,),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self.depth = self.divisor or depth
        self.built = True

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """The logits and the maps."""
        maps = ops.matmul(inputs, self.kernel) / self.depth
        return ops.mean(maps, axis=(1, 2)) + self.bias, maps

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Shapes of the logits and the maps."""
        return (input_shape[0], self.classes), (*input_shape[:3], self.classes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "classes": self.classes, "divisor": self.divisor}


def cam_model(model: keras.Model) -> keras.Model:
    """The same network, weights shared, with its class activation maps as a second output.

    Args:
        model: a functional model that ends in a `CAMHead`, or in global average pooling and a
            dense layer without activation (dropout between them is passed over), as `resnet`
            builds them.

    Returns:
        A model from image to (logits, maps); maps (batch, h, w, classes) are at the resolution of
        the last features, and their spatial mean is the logits without the bias.

    Raises:
        CKRMError: for a model that ends otherwise.
    """
    body = [la for la in model.layers if not isinstance(la, layers.Dropout)]
    head = body[-1] if body else None
    if isinstance(head, CAMHead):
        logits, maps = head.output
        return keras.Model(model.input, [logits, maps], name=f"{model.name}_cam")
    pooled = len(body) > 1 and isinstance(body[-2], layers.GlobalAveragePooling2D)
    if pooled and isinstance(head, layers.Dense) and head.activation is keras.activations.linear:
        features = body[-2].input
        # The dense layer at every place; what it makes of nothing is its bias.
        maps = head(features) - head(ops.zeros_like(features))
        return keras.Model(model.input, [model.output, maps], name=f"{model.name}_cam")
    raise CKRMError(
        "class activation maps",
        expected="a model ending in CAMHead, or in GlobalAveragePooling2D and a linear Dense",
        received=" -> ".join(type(la).__name__ for la in body[-2:]),
        hint='Build it with resnet(..., head="cam").',
    )
