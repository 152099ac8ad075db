"""What a slim network gains from the trained start: its soft probabilities, or its mended slice.

    python benchmarks/teach_and_inherit.py --data cxr3_128.npz --out runs/teach

Three slim shapes on three folds of training and validation images; the test split stays closed.
Each is trained plainly for all epochs, taught by the start, and from the mended slice of the start
for a quarter of the epochs and for all. Fold k is taught and sliced by the start of fold k alone.
Pairs have fold and seed in common; the interval is of the folds' means (Student's t). What is in
`trials.jsonl` is not trained again. CPU seconds are of the whole training, with what it takes over;
the slices of a fold share one choice of channels, which the first of them pays.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fire
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from ckrm_tf import Design, ResNetFamily, Stage, Widths, load_dataset
from ckrm_tf.criteria.registry import signal_rule
from ckrm_tf.data.folds import search_folds
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import Training
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import PLAIN, WEIGHT, Way
from ckrm_tf.tuning.runner import Runner

FOLDS = 3
RECIPE = Recipe(epochs=12, learning_rate=0.002, shift=2)
START = Widths.from_rule(32, 2, (1, 1, 1, 1))
# Found by the greedy descent on scores of slices from another training of this start.
SHAPES = (
    (32, (32, 41, 34, 18), (128, 107, 90, 76)),
    (32, (32, 26, 34, 7), (53, 69, 24, 49)),
    (20, (20, 16, 22, 7), (34, 44, 24, 49)),
)
WAYS = {
    "plain": PLAIN,
    "taught": Way(distill=WEIGHT),
    "slice_quarter": Way(slice=True, share=0.25),
    "slice_all": Way(slice=True),
    "taught_slice_quarter": Way(distill=WEIGHT, slice=True, share=0.25),
}


def main(
    data: str,
    out: str = "runs/teach",
    epochs: int = RECIPE.epochs,
    ways: tuple[str, ...] = tuple(WAYS),
) -> None:
    """Train what is missing, then print the table.

    Args:
        data: a MedMNIST file.
        out: the folder of the journal and the weights.
        epochs: of the recipe.
        ways: which to train and show, plain the first.
    """
    images = load_dataset(data, image_size=48)
    family = ResNetFamily(START, images.input_shape, images.classes)
    folder = Path(out)
    runner = Runner(
        images,
        RECIPE.with_epochs(epochs),
        Journal(folder / "trials.jsonl", family),
        family,
        signals=signal_rule("ckrm"),
        weights_dir=folder / "weights",
        folds=search_folds(images, FOLDS),
        on_training=lambda t, new: print(line(t), flush=True) if new else None,
    )
    designs = [design_of(*shape) for shape in SHAPES]
    found: dict[tuple[int, str, int], Training] = {}
    for seed in range(1, FOLDS + 1):
        start = runner.run(family.start, seed)
        print(f"fold {seed}: start {start.val_auc:.3f}, {start.cpu_seconds:.0f} CPU s", flush=True)
        for number, design in enumerate(designs):
            for name in ways:
                found[number, name, seed] = runner.run(design, seed, way=WAYS[name])
    Console(width=130).print(table(designs, family, found, ways))


def design_of(stem: int, mid: tuple[int, ...], out: tuple[int, ...]) -> Design:
    """A network of one block a stage."""
    return Widths(stem, tuple(Stage(1, *pair) for pair in zip(mid, out, strict=True))).to_design()


def line(t: Training) -> str:
    """One training as it ends."""
    auc = "failed" if t.val_auc is None else f"{t.val_auc:.4f}"
    told = f"{t.params:,} fold {t.fold} {t.how}, {t.epochs} epochs"
    return f"    {told}: {auc}, {t.cpu_seconds:.1f} CPU s"


def table(
    designs: list[Design],
    family: ResNetFamily,
    found: dict[tuple[int, str, int], Training],
    ways: tuple[str, ...],
) -> Table:
    """Per way: mean AUC of each shape, and the difference to plain over pairs and folds."""
    made = Table(box=None, pad_edge=False)
    sizes = [f"{family.cost(design).params:,}" for design in designs]
    for column in ("way", *sizes, "difference", "s.d. of pairs", "95% over folds", "CPU s"):
        made.add_column(column, justify="left" if column == "way" else "right")
    seeds = range(1, FOLDS + 1)
    for name in ways:
        aucs = np.array([[found[d, name, s].val_auc for s in seeds] for d in range(len(designs))])
        base = np.array(
            [[found[d, "plain", s].val_auc for s in seeds] for d in range(len(designs))]
        )
        spent = np.mean([found[d, name, s].cpu_seconds for d in range(len(designs)) for s in seeds])
        told = [f"{auc:.4f}" for auc in aucs.mean(axis=1)]
        pairs = aucs - base
        if name == "plain":
            differences = ["", "", ""]
        else:
            means = pairs.mean(axis=0)
            reach = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
            low, high = means.mean() - reach, means.mean() + reach
            differences = [
                f"{pairs.mean():+.4f}",
                f"{pairs.std(ddof=1):.4f}",
                f"[{low:+.4f}, {high:+.4f}]",
            ]
        made.add_row(name, *told, *differences, f"{spent:.1f}")
    return made


if __name__ == "__main__":
    fire.Fire(main)
