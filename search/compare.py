"""`python -m search.compare`: guided and unguided strategies at equal budget."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting.comparison import GUIDED
from ckrm_tf.store.folder import fresh_sessions, open_folder
from ckrm_tf.store.owner import owned
from ckrm_tf.train.deterministic import prepare
from ckrm_tf.tuning.alone import check_alone
from search.cli import main
from search.compare_final import Found, confirm_all, finish
from search.compare_folder import begin, make_runs, write_tables
from search.compare_screen import show_confirmed, show_summary
from search.compare_searches import all_searches
from search.compare_tables import EARLY
from search.config_files import config_text, explained, read_config, read_yaml
from search.console import count, read_data, show_data
from search.final_stats import keep_report
from search.ranges import check_ranges
from search.report import report_at_end
from search.session import (
    check_fit,
    data_fingerprint,
    make_runner,
)
from search.settings import (
    KEYS,
    Layer,
    Settings,
    default_layer,
    gather,
    option_flags,
    setting_flags,
    settings_of,
)
from search.strategies import SEED_STRIDE, check_strategy
from search.values import typed
from search.workers import check_workers, hired

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool

RANGES: dict[str, tuple[float, float]] = {
    "trainings": (1, 1_000_000),
    "random_trainings": (1, 1_000_000),
    "repeats": (1, 1_000),
    "target": (1, math.inf),
    "hold": (0, 1_000),
    "final": (0, 1_000),
}


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
        check_ranges({name: getattr(self, name) for name in RANGES}, RANGES)

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
    layers: list[Layer] = [default_layer("default.yaml"), default_layer("compare.yaml")]
    if config is not None:
        layers.append(read_config(config))
    kinds = typing.get_type_hints(Options)
    found = gather([*layers, (None, flags)], (*kinds, *KEYS, *option_flags()))
    own = {name: typed(*found.pop(name), kind) for name, kind in kinds.items()}
    # A strategy named twice would be compared with itself.
    own["strategies"] = tuple(dict.fromkeys(own["strategies"]))
    options, settings = Options(**own), settings_of(found)
    if settings.model:
        raise CKRMError(
            "--model",
            expected="a starting network that is trained anew",
            received=settings.model,
            hint="A given model may have seen any image; search.run --model goes over its widths.",
        )
    if settings.from_ == "slices":
        raise CKRMError(
            "--from",
            expected="scratch: a budget is counted in whole trainings",
            received=settings.from_,
        )
    last = settings.seed + options.repeats * settings.most_seeds
    if last * SEED_STRIDE >= 2**32:
        # NumPy's generators take no larger seed.
        most = 2**32 // SEED_STRIDE - options.repeats * settings.most_seeds
        raise CKRMError("--seed", expected=f"at most {most}", received=settings.seed)
    if options.trainings < settings.seeds:
        raise CKRMError(
            "--trainings",
            expected=f"at least --seeds, {settings.seeds}",
            received=options.trainings,
        )
    return options, settings


def compare_flags() -> dict[str, Option]:
    """The flags of a comparison: its own, and those of a search with its defaults."""
    text = config_text("compare.yaml")
    told, values = explained(text), read_yaml(text, "compare.yaml")
    kinds = typing.get_type_hints(Options)
    own = {
        name: Option(name, kind, typed(name, values[name], kind), told[name])
        for name, kind in kinds.items()
    }
    return {**own, **setting_flags("default.yaml", "compare.yaml"), **option_flags()}


def compare(config: str | None = None, **flags: Annotated[Any, compare_flags]) -> None:
    """Run several strategies on the same data, network, recipe and budget; tables and plots.

    Run again with the same --out, it goes on where it stopped. A network that two strategies
    train with the same seed is trained once and counts for both at what it cost.

    Args:
        config: a YAML file with keys of configs/compare.yaml, where each is explained.
        flags: any of those keys: --trainings 20 --repeats 3 --strategies ckrm,random --final 5
            --hold 3 --random-trainings 40, and those of search.run; --help lists them.
    """
    options, settings = load_options(config, flags)
    check_alone()
    check_workers(settings)
    with owned(settings.out):
        _compare(options, settings)


def _compare(options: Options, settings: Settings) -> None:
    """The comparison, in a folder that this process holds."""
    prepare(settings.deterministic, settings.seed)
    console = Console(width=None if Console().is_terminal else 160)
    data = read_data(console, settings)
    cost = check_fit(settings, data)
    family = settings.network(data.input_shape, data.classes)
    # All strategies train on the same images: those that the guided one keeps for scores are kept
    # from each.
    settings = replace(settings, strategy=GUIDED)
    identity = settings.fingerprint() | {"pixels": data_fingerprint(data)}
    folder = open_folder(settings.out, identity, settings.free)
    begin(folder, options, settings)
    fresh_sessions(folder)
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
    with hired(console, settings) as pool:
        found = all_searches(
            console,
            pool,
            options,
            settings,
            data,
            runner,
            folder,
            lambda some: write_tables(folder, options, settings, make_runs(some, settings, family)),
        )
        _conclude(console, pool, options, settings, data, folder, found)


def _conclude(
    console: Console,
    pool: WorkerPool | None,
    options: Options,
    settings: Settings,
    data: Dataset,
    folder: Path,
    found: Found,
) -> None:
    """Tables and plots, and what of the comparison holds over new seeds."""
    family = settings.network(data.input_shape, data.classes)
    runs = make_runs(found, settings, family)
    summary = write_tables(folder, options, settings, runs)
    show_summary(console, summary)
    first = settings.seed + options.repeats * settings.most_seeds
    if options.hold:
        seeds = range(first, first + options.hold)
        budgets = {name: options.looked_at(name) for name in found}
        held = confirm_all(console, settings, data, folder, found, seeds, budgets, pool)
        keep_report(folder, "confirmed", held)
        show_confirmed(console, held)
    if options.final:
        seeds = range(first, first + options.final)
        finish(console, settings, data, folder, found, seeds, pool)
    report_at_end(console, folder)


if __name__ == "__main__":
    main(compare)
