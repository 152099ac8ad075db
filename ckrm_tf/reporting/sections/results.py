"""Verdicts, AUC against size, the way of the widths, lambda by layer."""

from __future__ import annotations

from ckrm_tf.reporting import words
from ckrm_tf.reporting.record import Verdict
from ckrm_tf.reporting.sections.base import Block, Figure, Page, Table, Text


def verdicts(page: Page) -> list[Block]:
    """Every comparison that the run folder holds."""
    found = page.record.verdicts
    if not found:
        return [Text(words.verdict(None))]
    rows = tuple(_verdict_row(v) for v in found)
    return [
        Table(
            "verdicts",
            "Recommended minus start, macro AUC. The first about the recommended network on unseen "
            "images is the one above; validation images have chosen the network and prove nothing.",
            ("images", "about", "trainings", "difference", "interval", "margin", "verdict", "file"),
            rows,
            numeric=(3, 4, 5),
            states=tuple(v.status for v in found),
        )
    ]


def _verdict_row(found: Verdict) -> tuple[str, ...]:
    interval = words.NONE
    if found.low is not None and found.high is not None:
        interval = (
            f"{words.per_cent(found.confidence)} [{words.signed(found.low)}, "
            f"{words.signed(found.high)}]"
        )
    trainings = "1 and 1"
    if found.trainings:
        trainings = f"{found.trainings[0]} and {found.trainings[1]}"
        trainings += f" in each of {found.folds} folds" if found.folds > 1 else ""
    images = f"{found.images:,} images, {found.split}" if found.images else found.split
    return (
        images,
        found.about if found.ours else f"{found.about}; candidate {found.candidate}",
        trainings,
        words.signed(found.difference),
        interval,
        f"{found.margin:g}",
        words.status(found) if found.unseen else f"{words.status(found)}, no proof",
        found.source,
    )


def tradeoff(page: Page) -> list[Block]:
    """AUC against parameters, and the front as a table."""
    chart = page.charts.get("auc_by_params")
    if chart is None:
        return []
    front = [t for t in page.record.tried if t.front or t.role]
    start = page.record.tried[0]
    rows = tuple(
        (
            str(t.number),
            t.text,
            words.whole(t.params),
            words.share(t.params, start.params),
            f"{words.amount(t.macs)} MACs",
            words.auc(t.auc),
            str(len(t.aucs)),
            ", ".join(filter(None, (t.role, "front" if t.front else ""))),
        )
        for t in sorted(front, key=lambda t: -t.params)
    )
    return [
        Figure(chart),
        Table(
            "front",
            "The front: networks that no other beats in both parameters and validation AUC, with "
            "start and recommended.",
            (
                "network", "widths", "parameters", "share of the start", "MACs, one image",
                "validation AUC", "trainings", "",
            ),
            rows,
            numeric=(2, 3, 4, 5, 6),
            prose=(1,),
        ),
    ]  # fmt: skip


def search_path(page: Page) -> list[Block]:
    """How the widths went, and every network at once."""
    names = ("widths_by_network", "parallel_coordinates")
    return [Figure(page.charts[name]) for name in names if name in page.charts]


def layers(page: Page) -> list[Block]:
    """Lambda by layer, the start left and the recommended network right."""
    chart = page.charts.get("lambda_by_layer")
    start, best = page.record.start, page.record.recommended
    if chart is None or start is None:
        return []
    right = best if best is not None and page.record.smaller else None
    parts = [("start", start), *([("recommended", right)] if right else [])]
    names = dict.fromkeys(layer for _, n in parts for layer in n.lam)
    nulls = any(n.null for _, n in parts)
    head = ["layer"]
    for name, _ in parts:
        head += [f"lambda, {name}", *([f"random kernels, {name}"] if nulls else [])]
    rows = []
    for layer in names:
        row = [layer]
        for _, network in parts:
            tables = (network.lam, network.null) if nulls else (network.lam,)
            row += [f"{t[layer]:.4f}" if layer in t else "no such layer" for t in tables]
        rows.append(tuple(row))
    note = (
        "Read lambda against its value for random kernels of the same shape."
        if nulls
        else "The run did not record lambda of random kernels; ckrm-tf measure gives it for the "
        "export."
    )
    return [
        Figure(chart),
        Table(
            "lambda",
            "Lambda (share of kernel pairs that are too alike), mean over trainings, as Table 3 of "
            "arXiv 2212.00272: start left, recommended right.",
            tuple(head),
            tuple(rows),
            numeric=tuple(range(1, len(head))),
        ),
        Text(note, "note"),
    ]
