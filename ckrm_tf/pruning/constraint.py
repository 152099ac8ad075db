"""What the optimizer itself respects: a mask after every update, and an L1 that can be ended."""

from __future__ import annotations

import base64
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.registration import saved_class


@saved_class
class SliceMask(keras.constraints.Constraint):
    """A kernel constraint that sets dead slices to zero after every optimizer update.

    The mask is a variable, so a traced training step follows a change without a new trace, and
    it is part of the layer's configuration, so a saved model comes back with it.

    Args:
        mask: (F1, F2) bool, True where the slice is kept.
        inner: a constraint to apply first, or None.
    """

    def __init__(self, mask: Any, inner: Any = None) -> None:
        mask = np.asarray(mask, bool)
        if mask.ndim != 2:
            raise CKRMError(
                "mask", expected="shape (channels in, channels out)", received=mask.shape
            )
        self.inner = keras.constraints.get(inner)
        self._mask = keras.Variable(mask, dtype="bool", trainable=False, name="slice_mask")

    @property
    def mask(self) -> np.ndarray:
        """(F1, F2) bool, a copy."""
        return np.array(self._mask.numpy())

    @mask.setter
    def mask(self, mask: np.ndarray) -> None:
        self._mask.assign(np.asarray(mask, bool))

    def __call__(self, w: Any) -> Any:
        """`w` (k, k, F1, F2) with its dead slices at zero, even where they are not finite."""
        w = ops.convert_to_tensor(w if self.inner is None else self.inner(w))
        return ops.where(self._mask, w, ops.zeros_like(w))

    def get_config(self) -> dict[str, Any]:
        """The mask packed to one bit a slice."""
        mask = self.mask
        return {
            "shape": list(mask.shape),
            "bits": base64.b64encode(np.packbits(mask).tobytes()).decode("ascii"),
            "inner": keras.constraints.serialize(self.inner) if self.inner else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SliceMask:
        """The inverse of `get_config`."""
        count = int(np.prod(config["shape"]))
        packed = np.frombuffer(base64.b64decode(config["bits"]), np.uint8)
        bits = np.unpackbits(packed, count=count).astype(bool)
        inner = keras.constraints.deserialize(config["inner"]) if config["inner"] else None
        return cls(bits.reshape(config["shape"]), inner)


@saved_class
class SwitchableL1(keras.regularizers.Regularizer):
    """L1 whose strength is a variable: `strength * sum |w|`, ended in mid-training by setting 0.

    Args:
        strength: the factor, at least 0; 1e-4 in arXiv 2102.02804.
    """

    def __init__(self, strength: float = 1e-4) -> None:
        if not (np.isfinite(strength) and strength >= 0):
            raise CKRMError("L1 strength", expected="a number of at least 0", received=strength)
        self._strength = keras.Variable(
            float(strength), dtype="float32", trainable=False, name="l1_strength"
        )

    @property
    def strength(self) -> float:
        """The factor in force."""
        return float(self._strength.numpy())

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength.assign(value)

    def __call__(self, x: Any) -> Any:
        """The penalty of one weight tensor, a scalar."""
        return ops.cast(self._strength, x.dtype) * ops.sum(ops.abs(x))

    def get_config(self) -> dict[str, Any]:
        """The strength in force when saved."""
        return {"strength": self.strength}
