"""`python -m search.final`: the candidate against the starting network, over several seeds.

The only place of a comparison where the test split is read, and only after every choice is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.console import Console

from ckrm_tf.data import Dataset, Split, load_dataset
from ckrm_tf.errors import CKRMError
from ckrm_tf.training import predict
from ckrm_tf.tuning.history import acceptable
from ckrm_tf.tuning.journal import COMPLETED, first_unused, write_atomically
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.widths import Widths
from search.cli import main
from search.console import Progress
from search.final_stats import ARMS, compare_on, show_final
from search.session import data_fingerprint, make_runner, outcomes
from search.settings import CONFIRMED_SHARE, load_settings


def train_all(runner: Runner, widths: Widths, seeds: Sequence[int]) -> list[float]:
    """Validation AUC of each seed, trained or looked up.

    Raises:
        CKRMError: when a training failed.
    """
    found = [runner.run(widths, seed) for seed in seeds]
    runner.release()
    for training in found:
        if training.status != COMPLETED or training.val_auc is None:
            raise CKRMError(
                f"training of {widths} with seed {training.seed}",
                expected="a finished training",
                received=training.reason,
            )
    return [t.val_auc for t in found if t.val_auc is not None]


def confirmed(
    runner: Runner, start: Widths, candidates: Sequence[Widths], seeds: Sequence[int], margin: float
) -> Widths:
    """The first candidate whose mean validation AUC over the seeds keeps to half the margin.

    Args:
        runner: trains and remembers.
        start: the starting network, the answer when no candidate holds.
        candidates: in the order of preference, the smallest first.
        seeds: trained for each network looked at.
        margin: loss of mean validation AUC that is acceptable.
    """
    bar = fmean(train_all(runner, start, seeds)) - CONFIRMED_SHARE * margin
    for widths in candidates:
        if widths == start or _mean(runner, widths, seeds) >= bar:
            return widths
    return start


def _mean(runner: Runner, widths: Widths, seeds: Sequence[int]) -> float:
    """Mean validation AUC; below any other when a training failed: such a network does not hold."""
    try:
        return fmean(train_all(runner, widths, seeds))
    except CKRMError:
        return float("-inf")


def final_comparison(
    data: Dataset,
    runner: Runner,
    start: Widths,
    candidate: Widths,
    seeds: Sequence[int],
    margin: float,
) -> dict[str, Any]:
    """Train both networks with every seed, then compare them on validation and test images.

    Args:
        data: its test split is read here.
        runner: trains, remembers, and must keep weights.
        start: the starting network.
        candidate: the smaller one.
        seeds: of the trainings, the same for both.
        margin: loss of macro AUC that is accepted, stated beforehand.

    Returns:
        Plain values for JSON: per network its cost; per split the macro AUC, class AUC,
        sensitivity and accuracy of each network, non-inferiority by paired bootstrap over images
        and seeds, DeLong's test per class and seed, and the one-way ANOVA over seeds.

    Raises:
        CKRMError: a training failed, or its weights are gone.
    """
    networks = dict(zip(ARMS, (start, candidate), strict=True))
    for widths in networks.values():
        train_all(runner, widths, seeds)
    report: dict[str, Any] = {"margin": margin, "seeds": list(seeds)}
    for arm, widths in networks.items():
        cost = widths.cost(data.input_shape, data.classes, runner.layout)
        report[arm] = {
            "widths": widths.to_dict(),
            "widths_text": str(widths),
            "params": cost.params,
            "macs": cost.macs,
        }
    for name, split in (("val", data.val), ("test", data.test)):
        found = {arm: _probabilities(runner, w, seeds, split) for arm, w in networks.items()}
        report[name] = compare_on(split.labels, found, data.class_names, margin)
    return report


def _probabilities(runner: Runner, widths: Widths, seeds: Sequence[int], split: Split) -> Any:
    """Class probabilities of each seed's network: (seeds, n, classes)."""
    model = runner.build(widths)
    found = []
    for seed in seeds:
        path = runner.weights_path(widths, seed)
        if path is None or not path.exists():
            raise CKRMError(
                "weights",
                expected=f"those of {widths}, seed {seed}",
                received="none",
                hint="Were they moved out of the run folder?",
            )
        model.load_weights(path)
        found.append(predict(model, split, runner.data.scale))
    return np.stack(found)


def final(folder: str, seeds: int = 5, first: int = 1, widths: Any = None) -> None:
    """Retrain the recommended and the starting network of a finished search; open the test split.

    Writes final.json into the run folder, or final2.json where there is one. Trainings the folder
    already has are not repeated.

    Args:
        folder: the --out of an earlier `search.run`.
        seeds: how many seeds.
        first: the first of them; seeds that the search did not use are free of its luck.
        widths: the candidate as JSON; the smallest that holds over the seeds by default.
    """
    place = Path(str(folder)).expanduser()
    marker = place / "run.json"
    if not marker.is_file():
        raise CKRMError("run folder", expected="a folder of search.run", received=str(folder))
    for name, value in (("seeds", seeds), ("first", first)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CKRMError(f"--{name}", expected="a whole number of at least 1", received=value)
    identity = json.loads(marker.read_text())
    pixels = identity.pop("pixels", None)
    settings = load_settings(None, identity)
    data = load_dataset(settings.data, image_size=settings.image_size, seed=settings.seed)
    if data_fingerprint(data) != pixels:
        raise CKRMError("data", expected="the images the search had", received=f"other {data.name}")
    console = Console(width=None if Console().is_terminal else 160)
    numbers = range(first, first + seeds)
    with Progress(console, 2, settings.margin, seeds) as progress:
        runner = make_runner(settings, data, place, progress)
        tried = [t for t in runner.journal.read() if t.epochs == settings.epochs]
        if widths is not None:
            best = (
                Widths.from_dict(widths) if isinstance(widths, dict) else Widths.from_json(widths)
            )
        else:
            history = outcomes(tried)
            good = [o for o in history if acceptable(o, history, settings.margin)]
            order = [o.widths for o in sorted(good, key=lambda o: o.params)]
            best = confirmed(runner, settings.start, order, numbers, settings.margin)
        report = final_comparison(data, runner, settings.start, best, numbers, settings.margin)
    write_atomically(first_unused(place, _report_name), json.dumps(report, indent=1) + "\n")
    show_final(console, report)


def _report_name(number: int) -> str:
    return f"final{number if number > 1 else ''}.json"


if __name__ == "__main__":
    main(final)
