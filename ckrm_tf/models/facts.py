"""What a classifier tells of its input and output: size, channels, pixel range, kind of output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np
from keras import layers

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.narrowing import keras_graph

OUTPUTS = ("softmax", "sigmoid", "logits")
# Layers that leave the pixel range as it is.
PASSING = (
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
    layers.RandomCrop,
    layers.CenterCrop,
    layers.Resizing,
    layers.ZeroPadding2D,
    layers.Dropout,
    layers.Identity,
)
BYTE = (0.0, 255.0)
UNIT = (0.0, 1.0)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is needed to feed a classifier and to read its answer.

    Attributes:
        shape: (height, width, channels) of an image; None for a side that is open.
        low, high: the values of a black and of a white pixel.
        classes: number of classes; 2 for one sigmoid unit.
        output: "softmax", "sigmoid" or "logits".
        sources: where range and output were found, for the line that is printed.
    """

    shape: tuple[int | None, int | None, int]
    low: float
    high: float
    classes: int
    output: str
    sources: tuple[str, str]

    def __str__(self) -> str:
        height, width, channels = self.shape
        size = f"{height or 'any'} x {width or 'any'} x {channels}"
        return (
            f"input {size}, pixels from {self.low:g} to {self.high:g} ({self.sources[0]}); "
            f"{self.classes} classes, {self.output} ({self.sources[1]})"
        )

    def side(self, asked: T, what: str = "images") -> int | T:
        """The side of the images: the model's own, or the one asked for where it takes any.

        Raises:
            CKRMError: a model of images that are not square.
        """
        height, width, _ = self.shape
        if height != width:
            raise CKRMError(what, expected="a model of square images", received=self.shape)
        return asked if height is None else height


def read_facts(
    model: Any, *, pixels: tuple[float, float] | None = None, output: str | None = None
) -> ModelFacts:
    """The facts of a classifier: as given, or found where the model tells them.

    Args:
        model: one image (batch, height, width, channels) in, (batch, classes) out.
        pixels: the values of a black and of a white pixel.
        output: "softmax", "sigmoid" or "logits".

    Raises:
        CKRMError: a model of another form, or a fact that is neither given nor told.
    """
    shapes = [tuple(x.shape) for x in keras_graph.inputs(model)]
    made = [tuple(x.shape) for x in keras_graph.outputs(model)]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(made) != 1 or len(made[0]) != 2:
        raise CKRMError(
            f"model {model.name}",
            expected="one image (batch, height, width, channels) in, (batch, classes) out",
            received=f"{shapes} in, {made} out",
        )
    if keras.config.image_data_format() == "channels_first":
        raise CKRMError("images", expected="channels_last", received="channels_first")
    found = (pixels, "as given") if pixels is not None else _range(model)
    if found is None:
        raise CKRMError(
            f"model {model.name}: the range of its pixels",
            expected="--pixels LOW,HIGH, such as 0,1 or 0,255 or -1,1",
            received="nothing in the model that tells it",
        )
    (low, high), told = found
    if not np.isfinite([low, high]).all() or low >= high:
        raise CKRMError("--pixels", expected="LOW,HIGH with LOW below HIGH", received=pixels)
    if output is not None and output not in OUTPUTS:
        raise unknown_name("--output", output, OUTPUTS)
    kind = (output, "as given") if output is not None else _output(model)
    if kind is None:
        raise CKRMError(
            f"model {model.name}: the kind of its output",
            expected=f"--output {' or '.join(OUTPUTS)}",
            received="an output without an activation",
        )
    units = int(made[0][1])
    if units == 1 and kind[0] == "softmax":
        raise CKRMError("--output", expected="sigmoid or logits for one unit", received="softmax")
    return ModelFacts(
        shapes[0][1:], float(low), float(high), max(2, units), kind[0], (told, kind[1])
    )


def _range(model: Any) -> tuple[tuple[float, float], str] | None:
    """The range that the first layer to look at the pixels makes sense of."""
    symbol = keras_graph.inputs(model)[0]
    graph = model
    prefix = ""
    for _ in range(50):
        following = [s for s in keras_graph.steps(graph) if any(x is symbol for x in s.inputs)]
        if len(following) != 1:
            return None
        step = following[0]
        operation = step.operation
        if keras_graph.is_model(operation):
            graph, prefix = operation, f"{prefix}{operation.name}/"
            symbol = keras_graph.inputs(operation)[0]
            continue
        name = f"layer {prefix}{operation.name}"
        if isinstance(operation, layers.Rescaling):
            return _of_scale(operation, name)
        if isinstance(operation, layers.Normalization):
            return _of_mean(operation, name)
        if type(operation) not in PASSING:
            return None
        symbol = step.outputs[0]
    return None


def _of_scale(layer: Any, name: str) -> tuple[tuple[float, float], str] | None:
    reach = 1 / float(np.mean(layer.scale))
    if 100 <= reach <= 300:
        return BYTE, name
    if 0.2 <= reach <= 2:
        return UNIT, name
    return None


def _of_mean(layer: Any, name: str) -> tuple[tuple[float, float], str] | None:
    mean = float(np.mean(keras.ops.convert_to_numpy(layer.mean)))
    if 2 < mean < 255:
        return BYTE, name
    if 0 < mean < 1:
        return UNIT, name
    return None


def last_step(model: Any) -> tuple[Any, keras_graph.Step] | None:
    """The call that makes the output and the model, nested ones entered, that it stands in.

    An activation that is linear is passed over: with mixed precision one casts the output.
    """
    graph, symbol = model, keras_graph.outputs(model)[0]
    while True:
        steps = keras_graph.steps(graph)
        step = next((s for s in steps if any(x is symbol for x in s.outputs)), None)
        if step is None:
            return None
        operation = step.operation
        if keras_graph.is_model(operation):
            graph, symbol = operation, keras_graph.outputs(operation)[0]
        elif isinstance(operation, layers.Identity) or (
            isinstance(operation, layers.Activation) and activation_of(operation) == "linear"
        ):
            symbol = step.inputs[0]
        else:
            return graph, step


def activation_of(operation: Any) -> str:
    """The name of an operation's activation, or of the operation where it has none."""
    if hasattr(operation, "activation"):
        return getattr(operation.activation, "__name__", "").lower()
    return type(operation).__name__.lower()


def _output(model: Any) -> tuple[str, str] | None:
    """The activation that the output comes from."""
    found = last_step(model)
    if found is not None:
        operation = found[1].operation
        name = activation_of(operation)
        if name in ("softmax", "sigmoid"):
            return name, f"layer {operation.name}"
    config = getattr(getattr(model, "loss", None), "from_logits", None)
    return ("logits", "its loss") if config else None


def as_pixels(images: np.ndarray, scale: float, facts: ModelFacts) -> np.ndarray:
    """Images as the model takes them.

    Args:
        images: (n, height, width, 1 or 3), black 0 and white `scale`.
        scale: the value of a white pixel.
        facts: of the model.

    Raises:
        CKRMError: colour images for a grey model, or sides that do not fit.
    """
    want = facts.shape
    for side, name in ((0, "height"), (1, "width")):
        if want[side] is not None and images.shape[side + 1] != want[side]:
            raise CKRMError(f"images: {name}", expected=want[side], received=images.shape[side + 1])
    found = images.astype(np.float32) / np.float32(scale) * (facts.high - facts.low) + facts.low
    if images.shape[-1] == want[2]:
        return found
    if images.shape[-1] == 1:
        return np.repeat(found, want[2], axis=-1)
    raise CKRMError(
        "images",
        expected=f"{want[2]} channel, as the model takes",
        received=images.shape[-1],
        hint="--channels 1 reads colour files as grey.",
    )


def as_probabilities(raw: np.ndarray, output: str) -> np.ndarray:
    """A model's answers as probabilities (n, classes); one sigmoid unit becomes two classes."""
    raw = np.asarray(raw, np.float64)
    if raw.shape[1] == 1:
        one = raw if output == "sigmoid" else 1 / (1 + np.exp(-raw))
        return np.concatenate([1 - one, one], axis=1)
    if output == "logits":
        weights = np.exp(raw - raw.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)
    return raw


def probabilities(
    model: Any, images: np.ndarray, scale: float, facts: ModelFacts, batch: int = 64
) -> np.ndarray:
    """Class probabilities of a model for images as the data hold them: (n, classes)."""
    parts = []
    for start in range(0, len(images), batch):
        x = as_pixels(images[start : start + batch], scale, facts)
        given = keras.tree.pack_sequence_as(keras_graph.input_structure(model), [x])
        made = keras.tree.flatten(model(given, training=False))
        parts.append(keras.ops.convert_to_numpy(made[0]))
    return as_probabilities(np.concatenate(parts), facts.output)
