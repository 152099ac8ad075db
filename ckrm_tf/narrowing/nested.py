"""Regressions between the channels of one tensor at many widths, by one Cholesky factor.

Orders of channels nest: what stays at one width is the beginning of one order. With U the factor of
G + a I, rows and columns in that order (G + a I = U^T U), the ridge regression from the first k
channels to the others is B = U_KK^-1 U_KD, U_KK and U_KD being the first k rows. For that a must
not depend on the width: it is a share of the mean energy of all channels, not of those that stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import linalg

from ckrm_tf.narrowing.mend import factor, regression

# What is kept of each weight: a search goes back and forth between a network and its neighbours.
RECENT = 3


class Recent(OrderedDict[bytes, Any]):
    """The values asked for last."""

    def get_or(self, key: bytes, make: Callable[[], Any]) -> Any:
        """The value of a key, made if it is not at hand."""
        if key in self:
            self.move_to_end(key)
        else:
            self[key] = make()
            while len(self) > RECENT:
                self.popitem(last=False)
        return self[key]


@dataclass
class Nested:
    """The regressions among the channels of one tensor, or of one block of a grouped kernel.

    Attributes:
        order: (channels,), the position of each, the most wanted first.
        products: (channels, channels), the Gram matrix, in that order.
        level: a, what is added to its diagonal.
        solved: how many regressions were solved.
    """

    order: np.ndarray
    products: np.ndarray
    level: float
    solved: int = 0
    _factor: np.ndarray | None = None
    _recent: Recent = field(default_factory=Recent)

    def weights(self, keeps: np.ndarray) -> np.ndarray:
        """B of (kept, removed), each of them in the order.

        Args:
            keeps: (channels,), which stay, by position.
        """
        found: np.ndarray = self._recent.get_or(keeps.tobytes(), lambda: self._solve(keeps))
        return found

    def _solve(self, keeps: np.ndarray) -> np.ndarray:
        self.solved += 1
        in_order = keeps[self.order]
        count = int(in_order.sum())
        if not in_order[:count].all():
            # Several groups in one tensor: what stays is not the beginning of one order.
            return regression(self.products, in_order, self.level).astype(np.float32)
        if self._factor is None:
            self._factor = factor(self.products, self.level)[0]
        solved: np.ndarray = linalg.solve_triangular(
            self._factor[:count, :count], self._factor[:count, count:], check_finite=False
        )
        return solved.astype(np.float32)

    def restricted(self, keeps: np.ndarray) -> Nested:
        """The same among the channels that stay."""
        in_order = keeps[self.order]
        numbers = np.cumsum(keeps) - 1
        return Nested(
            numbers[self.order[in_order]], self.products[np.ix_(in_order, in_order)], self.level
        )
