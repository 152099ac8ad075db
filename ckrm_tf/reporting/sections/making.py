"""The export, the checks, the environment and the command: how it was made, and made again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ckrm_tf.reporting import words
from ckrm_tf.reporting.record import JudgedFile
from ckrm_tf.reporting.sections.base import Block, Code, Page, Table, Text

# The format of a file.
FORMATS = {
    "model.keras": "keras",
    "model.onnx": "onnx",
    "model.tflite": "litert",
    "model_int8.tflite": "litert-int8",
}
ROUNDING = {"model_int8.tflite"}


def checks(page: Page) -> list[Block]:
    """Every check with its answer, those that warn first."""
    order = {"warns": 0, "cannot tell": 1, "quiet": 2}
    found = sorted(page.answers, key=lambda one: order[one[1].state])
    if not found:
        return []
    return [
        Table(
            "checks",
            "Each check has a page in docs/checks of the repository, under its number.",
            ("check", "answer", "what it is about", "why"),
            tuple((c.code, a.state, c.title, a.text) for c, a in found),
            prose=(3,),
            stacked=True,
            states=tuple(a.state for _, a in found),
        )
    ]


def export(page: Page) -> list[Block]:
    """The files of the export and how far they are from the trained network; measured times."""
    found = page.record.export
    blocks: list[Block] = []
    if found is None:
        blocks.append(Text("Nothing was exported."))
    else:
        blocks.append(
            Table(
                "export",
                f"Files of {found.folder}, read back and compared"
                + (f" on {words.plural(found.images, 'image')}" if found.images else "")
                + ": the largest difference of a probability or output.",
                ("file", "size on disk", "difference", "allowed"),
                tuple(
                    (
                        file.name,
                        words.size(file.bytes),
                        _number(found.differences, file.name),
                        _number(
                            found.tolerances,
                            file.name,
                            "it rounds" if file.name in ROUNDING else "not recorded",
                        ),
                    )
                    for file in found.files
                ),
                numeric=(1, 2, 3),
            )
        )
        if found.judged:
            blocks.append(_judged(found.judged))
    if page.record.latency:
        blocks.append(_latency(page))
    return blocks


def _judged(found: Sequence[JudgedFile]) -> Table:
    return Table(
        "rounded",
        "Files that round, beside the model in float32: macro AUC, 95% interval over images.",
        ("file", "images", "AUC of the model", "AUC of the file", "difference"),
        tuple(
            (
                one.name,
                f"{one.images} {one.split}",
                words.estimate(one.model),
                one.why or words.estimate(one.file),
                _difference(one),
            )
            for one in found
        ),
        numeric=(2, 3, 4),
    )


def _difference(one: JudgedFile) -> str:
    d = one.difference
    if d is None or d.low is None or d.high is None:
        return words.NONE
    return f"{words.signed(d.value)} [{words.signed(d.low)}, {words.signed(d.high)}]"


def _number(values: Any, file: str, absent: str = "not recorded") -> str:
    # A format's file is its name, with or without an ending.
    name = FORMATS.get(file, file)
    return f"{values[name]:.2g}" if name in values else absent


def _latency(page: Page) -> Table:
    return Table(
        "latency",
        "Measured time of one batch: median, fastest and slowest of several calls on this machine, "
        "after calls to warm up.",
        ("network", "runtime", "batch", "median", "fastest", "slowest", "an image", "calls"),
        tuple(
            (
                one.network,
                one.runtime,
                words.plural(one.batch, "image"),
                words.milliseconds(one.seconds),
                words.milliseconds(one.low),
                words.milliseconds(one.high),
                words.milliseconds(one.seconds / one.batch),
                str(one.calls),
            )
            for one in page.record.latency
        ),
        numeric=(3, 4, 5, 6, 7),
    )


def environment(page: Page) -> list[Block]:
    """Versions, machine, settings, and the command."""
    record = page.record
    blocks: list[Block] = []
    if record.command:
        blocks += [Text("The command, with every setting in force:"), Code(record.command)]
    rows = [(name, version) for name, version in sorted(record.versions.items())]
    if record.machine:
        rows.append(("machine", record.machine))
    if rows:
        blocks.append(
            Table("environment", "What the run was made with.", ("", "version"), tuple(rows))
        )
    if record.settings:
        blocks.append(
            Table(
                "settings",
                "Settings as the run folder keeps them; configs/default.yaml explains each.",
                ("setting", "value"),
                tuple((k, json.dumps(v, default=str)) for k, v in record.settings.items()),
            )
        )
    return blocks
