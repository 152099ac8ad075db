"""What a network costs: a value that adds up. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Trainable parameters, moving statistics and multiply-accumulates; costs add up.

    Attributes:
        params: trainable parameters.
        statistics: moving means and variances of batch norms, which are not trained.
        macs: multiply-accumulates for one image.

    Example:
        >>> from ckrm_tf import Cost
        >>> both = Cost(params=120, statistics=8, macs=900) + Cost(params=30, macs=100)
        >>> both.params, both.macs, both.total
        (150, 1000, 158)
    """

    params: int = 0
    statistics: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.statistics + other.statistics,
            self.macs + other.macs,
        )

    @property
    def total(self) -> int:
        """What Keras's `count_params()` reads: trainable and moving statistics."""
        return self.params + self.statistics
