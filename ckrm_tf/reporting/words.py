"""Numbers as a report writes them: each with its unit, none with digits that mean nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.reporting.comparison import Spread
from ckrm_tf.reporting.record import Estimate, Verdict

NONE = "not measured"

_STATUS = {
    "equivalent": "Equivalent",
    "non-inferior": "Not inferior",
    "not shown": "Not shown to be non-inferior",
    "no verdict": "No verdict",
}


def whole(number: int) -> str:
    """A count with separators: 23,534,467."""
    return f"{number:,}"


def amount(number: float) -> str:
    """A large count with three digits: 151 k, 3.84 M, 4.09 G.

    Example:
        >>> amount(3_840_000), amount(999_600), amount(12)
        ('3.84 M', '1 M', '12')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # From where three digits round up to it.
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def size(count: int) -> str:
    """Bytes on disk: 812 B, 13.5 KiB, 90.2 MiB."""
    for unit, one in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= one:
            return (
                f"{count / one:.3g} {unit}" if count < 999.5 * one else f"{count / one:,.0f} {unit}"
            )
    return f"{count} B"


def milliseconds(seconds: float) -> str:
    """A short time: 0.42 ms, 12.3 ms, 1,204 ms."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds * 1e3:,.0f} ms"


def duration(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def share(part: float, of: float) -> str:
    """A share in per cent with three digits; "no share" of nothing."""
    return f"{100 * part / of:.3g}%" if of else "no share"


def times(more: float, less: float) -> str:
    """How many times as much: "258 times fewer", "the same"; of nothing, nothing is said."""
    if not less or not more:
        return ""
    if more == less:
        return "the same"
    return f"{more / less:.3g} times fewer" if more > less else f"{less / more:.3g} times more"


def auc(value: float | None) -> str:
    """An AUC with three digits."""
    return NONE if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.3f}"


def estimate(found: Estimate | None) -> str:
    """An AUC or share with its bounds: 0.895 [0.877, 0.912]."""
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return f"{found.value:.3f} (no interval)"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def number(value: float) -> str:
    """A number without digits that mean nothing: 44,732, 7.5."""
    return f"{value:g}" if value < 100 else f"{value:,.0f}"


def spread(found: Spread | None, say: Callable[[float], str] = number) -> str:
    """Median and range over repeats: 44,732 (33,519 to 67,784); of equal ones their number.

    Example:
        >>> spread(Spread.of([8, 2, None])), spread(Spread.of([3, 3]))
        ('8 (2 to never)', '3')
    """
    if found is None:
        return NONE
    middle, low, high = (
        "never" if v is None else say(v) for v in (found.median, found.low, found.high)
    )
    return middle if low == high else f"{middle} ({low} to {high})"


def per_cent(confidence: float) -> str:
    """A level of confidence: 95%."""
    return f"{100 * confidence:g}%"


def verdict(found: Verdict | None) -> str:
    """The verdict in a sentence or two."""
    if found is None:
        return "No verdict: no unseen images have judged the recommended network."
    images = f"{whole(found.images)} images, " if found.images else ""
    where = f"{images}{found.split}"
    told = f"the AUC differs by {signed(found.difference)}"
    if found.low is None or found.high is None:
        return (
            f"No verdict about networks ({where}): {told}, margin {found.margin:g}. "
            "That takes two trainings of each network, or folds: ckrm-tf final."
        )
    interval = (
        f"{told}, {per_cent(found.confidence)} interval [{signed(found.low)}, {signed(found.high)}]"
    )
    about = (
        "for networks trained anew"
        if found.about == "networks"
        else "for these two trained models, not for other trainings"
    )
    text = (
        f"{_STATUS[found.status]} at a margin of {found.margin:g} ({where}): {interval}, {about}."
    )
    if found.status == "not shown":
        text += (
            " The whole interval lies below 0: some AUC was lost."
            if found.high < 0
            else " The interval reaches beyond the margin; that is no proof of a loss."
        )
    return text


def status(found: Verdict) -> str:
    """The verdict in two words."""
    return _STATUS[found.status].lower()


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun: "1 training", "3 trainings"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
