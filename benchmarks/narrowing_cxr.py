"""What narrowing keeps: the standard ResNet-50, trained once a fold, narrowed without a search.

    python benchmarks/narrowing_cxr.py --data cxr3_128.npz --out runs/narrowing --part starts
    python benchmarks/narrowing_cxr.py --data cxr3_128.npz --out runs/narrowing --part rows
    python benchmarks/narrowing_cxr.py --data cxr3_128.npz --out runs/narrowing --part claims
    python benchmarks/narrowing_cxr.py --data cxr3_128.npz --out runs/narrowing --part table

Three folds over all training and test images: each start is trained on two thirds of them and on
the validation images, and judged on the third it has not seen. `rows` narrows the start of the
first fold to each size by each criterion, with and without mending, and trains 0, 1 and 3 epochs;
beside it the same widths from fresh weights. `claims` repeats the named rows in the other folds,
each with a seed of its own. Mending and choosing see training images alone. A row that is in
`rows.jsonl` is not made again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import fire

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd

from ckrm_tf import Widths, cost, load_dataset, resnet
from ckrm_tf.data.folds import folds
from ckrm_tf.narrowing import Narrower
from ckrm_tf.narrowing.recalibrate import recalibrate
from ckrm_tf.stats import macro_auc, non_inferiority
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.trainer import Recipe, Trainer, predict

FOLDS = 3
SIZES = (0.5, 0.25, 0.1, 0.01)
SELECT = ("response", "pivot", "ckrm", "norm", "random")
AFTER = (0, 1, 3)
FULL = Recipe(epochs=12, learning_rate=0.002)
TUNE = Recipe(epochs=1, learning_rate=0.0001)
IMAGES = 256
MARGIN = 0.02
MENDED = {True: "mended", "once": "mended once", False: "plain"}


class Bench:
    """Starts, rows and their probabilities in one folder."""

    def __init__(self, data: str, out: str) -> None:
        self.folder = Path(out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folds = list(folds(load_dataset(data, image_size=48), FOLDS))
        self.file = self.folder / "rows.jsonl"
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.trainers: dict[Any, Trainer] = {}
        self.current: keras.Model | None = None
        self.narrower: Narrower | None = None
        self.starts: dict[int, keras.Model] = {}
        self.slices: dict[Any, tuple[keras.Model, list[Any], float]] = {}

    def start(self, fold: int) -> keras.Model:
        """The standard ResNet-50 of a fold, trained or read; once."""
        if fold not in self.starts:
            self.starts = {fold: self._start(fold)}
        return self.starts[fold]

    def _start(self, fold: int) -> keras.Model:
        data = self.folds[fold]
        path = self.folder / f"start{fold}.keras"
        if path.exists():
            return keras.models.load_model(path)
        trainer = Trainer(
            lambda: resnet(
                Widths.standard(),
                data.input_shape,
                data.classes,
                kernel_regularizer=FULL.regularizer(),
            ),
            data,
            FULL,
        )
        began = time.process_time()
        trainer.train(fold + 1)
        seconds = time.process_time() - began
        trainer.model.save(path)
        self.record(fold, "start", "", False, 0, FULL.epochs, trainer.model, seconds)
        return trainer.model

    def record(
        self,
        fold: int,
        kind: str,
        select: str,
        mend: bool | str,
        size: float,
        epochs: int,
        model: keras.Model,
        seconds: float,
    ) -> None:
        """Judge a model on its fold and write the row down."""
        data = self.folds[fold]
        probabilities = predict(model, data.test, data.scale)
        paid = cost(model)
        row = {
            "fold": fold,
            "kind": kind,
            "select": select,
            "mend": mend,
            "size": size,
            "epochs": epochs,
            "params": paid.params,
            "macs": paid.macs,
            "auc": macro_auc(data.test.labels, probabilities),
            "cpu_seconds": round(seconds, 1),
        }
        np.save(self.folder / f"{name_of(row)}.npy", probabilities)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def has(self, **row: Any) -> bool:
        """Whether such a row was made."""
        return any(all(r[k] == v for k, v in row.items()) for r in self.rows)

    def train(self, model: keras.Model, fold: int, recipe: Recipe, epochs: int, seed: int) -> Any:
        """Train a model from the weights it has; networks of one shape share a trace."""
        recipe = recipe.with_epochs(epochs)
        shapes = tuple(tuple(v.shape) for v in model.variables)
        key = fold, recipe, shapes
        if key not in self.trainers:
            self.trainers.clear()
            keras.backend.clear_session()
            self.trainers[key] = Trainer(lambda: self.current, self.folds[fold], recipe)
        self.current = model
        trainer = self.trainers[key]
        trainer.train(seed)
        return trainer.model

    def narrowed(
        self, start: keras.Model, fold: int, size: float, select: str, mend: bool | str
    ) -> tuple[keras.Model, float]:
        """A slice of the start and the CPU seconds that it took; the last size stays at hand."""
        key = fold, size, select, mend
        if any(k[:2] != key[:2] for k in self.slices):
            self.slices.clear()
        if key not in self.slices:
            small, seconds = self._narrowed(start, fold, size, select, mend)
            self.slices[key] = small, small.get_weights(), seconds
        small, weights, seconds = self.slices[key]
        small.set_weights(weights)
        return small, seconds

    def _narrowed(
        self, start: keras.Model, fold: int, size: float, select: str, mend: bool | str
    ) -> tuple[keras.Model, float]:
        if self.narrower is None or self.narrower.channels.model is not start:
            data = self.folds[fold]
            images = scaled(data.train.images[:IMAGES], data.scale)
            self.narrower = Narrower(start, images=images, seed=1)
        began = time.process_time()
        kept = self.narrower.choose({"macs": size}, select)
        small = self.narrower.build(kept, mend=mend)
        return small, time.process_time() - began

    def row(
        self, start: keras.Model, fold: int, size: float, select: str, mend: bool | str, after: Any
    ) -> None:
        """One slice of the start, judged after each number of epochs."""
        wanted = {"fold": fold, "kind": "slice", "select": select, "mend": mend, "size": size}
        todo = [e for e in after if not self.has(**wanted, epochs=e)]
        if not todo:
            return
        for epochs in todo:
            small, seconds = self.narrowed(start, fold, size, select, mend)
            model, spent = small, seconds
            if epochs:
                began = time.process_time()
                model = self.train(small, fold, TUNE, epochs, fold + 1)
                spent += time.process_time() - began
            self.record(fold, "slice", select, mend, size, epochs, model, spent)

    def all_rows(self, size: float, select: Any, mend: Any, after: Any) -> None:
        """Every row of one size in the first fold."""
        start = self.start(0)
        for epochs in after:
            for name in select:
                for way in mend:
                    self.row(start, 0, size, name, way, (epochs,))
            if epochs:
                self.fresh(start, 0, size, epochs)
        self.fresh(start, 0, size, FULL.epochs)

    def recalibrated(self, size: float, mend: bool | str) -> None:
        """A slice whose batch-norm statistics are estimated anew."""
        if self.has(fold=0, kind="recalibrated", size=size, mend=mend):
            return
        small, seconds = self.narrowed(self.start(0), 0, size, "pivot", mend)
        recalibrate(small, scaled(self.folds[0].train.images[:IMAGES], self.folds[0].scale))
        self.record(0, "recalibrated", "pivot", mend, size, 0, small, seconds)

    def fresh(self, start: keras.Model, fold: int, size: float, epochs: int) -> None:
        """The same widths from fresh weights by the plain recipe."""
        if self.has(fold=fold, kind="fresh", size=size, epochs=epochs):
            return
        small, _ = self.narrowed(start, fold, size, "norm", False)
        keras.utils.set_random_seed(fold + 1)
        fresh = keras.models.clone_model(small)
        began = time.process_time()
        model = self.train(fresh, fold, FULL, epochs, fold + 1)
        self.record(fold, "fresh", "", False, size, epochs, model, time.process_time() - began)


def name_of(row: dict[str, Any]) -> str:
    """The name of a row's file of probabilities."""
    mend = MENDED[row["mend"]]
    keys = (row["kind"], row["select"], mend, row["size"], row["epochs"], f"fold{row['fold']}")
    return "_".join(str(k) for k in keys if k != "")


def main(
    data: str,
    out: str = "runs/narrowing",
    part: str = "table",
    sizes: Any = SIZES,
    select: Any = SELECT,
    mend: Any = tuple(MENDED),
    after: Any = AFTER,
    fold_numbers: Any = (1, 2),
) -> None:
    bench = Bench(data, out)
    sizes, select, mend, after = (
        x if isinstance(x, list | tuple) else (x,) for x in (sizes, select, mend, after)
    )
    if part == "starts":
        for fold in range(FOLDS):
            bench.start(fold)
    elif part == "rows":
        for size in sizes:
            bench.all_rows(size, select, mend, after)
    elif part == "recalibrated":
        for size in sizes:
            for mend in (True, False):
                bench.recalibrated(size, mend)
    elif part == "claims":
        for fold in fold_numbers:
            for size in sizes:
                for name in select:
                    bench.row(bench.start(fold), fold, size, name, True, after)
    else:
        show(bench)


def show(bench: Bench) -> None:
    """The tables: every row of the first fold, then what holds over all folds."""
    frame = pd.DataFrame(bench.rows)
    first = frame[frame.fold == 0]
    start = first[first.kind == "start"].iloc[0]
    print(f"start: {start.params:,} parameters, {start.macs / 1e6:.1f} M MACs, AUC {start.auc:.3f}")
    rows = first[first.kind.isin(["slice", "fresh"])].copy()
    rows["way"] = [
        "fresh" if k == "fresh" else f"{s}, {MENDED[m]}"
        for k, s, m in zip(rows.kind, rows["select"], rows["mend"], strict=True)
    ]
    table = rows.pivot_table(index=["size", "way"], columns="epochs", values="auc", sort=False)
    print(table.round(3).to_string(na_rep=""))
    print(
        first[first.kind == "recalibrated"][["size", "mend", "auc"]].round(3).to_string(index=False)
    )
    for key, group in frame[frame.kind == "slice"].groupby(["size", "select", "mend", "epochs"]):
        if len(group) == FOLDS:
            print(key, verdict(bench, group))


def verdict(bench: Bench, group: pd.DataFrame) -> str:
    """The difference to the start over all folds, each judged by its own networks."""
    labels, reference, candidate, place = [], [], [], []
    starts = {r["fold"]: r for r in bench.rows if r["kind"] == "start"}
    for row in group.to_dict("records"):
        split = bench.folds[row["fold"]].test
        labels.append(split.labels)
        reference.append(np.load(bench.folder / f"{name_of(starts[row['fold']])}.npy"))
        candidate.append(np.load(bench.folder / f"{name_of(row)}.npy"))
        place.append(np.full(len(split.labels), row["fold"]))
    found = non_inferiority(
        np.concatenate(labels),
        np.concatenate(reference)[None],
        np.concatenate(candidate)[None],
        margin=MARGIN,
        folds=np.concatenate(place),
    )
    aucs = ", ".join(f"{a:.3f}" for a in group.auc)
    return f"AUC {aucs}; difference {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


if __name__ == "__main__":
    fire.Fire(main)
