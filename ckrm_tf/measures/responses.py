"""CKRM of responses: how alike the channels of every width are on images.

Weights cannot tell two networks that compute the same function apart from two that do not: a kernel
before batch norm may have any scale. Responses can. Two channels are alike where |r| of their
responses is above the threshold (`form="pixels"`), or where the mean over images of psi (arXiv
2212.00272, Eq. 5) between their maps is (`form="maps"`, nearest to Eq. 7: a map of one image is a
slice).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy import linalg

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.measures.compiled import compiled
from ckrm_tf.measures.redundancy import (
    THRESHOLD,
    canonical_order,
    check_threshold,
    dissimilar_kernels,
)
from ckrm_tf.measures.responses_null import random_weights
from ckrm_tf.measures.responses_sites import Site, find_sites
from ckrm_tf.measures.responses_sums import Summing
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import as_inputs, evenly

FORMS = ("pixels", "maps")
FORM = "pixels"
NULLS = 3
# Directions are counted up to this share of the variance.
VARIANCE = 0.99
# A channel whose standard deviation is below this share of the largest says the same everywhere.
CONSTANT = 1e-5

# What is told lies so many spreads of the null above its mean, and so much at the least. Set on
# untrained networks, of which one in twenty is told of anything (docs/responses.md).
SPREADS = 5.0
LEAST = 0.01

RESPONSE_COLUMNS = (
    "lambda_response", "lambda_null", "lambda_null_sd", "lambda_bar",
    "needed", "directions", "channels",
)  # fmt: skip


@dataclass(frozen=True)
class Response:
    """What the channels of one width say on images.

    Attributes:
        lam: share of pairs of channels that are alike; NaN where a response is not finite.
        needed: number of mutually unlike channels; NaN as above.
        directions: principal directions that hold 99% of the variance; NaN as above, or where not
            asked for.
        channels: their number.
    """

    lam: float
    needed: float
    directions: float
    channels: int


class ResponseMeasure:
    """Responses of a model, compiled once for any weights of it.

    Args:
        model: built, functional or sequential.
        images: as the model takes them; some hundred are enough.
        threshold: two channels are alike above it.
        form: "pixels" or "maps".
        once: the model is measured once: nothing is compiled, which takes longer than it saves.

    Raises:
        CKRMError: a model that is no graph, images that do not fit, an unknown form.
    """

    def __init__(
        self,
        model: keras.Model,
        images: Any,
        threshold: float = THRESHOLD,
        *,
        form: str = FORM,
        once: bool = False,
    ) -> None:
        if form not in FORMS:
            raise unknown_name("form", form, FORMS)
        self.model, self.form, self.threshold = model, form, check_threshold(threshold)
        self.arrays = as_inputs(model, images)
        self.channels = Channels(model)
        self.sites: list[Site] = find_sites(self.channels)
        if not self.sites:
            raise CKRMError(
                "model", expected="a layer with two channels or more to measure", received="none"
            )
        shapes = [array.shape for array in self.arrays]
        self.once = once
        self.summing = Summing(
            model, self.sites, len(self.arrays[0]), shapes, maps=form == "maps", once=once
        )

    @cached_property
    def of_layer(self) -> dict[str, Site]:
        """The site that shows the width of a layer, by the layer's path."""
        return {path: site for site in self.sites for path in site.layers}

    def measured(
        self, weights: Sequence[Any] | None = None, *, directions: bool = True
    ) -> dict[str, Response]:
        """What every site shows, by its name.

        Args:
            weights: in the order of `model.weights`; the model's own if absent.
            directions: count them; the eigenvalues cost more than all the rest.
        """
        states = self.summing(self.arrays, weights)
        return {
            site.name: response(state, self.threshold, directions=directions, once=self.once)
            for site, state in zip(self.sites, states, strict=True)
        }

    def null(self, seed: int) -> dict[str, Response]:
        """The same of the same network with random weights."""
        block = [evenly(array, self.summing.block) for array in self.arrays]
        values = [keras.ops.convert_to_tensor(array) for array in block]
        weights = random_weights(self.model, values, seed)
        return self.measured(weights, directions=False)

    def table(self, nulls: int = NULLS, seed: int = 1, *, directions: bool = True) -> pd.DataFrame:
        """See `response_measure`."""
        found = self.measured(directions=directions)
        draws = [self.null(seed + number) for number in range(nulls)]
        means, spreads, bars = null_spread(
            [[draw[site.name].lam for site in self.sites] for draw in draws],
            [site.channels for site in self.sites],
        )
        rows = []
        for number, site in enumerate(self.sites):
            own = found[site.name]
            values = own.lam, means[number], spreads[number], bars[number]
            last = own.needed, own.directions, own.channels
            row = {"name": site.name, "groups": site.groups, "shape": site.shape}
            rows.append(row | dict(zip(RESPONSE_COLUMNS, (*values, *last), strict=True)))
        return pd.DataFrame(rows)


def null_spread(
    draws: Sequence[Sequence[float]], channels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the null reads in each width, how much that varies, and above what a finding is told.

    A few draws say little of the spread of one width. The spread of all widths together, which
    grows as the root of lambda, is the least that is taken for each.

    Args:
        draws: lambda of every width in each draw.
        channels: of every width.

    Returns:
        (widths,) mean, standard deviation, bar; NaN where there are too few draws.
    """
    count = len(draws)
    if count < 2:
        nothing = np.full(len(channels), np.nan)
        return (np.asarray(draws[0], float) if count else nothing), nothing, nothing
    lams, size = np.asarray(draws, float), np.asarray(channels, float)
    mean, own = lams.mean(0), lams.std(0, ddof=1)
    root = np.sqrt(mean + 2 / (size * (size - 1)))
    spread = np.maximum(own, root * np.sqrt(np.nanmean((own / root) ** 2)))
    bar = mean + np.maximum(SPREADS * np.sqrt(1 + 1 / count) * spread, LEAST)
    return mean, spread, bar


def response_measure(
    model: keras.Model,
    images: Any,
    threshold: float = THRESHOLD,
    *,
    form: str = FORM,
    nulls: int = NULLS,
    seed: int = 1,
    directions: bool = True,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """How alike the channels of every width of a model are on images.

    Args:
        model: a built functional or sequential model; it is not changed.
        images: as the model takes them, without labels; some hundred are enough.
        threshold: two channels are alike above it.
        form: "pixels", |r| over all places of all images; or "maps", the mean over images of psi
            between the maps of one image (Eq. 5 and 7 with a map as slice).
        nulls: so many networks with random weights, for what "nothing learned" reads.
        seed: of the first of them.
        directions: count the principal directions too.
        progress: told how the measure runs.

    Returns:
        One row for every width: `name` (layer or sum), `groups` (its width groups), `shape` (of
        one image), `lambda_response` (share of pairs alike), `lambda_null` and `lambda_null_sd`
        (mean and standard deviation over the nulls), `lambda_bar` (what lies above it is a
        finding), `needed` (mutually unlike channels, greedy, the strongest first), `directions`
        (at 99% of the variance), `channels`. A row with responses that are not finite is NaN.

    Raises:
        CKRMError: a subclassed or unbuilt model, or one with no width; images that do not fit.

    Example:
        >>> import keras, numpy as np
        >>> from ckrm_tf.measures.responses import response_measure
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> images = np.random.default_rng(1).normal(size=(16, 8, 8, 1))
        >>> table = response_measure(model, images, nulls=0)
        >>> table[["name", "needed", "channels"]].to_dict("records")
        [{'name': 'conv', 'needed': 4.0, 'channels': 4}]
    """
    if isinstance(nulls, bool) or not isinstance(nulls, int) or nulls < 0:
        raise CKRMError("nulls", expected="a whole number >= 0", received=repr(nulls))
    made = ResponseMeasure(model, images, threshold, form=form)
    table = made.table(nulls, seed, directions=directions)
    if progress is not None:
        progress(f"responses: {len(made.arrays[0])} images, {made.summing.compiled}")
    return table


def response(
    state: Sequence[Any], threshold: float, *, directions: bool = True, once: bool = False
) -> Response:
    """What a site says, from its sums.

    Args:
        state: of `Summing`.
        threshold: channels are alike above it.
        directions: count them.
        once: do not compile for one state.
    """
    shapes = tuple(side for part in state for side in part.shape)
    bar = ops.convert_to_tensor(threshold, "float32")
    look = alike_channels if once else compiled(alike_channels, shapes)
    alike, energy, content, finite = look(list(state), bar)
    size = int(energy.shape[0])
    if not bool(ops.convert_to_numpy(finite)):
        return Response(math.nan, math.nan, math.nan, size)
    matrix = ops.convert_to_numpy(alike)
    lam = (np.count_nonzero(matrix) - size) / (size * (size - 1))
    order = canonical_order(ops.convert_to_numpy(energy), ops.convert_to_numpy(content))
    needed = len(dissimilar_kernels(matrix, 0.5, order))
    held = _directions(ops.convert_to_numpy(state[3])) if directions else math.nan
    return Response(float(lam), float(needed), held, size)


def alike_channels(state: Sequence[Any], threshold: Any) -> tuple[Any, Any, Any, Any]:
    """Which channels of a site are alike.

    Args:
        state: of `Summing`.
        threshold: channels are alike above it.

    Returns:
        (channels, channels) whether alike, the diagonal included; (channels,) energy; (channels, 3)
        what settles ties of energy, the same for any numbering; whether all of it is finite.
    """
    counts, means, scales, products = state[:4]
    energy = ops.diagonal(products) / ops.maximum(ops.sum(counts), 1.0)
    level = ops.mean(means**2 / ops.where(scales > 0, scales, 1.0)[:, None], 0)
    still = energy <= CONSTANT**2 * ops.maximum(ops.max(energy), level)
    if len(state) > 4:
        likeness = state[5] / ops.maximum(state[4], 1.0)
    else:
        spread = ops.sqrt(ops.where(still, 1.0, ops.diagonal(products)))
        upper = ops.abs(products) / (spread[:, None] * spread)
        likeness = ops.triu(upper) + ops.transpose(ops.triu(upper, 1))
    # A channel that says the same on every image is like any other.
    likeness = ops.where(still[:, None] | still, 1.0, likeness)
    alike = (likeness > threshold) | (ops.eye(int(energy.shape[0])) > 0)
    content = ops.stack([ops.sum(likeness, 1), ops.sum(likeness**2, 1), ops.sum(likeness**3, 1)], 1)
    return alike, energy, content, ops.isfinite(ops.sum(content) + ops.sum(energy))


def _directions(upper: np.ndarray) -> float:
    """Principal directions that hold `VARIANCE` of the variance."""
    # The lower half of the transpose is the upper half.
    values = linalg.eigvalsh(upper.T, lower=True, check_finite=False)[::-1]
    held = np.cumsum(np.maximum(values, 0))
    if held[-1] <= 0:
        return 0.0
    return float(np.searchsorted(held, VARIANCE * held[-1]) + 1)
