"""`narrow.json`: what it tells of both models and of their data."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras

from ckrm_tf import width_groups
from ckrm_tf.data import Dataset
from ckrm_tf.models.facts import ModelFacts
from ckrm_tf.narrowing.model_cost import ModelCost
from ckrm_tf.versions import versions
from search.model_file import model_digest, model_path
from search.narrow_judged import Judged
from search.session import data_fingerprint


def narrow_record(
    path: str,
    given: keras.Model,
    small: keras.Model,
    before: ModelCost,
    after: ModelCost,
    judged: Judged | None,
    differences: Any,
) -> dict[str, Any]:
    """Both models, the verdict, and how far the exported files are from the narrowed one."""
    now = width_groups(small)
    return {
        "schema": 1,
        "command": sys.argv[1:],
        "model": str(path),
        "model_digest": model_digest(model_path(path)),
        "before": {"params": before.params, "macs": before.macs},
        "after": {"params": after.params, "macs": after.macs},
        "widths": {
            name: [group.width, now[name].width if name in now else None]
            for name, group in width_groups(given).items()
        },
        "frozen": dict(width_groups(given).frozen),
        "judged": None
        if judged is None
        else {"split": judged.split, "images": judged.images, **asdict(judged.verdict)},
        "export_differences": dict(differences),
        "versions": versions(),
    }


def data_record(
    source: str,
    facts: ModelFacts,
    data: Dataset,
    image_size: int | None,
    seed: int,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What a later command needs to read these data again."""
    return {
        "source": source,
        "image_size": facts.side(image_size),
        "seed": seed,
        "options": dict(options),
        "fingerprint": data_fingerprint(data),
        "pixels": [facts.low, facts.high],
        "output": facts.output,
    }
