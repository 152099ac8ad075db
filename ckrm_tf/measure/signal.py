"""What a criterion says of one width: plain numbers, so that a proposal needs no Keras."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Signal:
    """What a criterion says of one width.

    Attributes:
        redundancy: share in [0, 1], 0 for random kernels; CKRM: lambda above its null.
        needed: share of the filters that is needed, in (0, 1].
        excess: how much more alike (CKRM) or weaker (slice criteria) the kernels are than random
            ones; speaks also when `redundancy` is 0, as after training without a penalty.
    """

    redundancy: float
    needed: float
    excess: float


SIGNAL_PARTS = tuple(part.name for part in fields(Signal))
