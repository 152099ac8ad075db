"""`python -m search.narrow MODEL.keras --macs .5`: a narrower model with its weights, judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from rich.console import Console

from ckrm_tf import cost, narrow
from ckrm_tf.data import Dataset
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.export import export_files
from ckrm_tf.export.registry import formats_named
from ckrm_tf.files import write_atomically
from ckrm_tf.models.facts import ModelFacts, as_pixels, read_facts
from ckrm_tf.models.load import load_model
from ckrm_tf.narrowing.responses import evenly
from search.brought import IMAGES, pixel_range
from search.cli import main
from search.console import count, read_images, show_data
from search.data_flags import data_flags, loader_options
from search.export_formats import judged_lines, without_examples
from search.model_file import model_path
from search.narrow_inputs import (
    check_data,
    check_numbers,
    check_one_process,
    listed,
    new_folder,
    target,
    taught,
)
from search.narrow_judged import as_given, judge, validation
from search.narrow_record import data_record, narrow_record
from search.narrow_trained import taught_by_given, train
from search.report import report_at_end

SPLITS = ("test", "val", "none")
FORMATS = ("keras", "saved_model")
# Images that the files are compared on.
COMPARED = 8


def narrow_model(
    model: str,
    *,
    share: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    latency: float | None = None,
    data: str | None = None,
    out: str | None = None,
    epochs: int = 1,
    learning_rate: float = 1e-4,
    distill: bool = False,
    select: str | None = None,
    mend: bool = True,
    allocate: str = "uniform",
    multiple: int = 1,
    floor: int = 1,
    freeze: str = "",
    unseen: str = "test",
    margin: float = 0.02,
    pixels: str | None = None,
    output: str | None = None,
    formats: str = ",".join(FORMATS),
    image_size: int | None = None,
    custom: str | None = None,
    unsafe: bool = False,
    seed: int = 1,
    workers: int | None = None,
    cluster: str | None = None,
    **options: Annotated[Any, data_flags],
) -> None:
    """Narrow a saved Keras model and export it; with data: mend, fine-tune and judge it too.

    Args:
        model: a .keras or .h5 file.
        share: keep this share of every width.
        params: keep to this share, or number, of trainable parameters.
        macs: keep to this share, or number, of multiply-accumulates.
        latency: keep to this share of the measured time of one image.
        data: what `search.run` takes; without data nothing is mended, trained or judged.
        out: the folder for the result; by default the first unused runs/narrow-NAME-N.
        epochs: passes over the training images after narrowing; 0 trains nothing. Where training
            lowers the AUC of the split that does not judge, the weights before it are kept.
        learning_rate: of these, at the start of a cosine decay.
        distill: the model's own probabilities of the training images weigh half in the loss.
        select: which channels stay: pivot, response, ckrm, norm, fpgm, taylor or random.
        mend: let the kernels take over what was removed, by ridge regression.
        allocate: "uniform" or "energy": how a limit is shared among the widths.
        multiple: round widths up to a multiple of this many channels.
        floor: the smallest width.
        freeze: layers to leave alone, separated by commas.
        unseen: the split that the model has never seen: test, val or none. It judges.
        margin: loss of macro AUC that is acceptable.
        pixels: LOW,HIGH, the values of a black and of a white pixel, where the model tells not.
        output: softmax, sigmoid or logits, where the model tells not.
        formats: of the export, separated by commas: keras, saved_model, onnx, litert, and
            litert-int8, which needs data.
        image_size: side of the images, where the model takes any.
        custom: a Python file that defines the model's own layers.
        unsafe: let code inside the model's file run.
        seed: of the order of the images.
        workers, cluster: refused: the fine-tuning is one training (docs/clusters.md).
        options: of the data; --help lists them.
    """
    console = Console(width=None if Console().is_terminal else 160)
    if unseen not in SPLITS:
        raise unknown_name("--unseen", unseen, SPLITS)
    check_numbers(
        margin,
        epochs=epochs,
        learning_rate=learning_rate,
        multiple=multiple,
        floor=floor,
        image_size=image_size,
        seed=seed,
    )
    check_one_process(workers, cluster)
    to = target(share, params, macs, latency)
    check_data(data, options)
    distill = taught(distill, data, epochs)
    names = [one.name for one in formats_named(listed(formats))]
    if data is None and without_examples(names) != names:
        raise CKRMError("--formats litert-int8", expected="--data with it", received="none")
    given = load_model(model_path(model), custom=custom, unsafe=unsafe)
    left_alone = listed(freeze)
    before = cost(given)
    console.print(f"model     {model}: {before.params:,} parameters, {count(before.macs)} MACs")
    with new_folder(out, model) as folder:
        facts = dataset = None
        if data is not None:
            facts = read_facts(given, pixels=pixel_range(pixels), output=output)
            console.print(f"          {facts}", highlight=False)
            dataset = _read_data(console, data, facts, image_size, seed, options)
        reference = as_given(console, given, dataset, facts, unseen)
        images = None
        if dataset is not None and facts is not None:
            images = as_pixels(evenly(dataset.train.images, IMAGES), dataset.scale, facts)
        small = narrow(
            given,
            to,
            images=images,
            select=select,
            mend=mend and images is not None,
            allocate=allocate,
            floor=floor,
            multiple=multiple,
            freeze=left_alone,
            seed=seed,
        )
        after = cost(small)
        console.print(
            f"narrowed  {after.params:,} parameters ({after.params / before.params:.3f}), "
            f"{count(after.macs)} MACs ({after.macs / max(before.macs, 1):.3f})",
            highlight=False,
        )
        judged = None
        if dataset is not None and facts is not None:
            if epochs:
                choosing = "test" if unseen == "val" else "val"
                taught_by = taught_by_given(given, dataset, facts) if distill else None
                train(
                    console, small, dataset, facts, choosing, epochs, learning_rate, seed, taught_by
                )
            if reference is not None:
                judged = judge(small, dataset, facts, unseen, reference, margin)
                console.print(f"verdict   {judged}", highlight=False, soft_wrap=True)
        if judged is None:
            console.print("verdict   none: nothing was judged", highlight=False)
        report = export_files(
            small,
            folder / "export1",
            formats=names,
            inputs=None if images is None else images[:COMPARED],
            examples=images,
            judge=None if dataset is None or facts is None else validation(dataset, facts),
            class_names=None if dataset is None else dataset.class_names,
            metadata={"pixels": [facts.low, facts.high], "output": facts.output} if facts else None,
        )
        summary = narrow_record(model, given, small, before, after, judged, report.differences)
        if data is not None and facts is not None and dataset is not None:
            summary["data"] = data_record(data, facts, dataset, image_size, seed, options)
        write_atomically(folder / "narrow.json", json.dumps(summary, indent=1) + "\n")
        console.print(f"written   {folder}: narrow.json, export1 with {', '.join(names)}")
        for line in judged_lines(report.judged):
            console.print(f"          {line}", highlight=False, soft_wrap=True)
        report_at_end(console, folder)


def _read_data(
    console: Console,
    data: str,
    facts: ModelFacts,
    image_size: int | None,
    seed: int,
    options: Mapping[str, Any],
) -> Dataset:
    side = facts.side(image_size)
    found = read_images(console, data, image_size=side, seed=seed, **loader_options(options))
    show_data(console, found)
    if found.classes != facts.classes:
        raise CKRMError(
            f"data {data}",
            expected=f"{facts.classes} classes, as the model",
            received=f"{found.classes}: {', '.join(found.class_names)}",
        )
    return found


if __name__ == "__main__":
    main(narrow_model)
