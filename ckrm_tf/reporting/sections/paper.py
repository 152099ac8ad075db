"""For a paper: a Methods paragraph from the record, and what the run answers of CLAIM 2024."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.reporting import words
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.recorded import way_of
from ckrm_tf.reporting.sections.base import Block, Page, Table, Text

# Of the updated Checklist for Artificial Intelligence in Medical Imaging (Tejani et al., Radiology:
# Artificial Intelligence 2024), those on which a run has something to say.
Item = tuple[int, str, Callable[[Record], str]]


def paper(page: Page) -> list[Block]:
    """The Methods paragraph, then the items of the checklist."""
    record = page.record
    answered = [(n, topic, say(record)) for n, topic, say in CLAIM]
    return [
        Text("Methods, from the record; add what it cannot know (patients, scanners, approval):"),
        Text(methods(record)),
        Table(
            "claim",
            "Items of the CLAIM checklist (2024 update) that a run can answer. The others are "
            "about the study. Compare the numbers with the published list before use.",
            ("item", "topic", "what the run says"),
            tuple((str(n), topic, text or "the run does not tell") for n, topic, text in answered),
            prose=(2,),
            stacked=True,
        ),
    ]


def methods(record: Record) -> str:
    """A paragraph of Methods: only what is recorded is said, and no figure is worked out anew."""
    start, best = record.start, record.recommended
    if start is None:
        return "Nothing has been trained."
    if record.kind == "narrow":
        return " ".join(filter(None, (_narrowing(record), _judging(record), _software(record))))
    parts = [_network(record), _training(record), _search(record)]
    if best is not None and record.smaller:
        parts.append(
            f"The recommended network has {words.whole(best.params)} trainable parameters and "
            f"{words.amount(best.macs)} multiply-accumulates for an image."
        )
    return " ".join(filter(None, (*parts, _judging(record), _software(record))))


def _narrowing(record: Record) -> str:
    start, best = record.start, record.recommended
    if start is None or best is None:
        return ""
    return (
        f"A trained network of {words.whole(start.params)} trainable parameters was narrowed with "
        f"its weights to {words.whole(best.params)}."
    )


def _network(record: Record) -> str:
    given, start = record.settings, record.start
    kind = "A network brought by the user"
    if "family" in given and "model_file" not in given:
        kind = f"A network of the family {given['family']}"
    macs = "" if start is None else f"{words.amount(start.macs)} multiply-accumulates for an image"
    params = "" if start is None else words.whole(start.params)
    return f"{kind} with {params} trainable parameters and {macs} was the start."


def _training(record: Record) -> str:
    given = record.settings
    parts = []
    for key, text in (
        ("epochs", "{} epochs"),
        ("batch_size", "batches of {} images"),
        ("learning_rate", "Adam at a learning rate of {} with a cosine decay"),
        ("l1", "an L1 penalty of {} on convolution kernels"),
        ("shift", "random shifts of up to {} pixels"),
    ):
        if key in given:
            parts.append(text.format(f"{given[key]:g}"))
    size = given.get("image_size")
    side = "x".join(map(str, size)) if isinstance(size, list) else size and f"{size}x{size}"
    images = f" on images of {side} pixels" if side else ""
    if not parts:
        return ""
    told = f"Every network was trained alike{images}: {', '.join(parts)}."
    way = way_of(given)
    if not way.inherits:
        return told
    taught = "were taught by the start's probabilities" if way.distill else ""
    begun = f"began as its mended slices, {way.epochs(given['epochs'])} epochs" if way.slice else ""
    return (
        f"{told} In the search the networks other than the start "
        f"{' and '.join(p for p in (taught, begun) if p)}; the recommended one was trained again "
        "without."
    )


def _search(record: Record) -> str:
    given = record.settings
    if record.margin is None:
        return ""
    return (
        f"Widths were chosen by the strategy {given.get('strategy', 'ckrm')} (criterion "
        f"{given.get('criterion', 'ckrm')}) from {words.plural(len(record.trainings), 'training')} "
        f"of {words.plural(len(record.tried), 'network')}; a network was taken whose mean "
        f"validation AUC was at most half of the margin of {record.margin:g} below that of the "
        "start, with the fewest parameters."
    )


def _judging(record: Record) -> str:
    verdict = record.verdict
    if verdict is None or not record.smaller:
        return ""
    how = (
        "readers-by-cases variance over trainings and images"
        if verdict.about == "networks"
        else "DeLong's paired variance over images"
    )
    return (
        f"Non-inferiority of the macro AUC was tested at a margin of {verdict.margin:g} ({how}). "
        + words.verdict(verdict)
    )


def _software(record: Record) -> str:
    if not record.versions:
        return ""
    return "Software: " + ", ".join(f"{k} {v}" for k, v in sorted(record.versions.items())) + "."


def _counts(record: Record) -> str:
    return "; ".join(
        f"{split}: " + ", ".join(f"{n:,} {name}" for name, n in by_class.items())
        for split, by_class in record.counts.items()
    )


def _model(record: Record) -> str:
    best = record.recommended
    return "" if best is None else f"{best.text}: {words.whole(best.params)} trainable parameters"


def _precision(record: Record) -> str:
    best = record.recommended
    found = None if best is None else best.test_auc or best.trained_auc
    return "" if found is None else f"AUC on unseen images {words.estimate(found)}"


def _failures(record: Record) -> str:
    if record.disagreements is None:
        return ""
    found = words.plural(len(record.disagreements), "image")
    return f"{found} on which start and recommended disagree are listed"


def _both_splits(record: Record) -> str:
    best = record.recommended
    if best is None:
        return ""
    return (
        f"validation AUC {words.estimate(best.val_auc)}; unseen images "
        f"{words.estimate(best.test_auc or best.trained_auc)}"
    )


def _prepared(record: Record) -> str:
    found = record.export
    if found is None or not found.input_shape:
        return ""
    shape = "x".join(map(str, found.input_shape))
    return (
        f"images of {shape} (height, width, channels), pixels divided by {found.scale:g}"
        if (found.scale)
        else f"images of {shape} (height, width, channels)"
    )


def _initial(record: Record) -> str:
    if record.kind == "narrow":
        return "weights of the given model"
    if "model_file" in record.settings:
        scratch = record.settings.get("from") == "scratch"
        return "fresh weights" if scratch else "mended slices of the given model"
    sliced = way_of(record.settings).slice
    others = "; in the search the others began as mended slices of the start" if sliced else ""
    return f"fresh weights, by the seed of each training{others}" if record.tried else ""


CLAIM: tuple[Item, ...] = (
    (7, "Data sources", lambda r: str(r.settings.get("data", ""))),
    (9, "Data preprocessing", _prepared),
    (19, "How data were assigned to partitions", _counts),
    (22, "Description of the model", _model),
    (23, "Software and versions", _software),
    (24, "Initialization of the parameters", _initial),
    (25, "Details of training", _training),
    (26, "How the final model was selected", _search),
    (28, "Metrics of performance", lambda r: "macro AUC over classes" if r.tried else ""),
    (29, "Measures of significance and uncertainty", _judging),
    (31, "Explainability", lambda r: "lambda by layer" if r.start and r.start.lam else ""),
    (32, "Evaluation on internal data", lambda r: words.verdict(r.verdict) if r.verdict else ""),
    (37, "Performance on all partitions", _both_splits),
    (38, "Performance with its precision", _precision),
    (39, "Failure analysis", _failures),
    (43, "Availability", lambda r: f"export in {r.export.folder}" if r.export else ""),
)
