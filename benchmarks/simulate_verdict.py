"""The verdict against made-up networks whose true difference is known: coverage and false verdicts.

    OMP_NUM_THREADS=1 python benchmarks/simulate_verdict.py [--draws 2000] [--only "3x3 folds"]

In every draw the candidate is truly worse by exactly the margin, so that "non-inferior" is false.
Printed for each design: how often the interval covers the true difference (.93 to .98 wanted), how
often the verdict is falsely "non-inferior" (.025 is meant, .01 to .035 wanted), each with its
Monte Carlo standard error, and the mean half width over the true standard deviation of the
difference. A figure outside its bounds by more than two standard errors is marked "miss", one
outside by less "near".

Two worlds. `Scores`: the score of an image is a signal and normal chance, part of it shared by all
networks, by the trainings of one network and by none, and every training has a signal of its own;
folds share nothing. `Learners`: networks of random ReLU features and a ridge readout really are
trained on the other folds, so that folds share training images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fire
import numpy as np
from scipy.stats import norm

from ckrm_tf.stats import NonInferiority, non_inferiority

CLASSES = 3
COVERAGE, FALSE = (0.93, 0.98), (0.01, 0.035)
Draw = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Scores:
    """Networks as normal scores.

    Attributes:
        images: in all, a multiple of the classes and folds.
        trainings: of the reference and of the candidate, in each fold.
        folds: how many, each with trainings of its own.
        sd: standard deviation of the true AUC from training to training, of either arm.
        paired: training i of both arms shares half of what is its own.
        loss: true loss of macro AUC, the margin of the test.
    """

    images: int = 111
    trainings: tuple[int, int] = (3, 3)
    folds: int = 1
    sd: tuple[float, float] = (0.01, 0.01)
    paired: bool = False
    loss: float = 0.02
    auc: float = 0.9
    network_share: float = 0.08
    training_share: float = 0.22

    def __str__(self) -> str:
        k = str(self.trainings[0])
        if self.trainings[0] != self.trainings[1]:
            k = "/".join(map(str, self.trainings))
        sd = f"{self.sd[0]:g}" if self.sd[0] == self.sd[1] else "/".join(map(str, self.sd))
        folds = f"{self.folds}x{k} folds" if self.folds > 1 else f"{k} trainings"
        return f"{self.images} images, {folds}, sd {sd}{', paired' if self.paired else ''}"

    def draws(self, rng: np.random.Generator, count: int) -> Iterator[Draw]:
        """Labels, both arms' scores and the folds, again and again."""
        # Columns are centred, as log probabilities are but for one constant, so that a column's
        # chance has the variance 1 - 1 / classes.
        noise = 2 * (1 - 1 / CLASSES)
        labels = np.arange(self.images) % CLASSES
        folds = np.arange(self.images) // CLASSES % self.folds
        signals, spreads = [], []
        for sd, auc in zip(self.sd, (self.auc, self.auc - self.loss), strict=True):
            spread = sd * np.sqrt(noise) / norm.pdf(norm.ppf(auc))
            spreads.append(spread)
            # The mean over trainings of norm.cdf(signal / sqrt(noise)) is then `auc` exactly.
            signals.append(norm.ppf(auc) * np.sqrt(noise + spread**2))
        own = np.sqrt(self.training_share)
        shape = (self.images, CLASSES)
        for _ in range(count):
            shared = rng.normal(size=shape) * np.sqrt(1 - self.network_share - self.training_share)
            pair = rng.normal(size=(max(self.trainings), *shape))
            pair_seed = rng.normal(size=(max(self.trainings), self.folds, 1))
            arms = []
            for k, signal, spread in zip(self.trainings, signals, spreads, strict=True):
                chance = rng.normal(size=(k, *shape))
                seed = rng.normal(size=(k, self.folds, 1))
                if self.paired:
                    chance = np.sqrt(0.5) * (chance + pair[:k])
                    seed = np.sqrt(0.5) * (seed + pair_seed[:k])
                network = rng.normal(size=shape) * np.sqrt(self.network_share)
                score = shared + network + own * chance
                score = score - score.mean(axis=2, keepdims=True)
                heights = (signal + spread * seed)[:, folds]
                arms.append(score + heights * np.eye(CLASSES)[labels])
            yield labels, arms[0], arms[1], folds if self.folds > 1 else None

    def margin(self, _: list[float]) -> float:
        """The true loss."""
        return self.loss


@dataclass(frozen=True)
class Learners:
    """Random ReLU features with a ridge readout, trained on the other folds.

    Attributes:
        images: in all, a multiple of the classes.
        trainings: of each arm, in each fold.
        folds: how many.
        units: random features of the reference and of the candidate.
        ridge: how strongly the readout is held back; little lets the training images count.
    """

    images: int
    trainings: int
    folds: int
    units: tuple[int, int]
    ridge: float
    inputs: int = 12
    paired: bool = False

    def __str__(self) -> str:
        units = "/".join(map(str, self.units))
        return (
            f"learners {units}, ridge {self.ridge:g}: {self.images} images, "
            f"{self.folds}x{self.trainings} folds"
        )

    def draws(self, rng: np.random.Generator, count: int) -> Iterator[Draw]:
        """Labels, both arms' scores and the folds, again and again."""
        means = 0.45 * rng.normal(size=(CLASSES, self.inputs))
        bend = rng.normal(size=(self.inputs, self.inputs)) / np.sqrt(self.inputs)
        labels = np.arange(self.images) % CLASSES
        folds = np.arange(self.images) // CLASSES % self.folds
        for _ in range(count):
            images = means[labels] + rng.normal(size=(self.images, self.inputs))
            images = images + 0.7 * np.tanh(images @ bend)
            arms = [np.empty((self.trainings, self.images, CLASSES)) for _ in self.units]
            for fold in range(self.folds):
                inside = folds == fold
                for arm, units in zip(arms, self.units, strict=True):
                    for one in arm:
                        one[inside] = self._train(rng, images, labels, inside, units)
            yield labels, arms[0], arms[1], folds

    def _train(
        self,
        rng: np.random.Generator,
        images: np.ndarray,
        labels: np.ndarray,
        inside: np.ndarray,
        units: int,
    ) -> np.ndarray:
        """Scores of the images inside the fold, by a network trained on the others."""
        weights = 1.2 * rng.normal(size=(self.inputs, units)) / np.sqrt(self.inputs)
        features = np.maximum(images @ weights + rng.normal(size=units), 0)
        features = features - features[~inside].mean(axis=0)
        seen = features[~inside]
        wanted = np.eye(CLASSES)[labels[~inside]] - 1 / CLASSES
        gram = seen.T @ seen + self.ridge * np.eye(units)
        return features[inside] @ np.linalg.solve(gram, seen.T @ wanted)

    def margin(self, differences: list[float]) -> float:
        """The true loss as the mean over the draws: its own error is small beside theirs."""
        return -float(np.mean(differences))


World = Scores | Learners
SMALL, LARGE = 111, 783
DESIGNS: tuple[World, ...] = (
    *(Scores(SMALL, (k, k), sd=(s, s)) for s in (0.0, 0.01, 0.03) for k in (2, 3, 5, 10)),
    *(Scores(LARGE, (k, k)) for k in (2, 3, 5)),
    *(Scores(SMALL, (k, k), paired=True) for k in (2, 3, 5, 10)),
    *(Scores(SMALL, (k, k), sd=(0.005, 0.02)) for k in (2, 3, 5)),
    Scores(SMALL, (5, 3)),
    *(Scores(LARGE, (3, 3), folds=3, sd=(s, s)) for s in (0.0, 0.01, 0.03)),
    Scores(LARGE, (3, 3), folds=3, paired=True),
    Scores(LARGE, (2, 2), folds=2),
    Scores(780, (2, 2), folds=10),
    *(Scores(780, (1, 1), folds=f) for f in (2, 3, 5, 10)),
    Learners(300, 3, 3, (48, 20), 3.0),
    Learners(300, 3, 3, (60, 6), 1.0),
    Learners(300, 1, 2, (60, 6), 1.0),
    Learners(300, 1, 3, (60, 6), 1.0),
    Learners(300, 1, 10, (48, 20), 3.0),
    Learners(300, 1, 10, (60, 6), 1.0),
    Learners(300, 1, 10, (100, 10), 0.1),
)


@dataclass(frozen=True)
class Rates:
    """What came out over the draws."""

    draws: int
    coverage: float
    false: float
    half_width: float
    loss: float

    def errors(self) -> tuple[float, float]:
        """Monte Carlo standard errors of coverage and of false verdicts."""
        rates = np.array([self.coverage, self.false])
        # At a rate of 0 or 1 the plain formula would claim certainty.
        held = np.clip(rates, 1 / self.draws, 1 - 1 / self.draws)
        first, second = np.sqrt(held * (1 - held) / self.draws).tolist()
        return first, second


def simulate(
    world: World, draws: int, seed: int, test: Callable[..., NonInferiority] = non_inferiority
) -> Rates:
    """Draw, test, count: the margin is the true loss, so that every "non-inferior" is false."""
    results = []
    for labels, reference, candidate, folds in world.draws(np.random.default_rng(seed), draws):
        results.append(
            test(labels, reference, candidate, margin=0.5, folds=folds, paired=world.paired)
        )
    differences = [result.difference for result in results]
    margin = world.margin(differences)
    low = np.array([result.low for result in results])
    high = np.array([result.high for result in results])
    return Rates(
        draws,
        float(np.mean((low <= -margin) & (-margin <= high))),
        float(np.mean(low > -margin)),
        float(np.mean(high - low) / 2 / np.std(differences)),
        margin,
    )


def _mark(rate: float, error: float, bounds: tuple[float, float]) -> str:
    outside = max(bounds[0] - rate, rate - bounds[1])
    if outside <= 0:
        return ""
    return " miss" if outside > 2 * error else " near"


def main(draws: int = 2000, learner_draws: int = 600, only: str = "", seed: int = 1) -> None:
    """Print the table.

    Args:
        draws: in each design of `Scores`.
        learner_draws: in each design of `Learners`.
        only: a part of the names of the designs to simulate.
        seed: of the first design; the others count up.
    """
    print(f"{'design':<62} {'loss':>6} {'coverage':>13} {'false':>14} {'half':>5} {'s':>4}")
    for number, world in enumerate(DESIGNS):
        if only not in str(world):
            continue
        start = time.process_time()
        count = learner_draws if isinstance(world, Learners) else draws
        rates = simulate(world, count, seed + number)
        errors = rates.errors()
        marks = _mark(rates.coverage, errors[0], COVERAGE), _mark(rates.false, errors[1], FALSE)
        print(
            f"{world!s:<62} {rates.loss:6.3f} {rates.coverage:6.3f}±{errors[0]:.3f}"
            f"{marks[0]:<5} {rates.false:6.4f}±{errors[1]:.4f}{marks[1]:<5} "
            f"{rates.half_width:5.2f} {time.process_time() - start:4.0f}",
            flush=True,
        )


if __name__ == "__main__":
    fire.Fire(main)
