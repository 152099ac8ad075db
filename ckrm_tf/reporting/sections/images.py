"""What happens to single classes and single images."""

from __future__ import annotations

from ckrm_tf.reporting import words
from ckrm_tf.reporting.sections.base import Block, Figure, Page, Pictures, Table, Text

# Rows and pictures of a readable page.
MOST_ROWS, MOST_PICTURES = 100, 24
HOW = "ckrm-tf report RUN --cases"


def classes(page: Page) -> list[Block]:
    """AUC and sensitivity of each class, and the ROC curves."""
    rows = page.record.classes
    if not rows:
        return [Text(f"Not measured. ckrm-tf final RUN gives figures by class, {HOW} too.")]
    over = dict.fromkeys(row.auc[0].over for row in rows if row.auc[0].over)
    blocks: list[Block] = [
        Table(
            "classes",
            f"Each class against the rest. In brackets: {'; '.join(over) or 'no interval'}. "
            "Sensitivity is the share of a class's images that the largest probability names.",
            (
                "class", "images", "AUC, start", "AUC, recommended", "change",
                "sensitivity, start", "sensitivity, recommended", "split", "file",
            ),
            tuple(
                (
                    row.name,
                    words.NONE if row.images is None else words.whole(row.images),
                    words.estimate(row.auc[0]),
                    words.estimate(row.auc[1]),
                    words.signed(row.auc[1].value - row.auc[0].value),
                    words.estimate(row.sensitivity[0]),
                    words.estimate(row.sensitivity[1]),
                    row.split,
                    row.source,
                )
                for row in rows
            ),
            numeric=(1, 2, 3, 4, 5, 6),
        )
    ]  # fmt: skip
    if "roc_curves" in page.charts:
        blocks.append(Figure(page.charts["roc_curves"]))
    return blocks


def disagreements(page: Page) -> list[Block]:
    """The images for which the two trained networks name different classes."""
    found = page.record.disagreements
    if found is None:
        return [Text(f"Not looked at: it takes the images. {HOW} reads them again.")]
    if not found:
        return [Text("None: both trained networks name the same class for every image.")]
    wrong = sum(d.recommended != d.label for d in found)
    blocks: list[Block] = [
        Text(
            f"{words.plural(len(found), 'image')} of the {page.record.cases}: the recommended "
            f"network is wrong on {wrong}, the start on {sum(d.start != d.label for d in found)}."
        )
    ]
    pictures = tuple(
        (d.picture, f"image {d.image}: {d.label}; start {d.start}, recommended {d.recommended}")
        for d in found
        if d.picture
    )[:MOST_PICTURES]
    if pictures:
        blocks.append(
            Text(
                "Left the image; then, where a network has one, the class activation map of the "
                "class that it names, over the image: start, recommended.",
                "note",
            )
        )
        blocks.append(Pictures(pictures))
    left = f" The first {MOST_ROWS} of {len(found):,}." if len(found) > MOST_ROWS else ""
    blocks.append(
        Table(
            "disagreements",
            f"Images by their place in the {page.record.cases}, counted from 0.{left}",
            ("image", "true class", "start says", "recommended says"),
            tuple((str(d.image), d.label, d.start, d.recommended) for d in found[:MOST_ROWS]),
        )
    )
    return blocks
