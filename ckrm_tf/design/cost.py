"""What a network costs: a value that adds up. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Trainable parameters, moving statistics and multiply-accumulates; costs add up."""

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
