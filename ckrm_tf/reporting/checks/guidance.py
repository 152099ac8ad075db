"""Checks of whether lambda did anything: R007, R009."""

from __future__ import annotations

from ckrm_tf.judge.select import CONFIRMED_SHARE
from ckrm_tf.reporting.baselines import LOOKING
from ckrm_tf.reporting.checks.base import Answer, cannot_tell, quiet, warns
from ckrm_tf.reporting.record import Record, Tried
from ckrm_tf.reporting.words import plural
from ckrm_tf.tuning.rule import Rule

# Networks that must have held, all of them, before their choice is called idle.
ENOUGH = 5
COMPARE = "ckrm-tf compare sets unguided searches beside this one."


def no_redundancy(record: Record) -> Answer:
    """R007: whether lambda was nowhere above what the search takes for none."""
    told = [t.redundancy for t in record.trainings if t.redundancy is not None]
    layers = [v for n in (record.start, record.recommended) if n for v in n.lam.values()]
    layers += [t.lam for t in record.trainings if t.lam is not None]
    if not told and not layers:
        return cannot_tell("Neither lambda nor signals are recorded.")
    most, tolerance = max(told or layers), Rule().tolerance
    what = "lambda of a layer or mean of a training"
    if told:
        criterion = record.settings.get("criterion", "ckrm")
        what = f"redundancy of a width (criterion {criterion}, {plural(len(told), 'training')})"
    text = f"The largest {what} is {most:.3f}; up to {tolerance:g} counts as none."
    if most <= tolerance:
        how = "by the scores of slices alone" if _scored(record) else "without it"
        return warns(
            f"{text} The widths were chosen {how}. Lambda rises where training lets unneeded "
            "kernels die: a larger --l1, more --epochs."
        )
    return quiet(text)


def _scored(record: Record) -> bool:
    """Whether slices of trained networks were scored, which guides without lambda too."""
    given = record.settings
    return bool(given.get("score_share")) and given.get("strategy") in ("ckrm", "scores")


def random_widths_would_do(record: Record) -> Answer:
    """R009: whether the run shows that the choice of widths mattered."""
    strategy = record.settings.get("strategy", "ckrm")
    if record.kind != "search":
        return cannot_tell("Nothing was searched.")
    if strategy not in LOOKING:
        return cannot_tell(f"The widths were not guided: the strategy is {strategy}.")
    if record.baselines and record.smaller and record.margin is not None:
        return _beside(record, record.margin)
    judged = [t for t in record.tried if t.holds is not None and t.role != "start"]
    if len(judged) < ENOUGH:
        return cannot_tell(
            f"{plural(len(judged), 'network')} beside the start: {ENOUGH} at least are needed."
        )
    if no_redundancy(record).state == "warns" and not _scored(record):
        return warns(
            "No width was redundant (R007), so the widths are those of a search without lambda. "
            f"{COMPARE}"
        )
    return _mattered(judged)


def _beside(record: Record, margin: float) -> Answer:
    """Whether an unguided search has a network as small that keeps to the margin as well."""
    start, best = record.start, record.recommended
    if start is None or best is None or start.val_auc is None:
        return cannot_tell("The start has no AUC to set the baselines beside.")
    told = ", ".join(
        f"{sum(b.strategy == name for b in record.baselines)} of {name}"
        for name in dict.fromkeys(b.strategy for b in record.baselines)
    )
    least = start.val_auc.value - CONFIRMED_SHARE * margin
    rivals = [b for b in record.baselines if b.params <= best.params and b.auc >= least]
    if rivals:
        one = min(rivals, key=lambda b: b.params)
        return warns(
            f"Of the baselines ({told}), {plural(len(rivals), 'network')} no larger than the "
            f"recommended one kept to the margin too: the smallest has {one.params:,} parameters, "
            f"AUC {one.auc:.3f} over {plural(len(one.aucs), 'training')}."
        )
    if len(record.baselines) < ENOUGH:
        return cannot_tell(f"Baselines: {told}. {ENOUGH} networks at least are needed.")
    return quiet(
        f"None of the baselines ({told}) is as small as the recommended network and keeps to the "
        "margin."
    )


def _mattered(judged: list[Tried]) -> Answer:
    """Whether networks were lost that size alone does not explain."""
    lost = [t for t in judged if not t.holds]
    held = [t.params for t in judged if t.holds]
    if not lost:
        return warns(
            f"All of {plural(len(judged), 'network')} held, whatever their widths: others of that "
            f"size might have too. {COMPARE}"
        )
    text = f"{len(lost)} of {plural(len(judged), 'network')} did not hold"
    larger = [t for t in lost if held and t.params > min(held)]
    if not larger:
        return cannot_tell(
            f"{text}, none of them larger than the smallest that did: size alone explains it, and "
            f"other widths of that size might have done. {COMPARE}"
        )
    return quiet(
        f"{text}, {len(larger)} of them larger than the smallest that did: widths mattered. "
        f"Whether they were chosen better than by chance this run cannot tell. {COMPARE}"
    )
