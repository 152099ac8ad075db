"""The end of a search on the test split, which a run folder opens once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.stats import compare_trained_models, non_inferiority
from ckrm_tf.store.opened import opening, remember
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.way import PLAIN_NAME
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.runner import Runner
from search.retrain import probabilities
from search.settings import Settings


def verdicts(
    console: Console,
    settings: Settings,
    data: Dataset,
    runner: Runner,
    folder: Path,
    start: Outcome,
    best: Outcome,
) -> dict[str, Any]:
    """Both verdicts on the test split as plain values, printed; empty where it stays closed.

    `networks` is about networks trained as these were, `models` about the two trained ones. The
    split is opened once a folder. A search that goes on is told what came of it then, and for
    which network.
    """
    opened = opening(folder)
    if settings.no_test or (settings.model and settings.unseen == "none"):
        flag = "--no-test" if settings.no_test else "--unseen none"
        was = "not opened" if opened is None else f"opened on {opened.when}, not shown"
        _say(console, f"test split   {was} ({flag}): no verdict")
        return {}
    if opened is None:
        first, second = (
            probabilities(runner, o.design, trained_seeds(settings, runner, o), data.test)
            for o in (start, best)
        )
        labels, margin = data.test.labels, settings.margin
        networks = non_inferiority(labels, first, second, margin=margin)
        models = compare_trained_models(labels, first[0], second[0], margin=margin)
        lines = (f"test split   {networks}", f"the export   {models}")
        figures = {"networks": asdict(networks), "models": asdict(models)}
        opened = remember(folder, best.design, figures, lines)
    elif opened.design == best.design:
        _say(console, f"test split   opened on {opened.when}, and not again:")
    else:
        _say(
            console,
            f"test split   opened on {opened.when} for {runner.family.describe(opened.design)}, "
            "and not again: no verdict on the network that is recommended now",
        )
        return {}
    for line in opened.lines:
        _say(console, line)
    return opened.figures


def weights_of(settings: Settings, runner: Runner, outcome: Outcome) -> list[Path]:
    """The weight files of those trainings, the first seed first.

    Raises:
        CKRMError: when one is not there.
    """
    return runner.kept_weights(outcome.design, trained_seeds(settings, runner, outcome))


def trained_seeds(settings: Settings, runner: Runner, outcome: Outcome) -> list[int]:
    """The seeds of the search with which a network was trained plainly, the first one first."""
    # Further seeds are those of `search.final`.
    seeds = range(settings.seed, settings.seed + settings.most_seeds)
    return sorted(
        training.seed
        for training in runner.journal.current()
        if training.design == outcome.design
        and training.status == COMPLETED
        and training.epochs == settings.epochs
        and training.how == PLAIN_NAME
        and training.seed in seeds
    )


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
