from __future__ import annotations

import numpy as np
import pytest

from ckrm_tf.data.dataset import Split
from ckrm_tf.train.batches import Batches, scaled


def numbered(count: int, size: int = 5) -> Split:
    """Image i has the value i everywhere but for a bright dot in its middle."""
    images = np.zeros((count, size, size, 1), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[:, size // 2, size // 2] = 255
    return Split(images, np.arange(count, dtype=np.int64) % 3)


def rows_of(batches: Batches) -> list[int]:
    """Which images the epoch hands out, read off their corners."""
    batched = [batches[i][0][:, 0, 0, 0] for i in range(len(batches))]
    return [round(float(v)) for v in np.concatenate(batched)]


def test_every_batch_is_full_and_an_epoch_hands_out_no_image_twice():
    batches = Batches(numbered(23), 1.0, 5, seed=1)
    assert len(batches) == 4
    for i in range(4):
        images, labels = batches[i]
        assert (images.shape, labels.shape) == ((5, 5, 5, 1), (5,))
        assert images.dtype == np.float32
    rows = rows_of(batches)
    assert len(set(rows)) == 20


def test_the_images_left_over_come_up_in_other_epochs():
    batches = Batches(numbered(23), 1.0, 5, seed=1)
    seen = set()
    for _ in range(6):
        seen |= set(rows_of(batches))
        batches.on_epoch_end()
    assert seen == set(range(23))


def test_labels_belong_to_their_images():
    batches = Batches(numbered(23), 1.0, 5, seed=1)
    images, labels = batches[2]
    assert (images[:, 0, 0, 0].astype(int) % 3 == labels).all()


def test_fewer_images_than_a_batch_make_one_batch():
    batches = Batches(numbered(7), 1.0, 32, seed=1)
    assert len(batches) == 1
    assert sorted(rows_of(batches)) == list(range(7))


def test_seed_and_epoch_alone_decide():
    first, second = (Batches(numbered(20), 1.0, 4, seed=3, shift=1) for _ in range(2))
    other = Batches(numbered(20), 1.0, 4, seed=4, shift=1)
    for _ in range(3):
        # Reading it twice, or in another order, changes nothing.
        second[3]
        for i in (4, 0, 2):
            np.testing.assert_array_equal(first[i][0], second[i][0])
        assert not np.array_equal(first[0][0], other[0][0])
        before = first[0][0]
        first.on_epoch_end()
        second.on_epoch_end()
        assert not np.array_equal(before, first[0][0])


def test_pixels_are_divided_by_the_scale():
    split = numbered(4)
    np.testing.assert_allclose(scaled(split.images, 255.0).max(), 1.0)
    images, _ = Batches(split, 255.0, 4, seed=1)[0]
    assert images.max() == 1.0


def test_shift_moves_the_image_and_repeats_its_edge():
    """Against padding by the edge and cutting out a window, on images all unlike."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (12, 6, 7, 1)).astype(np.float32)
    split = Split(images, np.zeros(12, np.int64))
    batches = Batches(split, 1.0, 12, seed=5, shift=2)
    shown, _ = batches[0]
    found = set()
    for place, row in enumerate(batches.order):
        padded = np.pad(images[row], ((2, 2), (2, 2), (0, 0)), mode="edge")
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[y : y + 6, x : x + 7], shown[place])
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 5


def test_no_shift_leaves_the_images_as_they_are():
    batches = Batches(numbered(9), 1.0, 9, seed=1)
    np.testing.assert_array_equal(batches[0][0], numbered(9).images[batches.order])


def test_gaze_maps_go_with_their_images():
    gaze = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 5, 5), np.float32)
    batches = Batches(numbered(10), 1.0, 4, seed=2, beside=gaze)
    images, (labels, maps) = batches[1]
    np.testing.assert_array_equal(images[:, 0, 0, 0], maps[:, 0, 0])
    assert (maps[:, 0, 0].astype(int) % 3 == labels).all()


@pytest.mark.parametrize("shuffle", [False, True])
def test_keras_hands_out_each_epoch_as_it_was_drawn(shuffle):
    """Keras's own loop: epoch by epoch, nothing of one epoch in another."""
    import keras  # noqa: PLC0415 - the other tests need none

    seen: list[list[int]] = [[]]

    class Recorder(keras.Model):
        def train_step(self, data):
            return {"corner": keras.ops.sum(data[0][:, 0, 0, 0])}

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen[-1].append(round(float(logs["corner"])))

        def on_epoch_end(self, epoch, logs=None):
            seen.append([])

    inputs = keras.Input((5, 5, 1))
    model = Recorder(inputs, keras.layers.Flatten()(inputs))
    model.compile(run_eagerly=True)
    keras.utils.set_random_seed(1)
    model.fit(
        Batches(numbered(23), 1.0, 5, seed=1),
        epochs=3,
        verbose=0,
        shuffle=shuffle,
        callbacks=[Note()],
    )
    drawn = Batches(numbered(23), 1.0, 5, seed=1)
    expected = []
    for _ in range(4):
        expected.append([round(float(drawn[i][0][:, 0, 0, 0].sum())) for i in range(4)])
        drawn.on_epoch_end()
    if shuffle:
        # Keras shuffles whole batches by the global generator: why a training turns it off.
        seen, expected = [sorted(e) for e in seen], [sorted(e) for e in expected]
    # Keras ends an epoch once before the first.
    assert seen[:3] in (expected[:3], expected[1:])


@pytest.mark.parametrize("gaze", [False, True])
def test_the_dataset_hands_out_epoch_after_epoch_as_drawn(gaze):
    maps = np.random.default_rng(1).random((23, 5, 5), np.float32) if gaze else None
    make = lambda: Batches(numbered(23), 2.0, 5, seed=1, shift=1, beside=maps)  # noqa: E731
    dataset, drawn = make().dataset(3), make()
    found = list(dataset.as_numpy_iterator())
    assert len(found) == 3 * 4
    assert dataset.element_spec[0].shape == (5, 5, 5, 1)
    for number, (images, targets) in enumerate(found):
        expected_images, expected_targets = drawn[number % 4]
        np.testing.assert_array_equal(images, expected_images)
        if gaze:
            np.testing.assert_array_equal(targets[0], expected_targets[0])
            np.testing.assert_array_equal(targets[1], expected_targets[1])
        else:
            np.testing.assert_array_equal(targets, expected_targets)
        if number % 4 == 3:
            drawn.on_epoch_end()
    # Read once more, it begins again.
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator())[0], found[0][0])
