"""Equal small trainings in one process and on several workers: wall time, and what the driver does.

    python benchmarks/workers.py --trainings 20 --workers 2

Prints the wall time of both, their ratio with and without the start of Ray and of the workers, the
processor time that the driver spends on a training and the bytes that come back, and how many
trainings a second one driver can write down: the rest of its work is waiting.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import fire
import numpy as np

# As the commands set it; TensorFlow reads it when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from ckrm_tf import ResNetFamily, Widths
from ckrm_tf.cluster.crew import Crew
from ckrm_tf.cluster.engine import connected
from ckrm_tf.cluster.pool import WorkerPool
from ckrm_tf.cluster.share import local_share
from ckrm_tf.data.phantom import phantom
from ckrm_tf.store.journal import Journal
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.tuning.setup import Setup

# Records written in a row to see how many a second there may be.
WRITTEN = 200


def main(
    trainings: int = 20,
    workers: int = 2,
    filters: int = 16,
    image_size: int = 32,
    images: int = 384,
    epochs: int = 8,
) -> None:
    data = phantom(n=(images, 96, 96), image_size=image_size)
    widths = Widths.from_rule(filters, 2.0, (1, 1))
    family = ResNetFamily(widths, data.input_shape, data.classes)
    setup = Setup(data, Recipe(epochs=epochs), family)
    seeds = range(1, trainings + 1)
    with tempfile.TemporaryDirectory() as folder:
        alone = _runner(setup, Path(folder, "alone"))
        began = time.perf_counter()
        for seed in seeds:
            alone.run(family.start, seed)
        serial = time.perf_counter() - began
        together = _runner(setup, Path(folder, "workers"))
        began = time.perf_counter()
        with (
            connected(None, workers) as ray,
            WorkerPool(Crew(ray, local_share(workers, 0, None), workers)) as pool,
        ):
            while len(pool.crew.idle()) < workers:
                pool.expect(together, ())
                time.sleep(0.1)
            started = time.perf_counter()
            cpu = time.process_time()
            together.pool = pool
            together.expect((family.start, seed) for seed in seeds)
            for seed in seeds:
                together.run(family.start, seed)
            cpu = time.process_time() - cpu
            ended = time.perf_counter()
        rate, weights = _written(setup, alone, Path(folder, "written"))
        done = [t for t in together.journal.current() if t.val_auc is not None]
        print(
            json.dumps(
                {
                    "trainings": len(done),
                    "workers": workers,
                    "cores": os.cpu_count(),
                    "load": os.getloadavg(),
                    "serial seconds": round(serial, 1),
                    "workers seconds": round(ended - started, 1),
                    "ratio": round((ended - started) / serial, 3),
                    "start of Ray and workers": round(started - began, 1),
                    "ratio with the start": round((ended - began) / serial, 3),
                    "driver cpu seconds a training": round(cpu / trainings, 3),
                    "bytes a training": pool.received // trainings,
                    "bytes of weights": weights,
                    "records written a second": round(rate, 1),
                    "step seconds, one process": _steps(alone),
                    "step seconds, workers": _steps(together),
                },
                indent=1,
            )
        )


def _runner(setup, folder):
    return setup.runner(Journal(folder / "trials.jsonl", setup.family), folder / "weights")


def _written(setup, trained, folder):
    """Trainings a second that can be kept: weights, checksum, journal, each flushed to the disk."""
    (first, *_) = trained.journal.current()
    weights = trained.weights_path(*first.key).read_bytes()
    runner = _runner(setup, folder)
    began = time.perf_counter()
    for seed in range(WRITTEN):
        runner.take(replace(first, seed=seed), weights)
    return WRITTEN / (time.perf_counter() - began), len(weights)


def _steps(runner):
    return round(float(np.median([t.step_seconds for t in runner.journal.current()])), 2)


if __name__ == "__main__":
    fire.Fire(main)
