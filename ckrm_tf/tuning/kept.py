"""What a search keeps of its trainings: their records, and weights that are those recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import keras
from keras_tuner.errors import FatalError

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.files import whole_file
from ckrm_tf.store.crashes import Crashes
from ckrm_tf.store.failures import ROOM, passing
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.owner import no_room
from ckrm_tf.store.record import COMPLETED, Key, Training
from ckrm_tf.store.weights import as_recorded, part_of, weights_file
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import PLAIN, PLAIN_NAME, Way

# The file of trainings that a pool began ahead, beside the journal.
AHEAD = "ahead.jsonl"


class NoRoomError(CKRMError, FatalError):
    """The disk is full: the search ends, since no further training could be kept."""


class Kept:
    """The records of one search and the files of weights beside them.

    Args:
        recipe: says how long a whole training is; another length has its own file of weights.
        journal: where trainings are recorded.
        family: of the networks.
        weights_dir: where the weights of each training are kept, or None to keep none.

    Attributes:
        ahead: what was trained before anybody asked for it waits here: the journal stays that of
            a search without a pool, line by line.
    """

    def __init__(
        self, recipe: Recipe, journal: Journal, family: Family, weights_dir: Path | None = None
    ) -> None:
        self.recipe, self.journal, self.family = recipe, journal, family
        self.weights_dir = weights_dir
        self.ahead = Journal(self.journal.path.with_name(AHEAD), family)
        self._from_ahead: set[Key] = set()
        self._sound: set[Key] = set()

    @cached_property
    def crashes(self) -> Crashes:
        """The trainings that ended their process."""
        return Crashes(self.journal.path.parent, keras.backend.backend())

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

    def has_weights(self, training: Training) -> bool:
        """Whether the weights are those of the record; earlier versions recorded no checksum."""
        path = self.weights_of(training)
        if path is None or training.key in self._sound or training.weights is None:
            return True
        sound = as_recorded(path, training)
        if sound:
            self._sound.add(training.key)
        return sound

    def why_again(self, found: Training, limit: float | None) -> str | None:
        """Why a recorded training is done once more; None where its record holds.

        Args:
            found: the record, of the journal.
            limit: seconds that the training may take now.
        """
        if found.status == COMPLETED:
            return None if self.has_weights(found) else "its weights are not those recorded"
        if self.journal.is_new(found):
            return None
        if self.crashes.bars(found):
            return None
        if found.retryable:
            return f"it failed for {found.retryable}"
        if found.limit is not None and (limit is None or limit > found.limit):
            return f"it had {found.limit:g} s"
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
