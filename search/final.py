"""`python -m search.final`: the candidate against the starting network, over several seeds.

The only place of a comparison where the test split is read, and only after every choice is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ckrm_tf.data import EGD_PREFIX, Dataset
from ckrm_tf.data.folds import folds as make_folds
from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.history import acceptable
from ckrm_tf.tuning.journal import first_unused, write_atomically
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.widths import Widths
from search.cli import main
from search.console import Progress, read_data
from search.final_folds import fold_comparison
from search.final_stats import ARMS, compare_on, describe_arms, show_final
from search.retrain import confirmed, probabilities, train_all
from search.session import data_fingerprint, make_runner, outcomes
from search.settings import Settings, load_settings


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
    report |= describe_arms(data, runner.layout, networks)
    for name, split in (("val", data.val), ("test", data.test)):
        found = {arm: probabilities(runner, w, seeds, split) for arm, w in networks.items()}
        report[name] = compare_on(split.labels, found, data.class_names, margin)
    return report


def final(folder: str, seeds: int = 5, first: int = 1, widths: Any = None, folds: int = 0) -> None:
    """Retrain the recommended and the starting network of a finished search; open the test split.

    Writes final.json into the run folder, or final2.json where there is one. Trainings the folder
    already has are not repeated.

    Args:
        folder: the --out of an earlier `search.run`.
        seeds: how many seeds.
        first: the first of them; seeds that the search did not use are free of its luck.
        widths: the candidate as JSON; the smallest that holds over the seeds by default.
        folds: judge on all training and test images instead, in so many parts, each by networks
            that have not seen it; writes folds.json. More images, a narrower interval.
    """
    place = Path(str(folder)).expanduser()
    marker = place / "run.json"
    if not marker.is_file():
        raise CKRMError("run folder", expected="a folder of search.run", received=str(folder))
    for name, value, least in (("seeds", seeds, 1), ("first", first, 1), ("folds", folds, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise CKRMError(
                f"--{name}", expected=f"a whole number of at least {least}", received=value
            )
    identity = json.loads(marker.read_text())
    pixels = identity.pop("pixels", None)
    settings = load_settings(None, identity)
    console = Console(width=None if Console().is_terminal else 160)
    data = read_data(console, settings)
    if data_fingerprint(data) != pixels:
        raise CKRMError("data", expected="the images the search had", received=f"other {data.name}")
    parts = _parts(settings, data, folds) if folds else []
    numbers = range(first, first + seeds)
    start, margin = settings.start, settings.margin
    with Progress(console, 2, margin, seeds) as progress:
        runner = make_runner(settings, data, place, progress)
        if widths is not None:
            best = (
                Widths.from_dict(widths) if isinstance(widths, dict) else Widths.from_json(widths)
            )
        else:
            history = outcomes([t for t in runner.journal.read() if t.epochs == settings.epochs])
            good = [o for o in history if acceptable(o, history, margin)]
            order = [o.widths for o in sorted(good, key=lambda o: o.params)]
            best = confirmed(runner, start, order, numbers, margin)
        if folds:
            runners = [
                make_runner(settings, part, place / f"folds{folds}" / f"fold{i}", progress)
                for i, part in enumerate(parts, start=1)
            ]
            report = fold_comparison(runners, start, best, numbers, margin)
        else:
            report = final_comparison(data, runner, start, best, numbers, margin)
    name = "folds" if folds else "final"
    path = first_unused(place, lambda n: f"{name}{n if n > 1 else ''}.json")
    write_atomically(path, json.dumps(report, indent=1) + "\n")
    show_final(console, report)


def _parts(settings: Settings, data: Dataset, count: int) -> list[Dataset]:
    if settings.data.startswith(EGD_PREFIX) and settings.split == "patient":
        raise CKRMError(
            "--folds",
            expected="a search whose data are split by image",
            received="one split by patient",
            hint="Folds deal out images: one patient's would be on both sides.",
        )
    return make_folds(data, count, settings.seed)


if __name__ == "__main__":
    main(final)
