"""Training by the labels and by the probabilities of a trained network (arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.errors import CKRMError
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, TrainingNetwork

# Of Hinton, Vinyals and Dean 2015: logits are divided by it before the softmax.
TEMPERATURE = 2.0


def distilled_loss(
    labels: Any, soft: Any, logits: Any, weight: float, temperature: float = TEMPERATURE
) -> Any:
    """(1 - weight) x cross-entropy of labels + weight x T^2 x cross-entropy of soft probabilities.

    The factor T^2 keeps the size of the gradients, whatever the temperature (section 2 there).

    Args:
        labels: (batch,), class indices.
        soft: (batch, classes), probabilities at temperature T.
        logits: (batch, classes), of the network that learns.
        weight: of the soft probabilities, from 0 to 1.
        temperature: T.

    Returns:
        (batch,) losses.
    """
    own = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    told = keras.losses.categorical_crossentropy(soft, logits / temperature, from_logits=True)
    return (1 - weight) * own + weight * temperature**2 * told


class TaughtNetwork(TrainingNetwork):
    """A network whose loss hears labels and soft probabilities.

    Args:
        model: a functional model from image to logits; its layers are shared.
        weight, temperature: see `distilled_loss`.
    """

    def __init__(self, model: keras.Model, weight: float, temperature: float = TEMPERATURE) -> None:
        super().__init__(model.inputs, model.outputs[0])
        self.weight, self.temperature = weight, temperature

    def objective(self, y: Any, y_pred: Any) -> Any:
        """The loss without penalties, of y = (labels, soft probabilities) and logits."""
        labels, soft = y
        return ops.mean(distilled_loss(labels, soft, y_pred, self.weight, self.temperature))


def softened(probabilities: np.ndarray, temperature: float = TEMPERATURE) -> np.ndarray:
    """Probabilities as they are at another temperature: softmax(logits / T).

    Args:
        probabilities: (n, classes), of a softmax at temperature 1.
        temperature: T.

    Returns:
        (n, classes) float32; rows add up to 1.

    Example:
        >>> softened(np.array([[0.8, 0.2]])).round(3).tolist()
        [[0.6669999957084656, 0.3330000042915344]]
    """
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float64).tiny))
    weights = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def taught_trainer(
    build: Callable[[], keras.Model],
    data: Dataset,
    recipe: Recipe,
    probabilities: np.ndarray,
    weight: float,
    temperature: float = TEMPERATURE,
) -> Trainer:
    """A trainer by labels and soft probabilities.

    The probabilities are of the training images without augmentation, taken once: another forward
    pass of a large network in every step would cost more than the step of a small one.

    Args:
        build, data, recipe: as for `Trainer`.
        probabilities: (training images, classes) of the network that teaches.
        weight: of them in the loss, from 0 to 1.
        temperature: at which both networks are compared.

    Raises:
        CKRMError: probabilities of other images or classes.
    """
    wanted = len(data.train), data.classes
    if np.shape(probabilities) != wanted:
        raise CKRMError(
            "soft probabilities", expected=f"shape {wanted}", received=np.shape(probabilities)
        )
    return Trainer(
        build,
        data,
        recipe,
        wrap=lambda model: TaughtNetwork(model, weight, temperature),
        beside=softened(probabilities, temperature),
    )
