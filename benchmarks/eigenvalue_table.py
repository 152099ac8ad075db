"""The what-if table on a CIFAR-style ResNet-32 trained with L1 (arXiv 2102.02804, section 4).

    python benchmarks/eigenvalue_table.py --data images.npz --epochs 60 --image-size 32

The data file has MedMNIST's layout: `train_images`, `train_labels`, `val_*`, `test_*`. The table is
read on the validation split; the test split is looked at once, for the published threshold.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fire
import keras
import numpy as np
import pandas as pd
from keras import layers
from PIL import Image
from sklearn.metrics import roc_auc_score

from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.constraint import SwitchableL1
from ckrm_tf.pruning.masks import dead_slices, threshold_masks
from ckrm_tf.pruning.model import kernels_of, zero_slices
from ckrm_tf.pruning.what_if import what_if

THRESHOLDS = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2)


def resnet32(input_shape: tuple[int, int, int], classes: int, l1: float) -> keras.Model:
    """ResNet-32 v1 (widths 16, 32, 64, five blocks each, biases on) with L1 on every kernel."""

    def conv_bn(x: Any, filters: int, kernel: int, name: str, stride: int = 1) -> Any:
        x = layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=SwitchableL1(l1),
            name=name,
        )(x)
        return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)

    image = keras.Input(input_shape)
    x = layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", seed=0)(image)
    x = layers.ReLU()(conv_bn(x, 16, 3, "stem"))
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, 6):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            shortcut = conv_bn(x, filters, 1, f"{name}_shortcut", 2) if stride == 2 else x
            x = layers.ReLU()(conv_bn(x, filters, 3, f"{name}_conv1", stride))
            x = conv_bn(x, filters, 3, f"{name}_conv2")
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="resnet32")


def load(path: str, size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By split, images (n, size, size, channels) float32 around 0, and labels (n,)."""
    if not Path(path).is_file():
        raise CKRMError("data file", expected="an npz in MedMNIST's layout", received=path)
    data = np.load(path)
    splits = {}
    for split in ("train", "val", "test"):
        images = [
            np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
            for image in data[f"{split}_images"]
        ]
        x = np.stack(images).astype(np.float32) / 255
        x = x[..., None] if x.ndim == 3 else x
        splits[split] = (x, data[f"{split}_labels"].ravel().astype(np.int64))
    mean = splits["train"][0].mean(axis=0)
    return {name: (x - mean, y) for name, (x, y) in splits.items()}


def scores(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Macro one-against-rest AUC, and accuracy."""
    p = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, batch_size=64, verbose=0)))
    p = p.astype(np.float64) / p.sum(axis=1, keepdims=True, dtype=np.float64)
    auc = roc_auc_score(y, p, multi_class="ovr") if p.shape[1] > 2 else roc_auc_score(y, p[:, 1])
    return float(auc), float(np.mean(p.argmax(axis=1) == y))


def main(
    data: str,
    epochs: int = 60,
    image_size: int = 32,
    batch: int = 16,
    l1: float = 1e-4,
    lr: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train with L1 and two drops of the learning rate by 10 (at 60% and 80%), print the table."""
    keras.utils.set_random_seed(seed)
    splits = load(data, image_size)
    x, y = splits["train"]
    model = resnet32(x.shape[1:], int(y.max()) + 1, l1)
    steps = -(-len(x) // batch) * epochs
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [int(0.6 * steps), int(0.8 * steps)], [lr, lr / 10, lr / 100]
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.perf_counter()
    history = model.fit(x, y, batch, epochs, verbose=2)
    train_seconds = time.perf_counter() - start
    start = time.perf_counter()
    table = what_if(model, lambda m: scores(m, *splits["val"])[0], thresholds=THRESHOLDS)
    table_seconds = time.perf_counter() - start

    print(
        f"\n{len(x)} images of {image_size} px, {epochs} epochs, {steps} steps in "
        f"{train_seconds:.0f} s; table in {table_seconds:.0f} s; final training accuracy "
        f"{history.history['accuracy'][-1]:.3f}; {table.attrs['params']} trainable parameters, "
        f"{table.attrs['slices']} slices"
    )
    auc, accuracy = scores(model, *splits["val"])
    print(f"validation AUC {auc:.4f}, accuracy {accuracy:.4f}, nothing pruned\n")
    pruned = 100 * (1 - table["slices_kept_share"])
    print("Slices pruned, %:")
    print(_wide(table.assign(pruned=pruned), "pruned", "{:.2f}"))
    print("\nAUC ratio to the unpruned network, no retraining:")
    print(_wide(table, "metric_ratio", "{:.4f}"))
    print("\nAUC ratio of mean |w| at the same number of pruned slices:")
    print(_wide(table, "weight_metric_ratio", "{:.4f}"))
    print("\nScore (AUC ratio x share of parameters removed):")
    print(_wide(table, "score", "{:.3f}"))

    print("\nTest split, spectral norm, T = 1e-4:")
    print("unpruned: AUC {:.4f}, accuracy {:.4f}".format(*scores(model, *splits["test"])))
    masks = threshold_masks(kernels_of(model), "spectral_norm", 1e-4)
    zero_slices(model, masks)
    print(
        "pruned:   AUC {:.4f}, accuracy {:.4f}".format(*scores(model, *splits["test"])),
        f"({100 * dead_slices(masks) / table.attrs['slices']:.2f}% of the slices)",
    )


def _wide(table: pd.DataFrame, column: str, form: str) -> str:
    wide = table.pivot(index="criterion", columns="threshold", values=column)
    wide = wide.loc[table["criterion"].unique()]
    wide.columns = [f"T={t:g}" for t in wide.columns]
    return wide.to_string(float_format=form.format)


if __name__ == "__main__":
    fire.Fire(main)
