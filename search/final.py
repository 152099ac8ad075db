"""`python -m search.final`: the candidate against the starting network, over several seeds.

The only place of a comparison where test images are judged, and only after every choice is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.data.folds import folds as make_folds
from ckrm_tf.data.hold_out import held_apart
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.opened import log_opening
from ckrm_tf.store.owner import owned
from ckrm_tf.train.deterministic import prepare
from ckrm_tf.train.way import Way
from ckrm_tf.tuning.history import outcomes, speaking
from ckrm_tf.tuning.runner import Runner
from search.cli import main
from search.console import Progress, read_data, show_data
from search.final_folds import fold_comparison
from search.final_stats import ARMS, compare_on, describe_arms, keep_report, show_final
from search.ranges import check_ranges
from search.report import report_at_end
from search.retrain import confirmed, probabilities, train_all
from search.room import check_room
from search.run_folder import read_run
from search.session import check_fit, data_fingerprint, make_runner
from search.settings import Settings, option_flags
from search.values import typed
from search.workers import check_workers, hired, put_to_work

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool

# Of cross-validation: with one training a fold the verdict is too cautious (docs/results.md).
FOLDS = 10
SEEDS = 2
SEEDS_OF_ONE_SPLIT = 5


def final_comparison(
    data: Dataset,
    runner: Runner,
    start: Design,
    candidate: Design,
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
        sensitivity and accuracy of each network, non-inferiority by readers and cases, DeLong's
        test per class and seed, and the one-way ANOVA over seeds. Without validation images where
        the search had folds.

    Raises:
        CKRMError: a training failed, or its weights are gone.
    """
    networks = (start, candidate)
    runner.expect((design, seed) for design in networks for seed in seeds)
    for design in networks:
        train_all(runner, design, seeds)
    report: dict[str, Any] = {"margin": margin, "seeds": list(seeds)}
    report |= describe_arms(runner.family, networks)
    splits = {"val": data.val, "test": data.test}
    if runner.folds:
        # Networks of other folds were trained on parts of it.
        del splits["val"]
    for name, split in splits.items():
        arms = zip(ARMS, networks, strict=True)
        found = {arm: probabilities(runner, design, seeds, split) for arm, design in arms}
        report[name] = compare_on(split.labels, found, data.class_names, margin)
    return report


def final(
    folder: str,
    seeds: int | None = None,
    first: int = 1,
    widths: str | Mapping | None = None,
    folds: int = FOLDS,
    reuse: str | None = None,
    distill: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    gpus_per_training: float | None = None,
    **options: Annotated[Any, option_flags],
) -> None:
    """Retrain the recommended and the starting network of a finished search; open the test split.

    Writes final.json into the run folder, or final_2.json where there is another. Trainings that
    the folder already has are not repeated.

    Args:
        folder: the --out of an earlier `search.run`.
        seeds: how many seeds; by default 2 in each fold, 5 without folds.
        first: the first of them; seeds that the search did not use are free of its luck.
        widths: the candidate as JSON, its widths or its design; the smallest that holds over the
            seeds by default.
        folds: judge on all training and test images, in so many parts, each by networks that have
            not seen it; writes folds10.json for 10. More images, a narrower interval. Patients
            stay whole where they are known; else images are dealt out one by one. 0: on the test
            split alone; writes final.json.
        reuse: folders of other runs, FOLDER,FOLDER, whose equal trainings are not done again.
        distill: the candidate is taught by the starting network of its own fold and seed; the claim
            is about networks trained so then. By folds only.
        workers: worker processes on this machine, or the most of them on a cluster; needs the extra
            `cluster`, as the next two do.
        cluster: the address of a Ray cluster that runs: auto, HOST:6379, ray://HOST:10001.
        gpus_per_training: share of a GPU, as for `search.run`.
        options: of the data, where they lie elsewhere now; --help lists them.
    """
    place = Path(str(folder)).expanduser()
    if seeds is None:
        seeds = SEEDS if typed("--folds", folds, int) else SEEDS_OF_ONE_SPLIT
    ranges = {"seeds": (1, 1_000), "first": (0, 2**31 - 1), "folds": (0, 1_000)}
    for name, value in (("seeds", seeds), ("first", first), ("folds", folds)):
        check_ranges({name: typed(f"--{name}", value, int)}, ranges)
    settings, pixels = read_run(place, options)
    settings = replace(
        settings,
        reuse=typed("--reuse", reuse, tuple[str, ...] | None),
        workers=typed("--workers", workers, int | None),
        cluster=typed("--cluster", cluster, str | None),
        gpus_per_training=typed("--gpus-per-training", gpus_per_training, float | None),
    )
    if folds == 1:
        raise CKRMError("--folds", expected="0, or at least 2", received=folds)
    distill = typed("--distill", distill, bool)
    if distill and (not folds or settings.ggcam):
        received = "--folds 0" if not folds else "a search with --ggcam"
        raise CKRMError("--distill", expected="folds, and no gaze maps", received=received)
    check_workers(settings)
    with owned(place):
        _judge(place, settings, pixels, range(first, first + seeds), widths, folds, distill)


def _judge(
    place: Path,
    settings: Settings,
    pixels: str,
    numbers: range,
    widths: str | Mapping | None,
    folds: int,
    distill: bool,
) -> None:
    """The whole comparison, in a folder that this process holds."""
    prepare(settings.deterministic, settings.seed)
    seeds = len(numbers)
    console = Console(width=None if Console().is_terminal else 160)
    data = read_data(console, settings)
    show_data(console, data)
    if data_fingerprint(data) != pixels:
        raise CKRMError("data", expected="the images the search had", received=f"other {data.name}")
    spent = None
    if settings.held_out:
        spent = held_apart(data, settings.held_out, settings.seed)
    parts = make_folds(data, folds, settings.seed, spent) if folds else None
    if folds and settings.fold_count(data):
        console.print(
            "note      images that validated trainings of the search are judged too: they helped "
            "to choose the network",
            highlight=False,
            soft_wrap=True,
        )
    family, margin = settings.network(data.input_shape, data.classes), settings.margin
    start = family.start
    told = check_room(place, family.cost(start).params, len(ARMS) * seeds * max(1, folds))
    console.print(f"room      {told}", highlight=False)
    with hired(console, settings) as pool:
        with Progress(console, len(ARMS), margin, seeds) as progress:
            runner = put_to_work(pool, make_runner(settings, data, place, progress), progress)
            if widths is None:
                with progress.confirming():
                    best = _candidate(settings, runner, numbers)
            else:
                best = _read(widths, family)
            if parts is None:
                report = final_comparison(data, runner, start, best, numbers, margin)
        if parts is not None:
            with Progress(console, len(ARMS) * folds, margin, seeds) as progress:
                runners = _fold_runners(
                    console,
                    replace(settings, distill=distill),
                    parts,
                    place / f"folds{folds}",
                    progress,
                    pool,
                )
                report = {
                    "margin": margin,
                    "seeds": list(numbers),
                    **describe_arms(family, (start, best)),
                    "folds": fold_comparison(runners, start, best, numbers, margin),
                }
                report["candidate"]["how"] = Way.of(distill, None).how
    path = keep_report(place, f"folds{folds}" if folds else "final", report)
    log_opening(place, best, path.name)
    show_final(console, report)
    report_at_end(console, place)


def _read(text: Any, family: Family) -> Design:
    """A network of the family from JSON: its design, or another form that a record may have."""
    try:
        data = text if isinstance(text, dict) else json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise CKRMError("--widths", expected="JSON", received=repr(text)[:80]) from error
    if not isinstance(data, dict):
        raise CKRMError("--widths", expected='{"NAME": number, ...}', received=repr(text)[:80])
    return family.from_record(data)


def _candidate(settings: Settings, runner: Runner, seeds: Sequence[int]) -> Design:
    """The smallest network of the search that holds over the seeds."""
    found = speaking(runner.journal.current(), settings.epochs, settings.way)
    return confirmed(runner, outcomes(found), seeds, settings.margin)


def _fold_runners(
    console: Console,
    settings: Settings,
    parts: Iterable[Dataset],
    folder: Path,
    progress: Progress,
    pool: WorkerPool | None,
) -> Iterator[Runner]:
    """One runner a fold, each with a folder of its own that is bound to the fold's images."""
    for number, part in enumerate(parts, start=1):
        console.rule(f"{part.name}: {len(part.test)} images to judge", align="left")
        check_fit(settings, part)
        place = open_folder(str(folder / f"fold{number}"), {"pixels": data_fingerprint(part)})
        # Nothing is chosen here any more: all images but the judged ones are trained on.
        whole = replace(settings, score_share=0.0, folds=0, from_="scratch")
        runner = put_to_work(pool, make_runner(whole, part, place, progress), progress)
        # A start of its own for each seed: with one for all, the trainings would be alike.
        runner.heritage.first = None
        yield runner


if __name__ == "__main__":
    main(final)
