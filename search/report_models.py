"""What a report can only know from the networks themselves: time for a batch, single images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ckrm_tf.data.limits import brief
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.families.functional import ModelFamily
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.collect_export import write_latency
from ckrm_tf.reporting.evidence import evidence_of
from ckrm_tf.reporting.latency import RUNTIMES, measure_latency
from ckrm_tf.reporting.record import Record
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.way import PLAIN_NAME
from search.brought import bring
from search.console import read_data, show_data
from search.given import NOBODY, Given
from search.report_cases import counts_of, pictures, told_evidence
from search.report_narrow import MULTIPLE, NARROW, ROUNDED, narrow_evidence, narrow_latency
from search.retrain import probabilities
from search.run_folder import read_run
from search.session import data_fingerprint, held_out, make_runner
from search.settings import Settings


def add_latency(
    console: Console,
    place: Path,
    formats: Sequence[str] = tuple(RUNTIMES),
    given: Given = NOBODY,
) -> None:
    """Measure the time of start and recommended network and keep it in the run folder.

    Args:
        console: what is done is shown there.
        place: the run folder.
        formats: of `ckrm_tf.reporting.latency.RUNTIMES`.
        given: the model that was searched or narrowed.

    Raises:
        CKRMError: no finished search or narrowing, or another model.
    """
    if (place / NARROW).is_file():
        narrow_latency(console, place, formats, given)
        return
    settings, _, record = _finished(place, given=given)
    export = record.export
    if export is None or len(export.input_shape) != 3 or export.scale is None:
        raise CKRMError("--latency", expected="a run with an export", received="none")
    height, width, channels = export.input_shape
    shape = (height, width, channels)
    family = settings.network(shape, len(export.classes))
    if settings.model is not None:
        brought = bring(console, settings)
        # Which channels stay makes no difference to the time.
        family = ModelFamily(brought.model, brought.facts, shape, select="norm")
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


def add_evidence(
    console: Console, place: Path, options: Mapping[str, Any], given: Given = NOBODY
) -> None:
    """Let the first training of both networks judge the test split; keep what they say.

    Args:
        console: what is read is shown there.
        place: the run folder.
        options: of the data, where they lie elsewhere now.
        given: the model that was searched or narrowed.

    Raises:
        CKRMError: no finished search or narrowing, or other images or another model than it had.
    """
    if (place / NARROW).is_file():
        narrow_evidence(console, place, options, given)
        return
    settings, pixels, record = _finished(place, options, given)
    if not any(v.ours and v.unseen for v in record.verdicts):
        raise CKRMError(
            "--cases",
            expected="a search that has opened its test split for the network it recommends",
            received="one that has not",
            hint="A report opens none.",
        )
    brought = bring(console, settings) if settings.model is not None else None
    if brought is not None:
        settings = replace(settings, image_size=brought.side(settings.image_size))
    data = read_data(console, settings)
    show_data(console, data)
    if data_fingerprint(data) != pixels:
        raise CKRMError("data", expected="the images the search had", received=f"other {data.name}")
    used, _ = held_out(settings, data)
    family = None if brought is None else brought.family(console, settings, used)
    start, best = _designs(record)
    runner = make_runner(settings, data, place, family=family)
    models, arms = [], []
    for design in (start, best):
        seed = _first_seed(runner.journal, design, settings)
        arms.append(probabilities(runner, design, [seed], data.test)[0])
        model = runner.build(design)
        model.load_weights(runner.weights_path(design, seed))
        models.append(model)
    images = scaled(data.test.images, data.scale)
    found = evidence_of(
        data.test.labels,
        arms[0],
        arms[1],
        data.class_names,
        designs=(start.to_dict(), best.to_dict()),
        counts=counts_of(data),
        pictures=pictures(data.test, data.scale, models, arms, lambda places: images[places]),
    )
    told_evidence(console, place, found)


def _finished(
    place: Path, options: Mapping[str, Any] | None = None, given: Given = NOBODY
) -> tuple[Settings, str, Record]:
    settings, pixels = read_run(place, options or {}, given)
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
            axis.name: min(
                _up(best[axis.name], math.lcm(MULTIPLE, axis.multiple)), start[axis.name]
            )
            if axis.kind == "width"
            else best[axis.name]
            for axis in family.axes
        }
    )


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


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
