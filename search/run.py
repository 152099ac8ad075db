"""`python -m search.run`: measure, propose, retrain, export."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import keras
from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.export import Judge, export_model
from ckrm_tf.families.base import Family
from ckrm_tf.files import checksum, first_unused, write_atomically
from ckrm_tf.judge import select
from ckrm_tf.store.folder import changes, fresh_sessions, open_folder, place_of
from ckrm_tf.store.owner import owned
from ckrm_tf.train.deterministic import prepare
from ckrm_tf.tuning.alone import check_alone
from ckrm_tf.tuning.history import Outcome, outcomes
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.wanted import Wanted
from ckrm_tf.versions import versions
from search.brought import bring
from search.cli import main
from search.console import Progress, count, read_data, show_data, show_trials
from search.export_formats import export_formats, judged_lines
from search.finished import SUMMARY, WEIGHTS, check_search, known_export, show_finished
from search.report import report_at_end
from search.retrain import retrained
from search.room import check_room
from search.session import (
    check_fit,
    data_fingerprint,
    held_out,
    make_oracle,
    make_runner,
    make_scoring,
    make_tuner,
    search_all,
)
from search.settings import Settings, load_settings, run_flags
from search.verdict import verdicts, weights_of
from search.workers import check_workers, hired, put_to_work


def run(config: str | None = None, **flags: Annotated[Any, run_flags]) -> None:
    """Find the narrowest network whose AUC is not worse than the starting one's, and export it.

    Run again with the same --out, it goes on where it stopped.

    Args:
        config: a YAML file with keys of configs/default.yaml, where each key is explained.
        flags: any of those keys, and the options of the data: --trials 20 --data PATH --out DIR
            --image-size 48 --scale 4095 ...; --help lists them.
    """
    settings = load_settings(config, flags)
    check_alone()
    check_workers(settings)
    with owned(settings.out):
        _search(settings)


def _search(settings: Settings) -> None:
    """The whole search, in a folder that this process holds."""
    prepare(settings.deterministic, settings.seed)
    console = Console(width=None if Console().is_terminal else 160)
    export_formats(settings.formats)
    brought = bring(console, settings) if settings.model else None
    if brought is not None:
        settings = replace(settings, image_size=brought.side(settings.image_size))
    data = read_data(console, settings)
    used, apart = held_out(settings, data)
    # Data that do not fit are refused here, before anything is written or trained.
    if brought is None:
        family = settings.network(data.input_shape, data.classes)
    else:
        family = brought.family(console, settings, used)
    cost = check_fit(settings, data, family)
    identity = settings.fingerprint() | {"pixels": data_fingerprint(data)}
    identity["folds"] = settings.fold_count(used)
    if brought is not None:
        identity["model_file"] = brought.digest
    before = len(changes(settings.out))
    check_search(place_of(settings.out))
    folder = open_folder(settings.out, identity, settings.free)
    show_data(console, data)
    for line in changes(settings.out)[before:]:
        console.print(f"changed   {line}", highlight=False, markup=False, soft_wrap=True)
    if apart is not None:
        console.print(
            f"scores    {len(apart)} of {len(data.train)} training images are kept apart: slices "
            "are scored on them, and no training sees them"
            + (", but the model as given may have" if brought is not None else ""),
            highlight=False,
            soft_wrap=True,
        )
    if show_finished(console, folder, settings, family):
        return
    fresh_sessions(folder)
    told = check_room(folder, cost.params, settings.trials * settings.seeds + settings.confirm)
    console.print(
        f"start     {family.describe(family.start)}: {cost.params:,} trainable parameters, "
        f"{count(cost.macs)} MACs\n"
        f"budget    {settings.trials} trials, {settings.seeds} seed(s) each, "
        f"{settings.epochs} epochs\n"
        f"{_told(settings)}"
        f"folder    {folder} (the same command goes on where it stopped)\n"
        f"room      {told}",
        highlight=False,
    )
    with (
        hired(console, settings) as pool,
        Progress(console, settings.trials, settings.margin, settings.seeds) as progress,
    ):
        runner = put_to_work(pool, make_runner(settings, data, folder, progress, family), progress)
        oracle = make_oracle(settings, data, family)
        oracle.scoring = make_scoring(settings, folder, runner, progress)
        oracle.note = progress.note
        confirm = range(settings.seed, settings.seed + settings.confirm)
        tuner = make_tuner(settings, oracle, runner, folder, confirm=confirm)
        search_all(tuner, progress)
        trials, history = progress.done, outcomes(progress.trainings)
        with progress.confirming():
            start, best = recommend(settings, runner, history, console)
    if trials < settings.trials:
        console.print(
            f"the search is over after {trials} of {settings.trials} trials: {oracle.why}",
            highlight=False,
            soft_wrap=True,
        )
    show_trials(console, history, runner.family, best.design)
    finish(console, settings, data, runner, folder, start, best, trials)


def recommend(
    settings: Settings, runner: Runner, history: list[Outcome], console: Console | None = None
) -> tuple[Outcome, Outcome]:
    """The starting network, and the smallest that holds over `confirm` seeds.

    See `ckrm_tf.judge.select.recommend`.
    """
    if settings.confirm <= settings.seeds and not settings.way.inherits:
        return select.recommend(history, settings.margin)
    # What took something over in the search must hold from fresh weights, by the plain recipe.
    seeds = range(settings.seed, settings.seed + max(settings.seeds, settings.confirm))

    def start_again(start: Outcome) -> Outcome:
        if console is not None:
            console.print("the starting network is trained again: the decision hangs on its AUC")
        return retrained(runner, start, seeds[:2])

    given = runner.family.given(history[0].design)
    runner.hints = _hints(settings, history, seeds)
    return select.recommend(
        history,
        settings.margin,
        lambda outcome: retrained(runner, outcome, seeds),
        None if given or settings.confirm <= settings.seeds else start_again,
    )


def _hints(settings: Settings, history: list[Outcome], seeds: range) -> Iterator[Wanted]:
    """What may be asked for while the recommendation is confirmed: the start, then the larger."""
    good = sorted(
        (o for o in history[1:] if select.acceptable(o, history, settings.margin)),
        key=lambda o: o.params,
    )
    yield from (Wanted(history[0].design, seed, settings.epochs) for seed in seeds[:2])
    yield from (Wanted(o.design, seed, settings.epochs) for o in good for seed in seeds)


def finish(
    console: Console,
    settings: Settings,
    data: Dataset,
    runner: Runner,
    folder: Path,
    start: Outcome,
    best: Outcome,
    trials: int,
) -> None:
    """Open the test split once, write summary.json, export the recommended network."""
    if start.auc < select.LEARNED:
        console.print(
            f"note         the starting network learned little (validation AUC {start.auc:.3f}): "
            "train longer (--epochs) before believing what is below",
            highlight=False,
            soft_wrap=True,
        )
    console.print()
    judged = verdicts(console, settings, data, runner, folder, start, best)
    networks = judged.get("networks")
    aucs = (networks["auc_reference"], networks["auc_candidate"]) if networks else (None, None)
    rows = [_describe(runner.family, o, auc) for o, auc in zip((start, best), aucs, strict=True)]
    report = {
        "recommended": rows[1],
        "start": rows[0],
        "test_non_inferiority": networks,
        "test_trained_models": judged.get("models"),
        "trials": trials,
        "trainings": len(runner.journal),
        "settings": settings.fingerprint(),
        "versions": versions("keras_tuner"),
        "machine": platform.platform(),
    }
    mark = {WEIGHTS: checksum(weights_of(settings, runner, best)[0])}
    formats = export_formats(settings.formats)
    exported = known_export(folder, mark, formats) or export_model(
        _load(settings, runner, best),
        first_unused(folder, lambda n: f"export{n}"),
        design=best.design,
        family=runner.family,
        class_names=data.class_names,
        scale=data.scale,
        input_shape=data.input_shape,
        images=data.val.images[:16],
        metadata=mark,
        formats=formats,
        examples=data.train.images,
        judge=Judge(data.val.images, data.val.labels, "validation"),
    )
    report |= {"export": exported.folder.name, "asked": settings.free}
    write_atomically(folder / SUMMARY, json.dumps(report, indent=2, default=str) + "\n")
    for title, row in zip(("start", "recommended"), rows, strict=True):
        console.print(
            f"{title:<12} {row['widths_text']}: {row['params']:,} params "
            f"({row['params'] / rows[0]['params']:.2%}), {count(row['macs'])} MACs "
            f"({row['macs'] / rows[0]['macs']:.2%}), val AUC {row['val_auc']:.3f}"
            + ("" if row["test_auc"] is None else f", test AUC {row['test_auc']:.3f}"),
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"\nexport       {exported.folder}", highlight=False, soft_wrap=True)
    for line in judged_lines(exported.judged):
        console.print(f"             {line}", highlight=False, soft_wrap=True)
    console.print(exported.usage, highlight=False, soft_wrap=True)
    report_at_end(console, folder)


def _told(settings: Settings) -> str:
    """A line about a search whose networks take something over from the start, else nothing."""
    way = settings.way
    if not way.inherits:
        return ""
    start = "the model as given" if settings.model else "the trained start of their fold"
    parts = [f"begin as mended slices of {start}, {way.epochs(settings.epochs)} epochs"]
    parts = parts if way.slice else []
    parts += [f"are taught by {start}"] if way.distill else []
    again = "by the labels alone" if settings.model else "from fresh weights by the plain recipe"
    return (
        f"way       networks {' and '.join(parts)}; what is recommended is trained again {again}\n"
    )


def _describe(family: Family, outcome: Outcome, test_auc: float | None) -> dict[str, Any]:
    cost = family.cost(outcome.design)
    return {
        **family.to_record(outcome.design),
        "widths_text": family.describe(outcome.design),
        "params": cost.params,
        "macs": cost.macs,
        "val_auc": outcome.auc,
        "seeds": len(outcome.aucs),
        "test_auc": test_auc,
    }


def _load(settings: Settings, runner: Runner, outcome: Outcome) -> keras.Model:
    """The network as its first seed left it: the luckiest would promise too much."""
    model = runner.build(outcome.design)
    model.load_weights(weights_of(settings, runner, outcome)[0])
    return model


if __name__ == "__main__":
    main(run)
