"""psi and Psi against the scalar loops of `reference.py`, and what must hold for any kernel."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures import blocks
from ckrm_tf.measures.similarity import (
    as_vectors,
    initial_variance,
    kernel_similarity,
    pair_similarity,
    psi,
    resolve_epsilon,
)

# The last but two crosses a block of channels, the next a tile of kernels, the last the small tile.
SHAPES = [
    (7, 7, 1, 8),
    (3, 3, 16, 6),
    (5, 2, 7),
    (3, 3, 3, 2, 6),
    (2, 5, 3, 4),
    (1, 1, 3, 5),
    (3, 3, 515, 3),
    (2, 2, 1, 131),
    (3, 3, 5, 33),
]
EPSILONS = [None, 1e-8, 0.0, 1e-3, 50.0]


def kernel_of(shape: tuple[int, ...], seed: int = 0, scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3 * scale, scale, shape)


def psi_by_loop(kernel: np.ndarray, epsilon: float | None) -> np.ndarray:
    absolute = reference.default_epsilon(kernel) if epsilon is None else epsilon
    return np.array(reference.omega(kernel, absolute))


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_agrees_with_the_scalar_loop(shape, epsilon):
    kernel = kernel_of(shape)
    expected = psi_by_loop(kernel, epsilon)
    rows, columns = np.triu_indices(shape[-1], 1)
    np.testing.assert_allclose(upper(kernel_similarity(kernel, epsilon)), expected, atol=1e-5)
    pairs = pair_similarity(kernel, rows, columns, epsilon)
    np.testing.assert_allclose(pairs, expected, atol=1e-5)


@pytest.mark.parametrize("values", [2**16, 5000])
def test_blocks_of_long_slices_stay_bounded(values):
    depth, padded, tile = blocks.block_shape(64, values, 600)
    assert padded >= values
    assert depth * padded * tile <= max(blocks.BLOCK_VALUES, blocks.UNROLL * padded * tile)


def test_dead_kernels_are_alike_and_unlike_the_living():
    kernel = kernel_of((3, 3, 4, 6))
    kernel[..., 2] = 0
    kernel[..., 4] = 0
    for epsilon in (None, 1e-8, 0.0):
        found = kernel_similarity(kernel, epsilon)
        np.testing.assert_allclose(upper(found), psi_by_loop(kernel, epsilon), atol=1e-5)
        assert found[2, 4] == 1
    assert kernel_similarity(kernel, 0.0)[0, 2] < 1e-6
    assert kernel_similarity(np.zeros((3, 3, 2, 3))).min() == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_scale_of_the_weights_does_not_matter(scale):
    kernel = kernel_of((3, 3, 4, 5))
    expected = kernel_similarity(kernel, 1e-3)
    np.testing.assert_allclose(kernel_similarity(kernel * scale, 1e-3 * scale**2), expected, 1e-5)
    # An epsilon far above the weights: everything is alike.
    assert kernel_similarity(kernel * 1e-30, 1.0).min() == pytest.approx(1, abs=1e-6)


def test_transposed_and_grouped_kernels_are_only_a_matter_of_layout():
    layer = keras.layers.Conv2DTranspose(5, 3)
    layer.build((None, 8, 8, 4))
    stored = np.asarray(layer.kernel.numpy())
    found = kernel_similarity(np.swapaxes(stored, -1, -2))
    expected = reference.kernel_psi(
        stored.transpose(0, 1, 3, 2), 1, 3, reference.default_epsilon(stored)
    )
    assert found[1, 3] == pytest.approx(expected, abs=1e-5)
    layer = keras.layers.Conv2D(6, 3, groups=2)
    layer.build((None, 8, 8, 8))
    first = np.asarray(layer.kernel.numpy())[..., :3]
    np.testing.assert_allclose(
        upper(kernel_similarity(first, 1e-3)), psi_by_loop(first, 1e-3), atol=1e-5
    )


def test_default_epsilon_is_a_quarter_of_the_glorot_variance():
    shape = (3, 3, 64, 96)
    values = keras.initializers.GlorotUniform(seed=1)(shape)
    assert initial_variance(shape) == pytest.approx(float(np.var(values)), rel=0.02)
    assert resolve_epsilon(shape, None) == pytest.approx(initial_variance(shape) / 4)
    assert resolve_epsilon(shape, 0) == 0


def test_pointwise_kernels_as_vectors():
    kernel = kernel_of((1, 1, 12, 4))
    assert kernel_similarity(kernel).mean() > 0.8  # C = S = 1: only the sign-free L is left
    vectors = as_vectors(kernel)
    assert vectors.shape == (12, 1, 4)
    x, y = kernel[0, 0, :, 1], kernel[0, 0, :, 2]
    assert kernel_similarity(vectors, 1e-3)[1, 2] == pytest.approx(
        reference.psi(x, y, 1e-3), abs=1e-5
    )
    with pytest.raises(CKRMError, match="pointwise"):
        as_vectors(np.ones((3, 3, 2, 2)))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((3, 3)), "shape"),
        (np.ones((3, 3, 0, 4)), "shape"),
        (np.ones((3, 3, 4, 1)), "two filters"),
        (np.full((3, 3, 2, 2), np.nan), "finite"),
    ],
)
def test_kernels_that_cannot_be_compared(kernel, message):
    with pytest.raises(CKRMError, match=message):
        kernel_similarity(kernel)
    with pytest.raises(CKRMError, match=message):
        pair_similarity(kernel, np.array([0]), np.array([1]))


@pytest.mark.parametrize("epsilon", [-1e-9, float("nan"), float("inf"), "small"])
def test_impossible_epsilon(epsilon):
    with pytest.raises(CKRMError, match="epsilon"):
        kernel_similarity(np.ones((3, 3, 2, 2)), epsilon)


def test_slices_of_different_size():
    with pytest.raises(CKRMError, match="equal shape"):
        psi(np.ones(4), np.ones(5))


# What must hold for any kernel.
seeds = st.integers(0, 10_000)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, epsilon=st.sampled_from([None, 0.0, 1e-6, 0.1]), offset=st.floats(-3, 3))
def test_symmetric_in_unit_interval_ones_on_diagonal(seed, epsilon, offset):
    found = kernel_similarity(kernel_of((3, 3, 2, 5), seed) + offset, epsilon)
    assert np.array_equal(found, found.T)
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.all(np.diag(found) == 1)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, exponent=st.floats(-6, 6), epsilon=st.sampled_from([1e-6, 1e-3, 0.1]))
def test_scaling_weights_and_root_epsilon_together_changes_nothing(seed, exponent, epsilon):
    kernel, scale = kernel_of((3, 3, 2, 5), seed), 10.0**exponent
    np.testing.assert_allclose(
        kernel_similarity(kernel * scale, epsilon * scale**2),
        kernel_similarity(kernel, epsilon),
        atol=1e-5,
    )


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_sign_flip_changes_nothing_at_epsilon_zero(seed):
    kernel = kernel_of((3, 3, 2, 5), seed)
    flipped = kernel.copy()
    flipped[..., 1] *= -1
    np.testing.assert_allclose(
        kernel_similarity(flipped, 0.0), kernel_similarity(kernel, 0.0), atol=1e-5
    )
    both = np.concatenate([kernel[..., :1], -kernel[..., :1]], axis=-1)
    assert kernel_similarity(both, 0.0)[0, 1] == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_psi_of_a_slice_and_its_negative_goes_to_one(seed):
    x = kernel_of((3, 3), seed)
    distances = [1 - psi(x, -x, epsilon) for epsilon in (1e-6, 1e-9, 1e-14)]
    assert distances[2] < 1e-4
    assert distances[2] <= distances[1] + 1e-12
    assert psi(x, x) == pytest.approx(1)
    assert psi(x, x + 0.1) == pytest.approx(reference.psi(x, x + 0.1, 1e-12))
