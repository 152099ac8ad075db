"""`narrow` and `width_groups`: what a user calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import recalibrate as statistics
from ckrm_tf.narrowing.evidence import Evidence
from ckrm_tf.narrowing.groups import Groups
from ckrm_tf.narrowing.latency import latency
from ckrm_tf.narrowing.mend import RIDGE, mended
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.rewrite import Rewriter
from ckrm_tf.narrowing.select import SELECTORS, chosen, orders, pivots
from ckrm_tf.narrowing.widths import (
    Widths,
    constrained,
    constraint_of,
    counted,
    given,
    rounded,
    shared,
)

log = logging.getLogger("ckrm_tf")

# Exponent of the smallest share of a group's responses that is left unexplained.
DECADES = -6.0
# Networks built and timed to meet a limit on latency.
TIMED = 6


def width_groups(model: keras.Model, *, freeze: Iterable[str] = ()) -> Groups:
    """The widths of a model that can be chosen: layers that must be equally wide share one.

    Args:
        model: a built functional or sequential model.
        freeze: names of layers to leave alone.

    Returns:
        A mapping from name to `Group`, whose `width`, `layers` and `reason` (None where free) tell
        what can be chosen. It prints as a table.

    Raises:
        CKRMError: for a subclassed or unbuilt model, or an unknown name in `freeze`.

    Example:
        >>> import keras
        >>> from ckrm_tf import width_groups
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2, name="head")]
        ... )
        >>> {name: (group.width, group.free) for name, group in width_groups(model).items()}
        {'conv': (4, True), 'head': (2, False)}
    """
    return Channels(model, freeze=freeze).groups


def narrow(
    model: keras.Model,
    to: float | Mapping[str, Any] | None = None,
    *,
    keep: Mapping[str, Any] | None = None,
    images: Any = None,
    labels: Any = None,
    select: str | None = None,
    mend: bool | None = None,
    allocate: str = "uniform",
    floor: int = 1,
    multiple: int = 1,
    freeze: Iterable[str] = (),
    ridge: float = RIDGE,
    recalibrate: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A narrower model with the weights of the channels that stay. The model given is unchanged.

    Args:
        model: a built functional or sequential Keras 3 model. Layers without a rule stay as they
            are, and so do the channels they touch.
        to: a share of every free width; or `{"params": .25}`, `{"macs": .5}`, `{"latency": .5}`, a
            share (or a whole number of parameters or multiply-accumulates) that is kept to; or
            widths by group, `{group: width}`, a `Design` among them.
        keep: the units that stay, `{group: indices}`, in place of `to` and `select`; a group that
            is not named stays whole.
        images: some hundred images as the model takes them, without labels; they choose and mend.
        labels: of the images, for `select="taylor"` alone.
        select: the criterion, a key of `SELECTORS`; "pivot" with images, else "norm".
        mend: whether the kernels take over what was removed, by ridge regression on the images; on
            where there are images.
        allocate: how a constraint is met: "uniform", one share of every width; or "energy", which
            with images leaves every group the same share of its responses unexplained.
        floor: the smallest width.
        multiple: round widths up to a multiple of this many channels, such as 8.
        freeze: names of layers to leave alone.
        ridge: of the regression, as a share of the mean energy of a kept channel.
        recalibrate: estimate the batch norms' statistics anew on the images. Off: after mending it
            made networks worse or no better (docs/narrowing.md).
        seed: of a criterion that draws.

    Returns:
        A model of the same class, names and compile settings; the state of optimizer and metrics
        does not carry over.

    Raises:
        CKRMError: a model that is subclassed, unbuilt or without a free width; a constraint that
            cannot be met; arguments that do not fit.

    Example:
        >>> import keras
        >>> from ckrm_tf import narrow
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> narrow(model, 0.5).get_layer("conv").filters
        2
    """
    narrower = Narrower(model, images=images, labels=labels, freeze=freeze, seed=seed)
    if mend and images is None:
        raise CKRMError("mend", expected="images to mend on", received="none")
    if keep is not None:
        if to is not None:
            raise CKRMError("narrow", expected="one of to and keep", received="both")
        kept = narrower.checked(keep)
    else:
        kept = narrower.choose(to, select, allocate=allocate, floor=floor, multiple=multiple)
    return narrower.build(kept, mend=mend, ridge=ridge, recalibrate=recalibrate)


class Narrower:
    """One model to be narrowed many times: what is measured on it is measured once.

    Args:
        model, images, labels, freeze, seed: as in `narrow`.

    Attributes:
        channels: groups and costs of the model.
        evidence: what a choice rests on.

    Raises:
        CKRMError: as `narrow`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        images: Any = None,
        labels: Any = None,
        freeze: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        self.channels = Channels(model, freeze=freeze)
        if not self.channels.groups.free:
            raise nothing_free(self.channels)
        self.evidence = Evidence(self.channels, images, labels, seed)
        self._orders: dict[str, dict[str, np.ndarray]] = {}

    def order(self, select: str | None = None) -> dict[str, np.ndarray]:
        """The units of every free group, the most wanted first, by a criterion."""
        name = select or ("norm" if self.evidence.images is None else "pivot")
        if name in SELECTORS and SELECTORS[name].images and self.evidence.images is None:
            raise CKRMError(f"select {name}", expected="images", received="none")
        if name not in self._orders:
            self._orders[name] = orders(self.evidence, name)
        return self._orders[name]

    def at(self, widths: Mapping[str, int], select: str | None = None) -> dict[str, np.ndarray]:
        """The units that stay at these widths."""
        return chosen(self.channels, self.order(select), given(self.channels, widths))

    def choose(
        self,
        to: float | Mapping[str, Any] | None,
        select: str | None = None,
        *,
        allocate: str = "uniform",
        floor: int = 1,
        multiple: int = 1,
    ) -> dict[str, np.ndarray]:
        """The units that stay; arguments as in `narrow`."""
        channels, order = self.channels, self.order(select)
        if isinstance(to, Mapping):
            found = constraint_of(to, channels)
            if found is None:
                widths = given(channels, to)
                if multiple > 1:
                    widths = rounded(channels, widths, 1, multiple)
                return chosen(channels, order, widths)
        elif isinstance(to, int | float) and not isinstance(to, bool) and 0 < to <= 1:
            return chosen(channels, order, shared(channels, to, floor, multiple))
        else:
            raise CKRMError(
                "narrow to",
                expected=(
                    'a share above 0 and up to 1, {"params" | "macs" | "latency": ...} or widths'
                ),
                received=repr(to),
            )
        if allocate not in ("uniform", "energy"):
            raise CKRMError("allocate", expected="'uniform' or 'energy'", received=repr(allocate))
        explained = _explained(self.evidence) if allocate == "energy" else None

        def at(share: float) -> Widths:
            if explained is not None:
                return rounded(channels, explained(share), floor, multiple)
            return shared(channels, share, floor, multiple)

        what, value = found
        if what == "latency":
            return self._timed(order, at, value)
        count, now = counted(channels, what)
        limit = value * now if value <= 1 else value
        return chosen(channels, order, constrained(at, count, limit, f"narrow to {what}"))

    def build(
        self,
        kept: Mapping[str, np.ndarray],
        *,
        mend: bool | None = None,
        ridge: float = RIDGE,
        recalibrate: bool = False,
    ) -> keras.Model:
        """The model with the units that stay, mended where there are images."""
        alive = self.channels.alive(kept)
        values = {}
        if self.evidence.images is not None and mend is not False:
            values = mended(self.channels, alive, self.evidence.grams, ridge)
        rewriter = Rewriter(self.channels, alive, values)
        model = rewriter.build()
        for note in rewriter.notes:
            log.warning("narrow %s: %s", model.name, note)
        if recalibrate:
            if self.evidence.images is None:
                raise CKRMError("recalibrate", expected="images", received="none")
            statistics.recalibrate(model, self.evidence.images)
        return model

    def checked(self, keep: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Units given by group, checked; a group that is not named stays whole."""
        return _checked_keep(self.channels, keep)

    def _timed(
        self, order: Mapping[str, np.ndarray], at: Callable[[float], Widths], share: float
    ) -> dict[str, np.ndarray]:
        """The widest network found whose measured latency keeps to a share of the model's."""
        if share > 1:
            raise CKRMError("narrow to latency", expected="a share up to 1", received=share)
        now = latency(self.channels.model)

        def kept_and_time(widths: Widths) -> tuple[dict[str, np.ndarray], float]:
            kept = chosen(self.channels, order, widths)
            return kept, latency(self.build(kept, mend=False)) / now

        low, high, best = 0.0, 1.0, None
        for _ in range(TIMED):
            middle = (low + high) / 2
            kept, took = kept_and_time(at(middle))
            log.info("narrow: %.2f of the widths takes %.2f of the time", middle, took)
            if took <= share:
                low, best = middle, kept
            else:
                high = middle
        if best is None:
            best, took = kept_and_time(at(0.0))
            if took > share:
                raise CKRMError(
                    "narrow to latency",
                    expected=f"at least {took:.2f} of the model's, what the narrowest takes",
                    received=share,
                )
        return best


def _explained(evidence: Evidence) -> Callable[[float], dict[str, float]]:
    """From a number in [0, 1] to widths that leave every group the same share unexplained."""
    left = {}
    for group in evidence.channels.groups.free.values():
        moments = evidence.moments(group)
        if moments is not None:
            gained = pivots(moments[0])[1]
            left[group.name] = 1 - np.cumsum(gained) / max(float(np.sum(gained)), 1e-30)

    def at(share: float) -> dict[str, float]:
        # By decades, since the curves fall steeply: all unexplained at 0, a millionth at 1.
        level = 10.0 ** (DECADES * share)
        return {
            group.name: 1.0 + float(np.searchsorted(-left[group.name], -level))
            if group.name in left
            else share * group.width
            for group in evidence.channels.groups.free.values()
        }

    return at


def _checked_keep(channels: Channels, keep: Mapping[str, Any]) -> dict[str, np.ndarray]:
    found = channels.all()
    for name, indices in keep.items():
        group = channels.groups[name]
        wanted = np.unique(np.asarray(indices).ravel())
        whole = wanted.dtype.kind in "iu" and len(wanted) == np.size(indices)
        if not len(wanted) or not whole or wanted[0] < 0 or wanted[-1] >= group.width:
            raise CKRMError(
                f"keep {name}",
                expected=f"different whole numbers from 0 to {group.width - 1}, at least one",
                received=repr(indices)[:80],
            )
        if name in found:
            found[name] = wanted
        elif len(wanted) < group.width:
            raise CKRMError(
                f"keep {name}", expected="a free group", received=f"frozen: {group.reason}"
            )
    alive = channels.alive(found)
    for cover in channels.units.covers:
        if not any(alive[unit] for unit in cover):
            names = sorted(n for n, m in channels.units.members.items() if cover & set(m.tolist()))
            raise CKRMError(
                f"keep {', '.join(names)}",
                expected="at least one channel of every tensor",
                received="a part of a split without any",
            )
    return found


def nothing_free(channels: Channels) -> CKRMError:
    """The error for a model in which no width can be chosen, with the first reasons."""
    reasons = dict.fromkeys(group.reason for group in channels.groups.values() if group.reason)
    return CKRMError(
        f"model {channels.model.name}",
        expected="at least one width that is free",
        received=f"none: {'; '.join(list(reasons)[:3]) or 'no layer makes channels'}",
        hint="ckrm_tf.channel_rule tells how channels pass a layer of your own."
        if channels.trace.frozen
        else None,
    )
