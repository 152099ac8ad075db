"""CKRM during training: lambda in the logs of any `model.fit`, and in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.measures.kernels import ConvolutionKernel, model_kernels
from ckrm_tf.measures.redundancy import THRESHOLD, Redundancy, check_pairs, check_threshold
from ckrm_tf.measures.responses import ResponseMeasure
from ckrm_tf.measures.similarity import resolve_epsilon
from ckrm_tf.measures.table import redundancy_of

PREFIX = "lambda/"
MEAN = "ckrm"
RESPONSE_PREFIX = "lambda_response/"
RESPONSE_MEAN = "ckrm_response"


class CKRMCallback(keras.callbacks.Callback):
    """Writes the CKRM lambda (arXiv 2212.00272, Eq. 9) of every convolution into `logs`.

    `logs["lambda/LAYER"]` for each measured convolution and `logs["ckrm"]`, their mean, at the end
    of each epoch: `History` and callbacks listed later see them, so `EarlyStopping`,
    `ModelCheckpoint` or KerasTuner can monitor "ckrm". Between measurements the last values are
    repeated, so that every epoch has the same keys; the first epoch and the last are always
    measured. Weights that are not finite read NaN, and the training goes on.

    With images also `logs["lambda_response/NAME"]` for each width, and `logs["ckrm_response"]`,
    their mean: how alike the channels are on the images (`ckrm_tf.measures.responses`). The pass is
    compiled once for a training.

    Args:
        every: measure every so many epochs.
        threshold: t of Eq. 9.
        epsilon: None for a quarter of each layer's initial variance, or one absolute value.
        layers: names of the convolutions to measure; all by default.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
        pairs: compare only so many random pairs per layer; None compares all.
        log_dir: where to write TensorBoard scalars and histograms of Omega; needs TensorFlow.
            None writes nothing.
        images: some hundred images as the model takes them, without labels, or None.

    Raises:
        CKRMError: an impossible argument; at the start of training an unknown layer name, no
            convolution to measure, or `log_dir` without TensorFlow.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from ckrm_tf import CKRMCallback
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, name="conv"),
        ...      keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
        ... )
        >>> model.compile("sgd", "mse")
        >>> twin = np.random.default_rng(1).normal(size=(3, 3, 1, 4))
        >>> model.get_layer("conv").set_weights([np.concatenate([twin, twin], -1), np.zeros(8)])
        >>> logs = model.fit(
        ...     np.zeros((4, 8, 8, 1)), np.zeros((4, 2)), callbacks=[CKRMCallback()], verbose=0
        ... ).history
        >>> sorted(logs), logs["lambda/conv"][0] >= 4 / 28
        (['ckrm', 'lambda/conv', 'loss'], True)
    """

    def __init__(
        self,
        every: int = 1,
        *,
        threshold: float = THRESHOLD,
        epsilon: float | None = None,
        layers: Sequence[str] | None = None,
        pointwise: bool = False,
        pairs: int | None = None,
        log_dir: str | Path | None = None,
        images: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise CKRMError("every", expected="a whole number >= 1", received=repr(every))
        if isinstance(layers, str):
            raise CKRMError("layers", expected="a list of names", received=repr(layers))
        check_pairs(pairs)
        resolve_epsilon((1, 1, 1, 1), epsilon)
        self.every, self.threshold, self.epsilon = every, check_threshold(threshold), epsilon
        self.layers = None if layers is None else tuple(layers)
        self.pointwise, self.pairs = pointwise, pairs
        self.log_dir = None if log_dir is None else Path(log_dir)
        # Made when training begins: KerasTuner copies callbacks, and a writer cannot be copied.
        self._writer: Any = None
        self._last: dict[str, float] = {}
        self.images = images
        self._responses: ResponseMeasure | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the event file; refuse what could not be measured, before the first epoch."""
        self._last = {}
        self._responses = None
        if self.model.built:
            self._kernels()
            self._response_measure()
        if self.log_dir is not None:
            self._writer = _summary().create_file_writer(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure when it is time, and put lambda into `logs`."""
        last = epoch + 1 == (self.params or {}).get("epochs")
        if epoch % self.every == 0 or last or not self._last or self.model.stop_training:
            self._measure(epoch)
        if logs is not None:
            logs.update(self._last)

    def on_train_end(self, logs: Any = None) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        # A compiled function cannot be copied either.
        self._responses = None

    def _measure(self, epoch: int) -> None:
        kernels = self._kernels()
        found = {
            kernel.name: redundancy_of(kernel, self.threshold, self.epsilon, self.pairs)
            for kernel in kernels
            if kernel.finite
        }
        lams = {k.name: found[k.name].lam if k.finite else math.nan for k in kernels}
        self._last = {f"{PREFIX}{name}": lam for name, lam in lams.items()}
        self._last[MEAN] = float(np.mean(list(lams.values())))
        responses = self._response_measure()
        if responses is not None:
            heard = responses.measured(directions=False)
            self._last |= {f"{RESPONSE_PREFIX}{name}": r.lam for name, r in heard.items()}
            self._last[RESPONSE_MEAN] = float(np.mean([r.lam for r in heard.values()]))
        if self._writer is not None:
            self._write(found, epoch)

    def _response_measure(self) -> ResponseMeasure | None:
        """The measure on responses, made once for a training."""
        if self.images is not None and self._responses is None:
            self._responses = ResponseMeasure(self.model, self.images, self.threshold)
        return self._responses

    def _kernels(self) -> list[ConvolutionKernel]:
        """The convolutions to measure."""
        every = list(model_kernels(self.model, pointwise=self.pointwise))
        kernels = [k for k in every if k.reason is None or not k.finite]
        if self.layers is not None:
            known = {kernel.name: kernel for kernel in every}
            for name in self.layers:
                if name not in known:
                    raise unknown_name("convolution", name, known)
                if known[name].reason is not None and known[name].finite:
                    raise CKRMError(f"cannot measure {name}", hint=known[name].reason)
            kernels = [kernel for kernel in kernels if kernel.name in self.layers]
        if not kernels:
            raise CKRMError("model", expected="a convolution to measure", received="none")
        return kernels

    def _write(self, found: dict[str, Redundancy], epoch: int) -> None:
        summary = _summary()
        with self._writer.as_default(step=epoch):
            for name, value in self._last.items():
                summary.scalar(name, value)
            for name, redundancy in found.items():
                summary.histogram(f"omega/{name}", redundancy.omega)
        self._writer.flush()


def _summary() -> Any:
    try:
        import tensorflow as tf  # noqa: PLC0415 - only log_dir needs it
    except ImportError as error:
        raise CKRMError(
            "log_dir",
            expected="TensorFlow, which writes event files",
            hint="Without it, use log_dir=None: lambda is in the logs all the same.",
        ) from error
    return tf.summary
