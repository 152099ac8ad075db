"""Whether memory grows with the number of trials: resident memory after each of 20.

    python benchmarks/memory.py

Every trial is another network, as in a search, and goes through `Runner.run` and `release`. The
slope is that of the second half: the first trials fill TensorFlow's pools and compile the measure.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import fire
import numpy as np

from ckrm_tf import ResNetFamily, Stage, Widths
from ckrm_tf.data.phantom import phantom
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import FAILED
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.tuning.runner import Runner


def resident() -> float:
    """Resident memory of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system has no /proc/self/status")


def memory(trials: int = 20, size: int = 32) -> None:
    """Print resident memory and live objects after each trial, and the slope.

    Args:
        trials: networks to train.
        size: side of the images in pixels.
    """
    data = phantom(n=(64, 32, 32), image_size=size)
    series = []
    with tempfile.TemporaryDirectory() as folder:
        first = Widths(40, (Stage(2, 40, 80), Stage(2, 40, 80)))
        family = ResNetFamily(first, data.input_shape, data.classes)
        runner = Runner(
            data,
            Recipe(epochs=1),
            Journal(Path(folder) / "trials.jsonl", family),
            family,
            weights_dir=Path(folder) / "weights",
        )
        for trial in range(trials):
            width = 40 - trial
            widths = Widths(width, (Stage(2, width, 2 * width), Stage(2, width, 2 * width)))
            training = runner.run(widths.to_design(), 1)
            if training.status == FAILED:
                raise SystemExit(training.reason)
            runner.release()
            series.append(resident())
            print(
                f"{trial + 1:>3}  {training.params:>8,} params  {series[-1]:8.1f} MiB  "
                f"{len(gc.get_objects()):>9,} Python objects",
                flush=True,
            )
    half = np.array(series[len(series) // 2 :])
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    print(f"slope over the second half: {slope:+.2f} MiB a trial")


if __name__ == "__main__":
    fire.Fire(memory)
