"""From trainings to rows: what each was, and the smallest acceptable network until then. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckrm_tf.design.design import Design
from ckrm_tf.judge.select import acceptable
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.history import Outcome


@dataclass(frozen=True)
class Row:
    """One training of one strategy in one repeat.

    Attributes:
        number: 1 for the starting network's first training.
        acceptable: a full training, at whose end the network's mean AUC over its seeds so far is at
            most the margin below the starting network's.
        best_params: parameters of the smallest acceptable network so far.
        seconds: recorded wall time; that of a training looked up is what it took when it ran.
        cpu_seconds: recorded processor time, the fairer one on a shared machine.
        full: trainings so far in units of full ones: epochs used / epochs of a full training.
    """

    strategy: str
    repeat: int
    number: int
    seed: int
    widths: str
    params: int
    macs: int
    val_auc: float | None
    acceptable: bool
    best_widths: str
    best_params: int
    best_macs: int
    seconds: float
    cumulative_seconds: float
    cpu_seconds: float
    cumulative_cpu_seconds: float
    steps: int
    epochs: int
    full: float
    status: str


def make_rows(
    strategy: str,
    repeat: int,
    trainings: Sequence[Training],
    epochs: int,
    margin: float,
    seeds: int = 1,
    describe: Callable[[Design], str] = str,
) -> list[Row]:
    """The trainings of one strategy in one repeat, in order.

    Args:
        strategy: its name.
        repeat: its number.
        trainings: in the order in which the strategy had them; the seeds of a trial follow each
            other; the first network is the starting one, and a network may come again later.
        epochs: of a full training; one with fewer is never a result.
        margin: loss of validation AUC that is still acceptable.
        seeds: trainings of a trial.
        describe: a network in a few words; see `Family`.
    """
    rows: list[Row] = []
    seconds, cpu, full = 0.0, 0.0, 0.0
    start = best = trainings[0]
    judged: dict[Design, Outcome] = {}
    latest: dict[Design, Training] = {}

    def kept(design: Design) -> bool:
        first, found = judged.get(start.design), judged.get(design)
        return first is not None and found is not None and acceptable(found, [first], margin)

    for trial in trials_of(trainings, seeds):
        for training in trial:
            if training.val_auc is not None and training.epochs >= epochs:
                before = judged[training.design].aucs if training.design in judged else ()
                aucs = (*before, training.val_auc)
                judged[training.design] = Outcome(training.design, aucs, training.params)
                latest[training.design] = training
            # A verdict needs all seeds: it stands at the trial's last training.
            last = training is trial[-1]
            if last:
                # A network that passed may have lost since, by another seed of it or of the start.
                good = [t for design, t in latest.items() if kept(design)]
                best = min([start, *good], key=lambda t: t.params)
            verdict = last and training.epochs >= epochs and kept(training.design)
            seconds += training.seconds
            cpu += training.cpu_seconds
            full += training.epochs / epochs
            rows.append(
                Row(
                    strategy,
                    repeat,
                    len(rows) + 1,
                    training.seed,
                    describe(training.design),
                    training.params,
                    training.macs,
                    training.val_auc,
                    verdict,
                    describe(best.design),
                    best.params,
                    best.macs,
                    training.seconds,
                    seconds,
                    training.cpu_seconds,
                    cpu,
                    training.steps,
                    training.epochs,
                    full,
                    training.status,
                )
            )
    return rows


def trials_of(trainings: Sequence[Training], seeds: int) -> list[list[Training]]:
    """Trainings gathered by trial; a network proposed twice in a row is two trials."""
    groups: list[list[Training]] = []

    def name(training: Training) -> tuple[Design, int, int]:
        return training.design, training.epochs, (training.seed - trainings[0].seed) // seeds

    for training in trainings:
        same = groups and name(groups[-1][0]) == name(training)
        if same and all(t.seed != training.seed for t in groups[-1]):
            groups[-1].append(training)
        else:
            groups.append([training])
    return groups
