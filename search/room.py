"""Whether a disk has room for the weights to come."""

from __future__ import annotations

import shutil
from pathlib import Path

from ckrm_tf.data.limits import size
from ckrm_tf.errors import CKRMError

# Of a weights file: four bytes a parameter, the moving averages of batch normalisation, and HDF5's
# own tables.
BYTES_PER_PARAMETER = 4.4
TABLES = 400_000

# A training's weights, and an export of as large a network: `.keras`, SavedModel, and both once
# more while they are compared.
COPIES = 4


def check_room(folder: Path, params: int, trainings: int) -> str:
    """What the weights of a search may take, and what is free.

    Args:
        folder: where they go.
        params: of the starting network, the largest.
        trainings: how many weights files there may be.

    Raises:
        CKRMError: no room for one training and an export.
    """
    one = int(params * BYTES_PER_PARAMETER) + TABLES
    there = sum(path.stat().st_size for path in folder.glob("weights/*") if path.is_file())
    most, free = max(0, trainings * one - there), shutil.disk_usage(folder).free
    if free < COPIES * one:
        raise CKRMError(
            str(folder),
            expected=f"room on the disk, at least {size(COPIES * one)}",
            received=f"{size(free)} free",
            hint="Nothing was trained: the same command goes on when there is room.",
        )
    told = f"the weights to come take at most {size(most)}, {size(free)} are free"
    return told if most < free else f"{told}: the search may have to stop and go on later"
