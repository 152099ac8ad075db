"""Which strided 1x1 convolutions end the process when TensorFlow runs them with oneDNN.

    python benchmarks/onednn_crash.py [--threads 1] [--transposed]

Each runs 300 times, forward and backward, on 32 maps of 12x12 in a process of its own. With
`--transposed` they are transposed convolutions, to the few channels. Printed is the exit status of
each: 0 where it came to its end, negative where a signal ended it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import fire

# Channels in, channels out.
CASES = (
    (3, 512),
    (4, 16),
    (4, 128),
    (4, 256),
    (4, 384),
    (4, 512),
    (4, 1024),
    (5, 512),
    (7, 512),
    (8, 512),
)
CODE = """
import sys
import tensorflow as tf

inside, outside, threads = map(int, sys.argv[1:4])
transposed = sys.argv[4] == "True"
if threads:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
maps = tf.random.normal((32, 12, 12, outside if transposed else inside))
kernel = tf.Variable(tf.random.normal((1, 1, inside, outside)))

@tf.function
def step():
    with tf.GradientTape() as tape:
        tape.watch(maps)
        if transposed:
            found = tf.nn.conv2d_transpose(maps, kernel, (32, 24, 24, inside), 2, "SAME")
        else:
            found = tf.nn.conv2d(maps, kernel, 2, "SAME")
        loss = tf.reduce_sum(found ** 2)
    return tape.gradient(loss, [kernel, maps])

for _ in range(300):
    step()
"""


def main(threads: int = 0, transposed: bool = False) -> None:
    """Print the table."""
    for inside, outside in CASES:
        for onednn in ("1", "0"):
            done = subprocess.run(
                [sys.executable, "-c", CODE, *map(str, (inside, outside, threads, transposed))],
                env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
                stderr=subprocess.DEVNULL,
                check=False,
            )
            print(f"{inside} -> {outside}, oneDNN {onednn}: {done.returncode}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)
