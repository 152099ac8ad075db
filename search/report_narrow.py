"""What a report on a narrowed model measures on it and on the model as it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from ckrm_tf import narrow
from ckrm_tf.errors import CKRMError
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.plain import in_float32, uncompiled
from ckrm_tf.models.facts import as_pixels, probabilities, read_facts
from ckrm_tf.models.load import load_model
from ckrm_tf.narrowing.plan import ASSUMED_SIDE, Channels
from ckrm_tf.narrowing.widths import rounded
from ckrm_tf.reporting.collect_export import write_latency
from ckrm_tf.reporting.evidence import evidence_of
from ckrm_tf.reporting.files import read_json
from ckrm_tf.reporting.latency import RUNTIMES, time_models
from search.console import read_images, show_data
from search.data_flags import loader_options
from search.given import NOBODY, Given
from search.model_file import model_digest, model_path
from search.report_cases import counts_of, pictures, told_evidence
from search.session import data_fingerprint

NARROW = "narrow.json"
EXPORTED = Path("export1") / "model.keras"
# What kernels of processors and accelerators like.
MULTIPLE = 8
ROUNDED = f"recommended, widths rounded up to multiples of {MULTIPLE}"


@dataclass(frozen=True)
class Narrowed:
    """A model before and after, and what narrow.json tells of both."""

    told: Mapping[str, Any]
    given: keras.Model
    small: keras.Model

    @property
    def designs(self) -> tuple[dict[str, int], dict[str, int]]:
        """The widths of both, as the report has them."""
        pairs = self.told["widths"].items()
        first, second = (
            {name: int(pair[i]) for name, pair in pairs if pair[i] is not None} for i in (0, 1)
        )
        return first, second


def read_narrowed(place: Path, given: Given) -> Narrowed:
    """Both models of a folder of `search.narrow`.

    Raises:
        CKRMError: a model that is not there, or another one.
    """
    told = read_json(place / NARROW) or {}
    if not (place / EXPORTED).is_file():
        raise CKRMError(
            f"{place.name}/{EXPORTED}",
            expected="an export with the format keras",
            received="none",
        )
    named = given.model or str(told.get("model"))
    path = model_path(named)
    if model_digest(path) != told.get("model_digest"):
        raise CKRMError(
            f"--model {named}", expected="the model that was narrowed", received="another"
        )
    before = load_model(path, custom=given.custom, unsafe=given.unsafe)
    small = load_model(place / EXPORTED, custom=given.custom, unsafe=given.unsafe)
    return Narrowed(told, before, small)


def narrow_latency(
    console: Console, place: Path, formats: Sequence[str] = tuple(RUNTIMES), given: Given = NOBODY
) -> None:
    """Measure the time of both models and keep it in the folder.

    Args:
        console: what is done is shown there.
        place: the folder.
        formats: of `ckrm_tf.reporting.latency.RUNTIMES`.
        given: the model that was narrowed.

    Raises:
        CKRMError: as `read_narrowed`.
    """
    found = read_narrowed(place, given)
    models = {"start": found.given, "recommended": found.small}
    channels = Channels(found.given)
    free = {name: width for name, width in found.designs[1].items() if name in channels.widths}
    up = rounded(channels, free, 1, MULTIPLE)
    if up != free:
        models[ROUNDED] = narrow(found.given, up)
    flats = {name: FlatModel.of(in_float32(uncompiled(m))) for name, m in models.items()}
    if any(side is None for port in flats["start"].inputs for side in port.shape[1:]):
        console.print(f"latency   sides that the model leaves open are taken as {ASSUMED_SIDE}")
    with console.status("measuring latency"):
        times = time_models(flats, formats=formats, open_side=ASSUMED_SIDE)
    path = write_latency(place, times)
    console.print(f"latency   {path.name}: {len(times)} measurements", highlight=False)


def narrow_evidence(
    console: Console, place: Path, options: Mapping[str, Any], given: Given
) -> None:
    """Let both models judge the images of the verdict once more; keep what they say.

    Args:
        console: what is read is shown there.
        place: the folder.
        options: of the data, where they lie elsewhere now.
        given: the model that was narrowed.

    Raises:
        CKRMError: as `read_narrowed`; a narrowing that was not judged; other images.
    """
    found = read_narrowed(place, given)
    judged, data = found.told.get("judged"), found.told.get("data")
    if not judged or not data:
        raise CKRMError(
            "--cases",
            expected="a narrowing that was judged on data",
            received="one without a verdict" if not judged else "one that does not name its data",
        )
    facts = read_facts(found.given, pixels=tuple(data["pixels"]), output=data["output"])
    known = dict(data["options"]) | dict(options)
    dataset = read_images(
        console,
        data["source"],
        image_size=data["image_size"],
        seed=data["seed"],
        **loader_options(known),
    )
    show_data(console, dataset)
    if data_fingerprint(dataset) != data["fingerprint"]:
        raise CKRMError("data", expected="the images of the narrowing", received="others")
    split, models = dataset.splits()[judged["split"]], (found.given, found.small)
    arms = [probabilities(model, split.images, dataset.scale, facts) for model in models]
    told_evidence(
        console,
        place,
        evidence_of(
            split.labels,
            arms[0],
            arms[1],
            dataset.class_names,
            designs=found.designs,
            split=f"{judged['split']} split",
            counts=counts_of(dataset),
            pictures=pictures(
                split,
                dataset.scale,
                models,
                arms,
                lambda places: as_pixels(split.images[places], dataset.scale, facts),
            ),
        ),
    )
