"""What a run folder tells of its export and of measured latency."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.files import numbers, read_json, size_on_disk
from ckrm_tf.reporting.record import Estimate, Export, JudgedFile, Latency

LATENCY_FILE = "latency.json"
# A search and a narrowing write their facts under these names.
FACTS = ("widths.json", "export.json")
# Formats whose tolerance widths.json gives.
OWN: tuple[str, ...] = ("saved_model", "keras")
# What a report adds to the folder, which is no part of the network.
ADDED = "MODEL_CARD.md"


def read_export(folder: Path | None) -> tuple[Export | None, dict[str, str]]:
    """The export and the versions that it was made with; None and {} without one.

    Raises:
        CKRMError: damaged facts.
    """
    if folder is None or not folder.is_dir():
        return None, {}
    facts: dict[str, Any] = {}
    for name in FACTS:
        facts |= read_json(folder / name) or {}
    parity = facts.get("parity") or {}
    differences, tolerances = _parity(parity)
    files = [p for p in sorted(folder.iterdir()) if p.name not in (*FACTS, ADDED)]
    export = Export(
        folder=folder.name,
        files=tuple(size_on_disk(path) for path in files),
        differences=differences,
        tolerances=tolerances,
        images=parity.get("images") if isinstance(parity.get("images"), int) else None,
        classes=tuple(map(str, facts.get("class_names", ()))),
        input_shape=tuple(facts.get("input_shape", ())),
        scale=facts.get("scale"),
        judged=tuple(_judged(n, told) for n, told in (facts.get("judged") or {}).items()),
    )
    return export, {str(k): str(v) for k, v in (facts.get("versions") or {}).items()}


def _parity(parity: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Differences and tolerances by format, from either form of the facts."""
    nested = {k: v for k, v in parity.items() if isinstance(v, dict)}
    if nested:
        differences = {k: float(v["difference"]) for k, v in nested.items()}
        bounded = {k: v["tolerance"] for k, v in nested.items() if v["tolerance"] is not None}
        return differences, {k: float(v) for k, v in bounded.items()}
    found = numbers({"parity": parity}, "parity")
    tolerance = found.pop("tolerance", None)
    found.pop("images", None)
    # The file's one tolerance is that of the two formats which are always there.
    own = {k: tolerance for k in OWN if k in found and tolerance is not None}
    return found, own


def _judged(name: str, told: dict[str, Any]) -> JudgedFile:
    """What an export says of a file that rounds.

    Raises:
        CKRMError: something else.
    """

    def estimate(parts: dict[str, Any], value: Any) -> Estimate:
        return Estimate(float(value), float(parts["low"]), float(parts["high"]))

    try:
        split, images, why = str(told["split"]), int(told["images"]), str(told.get("why", ""))
        if why:
            return JudgedFile(name, split, images, None, None, None, why)
        return JudgedFile(
            name,
            split,
            images,
            model=estimate(told["model"], told["model"]["value"]),
            file=estimate(told["file"], told["file"]["value"]),
            difference=estimate(told, told["difference"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CKRMError(
            "export: judged", expected="what an export writes", received=f"{name}: {error}"[:80]
        ) from error


def write_latency(folder: Path, found: Sequence[Latency]) -> Path:
    """Keep measured latencies in the run folder, for every later report."""
    path = folder / LATENCY_FILE
    text = json.dumps({"latency": [asdict(one) for one in found]}, indent=1)
    write_atomically(path, text + "\n")
    return path


def read_latency(folder: Path) -> tuple[Latency, ...]:
    """The latencies that a run folder holds.

    Raises:
        CKRMError: a file that holds something else.
    """
    given = read_json(folder / LATENCY_FILE)
    if given is None:
        return ()
    try:
        return tuple(Latency(**one) for one in given["latency"])
    except (KeyError, TypeError) as error:
        raise CKRMError(LATENCY_FILE, expected="measured latencies", received=str(error)) from error
