"""The first screen: both networks side by side, the verdict, the network as a drawing."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.reporting import words
from ckrm_tf.reporting.drawing import drawing
from ckrm_tf.reporting.record import Estimate, Network, Record
from ckrm_tf.reporting.sections.base import Block, Drawing, Items, Page, Table, Text


def overview(page: Page) -> list[Block]:
    """The sentence that counts, the table of both networks, what warns, the drawing."""
    record = page.record
    blocks: list[Block] = [Text(headline(record), "lead")]
    if record.start is not None and record.recommended is not None:
        if record.smaller:
            blocks.append(Text(words.verdict(record.verdict), "lead"))
        blocks.append(_table(record, record.start, record.recommended))
    drawn = drawing(record)
    if drawn is not None:
        blocks.append(Drawing(*drawn))
    speaking = [check for check, answer in page.answers if answer.state == "warns"]
    if speaking:
        told = "; ".join(f"{check.code} {check.title.lower()}" for check in speaking)
        blocks.append(Text(f"{words.plural(len(speaking), 'check')} to read first: {told}."))
    elif page.answers:
        blocks.append(Text("No check warns."))
    if record.notes:
        blocks.append(Items(record.notes))
    return blocks


def headline(record: Record) -> str:
    """What came out, in a sentence."""
    start, best = record.start, record.recommended
    if start is None:
        return "Nothing has been trained yet."
    if best is None:
        return "Nothing is recommended: the starting network has no finished training."
    so_far = "" if record.finished else "So far, "
    if not record.smaller:
        text = "no network smaller than the start keeps its AUC; the start itself is recommended."
        return so_far + text if so_far else text[0].upper() + text[1:]
    which = "narrowed" if record.kind == "narrow" else "recommended"
    text = (
        f"the {which} network has {words.times(start.params, best.params)} parameters "
        f"({words.whole(start.params)} to {words.whole(best.params)}) and "
        f"{words.times(start.macs, best.macs)} multiply-accumulates."
    )
    return so_far + text if so_far else text[0].upper() + text[1:]


def _table(record: Record, start: Network, best: Network) -> Table:
    rows = [
        ("Trainable parameters", *_both(start.params, best.params, words.whole)),
        (
            "Multiply-accumulates, one image",
            *_both(start.macs, best.macs, lambda n: f"{words.amount(n)} MACs"),
        ),
        ("Validation AUC, mean of trainings", *_aucs(start.val_auc, best.val_auc)),
        ("AUC on unseen images, mean of trainings", *_aucs(start.test_auc, best.test_auc)),
        ("AUC on unseen images, the trained pair", *_aucs(start.trained_auc, best.trained_auc)),
        *_sizes(record, start, best),
        *_latency(record),
    ]
    over = dict.fromkeys(
        f"{name}: {e.over}"
        for name, e in (
            ("validation", best.val_auc or start.val_auc),
            ("unseen images, mean", best.test_auc or start.test_auc),
            ("unseen images, the trained pair", best.trained_auc or start.trained_auc),
        )
        if e is not None and e.over
    )
    bounds = f" In brackets, {'; '.join(over)}." if over else ""
    return Table(
        "networks",
        f"Start and recommended side by side.{bounds}",
        ("", "start", "recommended", "change"),
        tuple(rows),
        numeric=(1, 2, 3),
    )


def _both(
    before: int, after: int, say: Callable[[int], str], unit: str = ""
) -> tuple[str, str, str]:
    change = words.times(before, after)
    return say(before) + unit, say(after) + unit, f"{words.share(after, before)}; {change}"


def _aucs(before: Estimate | None, after: Estimate | None) -> tuple[str, str, str]:
    change = ""
    if before is not None and after is not None:
        change = words.signed(after.value - before.value)
    return words.estimate(before), words.estimate(after), change


def _sizes(record: Record, start: Network, best: Network) -> list[tuple[str, str, str, str]]:
    rows = []
    if start.weights_bytes or best.weights_bytes:
        cells = [
            words.size(b) if b else words.NONE for b in (start.weights_bytes, best.weights_bytes)
        ]
        known = start.weights_bytes and best.weights_bytes
        change = words.share(best.weights_bytes or 0, start.weights_bytes or 0) if known else ""
        rows.append(("Weights file of a training", cells[0], cells[1], change))
    measured = {(one.runtime, one.network): one.bytes for one in record.latency}
    for runtime in dict.fromkeys(runtime for runtime, _ in measured):
        first, second = (measured.get((runtime, n), 0) for n in ("start", "recommended"))
        if first and second:
            change = words.share(second, first)
            rows.append((f"Size on disk, {runtime}", words.size(first), words.size(second), change))
    for file in record.export.files if record.export and not measured else ():
        rows.append((f"Size on disk, {file.name}", "not exported", words.size(file.bytes), ""))
    return rows


def _latency(record: Record) -> list[tuple[str, str, str, str]]:
    if not record.latency:
        return [("Latency (--latency)", words.NONE, words.NONE, "")]
    found = {(one.runtime, one.batch, one.network): one for one in record.latency}
    rows = []
    for runtime, batch in dict.fromkeys((one.runtime, one.batch) for one in record.latency):
        pair = [found.get((runtime, batch, network)) for network in ("start", "recommended")]
        first, second = (words.milliseconds(one.seconds) if one else words.NONE for one in pair)
        a, b = pair
        change = ""
        if a and b:
            ratio = a.seconds / b.seconds
            change = f"{ratio:.3g} times as fast"
        rows.append((f"Latency, {runtime}, batch of {batch}", first, second, change))
    return rows
