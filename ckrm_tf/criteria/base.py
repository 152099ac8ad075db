"""The one small interface by which any criterion steers the search. Pure.

A criterion looks at the kernels that share a width and answers with a `Signal`: how redundant
they are, how many of them are needed, and a finer number that ranks widths when nothing is
redundant outright. The proposal knows signals only, not criteria.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckrm_tf.measures.kernels import ConvolutionKernel


@dataclass(frozen=True, slots=True)
class Signal:
    """What a criterion says of one width.

    Attributes:
        redundancy: share in [0, 1], 0 for what random kernels may read by chance; CKRM: lambda
            above its null.
        needed: share of the filters that is needed, in (0, 1]; 1 where nothing is redundant.
        excess: how much more alike (CKRM) or weaker (slice criteria) the kernels are than random
            ones; speaks also when `redundancy` is 0, as after training without a penalty.
    """

    redundancy: float
    needed: float
    excess: float


SIGNAL_PARTS = tuple(part.name for part in fields(Signal))

Criterion = Callable[[Sequence["ConvolutionKernel"]], Signal]
