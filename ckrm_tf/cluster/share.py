"""What one training takes of a machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ckrm_tf.errors import CKRMError

# Variables of the command that its workers take over.
INHERITED = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")

# Of the threads within an operation: see docs/reliability.md, "A fault of TensorFlow".
LEAST = 2

# Ray counts parts of a GPU in so many units, and rounds to them.
UNITS = 10_000


@dataclass(frozen=True)
class Share:
    """What Ray keeps free for one training.

    Attributes:
        cpus: cores.
        gpus: GPUs: a part of one, or a whole number.
        threads: of TensorFlow.
        own: the cores of this machine that its workers divide among them, so that none waits for
            another's; empty where the system places them.
    """

    cpus: float = 1
    gpus: float = 0
    threads: int = 1
    own: tuple[int, ...] = ()

    @property
    def crowded(self) -> bool:
        """Whether a worker has more threads than cores: one that waits must not spin then."""
        return self.threads < LEAST

    def environment(self) -> dict[str, str]:
        """The variables of a worker."""
        threads, within = str(self.threads), str(max(LEAST, self.threads))
        return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "TF_NUM_INTRAOP_THREADS": within,
            "TF_NUM_INTEROP_THREADS": threads,
            "OMP_NUM_THREADS": within,
            # Several workers, and the command itself, may share one GPU.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }

    def cores(self, place: int, workers: int) -> tuple[int, ...]:
        """The cores of one of so many workers, those of place 0 first.

        >>> [Share(own=(0, 1, 4, 5, 6)).cores(place, 2) for place in range(2)]
        [(0, 1), (4, 5, 6)]
        >>> [Share(own=(0, 1)).cores(place, 3) for place in range(3)]
        [(0,), (1,), (0,)]
        """
        if workers >= len(self.own):
            return self.own and (self.own[place % len(self.own)],)
        first, end = (i * len(self.own) // workers for i in (place, place + 1))
        return self.own[first:end]

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many trainings there is room for on a machine with these resources.

        >>> Share(cpus=2, gpus=0.5).fit({"CPU": 16, "GPU": 2})
        4
        """
        found = resources.get("CPU", 0) // self.cpus
        if self.gpus:
            whole, units = int(resources.get("GPU", 0)), max(1, round(self.gpus * UNITS))
            # Two halves lie on one GPU, two shares of .6 do not.
            on_gpus = whole * UNITS // units if self.gpus >= 1 else whole * (UNITS // units)
            found = min(found, on_gpus)
        return int(found)


def local_share(workers: int, gpus: float, asked: float | None) -> Share:
    """The share of each of so many workers on this machine.

    Args:
        workers: on it.
        gpus: that Ray found.
        asked: GPUs of a training; None: one, or less where there are fewer than workers.

    Raises:
        CKRMError: more GPUs than there are for so many workers.
    """
    share = _part(workers, int(gpus)) if asked is None else asked
    if share > gpus:
        raise CKRMError("--gpus-per-training", expected=f"at most {gpus:g}", received=share)
    own = _cores()
    found = Share(1, share, max(1, len(own) // workers), own)
    room = found.fit({"CPU": workers, "GPU": gpus})
    if room < workers:
        raise CKRMError(
            "--gpus-per-training",
            expected=f"at most {_part(workers, int(gpus)):g} for {workers} workers on {gpus:g} GPU",
            received=f"{share:g}, room for {room}",
        )
    return found


def cluster_share(nodes: Iterable[Mapping[str, Any]], asked: float | None) -> Share:
    """The share of a training on a cluster: one core, and a GPU where it has any."""
    gpus = any(node.get("GPU", 0) for node in nodes)
    return Share(1, float(gpus) if asked is None else asked, 1)


def check_gpus(asked: float | None) -> None:
    """Raise a `CKRMError` for a share of a GPU that Ray cannot give: 1.5 of them."""
    if asked is not None and asked > 1 and asked != int(asked):
        raise CKRMError(
            "--gpus-per-training", expected="a part of one GPU, or whole ones", received=asked
        )


def _part(workers: int, gpus: int) -> float:
    """GPUs of each of so many workers, at most one; no worker lies on two of them."""
    if not gpus:
        return 0.0
    return UNITS // -(-workers // gpus) / UNITS


def _cores() -> tuple[int, ...]:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))
