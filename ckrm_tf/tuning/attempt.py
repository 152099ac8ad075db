"""One training in this process: train, measure, keep the weights; its record, whatever happens."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from ckrm_tf.design.cost import Cost
from ckrm_tf.files import checksum, whole_file
from ckrm_tf.measures.table import measured_lambdas
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.store.failures import interrupted, passing
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.limit import TimedOutError, TimeLimit
from ckrm_tf.tuning.wanted import Wanted

if TYPE_CHECKING:
    from ckrm_tf.tuning.runner import Runner

# Training images on which responses are measured.
SEEN = 256


def attempt(runner: Runner, wanted: Wanted) -> Training:
    """Train here and keep the weights; the record is nowhere written yet.

    Args:
        runner: of the search: its data, recipe, trainers and folder of weights.
        wanted: the training.
    """
    cost = runner.family.cost(wanted.design)
    started, cpu = time.perf_counter(), time.process_time()
    try:
        training = _trained(runner, wanted, cost)
    except Exception as error:  # whatever a training dies of is recorded; the search goes on
        if interrupted(error):
            raise KeyboardInterrupt from error
        runner.release()
        training = failure(runner, wanted, error)
        training = replace(training, setup_seconds=time.perf_counter() - started)
    spent = time.process_time() - cpu
    fold = runner.fold_of(wanted.seed)
    return replace(training, cpu_seconds=spent, fold=fold, how=wanted.way.how)


def failure(runner: Runner, wanted: Wanted, error: Exception) -> Training:
    """The record of a training that died of `error`."""
    design, seed, epochs, way = wanted
    cost = runner.family.cost(design)
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
        fold=runner.fold_of(seed),
        how=way.how,
    )


def _trained(runner: Runner, wanted: Wanted, cost: Cost) -> Training:
    design, seed, epochs, _ = wanted
    trainer = runner.trainer_of(wanted)
    if runner.family.given(design):
        trained = trainer.judge()
    else:
        limit = [] if runner.limit is None else [TimeLimit(runner.limit)]
        trained = trainer.train(seed, [*limit, *runner.make_callbacks(design, seed)])
    started = time.perf_counter()
    seen = runner.data_of(seed)
    images = scaled(evenly(seen.train.images, SEEN), seen.scale)
    signals = runner.signals(trainer.model, runner.family, images)
    lam = measured_lambdas(trainer.model)
    weights = _keep(trainer.model, runner.weights_path(*wanted.key))
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


def _keep(model: keras.Model, path: Path | None) -> str | None:
    """Write a model's weights; their checksum."""
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        model.save_weights(part)
        return checksum(part)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
