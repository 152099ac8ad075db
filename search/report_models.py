"""What a report can only know from the networks themselves: time for a batch, single images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from rich.console import Console

from ckrm_tf.data import Dataset, Split
from ckrm_tf.data.limits import brief
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.layers.cam import cam_model
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.collect_export import write_latency
from ckrm_tf.reporting.evidence import evidence_of, write_evidence
from ckrm_tf.reporting.latency import RUNTIMES, measure_latency
from ckrm_tf.reporting.overlay import overlay
from ckrm_tf.reporting.record import Record
from ckrm_tf.stats import disagreements
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.way import PLAIN_NAME
from search.console import read_data, show_data
from search.retrain import probabilities
from search.run_folder import read_run
from search.session import data_fingerprint, make_runner
from search.settings import Settings

# Pictures of a page that loads at once, and their side in pixels.
MOST_PICTURES, SIDE = 24, 192
# What kernels of processors and accelerators like.
MULTIPLE = 8
ROUNDED = f"recommended, widths rounded up to multiples of {MULTIPLE}"


def add_latency(console: Console, place: Path, formats: Sequence[str] = tuple(RUNTIMES)) -> None:
    """Measure the time of start and recommended network and keep it in the run folder.

    Args:
        console: what is done is shown there.
        place: the run folder.
        formats: of `ckrm_tf.reporting.latency.RUNTIMES`.

    Raises:
        CKRMError: no finished search over a family of networks.
    """
    settings, _, record = _finished(place)
    export = record.export
    if export is None or len(export.input_shape) != 3 or export.scale is None:
        raise CKRMError("--latency", expected="a run with an export", received="none")
    height, width, channels = export.input_shape
    family = settings.network((height, width, channels), len(export.classes))
    start, best = _designs(record)
    designs = {"start": start, "recommended": best}
    rounded = _rounded(family, best)
    if rounded != best:
        designs[ROUNDED] = rounded
    with console.status("measuring latency"):
        models = {name: family.build(design) for name, design in designs.items()}
        found = measure_latency(models, export.scale, formats=formats)
    path = write_latency(place, found)
    console.print(f"latency   {path.name}: {len(found)} measurements", highlight=False)


def add_evidence(console: Console, place: Path, options: Mapping[str, Any]) -> None:
    """Let the first training of both networks judge the test split; keep what they say.

    Args:
        console: what is read is shown there.
        place: the run folder.
        options: of the data, where they lie elsewhere now.

    Raises:
        CKRMError: no finished search over a family of networks, or other images than it had.
    """
    settings, pixels, record = _finished(place, options)
    if not any(v.ours and v.unseen for v in record.verdicts):
        raise CKRMError(
            "--cases",
            expected="a search that has opened its test split for the network it recommends",
            received="one that has not",
            hint="A report opens none.",
        )
    data = read_data(console, settings)
    show_data(console, data)
    if data_fingerprint(data) != pixels:
        raise CKRMError("data", expected="the images the search had", received=f"other {data.name}")
    start, best = _designs(record)
    runner = make_runner(settings, data, place)
    models, arms = [], []
    for design in (start, best):
        seed = _first_seed(runner.journal, design, settings)
        arms.append(probabilities(runner, design, [seed], data.test)[0])
        model = runner.build(design)
        model.load_weights(runner.weights_path(design, seed))
        models.append(model)
    found = evidence_of(
        data.test.labels,
        arms[0],
        arms[1],
        data.class_names,
        designs=(start.to_dict(), best.to_dict()),
        counts=_counts(data),
        pictures=_pictures(data.test, data.scale, models, arms),
    )
    path = write_evidence(place, found)
    told = (
        f"the two networks disagree on {len(found.disagreements)} of {len(data.test)} test images"
    )
    console.print(f"images    {path.name}: {told}", highlight=False)


def _finished(
    place: Path, options: Mapping[str, Any] | None = None
) -> tuple[Settings, str, Record]:
    settings, pixels = read_run(place, options or {})
    record = collect(place)
    if not record.finished or record.recommended is None:
        raise CKRMError(
            brief(place),
            expected="a search that has ended",
            received="one that has not",
            hint="Its test split stays closed until then.",
        )
    return settings, pixels, record


def _designs(record: Record) -> tuple[Design, Design]:
    if record.start is None or record.recommended is None:
        raise CKRMError(record.folder, expected="two networks", received="none")
    return Design(record.start.design), Design(record.recommended.design)


def _rounded(family: Family, best: Design) -> Design:
    """Every width rounded up to a multiple, but not above the starting network's."""
    start = family.start
    return Design(
        {
            axis.name: min(-(-best[axis.name] // MULTIPLE) * MULTIPLE, start[axis.name])
            if axis.kind == "width"
            else best[axis.name]
            for axis in family.axes
        }
    )


def _first_seed(journal: Journal, design: Design, settings: Settings) -> int:
    seeds = [
        t.seed
        for t in journal.read()
        if t.design == design
        and t.status == COMPLETED
        and (t.epochs, t.how) == (settings.epochs, PLAIN_NAME)
    ]
    if not seeds:
        raise CKRMError(
            journal.path.name, expected=f"a finished training of {design}", received="none"
        )
    return min(seeds)


def _counts(data: Dataset) -> dict[str, dict[str, int]]:
    return {
        name: {label: int((split.labels == i).sum()) for i, label in enumerate(data.class_names)}
        for name, split in data.splits().items()
    }


def _pictures(
    split: Split, scale: float, models: Sequence[keras.Model], arms: Sequence[np.ndarray]
) -> dict[int, str]:
    """The images of the first disagreements, each with the maps of both networks beside it."""
    differ = disagreements(split.labels, *arms)[:MOST_PICTURES]
    if not differ:
        return {}
    places = [d.image for d in differ]
    images = split.images[places]
    maps = [_maps(model, scaled(images, scale)) for model in models]
    found = {}
    for row, one in enumerate(differ):
        shown = _shown(images[row], scale)
        parts = [shown]
        for heat, said in zip(maps, (one.reference, one.candidate), strict=True):
            if heat is not None:
                parts.append(overlay(shown, heat[row, :, :, said]))
        found[one.image] = _data_uri(parts)
    return found


def _maps(model: keras.Model, images: np.ndarray) -> np.ndarray | None:
    """Class activation maps (n, h, w, classes), or None where the network has none."""
    try:
        return np.asarray(keras.ops.convert_to_numpy(cam_model(model)(images, training=False)[1]))
    except CKRMError:
        return None


def _shown(image: np.ndarray, scale: float) -> np.ndarray:
    """One image as a screen shows it: (h, w) or (h, w, 3) uint8."""
    grey = np.clip(np.asarray(image, dtype=np.float64) / scale, 0, 1)
    found = np.round(255 * grey).astype(np.uint8)
    return found if found.shape[2] == 3 else found[..., 0]


def _data_uri(parts: Sequence[np.ndarray]) -> str:
    side = [
        Image.fromarray(part).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for part in parts
    ]
    joined = Image.new("RGB", (SIDE * len(side), SIDE))
    for place, picture in enumerate(side):
        joined.paste(picture, (SIDE * place, 0))
    text = io.BytesIO()
    joined.save(text, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(text.getvalue()).decode()}"
