"""The export, the checks, the environment and the command: how it was made, and made again."""

from __future__ import annotations

import json
from typing import Any

from ckrm_tf.reporting import words
from ckrm_tf.reporting.sections.base import Block, Code, Page, Table, Text


def checks(page: Page) -> list[Block]:
    """Every check with its answer, those that warn first."""
    order = {"warns": 0, "cannot tell": 1, "quiet": 2}
    found = sorted(page.answers, key=lambda one: order[one[1].state])
    if not found:
        return []
    return [
        Table(
            "checks",
            "Each check is explained in docs/checks.md of the repository, under its number.",
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
                        _number(found.tolerances, file.name),
                    )
                    for file in found.files
                ),
                numeric=(1, 2, 3),
            )
        )
    if page.record.latency:
        blocks.append(_latency(page))
    return blocks


def _number(values: Any, file: str) -> str:
    # A format's file is its name, with or without an ending.
    name = {"model.keras": "keras", "model.onnx": "onnx", "model.tflite": "litert"}.get(file, file)
    return f"{values[name]:.2g}" if name in values else "not recorded"


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
