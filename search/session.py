"""A run folder: what it holds, whether it may be continued, and the parts of a search in it."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from ckrm_tf.data import Dataset
from ckrm_tf.data.dataset import Split
from ckrm_tf.data.folds import search_folds
from ckrm_tf.data.hold_out import hold_out
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import FAILED
from ckrm_tf.store.scores import ScoreBook
from ckrm_tf.store.weights import WEIGHTS
from ckrm_tf.train.gaze import GazeStart, check_gaze
from ckrm_tf.tuning.oracle import CKRMOracle
from ckrm_tf.tuning.registry import kind, strategy
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.setup import Setup
from ckrm_tf.tuning.slices import SliceScorer
from ckrm_tf.tuning.tuner import CKRMTuner
from search.console import Progress
from search.reuse import earlier
from search.settings import Settings
from search.watchers import told

# A seed that falls this far below the starting network's AUC ends its trial: the other seeds
# would not bring the mean back.
HOPELESS = 0.08

# Trials that fail one after the other before the search gives up: something else is wrong then.
MAX_FAILURES = 5


def data_fingerprint(data: Dataset) -> str:
    """A short hash of every pixel and label, so that a run never goes on with other data."""
    digest = hashlib.sha256()
    for split in data.splits().values():
        digest.update(np.ascontiguousarray(split.images).tobytes())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()[:16]


def check_fit(settings: Settings, data: Dataset, family: Family | None = None) -> Cost:
    """The starting network's cost, once it is sure that these data can train it.

    Raises:
        CKRMError: images too small for the network; with ggcam, data without gaze maps.
    """
    if settings.ggcam:
        check_gaze(data)
    family = family or settings.network(data.input_shape, data.classes)
    return family.cost(family.start)


def make_runner(
    settings: Settings,
    data: Dataset,
    folder: Path,
    progress: Progress | None = None,
    family: Family | None = None,
) -> Runner:
    """The runner that trains this search's networks and reports to `progress`.

    Args:
        family: of a model that was brought; by default the family that the settings name.
    """
    family = family or settings.network(data.input_shape, data.classes)
    if progress is not None:
        progress.describe = family.describe
    pixels = data_fingerprint(data) if settings.reuse else ""
    data, judge = held_out(settings, data)
    setup = Setup(
        data,
        settings.recipe,
        family,
        settings.criterion,
        gaze=GazeStart(a=settings.ggcam_a, e=settings.ggcam_e) if settings.ggcam else None,
        folds=search_folds(data, settings.fold_count(data), settings.seed),
        limit=settings.training_timeout,
        tensorboard=folder / "tensorboard" if settings.tensorboard else None,
    )

    def shown(design: Design, seed: int) -> list[keras.callbacks.Callback]:
        if progress is None:
            return []
        return [progress.epochs(design, seed, settings.epochs, runner.data_of(seed))]

    runner = setup.runner(
        Journal(folder / "trials.jsonl", family),
        folder / WEIGHTS,
        shown,
        on_training=progress.on_training if progress else None,
        note=progress.note if progress else warnings.warn,
        way=settings.way,
        first=settings.seed,
    )
    runner.judge = judge
    tell = progress.note if progress else print
    runner.earlier = earlier(settings, data, pixels, folder, family, tell)
    runner.on_training = told(runner.on_training, settings, folder, family, tell)
    return runner


def held_out(settings: Settings, data: Dataset) -> tuple[Dataset, Split | None]:
    """The data that networks are trained on, and the images that score slices, where any do."""
    if not settings.held_out:
        return data, None
    return hold_out(data, settings.held_out, settings.seed)


def make_scoring(
    settings: Settings,
    folder: Path,
    runner: Runner,
    progress: Progress | None = None,
    file: str = "scores.jsonl",
) -> SliceScorer | None:
    """What scores slices for a search, or None where its strategy asks for none.

    Args:
        folder: where the scores are recorded.
        runner: has the weights of the trained networks, and the images that were kept apart.
        file: the name of the record.
    """
    if runner.judge is None or not kind(settings.strategy).scored:
        return None
    return SliceScorer(
        runner,
        runner.data,
        runner.judge,
        ScoreBook(folder / file),
        progress.on_score if progress else None,
        settings.seed,
        settings.seed if kind(settings.strategy).dealt else None,
    )


def make_oracle(settings: Settings, data: Dataset, family: Family | None = None) -> CKRMOracle:
    """The oracle of the chosen strategy; `family` as in `make_runner`."""
    return CKRMOracle(
        family or settings.network(data.input_shape, data.classes),
        settings.rule,
        strategy(settings.strategy, settings.seed),
        max_trials=settings.trials,
        seed=settings.seed,
        max_consecutive_failed_trials=MAX_FAILURES,
    )


def make_tuner(
    settings: Settings, oracle: keras_tuner.Oracle, runner: Runner, folder: Path, **options: Any
) -> CKRMTuner:
    """The tuner of a search, ready for `search()`."""
    return CKRMTuner(
        oracle,
        runner,
        seeds=settings.seed_list,
        directory=folder / "keras_tuner",
        floor=settings.floor,
        penalty=settings.penalty,
        hopeless=HOPELESS,
        **options,
    )


def search_all(tuner: CKRMTuner, progress: Progress) -> None:
    """Run every trial.

    Raises:
        CKRMError: when KerasTuner gives up after too many failures in a row.
    """
    try:
        tuner.search()
    except RuntimeError as error:
        if "consecutive failures" not in str(error):
            raise
        failed = [t.reason for t in progress.trainings if t.status == FAILED]
        raise CKRMError(
            "too many trainings failed in a row",
            expected="finished trainings",
            received=failed[-1] if failed else error,
        ) from error
