"""The loss that lets a radiologist's gaze supervise class activation maps."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.registration import saved_class


def _check_shapes(maps: Any, logits: Any, labels: Any, gaze: Any) -> None:
    classes = logits.shape[-1]
    if len(maps.shape) != 4 or maps.shape[-1] != classes:
        raise CKRMError(
            "maps",
            expected=f"(batch, h, w, {classes}), one map per logit",
            received=tuple(maps.shape),
        )
    if len(gaze.shape) != 3 or tuple(gaze.shape[1:]) != tuple(maps.shape[1:3]):
        raise CKRMError(
            "gaze maps",
            expected=f"(batch, {maps.shape[1]}, {maps.shape[2]}), the grid of the maps",
            received=tuple(gaze.shape),
            hint="Resize them with gaze_to_grid.",
        )
    if len(labels.shape) != 1:
        raise CKRMError(
            "labels", expected="(batch,) class indices", received=f"shape {tuple(labels.shape)}"
        )


@saved_class
class GGCAMLoss(layers.Layer):
    """Cross-entropy and gaze supervision under learned scales (GG-CAM, arXiv 2202.07107).

    `L = CE / s_c^2 + ln(1 + s_c) + D / (2 s_d^2) + ln(1 + s_d)`, `s_c = exp(a)`, `s_d = exp(e)`.
    D is the mean squared difference between the gaze map and `sigmoid(exp(lk) M_y + shift)`, where
    M_y is the map of the image's own class. An image whose gaze map is zero everywhere was not
    looked at and counts in CE only. a, e and lk are the method's three extra parameters.

    Computed in float32 whatever the model's precision: exp(-2 e) overflows float16.

    Args:
        a: starting value of a; the default and the next two are the paper's for ResNet-50, with
            which the maps are learned first and the classes when e has risen.
        e: starting value of e; -16 for EfficientNetV2-S.
        lk: starting value of lk.
        shift: fixed offset inside the sigmoid.
        released: do as the authors' released code does: D compares the map of class 0, whatever
            the label, with the gaze map without scale and sigmoid, and lk never moves.

    Raises:
        CKRMError: for a start that is not a finite number; when called, for shapes that do not
            belong together.
    """

    def __init__(
        self,
        a: float = 7.0,
        e: float = -23.0,
        lk: float = 0.0,
        *,
        shift: float = 0.0,
        released: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.start = {"a": a, "e": e, "lk": lk}
        for name, value in {**self.start, "shift": shift}.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise CKRMError(
                    f"GGCAMLoss {name}", expected="a finite number", received=repr(value)
                )
        self.shift, self.released = shift, released
        self.a, self.e, self.lk = (
            self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(value))
            for name, value in self.start.items()
        )
        # No weight waits for a shape; a model around this layer would warn that one does.
        self.built = True

    def terms(self, maps: Any, logits: Any, labels: Any, gaze: Any) -> tuple[Any, Any]:
        """CE and D before scaling, for logs; arguments as in `call`."""
        _check_shapes(maps, logits, labels, gaze)
        labels = ops.cast(labels, "int32")
        entropy = ops.mean(
            keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        )
        if self.released:
            seen = maps[..., 0]
        else:
            chosen = ops.one_hot(labels, maps.shape[-1], dtype=maps.dtype)
            own = ops.sum(maps * chosen[:, None, None, :], axis=-1)
            seen = ops.sigmoid(ops.exp(self.lk) * own + self.shift)
        gaze = ops.cast(gaze, maps.dtype)
        errors = ops.mean(ops.square(seen - gaze), axis=(1, 2))
        looked = ops.cast(ops.max(gaze, axis=(1, 2)) > 0, maps.dtype)
        return entropy, ops.sum(errors * looked) / ops.maximum(ops.sum(looked), 1)

    def call(self, maps: Any, logits: Any, labels: Any, gaze: Any) -> Any:
        """The loss of a batch, a scalar.

        Args:
            maps: (batch, h, w, classes) class activation maps.
            logits: (batch, classes).
            labels: (batch,) class indices.
            gaze: (batch, h, w) gaze maps in [0, 1] on the same grid.
        """
        entropy, distance = self.terms(maps, logits, labels, gaze)
        loss = entropy * ops.exp(-2 * self.a) + ops.softplus(self.a)
        loss = loss + distance * ops.exp(-2 * self.e) / 2 + ops.softplus(self.e)
        # A zero gradient rather than none: Keras warns about weights that the loss does not use.
        return loss + 0 * self.lk if self.released else loss

    def compute_output_shape(self, *shapes: Any, **named: Any) -> tuple[()]:
        """A scalar."""
        return ()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            **self.start,
            "shift": self.shift,
            "released": self.released,
        }
