"""A few epochs more for a classifier that somebody brought, whatever its output."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.models.facts import ModelFacts, as_pixels
from ckrm_tf.train.distill import distilled_loss, softened
from ckrm_tf.train.sampled import sampled_strides
from ckrm_tf.train.way import WEIGHT

BATCH = 32


class _Images(keras.utils.PyDataset):
    """Shuffled batches of images as the model takes them."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, scale: float, facts: ModelFacts, seed: int
    ) -> None:
        super().__init__()
        self.images, self.labels, self.scale, self.facts = images, labels, scale, facts
        self.random = np.random.default_rng(seed)
        self.order = self.random.permutation(len(images))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        return as_pixels(self.images[chosen], self.scale, self.facts), self.labels[chosen]

    def on_epoch_end(self) -> None:
        """Another order for the next epoch."""
        self.order = self.random.permutation(len(self.images))


def fine_tune(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    scale: float,
    facts: ModelFacts,
    *,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    seed: int = 1,
    callbacks: Any = (),
    taught_by: np.ndarray | None = None,
) -> float:
    """Train a classifier in place by cross-entropy with Adam, the rate falling by a cosine.

    The compile settings that the model had are put back in the end.

    Args:
        model: as `facts` describes it.
        images: (n, height, width, channels) as the data hold them, white being `scale`.
        labels: (n,), class indices.
        scale: the value of a white pixel.
        facts: of the model.
        epochs: passes over the images.
        learning_rate: at the start.
        seed: of the order of the images.
        callbacks: of Keras.
        taught_by: (n, classes), probabilities of a network for these images; they weigh half in the
            loss (`ckrm_tf.train.distill`). Not for a sigmoid a class.

    Returns:
        The last epoch's mean loss.

    Raises:
        CKRMError: when the loss is not finite; the model's weights are then those before. Soft
            probabilities of other images or classes, or for a sigmoid a class.
    """
    loss_of = _loss(model, facts)
    if taught_by is not None:
        check_taught(facts, taught_by, len(labels))
        labels = np.hstack([np.reshape(labels, (-1, 1)), softened(taught_by)])
        loss_of = _taught(facts)
    before = model.get_weights()
    compiled = model._compile_config.config if getattr(model, "compiled", False) else None
    keras.utils.set_random_seed(seed)
    batches = _Images(images, labels, scale, facts, seed)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(keras.optimizers.Adam(rate), loss=loss_of)
    with sampled_strides(model):
        found = model.fit(
            batches, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks)
        )
    loss = float(found.history["loss"][-1])
    if compiled is not None:
        model.compile(**compiled)
    if not np.isfinite(loss):
        model.set_weights(before)
        raise CKRMError("fine-tuning: loss", expected="a finite number", received=loss)
    return loss


def _loss(model: keras.Model, facts: ModelFacts) -> Any:
    logits = facts.output == "logits"
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if facts.output == "sigmoid":
        return _one_vs_rest
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)


def _one_vs_rest(labels: Any, predicted: Any) -> Any:
    """Each class against the rest, for a sigmoid a class."""
    wanted = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), predicted.shape[-1])
    return keras.losses.binary_crossentropy(wanted, predicted)


def check_taught(facts: ModelFacts, probabilities: np.ndarray, images: int) -> None:
    """Raise a `CKRMError` unless a network can be taught by these probabilities."""
    if facts.output == "sigmoid" and facts.classes != 2:
        raise CKRMError(
            "distillation",
            expected="softmax or logits over exclusive classes, or one sigmoid",
            received=f"{facts.classes} sigmoids",
        )
    if np.shape(probabilities) != (images, facts.classes):
        raise CKRMError(
            "soft probabilities",
            expected=f"shape {(images, facts.classes)}",
            received=np.shape(probabilities),
        )


def _taught(facts: ModelFacts) -> Any:
    """The loss of rows (label, soft probability of each class)."""

    def loss(wanted: Any, predicted: Any) -> Any:
        return distilled_loss(wanted[:, 0], wanted[:, 1:], _logits(facts, predicted), WEIGHT)

    return loss


def _logits(facts: ModelFacts, predicted: Any) -> Any:
    """Logits (batch, classes) that have the same softmax as what the model returns."""
    one = predicted.shape[-1] == 1
    if facts.output == "logits":
        return ops.concatenate([ops.zeros_like(predicted), predicted], -1) if one else predicted
    both = ops.concatenate([1 - predicted, predicted], -1) if one else predicted
    return ops.log(ops.maximum(both, keras.config.epsilon()))
