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
from ckrm_tf.measures.redundancy import ckrm, redundancy
from ckrm_tf.measures.similarity import as_vectors, resolve_epsilon
from ckrm_tf.measures.table import measure, measured_lambdas


def sequential(shape: tuple[int, ...], *parts: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *parts])


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
    found = redundancy(kernel, 0.4)
    assert row["lambda"] == found.lam == ckrm(kernel, 0.4)
    assert row["shape"] == (3, 3, 4, 9)
    assert row["pairs"] == 36
    assert row["dissimilar"] == found.dissimilar
    assert row["epsilon"] == resolve_epsilon((3, 3, 4, 9), None)
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
    assert row["lambda"] == ckrm(layer.kernel.numpy(), 0.4)
    assert row["skipped"] == ""


def test_transposed_convolutions_are_compared_filter_by_filter():
    layer = layers.Conv2DTranspose(5, 3)
    row = only_row((8, 8, 3), layer, threshold=0.4)
    assert row["shape"] == (3, 3, 3, 5)
    assert row["pairs"] == 10
    assert row["lambda"] == ckrm(layer.kernel.numpy().swapaxes(-1, -2), 0.4)


def test_groups_are_compared_within_themselves():
    layer = layers.Conv2D(12, 3, groups=3)
    row = only_row((8, 8, 6), layer, threshold=0.4)
    assert row["pairs"] == 3 * 6
    epsilon = resolve_epsilon((3, 3, 2, 12), None)
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
    assert row["lambda"] == ckrm(vectors, 0.4, resolve_epsilon((1, 1, 5, 6), None))
    assert row["shape"] == (1, 1, 5, 6)
    # One input channel leaves a vector of one value.
    assert only_row((8, 8, 1), layers.Conv2D(6, 1), pointwise=True)["skipped"].startswith("1x1")


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
    assert table.loc["in/deep", "lambda"] == ckrm(inner.get_layer("deep").kernel.numpy())
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
    assert table.loc["two", "lambda"] == ckrm(model.more[0].kernel.numpy())
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
    conv.layers[0].kernel.assign(np.full((3, 3, 2, 3), np.nan))
    with pytest.raises(CKRMError, match="finite"):
        measure(conv)
