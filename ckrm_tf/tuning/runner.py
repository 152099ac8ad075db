"""The trainings of one search: looked up where they are known, else done here or by a pool."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from ckrm_tf.criteria.registry import SignalRule, signal_rule
from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.crashes import CrashError
from ckrm_tf.store.failures import CRASH
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import Key, Training
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer
from ckrm_tf.train.way import PLAIN, PLAIN_NAME, Way
from ckrm_tf.tuning.attempt import attempt, failure
from ckrm_tf.tuning.heritage import Heritage
from ckrm_tf.tuning.kept import Kept
from ckrm_tf.tuning.pool import Pool
from ckrm_tf.tuning.reuse import Earlier
from ckrm_tf.tuning.wanted import Wanted

if TYPE_CHECKING:
    from ckrm_tf.tuning.setup import Setup


class Runner(Kept):
    """Trains networks of one search and keeps its journal.

    Args:
        data: the data set; its test split is not touched.
        recipe: the training recipe, the same for every network.
        journal: where trainings are recorded, and looked up instead of being run again.
        family: builds the networks, prices them and says which kernels speak for a width.
        signals: makes the signals that steer the search, from the model, the family and up to 256
            training images.
        weights_dir: where the weights of each training are kept, or None to keep none.
        on_training: called with each training, new or looked up, and whether it was new.
        make_trainer: makes the trainer of one architecture on one data set; replaced by other
            training methods.
        make_callbacks: makes the Keras callbacks of one training from its design and seed.
        folds: data sets of which the trainings with seeds 1, 2, ... see one each, in turn; without
            them all see `data`.
        limit: seconds that one training may take, None for no end.
        note: told in a sentence what is trained again, and why; a warning by default.
        way: what candidates of the search take over from the trained start, where the tuner asks.
        first: see `Heritage`.

    Attributes:
        earlier: trainings of other runs that are taken over; None for none.
        pool: trains the networks elsewhere; None trains them here, one after the other.
        setup: from which another process makes a runner like this one; a pool needs it.
        hints: trainings that may be asked for later, the likeliest first; a pool begins them where
            it has nothing better to do.
        told: the trainings that `on_training` has heard of.
    """

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe,
        journal: Journal,
        family: Family,
        *,
        signals: SignalRule | None = None,
        weights_dir: Path | None = None,
        on_training: Callable[[Training, bool], None] | None = None,
        make_trainer: Callable[[Design, Recipe, Dataset], Trainer] | None = None,
        make_callbacks: Callable[[Design, int], Sequence[keras.callbacks.Callback]] | None = None,
        folds: Sequence[Dataset] = (),
        limit: float | None = None,
        note: Callable[[str], None] = warnings.warn,
        way: Way = PLAIN,
        first: int | None = None,
    ) -> None:
        super().__init__(recipe, journal, family, weights_dir)
        self.data, self.folds, self.way = data, folds, way
        self.heritage = Heritage(self, first)
        self.judge: Split | None = None
        self.earlier: Earlier | None = None
        self.signals, self.on_training = signals or signal_rule("ckrm"), on_training
        self.make_trainer = make_trainer or self.plain_trainer
        self.make_callbacks = make_callbacks or (lambda design, seed: ())
        self.limit, self.note = limit, note
        self.pool: Pool | None = None
        self.setup: Setup | None = None
        self.hints: Iterator[Wanted] = iter(())
        self.told: set[Key] = set()
        self._trainer: tuple[tuple[object, ...], Trainer] | None = None

    def build(self, design: Design) -> keras.Model:
        """The network of this design, with the recipe's regulariser."""
        return self.family.build(design, kernel_regularizer=self.recipe.regularizer())

    def plain_trainer(self, design: Design, recipe: Recipe, data: Dataset) -> Trainer:
        """A trainer by cross-entropy alone."""
        return Trainer(lambda: self.build(design), data, recipe)

    def fold_of(self, seed: int) -> int | None:
        """The fold that a training with this seed sees, or None without folds."""
        return (seed - 1) % len(self.folds) if self.folds else None

    def data_of(self, seed: int) -> Dataset:
        """The data that a training with this seed sees."""
        fold = self.fold_of(seed)
        return self.data if fold is None else self.folds[fold]

    def way_of(self, design: Design) -> Way:
        """How a network of the search is trained: the start, which hands on, plainly."""
        return PLAIN if design == self.family.start else self.way

    def is_whole(self, training: Training) -> bool:
        """Whether a training speaks for its network: by plain recipe or as the search has it."""
        ways = PLAIN, self.way_of(training.design)
        return (training.how, training.epochs) in [w.mark(self.recipe.epochs) for w in ways]

    def run(
        self, design: Design, seed: int, epochs: int | None = None, way: Way = PLAIN
    ) -> Training:
        """Train once, or return the journal's record of it; a failure is a record too.

        A failure that passes is tried again by the next process, one that took too long under a
        larger limit, a success whose weights are not those recorded at once.

        Args:
            design: the network.
            seed: of the training; it says which fold is seen.
            epochs: where they are not the recipe's.
            way: what is taken over from the start; a start that is missing is trained before. The
                start itself takes nothing over.

        Raises:
            NoRoomError: the disk is full.
        """
        wanted = self.wanted(design, seed, way, epochs)
        if wanted.way.inherits:
            # Before the record of this one is looked for, which a pool may have trained ahead.
            self.heritage.prepare(seed, self.journal.find(*wanted.key) is None)
        known = self.known(*wanted.key)
        if known is None and wanted.way.inherits:
            self.heritage.prepare(seed)
        training = known or self._train(wanted)
        new = known is None or training.key in self._from_ahead
        self._from_ahead.discard(training.key)
        self.tell(training, new)
        return training

    def tell(self, training: Training, new: bool) -> None:
        """Report a training."""
        self.told.add(training.key)
        if self.on_training is not None:
            self.on_training(training, new)

    def expect(self, trainings: Iterable[tuple[Design, int]], way: Way = PLAIN) -> None:
        """Say which trainings `run` will be asked for: a pool begins them at once.

        Args:
            trainings: networks and seeds.
            way: of all but the start.
        """
        if self.pool is not None:
            self.pool.expect(self, [self.wanted(d, seed, way) for d, seed in trainings])

    def wanted(
        self, design: Design, seed: int, way: Way = PLAIN, epochs: int | None = None
    ) -> Wanted:
        """The training that `run` is asked for with these."""
        way = PLAIN if design == self.family.start else way
        return Wanted(design, seed, way.epochs(epochs or self.recipe.epochs), way)

    def known(self, design: Design, seed: int, epochs: int, how: str) -> Training | None:
        """The journal's record, if it still holds."""
        found = self.journal.find(design, seed, epochs, how)
        if found is None:
            return self._asked_now(self.ahead.find(design, seed, epochs, how)) or (
                self.earlier.take(self, design, seed, epochs)
                if self.earlier is not None and how == PLAIN_NAME
                else None
            )
        why = self.why_again(found, self.limit)
        if why is None:
            return found
        self.note(f"{self.family.describe(design)}, seed {seed}, is trained again: {why}")
        return None

    def trainer_of(self, wanted: Wanted) -> Trainer:
        """The trainer of this architecture: traced once for all its seeds of one fold and way."""
        design, seed, epochs, way = wanted
        recipe, data = self.recipe.with_epochs(epochs), self.data_of(seed)
        teacher = self.heritage.start_seed(seed) if way.inherits else None
        key = design, recipe, self.fold_of(seed), way, teacher
        if self._trainer is None or self._trainer[0] != key:
            self.release()
            if way.inherits:
                trainer = self.heritage.trainer(design, recipe, data, seed, way)
            else:
                trainer = self.make_trainer(design, recipe, data)
            self._trainer = key, trainer
        return self._trainer[1]

    def release(self) -> None:
        """Forget the architecture in memory: called when a trial ends, so that memory is freed."""
        self._trainer = None
        keras.backend.clear_session()

    def _train(self, wanted: Wanted) -> Training:
        # Before a pool trains as well: what an earlier process left is entered, and not left over.
        crashes = self.crashes
        if self.pool is not None and not self.family.given(wanted.design):
            self.pool.train(self, wanted)
            found = self.journal.find(*wanted.key)
            if found is None:
                raise CKRMError("pool", expected="a record of the training", received="none")
            return found
        training = self._crashed(wanted)
        if training is None:
            with self._room(), crashes.watched(wanted.key):
                training = attempt(self, wanted)
        self._record(training)
        return self.journal.find(*training.key) or training

    def _crashed(self, wanted: Wanted) -> Training | None:
        """The failure of a training that has ended its process too often; None: it may be tried."""
        why = self.crashes.why_not(wanted.key)
        if why is not None:
            return replace(failure(self, wanted, CrashError(why)), retryable=CRASH)
        if self.crashes.last is not None and self.crashes.last[0] == wanted.key:
            name = self.family.describe(wanted.design)
            self.note(
                f"{name}, seed {wanted.seed}, ended the process before this one "
                f"({self.crashes.last[1]}): it is tried once more"
            )
        return None
