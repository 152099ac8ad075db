"""Lambda, sampled lambda, the null, and mutually dissimilar kernels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.null import null
from ckrm_tf.measures.redundancy import (
    _sample_pairs,
    canonical_order,
    ckrm,
    dissimilar_kernels,
    needed_kernels,
    omega,
    redundancy,
    sorted_similarity,
)
from ckrm_tf.measures.similarity import kernel_similarity


def glorot(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.asarray(keras.initializers.GlorotUniform(seed=seed)(shape))


def half_dead(filters: int = 12) -> np.ndarray:
    kernel = glorot((3, 3, 8, filters)).copy()
    kernel[..., ::2] *= 0.01
    return kernel


@pytest.mark.parametrize("epsilon", [None, 1e-4, 1e-2])
@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9])
def test_lambda_agrees_with_the_scalar_loop(threshold, epsilon):
    kernel = half_dead()
    absolute = reference.default_epsilon(kernel) if epsilon is None else epsilon
    values = np.array(reference.omega(kernel, absolute))
    assert np.abs(values - threshold).min() > 1e-4  # else a rounding could decide
    expected = reference.lambda_of(kernel, threshold, absolute)
    assert ckrm(kernel, threshold, epsilon) == pytest.approx(expected)
    np.testing.assert_allclose(omega(kernel_similarity(kernel, epsilon)), values, atol=1e-5)


def test_dead_kernels_are_counted_and_one_of_them_is_kept():
    found = redundancy(half_dead())
    assert found.pairs == 66
    assert found.lam == pytest.approx(15 / 66)  # the six dead ones are alike, nothing else is
    assert found.dissimilar == 7
    assert found.interval is None


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(2, 12), st.floats(0, 1))
def test_dissimilar_kernels_cover_all_and_are_unlike(seed, size, threshold):
    values = np.random.default_rng(seed).random((size, size))
    similarity = np.maximum(values, values.T)
    kept = dissimilar_kernels(similarity, threshold)
    for i in kept:
        assert all(similarity[i, j] <= threshold for j in kept if j != i)
    for i in set(range(size)) - set(kept):
        assert any(similarity[i, j] > threshold for j in kept)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(2, 12), st.floats(0, 1), st.booleans())
def test_the_count_of_needed_kernels_does_not_hang_on_their_numbers(seed, size, threshold, tied):
    rng = np.random.default_rng(seed)
    values = rng.random((size, size)).round(1)
    similarity = np.maximum(values, values.T)
    energies = np.ones(size) if tied else rng.random(size)
    order = rng.permutation(size)
    turned = similarity[np.ix_(order, order)]
    noisy = energies[order] * (1 + 1e-8 * rng.standard_normal(size))
    assert needed_kernels(turned, noisy, threshold) == needed_kernels(
        similarity, energies, threshold
    )


def test_by_index_the_count_hangs_on_the_numbers():
    """A star: its centre alone covers all, any other kernel leaves the rest over."""
    similarity = np.eye(5)
    similarity[0, :] = similarity[:, 0] = 1
    turned = similarity[::-1, ::-1]
    assert len(dissimilar_kernels(similarity)) == 1
    assert len(dissimilar_kernels(turned)) == 4
    ties = np.ones(5)
    assert needed_kernels(similarity, ties) == needed_kernels(turned, ties) == 1
    energies = np.array([0.5, 1, 1, 1, 1])
    assert needed_kernels(similarity, energies) == needed_kernels(turned, energies[::-1]) == 4


def test_the_canonical_order_is_by_energy_and_then_by_content():
    assert list(canonical_order([1.0, 3.0, 2.0])) == [1, 2, 0]
    assert list(canonical_order([1.0, 1.0 + 1e-9, 2.0], [[5.0], [4.0], [0.0]])) == [2, 0, 1]
    assert list(canonical_order([1.0, 1.0 + 1e-3, 2.0], [[5.0], [4.0], [0.0]])) == [2, 1, 0]
    assert list(canonical_order([0.0, 0.0])) == [0, 1]
    np.testing.assert_array_equal(
        sorted_similarity(np.array([[1, 0.2], [0.2, 1]])), [[1, 0.2], [1, 0.2]]
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.data())
def test_pairs_are_drawn_without_replacement(kernels, data):
    possible = kernels * (kernels - 1) // 2
    count = data.draw(st.integers(1, possible))
    first, second = _sample_pairs(kernels, count, seed=count)
    assert np.all(first < second)
    assert first.min() >= 0
    assert second.max() < kernels
    assert len(set(zip(first, second, strict=True))) == count


def test_ranks_of_a_wide_layer_are_exact_at_both_ends():
    kernels = 3000
    first, second = _sample_pairs(kernels, kernels * (kernels - 1) // 2, seed=0)
    assert len(np.unique(first * kernels + second)) == kernels * (kernels - 1) // 2
    assert second.max() == kernels - 1


def test_sampled_interval_covers_the_exact_lambda():
    kernel = half_dead(40)
    exact = ckrm(kernel)
    sampled = [redundancy(kernel, pairs=200, seed=seed) for seed in range(20)]
    covered = sum(s.interval[0] <= exact <= s.interval[1] for s in sampled)
    assert covered >= 17
    assert {s.pairs for s in sampled} == {200}
    assert len({s.lam for s in sampled}) > 1
    assert all(s.dissimilar is None for s in sampled)
    assert redundancy(kernel, pairs=10**6).lam == exact


@pytest.mark.parametrize("shape", [(7, 7, 1, 64), (3, 3, 2, 64), (3, 3, 4, 48)])
def test_random_kernels_read_the_null(shape):
    found = [redundancy(glorot(shape, seed)) for seed in range(4)]
    base = null(shape)
    assert np.mean([f.lam for f in found]) == pytest.approx(base.lam, abs=0.03)
    assert max(f.lam for f in found) <= base.ceiling
    assert np.mean([f.dissimilar for f in found]) / shape[-1] == pytest.approx(base.needed, abs=0.1)
    assert np.mean([f.omega.mean() for f in found]) == pytest.approx(base.mean, abs=0.02)


@pytest.mark.parametrize("channels", [16, 32, 128])
def test_random_kernels_of_many_channels_read_zero(channels):
    shape = (3, 3, channels, 64)
    assert ckrm(glorot(shape)) == 0
    assert null(shape).lam == 0


def test_an_absolute_epsilon_of_ssim_calls_random_kernels_redundant():
    # SSIM's 0.03 squared lies far above the variance of a wide layer.
    shape = (3, 3, 256, 256)
    assert ckrm(glorot(shape), epsilon=9e-4) == 1
    assert null(shape, epsilon=9e-4).lam == 1
    assert ckrm(glorot(shape)) == 0


def test_threshold_zero_and_one():
    kernel = half_dead()
    assert ckrm(kernel, 0.0) == 1
    assert ckrm(kernel, 1.0) == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "high"])
def test_threshold_outside_the_unit_interval(threshold):
    with pytest.raises(CKRMError, match="threshold"):
        ckrm(half_dead(), threshold)


@pytest.mark.parametrize("pairs", [0, -3, 2.5])
def test_impossible_number_of_pairs(pairs):
    with pytest.raises(CKRMError, match="pairs"):
        ckrm(half_dead(), pairs=pairs)
