"""`python -m search.compare`: guided and unguided strategies at equal budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.families.base import Family
from ckrm_tf.files import write_atomically
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.runner import Runner
from search.cli import main
from search.compare_final import Found, confirm_all, finish
from search.compare_plots import plot_all
from search.compare_rows import make_rows
from search.compare_screen import show_confirmed, show_summary
from search.compare_tables import EARLY, Runs, curves, summarise
from search.config_files import config_text
from search.console import Progress, count, read_data, show_data
from search.final_stats import keep_report
from search.session import check_fit, data_fingerprint, make_runner, make_tuner, search_all
from search.settings import Settings, _read, _typed, load_settings
from search.strategies import check_strategy, make_strategy


@dataclass(frozen=True)
class Options:
    """The keys of `configs/compare.yaml` that are about the comparison, explained there."""

    strategies: tuple[str, ...]
    trainings: int
    random_trainings: int | None
    repeats: int
    target: int
    hold: int
    final: int

    def __post_init__(self) -> None:
        if not self.strategies:
            raise CKRMError("--strategies", expected="at least one", received="none")
        for name in self.strategies:
            check_strategy(name)
        for name in ("trainings", "random_trainings", "repeats", "target"):
            value = getattr(self, name)
            if value is not None and value < 1:
                flag = name.replace("_", "-")
                raise CKRMError(f"--{flag}", expected="at least 1", received=value)
        for name in ("hold", "final"):
            if getattr(self, name) < 0:
                raise CKRMError(f"--{name}", expected="0 or more", received=getattr(self, name))

    def budget(self, strategy: str) -> int:
        """Trainings that a strategy may use in one repeat."""
        return (self.random_trainings if strategy == "random" else None) or self.trainings

    def looked_at(self, strategy: str) -> list[int]:
        """Numbers of trainings after which it is asked what holds."""
        most = self.budget(strategy)
        return sorted({min(n, most) for n in (EARLY, self.trainings, most)})


def load_options(config: str | None, flags: Mapping[str, Any]) -> tuple[Options, Settings]:
    """What is compared, and the settings that every strategy shares.

    Raises:
        CKRMError: an unknown key or flag, with the nearest known one; a value of the wrong type.
    """
    text = config_text("compare.yaml")
    layers = [("key in compare.yaml", _read(text, "compare.yaml"))]
    if config is not None:
        path = Path(config).expanduser()
        if not path.is_file():
            raise CKRMError("--config", expected="a YAML file", received=str(config))
        layers.append((f"key in {path.name}", _read(path.read_text(), path.name)))
    layers.append(("flag", {k.replace("-", "_"): v for k, v in flags.items()}))
    own = [f.name for f in fields(Options)]
    known = own + [f.name for f in fields(Settings)]
    values: dict[str, Any] = {}
    for kind, layer in layers:
        for key in layer:
            if key not in known:
                raise unknown_name(kind, str(key), known)
        values |= layer
    chosen = {key: values.pop(key) for key in own}
    names = chosen.pop("strategies")
    listed = names.split(",") if isinstance(names, str) else names
    if not isinstance(listed, list | tuple) or not all(isinstance(n, str) for n in listed):
        raise CKRMError("--strategies", expected="names and commas", received=repr(names))
    numbers = {
        k: _typed(k, v, int | None if k == "random_trainings" else int) for k, v in chosen.items()
    }
    # A strategy named twice would be compared with itself.
    strategies = tuple(dict.fromkeys(name.strip() for name in listed))
    options = Options(strategies=strategies, **numbers)
    settings = load_settings(None, values)
    if options.trainings < settings.seeds:
        raise CKRMError(
            "--trainings",
            expected=f"at least --seeds, {settings.seeds}",
            received=options.trainings,
        )
    return options, settings


def compare(config: str | None = None, **flags: Any) -> None:
    """Run several strategies on the same data, network, recipe and budget; tables and plots.

    Run again with the same --out, it goes on where it stopped. A network that two strategies
    train with the same seed is trained once and counts for both at what it cost.

    Args:
        config: a YAML file with keys of configs/compare.yaml, where each is explained.
        flags: any of those keys: --trainings 20 --repeats 3 --strategies ckrm,random --final 5
            --hold 3 --random-trainings 40 --target 128062, and those of search.run: --data PATH
            --out DIR --image-size 48 --epochs 16 --margin 0.02 ...
    """
    options, settings = load_options(config, flags)
    console = Console(width=None if Console().is_terminal else 160)
    data = read_data(console, settings)
    cost = check_fit(settings, data)
    family = settings.network(data.input_shape, data.classes)
    identity = settings.fingerprint() | {"pixels": data_fingerprint(data)}
    folder = open_folder(settings.out, identity)
    show_data(console, data)
    console.print(
        f"start     {family.describe(family.start)}: {cost.params:,} trainable parameters, "
        f"{count(cost.macs)} MACs\n"
        f"budget    {options.trainings} trainings, {options.repeats} repeat(s), "
        f"{settings.epochs} epochs: {', '.join(options.strategies)}\n"
        f"folder    {folder} (the same command goes on where it stopped)",
        highlight=False,
    )
    runner = make_runner(settings, data, folder, None)
    # Weights of some hundred networks, of which none is used again.
    runner.weights_dir = None
    found: Found = {name: [] for name in options.strategies}
    # Repeat by repeat, so that a run cut short has something of every strategy.
    for repeat in range(options.repeats):
        for name in options.strategies:
            found[name].append(
                run_strategy(console, name, repeat, options, settings, data, runner, folder)
            )
        write_tables(folder, options, settings, make_runs(found, settings, family))
    runs = make_runs(found, settings, family)
    summary = write_tables(folder, options, settings, runs)
    plot_all(runs, folder, options.trainings, settings.margin)
    show_summary(console, summary)
    first = settings.seed + options.repeats * settings.most_seeds
    if options.hold:
        seeds = range(first, first + options.hold)
        budgets = {name: options.looked_at(name) for name in found}
        held = confirm_all(console, settings, data, folder, found, seeds, budgets)
        keep_report(folder, "confirmed", held)
        show_confirmed(console, held)
    if options.final:
        seeds = range(first, first + options.final)
        finish(console, settings, data, folder, found, seeds)


def run_strategy(
    console: Console,
    name: str,
    repeat: int,
    options: Options,
    settings: Settings,
    data: Dataset,
    runner: Runner,
    folder: Path,
) -> list[Training]:
    """All trainings of one strategy in one repeat, in order, whether new or from the journal."""
    networks = options.budget(name) // settings.seeds
    # Repeats share no training seed, and all strategies of a repeat share theirs.
    mine = replace(settings, seed=settings.seed + repeat * settings.most_seeds)
    console.rule(f"{name}, repeat {repeat + 1} of {options.repeats}", align="left")
    with Progress(console, networks, settings.margin, settings.seeds) as progress:
        runner.on_training = progress.on_training
        oracle, metrics = make_strategy(name, mine, data, networks)
        tuner = make_tuner(mine, oracle, runner, folder, extra_metrics=metrics)
        search_all(tuner, progress)
    return progress.trainings


def make_runs(found: Found, settings: Settings, family: Family) -> Runs:
    """Rows of the repeats that are finished for every strategy."""
    done = min(len(repeats) for repeats in found.values())
    return {
        name: [
            make_rows(
                name,
                number,
                trainings,
                settings.epochs,
                settings.margin,
                settings.seeds,
                family.describe,
            )
            for number, trainings in enumerate(repeats[:done], start=1)
        ]
        for name, repeats in found.items()
    }


def write_tables(folder: Path, options: Options, settings: Settings, runs: Runs) -> dict[str, Any]:
    """Write trainings.csv, summary.csv and summary.json; return what the last one holds."""
    rows = [asdict(row) for repeats in runs.values() for each in repeats for row in each]
    write_atomically(folder / "trainings.csv", pd.DataFrame(rows).to_csv(index=False))
    write_atomically(folder / "summary.csv", pd.DataFrame(curves(runs)).to_csv(index=False))
    summary = summarise(runs, options.trainings, (options.target,))
    summary["options"] = asdict(options)
    summary["settings"] = settings.fingerprint()
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


if __name__ == "__main__":
    main(compare)
