"""Networks that compute the same get the same numbers: scale, sign and order of filters."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from ckrm_tf.measures.kernels import model_kernels
from ckrm_tf.measures.redundancy import (
    dissimilar_kernels,
    kernel_energies,
    needed_kernels,
    redundancy,
)
from ckrm_tf.measures.similarity import energy_epsilon, kernel_similarity
from ckrm_tf.measures.table import kernel_table, measure

FILTERS = 10
THRESHOLD = 0.45
CONVOLUTIONS = ("conv1", "conv2", "conv3")


def network() -> keras.Model:
    x = image = keras.Input((10, 10, 2))
    for name in CONVOLUTIONS:
        x = layers.Conv2D(FILTERS, 3, padding="same", name=name)(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(x)
        x = layers.ReLU()(x)
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(4)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 10, 10, 2)).astype(np.float32)
    labels = (images[:, 2:6].mean(axis=(1, 2, 3)) > 0).astype(int)
    model = network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=12, batch_size=16, verbose=0)
    # Some filters die, so that there is something to be told.
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.array(kernel) * np.where(np.arange(FILTERS) < 4, 1e-3, 1))
    return model, images[:8]


def copy_of(model: keras.Model) -> keras.Model:
    copy = network()
    copy.set_weights(model.get_weights())
    return copy


def numbers(table: pd.DataFrame) -> np.ndarray:
    return table[["lambda", "dissimilar", "mean"]].to_numpy(float)


def change(model: keras.Model, name: str, factors: np.ndarray, order: np.ndarray) -> None:
    """Scale and permute the filters of one convolution; batch norm and the next layer make it up.

    A common factor of all goes into the moving statistics, what is left into gamma.
    """
    common = float(np.abs(factors).mean())
    layer, norm = model.get_layer(name), model.get_layer(f"{name}_bn")
    kernel, bias = layer.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    changed = [
        gamma * common / factors,
        beta,
        mean * factors,
        (variance + norm.epsilon) * common**2 - norm.epsilon,
    ]
    layer.set_weights([(kernel * factors)[..., order], (bias * factors)[order]])
    norm.set_weights([values[order] for values in changed])
    after = CONVOLUTIONS.index(name) + 1
    last = after == len(CONVOLUTIONS)
    following = model.layers[-1] if last else model.get_layer(CONVOLUTIONS[after])
    weights = following.get_weights()
    weights[0] = np.take(weights[0], order, axis=-2)
    following.set_weights(weights)


changes = st.fixed_dictionaries(
    {
        "name": st.sampled_from(CONVOLUTIONS),
        "common": st.floats(0.5, 30),
        "factors": st.lists(st.floats(0.2, 5), min_size=FILTERS, max_size=FILTERS),
        "signs": st.lists(st.sampled_from([-1, 1]), min_size=FILTERS, max_size=FILTERS),
        "order": st.permutations(range(FILTERS)),
    }
)


@pytest.fixture(scope="module")
def copied(trained) -> tuple[keras.Model, pd.DataFrame, np.ndarray]:
    """A network to change, and what the trained one reads and answers."""
    model, images = trained
    outputs = keras.ops.convert_to_numpy(model(images))
    return network(), measure(model, threshold=THRESHOLD), outputs


@settings(deadline=None, max_examples=12)
@given(st.lists(changes, min_size=1, max_size=2))
def test_the_same_function_has_the_same_numbers(trained, copied, drawn):
    (model, images), (copy, before, outputs) = trained, copied
    copy.set_weights(model.get_weights())
    for one in drawn:
        factors = one["common"] * np.array(one["factors"]) * np.array(one["signs"])
        change(copy, one["name"], factors.astype(np.float32), np.array(one["order"]))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(copy(images)), outputs, atol=2e-3)
    after = measure(copy, threshold=THRESHOLD)
    np.testing.assert_allclose(numbers(after), numbers(before), atol=1e-3)
    assert list(after["told"]) == list(before["told"]) == [False, True, False]
    assert before["folded"].all()


def rotate(kernel: np.ndarray) -> np.ndarray:
    """Each filter by another quarter turn: another function of the same energy."""
    turned = [np.rot90(kernel[..., i], i % 4) for i in range(FILTERS)]
    return np.stack(turned, axis=-1)


def scaled(model: keras.Model) -> keras.Model:
    copy = copy_of(model)
    for name in CONVOLUTIONS:
        factors = np.geomspace(0.2, 5, FILTERS).astype(np.float32)
        change(copy, name, factors, np.arange(FILTERS))
    return copy


def unfolded(model: keras.Model) -> pd.DataFrame:
    return kernel_table(model_kernels(model, fold=False), THRESHOLD)


def absolute(model: keras.Model) -> pd.DataFrame:
    kernels = [redundancy(model.get_layer(name).kernel.numpy(), THRESHOLD) for name in CONVOLUTIONS]
    return pd.DataFrame(
        [{"lambda": k.lam, "dissimilar": k.dissimilar, "mean": k.omega.mean()} for k in kernels]
    )


@pytest.mark.parametrize("read", [unfolded, absolute])
def test_without_folding_or_the_layer_s_own_energy_the_numbers_move(trained, read: Callable):
    """The controls: what the invariances are for."""
    model, _ = trained
    gap = np.abs(numbers(read(scaled(model))) - numbers(read(model)))
    assert gap.max(axis=0)[0] > 0.01
    own = np.abs(
        numbers(measure(scaled(model), threshold=THRESHOLD))
        - numbers(measure(model, threshold=THRESHOLD))
    )
    assert own.max() < 1e-3


def test_another_function_has_other_numbers(trained):
    model, _ = trained
    copy = copy_of(model)
    kernel = copy.get_layer("conv1").kernel
    kernel.assign(rotate(np.array(kernel)))
    gap = numbers(measure(copy, threshold=THRESHOLD)) - numbers(measure(model, threshold=THRESHOLD))
    assert np.abs(gap[0]).max() > 0.01
    np.testing.assert_allclose(gap[1:], 0, atol=1e-6)


def test_by_index_the_needed_count_moves(trained):
    model, _ = trained
    kernel = next(k for k in model_kernels(model) if k.name == "conv1").groups[0]
    rng = np.random.default_rng(0)
    similarity = kernel_similarity(kernel, energy_epsilon(kernel))
    orders = [rng.permutation(FILTERS) for _ in range(50)]
    moved = []
    for threshold in (0.25, 0.3, 0.35, THRESHOLD):
        turned = [(similarity[np.ix_(order, order)], order) for order in orders]
        by_index = {len(dissimilar_kernels(part, threshold)) for part, _ in turned}
        energies = kernel_energies(kernel)
        assert len({needed_kernels(part, energies[o], threshold) for part, o in turned}) == 1
        moved.append(len(by_index) > 1)
    assert any(moved)


CASES: dict[str, tuple[Callable, bool]] = {
    "norm": (lambda c, n: lambda x: n(c(x)), True),
    "activation and pooling between": (
        lambda c, n: lambda x: n(layers.MaxPooling2D()(layers.LeakyReLU()(c(x)))), True
    ),
    "an activation that is not homogeneous": (
        lambda c, n: lambda x: n(layers.Activation("tanh")(c(x))), False
    ),
    "a second reader": (lambda c, n: lambda x: layers.Add()([n(c(x)), c(x)]), False),
    "a sum between": (lambda c, n: lambda x: n(layers.Add()([c(x), x])), False),
    "an output of the model": (lambda c, n: lambda x: [c(x), n(c(x))], False),
    "called twice": (lambda c, n: lambda x: n(c(c(x))), False),
    "a norm outside a nested model": (
        lambda c, n: lambda x: n(keras.Sequential([keras.Input((8, 8, 4)), c])(x)), True
    ),
    "time distributed": (
        lambda c, n: lambda x: layers.TimeDistributed(n)(
            layers.TimeDistributed(c)(layers.Reshape((1, 8, 8, 4))(x))
        ),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_norm_is_folded_where_it_alone_follows(case):
    build, folded = CASES[case]
    norm = layers.BatchNormalization()
    convolution = layers.Conv2D(4, 3, padding="same", name="conv")
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, build(convolution, norm)(image))
    norm.gamma.assign([1.0, 2.0, 3.0, 4.0])
    (kernel,) = model_kernels(model)
    assert kernel.folded is folded
    factors = np.array([1, 2, 3, 4]) / np.sqrt(1 + norm.epsilon) if folded else 1.0
    np.testing.assert_allclose(kernel.groups[0], convolution.kernel.numpy() * factors, rtol=1e-6)


@pytest.mark.parametrize(
    "convolution",
    [
        layers.Conv2DTranspose(6, 3, name="conv"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="conv"),
        layers.SeparableConv2D(6, 3, name="conv"),
        layers.Conv2D(6, 3, groups=3, name="conv"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_kinds_are_folded_by_their_filters(convolution):
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((8, 8, 3)), convolution, norm])
    before = {k.name: k for k in model_kernels(model, pointwise=True)}
    norm.gamma.assign(np.arange(1.0, 7.0))
    after = {k.name: k for k in model_kernels(model, pointwise=True)}
    name = list(after)[-1]
    assert after[name].folded
    factors = np.concatenate(after[name].groups, -1) / np.concatenate(before[name].groups, -1)
    np.testing.assert_allclose(factors, np.broadcast_to(np.arange(1.0, 7.0), factors.shape))


class Block(layers.Layer):
    """Convolution and norm inside a layer that only its own code calls."""

    def build(self, shape):
        self.conv, self.norm = layers.Conv2D(4, 3), layers.BatchNormalization()
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 4))

    def call(self, x):
        return keras.ops.relu(self.norm(self.conv(x)))


class Opaque(Block):
    """As `Block`, with code that no symbolic tensor passes."""

    def call(self, x):
        return super().call(x) if keras.ops.convert_to_numpy(x).shape else x

    def compute_output_shape(self, shape):
        return (shape[0], None, None, 4)


class Whole(keras.Model):
    """A subclassed model."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.unused = Block(), layers.Dense(1)

    def call(self, x):
        return self.block(x)


# Keras warns of the layer that is never called, on purpose here.
@pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning")
def test_layers_and_models_without_a_graph_are_entered_by_calling_them():
    image = keras.Input((8, 8, 2))
    block = Block()
    model = keras.Model(image, layers.ReLU()(block(image)))
    nodes = len(block.conv._inbound_nodes)
    (kernel,) = model_kernels(model)
    assert kernel.folded
    assert kernel.outward
    assert len(block.conv._inbound_nodes) == nodes  # nothing is left behind
    whole = Whole()
    whole(np.zeros((1, 8, 8, 2), np.float32))
    assert [k.folded for k in model_kernels(whole)] == [True]
    hidden = keras.Model(image, Opaque()(image))
    assert [k.folded for k in model_kernels(hidden)] == [False]
    assert list(measure(hidden)["folded"]) == [False]
