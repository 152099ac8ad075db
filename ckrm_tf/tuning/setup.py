"""What all trainings of a search have in common: plain values from which any process trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from ckrm_tf.criteria.registry import signal_rule
from ckrm_tf.data.dataset import Dataset
from ckrm_tf.data.folds import Folds
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.measures.callback import CKRMCallback
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.weights import training_name
from ckrm_tf.train.gaze import GazeStart, gaze_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.tuning.runner import Runner

# Epochs between two measurements for TensorBoard.
EVERY = 4

Callbacks = Callable[[Design, int], Sequence[keras.callbacks.Callback]]


@dataclass(frozen=True)
class Setup:
    """What a training needs beside its network, its seed and its number of epochs.

    Attributes:
        data: what networks are trained and validated on.
        recipe: of every training.
        family: builds the networks.
        criterion: makes the signals, a key of `ckrm_tf.criteria.registry.SIGNALS`.
        gaze: where the GG-CAM loss starts; None trains by cross-entropy alone.
        folds: as for `Runner`.
        limit: seconds that one training may take, None for no end.
        tensorboard: the folder for event files with lambda per layer, None for none.
    """

    data: Dataset
    recipe: Recipe
    family: Family
    criterion: str = "ckrm"
    gaze: GazeStart | None = None
    folds: Sequence[Dataset] = ()
    limit: float | None = None
    tensorboard: Path | None = None

    def runner(
        self,
        journal: Journal,
        weights_dir: Path | None = None,
        callbacks: Callbacks | None = None,
        **told: Any,
    ) -> Runner:
        """A runner of these trainings.

        Args:
            journal, weights_dir: as for `Runner`.
            callbacks: makes further Keras callbacks of a training.
            told: `on_training` and `note`, as for `Runner`.
        """
        runner = Runner(
            self.data,
            self.recipe,
            journal,
            self.family,
            signals=signal_rule(self.criterion),
            weights_dir=weights_dir,
            folds=self.folds,
            limit=self.limit,
            **told,
        )
        runner.setup = self
        runner.make_callbacks = lambda design, seed: [
            *(callbacks(design, seed) if callbacks else ()),
            *self._tensorboard(design, seed),
        ]
        if self.gaze is not None:
            runner.make_trainer = lambda design, recipe, data: gaze_trainer(
                lambda: runner.build(design), data, recipe, self.gaze
            )
        return runner

    def without_test(self) -> Setup:
        """The same without the images of the test split, which no training needs.

        The validation split stands in its place, since a data set has three.
        """
        data = replace(self.data, test=self.data.val)
        folds = self.folds
        if isinstance(folds, Folds) and folds.data is self.data:
            # Cut from the same arrays, which are sent once.
            folds = Folds(data, folds.place, len(folds))
        return replace(self, data=data, folds=folds)

    def _tensorboard(self, design: Design, seed: int) -> list[keras.callbacks.Callback]:
        if self.tensorboard is None:
            return []
        log_dir = self.tensorboard / training_name(design, seed)
        return [CKRMCallback(every=EVERY, log_dir=log_dir)]
