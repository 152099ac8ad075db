"""The parts of a comparison: what each search has, what of it holds, and what it took."""

from __future__ import annotations

from ckrm_tf.reporting import words
from ckrm_tf.reporting.comparison import GUIDED, Comparison, Spread, Strategy
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.sections import results
from ckrm_tf.reporting.sections.base import Block, Figure, Items, Page, Table, Text

LUCK = (
    "The smallest of many networks that passed once is the one that luck favoured most. What holds "
    "was trained again with new seeds, as its start was, and keeps to half of the margin in the "
    "mean."
)

SEEN = "The first column is as each search sees it, by its own trainings."
START_ALONE = "The start's own number: nothing smaller held."


def glance(page: Page) -> list[Block]:
    """What was compared, what each strategy comes to, and which ranges lie apart."""
    record, found = page.record, page.record.comparison
    if found is None:
        return []
    if not found.strategies:
        asked = words.plural(found.asked, "repeat")
        return [Text(f"Of {asked} none has ended yet for every strategy.", "lead")]
    blocks: list[Block] = [Text(headline(record, found), "lead"), Text(_compared(record, found))]
    blocks.append(_main_table(record, found))
    told = _apart(found)
    if told:
        blocks += [
            Text(
                "Whether ranges lie apart is all that so few repeats can show; it is no test, and "
                "ranges that meet prove nothing either way:"
            ),
            Items(told),
        ]
    if record.notes:
        blocks.append(Items(record.notes))
    return blocks


def headline(record: Record, found: Comparison) -> str:
    """What every strategy comes to, in a sentence."""
    what = "is at most the margin below the start by its own trainings"
    if found.seeds:
        what = f"holds over {words.plural(len(found.seeds), 'new seed')}"
    parts = [f"{one.name} {_middle(_counted(found, one))}" for one in found.strategies]
    start = "" if record.start is None else f"; the start has {words.whole(record.start.params)}"
    return (
        f"Parameters of the smallest network that {what}, after {found.budget} trainings, median "
        f"over {words.plural(found.repeats, 'repeat')}: {', '.join(parts)}{start}."
    )


def _middle(found: Spread | None) -> str:
    if found is None:
        return words.NONE
    return "none" if found.median is None else words.number(found.median)


def _counted(found: Comparison, one: Strategy) -> Spread | None:
    """Parameters at the common budget: over new seeds where that was asked."""
    if not found.seeds:
        return one.after_all(found.budget)
    return next((h.params for h in one.held if h.trainings == found.budget), None)


def _compared(record: Record, found: Comparison) -> str:
    longer = [s for s in found.strategies if s.budget > found.budget]
    more = "".join(f"; {s.name} goes on to {s.budget}" for s in longer)
    repeats = words.plural(found.repeats, "repeat")
    if found.repeats < found.asked:
        repeats = f"{found.repeats} of {found.asked} repeats so far"
    auc = ""
    if record.start is not None:
        auc = (
            f" The start, {record.start.text}, has {words.amount(record.start.macs)} "
            "multiply-accumulates for an image and a validation AUC of "
            f"{words.estimate(record.start.val_auc)}."
        )
    return (
        f"{words.plural(len(found.strategies), 'strategy', 'strategies')}, {repeats}, "
        f"{words.plural(found.budget, 'training')} of {words.plural(found.epochs, 'epoch')} for "
        f"each search, the start's among them{more}. Data, start, space, recipe and training seeds "
        f"of a repeat are the same for all.{auc}"
    )


def _main_table(record: Record, found: Comparison) -> Table:
    start = record.start.params if record.start else 0
    head = ["strategy", f"parameters after {found.budget} trainings"]
    head += ["parameters of what holds", "share of the start"] if found.seeds else []
    head += [f"trainings to {words.whole(found.target)} parameters"] if found.target else []
    head.append("CPU time of all trainings")
    rows = []
    for one in found.strategies:
        cells = [one.name, words.spread(one.after_all(found.budget))]
        if found.seeds:
            kept = _counted(found, one)
            known = kept is not None and kept.median is not None
            share = words.share(kept.median, start) if kept and kept.median else words.NONE
            cells += [words.spread(kept), share if known else words.NONE]
        cells += [words.spread(one.to_target)] if found.target else []
        cells.append(words.spread(one.cpu, _seconds))
        rows.append(tuple(cells))
    return Table(
        "strategies",
        f"Median over {words.plural(found.repeats, 'repeat')}, with the range in brackets."
        + (f" {START_ALONE} {SEEN}" if found.seeds else ""),
        tuple(head),
        tuple(rows),
        numeric=tuple(range(1, len(head))),
    )


def _apart(found: Comparison) -> tuple[str, ...]:
    """Of the guided strategy and each other one: whether the ranges over repeats meet."""
    lead = found.lead
    if lead is None or found.repeats < 2:
        return ()
    own = _counted(found, lead)
    lines = []
    for one in found.strategies:
        other = _counted(found, one)
        if one is lead or own is None or other is None:
            continue
        said = "meet"
        if own.apart(other):
            smaller = lead.name if (own.median or 0) < (other.median or 0) else one.name
            said = f"lie apart, {smaller} has the smaller networks"
        lines.append(f"{lead.name} and {one.name}: the ranges {said}.")
    return tuple(lines)


def _seconds(value: float) -> str:
    return f"{value:,.0f} s"


def held(page: Page) -> list[Block]:
    """What holds over new seeds, for every strategy and number of trainings."""
    found, start = page.record.comparison, page.record.start
    if found is None or not found.seeds:
        return []
    of = start.params if start else 0
    rows = tuple(
        (
            one.name,
            str(h.trainings),
            words.spread(h.params),
            words.share(h.params.median, of) if h.params.median else words.NONE,
            ", ".join(words.NONE if p is None else words.number(p) for p in h.params.each),
            f"{words.spread(h.macs, words.amount)} MACs",
        )
        for one in found.strategies
        for h in one.held
    )
    seeds = ", ".join(map(str, found.seeds))
    return [
        Text(LUCK),
        Table(
            "held",
            f"The smallest network of each repeat that holds over new seeds ({seeds}): median, "
            f"with the range in brackets. {START_ALONE}",
            (
                "strategy", "trainings", "parameters", "share of the start",
                "parameters, each repeat", "MACs, one image",
            ),
            rows,
            numeric=(1, 2, 3, 4, 5),
        ),
    ]  # fmt: skip


def budget(page: Page) -> list[Block]:
    """The smallest network at intact AUC after so many trainings, as each search sees it."""
    found = page.record.comparison
    if found is None or not found.strategies:
        return []
    columns = found.columns
    rows = tuple(
        (one.name, *(words.spread(one.after_all(n)) if n <= one.budget else "-" for n in columns))
        for one in found.strategies
    )
    chart = page.charts.get("params_by_training")
    each = tuple(
        (
            one.name,
            str(repeat),
            *(
                words.number(one.after_all(n).each[repeat - 1] or 0) if n <= one.budget else "-"
                for n in columns
            ),
        )
        for one in found.strategies
        for repeat in range(1, len(one.trainings) + 1)
    )
    heads = tuple(f"after {n}" for n in columns)
    return [
        *([Figure(chart)] if chart else []),
        Table(
            "budget",
            "Parameters of the smallest network at intact AUC after so many trainings, as each "
            "search sees it: median, with the range in brackets.",
            ("strategy", *heads),
            rows,
            numeric=tuple(range(1, len(columns) + 1)),
        ),
        Table(
            "budget-each",
            "The same, repeat by repeat.",
            ("strategy", "repeat", *heads),
            each,
            numeric=tuple(range(1, len(columns) + 2)),
        ),
    ]


def effort(page: Page) -> list[Block]:
    """Trainings to a target, and processor time."""
    found = page.record.comparison
    if found is None or not found.strategies:
        return []
    matched = any(one.to_guided for one in found.strategies)
    head = ["strategy"]
    head += [f"trainings to {words.whole(found.target)} parameters"] if found.target else []
    head += [f"trainings to what {GUIDED} has after 10"] if matched else []
    head += [
        "trainings",
        "full trainings, by epochs",
        "CPU time of the first 10",
        "CPU time of all",
    ]
    rows = []
    for one in found.strategies:
        cells = [one.name]
        cells += [words.spread(one.to_target)] if found.target else []
        cells += [words.spread(one.to_guided) if one.name != GUIDED else "-"] if matched else []
        early = one.cpu_early
        cells += [
            words.spread(Spread.of(one.trainings)),
            words.spread(Spread.of(one.full)),
            "fewer than 10" if early is None or early.low is None
            else words.spread(early, _seconds),
            words.spread(one.cpu, _seconds),
        ]  # fmt: skip
        rows.append(tuple(cells))
    chart = page.charts.get("params_by_cpu")
    return [
        *([Figure(chart)] if chart else []),
        Table(
            "effort",
            "Median over repeats, with the range in brackets; never: not within the budget.",
            tuple(head),
            tuple(rows),
            numeric=tuple(range(1, len(head))),
        ),
    ]


def smallest(page: Page) -> list[Block]:
    """Every training by size and AUC, and the smallest network of each repeat."""
    found = page.record.comparison
    if found is None or not found.strategies:
        return []
    chart = page.charts.get("auc_by_strategy")
    return [
        *([Figure(chart)] if chart else []),
        Table(
            "smallest",
            f"The smallest network at intact AUC after {found.budget} trainings, of each repeat.",
            (
                "strategy", "repeat", "widths", "parameters", "MACs, one image", "validation AUC",
                "training",
            ),
            tuple(
                (
                    one.name,
                    str(s.repeat),
                    s.text,
                    words.whole(s.params),
                    f"{words.amount(s.macs)} MACs",
                    words.auc(s.val_auc),
                    str(s.training),
                )
                for one in found.strategies
                for s in one.smallest
            ),
            numeric=(1, 3, 4, 5, 6),
            prose=(2,),
        ),
    ]  # fmt: skip


def judged(page: Page) -> list[Block]:
    """The verdict about the network that --final trained again, where it did."""
    found = page.record.comparison
    if found is None or not page.record.verdicts:
        return []
    told = words.verdict(page.record.verdict)
    return [Text(f"Trained again with new seeds: {found.final}. {told}"), *results.verdicts(page)]


def steps(page: Page) -> list[Block]:
    """Every training of every strategy and repeat."""
    found = page.record.comparison
    if found is None or not found.steps:
        return []
    failed = sum(s.val_auc is None for s in found.steps)
    short = sum(s.epochs < found.epochs for s in found.steps)
    left_out = ""
    if failed or short:
        left_out = (
            f" {words.plural(failed, 'training')} failed and {short} had fewer epochs: none of "
            "them is a result."
        )
    return [
        Text(
            f"{words.plural(len(found.steps), 'training')} in trainings.csv; one that several "
            f"searches share stands once for each.{left_out}"
        ),
        Table(
            "steps",
            "Every training in the order in which its search had it.",
            (
                "strategy", "repeat", "training", "widths", "seed", "epochs", "status",
                "parameters", "MACs, one image", "validation AUC", "intact", "CPU time so far",
            ),
            tuple(
                (
                    s.strategy,
                    str(s.repeat),
                    str(s.number),
                    s.text,
                    str(s.seed),
                    str(s.epochs),
                    s.status,
                    words.whole(s.params),
                    f"{words.amount(s.macs)} MACs",
                    words.auc(s.val_auc),
                    "yes" if s.acceptable else "no",
                    words.duration(s.cpu_seconds),
                )
                for s in found.steps
            ),
            numeric=(1, 2, 4, 5, 7, 8, 9, 11),
            prose=(3,),
            states=tuple("" if s.val_auc is not None else "failed" for s in found.steps),
        ),
    ]  # fmt: skip
