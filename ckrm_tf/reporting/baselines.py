"""Networks of unguided searches, which a report of a search sets beside its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.comparison import Comparison
from ckrm_tf.reporting.files import read_json
from ckrm_tf.reporting.record import Baseline

FILE = "baselines.json"
# Strategies that look at the trained networks: what they find is no baseline.
LOOKING = ("ckrm", "signals", "scores")


def baselines_of(found: Comparison) -> tuple[Baseline, ...]:
    """The networks of the strategies of a comparison that no measure guides, but for the start.

    A network's trainings in several repeats are counted together, each seed once.
    """
    starts = {s.text for s in found.steps if s.number == 1}
    aucs: dict[tuple[str, str, int, int], dict[int, float]] = {}
    for s in found.steps:
        if s.strategy in LOOKING or s.text in starts or s.epochs < found.epochs:
            continue
        if s.val_auc is not None:
            aucs.setdefault((s.strategy, s.text, s.params, s.macs), {})[s.seed] = s.val_auc
    return tuple(Baseline(*key, tuple(by_seed.values())) for key, by_seed in aucs.items())


def write_baselines(folder: Path, networks: tuple[Baseline, ...]) -> Path:
    """Keep them in a run folder for later reports, in place of those of before."""
    path = folder / FILE
    write_atomically(path, json.dumps({"networks": [asdict(n) for n in networks]}, indent=1) + "\n")
    return path


def read_baselines(folder: Path) -> tuple[Baseline, ...]:
    """Those that a run folder keeps; none without the file.

    Raises:
        CKRMError: a damaged file.
    """
    given = read_json(folder / FILE)
    if given is None:
        return ()
    try:
        return tuple(
            Baseline(
                strategy=str(one["strategy"]),
                text=str(one["text"]),
                params=int(one["params"]),
                macs=int(one["macs"]),
                aucs=tuple(map(float, one["aucs"])),
            )
            for one in given["networks"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CKRMError(
            FILE, expected="what a report writes", received=f"no {error}"[:80]
        ) from error
