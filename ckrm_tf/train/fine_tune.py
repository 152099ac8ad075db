"""A few epochs more for a classifier that somebody brought, whatever its output."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.models.facts import ModelFacts, as_pixels

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

    Returns:
        The last epoch's mean loss.

    Raises:
        CKRMError: when the loss is not finite; the model's weights are then those before.
    """
    before = model.get_weights()
    compiled = model._compile_config.config if getattr(model, "compiled", False) else None
    keras.utils.set_random_seed(seed)
    batches = _Images(images, labels, scale, facts, seed)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(keras.optimizers.Adam(rate), loss=_loss(model, facts))
    found = model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks))
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
