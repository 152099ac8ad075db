"""Writes the export folder, whole or not at all, and proves that its files agree."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.inference import inference_model, outputs
from ckrm_tf.export.saved_model import run_fresh, tensorflow, write_saved_model
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.widths import Widths
from ckrm_tf.files import whole_folder

TOLERANCE = 1e-5
# Of the logarithm of a probability, for each unit of the largest logit; float32 leaves some 1e-6.
LOG_TOLERANCE = 1e-4
# float32 holds smaller probabilities only with fewer digits.
TINY = 1e-30
SAVED_MODEL, KERAS_FILE, WIDTHS_FILE = "saved_model", "model.keras", "widths.json"


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
    """

    folder: Path
    params: int
    macs: int
    saved_model_difference: float
    keras_difference: float
    images: int
    seconds: float
    check_seconds: float

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
    widths: Widths,
    class_names: Sequence[str],
    scale: float,
    input_shape: tuple[int, int, int] | None = None,
    layout: Layout | None = None,
    metadata: Mapping[str, Any] | None = None,
    images: np.ndarray | None = None,
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
        widths: of `model`; their arithmetic must give its parameters.
        class_names: one for each logit.
        scale: the pixel value of full brightness, such as 255.
        input_shape: (height, width, channels), checked against the model's if given.
        layout: of `model`, the paper's by default.
        metadata: anything JSON can hold; goes into `widths.json` and the SavedModel.
        images: raw pixels (n, height, width, channels) for the parity check, such as validation
            images; eight of seeded noise by default.

    Raises:
        CKRMError: when the folder is in use, an argument does not fit the model, TensorFlow is
            absent, or a written file's probabilities differ by more than 1e-5.
    """
    start = time.perf_counter()
    target = Path(folder).absolute()
    _check_folder(target)
    exported = inference_model(model, scale)
    facts = _facts(model, widths, class_names, scale, layout or Layout(), metadata or {})
    shape = model.input_shape[1:]
    if input_shape is not None and tuple(input_shape) != shape:
        raise CKRMError("input_shape", expected=f"the model's, {shape}", received=input_shape)
    pixels = _pixels(images, shape, scale)
    # The reference takes another path than the files: the trained model, SciPy's softmax.
    logits = outputs(model, pixels / np.float32(scale)).astype(np.float64)

    with whole_folder(target) as part:
        exported.save(part / KERAS_FILE)
        reread = keras.models.load_model(part / KERAS_FILE, compile=False)
        keras_difference = _difference(KERAS_FILE, logits, outputs(reread, pixels))
        write_saved_model(exported, part / SAVED_MODEL, facts["class_names"], facts)
        check_start = time.perf_counter()
        answer = run_fresh(part / SAVED_MODEL, pixels)
        check_seconds = time.perf_counter() - check_start
        difference = _difference(SAVED_MODEL, logits, answer.probabilities)
        if answer.class_names != facts["class_names"]:
            raise CKRMError(
                "class names read from the SavedModel",
                expected=facts["class_names"],
                received=answer.class_names,
            )
        facts["parity"] = {
            "images": len(pixels),
            "saved_model": difference,
            "keras": keras_difference,
            "tolerance": TOLERANCE,
        }
        (part / WIDTHS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return ExportReport(
        folder=target,
        params=facts["params"],
        macs=facts["macs"],
        saved_model_difference=difference,
        keras_difference=keras_difference,
        images=len(pixels),
        seconds=time.perf_counter() - start,
        check_seconds=check_seconds,
    )


def _check_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CKRMError(
            "export folder",
            expected="a new or empty folder",
            received=f"{folder}, which is in use",
            hint="Nothing is overwritten: name another folder or remove this one.",
        )


def _facts(
    model: keras.Model,
    widths: Widths,
    class_names: Sequence[str],
    scale: float,
    layout: Layout,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """What `widths.json` holds, checked against the model."""
    classes, names = model.output_shape[-1], [str(name) for name in class_names]
    if isinstance(class_names, str) or len(names) != classes or len(set(names)) != classes:
        raise CKRMError(
            "class names", expected=f"{classes} different names", received=repr(class_names)
        )
    shape = model.input_shape[1:]
    cost = widths.cost(shape, classes, layout)
    params = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if cost.params != params:
        raise CKRMError(
            "widths and layout",
            expected=f"those of the model, {params:,} trainable parameters",
            received=f"{widths}, {cost.params:,} parameters",
        )
    try:
        plain = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CKRMError("metadata", expected="what JSON can hold", received=str(error)) from error
    return {
        "widths": widths.to_dict(),
        "layout": asdict(layout),
        "class_names": names,
        "scale": float(scale),
        "input_shape": list(shape),
        "params": cost.params,
        "macs": cost.macs,
        "versions": {
            "python": platform.python_version(),
            "ckrm-tf": version("ckrm-tf"),
            "keras": keras.__version__,
            "tensorflow": tensorflow().__version__,
            "numpy": np.__version__,
            "backend": keras.backend.backend(),
        },
        "metadata": plain,
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


def _difference(what: str, logits: np.ndarray, received: np.ndarray) -> float:
    """Largest absolute difference of a probability; a NaN on either side counts as unequal.

    A network that is sure of every image has probabilities of 0 and 1 whatever its weights, so
    their logarithms are compared too, to the rounding that logits of this size allow.
    """
    probabilities, worst, worst_log = softmax(logits, axis=1), np.nan, np.nan
    if probabilities.shape == received.shape:
        worst = float(np.max(np.abs(probabilities - received)))
        logs = np.log(np.clip([probabilities, received], TINY, None))
        worst_log = float(np.max(np.abs(logs[0] - logs[1])))
    log_tolerance = LOG_TOLERANCE * max(1.0, float(np.max(np.abs(logits))))
    if not (worst <= TOLERANCE and worst_log <= log_tolerance):
        raise CKRMError(
            f"probabilities of the exported {what}",
            expected=f"the trained model's within {TOLERANCE:g}, logarithms {log_tolerance:.2g}",
            received=f"differences up to {worst:g} and {worst_log:g}, shape {received.shape}",
        )
    return worst
