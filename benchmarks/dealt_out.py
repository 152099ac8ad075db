"""Do scores and signals tell which widths? Guided networks against dealt-out ones of equal size.

    python benchmarks/dealt_out.py RUN [--trainings 4] [--seeds 3]

RUN is the folder of a `search.compare` with the strategies `ckrm` and `noise`. Of each repeat it
takes the smallest network that `ckrm` found acceptable within so many trainings, and the network
of `noise` within as many that is nearest to it in parameters, with all its widths multiplied by one
number so that its parameters are within a tenth of the other's. Both are trained with new seeds,
the same for both, on the images that the comparison trained on, and validated on its validation
images. Trainings are kept in RUN/dealt_out and looked up by the next start.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fire
import numpy as np
from rich.console import Console
from rich.table import Table

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.moves import adapt
from ckrm_tf.tuning.rule import Rule
from search.console import Progress, read_data
from search.retrain import train_all
from search.run_folder import read_run
from search.session import make_runner

NEAR = 0.1
FIRST_SEED = 5001


def scaled_to(design: Design, params: int, family: Family) -> Design:
    """The design with its widths multiplied by one number: about as many parameters as asked for.

    Widths stay within those of the start, and depths as they are.
    """
    rule = Rule(floor=1, depth=False)

    def at(factor: float) -> Design:
        def new(name: str, most: int) -> float:
            return min(most, design[name] * factor)

        widths = adapt(family.start, family.axes, rule, new)
        depths = [axis.name for axis in family.axes if axis.kind == "depth"]
        return family.checked(widths.replace({name: design[name] for name in depths}))

    factors = np.geomspace(1 / 64, 64, 2000)
    return min(map(at, factors), key=lambda d: abs(math.log(family.cost(d).params / params)))


def networks(
    rows: Iterable[dict[str, Any]], strategy: str, repeat: int, trainings: int
) -> list[dict[str, Any]]:
    """The rows of a repeat's first trainings."""
    mine = [r for r in rows if r["strategy"] == strategy and int(r["repeat"]) == repeat]
    return [r for r in mine if int(r["number"]) <= trainings]


def pair(
    rows: list[dict[str, Any]],
    repeat: int,
    trainings: int,
    designs: Callable[[str], Design],
    family: Family,
) -> tuple[Design, Design] | None:
    """A guided network and a dealt-out one of its size, or None where nothing was acceptable."""
    guided = designs(networks(rows, "ckrm", repeat, trainings)[-1]["best_widths"])
    if guided == family.start:
        return None
    params = family.cost(guided).params
    tried = networks(rows, "noise", repeat, trainings)[1:]
    others = {designs(r["widths"]) for r in tried} - {family.start}
    nearest = min(others, key=lambda d: abs(math.log(family.cost(d).params / params)))
    return guided, scaled_to(nearest, params, family)


def compare(run: str, trainings: int = 4, seeds: int = 3) -> None:
    """Train the pairs and print a table."""
    console, place = Console(width=140), Path(run)
    settings, _ = read_run(place, {})
    data = read_data(console, settings)
    rows = list(csv.DictReader((place / "trainings.csv").open()))
    with Progress(console, None, settings.margin) as progress, progress.confirming():
        runner = make_runner(settings, data, place / "dealt_out", progress)
        journal = make_runner(settings, data, place).journal
        family = runner.family
        known = {family.describe(t.design): t.design for t in journal.current()}
        numbers = range(FIRST_SEED, FIRST_SEED + seeds)
        found = []
        for repeat in sorted({int(r["repeat"]) for r in rows}):
            made = pair(rows, repeat, trainings, known.__getitem__, family)
            if made is None:
                console.print(f"repeat {repeat}: nothing acceptable after {trainings} trainings")
                continue
            aucs = [train_all(runner, design, numbers) for design in made]
            found.append((repeat, made, aucs))
    table = Table(box=None)
    for name in ("repeat", "guided", "AUC", "dealt out", "AUC", "difference", "sizes"):
        table.add_column(name)
    for repeat, made, aucs in found:
        sizes = [family.cost(design).params for design in made]
        near = "" if abs(sizes[1] / sizes[0] - 1) <= NEAR else "not within a tenth"
        means = [float(np.mean(a)) for a in aucs]
        cells = [f"{size:,}" for size in sizes]
        table.add_row(
            str(repeat),
            cells[0],
            f"{means[0]:.3f}",
            cells[1],
            f"{means[1]:.3f}",
            f"{means[0] - means[1]:+.3f}",
            near,
        )
    console.print(table)
    differences = [np.mean(a) - np.mean(b) for _, _, (a, b) in found]
    better = sum(d > 0 for d in differences)
    mean = np.mean(differences)
    console.print(f"mean difference {mean:+.4f}, better in {better} of {len(differences)}")


if __name__ == "__main__":
    fire.Fire(compare)
