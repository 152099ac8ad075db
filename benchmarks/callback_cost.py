"""What `CKRMCallback` costs beside the training it watches.

    python benchmarks/callback_cost.py

The default run's starting network and recipe, one epoch on its phantoms, measured after it. CPU
seconds of all threads; the first measurement, which compiles, is shown apart.
"""

from __future__ import annotations

import os
import time
from typing import Any

import fire

# As the commands set it; TensorFlow reads it when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from ckrm_tf import CKRMCallback, load_dataset, resnet
from ckrm_tf.train.trainer import Trainer
from ckrm_tf.tuning.setup import EVERY
from search.settings import load_settings


class TimedCallback(CKRMCallback):
    """The callback, and the CPU seconds of each of its measurements."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, timed."""
        started = time.process_time()
        super().on_epoch_end(epoch, logs)
        self.seconds.append(time.process_time() - started)


def main(image_size: int = 48, epochs: int = 2) -> None:
    settings = load_settings(None, {"image_size": image_size, "epochs": epochs})
    data = load_dataset(settings.data, image_size=settings.image_size)
    recipe = settings.recipe
    callback = TimedCallback()
    trainer = Trainer(
        lambda: resnet(
            settings.start,
            data.input_shape,
            data.classes,
            kernel_regularizer=recipe.regularizer(),
        ),
        data,
        recipe,
    )
    started = time.process_time()
    trainer.train(1, [callback])
    training = (time.process_time() - started - sum(callback.seconds)) / epochs
    first, *later = callback.seconds
    steady = sum(later) / len(later) if later else first
    print(f"{settings.start}, {image_size} px, {len(data.train)} images")
    print(f"one epoch with its share of set-up  {training:8.1f} CPU s")
    print(f"first measurement, compiling        {first:8.1f} CPU s")
    print(f"a measurement after that            {steady:8.2f} CPU s")
    for every in (1, EVERY):
        print(f"every {every} epoch(s): {steady / (every * training):.2%} of the training")


if __name__ == "__main__":
    fire.Fire(main)
