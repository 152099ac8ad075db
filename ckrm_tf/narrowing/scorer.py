"""What narrower slices of one trained model are worth, by forward passes alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.bypass import Bridge, Bridged, Bypass, bridges
from ckrm_tf.narrowing.forward import batches, compiled
from ckrm_tf.narrowing.in_place import check_in_place
from ckrm_tf.narrowing.mend import RIDGE
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import as_inputs
from ckrm_tf.narrowing.rewrite import Rewriter
from ckrm_tf.narrowing.select import chosen
from ckrm_tf.narrowing.slice_weights import SliceWeights
from ckrm_tf.narrowing.widths import Widths, given, is_number
from ckrm_tf.stats import macro_auc
from ckrm_tf.stats.checks import check_classes

log = logging.getLogger("ckrm_tf")

OUTPUTS = ("logits", "softmax", "sigmoid")
METRICS: dict[str, Callable[[Any, Any], float]] = {"auc": macro_auc}


class Scorer:
    """Scores of narrower slices of one trained model. No Keras model is built for a score.

    A slice keeps the first units of every group, and kernels that lose inputs are mended once, by
    ridge regression on the responses of the model as it was given. It is computed in the size of
    the model, with zeros where channels are removed: removed channels reach no kernel, so the
    numbers are those of the narrowed model. The forward pass is compiled once.

    Args:
        model: a trained classifier. Train it further, and it needs a new scorer.
        fit_images: some hundred images as the model takes them, to choose and to mend by.
        judge_images: images to judge slices on, as the model takes them.
        labels: (images,), class indices of `judge_images`.
        select: which channels stay, a key of `ckrm_tf.narrowing.SELECTORS`.
        ridge: of the regressions, as a share of the mean energy of a channel. Unlike in `narrow`
            the mean is over all channels of a tensor and not over those that stay.
        metric: "auc", the macro AUC; or a function of labels and probabilities.
        output: what the model returns, "logits", "softmax" or "sigmoid".
        bypasses: stages of residual blocks whose depth `score` may lower, each under a name.
        freeze: names of layers to leave alone.
        seed: of criteria that draw.

    Attributes:
        model: what slices are computed in: the model given, or the slice of the last `rebase`.

    Raises:
        CKRMError: as `narrow`; a model with several outputs, or in which removed channels reach
            others by another way than a kernel, such as a norm over channels; labels that do not
            fit.

    Example:
        >>> import keras, numpy as np
        >>> image = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(image)
        >>> x = keras.layers.GlobalAveragePooling2D()(x)
        >>> model = keras.Model(image, keras.layers.Dense(2)(x))
        >>> films = np.random.default_rng(0).normal(size=(20, 8, 8, 1))
        >>> scorer = Scorer(model, films, films, np.arange(20) % 2)
        >>> scorer.widths
        {'conv': 6}
        >>> 0 <= scorer.score({"conv": 2}) <= 1
        True
    """

    def __init__(
        self,
        model: keras.Model,
        fit_images: Any,
        judge_images: Any,
        labels: Any,
        *,
        select: str = "pivot",
        ridge: float = RIDGE,
        metric: str | Callable[[Any, Any], float] = "auc",
        output: str = "logits",
        bypasses: Mapping[str, Bypass] | None = None,
        freeze: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        stages = dict(bypasses or {})
        if not is_number(ridge) or not 0 <= ridge < np.inf:
            raise CKRMError("ridge", expected="a number of at least 0", received=repr(ridge))
        if output not in OUTPUTS:
            raise unknown_name("output", output, OUTPUTS)
        if not callable(metric) and metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        self._metric = metric if callable(metric) else METRICS[metric]
        self._output = output
        self._freeze = (freeze,) if isinstance(freeze, str) else tuple(freeze)
        narrower = Narrower(model, images=fit_images, freeze=self._freeze, seed=seed)
        _check_model(narrower.channels, output)
        arrays = as_inputs(model, judge_images)
        self.labels = _checked_labels(labels, len(arrays[0]), _classes(model))
        self._batches = batches(narrower.channels, arrays)
        order = narrower.order(select)
        weights = SliceWeights.of(narrower.channels, order, narrower.evidence.grams, ridge)
        found = bridges(narrower.channels, stages, fit_images, ridge)
        self._stand_on(
            narrower.channels, order, weights, {n: (stages[n], found[n]) for n in stages}
        )

    def _stand_on(
        self,
        channels: Channels,
        order: dict[str, np.ndarray],
        weights: SliceWeights,
        stages: Mapping[str, tuple[Bypass, tuple[Bridge, ...]]],
    ) -> None:
        self.model = channels.model
        self._channels, self._order, self._weights = channels, order, weights
        self._stages = {
            name: Bridged(bypass, found, channels, weights)
            for name, (bypass, found) in stages.items()
        }
        every = [*weights.variables, *(v for s in self._stages.values() for v in s.variables)]
        self._variables = list({id(variable): variable for variable in every}.values())
        self._forward = compiled(self.model, self._variables)

    @property
    def widths(self) -> Widths:
        """The width of every free group of `model`, in units."""
        return self._channels.widths

    @property
    def solved(self) -> int:
        """Regressions solved since the scorer was made or rebased."""
        return self._weights.solved

    def score(self, widths: Mapping[str, int], depths: Mapping[str, int] | None = None) -> float:
        """The metric of a mended slice on the images to judge on.

        Args:
            widths: of groups, in units; a group that is not named is as wide as in `model`.
            depths: of `bypasses`, in blocks, from 0; a stage that is not named is as deep as it is.

        Raises:
            CKRMError: an unknown or frozen group or stage, a width above that in `model`, or a
                depth that the stage has not.
        """
        return float(self._metric(self.labels, self.probabilities(widths, depths)))

    def probabilities(
        self, widths: Mapping[str, int], depths: Mapping[str, int] | None = None
    ) -> np.ndarray:
        """Class probabilities of a mended slice, (images, classes) float64; as `score`."""
        tensors = self._tensors(self._alive(widths), depths or {})
        found = [ops.convert_to_numpy(self._forward(tensors, batch)) for batch in self._batches]
        return _probabilities(np.concatenate(found)[: len(self.labels)], self._output)

    def _tensors(self, alive: np.ndarray, depths: Mapping[str, int]) -> list[Any]:
        """The value of each variable that differs between slices."""
        weights = self._weights
        pairs = [*zip(weights.variables, weights.tensors(alive), strict=True)]
        for name, depth in depths.items():
            if name not in self._stages:
                raise unknown_name("stage", name, self._stages)
            pairs += self._stages[name].values(alive, depth)
        values = {id(variable): value for variable, value in pairs}
        # As tensors: a variable among the arguments would have the pass traced anew.
        return [
            values[id(variable)] if id(variable) in values else ops.convert_to_tensor(variable)
            for variable in self._variables
        ]

    def rebase(self, widths: Mapping[str, int]) -> keras.Model:
        """Build a mended slice as a Keras model and compute later scores in it, at its cost.

        Scores stay what they were, to rounding: the choice of channels, the Gram matrices and the
        ridge are still those of the model as it was given. Wider slices are out of reach then, and
        a stage that is gone passes through as many channels as the slice has.

        Returns:
            The slice, which is `model` from now on.
        """
        alive = self._alive(widths)
        tensors = self._weights.tensors(alive)
        values = {
            id(variable): ops.convert_to_numpy(tensor)
            for variable, tensor in zip(self._weights.variables, tensors, strict=True)
        }
        rewriter = Rewriter(self._channels, alive, values)
        channels = Channels(rewriter.build(), freeze=self._freeze)
        for note in rewriter.notes:
            log.warning("rebase %s: %s", channels.model.name, note)
        order = _narrowed(self._order, self._channels, alive, channels)
        stages = {n: (s.bypass, s.restricted(alive)) for n, s in self._stages.items()}
        self._stand_on(channels, order, self._weights.restricted(channels, alive), stages)
        return self.model

    def _alive(self, widths: Mapping[str, int]) -> np.ndarray:
        kept = chosen(self._channels, self._order, given(self._channels, widths))
        return self._channels.alive(kept)


def _probabilities(outputs: np.ndarray, output: str) -> np.ndarray:
    values = np.asarray(outputs, np.float64)
    if output == "sigmoid":
        return np.hstack([1 - values, values])
    if output == "softmax":
        return values
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    found: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return found


def _narrowed(
    order: Mapping[str, np.ndarray], old: Channels, alive: np.ndarray, new: Channels
) -> dict[str, np.ndarray]:
    """The order of the units that stayed, by their numbers in the narrowed model."""
    found = {}
    for name in new.groups.free:
        lives = alive[old.units.members[name]]
        numbers = np.cumsum(lives) - 1
        found[name] = numbers[[unit for unit in order[name] if lives[unit]]]
    return found


def _classes(model: keras.Model) -> int:
    return int(keras_graph.outputs(model)[0].shape[-1])


def _check_model(channels: Channels, output: str) -> None:
    model = channels.model
    shapes = [tuple(x.shape) for x in keras_graph.outputs(model)]
    units = "1" if output == "sigmoid" else "classes"
    if len(shapes) != 1 or len(shapes[0]) != 2 or (output == "sigmoid") != (shapes[0][1] == 1):
        raise CKRMError(
            f"model {model.name}: output",
            expected=f"one of shape (batch, {units}), for {output}",
            received=shapes,
        )
    check_in_place(channels)


def _checked_labels(labels: Any, count: int, outputs: int) -> np.ndarray:
    if np.shape(labels) != (count,):
        raise CKRMError(
            "labels", expected=f"one for each of {count} images", received=np.shape(labels)
        )
    return check_classes(labels, np.zeros((count, max(2, outputs))))[0]
