"""SlimConv against plain NumPy loops, and one published network as built."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from ckrm_tf import CKRMError, Layout, Stage, Widths, resnet
from ckrm_tf.layers.slim_conv import SlimConv2D, slim_output
from ckrm_tf.layers.slim_shape import fold_count, slim_shape

EPSILON = 1e-5
# TensorFlow's variables do not know NumPy 2's copy keyword yet; saving copies them.
saves = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def numpy_conv(x: np.ndarray, kernel: np.ndarray, stride: int, dilation: int) -> np.ndarray:
    """Grouped "same" convolution, one output value at a time. x (h, w, c)."""
    size, _, per_group, filters = kernel.shape
    groups = x.shape[-1] // per_group
    reach = dilation * (size - 1)
    out = [-(-n // stride) for n in x.shape[:2]]
    before = [
        max((o - 1) * stride + reach + 1 - n, 0) // 2 for o, n in zip(out, x.shape, strict=False)
    ]
    result = np.zeros((*out, filters))
    for i, j, f in np.ndindex(*out, filters):
        first = f // (filters // groups) * per_group
        for di, dj in np.ndindex(size, size):
            row = i * stride + di * dilation - before[0]
            col = j * stride + dj * dilation - before[1]
            if 0 <= row < x.shape[0] and 0 <= col < x.shape[1]:
                pixel = x[row, col, first : first + per_group]
                result[i, j, f] += pixel @ kernel[di, dj, :, f]
    return result


def numpy_norm(x: np.ndarray, norm: Any) -> np.ndarray:
    gamma, beta, mean, variance = (np.asarray(w, "float64") for w in norm.weights)
    return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


def numpy_fold(x: np.ndarray, width: int) -> np.ndarray:
    result = np.zeros((*x.shape[:2], width))
    for c in range(x.shape[-1]):
        result[..., c % width] += x[..., c]
    return result


def numpy_slim(layer: SlimConv2D, x: np.ndarray) -> np.ndarray:
    def kernel(name: str) -> np.ndarray:
        return np.asarray(getattr(layer, name).kernel, "float64")

    def rect(v: np.ndarray) -> np.ndarray:
        return np.maximum(v, 0)

    step, dilation = layer.strides, layer.dilation_rate
    pooled = x.mean(axis=(0, 1))
    squeezed = rect(numpy_norm(pooled @ kernel("weigh_squeeze")[0, 0], layer.weigh_squeeze_bn))
    excited = squeezed @ kernel("weigh_excite")[0, 0] + np.asarray(layer.weigh_excite.bias)
    weights = 1 / (1 + np.exp(-excited))
    width = kernel("conv_top").shape[-1]
    upper, lower = numpy_fold(x * weights, width), numpy_fold(x * weights[::-1], width)
    upper = numpy_norm(numpy_conv(upper, kernel("conv_top"), step, dilation), layer.conv_top_bn)
    lower = rect(numpy_norm(lower @ kernel("conv_reduce")[0, 0], layer.conv_reduce_bn))
    lower = numpy_conv(lower, kernel("conv_bottom"), step, dilation)
    return np.concatenate([upper, numpy_norm(lower, layer.conv_bottom_bn)], axis=-1)


def randomised(layer: SlimConv2D, channels: int, seed: int) -> SlimConv2D:
    rng = np.random.default_rng(seed)
    if not layer.built:
        layer.build((None, None, None, channels))
    for weight in layer.weights:
        low = 0.3 if "variance" in weight.path else -1
        weight.assign(rng.uniform(low, 1, weight.shape))
    return layer


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (8, {}),
        (64, {"strides": 2}),
        (16, {"ratio": 8 / 3}),
        (12, {"ratio": 2, "strides": 2}),
        (13, {"ratio": 2}),
        (5, {"ratio": 8 / 3}),
        (3, {"ratio": 8 / 3}),
        (1, {}),
        (16, {"groups": 4}),
        (24, {"ratio": 2, "groups": 4, "bottom_groups": 2, "strides": 2}),
        (8, {"dilation_rate": 2}),
        (8, {"strides": 3}),
    ],
)
def test_forward_pass_is_the_plain_one(channels: int, options: dict[str, Any]) -> None:
    layer = randomised(SlimConv2D(**options), channels, seed=channels)
    images = np.random.default_rng(7).normal(size=(2, 6, 7, channels)).astype("float32")
    expected = np.stack([numpy_slim(layer, image.astype("float64")) for image in images])
    actual = np.asarray(layer(images, training=False))
    assert actual.shape == layer.compute_output_shape(images.shape) == expected.shape
    assert actual.shape[-1] == slim_output(channels, options.get("ratio", 4 / 3))
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_training_uses_batch_statistics_and_trains_everything() -> None:
    layer = randomised(SlimConv2D(), 8, seed=3)
    # The one squeezed channel must pass its ReLU for some image, or no gradient reaches it.
    layer.weigh_squeeze_bn.beta.assign([1.0])
    images = np.random.default_rng(1).normal(size=(4, 6, 6, 8)).astype("float32")
    before = [np.array(np.asarray(w)) for w in layer.non_trainable_weights]
    with tf.GradientTape() as tape:
        out = layer(images, training=True)
        loss = tf.reduce_sum(out * tf.constant(images[..., :6]))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert all(g is not None and np.any(np.asarray(g)) for g in gradients)
    after = [np.asarray(w) for w in layer.non_trainable_weights]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    top = np.asarray(layer.conv_top_bn.gamma), np.asarray(layer.conv_top_bn.beta)
    normalised = (np.asarray(out)[..., :4] - top[1]) / top[0]
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-3)


@pytest.mark.parametrize(("ratio", "folds"), [(4 / 3, 2), (2, 3), (8 / 3, 4), (10 / 3, 5), (4, 6)])
@pytest.mark.parametrize("groups", [1, 4])
def test_counts_of_one_module(ratio: float, folds: int, groups: int) -> None:
    """The closed form, on widths that every ratio here divides."""
    c = 32 * 60
    h, b = c // folds, c // (2 * folds)
    expected = c**2 // 16 + 17 * c // 16 + 9 * h * h // groups + 2 * h + h * b + 2 * b
    expected += 9 * b * b // groups + 2 * b
    layer = SlimConv2D(ratio, groups=groups)
    layer.build((None, None, None, c))
    assert sum(math.prod(w.shape) for w in layer.trainable_weights) == expected
    assert slim_output(c, ratio) == h + b == round(c / ratio)


def test_the_published_module() -> None:
    """k = 4/3: 3 C^2 + 49 C / 16 parameters."""
    layer = SlimConv2D()
    layer.build((None, None, None, 64))
    assert sum(math.prod(w.shape) for w in layer.trainable_weights) == 12_484


def test_sc_resnet_50_as_built() -> None:
    model = resnet(Widths.standard(), (224, 224, 3), 1000, layout=Layout.torchvision(conv="slim"))
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == 16_758_740
    assert model.count_params() == 16_758_740 + 53_356


@saves
def test_saved_and_loaded(tmp_path: Path) -> None:
    layer = SlimConv2D(2, strides=2, groups=2, kernel_regularizer=keras.regularizers.L2(0.1))
    image = keras.Input((9, 9, 12))
    model = keras.Model(image, layer(image))
    randomised(layer, 12, seed=5)
    model.save(tmp_path / "slim.keras")
    loaded = keras.models.load_model(tmp_path / "slim.keras")
    x = np.random.default_rng(2).normal(size=(2, 9, 9, 12)).astype("float32")
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(loaded(x)))
    again = loaded.layers[-1]
    assert again.get_config() == layer.get_config()
    kernels = [w for w in layer.trainable_weights if w.name == "kernel"]
    assert len(kernels) == 5
    expected = 0.1 * sum(float(np.sum(np.square(np.asarray(k)))) for k in kernels)
    assert float(sum(loaded.losses)) == pytest.approx(expected, rel=1e-5)


def test_convolutions_can_be_found_inside_the_network() -> None:
    model = resnet(Widths(4, (Stage(1, 8, 8),)), (16, 16, 1), layout=Layout(conv="slim"))
    inside = [la for la in model._flatten_layers() if isinstance(la, keras.layers.Conv2D)]
    names = {la.name: tuple(la.kernel.shape) for la in inside if "_block" not in la.name}
    assert names["conv_top"] == (3, 3, 4, 4)
    assert names["conv_bottom"] == (3, 3, 2, 2)
    assert names["conv_reduce"] == (1, 1, 4, 2)
    assert {"weigh_squeeze", "weigh_excite", "stem_conv"} < set(names)


def test_narrow_widths_keep_one_channel() -> None:
    assert slim_shape(31, 4 / 3).squeeze == slim_shape(63, 4 / 3).squeeze == 1
    assert [slim_output(c, 4 / 3) for c in (1, 2, 3, 4, 6, 64)] == [2, 2, 2, 3, 4, 48]
    assert [slim_output(c, 2) for c in (64, 96)] == [21 + 10, 48]


@pytest.mark.parametrize("ratio", [1.33, 1.3333, 4 / 3, 2, 2.0, 2.67, 8 / 3, 16 / 3])
def test_ratios_may_be_typed_by_hand(ratio: float) -> None:
    assert fold_count(ratio) == round(ratio * 3 / 2)


@pytest.mark.parametrize(
    "ratio", [0, 1, 1.5, 2 / 3, -2, "2", None, True, float("nan"), float("inf")]
)
def test_impossible_ratios(ratio: Any) -> None:
    with pytest.raises(CKRMError, match="SlimConv ratio: expected a multiple of 2/3"):
        SlimConv2D(ratio)


def test_other_bad_input() -> None:
    with pytest.raises(CKRMError, match="one of the two to be 1"):
        SlimConv2D(strides=2, dilation_rate=2)
    for options in ({"strides": 0}, {"strides": (2, 2)}, {"dilation_rate": 1.5}):
        with pytest.raises(CKRMError, match="whole number"):
            SlimConv2D(**options)  # type: ignore[arg-type]
    with pytest.raises(CKRMError, match="groups"):
        SlimConv2D(groups=0)
    with pytest.raises(CKRMError, match="upper 3x3 of a SlimConv on 12 channels"):
        SlimConv2D(groups=4).build((None, 8, 8, 12))
    with pytest.raises(CKRMError, match="lower 3x3 of a SlimConv on 24 channels"):
        SlimConv2D(groups=4, bottom_groups=4).build((None, 8, 8, 24))
    with pytest.raises(CKRMError, match="known channels"):
        SlimConv2D().build((None, 8, 8, None))
    with pytest.raises(CKRMError, match="known channels"):
        SlimConv2D().build((None, 8))
    with pytest.raises(CKRMError, match="SlimConv channels"):
        slim_output(0, 2)
