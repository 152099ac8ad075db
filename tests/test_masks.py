"""Masks against slow, obvious loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf.criteria.eigenvalues import CRITERIA, slice_values
from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.masks import (
    alive_filters,
    contribution_masks,
    dead_slices,
    dead_weights,
    lowest_masks,
    percentile_masks,
    threshold_masks,
    zero_masks,
)


def make_kernels(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"stem": (7, 7, 1, 4), "a": (3, 3, 4, 6), "b": (1, 1, 6, 5)}
    return {name: rng.normal(scale=0.1, size=shape) for name, shape in shapes.items()}


KERNELS = make_kernels()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_threshold_compares_det_with_the_power_of_each_layers_k(criterion):
    T = 0.1
    masks = threshold_masks(KERNELS, criterion, T)
    for name, kernel in KERNELS.items():
        k = kernel.shape[0]
        bound = T**k if criterion == "det" else T
        np.testing.assert_array_equal(masks[name], slice_values(kernel, criterion) >= bound)
        assert masks[name].shape == kernel.shape[2:]
    assert dead_slices(masks) > 0


def test_threshold_keeps_the_value_equal_to_it():
    kernels = {"a": np.full((1, 1, 1, 2), 0.5)}
    assert threshold_masks(kernels, "weight", 0.5)["a"].all()
    assert not threshold_masks(kernels, "weight", 0.5000001)["a"].any()


@pytest.mark.parametrize("criterion", ["weight", "spectral_norm", "det"])
def test_contribution_by_loop(criterion):
    masks = contribution_masks(KERNELS, criterion, 0.2)
    for name, kernel in KERNELS.items():
        values = slice_values(kernel, criterion)
        for (i, j), kept in np.ndenumerate(masks[name]):
            assert kept == (values[i, j] / sum(values[:, j]) >= 0.2)


def test_contribution_among_the_alive():
    kernels = {"a": np.array([3.0, 1.0, 1.0]).reshape(1, 1, 3, 1)}
    assert contribution_masks(kernels, "weight", 0.3)["a"].ravel().tolist() == [True, False, False]
    alive = {"a": np.array([[False], [True], [True]])}
    for threshold in (0.0, 0.3):
        masks = contribution_masks(kernels, "weight", threshold, alive)
        assert masks["a"].ravel().tolist() == [False, True, True]


@settings(deadline=None)  # slow shared machines
@given(share=st.floats(0, 1), seed=st.integers(0, 50), criterion=st.sampled_from(CRITERIA))
def test_percentiles_kill_exactly_the_lowest(share, seed, criterion):
    kernels = make_kernels(seed)
    root = {
        name: slice_values(k, criterion) ** (1 / k.shape[0] if criterion == "det" else 1)
        for name, k in kernels.items()
    }

    def check(values: np.ndarray, kept: np.ndarray) -> None:
        assert np.sum(~kept) == int(share * values.size + 1e-9)
        if 0 < np.sum(kept) < kept.size:
            assert values[~kept].max() <= values[kept].min()

    by_filter = percentile_masks(kernels, criterion, share, "filter")
    by_layer = percentile_masks(kernels, criterion, share, "layer")
    over_all = percentile_masks(kernels, criterion, share, "network")
    for name, values in root.items():
        check(values, by_layer[name])
        for j in range(values.shape[1]):
            check(values[:, j], by_filter[name][:, j])
    check(
        np.concatenate([v.ravel() for v in root.values()]),
        np.concatenate([over_all[name].ravel() for name in root]),
    )


def test_a_share_of_20_percent_kills_20_percent_also_among_equals():
    kernels = {"a": np.ones((3, 3, 10, 10)), "b": np.ones((1, 1, 10, 10))}
    for within in ("filter", "layer", "network"):
        masks = percentile_masks(kernels, "weight", 0.2, within)
        assert dead_slices(masks) == 40
    # 0.29 * 100 is a little below 29 in binary.
    assert dead_slices(percentile_masks({"a": kernels["a"]}, "weight", 0.29)) == 29


def test_ranking_det_over_kernel_sizes_uses_the_root():
    # Every eigenvalue of "big" is 0.2, of "small" 0.1: by |det| alone "big" (0.008) would go first.
    kernels = {
        "big": 0.2 * np.eye(3)[:, :, None, None],
        "small": np.full((1, 1, 1, 1), 0.1),
    }
    masks = percentile_masks(kernels, "det", 0.5, "network")
    assert masks["big"].all()
    assert not masks["small"].any()


def test_lowest_masks_kill_a_count():
    for count in (0, 7, 58):
        assert dead_slices(lowest_masks(KERNELS, "weight", count)) == count
    with pytest.raises(CKRMError, match="0 to 58"):
        lowest_masks(KERNELS, "weight", 59)
    assert lowest_masks({}, "weight", 0) == {}


def test_counts():
    masks = {"a": np.array([[True, False], [False, False]]), "b": np.ones((2, 3), bool)}
    kernels = {"a": np.ones((3, 3, 2, 2)), "b": np.ones((1, 1, 2, 3))}
    assert alive_filters(masks) == {"a": 1, "b": 3}
    assert dead_slices(masks) == 3
    assert dead_weights(masks, kernels) == 27
    assert alive_filters({"b": ~masks["b"]}) == {"b": 0}


def test_zero_masks_read_a_pruned_networks_weights():
    masks = threshold_masks(KERNELS, "spectral_radius", 0.15)
    pruned = {name: np.where(masks[name], kernel, 0) for name, kernel in KERNELS.items()}
    found = zero_masks(pruned)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask)


def test_mistakes_are_refused():
    with pytest.raises(CKRMError, match="share of slices"):
        percentile_masks(KERNELS, "weight", 1.1)
    with pytest.raises(CKRMError, match="share of slices"):
        percentile_masks(KERNELS, "weight", float("nan"))
    with pytest.raises(CKRMError, match="Did you mean 'filter'"):
        percentile_masks(KERNELS, "weight", 0.5, "filters")
    with pytest.raises(CKRMError, match="contribution threshold"):
        contribution_masks(KERNELS, "weight", -0.1)
    with pytest.raises(CKRMError, match="threshold"):
        threshold_masks(KERNELS, "weight", float("inf"))
