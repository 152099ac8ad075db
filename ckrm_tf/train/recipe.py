"""How a network is trained, as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.train.precision import FLOAT32, precision_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every network of a search is trained: the same for all, so that widths alone differ.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: Adam's, at the start of a cosine decay to zero.
        l1: L1 penalty on every convolution kernel; it lets unneeded kernels die, which is what
            lambda sees. 0 trains unregularised.
        shift: augmentation by random shifts of up to so many pixels.
        precision: of the arithmetic of the steps (`ckrm_tf.train.precision.PRECISIONS`).
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-3
    l1: float = 1e-4
    shift: int = 0
    precision: str = FLOAT32

    def __post_init__(self) -> None:
        precision_of(self.precision)
        numbers = {k: v for k, v in asdict(self).items() if k != "precision"}
        wrong = [k for k, v in numbers.items() if not (v > 0 or (k in ("l1", "shift") and v == 0))]
        if wrong:
            raise CKRMError(
                f"recipe {wrong[0]}", expected="a positive number", received=getattr(self, wrong[0])
            )

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe for another number of epochs."""
        return replace(self, epochs=int(epochs))

    def regularizer(self) -> Any:
        """The kernel regulariser to build the network with, or None."""
        import keras  # noqa: PLC0415 - settings need no Keras

        return keras.regularizers.L1(self.l1) if self.l1 else None
