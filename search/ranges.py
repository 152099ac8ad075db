"""Which numbers a command takes: what cannot work is refused before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckrm_tf.errors import CKRMError

# Smallest and largest value: beyond it nothing can come of a search, or no machine has the room.
RANGES: dict[str, tuple[float, float]] = {
    "image_size": (1, 16_384),
    "trials": (1, 1_000_000),
    "seeds": (1, 1_000),
    # KerasTuner takes 0 for "no seed".
    "seed": (1, 2**31 - 1),
    "folds": (0, 1_000),
    "penalty": (0, 1_000_000),
    "score_share": (0, 0.5),
    "floor": (1, 65_536),
    "confirm": (0, 1_000),
    "filters": (1, 65_536),
    "growth": (0, 100),
    "blocks": (1, 1_000),
    "ratio": (1, 65_536),
    # Both are exponents.
    "ggcam_a": (-100, 100),
    "ggcam_e": (-100, 100),
    "epochs": (1, 1_000_000),
    "batch_size": (1, 1_000_000),
    "learning_rate": (0, 1_000),
    "l1": (0, 1_000_000),
    "shift": (0, 16_384),
    "multiple": (1, 65_536),
    "training_timeout": (0.001, 1_000_000_000),
    "workers": (1, 100_000),
    "gpus_per_training": (0, 1_024),
}

# A network of more stages has no pixel left.
MOST_STAGES = 64


def check_ranges(
    values: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Raise the error for the first number, or number in a list, that is out of its range.

    Args:
        values: by flag; None is in every range.
        ranges: smallest and largest by flag; by default `RANGES`.
    """
    known = RANGES if ranges is None else ranges
    for name, value in values.items():
        low, high = known[name]
        for number in value if isinstance(value, tuple) else (value,):
            if number is None or low <= number <= high:
                continue
            least = "0 or more" if low == 0 else f"at least {low}"
            raise CKRMError(
                f"--{name.replace('_', '-')}",
                expected=least if not number >= low else f"at most {high:,}",
                received=number,
            )
