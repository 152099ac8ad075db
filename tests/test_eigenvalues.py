"""Slice values against one numpy.linalg call per slice, and the inequalities between them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ckrm_tf.criteria.eigenvalues import (
    CRITERIA,
    complex_share,
    contribution,
    dead_filters,
    slice_values,
    threshold_for,
)
from ckrm_tf.errors import CKRMError

NILPOTENT = np.array([[0, 2.0, 3], [0, 0, 4], [0, 0, 0]])


def of_one_slice(K: np.ndarray, criterion: str) -> float:
    """The definitions, one slice at a time."""
    eigenvalues = np.linalg.eigvals(K)
    return {
        "weight": lambda: sum(abs(w) for w in K.ravel()) / K.size,
        "det": lambda: abs(np.linalg.det(K)),
        "min_eig": lambda: min(abs(z) for z in eigenvalues),
        "min_eig_real": lambda: min(abs(z.real) for z in eigenvalues),
        "spectral_radius": lambda: max(abs(z) for z in eigenvalues),
        "spectral_radius_real": lambda: max(abs(z.real) for z in eigenvalues),
        "spectral_norm": lambda: np.linalg.norm(K, 2),
    }[criterion]()


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_values_against_a_loop_over_slices(criterion, k):
    kernel = np.random.default_rng(k).normal(size=(k, k, 4, 5)).astype(np.float32)
    values = slice_values(kernel, criterion)
    assert values.shape == (4, 5)
    assert values.dtype == np.float64
    expected = [
        [of_one_slice(kernel[:, :, i, j].astype(np.float64), criterion) for j in range(5)]
        for i in range(4)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_one_by_one_is_the_absolute_weight(criterion):
    kernel = np.random.default_rng(0).normal(size=(1, 1, 3, 4))
    np.testing.assert_array_equal(slice_values(kernel, criterion), np.abs(kernel[0, 0]))


def test_eigenvalues_of_a_known_matrix():
    # A rotation by 90 degrees scaled by 2 (eigenvalues 2i and -2i) beside a 3.
    K = np.array([[0, -2.0, 0], [2, 0, 0], [0, 0, 3]])[:, :, None, None]
    known = {
        "det": 12,
        "min_eig": 2,
        "min_eig_real": 0,
        "spectral_radius": 3,
        "spectral_radius_real": 3,
        "spectral_norm": 3,
        "weight": 7 / 9,
    }
    for criterion, value in known.items():
        np.testing.assert_allclose(slice_values(K, criterion), [[value]], atol=1e-12)
    assert complex_share(K, "min_eig") == 1
    assert complex_share(K, "spectral_radius") == 0


def test_nilpotent_slices_die_by_eigenvalues_and_live_by_norm():
    kernel = NILPOTENT[:, :, None, None]
    for criterion in ("det", "min_eig", "min_eig_real", "spectral_radius", "spectral_radius_real"):
        assert slice_values(kernel, criterion)[0, 0] == 0
    assert slice_values(kernel, "spectral_norm")[0, 0] > 4
    assert slice_values(kernel, "weight")[0, 0] == pytest.approx(1)


kernels = st.sampled_from([2, 3]).flatmap(
    lambda k: arrays(
        np.float64,
        (k, k, 3, 3),
        elements=st.floats(-1, 1, width=32, allow_subnormal=False),
    )
)


@settings(deadline=None)  # slow shared machines
@given(kernels)
def test_inequalities_between_criteria(kernel):
    v = {criterion: slice_values(kernel, criterion) for criterion in CRITERIA}
    k, norm = kernel.shape[0], v["spectral_norm"]
    # Computed eigenvalues are exact for a matrix within rounding of the slice (backward
    # stability); what that moves an eigenvalue of a defective slice by grows as the k-th root.
    slack = 20 * norm * np.finfo(float).eps ** (1 / k) + 1e-300
    assert np.all(v["min_eig_real"] <= v["min_eig"])
    assert np.all(v["min_eig"] <= v["det"] ** (1 / k) + slack)
    assert np.all(v["det"] ** (1 / k) <= v["spectral_radius"] + slack)
    assert np.all(v["spectral_radius_real"] <= v["spectral_radius"])
    assert np.all(v["spectral_radius"] <= norm + slack)
    assert np.all(v["weight"] <= norm * (1 + 1e-12))


@settings(deadline=None)  # slow shared machines
@given(seed=st.integers(0, 10_000), exponent=st.floats(-2, 0.5))
def test_what_one_threshold_prunes_is_nested(seed, exponent):
    # Random kernels are not defective, so the sets themselves are nested.
    kernel = np.random.default_rng(seed).normal(size=(3, 3, 6, 6))
    T = 10.0**exponent
    pruned = {c: slice_values(kernel, c) < threshold_for(c, T, 3) for c in CRITERIA}
    chain = ["spectral_norm", "spectral_radius", "det", "min_eig", "min_eig_real"]
    for smaller, larger in [*pairwise(chain), ("spectral_norm", "weight")]:
        assert np.all(pruned[larger] | ~pruned[smaller]), (smaller, larger)


def test_the_determinant_is_compared_with_a_power_of_the_threshold():
    assert threshold_for("det", 1e-4, 3) == pytest.approx(1e-12)
    assert all(threshold_for(c, 1e-4, 3) == 1e-4 for c in CRITERIA if c != "det")
    # A multiple of an orthogonal matrix has all values equal to the scale, |det| to its cube.
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for scale, dies in [(0.99e-4, True), (1.01e-4, False)]:
        kernel = (scale * Q)[:, :, None, None]
        for criterion in ("det", "min_eig", "spectral_radius", "spectral_norm"):
            dead = slice_values(kernel, criterion) < threshold_for(criterion, 1e-4, 3)
            assert dead.item() is dies


def test_contribution_by_a_loop_over_filters():
    values = np.random.default_rng(0).random((4, 3))
    values[:, 1] = 0
    alive = np.ones((4, 3), bool)
    alive[0, 2] = False
    expected = np.zeros((4, 3))
    for j in (0, 2):
        total = sum(values[i, j] for i in range(4) if alive[i, j])
        for i in range(4):
            expected[i, j] = values[i, j] / total if alive[i, j] else 0
    np.testing.assert_allclose(contribution(values, alive), expected)
    # Equal weights contribute equally whatever k is.
    equal = slice_values(np.full((3, 3, 4, 2), 0.3), "weight")
    np.testing.assert_allclose(contribution(equal), 1 / 4)


def test_dead_filters():
    mask = np.array([[True, False, False], [False, False, True]])
    assert dead_filters(mask).tolist() == [False, True, False]


def test_complex_share_by_a_loop():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 20, 10))
    complex_ones = 0
    for i in range(20):
        for j in range(10):
            z = np.linalg.eigvals(kernel[:, :, i, j])
            complex_ones += z[np.argmin(np.abs(z))].imag != 0
    assert 0 < complex_ones < 200
    assert complex_share(kernel, "min_eig") == complex_ones / 200


def test_no_slices():
    for criterion in CRITERIA:
        assert slice_values(np.zeros((3, 3, 0, 4)), criterion).shape == (0, 4)
    assert complex_share(np.zeros((3, 3, 0, 4))) == 0


@pytest.mark.parametrize("shape", [(3, 5, 2, 2), (3, 3, 2), (0, 0, 2, 2)])
def test_kernels_without_square_slices_are_refused(shape):
    with pytest.raises(CKRMError, match=r"shape \(k, k, channels in, channels out\)"):
        slice_values(np.ones(shape), "weight")


def test_other_mistakes_are_refused():
    kernel = np.ones((3, 3, 2, 2))
    with pytest.raises(CKRMError, match="Did you mean 'spectral_norm'"):
        slice_values(kernel, "spectral_nrom")
    with pytest.raises(CKRMError, match="eigenvalue criterion"):
        complex_share(kernel, "weight")
    with pytest.raises(CKRMError, match="threshold"):
        threshold_for("weight", -1.0, 3)
    kernel[0, 0, 1, 1] = np.nan
    with pytest.raises(CKRMError, match="received 1 slices"):
        slice_values(kernel, "spectral_norm")


def test_the_core_needs_no_tensorflow():
    code = (
        "import sys\n"
        "import ckrm_tf.criteria.eigenvalues, ckrm_tf.pruning.masks\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
