"""One training: recipe in, weights and validation probabilities out, at little set-up cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.errors import CKRMError
from ckrm_tf.stats import macro_auc
from ckrm_tf.train.batches import Batches, scaled
from ckrm_tf.train.optimizer import FusedAdam
from ckrm_tf.train.precision import FLOAT32, layers_in
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.sampled import sampled_strides

PREDICT_BATCH = 128


@dataclass(frozen=True)
class Trained:
    """The outcome of one training.

    Attributes:
        val_auc: macro one-vs-rest AUC on the validation split, after the last epoch.
        probabilities: (n, classes) on the validation split.
        loss: last epoch's training loss.
        steps: gradient steps taken.
        setup_seconds: build, trace and everything else up to the end of the first step.
        step_seconds: the other steps.
    """

    val_auc: float
    probabilities: np.ndarray
    loss: float
    steps: int
    setup_seconds: float
    step_seconds: float


class TrainingNetwork(keras.Model):
    """A functional model whose training step is one traced function and whose loss is built in.

    Keras's own `fit` nests the step in three functions and runs the model once more to build its
    loss and metrics; both cost more than all steps of a small network. Only public hooks are
    overridden: `compute_loss` and `make_train_function`.
    """

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Cross-entropy of the logits plus the layers' penalties."""
        # Logits of half precision would make a coarse loss.
        y_pred = keras.tree.map_structure(lambda found: ops.cast(found, "float32"), y_pred)
        return self.objective(y, y_pred) + sum(self.losses)

    def objective(self, y: Any, y_pred: Any) -> Any:
        """The loss without penalties: mean cross-entropy of logits (batch, classes)."""
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))

    def make_train_function(self, force: bool = False) -> Any:
        """The function Keras calls for each batch; see `keras.Model.make_train_function`."""
        if keras.backend.backend() != "tensorflow":
            return super().make_train_function(force)
        if getattr(self, "train_function", None) is None or force:
            import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

            # As a partial, because TensorFlow counts tracings by Python code: the networks of a
            # search, traced once each, would earn a warning of "retracing".
            step = tf.function(partial(self.train_step), autograph=False)
            self.train_function = lambda iterator: step(next(iterator))
        return self.train_function


class _Clock(keras.callbacks.Callback):
    """Counts steps, notes when the first ended, stops on a loss that is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.first_step: float | None = None
        self.steps = 0
        self.loss = float("nan")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.first_step is None:
            self.first_step = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.loss = float((logs or {}).get("loss", float("nan")))
        if not np.isfinite(self.loss):
            self.model.stop_training = True


class Trainer:
    """Trains one architecture, several seeds over, tracing it once.

    In mixed precision the steps are those of a twin of the model, whose layers compute so. Its
    weights, of float32, come back into the model: validation, measures and exports are in float32.

    Args:
        build: makes a fresh functional model from `image` to `logits`.
        data: train split to learn from, val split to score on; the test split is not touched.
        recipe: how to train.
        wrap: makes the training model from the built one.
        beside: (training images, ...) that the loss hears beside the labels, or None.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        data: Dataset,
        recipe: Recipe,
        wrap: Callable[[keras.Model], keras.Model] | None = None,
        beside: np.ndarray | None = None,
    ) -> None:
        self.build, self.data, self.recipe, self.beside = build, data, recipe, beside
        self.wrap = wrap or (lambda model: TrainingNetwork(model.inputs, model.outputs[0]))
        self._model: keras.Model | None = None
        self.network: keras.Model | None = None
        self._learner: keras.Model | None = None
        self._fresh_slots: list[Any] = []

    @property
    def model(self) -> keras.Model:
        """The functional model, with the weights of the last training."""
        if self._model is None:
            self._model = self.build()
        return self._model

    def train(self, seed: int, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Trained:
        """Train from scratch with `seed`; `self.model` then has the weights.

        Raises:
            CKRMError: when the loss is not finite; the trial has failed, the search has not.
        """
        started = time.perf_counter()
        keras.utils.set_random_seed(seed)
        batches = Batches(
            self.data.train,
            self.data.scale,
            self.recipe.batch_size,
            seed=seed,
            shift=self.recipe.shift,
            beside=self.beside,
        )
        network = self._prepare(len(batches))
        clock = _Clock()
        epochs = self.recipe.epochs
        on_tensorflow = keras.backend.backend() == "tensorflow"
        # The batches have their own order; Keras would shuffle them by the global generator.
        with sampled_strides(network):
            network.fit(
                batches.dataset(epochs) if on_tensorflow else batches,
                epochs=epochs,
                steps_per_epoch=len(batches),
                verbose=0,
                shuffle=False,
                callbacks=[clock, *callbacks],
            )
        done = time.perf_counter()
        if not np.isfinite(clock.loss):
            raise CKRMError("training loss", expected="a finite number", received=clock.loss)
        if self._learner is not None:
            self.model.set_weights(self._learner.get_weights())
        probabilities = predict(self.model, self.data.val, self.data.scale)
        first = clock.first_step or done
        return Trained(
            val_auc=macro_auc(self.data.val.labels, probabilities),
            probabilities=probabilities,
            loss=clock.loss,
            steps=clock.steps,
            setup_seconds=first - started + time.perf_counter() - done,
            step_seconds=done - first,
        )

    def judge(self) -> Trained:
        """What the model scores with the weights it was built with; no step is taken."""
        started = time.perf_counter()
        probabilities = predict(self.model, self.data.val, self.data.scale)
        labels = self.data.val.labels
        of_class = probabilities[np.arange(len(labels)), labels]
        return Trained(
            val_auc=macro_auc(labels, probabilities),
            probabilities=probabilities,
            loss=float(np.mean(-np.log(np.maximum(of_class, np.finfo(np.float64).tiny)))),
            steps=0,
            setup_seconds=time.perf_counter() - started,
            step_seconds=0.0,
        )

    def _prepare(self, steps: int) -> keras.Model:
        """A compiled network with fresh weights: built and traced for the first seed only."""
        # A model that was trained, or looked at, before has weights that are not this seed's.
        fresh = None if self._model is None else self.wrap(self.build())
        if self.network is None:
            self.network = self._wrapped()
            rate = keras.optimizers.schedules.CosineDecay(
                self.recipe.learning_rate, steps * self.recipe.epochs
            )
            self.network.compile(FusedAdam(rate))
            # Variables made inside the traced step would have it traced twice.
            self.network.optimizer.build(self.network.trainable_variables)
            slots = self.network.optimizer.variables
            # The moments begin as zeros; the scale of a loss does not.
            self._fresh_slots = [None if v.ndim else ops.convert_to_numpy(v) for v in slots]
        else:
            slots = self.network.optimizer.variables
            for variable, value in zip(slots, self._fresh_slots, strict=True):
                zeros = ops.zeros(variable.shape, variable.dtype)
                variable.assign(zeros if value is None else value)
        if fresh is not None:
            self.network.set_weights(fresh.get_weights())
        return self.network

    def _wrapped(self) -> keras.Model:
        """The training model, with the weights of the model that is judged."""
        if self.recipe.precision == FLOAT32:
            return self.wrap(self.model)
        weights = self.model.get_weights()
        with layers_in(self.recipe.precision):
            self._learner = self.build()
            self._learner.set_weights(weights)
            return self.wrap(self._learner)


def predict(model: keras.Model, split: Split, scale: float) -> np.ndarray:
    """Class probabilities of a model that returns logits: (n, classes) float64.

    On TensorFlow the layers are called one by one: a few batches cost less than a trace.
    """
    images = scaled(split.images, scale)
    if keras.backend.backend() == "tensorflow":
        parts = [
            ops.convert_to_numpy(model(images[start : start + PREDICT_BATCH], training=False))
            for start in range(0, len(images), PREDICT_BATCH)
        ]
        logits = np.concatenate(parts)
    else:
        logits = model.predict(images, batch_size=PREDICT_BATCH, verbose=0)
    logits = np.asarray(logits, np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
