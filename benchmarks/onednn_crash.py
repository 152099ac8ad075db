"""Which strided 1x1 convolutions end the process when TensorFlow runs them with oneDNN.

    python benchmarks/onednn_crash.py

Each runs 300 times, forward and backward, on 32 maps of 12x12 in a process of its own. Printed is
the exit status of each: 0 where it came to its end, negative where a signal ended it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import fire

# Channels in, channels out.
CASES = ((3, 512), (4, 128), (4, 256), (4, 384), (4, 512), (4, 1024), (5, 512), (7, 512), (8, 512))
CODE = """
import sys
import tensorflow as tf

inside, outside = map(int, sys.argv[1:])
maps = tf.random.normal((32, 12, 12, inside))
kernel = tf.Variable(tf.random.normal((1, 1, inside, outside)))

@tf.function
def step():
    with tf.GradientTape() as tape:
        tape.watch(maps)
        loss = tf.reduce_sum(tf.nn.conv2d(maps, kernel, 2, "SAME") ** 2)
    return tape.gradient(loss, [kernel, maps])

for _ in range(300):
    step()
"""


def main() -> None:
    """Print the table."""
    for inside, outside in CASES:
        for onednn in ("1", "0"):
            done = subprocess.run(
                [sys.executable, "-c", CODE, str(inside), str(outside)],
                env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
                stderr=subprocess.DEVNULL,
                check=False,
            )
            print(f"{inside} -> {outside}, oneDNN {onednn}: {done.returncode}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)
