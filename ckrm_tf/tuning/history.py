"""What a proposal sees: the networks so far, each with its AUC and the signals of its widths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from ckrm_tf.criteria.base import SIGNAL_PARTS, Signal
from ckrm_tf.design.design import Design
from ckrm_tf.store.record import Training
from ckrm_tf.train.way import PLAIN, Way


@dataclass(frozen=True)
class Outcome:
    """One finished trial.

    Attributes:
        design: the network trained.
        aucs: validation AUC of each seed; empty when the trial failed.
        params: trainable parameters.
        signals: what the criterion said of each width, averaged over the seeds.
        failures: further trainings that failed.
        folds: the fold that each AUC was validated on; empty without folds.
    """

    design: Design
    aucs: tuple[float, ...]
    params: int
    signals: Mapping[str, Signal] = field(default_factory=dict)
    failures: int = 0
    folds: tuple[int, ...] = ()

    @property
    def failed(self) -> bool:
        """No seed could be trained."""
        return not self.aucs

    @property
    def auc(self) -> float:
        """Mean validation AUC; below any other when the trial failed."""
        return fmean(self.aucs) if self.aucs else float("-inf")

    def below(self, other: Outcome) -> float:
        """How far the mean AUC lies below another network's.

        Where both have folds, the difference is taken within each fold that both were trained on,
        since some folds are harder than others.
        """
        common = set(self.folds) & set(other.folds)
        if not common or self.failed or other.failed:
            return other.auc - self.auc
        return fmean(other.auc_on(fold) - self.auc_on(fold) for fold in sorted(common))

    def auc_on(self, fold: int) -> float:
        """Mean AUC of the trainings of one fold."""
        return fmean(a for a, f in zip(self.aucs, self.folds, strict=True) if f == fold)

    @property
    def tries(self) -> int:
        """Trainings so far; a seed that fails is not asked for without end."""
        return len(self.aucs) + self.failures

    @property
    def redundancy(self) -> float:
        """Mean redundancy over the widths that have a signal."""
        return fmean(s.redundancy for s in self.signals.values()) if self.signals else 0.0

    def objective(self, penalty: float, start: Outcome | None = None) -> float:
        """Mean AUC - penalty x mean redundancy.

        Args:
            penalty: weight of the redundancy.
            start: the AUC is taken above that of this network, fold by fold where there are any.
        """
        auc = self.auc if start is None else -self.below(start)
        return auc - penalty * self.redundancy

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "design": self.design.to_dict(),
            "aucs": list(self.aucs),
            "params": self.params,
            "signals": {name: asdict(signal) for name, signal in self.signals.items()},
            "failures": self.failures,
            "folds": list(self.folds),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_dict`."""
        return cls(
            Design.from_dict(data["design"]),
            tuple(data["aucs"]),
            data["params"],
            {name: Signal(**signal) for name, signal in data["signals"].items()},
            data["failures"],
            tuple(data.get("folds", ())),
        )


Scores = Mapping[tuple[Design, Design], float]
"""Score of a slice by (trained network, design): its AUC on images kept apart for that."""


class History(Sequence[Outcome]):
    """The outcomes of a search so far, and the scores of slices where there can be any.

    Args:
        outcomes: one per network, the starting network's first.
        scores: what was scored so far; None where nothing can be scored, as in a foreign tuner.
    """

    def __init__(self, outcomes: Iterable[Outcome], scores: Scores | None = None) -> None:
        self._outcomes = tuple(outcomes)
        self.scores = scores

    def __getitem__(self, index: Any) -> Any:
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)


def speaking(trainings: Iterable[Training], epochs: int, way: Way = PLAIN) -> list[Training]:
    """The trainings that speak for their networks, in their order.

    Those are the plain ones of all epochs; of a network that has none that succeeded, those that a
    search made in its way too.

    Args:
        trainings: of one search.
        epochs: of its recipe.
        way: what its networks take over from the start.
    """
    found = list(trainings)
    whole, ours = PLAIN.mark(epochs), way.mark(epochs)
    sure = {t.design for t in found if (t.how, t.epochs) == whole and t.val_auc is not None}
    return [
        t
        for t in found
        if (t.how, t.epochs) == whole or ((t.how, t.epochs) == ours and t.design not in sure)
    ]


def outcomes(trainings: Iterable[Training]) -> list[Outcome]:
    """Trainings gathered by network, in the order of their first seed."""
    found = []
    for t in trainings:
        aucs = () if t.val_auc is None else (t.val_auc,)
        folds = () if t.val_auc is None or t.fold is None else (t.fold,)
        found.append(Outcome(t.design, aucs, t.params, t.signals, folds=folds))
    return merged(found)


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One outcome per network, in order of first appearance: a network may be tried again.

    AUCs follow each other; signals are averaged over the seeds.
    """
    groups: dict[Design, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.design, []).append(outcome)
    return [_merge(group) if len(group) > 1 else group[0] for group in groups.values()]


def _merge(group: Sequence[Outcome]) -> Outcome:
    heard = [outcome for outcome in group if not outcome.failed]

    def mean(name: str, part: str) -> float:
        told = [(getattr(o.signals[name], part), len(o.aucs)) for o in heard if name in o.signals]
        return sum(value * n for value, n in told) / sum(n for _, n in told)

    names = dict.fromkeys(name for outcome in heard for name in outcome.signals)
    signals = {n: Signal(*(mean(n, part) for part in SIGNAL_PARTS)) for n in names}
    aucs = tuple(auc for outcome in heard for auc in outcome.aucs)
    failures = sum(outcome.failures or outcome.failed for outcome in group)
    folds = tuple(fold for outcome in heard for fold in outcome.folds)
    return Outcome(group[0].design, aucs, group[0].params, signals, failures, folds)
