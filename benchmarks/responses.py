"""What the measure on responses says, which of its two forms says more, and what it costs.

    python benchmarks/responses.py --data cxr3_128.npz --out runs/responses --part start
    python benchmarks/responses.py --data cxr3_128.npz --out runs/responses --part forms
    python benchmarks/responses.py --data cxr3_128.npz --out runs/responses --part table
    python benchmarks/responses.py --data cxr3_128.npz --out runs/responses --part null
    python benchmarks/responses.py --data cxr3_128.npz --out runs/responses --part cost

`start` trains the network that the trainings of `docs/results/compare.jsonl` began with.
`forms` measures it on 256 training images in both forms, and holds the share of the channels that
each width needs against what a doubling of that width brought: the slopes of AUC on log2 of the
widths, over those trainings. `table` prints the default form. `null` measures untrained networks
against their nulls. `cost` holds
the CPU seconds against those of a forward pass. No image of the test split is looked at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fire

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ckrm_tf import Layout, ResNetFamily, Widths, load_dataset, resnet
from ckrm_tf.criteria.response import response_signals
from ckrm_tf.measures.responses import FORMS, ResponseMeasure, response_measure
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer

COMPARED = Path(__file__).parents[1] / "docs" / "results" / "compare.jsonl"
START = Widths.from_rule(32, 2.0, (1, 1, 1, 1))
EPOCHS = 12
LEARNING_RATE = 0.002
IMAGES = 256


class Bench:
    """A data set and a folder of trained starts."""

    def __init__(self, data: str, out: str) -> None:
        self.folder = Path(out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = load_dataset(data, image_size=48)
        drawn = np.random.default_rng(0).permutation(len(self.data.train))[:IMAGES]
        self.images = scaled(self.data.train.images[drawn], self.data.scale)

    def start(self, seed: int) -> keras.Model:
        """The start of a seed, trained or read."""
        path = self.folder / f"start{seed}.keras"
        if path.exists():
            return keras.models.load_model(path)
        recipe = Recipe(epochs=EPOCHS, learning_rate=LEARNING_RATE)
        trainer = Trainer(
            lambda: resnet(
                START,
                self.data.input_shape,
                self.data.classes,
                kernel_regularizer=recipe.regularizer(),
            ),
            self.data,
            recipe,
        )
        began = time.process_time()
        found = trainer.train(seed)
        print(f"seed {seed}: AUC val {found.val_auc:.3f}, {time.process_time() - began:.0f} CPU s")
        trainer.model.save(path)
        return trainer.model

    def forms(self, seeds: Sequence[int]) -> None:
        """Both forms against the slopes."""
        slopes = width_slopes()
        print(slopes.to_string(float_format="%.4f"))
        family = ResNetFamily(START, self.data.input_shape, self.data.classes, Layout())
        rows = []
        for seed in seeds:
            model = self.start(seed)
            for form in FORMS:
                began = time.process_time()
                signals = response_signals(model, family, self.images, form=form, nulls=0)
                spent = time.process_time() - began
                needed = pd.Series({name: s.needed for name, s in signals.items()})
                redundant = pd.Series({name: s.redundancy for name, s in signals.items()})
                names = list(slopes.index)
                rows.append(
                    {
                        "seed": seed,
                        "form": form,
                        "CPU s": spent,
                        "needed, Spearman": spearmanr(needed[names], slopes).statistic,
                        "needed, Pearson": np.corrcoef(needed[names], slopes)[0, 1],
                        "redundancy, Spearman": spearmanr(redundant[names], slopes).statistic,
                    }
                )
                print(f"\nseed {seed}, {form}: share of the channels needed")
                print(needed[names].to_string(float_format="%.3f"), flush=True)
        print("\n" + pd.DataFrame(rows).to_string(index=False, float_format="%.2f"))

    def null(self, times: int = 10) -> None:
        """How often an untrained network is told to be redundant somewhere."""
        shape, classes = self.data.input_shape, self.data.classes
        for name, widths in (("start", START), ("narrow", Widths.from_rule(8, 2.0, (1, 1)))):
            told = []
            for seed in range(times):
                keras.utils.set_random_seed(100 + seed)
                table = response_measure(resnet(widths, shape, classes), self.images, seed=seed)
                told.append(int(np.sum(table["lambda_response"] > table["lambda_bar"])))
            print(f"{name}: of {len(table)} widths told in {times} untrained networks: {told}")

    def cost(self, repeats: int = 3) -> None:
        """CPU seconds of a measurement and of a forward pass of the same images."""
        for name, widths in (("start", START), ("standard", Widths.standard())):
            model = resnet(widths, self.data.input_shape, self.data.classes)
            measure = ResponseMeasure(model, self.images)
            began = time.process_time()
            measure.measured(directions=False)
            first = time.process_time() - began
            spent: dict[str, Any] = {"first, compiled": first}
            spent |= {
                "forward pass": seconds(forward(model, self.images, jit=False), repeats),
                "forward pass with XLA": seconds(forward(model, self.images, jit=True), repeats),
                "lambda and needed": seconds(partial(measure.measured, directions=False), repeats),
                "with directions": seconds(measure.measured, repeats),
            }
            ratio = spent["lambda and needed"] / spent["forward pass"]
            print(f"{name}, {measure.summing.compiled}:")
            print(json.dumps({k: round(v, 2) for k, v in spent.items()}), f"ratio {ratio:.2f}")


def width_slopes() -> pd.Series:
    """AUC gained by a doubling of each width, least squares over the full trainings compared."""
    lines = [json.loads(line) for line in COMPARED.read_text().splitlines()]
    rows = [row for row in lines if row["epochs"] == EPOCHS and row["status"] == "completed"]
    widths = pd.DataFrame(
        [
            {"stem/filters": row["widths"]["stem"]}
            | {
                f"stage{number}/{part}": stage[part]
                for number, stage in enumerate(row["widths"]["stages"], 1)
                for part in ("mid", "out")
            }
            for row in rows
        ]
    )
    design = np.column_stack([np.ones(len(widths)), np.log2(widths)])
    slopes, *_ = np.linalg.lstsq(design, np.array([row["val_auc"] for row in rows]), rcond=None)
    print(f"{len(rows)} trainings")
    return pd.Series(slopes[1:], widths.columns, name="AUC a doubling")


def forward(model: keras.Model, images: np.ndarray, *, jit: bool) -> Callable[[], Any]:
    """A compiled forward pass."""
    import tensorflow as tf  # noqa: PLC0415 - only this part needs it

    values = tf.constant(images)
    run = tf.function(lambda x: model(x, training=False), jit_compile=jit)
    return lambda: run(values).numpy()


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The least CPU seconds of some calls, after a first that compiles."""
    call()
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return min(spent)


def main(data: str, out: str, part: str, seeds: Sequence[int] = (1, 2)) -> None:
    bench = Bench(data, out)
    if part == "start":
        for seed in seeds:
            bench.start(seed)
    elif part == "forms":
        bench.forms(seeds)
    elif part == "table":
        for seed in seeds:
            print(response_measure(bench.start(seed), bench.images).to_string())
    elif part in ("null", "cost"):
        getattr(bench, part)()
    else:
        raise SystemExit(f"--part: expected start, forms, table, null or cost, received {part}")


if __name__ == "__main__":
    fire.Fire(main)
