"""The networks of a search over all their trainings, and the front among them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import acceptable
from ckrm_tf.reporting.record import Tried
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.history import Outcome


def tried_networks(
    family: Family,
    history: Sequence[Outcome],
    macs: dict[Design, int],
    roles: dict[Design, str],
    margin: float | None,
) -> tuple[Tried, ...]:
    """One row for each network, in the order of their first training.

    Args:
        family: describes the designs.
        history: the outcome of each network; the first is the starting one's.
        macs: multiply-accumulates of each network.
        roles: "start" and "recommended".
        margin: loss of mean AUC that still counts as holding; None: nothing is said.
    """
    first = front(history)
    known = margin is not None and bool(history) and not history[0].failed
    return tuple(
        Tried(
            number=number,
            text=family.describe(outcome.design),
            design=outcome.design.to_dict(),
            params=outcome.params,
            macs=macs[outcome.design],
            aucs=outcome.aucs,
            role=roles.get(outcome.design, ""),
            front=number in first,
            holds=acceptable(outcome, history, margin or 0)
            if known and not outcome.failed
            else None,
        )
        for number, outcome in enumerate(history)
    )


def front(history: Sequence[Outcome]) -> set[int]:
    """The networks that no other beats: none is at least as small with at least the same AUC.

    Of two with the same parameters and the same AUC the earlier stays.

    Example:
        >>> from ckrm_tf.design.design import Design
        >>> rows = [(100, 0.9), (50, 0.8), (60, 0.7)]
        >>> sorted(front([Outcome(Design({"a": p}), (auc,), p) for p, auc in rows]))
        [0, 1]
    """
    order = sorted(
        (n for n, o in enumerate(history) if not o.failed),
        key=lambda n: (history[n].params, -history[n].auc, n),
    )
    found, best = set(), float("-inf")
    for number in order:
        if history[number].auc > best:
            found.add(number)
            best = history[number].auc
    return found


def mean_by_layer(trainings: Sequence[Training], name: str) -> dict[str, float]:
    """The mean over trainings of a number by layer, such as lambda; {} where none recorded it."""
    values: dict[str, list[float]] = {}
    for training in trainings:
        for layer, value in (getattr(training, name, None) or {}).items():
            values.setdefault(layer, []).append(float(value))
    return {layer: sum(found) / len(found) for layer, found in values.items()}
