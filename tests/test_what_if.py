"""The what-if table against pruning a copy by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf.criteria.eigenvalues import CRITERIA, slice_values
from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.model import kernels_of
from ckrm_tf.pruning.what_if import what_if

X = np.random.default_rng(0).normal(size=(16, 6, 6, 1)).astype(np.float32)


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, name="stem")(image)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(5, 3, name="middle")(x)
    x = layers.Conv2D(3, 1, name="point")(x)
    return keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))


def metric(model: keras.Model) -> float:
    return float(np.mean(np.abs(keras.ops.convert_to_numpy(model(X, training=False)))))


def test_rows_against_pruning_by_hand(model):
    table = what_if(model, metric, thresholds=(0.1, 0.3))
    kernels = kernels_of(model)
    weights = model.get_weights()
    trainable = 36 + 4 + 8 + 180 + 5 + 15 + 3 + 12 + 1
    assert table.attrs == {"metric": metric(model), "slices": 39, "params": trainable}
    assert list(zip(table["criterion"], table["threshold"], strict=True)) == [
        (c, T) for c in CRITERIA for T in (0.1, 0.3)
    ]
    for row in table.itertuples():
        copy = keras.models.clone_model(model)
        copy.set_weights(weights)
        slices_dead = params_dead = 0
        for name, kernel in kernels.items():
            k = kernel.shape[0]
            bound = row.threshold**k if row.criterion == "det" else row.threshold
            dead = slice_values(kernel, row.criterion) < bound
            slices_dead += dead.sum()
            params_dead += k * k * dead.sum()
            copy.get_layer(name).kernel.assign(np.where(dead, 0, kernel))
        assert row.slices_kept == 39 - slices_dead
        assert row.slices_kept_share == pytest.approx((39 - slices_dead) / 39)
        assert row.params_kept == trainable - params_dead
        assert row.params_kept_share == pytest.approx(1 - params_dead / trainable)
        assert row.metric == pytest.approx(metric(copy), rel=1e-5)
        assert row.metric_ratio == pytest.approx(metric(copy) / metric(model), rel=1e-5)
        assert row.score == pytest.approx(row.metric_ratio * params_dead / trainable)

        # mean |w| at equal sparsity: the same number of slices, the smallest of all layers.
        means = {n: np.abs(k).mean(axis=(0, 1)) for n, k in kernels.items()}
        smallest = sorted((v, n, at) for n, m in means.items() for at, v in np.ndenumerate(m))
        copy.set_weights(weights)
        pruned = {n: k.copy() for n, k in kernels.items()}
        for _, n, (i, j) in smallest[:slices_dead]:
            pruned[n][:, :, i, j] = 0
        for n, kernel in pruned.items():
            copy.get_layer(n).kernel.assign(kernel)
        assert row.weight_metric == pytest.approx(metric(copy), rel=1e-5)
        assert row.weight_metric_ratio == pytest.approx(metric(copy) / metric(model), rel=1e-5)
    assert 0 < table["slices_kept"].min() < table["slices_kept"].max() < 39


def test_the_model_is_bit_for_bit_as_before(model):
    before = [w.tobytes() for w in model.get_weights()]
    seen = []
    what_if(model, lambda m: seen.append(m) or metric(m), thresholds=(0.2,))
    assert all(m is model for m in seen)
    assert [w.tobytes() for w in model.get_weights()] == before


def test_also_when_the_evaluation_fails(model):
    before = [w.tobytes() for w in model.get_weights()]
    calls = []

    def fails(m: keras.Model) -> float:
        calls.append([w.tobytes() for w in m.get_weights()])
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return 1.0

    with pytest.raises(RuntimeError, match="out of memory"):
        what_if(model, fails, ["weight"], [0.2])
    assert calls[1] != before
    assert [w.tobytes() for w in model.get_weights()] == before


def test_equal_masks_are_evaluated_once(model):
    calls = []
    table = what_if(model, lambda m: calls.append(1) or metric(m), thresholds=(0.0, 1e9))
    # As it is, and with nothing left.
    assert len(calls) == 2
    assert len(table) == 14


def test_layers_can_stay_out(model):
    table = what_if(model, metric, ["weight"], [1e9], stem=False, pointwise=False)
    assert table.attrs["slices"] == 20
    assert table["slices_kept"].item() == 0
    assert table["params_kept"].item() == table.attrs["params"] - 180


def test_mistakes_are_refused_before_any_evaluation(model):
    def never(_: keras.Model) -> float:
        pytest.fail("evaluated")

    with pytest.raises(CKRMError, match="unknown criterion"):
        what_if(model, never, ["norm"])
    with pytest.raises(CKRMError, match="threshold"):
        what_if(model, never, thresholds=[-1.0])
    with pytest.raises(CKRMError, match="at least one"):
        what_if(model, never, criteria=[])
