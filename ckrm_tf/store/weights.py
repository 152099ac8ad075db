"""The files of trained weights in a run folder: what they are called, whether they are sound."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ckrm_tf.design.design import Design
from ckrm_tf.files import checksum
from ckrm_tf.store.record import Training
from ckrm_tf.train.way import PLAIN_NAME

# The folder within a run folder.
WEIGHTS = "weights"
# Characters of a file name; file systems take 255.
LONGEST = 200


def training_name(design: Design, seed: int) -> str:
    """A file name for a training: the numbers of its design, or a hash of many."""
    numbers = "_".join(map(str, design.values()))
    if len(numbers) > LONGEST:
        numbers = hashlib.sha256(design.to_json().encode()).hexdigest()[:32]
    return f"{numbers}_seed{seed}"


def weights_file(folder: Path, design: Design, seed: int, part: str = "") -> Path:
    """Where the weights of a training are kept.

    Args:
        folder: of the weights.
        design: the network.
        seed: of the training.
        part: what tells it from another training of this network and seed.
    """
    return folder / f"{training_name(design, seed)}{part}.weights.h5"


def part_of(epochs: int, whole: int, how: str = PLAIN_NAME) -> str:
    """What tells a training from the plain one of all epochs, in the name of its file."""
    shorter = "" if epochs == whole else f"_epochs{epochs}"
    return shorter + ("" if how == PLAIN_NAME else f"_{how.replace(' ', '_')}")


def as_recorded(path: Path, training: Training) -> bool:
    """Whether a file holds the weights of a record."""
    return path.is_file() and checksum(path) == training.weights
