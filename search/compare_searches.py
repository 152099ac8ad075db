"""The searches of a comparison: one after the other, or all at once on the workers of a pool."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.heritage import Heritage
from ckrm_tf.tuning.oracle import CKRMOracle
from ckrm_tf.tuning.runner import Runner
from search.compare_final import Found
from search.console import Progress
from search.session import make_scoring, make_tuner, search_all
from search.settings import Settings
from search.side_by_side import side_by_side
from search.strategies import SHORT, make_strategy
from search.workers import put_to_work

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool
    from search.compare import Options


def all_searches(
    console: Console,
    pool: WorkerPool | None,
    options: Options,
    settings: Settings,
    data: Dataset,
    runner: Runner,
    folder: Path,
    after: Callable[[Found], object],
) -> Found:
    """Every strategy in every repeat.

    Args:
        console: where the lines go.
        pool: the workers; None has one search run after the other.
        options, settings: of the comparison.
        data: what is trained on.
        runner: of the one journal that all share.
        folder: the run folder.
        after: called with what was found so far, repeat by repeat where there is no pool.
    """

    def search(name: str, repeat: int, label: str = "") -> list[Training]:
        known = None if name in SHORT else options.budget(name) // settings.seeds
        with Progress(
            console, known, settings.margin, settings.seeds, label, live=not label
        ) as progress:
            return run_strategy(progress, name, repeat, options, settings, data, runner, folder)

    if pool is None:
        return _one_by_one(console, options, search, after)
    with Progress(console, None, settings.margin) as shared:
        put_to_work(pool, runner, shared)
        return _at_once(pool, options, search)


def _one_by_one(
    console: Console,
    options: Options,
    search: Callable[[str, int], list[Training]],
    after: Callable[[Found], object],
) -> Found:
    """All searches one after the other."""
    found: Found = {name: [] for name in options.strategies}
    # Repeat by repeat, so that a run cut short has something of every strategy.
    for repeat in range(options.repeats):
        for name in options.strategies:
            console.rule(f"{name}, repeat {repeat + 1} of {options.repeats}", align="left")
            found[name].append(search(name, repeat))
        after(found)
    return found


def _at_once(
    pool: WorkerPool, options: Options, search: Callable[[str, int, str], list[Training]]
) -> Found:
    """All searches at once on the workers of a pool; each line says whose it is."""
    found = side_by_side(
        pool,
        (
            ((name, repeat), functools.partial(search, name, repeat, f"{name} {repeat + 1}  "))
            for repeat in range(options.repeats)
            for name in options.strategies
        ),
    )
    return {n: [found[n, r] for r in range(options.repeats)] for n in options.strategies}


def run_strategy(
    progress: Progress,
    name: str,
    repeat: int,
    options: Options,
    settings: Settings,
    data: Dataset,
    runner: Runner,
    folder: Path,
) -> list[Training]:
    """All trainings of one strategy in one repeat, in order, whether new or from the journal."""
    # One journal for all, and one who writes trainings elsewhere; each search hears of its own.
    runner, watch = copy.copy(runner), runner.on_training
    networks = options.budget(name) // settings.seeds
    # Repeats share no training seed, and all strategies of a repeat share theirs.
    mine = replace(settings, seed=settings.seed + repeat * settings.most_seeds)
    runner.heritage, runner.told = Heritage(runner, mine.seed), set()
    progress.describe = runner.family.describe
    oracle, metrics = make_strategy(name, mine, data, networks)
    scoring = None
    if isinstance(oracle, CKRMOracle):
        file = f"scores_{name}_{repeat + 1}.jsonl"
        named = replace(mine, strategy=name)
        scoring = make_scoring(named, folder, runner, progress, file)
        oracle.scoring, oracle.note = scoring, progress.note
    priced, paid = [], 0.0

    def on_training(training: Training, new: bool) -> None:
        # What scores cost is paid by the training that they led to.
        nonlocal paid
        spent = scoring.book.cpu_seconds if scoring is not None else 0.0
        whole = training.cpu_seconds + spent - paid
        priced.append(replace(training, cpu_seconds=whole))
        paid = spent
        progress.on_training(training, new)
        if watch is not None:
            watch(training, new)

    runner.on_training, runner.note = on_training, progress.note
    tuner = make_tuner(mine, oracle, runner, folder, extra_metrics=metrics)
    search_all(tuner, progress)
    return priced
