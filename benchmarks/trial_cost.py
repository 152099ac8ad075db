"""What a trial costs besides its gradient steps: plain Keras against `Trainer` and `measure`.

    python benchmarks/trial_cost.py

Each variant runs in a process of its own, on the same phantoms, network, epochs and batches:
`plain` is `compile(Adam, loss)` + `fit(validation_data=...)` + AUC + the CKRM table + save; `ours`
is what a search does. A step is timed by fitting on in the same process once everything is traced
(for `plain` with its validation after each epoch, which so counts as steps, not as set-up); set-up
= total - steps * time of a step. CPU seconds of all threads; Python's start and imports left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fire

VARIANTS = ("plain", "ours")


def plain(data: Any, recipe: Any, model: Any, folder: Path) -> tuple[int, Any]:
    import keras  # noqa: PLC0415 - each variant imports in its own process
    import numpy as np  # noqa: PLC0415

    from ckrm_tf.measures.table import measure  # noqa: PLC0415
    from ckrm_tf.stats import macro_auc  # noqa: PLC0415

    x, y = data.train.images.astype(np.float32) / 255, data.train.labels
    val = data.val.images.astype(np.float32) / 255, data.val.labels
    steps = -(-len(x) // recipe.batch_size) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def fit(epochs: int) -> None:
        model.fit(
            x,
            y,
            batch_size=recipe.batch_size,
            epochs=epochs,
            verbose=0,
            validation_data=val,
        )

    fit(recipe.epochs)
    logits = model.predict(val[0], verbose=0)
    macro_auc(val[1], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    measure(model)
    model.save_weights(folder / "plain.weights.h5")
    return steps, fit


def ours(data: Any, recipe: Any, build: Any, folder: Path) -> tuple[int, Any]:
    from ckrm_tf.criteria.signals import width_signals  # noqa: PLC0415
    from ckrm_tf.measures.table import measured_lambdas  # noqa: PLC0415
    from ckrm_tf.train.batches import Batches  # noqa: PLC0415 - as above
    from ckrm_tf.train.trainer import Trainer  # noqa: PLC0415

    trainer = Trainer(build, data, recipe)
    trained = trainer.train(1)
    width_signals(trainer.model)
    measured_lambdas(trainer.model)
    trainer.model.save_weights(folder / "ours.weights.h5")

    batches = Batches(data.train, data.scale, recipe.batch_size, seed=1)
    return trained.steps, lambda epochs: trainer.network.fit(
        batches.dataset(epochs),
        epochs=epochs,
        steps_per_epoch=len(batches),
        verbose=0,
        shuffle=False,
    )


def one(variant: str, images: int, size: int, epochs: int, folder: str) -> None:
    """Run one variant in this process and print its figures as JSON."""
    import keras  # noqa: PLC0415 - as above

    from ckrm_tf import Widths, resnet  # noqa: PLC0415
    from ckrm_tf.data.phantom import phantom  # noqa: PLC0415
    from ckrm_tf.train.recipe import Recipe  # noqa: PLC0415

    data = phantom(n=(images, 200, 200), image_size=size)
    recipe = Recipe(epochs=epochs)
    widths = Widths.from_rule(16, 0.75)

    def build() -> Any:
        return resnet(
            widths, data.input_shape, data.classes, kernel_regularizer=recipe.regularizer()
        )

    keras.ops.convert_to_numpy(keras.ops.ones((2, 2)) @ keras.ops.ones((2, 2)))
    started, cpu = time.perf_counter(), time.process_time()
    if variant == "plain":
        steps, fit = plain(data, recipe, build(), Path(folder))
    else:
        steps, fit = ours(data, recipe, build, Path(folder))
    wall, total = time.perf_counter() - started, time.process_time() - cpu
    fit(1)
    cpu, epochs_more = time.process_time(), max(4, epochs // 2)
    fit(epochs_more)
    per_step = (time.process_time() - cpu) / (steps / epochs * epochs_more)
    print(json.dumps({"steps": steps, "wall": wall, "cpu": total, "per_step": per_step}))


def compare(images: int = 600, size: int = 64, epochs: int = 12) -> None:
    """Print the table for both variants.

    Args:
        images: training images; validation and test have 200 each.
        size: side in pixels.
        epochs: of each training.
    """
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in VARIANTS:
            arguments = [variant, str(images), str(size), str(epochs), folder]
            done = subprocess.run(
                [sys.executable, __file__, "one", *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            rows[variant] = json.loads(done.stdout.splitlines()[-1])
    print(f"slim ResNet-50 (16, .75), {size} px, {images} images, {epochs} epochs; CPU seconds")
    print(f"{'':<8}{'total':>9}{'steps':>8}{'s/step':>9}{'in steps':>10}{'set-up':>9}{'wall':>9}")
    setup = {}
    for variant, row in rows.items():
        inside = row["steps"] * row["per_step"]
        setup[variant] = row["cpu"] - inside
        print(
            f"{variant:<8}{row['cpu']:>9.1f}{row['steps']:>8}{row['per_step']:>9.4f}"
            f"{inside:>10.1f}{setup[variant]:>9.1f}{row['wall']:>9.1f}"
        )
    print(f"set-up, ours / plain: {setup['ours'] / setup['plain']:.2f} (reach: 0.50)")
    print(f"whole trial, ours / plain: {rows['ours']['cpu'] / rows['plain']['cpu']:.2f}")


if __name__ == "__main__":
    fire.Fire({"one": one, "compare": compare} if sys.argv[1:2] == ["one"] else compare)
