"""What the measure on weights reads of a network before and after training, with and without L1.

    python benchmarks/measure_trained.py DATA.npz

DATA.npz is read as `search.run` reads it. The network is `resnet` with 16 filters and one block a
stage, 48 px, Adam 1e-3, 6 epochs on the training images. "calibrated" is the untrained network once
its batch norms have seen the images.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from ckrm_tf import Widths, load_dataset, measure, resnet

EPOCHS, SIDE = 6, 48


def network(l1: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(1)
    regularizer = keras.regularizers.L1(l1) if l1 else None
    return resnet(
        Widths.from_rule(16, 2.0, (1, 1, 1, 1)), (SIDE, SIDE, 1), kernel_regularizer=regularizer
    )


def show(label: str, model: keras.Model, seconds: float = 0.0) -> None:
    table = measure(model, pointwise=True)
    told = table[table["told"]]
    names = ", ".join(
        f"{row['name']} {row['lambda']:.3f} (null {row['null']:.3f}), "
        f"{row['dissimilar']:.0f} of {row['shape'][-1]} unlike"
        for row in told.to_dict("records")
    )
    print(
        f"{label:12} largest lambda {table['lambda'].max():.3f}, told {len(told)} of {len(table)}"
        f"{': ' if names else ''}{names}" + (f"  [{seconds:.0f} CPU s]" if seconds else "")
    )


def main(path: str) -> None:
    split = load_dataset(path, image_size=SIDE).train
    x = np.asarray(split.images, np.float32) / 255
    model = network()
    show("untrained", model)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(8):
        model(x[:256], training=True)
    show("calibrated", model)
    for l1 in (0.0, 1e-4, 1e-3):
        model = network(l1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss)
        started = time.process_time()
        model.fit(x, split.labels, epochs=EPOCHS, verbose=0)
        show(f"L1 {l1:g}", model, time.process_time() - started)


if __name__ == "__main__":
    main(sys.argv[1])
