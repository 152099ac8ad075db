"""Training batches: always full, reshuffled and shifted anew each epoch from one seed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ckrm_tf.data.dataset import Split


class Batches(keras.utils.PyDataset):
    """Batches of (image, label), or (image, (label, map)), of one constant size.

    A last, smaller batch would make Keras trace the whole step a second time; its images come up
    in another epoch instead. The order depends on (seed, epoch) only, so a resumed training sees
    the batches it would have seen.

    Args:
        split: images and labels.
        scale: pixel values are divided by it.
        batch_size: lowered to the number of images when there are fewer.
        seed: fixes order and augmentation.
        shift: largest random shift in pixels, up to it in each direction, edges repeated.
        beside: (n, ...) to hand out beside the labels, such as gaze maps, or None.
    """

    def __init__(
        self,
        split: Split,
        scale: float,
        batch_size: int,
        *,
        seed: int,
        shift: int = 0,
        beside: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.images = scaled(split.images, scale)
        self.labels = split.labels
        self.beside = beside
        self.batch_size = min(batch_size, len(split))
        self.shift = shift
        self.seed = seed
        self.epoch = 0
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.rng = np.random.default_rng([self.seed, self.epoch])
        self.order = self.rng.permutation(len(self.images))
        span = 2 * self.shift + 1
        self.shifts = self.rng.integers(0, span, size=(len(self.images), 2)) - self.shift

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> tuple:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self._shifted(rows) if self.shift else self.images[rows]
        if self.beside is None:
            return images, self.labels[rows]
        return images, (self.labels[rows], self.beside[rows])

    def _shifted(self, rows: np.ndarray) -> np.ndarray:
        height, width = self.images.shape[1:3]
        result = np.empty_like(self.images[rows])
        for place, row in enumerate(rows):
            down, right = self.shifts[row]
            y = np.clip(np.arange(height) + down, 0, height - 1)
            x = np.clip(np.arange(width) + right, 0, width - 1)
            result[place] = self.images[row][np.ix_(y, x)]
        return result

    def dataset(self, epochs: int) -> Any:
        """The batches of so many epochs, one after the other, as a `tf.data.Dataset`.

        Keras puts a `PyDataset` behind TensorFlow's generator op, and that op pins the thresholds
        of malloc for the whole process: every step then maps and clears its buffers anew, which
        doubles what a small step costs.
        """
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        first = self[0]
        arrays = tf.nest.flatten(first)

        def load(number: Any) -> list[np.ndarray]:
            epoch, index = divmod(int(number), len(self))
            if epoch != self.epoch:
                self.epoch = epoch
                self._start_epoch()
            return list(tf.nest.flatten(self[index]))

        def batch(number: Any) -> Any:
            parts = tf.numpy_function(load, [number], [a.dtype for a in arrays])
            for part, array in zip(parts, arrays, strict=True):
                part.set_shape(array.shape)
            return tf.nest.pack_sequence_as(first, parts)

        return tf.data.Dataset.range(len(self) * epochs).map(batch).prefetch(1)

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order; called by Keras."""
        self.epoch += 1
        self._start_epoch()


def scaled(images: np.ndarray, scale: float) -> np.ndarray:
    """Pixels as float32 with full brightness at 1."""
    return np.asarray(images, np.float32) / np.float32(scale)
