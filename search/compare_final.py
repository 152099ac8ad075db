"""What of a comparison holds: its results trained again with seeds that no search has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.design.design import Design
from ckrm_tf.reporting.comparison import GUIDED
from ckrm_tf.reporting.words import plural
from ckrm_tf.store.opened import log_opening
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.history import Outcome, outcomes, speaking
from search.compare_rows import trials_of
from search.compare_tables import spread_of
from search.console import Progress
from search.final import final_comparison
from search.final_stats import ARMS, keep_report, show_final
from search.retrain import confirmed
from search.session import make_runner
from search.settings import Settings
from search.workers import put_to_work

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool

Found = dict[str, list[list[Training]]]
"""Trainings by strategy and repeat."""

FOLDER = "final"


def history_of(settings: Settings, trainings: Sequence[Training]) -> list[Outcome]:
    """One outcome per network of the full trainings, the starting network first."""
    return outcomes(t for t in trainings if t.epochs >= settings.epochs)


def begun_within(
    trainings: Sequence[Training], budget: int, epochs: int, seeds: int = 1
) -> list[Training]:
    """The trainings of the trials whose last one began before so many full ones were used up."""
    found: list[Training] = []
    spent = 0
    for trial in trials_of(trainings, seeds):
        begun = spent + sum(t.epochs for t in trial[:-1])
        if begun >= budget * epochs:
            break
        found += trial
        spent = begun + trial[-1].epochs
    return found


def confirm_all(
    console: Console,
    settings: Settings,
    data: Dataset,
    folder: Path,
    found: Found,
    seeds: Sequence[int],
    budgets: Mapping[str, Sequence[int]],
    pool: WorkerPool | None = None,
) -> dict[str, Any]:
    """For each strategy, budget and repeat, the smallest network that holds over new seeds.

    The smallest of many networks that pass once is the one chance favoured most, all the more the
    more were tried. From the smallest on, each is trained with every seed until the mean validation
    AUC of one keeps to half the margin of the starting network's. Its mean is over the same seeds
    and its trainings in all repeats: one bar for all, since three trainings of it scatter by as
    much as the half margin.

    Args:
        found: trainings by strategy and repeat.
        seeds: that no repeat has used.
        budgets: by strategy, the full trainings after which it is looked at.
        pool: trains the seeds of a network at once.

    Returns:
        Plain values: the seeds, validation AUC of the start's other trainings, and by strategy and
        budget the designs, parameters and multiply-accumulates of each repeat.
    """
    held: dict[str, Any] = {name: {} for name in found}
    with Progress(console, None, settings.margin, len(seeds)) as progress, progress.confirming():
        runner = make_runner(settings, data, folder / FOLDER, progress)
        put_to_work(pool, runner, progress)
        known = _known(settings, runner.family.start, found)
        console.print(
            f"bar       the start's {len(seeds)} new seed(s) and {plural(len(known), 'training')} "
            "of the searches",
            highlight=False,
        )
        for name, repeats in found.items():
            for budget in budgets[name]:
                title = f"{name}, {budget} trainings: {len(seeds)} new seed(s)"
                console.rule(title, align="left")
                best = []
                for trainings in repeats:
                    within = begun_within(trainings, budget, settings.epochs, settings.seeds)
                    history = history_of(settings, within)
                    best.append(confirmed(runner, history, seeds, settings.margin, known))
                cost = [runner.family.cost(design) for design in best]
                records = [runner.family.to_record(design) for design in best]
                held[name][budget] = {
                    **{form: [record[form] for record in records] for form in records[0]},
                    "params": spread_of(c.params for c in cost),
                    "macs": spread_of(c.macs for c in cost),
                }
    return {"seeds": list(seeds), "known": known, "strategies": held}


def _known(settings: Settings, start: Design, found: Found) -> list[float]:
    """Validation AUC of the start's trainings in the searches, each seed once."""
    trainings = (t for repeats in found.values() for repeat in repeats for t in repeat)
    plain = speaking(trainings, settings.epochs)
    aucs = {t.seed: t.val_auc for t in plain if t.design == start}
    return [auc for auc in aucs.values() if auc is not None]


def finish(
    console: Console,
    settings: Settings,
    data: Dataset,
    folder: Path,
    found: Found,
    seeds: Sequence[int],
    pool: WorkerPool | None = None,
) -> None:
    """Retrain the guided search's best network and the start with new seeds; open the test split.

    Args:
        seeds: that no repeat has used, so that none was chosen for its luck.
        pool: as for `confirm_all`.
    """
    lead = GUIDED if GUIDED in found else next(iter(found))
    # The repeats share no seed: together they are one history with more seeds a network.
    history = history_of(settings, [training for each in found[lead] for training in each])
    console.rule(f"final: {len(seeds)} new seed(s)", align="left")
    with Progress(console, len(ARMS), settings.margin, len(seeds)) as progress:
        runner = make_runner(settings, data, folder / FOLDER, progress)
        put_to_work(pool, runner, progress)
        with progress.confirming():
            best = confirmed(runner, history, seeds, settings.margin)
        start = runner.family.start
        report = final_comparison(data, runner, start, best, seeds, settings.margin)
    path = keep_report(folder, "final", report)
    log_opening(folder, best, path.name)
    show_final(console, report)
