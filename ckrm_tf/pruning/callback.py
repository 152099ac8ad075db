"""L1 training, one mask, fine-tuning with the mask in force: one callback for `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ckrm_tf.criteria.eigenvalues import check_criterion, threshold_for
from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.constraint import SwitchableL1
from ckrm_tf.pruning.masks import Kernels, Masks, dead_slices, threshold_masks
from ckrm_tf.pruning.model import install_masks, kernels_of, masks_of, zero_slices


class EigenvaluePruning(keras.callbacks.Callback):
    """One-shot pruning by the values of kernel slices (arXiv 2102.02804, section 3).

    For `l1_epochs` epochs the model trains as it is, with L1 on its kernels (build it with
    `kernel_regularizer=SwitchableL1(1e-4)`). Then the slices below the threshold are zeroed, every
    `SwitchableL1` in the model is set to 0, and the masks hold after every optimizer update, inside
    the training step itself. A model that already has dead slices in its masks (loaded, or from
    an earlier `fit`) keeps them and is not masked again.

    With `epochs == l1_epochs` the mask is set at the end of training, without fine-tuning. List
    the callback after any that restores weights, such as `EarlyStopping`.

    Args:
        l1_epochs: epochs before the mask, at least 0.
        criterion: one of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        threshold: T in the units of the weights; `det` uses T^k.
        stem: prune the first convolution too.
        pointwise: prune 1x1 convolutions too.
        make_masks: kernels to masks, instead of criterion and threshold; for example
            `functools.partial(percentile_masks, criterion="weight", share=0.5)`.

    Attributes:
        masks: the masks in force by layer name, None before.
    """

    def __init__(
        self,
        l1_epochs: int,
        criterion: str = "spectral_norm",
        threshold: float = 1e-4,
        *,
        stem: bool = True,
        pointwise: bool = True,
        make_masks: Callable[[Kernels], Masks] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(l1_epochs, bool) or not isinstance(l1_epochs, int) or l1_epochs < 0:
            raise CKRMError(
                "l1_epochs", expected="a whole number of at least 0", received=repr(l1_epochs)
            )
        check_criterion(criterion)
        threshold_for(criterion, threshold, 1)
        self.l1_epochs, self.criterion, self.threshold = l1_epochs, criterion, threshold
        self.stem, self.pointwise, self.make_masks = stem, pointwise, make_masks
        self.masks: Masks | None = None
        self._done = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Put the constraints in place before the training step is traced."""
        kernels = self._kernels()
        present = masks_of(self.model)
        self.masks = None
        self._done = 0
        if dead_slices(present):
            self.masks = present
            install_masks(self.model, present)
            self._end_l1()
        else:
            everything = {name: np.ones(at.shape[2:], bool) for name, at in kernels.items()}
            install_masks(self.model, everything)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Mask when the L1 epochs are over."""
        self._done = epoch
        if self.masks is None and epoch >= self.l1_epochs:
            self._prune()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Count the finished epoch."""
        self._done = epoch + 1

    def on_train_end(self, logs: Any = None) -> None:
        """Mask if that is still due, and once more over whatever was restored meanwhile."""
        if self.masks is not None:
            zero_slices(self.model, self.masks)
        elif self._done >= self.l1_epochs:
            self._prune()
        else:
            warnings.warn(
                f"nothing was pruned: training ended after {self._done} of "
                f"{self.l1_epochs} L1 epochs",
                stacklevel=2,
            )

    def _kernels(self) -> dict[str, np.ndarray]:
        return kernels_of(self.model, stem=self.stem, pointwise=self.pointwise)

    def _prune(self) -> None:
        kernels = self._kernels()
        if self.make_masks is None:
            self.masks = threshold_masks(kernels, self.criterion, self.threshold)
        else:
            self.masks = self.make_masks(kernels)
        install_masks(self.model, self.masks)
        self._end_l1()

    def _end_l1(self) -> None:
        for variable in self.model.trainable_weights:
            if isinstance(variable.regularizer, SwitchableL1):
                variable.regularizer.strength = 0.0
