"""One training of a search: train, measure, record, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import keras

from ckrm_tf.criteria.base import Criterion
from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.criteria.signals import width_signals
from ckrm_tf.data.dataset import Dataset
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet_model import resnet
from ckrm_tf.families.widths import Widths
from ckrm_tf.measures.table import measured_lambdas
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer


class Runner:
    """Trains networks of one search and keeps its journal.

    Args:
        data: the data set; its test split is not touched.
        recipe: the training recipe, the same for every network.
        journal: where trainings are recorded, and looked up instead of being run again.
        layout: the fixed part of the networks.
        criterion: makes the signals that steer the search.
        weights_dir: where the weights of each training are kept, or None to keep none.
        on_training: called with each training, new or looked up, and whether it was new.
        make_trainer: makes the trainer of one architecture; replaced by other training methods.
        make_callbacks: makes the Keras callbacks of one training from its widths and seed.
    """

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe,
        journal: Journal,
        *,
        layout: Layout | None = None,
        criterion: Criterion = ckrm_signal,
        weights_dir: Path | None = None,
        on_training: Callable[[Training, bool], None] | None = None,
        make_trainer: Callable[[Widths, Recipe], Trainer] | None = None,
        make_callbacks: Callable[[Widths, int], Sequence[keras.callbacks.Callback]] | None = None,
    ) -> None:
        self.data, self.recipe, self.journal = data, recipe, journal
        self.layout, self.criterion = layout or Layout(), criterion
        self.weights_dir, self.on_training = weights_dir, on_training
        self.make_trainer = make_trainer or self.plain_trainer
        self.make_callbacks = make_callbacks or (lambda widths, seed: ())
        self._trainer: tuple[Widths, Recipe, Trainer] | None = None

    def build(self, widths: Widths) -> keras.Model:
        """The network of these widths, with the recipe's regulariser."""
        return resnet(
            widths,
            self.data.input_shape,
            self.data.classes,
            layout=self.layout,
            kernel_regularizer=self.recipe.regularizer(),
        )

    def plain_trainer(self, widths: Widths, recipe: Recipe) -> Trainer:
        """A trainer by cross-entropy alone."""
        return Trainer(lambda: self.build(widths), self.data, recipe)

    def run(self, widths: Widths, seed: int, epochs: int | None = None) -> Training:
        """Train once, or return the journal's record of it; a failure is a record too."""
        epochs = epochs or self.recipe.epochs
        known = self.journal.find(widths, seed, epochs)
        training = known or self._train(widths, seed, epochs)
        if self.on_training is not None:
            self.on_training(training, known is None)
        return training

    def release(self) -> None:
        """Forget the architecture in memory: called when a trial ends, so that memory is freed."""
        self._trainer = None
        keras.backend.clear_session()

    def weights_path(self, widths: Widths, seed: int) -> Path | None:
        """Where the weights of a training are kept."""
        if self.weights_dir is None:
            return None
        return self.weights_dir / f"{self.name(widths, seed)}.weights.h5"

    @staticmethod
    def name(widths: Widths, seed: int) -> str:
        """A file name for a training: its numbers in the order of `Widths.items`."""
        return "_".join(str(n) for _, n in widths.items()) + f"_seed{seed}"

    def _train(self, widths: Widths, seed: int, epochs: int) -> Training:
        cost = widths.cost(self.data.input_shape, self.data.classes, self.layout)
        started, cpu = time.perf_counter(), time.process_time()
        try:
            training = self._train_and_measure(widths, seed, epochs, cost.params, cost.macs)
        except Exception as error:  # whatever a training dies of is recorded; the search goes on
            self.release()
            training = Training(
                widths,
                seed,
                epochs,
                FAILED,
                cost.params,
                cost.macs,
                setup_seconds=time.perf_counter() - started,
                reason=f"{type(error).__name__}: {error}"[:500],
                finished=_now(),
            )
        training = replace(training, cpu_seconds=time.process_time() - cpu)
        self.journal.append(training)
        return training

    def _train_and_measure(
        self, widths: Widths, seed: int, epochs: int, params: int, macs: int
    ) -> Training:
        trainer = self._trainer_of(widths, epochs)
        trained = trainer.train(seed, self.make_callbacks(widths, seed))
        started = time.perf_counter()
        signals = width_signals(trainer.model, self.criterion)
        lam = measured_lambdas(trainer.model)
        path = self.weights_path(widths, seed)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.model.save_weights(path)
        return Training(
            widths,
            seed,
            epochs,
            COMPLETED,
            params,
            macs,
            val_auc=trained.val_auc,
            loss=trained.loss,
            lam=lam,
            signals=signals,
            steps=trained.steps,
            setup_seconds=trained.setup_seconds,
            step_seconds=trained.step_seconds,
            measure_seconds=time.perf_counter() - started,
            finished=_now(),
        )

    def _trainer_of(self, widths: Widths, epochs: int) -> Trainer:
        """The trainer of this architecture: traced once for all its seeds."""
        recipe = self.recipe.with_epochs(epochs)
        if self._trainer is None or self._trainer[:2] != (widths, recipe):
            self.release()
            self._trainer = (widths, recipe, self.make_trainer(widths, recipe))
        return self._trainer[2]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
