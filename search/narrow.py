"""`python -m search.narrow MODEL.keras --macs .5`: a narrower model with its weights, judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import keras
import numpy as np
from rich.console import Console

from ckrm_tf import cost, narrow, width_groups
from ckrm_tf.data import Dataset
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.export import Judge, export_files
from ckrm_tf.export.registry import formats_named
from ckrm_tf.files import write_atomically
from ckrm_tf.models.facts import ModelFacts, as_pixels, as_probabilities, probabilities, read_facts
from ckrm_tf.models.judged import check_above_chance
from ckrm_tf.models.load import load_model
from ckrm_tf.narrowing.model_cost import ModelCost
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.stats import compare_trained_models, macro_auc
from ckrm_tf.train.fine_tune import check_taught, fine_tune
from ckrm_tf.versions import versions
from search.brought import IMAGES, pixel_range
from search.cli import main
from search.console import count, read_images, show_data
from search.data_flags import data_flags, loader_options
from search.export_formats import judged_lines, without_examples
from search.model_file import model_digest, model_path
from search.narrow_inputs import (
    check_data,
    check_numbers,
    check_one_process,
    listed,
    new_folder,
    target,
    taught,
)
from search.report import report_at_end
from search.session import data_fingerprint

SPLITS = ("test", "val", "none")
FORMATS = ("keras", "saved_model")
# Images that the files are compared on.
COMPARED = 8


@dataclass(frozen=True)
class Judged:
    """Two trained models on the same images."""

    split: str
    images: int
    verdict: Any

    def __str__(self) -> str:
        v = self.verdict
        word = "equivalent" if v.equivalent else "non-inferior" if v.non_inferior else "not shown"
        return (
            f"AUC {v.auc_reference:.3f} as given, {v.auc_candidate:.3f} narrowed, difference "
            f"{v.difference:+.3f} [{v.low:+.3f}, {v.high:+.3f}] on {self.images} images of the "
            f"{self.split} split: {word} at a margin of {v.margin:g}"
        )


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
        reference = _as_given(console, given, dataset, facts, unseen)
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
                taught_by = _taught(given, dataset, facts) if distill else None
                _train(
                    console, small, dataset, facts, choosing, epochs, learning_rate, seed, taught_by
                )
            if reference is not None:
                judged = _judge(small, dataset, facts, unseen, reference, margin)
                console.print(f"verdict   {judged}", highlight=False, soft_wrap=True)
        if judged is None:
            console.print("verdict   none: nothing was judged", highlight=False)
        report = export_files(
            small,
            folder / "export1",
            formats=names,
            inputs=None if images is None else images[:COMPARED],
            examples=images,
            judge=None if dataset is None or facts is None else _validation(dataset, facts),
            class_names=None if dataset is None else dataset.class_names,
            metadata={"pixels": [facts.low, facts.high], "output": facts.output} if facts else None,
        )
        summary = _summary(model, given, small, before, after, judged, report.differences)
        if data is not None and facts is not None and dataset is not None:
            summary["data"] = _told(data, facts, dataset, image_size, seed, options)
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


def _as_given(
    console: Console,
    model: keras.Model,
    data: Dataset | None,
    facts: ModelFacts | None,
    unseen: str,
) -> np.ndarray | None:
    """Probabilities of the model as given on the split that judges, once it is above chance."""
    if data is None or facts is None or unseen == "none":
        return None
    split = data.splits()[unseen]
    found = probabilities(model, split.images, data.scale, facts)
    verdict = compare_trained_models(split.labels, found, found)
    console.print(
        f"as given  AUC {verdict.auc_reference:.3f} on the {unseen} split, taken as never seen by "
        "the model (--unseen)",
        highlight=False,
    )
    check_above_chance(split.labels, found, unseen)
    return found


def _train(
    console: Console,
    small: keras.Model,
    data: Dataset,
    facts: ModelFacts,
    choosing: str,
    epochs: int,
    learning_rate: float,
    seed: int,
    taught_by: np.ndarray | None,
) -> None:
    """Fine-tune, and keep the result where the AUC of the choosing split has not fallen."""
    split = data.splits()[choosing]

    def auc() -> float:
        return macro_auc(split.labels, probabilities(small, split.images, data.scale, facts))

    weights, before = small.get_weights(), auc()
    with console.status("fine-tuning"):
        loss = fine_tune(
            small,
            data.train.images,
            data.train.labels,
            data.scale,
            facts,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            taught_by=taught_by,
        )
    told = "" if taught_by is None else ", taught by the model as given"
    after = auc()
    if after < before:
        small.set_weights(weights)
    console.print(
        f"trained   {epochs} epoch(s){told}, loss {loss:.3f}: AUC of the {choosing} split "
        f"{before:.3f} -> {after:.3f}, " + ("kept" if after >= before else "not kept"),
        highlight=False,
    )


def _taught(given: keras.Model, data: Dataset, facts: ModelFacts) -> np.ndarray:
    """Probabilities of the model as given on the training images, in which nothing judges."""
    found = probabilities(given, data.train.images, data.scale, facts)
    check_taught(facts, found, len(data.train))
    return found


def _judge(
    small: keras.Model,
    data: Dataset,
    facts: ModelFacts,
    unseen: str,
    reference: np.ndarray,
    margin: float,
) -> Judged:
    split = data.splits()[unseen]
    found = probabilities(small, split.images, data.scale, facts)
    verdict = compare_trained_models(split.labels, reference, found, margin=margin)
    return Judged(unseen, len(split.labels), verdict)


def _told(
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


def _validation(data: Dataset, facts: ModelFacts) -> Judge:
    """The validation split, on which a file that rounds is held against the model in it."""
    return Judge(
        as_pixels(data.val.images, data.scale, facts),
        data.val.labels,
        "validation",
        lambda outputs: as_probabilities(outputs, facts.output),
    )


def _summary(
    path: str,
    given: keras.Model,
    small: keras.Model,
    before: ModelCost,
    after: ModelCost,
    judged: Judged | None,
    differences: Any,
) -> dict[str, Any]:
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


if __name__ == "__main__":
    main(narrow_model)
