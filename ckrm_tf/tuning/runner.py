"""One training of a search: train, measure, record, whatever happens."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import keras
from keras_tuner.errors import FatalError

from ckrm_tf.criteria.registry import SignalRule, signal_rule
from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.files import checksum, whole_file
from ckrm_tf.measures.table import measured_lambdas
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.store.failures import ROOM, interrupted, passing
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.owner import no_room
from ckrm_tf.store.record import COMPLETED, FAILED, Key, Training
from ckrm_tf.store.weights import as_recorded, part_of, weights_file
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.limit import TimedOutError, TimeLimit
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer
from ckrm_tf.train.way import PLAIN, PLAIN_NAME, Way
from ckrm_tf.tuning.heritage import Heritage
from ckrm_tf.tuning.reuse import Earlier
from ckrm_tf.tuning.wanted import Wanted

if TYPE_CHECKING:
    from ckrm_tf.tuning.setup import Setup

# Training images on which responses are measured.
SEEN = 256
# The file of trainings that a pool began ahead, beside the journal.
AHEAD = "ahead.jsonl"


class NoRoomError(CKRMError, FatalError):
    """The disk is full: the search ends, since no further training could be kept."""


class Pool(Protocol):
    """What trains elsewhere, several at once: `ckrm_tf.cluster.pool.WorkerPool`."""

    def train(self, runner: Runner, wanted: Wanted) -> None:
        """Train and hand the outcome to `Runner.take`; returns when that is done."""

    def expect(self, runner: Runner, wanted: Iterable[Wanted]) -> None:
        """Begin trainings that will be asked for, as soon as there is room."""

    @property
    def room(self) -> bool:
        """Whether more trainings could be begun soon than are known of."""


class Runner:
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
        self.folds, self.way = folds, way
        self.heritage = Heritage(self, first)
        self.judge: Split | None = None
        self.earlier: Earlier | None = None
        self.data, self.recipe, self.journal = data, recipe, journal
        self.family, self.signals = family, signals or signal_rule("ckrm")
        self.weights_dir, self.on_training = weights_dir, on_training
        self.make_trainer = make_trainer or self.plain_trainer
        self.make_callbacks = make_callbacks or (lambda design, seed: ())
        self.limit, self.note = limit, note
        self.pool: Pool | None = None
        self.setup: Setup | None = None
        self.hints: Iterator[Wanted] = iter(())
        # What was trained before anybody asked for it waits here: the journal stays that of a
        # search without a pool, line by line.
        self.ahead = Journal(self.journal.path.with_name(AHEAD), family)
        self._from_ahead: set[Key] = set()
        self._sound: set[Key] = set()
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
        if found.status == COMPLETED:
            why = None if self.has_weights(found) else "its weights are not those recorded"
        elif self.journal.is_new(found):
            why = None
        elif found.retryable:
            why = f"it failed for {found.retryable}"
        elif found.limit is not None and (self.limit is None or self.limit > found.limit):
            why = f"it had {found.limit:g} s"
        else:
            why = None
        if why is None:
            return found
        self.note(f"{self.family.describe(design)}, seed {seed}, is trained again: {why}")
        return None

    def _asked_now(self, found: Training | None) -> Training | None:
        """Enter what was trained ahead in the journal, if it holds; the record."""
        if found is None:
            return None
        new = self.ahead.is_new(found)
        if not (self.has_weights(found) if found.status == COMPLETED else new):
            return None
        self._record(found)
        if new:
            self._from_ahead.add(found.key)
        return found

    def has_weights(self, training: Training) -> bool:
        """Whether the weights are those of the record; earlier versions recorded no checksum."""
        path = self.weights_of(training)
        if path is None or training.key in self._sound or training.weights is None:
            return True
        sound = as_recorded(path, training)
        if sound:
            self._sound.add(training.key)
        return sound

    def release(self) -> None:
        """Forget the architecture in memory: called when a trial ends, so that memory is freed."""
        self._trainer = None
        keras.backend.clear_session()

    def weights_path(
        self, design: Design, seed: int, epochs: int | None = None, how: str = PLAIN_NAME
    ) -> Path | None:
        """Where the weights of a training are kept; another length or way has its own file."""
        if self.weights_dir is None:
            return None
        whole = self.recipe.epochs
        return weights_file(self.weights_dir, design, seed, part_of(epochs or whole, whole, how))

    def weights_of(self, training: Training) -> Path | None:
        """Where the weights of a recorded training are kept."""
        return self.weights_path(*training.key)

    def kept_weights(self, design: Design, seeds: Sequence[int], way: Way = PLAIN) -> list[Path]:
        """The weights of these trainings, at least one.

        Raises:
            CKRMError: when one is not there.
        """
        epochs = way.epochs(self.recipe.epochs)
        paths = [self.weights_path(design, seed, epochs, way.how) for seed in seeds]
        found = [path for path in paths if path is not None and path.exists()]
        if not found or len(found) < len(paths):
            raise CKRMError(
                "weights",
                expected=f"those of {self.family.describe(design)}, seeds {list(seeds)}",
                received=f"{len(found)} file(s)",
                hint="Were they moved out of the run folder?",
            )
        return found

    def _train(self, wanted: Wanted) -> Training:
        if self.pool is not None and not self.family.given(wanted.design):
            self.pool.train(self, wanted)
            found = self.journal.find(*wanted.key)
            if found is None:
                raise CKRMError("pool", expected="a record of the training", received="none")
            return found
        training = self.attempt(*wanted)
        self._record(training)
        return self.journal.find(*training.key) or training

    def attempt(self, design: Design, seed: int, epochs: int, way: Way = PLAIN) -> Training:
        """Train here and keep the weights; the record is nowhere written yet."""
        cost = self.family.cost(design)
        started, cpu = time.perf_counter(), time.process_time()
        try:
            training = self._train_and_measure(design, seed, epochs, way, cost)
        except Exception as error:  # whatever a training dies of is recorded; the search goes on
            if interrupted(error):
                raise KeyboardInterrupt from error
            self.release()
            training = self.failed(Wanted(design, seed, epochs, way), error)
            training = replace(training, setup_seconds=time.perf_counter() - started)
        spent = time.process_time() - cpu
        return replace(training, cpu_seconds=spent, fold=self.fold_of(seed), how=way.how)

    def failed(self, wanted: Wanted, error: Exception) -> Training:
        """The record of a training that died of `error`."""
        design, seed, epochs, way = wanted
        cost = self.family.cost(design)
        return Training(
            design,
            seed,
            epochs,
            FAILED,
            cost.params,
            cost.macs,
            reason=f"{type(error).__name__}: {error}"[:500],
            retryable=passing(error),
            limit=error.limit if isinstance(error, TimedOutError) else None,
            finished=_now(),
            fold=self.fold_of(seed),
            how=way.how,
        )

    def take(self, training: Training, weights: bytes | None, asked: bool = True) -> None:
        """Keep what was trained elsewhere: the bytes of its weights, then its record.

        Args:
            training: the record.
            weights: the bytes of the file, None where none are kept.
            asked: somebody waits for it; else it is recorded apart until somebody does.

        Raises:
            NoRoomError: the disk is full.
        """
        path = self.weights_of(training)
        if path is not None and weights is not None:
            with self._room():
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as part:
                    part.write_bytes(weights)
        self._record(training, self.journal if asked else self.ahead)

    def _record(self, training: Training, journal: Journal | None = None) -> None:
        with self._room():
            (self.journal if journal is None else journal).append(training)
        if training.retryable == ROOM:
            raise no_room(str(self.journal.path.parent), NoRoomError)
        if training.status == COMPLETED:
            self._sound.add(training.key)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Within it a full disk is a `NoRoomError`."""
        try:
            yield
        except OSError as error:
            if passing(error) != ROOM:
                raise
            raise no_room(str(self.journal.path.parent), NoRoomError) from error

    def _train_and_measure(
        self, design: Design, seed: int, epochs: int, way: Way, cost: Cost
    ) -> Training:
        trainer = self._trainer_of(design, epochs, seed, way)
        if self.family.given(design):
            trained = trainer.judge()
        else:
            trained = trainer.train(seed, [*self._time_limit(), *self.make_callbacks(design, seed)])
        started = time.perf_counter()
        seen = self.data_of(seed)
        images = scaled(evenly(seen.train.images, SEEN), seen.scale)
        signals = self.signals(trainer.model, self.family, images)
        lam = measured_lambdas(trainer.model)
        weights = self._keep(trainer.model, self.weights_path(design, seed, epochs, way.how))
        return Training(
            design,
            seed,
            epochs,
            COMPLETED,
            cost.params,
            cost.macs,
            val_auc=trained.val_auc,
            loss=trained.loss,
            lam=lam,
            signals=signals,
            steps=trained.steps,
            setup_seconds=trained.setup_seconds,
            step_seconds=trained.step_seconds,
            measure_seconds=time.perf_counter() - started,
            weights=weights,
            finished=_now(),
        )

    def _time_limit(self) -> list[keras.callbacks.Callback]:
        return [] if self.limit is None else [TimeLimit(self.limit)]

    @staticmethod
    def _keep(model: keras.Model, path: Path | None) -> str | None:
        """Write a model's weights; their checksum."""
        if path is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            model.save_weights(part)
            return checksum(part)

    def _trainer_of(self, design: Design, epochs: int, seed: int, way: Way) -> Trainer:
        """The trainer of this architecture: traced once for all its seeds of one fold and way."""
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
