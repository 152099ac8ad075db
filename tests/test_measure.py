"""The table of a model: every kind of convolution, wherever it sits, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.resnet_model import resnet
from ckrm_tf.families.widths import Widths
from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.measures.kernels import model_kernels
from ckrm_tf.measures.redundancy import ckrm, redundancy
from ckrm_tf.measures.responses import ResponseMeasure
from ckrm_tf.measures.responses_table import with_responses
from ckrm_tf.measures.similarity import as_vectors, energy_epsilon
from ckrm_tf.measures.table import measure, measured_lambdas
from search.measure_data import reading_of_responses


def sequential(shape: tuple[int, ...], *parts: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *parts])


def own_ckrm(kernel: np.ndarray, threshold: float = 0.4) -> float:
    """Lambda by the paper's function, with the epsilon of the layer's own energy."""
    return ckrm(kernel, threshold, energy_epsilon(kernel))


def only_row(shape: tuple[int, ...], layer: keras.Layer, **arguments):
    table = measure(sequential(shape, layer), **arguments)
    assert len(table) == 1
    return table.iloc[0]


def test_one_row_per_convolution_of_the_resnet():
    table = measure(resnet(Widths.from_rule(4, 2), (32, 32, 1)))
    assert len(table) == 1 + 16 * 3 + 4
    measured = table[table["skipped"] == ""]
    assert len(measured) == 17
    assert list(measured["name"][:2]) == ["stem_conv", "stage1_block1_conv2"]
    assert table[table["skipped"] != ""]["shape"].map(lambda s: s[:2] == (1, 1)).all()


def test_the_numbers_of_a_row():
    layer = layers.Conv2D(9, 3, name="conv")
    row = only_row((8, 8, 4), layer, threshold=0.4)
    kernel = layer.kernel.numpy()
    epsilon = 0.25 * kernel.reshape(9, 4, 9).var(axis=0, dtype=np.float64).mean()
    found = redundancy(kernel, 0.4, epsilon)
    assert row["lambda"] == found.lam == ckrm(kernel, 0.4, epsilon)
    assert row["shape"] == (3, 3, 4, 9)
    assert row["pairs"] == 36
    assert row["dissimilar"] == found.dissimilar
    assert row["epsilon"] == pytest.approx(epsilon)
    assert only_row((8, 8, 4), layer, epsilon=1e-3)["epsilon"] == 1e-3
    assert row["mean"] == pytest.approx(found.omega.mean())
    assert [row["q05"], row["q50"], row["q95"]] == pytest.approx(
        np.quantile(found.omega, [0.05, 0.5, 0.95])
    )
    assert row["max"] == found.omega.max()
    assert 0 <= row["null"] <= 1
    assert row["low"] is None


def test_sampled_rows_have_an_interval():
    row = only_row((8, 8, 4), layers.Conv2D(30, 3), threshold=0.4, pairs=50)
    assert row["pairs"] == 50
    assert row["low"] <= row["lambda"] <= row["high"]
    assert row["dissimilar"] is None


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((9, 4), layers.Conv1D(6, 3)),
        ((6, 6, 6, 2), layers.Conv3D(4, 2)),
        ((12, 12, 3), layers.Conv2D(6, (3, 5), dilation_rate=2)),
    ],
)
def test_other_dimensions_and_dilation_are_measured_as_they_are(shape, layer):
    row = only_row(shape, layer, threshold=0.4)
    assert row["lambda"] == own_ckrm(layer.kernel.numpy())
    assert row["skipped"] == ""


def test_transposed_convolutions_are_compared_filter_by_filter():
    layer = layers.Conv2DTranspose(5, 3)
    row = only_row((8, 8, 3), layer, threshold=0.4)
    assert row["shape"] == (3, 3, 3, 5)
    assert row["pairs"] == 10
    assert row["lambda"] == own_ckrm(layer.kernel.numpy().swapaxes(-1, -2))


def test_groups_are_compared_within_themselves():
    layer = layers.Conv2D(12, 3, groups=3)
    row = only_row((8, 8, 6), layer, threshold=0.4)
    assert row["pairs"] == 3 * 6
    epsilon = energy_epsilon(layer.kernel)
    parts = [ckrm(k, 0.4, epsilon) for k in np.split(layer.kernel.numpy(), 3, axis=-1)]
    assert row["lambda"] == pytest.approx(np.mean(parts))
    assert only_row((8, 8, 6), layers.Conv2D(6, 3, groups=6))["skipped"].startswith("one filter")
    assert only_row((8, 8, 6), layers.Conv2D(12, 3, groups=3), pairs=9)["pairs"] == 9


def test_pointwise_convolutions_on_request():
    layer = layers.Conv2D(6, 1)
    model = sequential((8, 8, 5), layer)
    assert measure(model).iloc[0]["skipped"].startswith("1x1")
    row = measure(model, threshold=0.4, pointwise=True).iloc[0]
    vectors = as_vectors(layer.kernel.numpy())
    assert row["lambda"] == own_ckrm(vectors)
    assert row["shape"] == (1, 1, 5, 6)
    # One input channel leaves a vector of one value.
    assert only_row((8, 8, 1), layers.Conv2D(6, 1), pointwise=True)["skipped"].startswith("1x1")


def test_many_groups_are_compared_as_few_are():
    layer = layers.Conv2D(24, 3, groups=8)
    row = only_row((8, 8, 16), layer, threshold=0.4)
    epsilon = energy_epsilon(layer.kernel)
    parts = [redundancy(k, 0.4, epsilon) for k in np.split(layer.kernel.numpy(), 8, axis=-1)]
    assert row["pairs"] == 8 * 3
    assert row["lambda"] == pytest.approx(np.mean([p.lam for p in parts]))
    assert row["lambda"] > 0
    assert row["dissimilar"] == sum(p.dissimilar for p in parts)


def test_depthwise_kernels_of_one_channel_are_compared():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=5, name="deep")
    row = only_row((8, 8, 4), layer, threshold=0.4)
    kernel = layer.kernel.numpy()
    epsilon = energy_epsilon(kernel)
    parts = [ckrm(kernel[:, :, c : c + 1], 0.4, epsilon) for c in range(4)]
    assert row["pairs"] == 4 * 10
    assert row["lambda"] == pytest.approx(np.mean(parts))
    assert row["lambda"] > 0
    both = layers.SeparableConv2D(6, 3, depth_multiplier=2, name="both")
    table = measure(sequential((8, 8, 4), both)).set_index("name")
    assert table.loc["both/depthwise", "pairs"] == 4
    assert only_row((8, 8, 4), layers.DepthwiseConv2D(1, depth_multiplier=3))["skipped"] != ""


def test_a_hidden_channel_of_a_convlstm_is_one_filter():
    """Case 11: the kernel was missing from the table without a word."""
    model = sequential(
        (5, 16, 16, 3),
        layers.ConvLSTM2D(8, 3, return_sequences=True, name="clstm"),
        layers.TimeDistributed(layers.Conv2D(8, 3, name="c"), name="each"),
    )
    layer = model.layers[0]
    table = measure(model).set_index("name")
    assert list(table.index) == ["clstm", "each/c"]
    assert table.loc["clstm", "shape"] == (3, 3, 3, 32)
    assert table.loc["clstm", "pairs"] == 28
    assert not table["told"].any()
    # Two hidden channels with the same kernels in all four gates are alike, in three gates not.
    for gates, alike in ((3, 0), (4, 1)):
        for weight in (layer.cell.kernel, layer.cell.recurrent_kernel):
            values = weight.numpy()
            for gate in range(gates):
                values[..., 8 * gate + 1] = values[..., 8 * gate]
            weight.assign(values)
        row = measure(layer_alone(layer), threshold=0.9).iloc[0]
        assert row["lambda"] == pytest.approx(alike / 28)
        assert row["dissimilar"] == 8 - alike


def layer_alone(layer: keras.Layer) -> keras.Model:
    image = keras.Input((5, 16, 16, 3))
    return keras.Model(image, layer(image))


def test_one_broken_layer_is_one_row():
    """Case 10: it lost the whole table, and its name was not told."""
    model = sequential(
        (16, 16, 1), layers.Conv2D(4, 3, name="good"), layers.Conv2D(4, 3, name="broken"),
        layers.BatchNormalization(), layers.Conv2D(4, 3, name="last"),
        layers.BatchNormalization(name="bad_norm"),
    )  # fmt: skip
    kernel, bias = model.get_layer("broken").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("broken").set_weights([kernel, bias])
    norm = model.get_layer("bad_norm")
    norm.moving_variance.assign([1, 1, np.inf, np.nan])
    table = measure(model).set_index("name")
    assert table.loc["good", "skipped"] == ""
    assert table.loc["good", "pairs"] == 6
    assert "NaN" in table.loc["broken", "skipped"]
    assert "batch norm" in table.loc["last", "skipped"]
    assert [k.finite for k in model_kernels(model)] == [True, False, False]


def test_a_shared_layer_is_one_row():
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    inner = keras.Sequential([keras.Input((8, 8, 4)), shared], name="inner")
    image = keras.Input((8, 8, 4))
    table = measure(keras.Model(image, inner(shared(shared(image)))))
    assert list(table["name"]) == ["shared"]


class Twins(keras.layers.Layer):
    """Two convolutions of one name and a kernel of its own."""

    def build(self, shape):
        self.one, self.two = layers.Conv2D(4, 3, name="c"), layers.Conv2D(4, 3, name="c")
        self.own = self.add_weight((3, 3, 4, 4), name="kernel")
        self.one.build(shape)
        self.two.build(shape)

    def call(self, x):
        return self.one(x) + self.two(x) + keras.ops.conv(x, self.own)


def test_names_are_unique_and_nothing_is_omitted():
    table = measure(sequential((8, 8, 4), Twins(name="twins"))).set_index("name")
    assert sorted(table.index) == ["twins/c", "twins/c#2", "twins/kernel"]
    assert "Twins" in table.loc["twins/kernel", "skipped"]


def test_depthwise_and_separable_convolutions_are_listed_with_their_reason():
    assert only_row((8, 8, 4), layers.DepthwiseConv2D(3))["skipped"].startswith("depthwise")
    assert only_row((8, 4), layers.DepthwiseConv1D(3))["skipped"].startswith("depthwise")
    model = sequential((8, 8, 4), layers.SeparableConv2D(6, 3, name="both"))
    table = measure(model, pointwise=True).set_index("name")
    assert table.loc["both/depthwise", "skipped"].startswith("depthwise")
    assert table.loc["both/pointwise", "skipped"] == ""
    assert measure(model).set_index("name").loc["both/pointwise", "skipped"].startswith("1x1")


def test_one_filter_has_nothing_to_be_compared_with():
    assert only_row((8, 8, 4), layers.Conv2D(1, 3))["skipped"].startswith("one filter")


def test_models_and_layers_inside_others_are_found():
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, name="deep")], name="in")
    model = sequential((8, 8, 1), layers.Conv2D(4, 1, name="flat"), inner, SlimConv2D(name="slim"))
    table = measure(model).set_index("name")
    assert table.loc["in/deep", "lambda"] == own_ckrm(inner.get_layer("deep").kernel.numpy(), 0.6)
    assert {"slim/conv_top", "slim/conv_bottom", "slim/weigh_squeeze"} < set(table.index)
    assert table.loc["slim/weigh_squeeze", "skipped"] != ""
    lambdas = measured_lambdas(model)
    assert lambdas == dict(table[table["skipped"] == ""]["lambda"])


class Subclassed(keras.Model):
    """Convolutions as an attribute, in a list, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.one = layers.Conv2D(4, 3, name="one")
        self.more = [layers.Conv2D(5, 3, name="two")]
        self.unused = layers.Conv2D(6, 3, name="unused")

    def call(self, x):
        return self.more[0](self.one(x))


# Keras warns of the layer that is never called, on purpose here.
@pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning")
def test_subclassed_models_once_they_are_built():
    model = Subclassed()
    with pytest.raises(CKRMError, match="built"):
        measure(model)
    model(np.zeros((1, 8, 8, 2), np.float32))
    table = measure(model).set_index("name")
    assert list(table.index) == ["one", "two", "unused"]
    assert table.loc["two", "lambda"] == own_ckrm(model.more[0].kernel.numpy(), 0.6)
    assert table.loc["unused", "skipped"].startswith("not built")


def test_progress_names_each_layer():
    names: list[str] = []
    measure(sequential((8, 8, 2), layers.Conv2D(3, 3, name="a"), layers.Conv2D(3, 1, name="b")),
            progress=names.append)  # fmt: skip
    assert names == ["a", "b"]


def test_what_cannot_be_measured():
    dense = sequential((4,), layers.Dense(2))
    with pytest.raises(CKRMError, match="convolution"):
        measure(dense)
    with pytest.raises(CKRMError, match="built"):
        measure(keras.Sequential([layers.Conv2D(3, 3)]))
    with pytest.raises(CKRMError, match="built"):
        measure("model.keras")
    conv = sequential((8, 8, 2), layers.Conv2D(3, 3))
    with pytest.raises(CKRMError, match="threshold"):
        measure(conv, threshold=1.5)
    with pytest.raises(CKRMError, match="pairs"):
        measure(conv, pairs=0)
    with pytest.raises(CKRMError, match="epsilon"):
        measure(conv, epsilon=-1)
    with pytest.raises(CKRMError, match="images"):
        measure(conv, np.zeros((1, 8, 8, 5)))


def test_a_convolution_with_lora_is_measured_as_it_computes():
    model = sequential((8, 8, 3), layers.Conv2D(6, 3, name="tuned"))
    layer = model.layers[0]
    layer.enable_lora(2)
    bare = [kernel.groups[0] for kernel in model_kernels(model)]
    np.testing.assert_allclose(bare[0], layer._kernel.numpy())
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    (kernel,) = model_kernels(model)
    np.testing.assert_allclose(kernel.groups[0], keras.ops.convert_to_numpy(layer.kernel))
    assert np.abs(kernel.groups[0] - bare[0]).max() > 1e-3


def test_one_broken_layer_keeps_its_reason_beside_responses():
    model = sequential(
        (8, 8, 1), layers.Conv2D(4, 3, name="good"), layers.Conv2D(4, 1, name="point"),
        layers.Conv2D(4, 3, name="broken"),
    )  # fmt: skip
    kernel, bias = model.get_layer("broken").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("broken").set_weights([kernel, bias])
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
    made = ResponseMeasure(model, images)
    rows = made.table()
    skipped = with_responses(measure(model), made, rows).set_index("name")["skipped"]
    assert "NaN" in skipped["broken"]
    assert list(skipped[["good", "point"]]) == ["", ""]
    assert "not measured: broken. None of 2 widths" in reading_of_responses(rows, made)
    whole = rows[rows["name"] != "broken"]
    assert "not measured" not in reading_of_responses(whole, made)
