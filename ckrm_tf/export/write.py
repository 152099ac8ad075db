"""Writes the export folder, whole or not at all, and proves that its files agree."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.export import files, litert_int8, saved_model
from ckrm_tf.export.answers import answers
from ckrm_tf.export.base import Format
from ckrm_tf.export.compare import BATCH, examples_of
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.inference import inference_model, outputs
from ckrm_tf.export.judge import Judge
from ckrm_tf.export.plain import in_float32
from ckrm_tf.export.registry import FORMATS, formats_named
from ckrm_tf.families.base import Family
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Widths
from ckrm_tf.files import check_unused, whole_folder
from ckrm_tf.versions import versions

# Of the logarithm of a probability, for each unit of the largest logit; float32 leaves some 1e-6.
LOG_TOLERANCE = 1e-4
# float32 holds smaller probabilities only with fewer digits.
TINY = 1e-30
# These two are always written.
SAVED_MODEL, KERAS = "saved_model", "keras"
BASE = {SAVED_MODEL, KERAS}
WIDTHS_FILE = "widths.json"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how far its probabilities are from the trained model's.

    Attributes:
        params, macs: trainable parameters, and multiply-accumulates for one image.
        saved_model_difference: largest absolute difference of a probability, the SavedModel read
            by a fresh process with TensorFlow alone.
        keras_difference: the same of `model.keras`, read by `keras.models.load_model`.
        images: number of images compared.
        seconds, check_seconds: the whole export, and the fresh process's share of it.
        differences: the same as the two differences above, of every format written.
        judged: of each file that rounds, what `Judge.compare` tells; empty without a judge.
    """

    folder: Path
    params: int
    macs: int
    saved_model_difference: float
    keras_difference: float
    images: int
    seconds: float
    check_seconds: float
    differences: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        """Lines of Python that use the export, with TensorFlow alone."""
        return (
            "import tensorflow as tf\n"
            f"model = tf.saved_model.load({str(self.folder / SAVED_MODEL)!r})\n"
            "# image: raw pixels, float32 (batch, height, width, channels)\n"
            'probabilities = model.serve(image)["probabilities"]\n'
            'names = model.class_names()["class_names"]'
        )


def export_model(
    model: keras.Model,
    folder: str | os.PathLike[str],
    *,
    widths: Widths | None = None,
    class_names: Sequence[str],
    scale: float,
    input_shape: tuple[int, int, int] | None = None,
    layout: Layout | None = None,
    design: Design | None = None,
    family: Family | None = None,
    metadata: Mapping[str, Any] | None = None,
    images: np.ndarray | None = None,
    formats: Sequence[str] = (KERAS, SAVED_MODEL),
    examples: np.ndarray | None = None,
    judge: Judge | None = None,
) -> ExportReport:
    """Write `saved_model/`, `model.keras` and `widths.json` into `folder`, and prove they agree.

    The SavedModel's `serving_default` (also `.serve`) takes `image`, raw pixels as float32
    (batch, height, width, channels), and returns `probabilities` (batch, classes);
    `.class_names()` and `.metadata()` return what the names say, the latter as JSON. Both files
    need neither this package nor its settings, except that a `.keras` file with this package's
    own layers needs `import ckrm_tf` first. The folder appears whole or not at all.

    Args:
        model: functional, from `image` in [0, 1] to `logits`, as `ckrm_tf.resnet` builds it.
        folder: must not exist or be empty.
        widths: of a ResNet; their arithmetic must give its parameters.
        class_names: one for each logit.
        scale: the pixel value of full brightness, such as 255.
        input_shape: (height, width, channels), checked against the model's if given.
        layout: of a ResNet, the paper's by default.
        design: of a network of any other family, with `family` instead of `widths` and `layout`.
        family: of the design.
        metadata: anything JSON can hold; goes into `widths.json` and the SavedModel.
        images: raw pixels (n, height, width, channels) for the parity check, such as validation
            images; eight of seeded noise by default.
        formats: of `ckrm_tf.export.registry.FORMATS`, `saved_model` and `keras` among them. The
            formats other than these compute in float32 from the same weights, and may differ by
            ten times as much; `litert-int8` rounds, and its difference is told and not bounded.
        examples: some hundred raw images, which `litert-int8` reads the ranges of activations
            off; `images` by default.
        judge: raw images with labels, on which the AUC of a file that rounds is told.

    Raises:
        CKRMError: when the folder is in use, an argument does not fit the model, a package is
            missing, or a written file's probabilities differ by more than 1e-5.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from ckrm_tf import Stage, Widths, export_model, resnet
        >>> widths = Widths(4, (Stage(1, 4, 8),))
        >>> model = resnet(widths, (16, 16, 1), classes=2)
        >>> with TemporaryDirectory() as folder:
        ...     report = export_model(
        ...         model, Path(folder) / "new", widths=widths, class_names=("no", "yes"), scale=255
        ...     )
        ...     sorted(path.name for path in report.folder.iterdir())
        ['model.keras', 'saved_model', 'widths.json']
        >>> report.params, report.images, report.saved_model_difference < 1e-5
        (522, 8, True)
    """
    start = time.perf_counter()
    target = Path(folder).absolute()
    check_unused(target)
    chosen = formats_named(formats)
    if not BASE.issubset(one.name for one in chosen):
        raise CKRMError(
            "export formats",
            expected=f"{SAVED_MODEL} and {KERAS} among them",
            received=", ".join(one.name for one in chosen),
        )
    exported = inference_model(model, scale)
    shape = model.input_shape[1:]
    if family is None or design is None:
        if widths is None:
            raise CKRMError("network", expected="widths, or a design and its family")
        family = ResNetFamily(widths, shape, model.output_shape[-1], layout or Layout())
        design = family.start
    facts = _facts(model, design, family, class_names, scale, metadata or {})
    if input_shape is not None and tuple(input_shape) != shape:
        raise CKRMError("input_shape", expected=f"the model's, {shape}", received=input_shape)
    pixels = _pixels(images, shape, scale)
    # The reference takes another path than the files: the trained model, SciPy's softmax.
    logits = outputs(model, pixels / np.float32(scale)).astype(np.float64)
    own = FlatModel.of(exported), logits
    full = own if {one.name for one in chosen} == BASE else _in_float32(model, scale, pixels)
    if not all(one.exact for one in chosen):
        full = _shown(full[0], images if examples is None else examples), full[1]
    calls = [[pixels[first : first + BATCH]] for first in range(0, len(pixels), BATCH)]
    texts = {"class_names": facts["class_names"], "metadata": json.dumps(facts)}
    differences: dict[str, float] = {}
    judged: dict[str, Mapping[str, Any]] = {}
    check_seconds = 0.0
    with whole_folder(target) as part:
        for one in chosen:
            flat, reference = own if one.name in BASE else full
            path = part / one.file
            files.write(one, flat, path, texts)
            if one.name == SAVED_MODEL:
                check_start = time.perf_counter()
                answer = saved_model.run_fresh(path, flat, calls, ("class_names",))
                check_seconds = time.perf_counter() - check_start
                _check_names(facts["class_names"], answer.constants["class_names"])
                received = answer.outputs
            else:
                received, told = answers(one, flat, path, calls, judge)
                judged |= told
            probabilities = np.concatenate([found for (found,) in received])
            differences[one.name] = _difference(one, reference, probabilities)
        facts["parity"] = {
            "images": len(pixels),
            **differences,
            "tolerance": FORMATS[SAVED_MODEL].tolerance,
        }
        facts |= {"judged": judged} if judged else {}
        (part / WIDTHS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return ExportReport(
        folder=target,
        params=facts["params"],
        macs=facts["macs"],
        saved_model_difference=differences[SAVED_MODEL],
        keras_difference=differences[KERAS],
        images=len(pixels),
        seconds=time.perf_counter() - start,
        check_seconds=check_seconds,
        differences=differences,
        judged=judged,
    )


def _check_names(expected: list[str], received: str | list[str]) -> None:
    if received != expected:
        raise CKRMError(
            "class names read from the SavedModel", expected=expected, received=received
        )


def _facts(
    model: keras.Model,
    design: Design,
    family: Family,
    class_names: Sequence[str],
    scale: float,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """What `widths.json` holds, checked against the model."""
    classes, names = model.output_shape[-1], [str(name) for name in class_names]
    if isinstance(class_names, str) or len(names) != classes or len(set(names)) != classes:
        raise CKRMError(
            "class names", expected=f"{classes} different names", received=repr(class_names)
        )
    shape = model.input_shape[1:]
    cost = family.cost(design)
    params = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if cost.params != params:
        raise CKRMError(
            "widths and layout",
            expected=f"those of the model, {params:,} trainable parameters",
            received=f"{family.describe(design)}, {cost.params:,} parameters",
        )
    return {
        "family": family.name,
        **family.to_record(design),
        **family.facts(),
        "class_names": names,
        "scale": float(scale),
        "input_shape": list(shape),
        "params": cost.params,
        "macs": cost.macs,
        "versions": versions(),
        "metadata": files.plain_json(metadata),
    }


def _pixels(images: np.ndarray | None, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Raw pixels (n, height, width, channels) in float32 on which the files are compared."""
    if images is None:
        noise = np.random.default_rng(1).uniform(0, scale, (8, *shape))
        return noise.astype(np.float32)
    pixels = np.asarray(images, dtype=np.float32)
    if pixels.ndim != 4 or not len(pixels) or pixels.shape[1:] != shape:
        raise CKRMError("images", expected=f"shape (n, *{shape})", received=pixels.shape)
    if not np.isfinite(pixels).all():
        raise CKRMError("images", expected="finite pixels", received="NaN or infinity")
    return pixels


def _in_float32(
    model: keras.Model, scale: float, pixels: np.ndarray
) -> tuple[FlatModel, np.ndarray]:
    """The exported network in float32, and the logits that it should give."""
    full = in_float32(model)
    logits = outputs(full, pixels / np.float32(scale)).astype(np.float64)
    return FlatModel.of(inference_model(full, scale)), logits


def _shown(flat: FlatModel, examples: np.ndarray | None) -> FlatModel:
    if examples is None:
        raise litert_int8.no_examples()
    return replace(flat, examples=examples_of(flat, examples))


def _difference(one: Format, logits: np.ndarray, received: np.ndarray) -> float:
    """Largest absolute difference of a probability; a NaN on either side counts as unequal.

    A network that is sure of every image has probabilities of 0 and 1 whatever its weights, so
    their logarithms are compared too, to the rounding that logits of this size allow.
    """
    probabilities, worst, worst_log = softmax(logits, axis=1), np.nan, np.nan
    if probabilities.shape == received.shape:
        worst = float(np.max(np.abs(probabilities - received)))
        logs = np.log(np.clip([probabilities, received], TINY, None))
        worst_log = float(np.max(np.abs(logs[0] - logs[1])))
    if not one.exact and np.isfinite(worst):
        return worst
    log_tolerance = LOG_TOLERANCE * max(1.0, float(np.max(np.abs(logits))))
    if not (worst <= one.tolerance and worst_log <= log_tolerance):
        raise CKRMError(
            f"probabilities of the exported {one.file}",
            expected=f"the model's within {one.tolerance:g}, logarithms {log_tolerance:.2g}",
            received=f"differences up to {worst:g} and {worst_log:g}, shape {received.shape}",
        )
    return worst
