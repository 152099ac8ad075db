"""Table 1 of arXiv 2212.00272: a 7x7 patch, noise, and a shift of 0.5 that acts on L alone.

The paper does not print its patch. Proven here: the printed digits obey the law that Eq. 5 gives
for a shift; psi obeys it exactly; and all twenty printed values lie where those of patches drawn
uniformly from [0, 1] do.
"""

from __future__ import annotations

import numpy as np
import pytest

from ckrm_tf.measures.similarity import psi

NOISE = (0.05, 0.15, 0.25, 0.35, 0.45)
# alpha -> values without and with the shift
PRINTED = {
    1.0: ((0.987, 0.867, 0.822, 0.532, 0.375), (0.803, 0.700, 0.656, 0.428, 0.294)),
    0.1: ((0.987, 0.867, 0.824, 0.532, 0.379), (0.967, 0.849, 0.806, 0.521, 0.369)),
}
DIGIT = 0.0005


@pytest.mark.parametrize("column", range(5))
def test_printed_values_obey_the_law_of_the_shift(column):
    (plain1, shifted1), (plain, shifted) = (
        [row[column] for row in PRINTED[alpha]] for alpha in (1.0, 0.1)
    )
    # Only L moves: psi_0.1 after / before = (psi_1 after / before) ** 0.1, within the rounding.
    low = ((shifted1 - DIGIT) / (plain1 + DIGIT)) ** 0.1 * (plain - DIGIT)
    high = ((shifted1 + DIGIT) / (plain1 - DIGIT)) ** 0.1 * (plain + DIGIT)
    assert low - DIGIT <= shifted <= high + DIGIT


def test_the_law_is_exact():
    rng = np.random.default_rng(0)
    for deviation in NOISE:
        x = rng.random((7, 7))
        y = x + rng.normal(0, deviation, (7, 7))
        ratios = [psi(x, y + 0.5, alpha=a) / psi(x, y, alpha=a) for a in (1.0, 0.1)]
        assert ratios[1] == pytest.approx(ratios[0] ** 0.1, rel=1e-9)
        assert ratios[0] < 0.9 < ratios[1]


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("column", range(5))
def test_printed_values_are_those_of_uniform_patches(alpha, column):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        x = rng.random((7, 7))
        y = x + rng.normal(0, NOISE[column], (7, 7))
        found.append((psi(x, y, alpha=alpha), psi(x, y + 0.5, alpha=alpha)))
    for values, printed in zip(np.transpose(found), PRINTED[alpha], strict=True):
        low, high = np.quantile(values, [0.005, 0.995])
        assert low <= printed[column] <= high
        assert high - low < 0.5
