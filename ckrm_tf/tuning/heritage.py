"""What the trained starting network hands on to a candidate of the same fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.axis_groups import AxisGroups, axis_groups
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.distill import taught_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict
from ckrm_tf.train.way import PLAIN_NAME, Way

if TYPE_CHECKING:
    from ckrm_tf.tuning.runner import Runner

# Training images on which channels are chosen and consumers mended.
FIT = 256

Weights = Mapping[str, list[np.ndarray]]
"""The weights of a network by the name of the layer."""


class Heritage:
    """Soft probabilities and mended slices of the trained start, for the trainings of a runner.

    A training is taught only by a start of its own fold (`start_seed`), and what it takes
    over is measured on its own training images: no image that validates it had a say.
    Probabilities are kept for every start, the network that slices are cut from for the last.

    Args:
        runner: has the weights of the trained starts.
        first: the first seed of a search: of each fold one start hands on, that of the first seed
            that sees it. By default the start of a candidate's own seed does.
    """

    def __init__(self, runner: Runner, first: int | None = None) -> None:
        self.runner, self.first = runner, first
        self._told: dict[int, np.ndarray] = {}
        self._cut: tuple[int, Design, Narrower, AxisGroups] | None = None

    def start_seed(self, seed: int) -> int:
        """The seed of the start that hands on to a training with this seed; of the same fold."""
        if self.first is None:
            return seed
        return self.first + (seed - self.first) % max(1, len(self.runner.folds))

    def prepare(self, seed: int) -> None:
        """Train the start that hands on to a training with this seed, unless it is known."""
        runner, teacher = self.runner, self.start_seed(seed)
        start, whole = runner.family.start, runner.recipe.epochs
        if runner.family.given(start) or runner.known(start, teacher, whole, PLAIN_NAME):
            return
        fold = runner.fold_of(teacher)
        of = "" if fold is None else f" on fold {fold + 1}"
        runner.note(
            f"the starting network is trained{of}, seed {teacher}: others take over from it"
        )
        runner.run(start, teacher)

    def trainer(
        self, design: Design, recipe: Recipe, data: Dataset, seed: int, way: Way
    ) -> Trainer:
        """The trainer of a network that takes something over.

        Raises:
            CKRMError: no trained start of this fold.
        """

        def build() -> keras.Model:
            return self.runner.build(design)

        if way.slice:
            weights = self.weights(design, seed)
            begin = build

            def build() -> keras.Model:
                return endowed(begin(), weights)

        if way.distill:
            return taught_trainer(build, data, recipe, self.probabilities(seed), way.distill)
        return Trainer(build, data, recipe)

    def probabilities(self, seed: int) -> np.ndarray:
        """Of the start on the training images that a training with this seed sees: (n, classes)."""
        teacher = self.start_seed(seed)
        if teacher not in self._told:
            data = self.runner.data_of(seed)
            self._told[teacher] = predict(self._start(seed), data.train, data.scale)
        return self._told[teacher]

    def weights(self, design: Design, seed: int) -> Weights:
        """Of the mended slice of the start that has the numbers of a design.

        Blocks or layers that the design lacks are taken out first, then channels are chosen by
        pivoted Cholesky and their consumers mended by ridge regression. Layers that no slice can
        give, such as those behind a stage that is absent, are not among them.
        """
        _, base, narrower, groups = self._narrower(design, seed)
        widths = groups.widths(design)
        narrowed = narrower.build(narrower.at(widths)) if design != base else None
        model = narrower.channels.model if narrowed is None else narrowed
        return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}

    def _narrower(self, design: Design, seed: int) -> tuple[int, Design, Narrower, AxisGroups]:
        family, teacher = self.runner.family, self.start_seed(seed)
        depths = {axis.name: design[axis.name] for axis in family.axes if axis.kind == "depth"}
        base = family.checked(family.start.replace(depths))
        if self._cut is None or self._cut[:2] != (teacher, base):
            self._cut = None
            model = self._start(seed)
            if base != family.start:
                given = {layer.name: layer.get_weights() for layer in model.layers}
                model = endowed(self.runner.build(base), given)
            data = self.runner.data_of(seed)
            narrower = Narrower(model, images=scaled(evenly(data.train.images, FIT), data.scale))
            self._cut = teacher, base, narrower, axis_groups(family, model, base)
        return self._cut

    def _start(self, seed: int) -> keras.Model:
        """The trained start of the fold that this seed sees."""
        runner, teacher = self.runner, self.start_seed(seed)
        start = runner.family.start
        model = runner.build(start)
        if runner.family.given(start):
            return model
        found = runner.journal.find(start, teacher, runner.recipe.epochs)
        path = runner.weights_path(start, teacher)
        if found is None or found.status != COMPLETED or path is None or not path.is_file():
            raise CKRMError(
                f"the starting network, seed {teacher}",
                expected="a finished training with its weights, which others are taught by",
                received="none" if found is None or path is None else found.reason or "no weights",
            )
        model.load_weights(path)
        return model


def endowed(model: keras.Model, weights: Weights) -> keras.Model:
    """The model, with these weights in every layer of the same name and shapes."""
    for layer in model.layers:
        found = weights.get(layer.name, [])
        if found and [w.shape for w in found] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(found)
    return model
