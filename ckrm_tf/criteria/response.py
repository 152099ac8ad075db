"""Responses as a criterion: what the channels of each width say on images.

The other criteria look at kernels alone and share one interface (`ckrm_tf.criteria.base`). This one
needs the network and images, so it is a function of its own that answers with the same `Signal`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ckrm_tf.criteria.base import Signal
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.measures.redundancy import THRESHOLD
from ckrm_tf.measures.responses import FORM, Response, ResponseMeasure
from ckrm_tf.measures.responses_sites import Site
from ckrm_tf.narrowing.plan import Channels

NAME = "response"


def response_signals(
    model: keras.Model,
    widths: Family | Mapping[str, Sequence[str]],
    images: Any,
    *,
    threshold: float = THRESHOLD,
    form: str = FORM,
    nulls: int = 1,
    seed: int = 1,
) -> dict[str, Signal]:
    """The signal of every width of a network from its responses to images.

    A width is spoken for by the layers whose kernels the family names, and by layers whose channels
    only those kernels read and no other width's layers make: in a ResNet the 1x1 convolution
    before a 3x3 too. Where several tensors show one width, the one that needs most decides.

    Args:
        model: a trained network that `widths` built; it is not changed.
        widths: a family; or, for each axis of a design, the paths of the layers that make its
            channels.
        images: as the model takes them, without labels; some hundred training images.
        threshold, form: as for `response_measure`.
        nulls: networks with random weights whose mean lambda is taken off; 0 takes nothing off.
        seed: of the first of them.

    Returns:
        By axis: `redundancy`, lambda above the null as a share of what is left above it, 0 to 1;
        `needed`, mutually unlike channels as a share of all, the largest over the tensors;
        `excess`, lambda minus that of the null, negative where the channels are less alike than
        those of a network that has learned nothing. An axis that no tensor shows is left out.

    Raises:
        CKRMError: images that do not fit, responses that are not finite, no width that is seen.

    Example:
        >>> import keras, numpy as np
        >>> from ckrm_tf.criteria.response import response_signals
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> images = np.random.default_rng(1).normal(size=(8, 8, 8, 1))
        >>> list(response_signals(model, {"filters": ["conv"]}, images, nulls=0))
        ['filters']
    """
    made = ResponseMeasure(model, images, threshold, form=form, once=True)
    speaking = sites_of_axes(made, widths)
    if not speaking:
        raise CKRMError("model", expected="a layer that shows a width", received="none")
    found = made.measured(directions=False)
    draws = [made.null(seed + number) for number in range(nulls)]
    return {
        axis: _signal([(found[s.name], [d[s.name].lam for d in draws]) for s in sites], axis)
        for axis, sites in speaking.items()
    }


def sites_of_axes(
    made: ResponseMeasure, widths: Family | Mapping[str, Sequence[str]]
) -> dict[str, list[Site]]:
    """The tensors that show each axis of a design."""
    if isinstance(widths, Family):
        layers_of: dict[str, list[str]] = {
            axis: [kernel.name for kernel in kernels]
            for axis, kernels in widths.kernels(made.model).items()
        }
    else:
        layers_of = {axis: list(paths) for axis, paths in widths.items()}
    paths = {path for path, _ in made.channels.trace.layers}
    found: dict[str, list[Site]] = {}
    claimed: dict[str, set[str]] = {}
    for axis, names in layers_of.items():
        makers = {_layer(name, paths) for name in names}
        found[axis] = [site for site in made.sites if makers & {*site.layers, site.name}]
        claimed[axis] = makers
    _add_read(made, found, claimed)
    return {axis: sites for axis, sites in found.items() if sites}


def _layer(name: str, paths: set[str]) -> str:
    """The step of the graph that a kernel's path lies in: layers may hold convolutions inside."""
    while name not in paths and "/" in name:
        name = name.rpartition("/")[0]
    return name


def _add_read(
    made: ResponseMeasure, found: dict[str, list[Site]], claimed: Mapping[str, set[str]]
) -> None:
    """Give each width that no axis has made to the axis whose layers alone read it."""
    taken = {site.name for sites in found.values() for site in sites}
    taken_groups = {group for sites in found.values() for site in sites for group in site.groups}
    readers = _readers(made.channels)
    for site in made.sites:
        if site.name in taken or taken_groups & set(site.groups):
            continue
        reading = set().union(*(readers.get(group, set()) for group in site.groups))
        for axis, makers in claimed.items():
            if reading and reading <= makers:
                found[axis].append(site)


def _readers(channels: Channels) -> dict[str, set[str]]:
    """By width group, the paths of the layers with a kernel that reads its channels."""
    trace = channels.trace
    groups: dict[str, list[str]] = {}
    for group in channels.groups.values():
        for path in group.layers:
            groups.setdefault(path, []).append(group.name)
    found: dict[str, set[str]] = {}
    for layer_path, layer in trace.layers:
        own = {
            number for number, (_, operation) in enumerate(trace.producers) if operation is layer
        }
        for ids in _axes_of(layer, trace.uses):
            made_by = {trace.atoms.producer(int(i)) for i in ids} - own
            for number in made_by:
                for name in groups.get(trace.producers[number][0], ()) if number >= 0 else ():
                    found.setdefault(name, set()).add(layer_path)
    return found


def _axes_of(layer: Any, uses: Mapping[int, Mapping[int, Any]]) -> Iterable[np.ndarray]:
    """The channels along each axis of a layer's kernels."""
    for variable in getattr(layer, "variables", ()):
        if len(variable.shape) > 1:
            yield from (ids for ids in uses.get(id(variable), {}).values() if ids is not None)


def _signal(shown: Sequence[tuple[Response, Sequence[float]]], axis: str) -> Signal:
    lams = np.array([response.lam for response, _ in shown])
    if not np.isfinite(lams).all():
        raise CKRMError(f"responses of {axis}", expected="finite numbers", received="NaN")
    nulls = np.array([np.mean(draws) if len(draws) else 0.0 for _, draws in shown])
    return Signal(
        redundancy=float(np.mean(np.maximum(0.0, lams - nulls) / np.maximum(1 - nulls, 1e-9))),
        needed=max(response.needed / response.channels for response, _ in shown),
        excess=float(np.mean(lams - nulls)),
    )
