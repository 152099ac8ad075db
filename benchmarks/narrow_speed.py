"""Narrowing beside Torch-Pruning: the same architectures, half of every width, one run.

    python benchmarks/narrow_speed.py --torch_python torch/bin/python
    python benchmarks/narrow_speed.py --torch_json torch.json --names resnet50,vgg16

`narrow_speed_torch.py` says what its interpreter needs, and runs before this half, alone. Both
sides count alike: trainable parameters, and the multiply-adds of convolutions and dense layers.
Grouping is the way from the network to its groups; narrowing is the way from the network to the
narrowed one, grouping and choice of channels (L1) included. Seconds are CPU seconds of the process.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fire
import keras
import numpy as np
import rich.box
from architectures import CONVOLUTIONAL, PARAMETERS
from rich.console import Console
from rich.table import Table
from vision_transformer import vit_b_16

from ckrm_tf import cost, narrow, width_groups
from ckrm_tf.errors import CKRMError

WARM_UP = "squeezenet1_0"
APPLICATIONS = {
    "vgg16": "VGG16",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3Small",
    "efficientnet_b0": "EfficientNetB0",
    "efficientnet_v2_s": "EfficientNetV2S",
    "densenet121": "DenseNet121",
    "inception_v3": "InceptionV3",
    "convnext_tiny": "ConvNeXtTiny",
}
SIZES = {"inception_v3": 299}
OWN = {**CONVOLUTIONAL, "vit_b_16": vit_b_16}
NAMES = (*APPLICATIONS, *OWN)
Row = dict[str, Any]


def build(name: str) -> keras.Model:
    """The architecture with logits, freshly initialised, at torchvision's image size."""
    if name in OWN:
        return OWN[name]()
    constructor = getattr(keras.applications, APPLICATIONS[name])
    shape = (SIZES.get(name, 224), SIZES.get(name, 224), 3)
    return constructor(weights=None, classifier_activation=None, input_shape=shape)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return round(time.process_time() - start, 3), result


def measured(name: str, row: Row) -> None:
    """Fills `row` with counts and CPU seconds, before and after half of every width."""
    row["build_seconds"], model = timed(lambda: build(name))
    before = cost(model)
    row["params"], row["macs"] = before.params, before.macs
    if name in PARAMETERS and before.params != PARAMETERS[name]:
        raise ValueError(f"{before.params:,} parameters, torchvision has {PARAMETERS[name]:,}")
    row["group_seconds"], groups = timed(lambda: width_groups(model))
    row["groups"] = sum(group.reason is None for group in groups.values())
    row["frozen"] = len(groups) - row["groups"]
    row["narrow_seconds"], small = timed(lambda: narrow(model, 0.5, select="norm"))
    after = cost(small)
    row["params_after"], row["macs_after"] = after.params, after.macs
    image = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    answer = np.asarray(small(image, training=False))
    if answer.shape != (1, *model.output_shape[1:]):
        raise ValueError(f"the narrowed network answers {answer.shape}")
    if not np.isfinite(answer).all():
        raise ValueError("the narrowed network answers with numbers that are not finite")


def ours(names: tuple[str, ...], console: Console) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    measured(WARM_UP, {})
    for name in names:
        row: Row = {"name": name}
        try:
            measured(name, row)
        except Exception as error:  # a failure is a result here: it is kept with its reason
            row["failure"] = f"{type(error).__name__}: {error}"
        console.print_json(json.dumps(row), indent=None)
        rows[name] = row
        keras.utils.clear_session()
        gc.collect()
    return rows


def theirs(names: tuple[str, ...], torch_python: str, torch_json: str) -> dict[str, Any]:
    """What the torch half prints: run now with `torch_python`, or kept in `torch_json`."""
    if torch_json:
        if not Path(torch_json).is_file():
            raise CKRMError(
                "--torch_json", expected="a file of the torch half", received=torch_json
            )
        return json.loads(Path(torch_json).read_text())
    if not torch_python:
        raise CKRMError(
            "--torch_python",
            expected="an interpreter with torch, torchvision and torch-pruning",
            received="none",
            hint="narrow_speed_torch.py says how to make one; --torch_json takes a kept result",
        )
    script = Path(__file__).with_name("narrow_speed_torch.py")
    run = subprocess.run(
        [torch_python, str(script), *names], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(run.stdout)


def pair(left: Row, right: Row, key: str, form: str) -> str:
    return " / ".join(format(row[key], form) if key in row else "-" for row in (left, right))


def kept(left: Row, right: Row, key: str) -> str:
    parts = [
        f"{row[f'{key}_after'] / row[key]:.3f}" if f"{key}_after" in row else "-"
        for row in (left, right)
    ]
    return " / ".join(parts)


def drawn(rows: dict[str, Row], torch_rows: dict[str, Row]) -> Table:
    table = Table(title="Torch-Pruning / this project", box=rich.box.MARKDOWN)
    for column in ("network", "groups", "grouping, CPU s", "narrowing, CPU s", "parameters",
                   "after", "kept", "MACs kept", "building it in Keras, CPU s"):  # fmt: skip
        table.add_column(column, overflow="fold")
    for name, row in rows.items():
        torch_row = torch_rows.get(name, {})
        table.add_row(
            name,
            pair(torch_row, row, "groups", "d"),
            pair(torch_row, row, "group_seconds", ".2f"),
            pair(torch_row, row, "narrow_seconds", ".2f"),
            pair(torch_row, row, "params", ",d"),
            pair(torch_row, row, "params_after", ",d"),
            kept(torch_row, row, "params"),
            kept(torch_row, row, "macs"),
            f"{row.get('build_seconds', float('nan')):.2f}",
        )
    return table


def main(torch_python: str = "", torch_json: str = "", names: str = "", out: str = "") -> None:
    """Prints one table; OUT names a new file for the figures of both sides as JSON."""
    chosen = names if isinstance(names, tuple | list) else tuple(filter(None, names.split(",")))
    chosen = tuple(chosen) or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        raise CKRMError("--names", expected=", ".join(NAMES), received=", ".join(unknown))
    if out and Path(out).exists():
        raise CKRMError("--out", expected="a file that is not there yet", received=out)
    console = Console(width=200)
    other = theirs(chosen, torch_python, torch_json)
    rows, torch_rows = ours(chosen, console), {row["name"]: row for row in other["rows"]}
    console.print(drawn(rows, torch_rows))
    for side, found in (("Torch-Pruning", torch_rows), ("this project", rows)):
        for name, row in found.items():
            if "failure" in row and name in chosen:
                console.print(f"{side} failed on {name}: {row['failure']}", highlight=False)
    console.print(f"{other['versions']}, keras {keras.__version__}", highlight=False)
    if out:
        Path(out).write_text(json.dumps({"torch": other, "rows": list(rows.values())}, indent=1))


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except CKRMError as error:
        sys.exit(str(error))
