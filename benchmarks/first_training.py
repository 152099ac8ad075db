"""Whether the same training gives the same weights in every process, first and second.

    python -m benchmarks.first_training DATA.npz [--filters 4] [--processes 12] [--plain]

Each process trains one small ResNet twice from the same seed. Printed is how many different sets of
weights the first trainings gave, and the second ones, with oneDNN on and off. With `--plain` the
strided 1x1 convolutions keep their stride (`ckrm_tf.train.sampled`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import fire

CODE = """
import contextlib, hashlib, sys
import tensorflow as tf
threads = int(sys.argv[2])
if threads:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
from ckrm_tf import ResNetFamily, Widths
from ckrm_tf.data import load_dataset
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train import trainer as trainers

if sys.argv[4] == "True":
    trainers.sampled_strides = contextlib.nullcontext
data = load_dataset(sys.argv[1], image_size=48)
widths = Widths.from_rule(int(sys.argv[3]), 2.0, (1, 1, 1, 1))
family = ResNetFamily(widths, data.input_shape, data.classes)
recipe = Recipe(epochs=1, batch_size=32)
for _ in range(2):
    trainer = trainers.Trainer(lambda: family.build(family.start), data, recipe)
    trainer.train(1)
    weights = b"".join(w.tobytes() for w in trainer.model.get_weights())
    print(hashlib.sha256(weights).hexdigest()[:8])
"""


def main(
    data: str, filters: int = 4, processes: int = 12, threads: int = 0, plain: bool = False
) -> None:
    """Print one line for each setting of oneDNN."""
    for onednn in ("1", "0"):
        found: list[Counter[str]] = [Counter(), Counter()]
        ends = Counter[int]()
        for _ in range(processes):
            done = subprocess.run(
                [sys.executable, "-c", CODE, *map(str, (data, threads, filters, plain))],
                env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
                capture_output=True,
                text=True,
                check=False,
            )
            ends[done.returncode] += 1
            for counter, weights in zip(found, done.stdout.split(), strict=False):
                counter[weights] += 1
        first, second = (len(counter) for counter in found)
        print(
            f"oneDNN {onednn}: {first} different first trainings, {second} second ones, "
            f"{len(found[0] + found[1])} in all; exit status {dict(ends)}",
            flush=True,
        )


if __name__ == "__main__":
    fire.Fire(main)
