"""One model to be narrowed many times: choose channels, build the narrower model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import recalibrate as statistics
from ckrm_tf.narrowing.evidence import Evidence
from ckrm_tf.narrowing.latency import latency
from ckrm_tf.narrowing.layerwise import Layerwise
from ckrm_tf.narrowing.mend import RIDGE, mended
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import as_inputs
from ckrm_tf.narrowing.rewrite import Rewriter
from ckrm_tf.narrowing.select import SELECTORS, chosen, orders, pivots
from ckrm_tf.narrowing.widths import (
    Widths,
    constrained,
    constraint_of,
    counted,
    given,
    is_number,
    rounded,
    shared,
)

log = logging.getLogger("ckrm_tf")

# Exponent of the smallest share of a group's responses that is left unexplained.
DECADES = -6.0
# Networks built and timed to meet a limit on latency.
TIMED = 6


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
        if images is not None:
            as_inputs(model, images)
        self.channels = Channels(model, freeze=freeze)
        if not self.channels.groups.free:
            raise nothing_free(self.channels)
        self.evidence = Evidence(self.channels, images, labels, seed)
        self._orders: dict[str, dict[str, np.ndarray]] = {}

    def order(self, select: str | None = None) -> dict[str, np.ndarray]:
        """The units of every free group, the most wanted first, by a criterion."""
        name = self._criterion(select)
        if name in SELECTORS and SELECTORS[name].images and self.evidence.images is None:
            raise CKRMError(f"select {name}", expected="images", received="none")
        if name not in self._orders:
            self._orders[name] = orders(self.evidence, name)
        return self._orders[name]

    def take_order(self, order: Mapping[str, np.ndarray], select: str | None = None) -> None:
        """Take over the order that was found on this model in another process."""
        self._orders[self._criterion(select)] = dict(order)

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
        if allocate not in ("uniform", "energy"):
            raise CKRMError("allocate", expected="'uniform' or 'energy'", received=repr(allocate))
        for name, number in (("floor", floor), ("multiple", multiple)):
            if not isinstance(number, int | np.integer) or number < 1:
                raise CKRMError(name, expected="a whole number from 1", received=repr(number))
        channels, order = self.channels, self.order(select)
        if isinstance(to, Mapping):
            found = constraint_of(to, channels)
            if found is None:
                widths = given(channels, to)
                if multiple > 1:
                    widths = rounded(channels, widths, 1, multiple)
                return chosen(channels, order, widths)
        elif is_number(to) and 0 < to <= 1:
            return chosen(channels, order, shared(channels, float(to), floor, multiple))
        else:
            raise CKRMError(
                "narrow to",
                expected=(
                    'a share above 0 and up to 1, {"params" | "macs" | "latency": ...} or widths'
                ),
                received=repr(to),
            )
        explained = _explained(self.evidence) if allocate == "energy" else None

        def at(share: float) -> Widths:
            if explained is not None:
                return rounded(channels, explained(share), floor, multiple)
            return shared(channels, share, floor, multiple)

        what, value = found
        if what == "latency":
            return self._timed(order, at, value)
        count, now = counted(channels, what)
        if not now:
            raise CKRMError(
                f"narrow to {what}",
                expected="a model with trainable parameters"
                if what == "params"
                else "a model whose multiply-accumulates can be counted",
                received="0 of them",
                hint="Is model.trainable False?" if what == "params" else None,
            )
        limit = value * now if value <= 1 else value
        return chosen(channels, order, constrained(at, count, limit, f"narrow to {what}"))

    def build(
        self,
        kept: Mapping[str, np.ndarray],
        *,
        mend: bool | str | None = None,
        ridge: float = RIDGE,
        recalibrate: bool = False,
    ) -> keras.Model:
        """The model with the units that stay, mended where there are images."""
        alive = self.channels.alive(kept)
        values = {}
        if not is_number(ridge) or not 0 <= ridge < np.inf:
            raise CKRMError("ridge", expected="a number of at least 0", received=repr(ridge))
        if mend not in (None, True, False, "once"):
            raise CKRMError("mend", expected="True, False or 'once'", received=repr(mend))
        if self.evidence.images is not None and mend is not False:
            # A norm over channels is another function on fewer of them: nothing to fit on.
            if mend == "once" or self.channels.trace.inexact:
                values = mended(self.channels, alive, self.evidence.grams, ridge)
            else:
                values = Layerwise(self.channels, alive, ridge).mend(self.evidence.images)
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

    def _criterion(self, select: str | None) -> str:
        return select or ("norm" if self.evidence.images is None else "pivot")

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
    if not isinstance(keep, Mapping):
        raise CKRMError("keep", expected="{group: indices}", received=repr(keep)[:80])
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
