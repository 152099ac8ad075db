"""What the trained starting network hands on to a candidate of the same fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import keras
import numpy as np

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.axis_groups import AxisGroups, axis_groups
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.store.weights import weights_file
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.distill import taught_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict
from ckrm_tf.train.way import Way
from ckrm_tf.tuning.wanted import Wanted

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
        self._sent: tuple[int, Callable[[], bytes]] | None = None
        self._told: dict[int, np.ndarray] = {}
        self._cut: tuple[int, Design, Narrower, AxisGroups] | None = None

    def start_seed(self, seed: int) -> int:
        """The seed of the start that hands on to a training with this seed; of the same fold."""
        if self.first is None:
            return seed
        return self.first + (seed - self.first) % max(1, len(self.runner.folds))

    def start_of(self, seed: int) -> Wanted | None:
        """The training of the start that hands on to one with this seed; None for a given start."""
        runner = self.runner
        start = runner.family.start
        if runner.family.given(start):
            return None
        return Wanted(start, self.start_seed(seed), runner.recipe.epochs)

    def prepare(self, seed: int, needed: bool = True) -> None:
        """Train the start that hands on to a training with this seed, unless it is known.

        Whoever follows the search hears of it once in each process, so that a search that goes on
        tells what an uninterrupted one does.

        Args:
            seed: of the training that takes over.
            needed: that training is not recorded yet; else its start is told of and no more.
        """
        runner, start = self.runner, self.start_of(seed)
        if start is None:
            return
        known = runner.journal.find(*start.key)
        if not needed:
            if known is not None and start.key not in runner.told:
                runner.tell(known, False)
            return
        if start.key in runner.told and runner.known(*start.key) is not None:
            return
        taken = runner.earlier is not None and runner.earlier.has(runner, *start.key)
        if known is None and not taken:
            fold = runner.fold_of(start.seed)
            of = "" if fold is None else f" on fold {fold + 1}"
            runner.note(
                f"the starting network is trained{of}, seed {start.seed}: others take over from it"
            )
        runner.run(start.design, start.seed)

    def ready(self, seed: int) -> bool:
        """Whether what hands on to a training with this seed is trained, and its weights sound."""
        start = self.start_of(seed)
        if start is None:
            return True
        found = self._record(start)
        kept = self.runner.weights_dir is not None
        return kept and found is not None and self.runner.has_weights(found)

    def start_weights(self, seed: int) -> Path:
        """The weights of the start that hands on to a training with this seed.

        Raises:
            CKRMError: no trained start of this fold.
        """
        runner = self.runner
        start = Wanted(runner.family.start, self.start_seed(seed), runner.recipe.epochs)
        found, path = self._record(start), runner.weights_path(*start.key)
        if found is None or path is None or not path.is_file():
            failed = runner.journal.find(*start.key)
            reason = None if failed is None else failed.reason
            raise CKRMError(
                f"the starting network, seed {start.seed}",
                expected="a finished training with its weights, which others are taught by",
                received=reason or ("none" if failed is None or path is None else "no weights"),
            )
        return path

    def receive(self, seed: int, weights: Callable[[], bytes]) -> None:
        """Take over from a start that another process trained.

        Args:
            seed: of the training that takes over.
            weights: fetches the bytes of the start's weights, where they are needed.
        """
        self._sent = self.start_seed(seed), weights

    def _record(self, start: Wanted) -> Training | None:
        """Of the trained start, which a pool may have trained before anybody asked."""
        for journal in (self.runner.journal, self.runner.ahead):
            found = journal.find(*start.key)
            if found is not None and found.status == COMPLETED:
                return found
        return None

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
        runner = self.runner
        start = runner.family.start
        model = runner.build(start)
        if runner.family.given(start):
            return model
        if self._sent is None or self._sent[0] != self.start_seed(seed):
            model.load_weights(self.start_weights(seed))
            return model
        with TemporaryDirectory(prefix="ckrm-start-") as folder:
            path = weights_file(Path(folder), start, seed)
            path.write_bytes(self._sent[1]())
            model.load_weights(path)
        return model


def endowed(model: keras.Model, weights: Weights) -> keras.Model:
    """The model, with these weights in every layer of the same name and shapes."""
    for layer in model.layers:
        found = weights.get(layer.name, [])
        if found and [w.shape for w in found] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(found)
    return model
