"""What is lost without a stage: in slices of trained starts, and in networks trained anew.

    python benchmarks/stages.py RUN [--records FILE,FILE]

RUN is the folder of a `search.compare`. Each of its trained starts is sliced to lack one stage, and
judged on the validation images. The records are lines of journals: one row for each network, by its
mean AUC, with 8,000 to 400,000 parameters. AUC is regressed on the logarithm of the parameters and
on which stages are absent, weighted by the number of trainings. By default the records are those of
comparisons in which no search chose a stage to leave out.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import fire
import numpy as np
from rich.console import Console

from ckrm_tf.data.hold_out import hold_out
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.narrowing.scorer import Scorer
from ckrm_tf.train.batches import scaled
from search.console import read_data
from search.run_folder import read_run
from search.session import make_runner

FIT = 256
LEAST, MOST = 8_000, 400_000
RECORDS = [f"docs/results/compare{name}.jsonl" for name in ("", "_held", "_belief", "_belief_held")]


def slices(console: Console, run: Path) -> None:
    """The AUC of every trained start without each of its stages."""
    settings, _ = read_run(run, {})
    data = read_data(console, settings)
    less, _ = hold_out(data, settings.score_share) if settings.score_share else (data, None)
    runner = make_runner(settings, less, run)
    start = runner.family.start
    fit = scaled(evenly(less.train.images, FIT), less.scale)
    judge = scaled(data.val.images, data.scale)
    for training in runner.journal.current():
        path = runner.weights_of(training)
        if training.design != start or path is None or not path.is_file():
            continue
        model = runner.build(start)
        model.load_weights(path)
        stages = runner.family.bypasses(start)
        scorer = Scorer(model, fit, judge, data.val.labels, bypasses=stages)
        found = {"whole": scorer.score({})} | {n: scorer.score({}, {n: 0}) for n in stages}
        told = ", ".join(f"{name} {auc:.4f}" for name, auc in found.items())
        console.print(f"seed {training.seed}: {told}")


def anew(console: Console, records: list[str]) -> None:
    """The regression over networks that were trained."""
    aucs: dict[str, dict[int, float]] = defaultdict(dict)
    for path in records:
        for line in Path(path).read_text().splitlines():
            training = json.loads(line)
            if training.get("val_auc") is not None and "widths" in training:
                key = json.dumps([training["params"], training["widths"]["stages"]])
                aucs[key][training["seed"]] = training["val_auc"]
    rows, values, counts = [], [], []
    for key, found in aucs.items():
        params, stages = json.loads(key)
        if LEAST < params < MOST:
            gone = [float(stage["blocks"] == 0) for stage in stages]
            rows.append([1.0, math.log2(params / 50_000), *gone])
            values.append(float(np.mean(list(found.values()))))
            counts.append(len(found))
    x, y = np.array(rows), np.array(values)
    scale = np.sqrt(np.array(counts, float))[:, None]
    beta = np.linalg.lstsq(x * scale, y * scale[:, 0], rcond=None)[0]
    residual = (x @ beta - y) * scale[:, 0]
    spread = residual @ residual / (len(y) - len(beta))
    errors = np.sqrt(np.diag(np.linalg.inv((x * scale).T @ (x * scale))) * spread)
    console.print(f"{len(y)} networks, absent {x[:, 2:].sum(0).astype(int).tolist()}")
    names = ["at 50,000", "each doubling", *(f"no stage {n}" for n in range(1, len(beta) - 1))]
    for name, value, error in zip(names, beta, errors, strict=True):
        console.print(f"{name:<14} {value:+.4f} ({error:.4f})")


def main(run: str | None = None, records: str | tuple[str, ...] = tuple(RECORDS)) -> None:
    """Print both."""
    console = Console(width=140)
    if run is not None:
        slices(console, Path(run))
    anew(console, [records] if isinstance(records, str) else list(records))


if __name__ == "__main__":
    fire.Fire(main)
