"""Checks of where the recommendation lies among what was or could be tried: R003, R004."""

from __future__ import annotations

from ckrm_tf.reporting.checks.base import Answer, cannot_tell, quiet, warns
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.words import plural

# Names told before "and so many more".
MOST_NAMES = 6


def at_the_floor(record: Record) -> Answer:
    """R003: whether a width of the recommendation is the smallest that the search may try."""
    if not record.smaller or record.kind != "search":
        return cannot_tell("Nothing smaller than the start is recommended by a search.")
    widths = [a for a in record.axes if a.kind == "width" and a.least < a.start]
    low = [a for a in widths if a.recommended is not None and a.recommended <= a.least]
    if not low:
        return quiet(f"None of {plural(len(widths), 'width')} is at its floor.")
    names = ", ".join(f"{a.name} {a.recommended}" for a in low[:MOST_NAMES])
    more = f" and {len(low) - MOST_NAMES} more" if len(low) > MOST_NAMES else ""
    return warns(
        f"{len(low)} of {plural(len(widths), 'width')} cannot fall further: {names}{more} "
        "(channels). A lower --floor would let the search go on."
    )


def at_the_edge(record: Record) -> Answer:
    """R004: whether the search has seen where the AUC gives way."""
    if record.kind != "search" or record.recommended is None:
        return cannot_tell("No recommendation of a search.")
    done = [t for t in record.tried if t.aucs]
    if not record.smaller:
        if len(done) < 2:
            return cannot_tell("Only the starting network was trained.")
        return warns(
            f"The start itself is recommended: none of {plural(len(done) - 1, 'smaller network')} "
            "held. Try a gentler first step (--bold 0.7), more trials or more seeds."
        )
    chosen = next((t for t in done if t.role == "recommended"), None)
    if chosen is None:
        return cannot_tell("The recommended network has no training in the journal.")
    below = [t for t in done if t.params < chosen.params]
    if not below:
        return warns(
            "No smaller network was trained than the one recommended, so the search has not seen "
            "where the AUC gives way. Go on with more --trials."
        )
    return quiet(
        f"{plural(len(below), 'smaller network')} were trained and not chosen."
        if len(below) > 1
        else "One smaller network was trained and not chosen."
    )
