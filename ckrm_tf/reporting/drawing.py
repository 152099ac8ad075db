"""The network as a drawing: each width before and after, to scale, as inline SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ckrm_tf.reporting.charts.base import COLOURS
from ckrm_tf.reporting.record import AxisRow, Record
from ckrm_tf.reporting.words import share

# In units of the drawing, which is stretched to the width of the page.
WIDTH, ROW, BAR, TEXT = 440.0, 35.0, 6.0, 12.0
BLOCK = 10.0
# Rows of a readable drawing: of more, those that lost most are drawn.
MOST_ROWS = 24


def drawing(record: Record) -> tuple[str, str] | None:
    """The drawing, and what it shows in words; None where no width is known."""
    rows = [a for a in record.axes if a.recommended is not None]
    if not rows:
        return None
    shown, left_out = _chosen(rows)
    scale = (WIDTH - 4) / max(a.start for a in shown if a.kind == "width")
    parts, y, group = [], TEXT, None
    for axis in shown:
        if axis.group not in (group, axis.name):
            parts.append(_text(0, y, axis.group, "group"))
            y += TEXT + 4
        group = axis.group
        parts.append(_row(axis, y, scale))
        y += ROW
    words = (
        "Bars are channels, all to one scale; squares are blocks or layers. "
        "Upper bar: start. Lower bar: recommended."
    )
    if left_out:
        words += f" {left_out} further widths, which lost fewer channels, are not drawn."
    label = "; ".join(f"{a.name} from {a.start} to {a.recommended}" for a in shown)
    svg = (
        f'<svg class="network" viewBox="0 0 {WIDTH:g} {y:g}" role="img" '
        f'aria-label="{escape(label, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(parts)}</svg>"
    )
    return svg, words


def for_paper(svg: str) -> str:
    """The drawing with colours of its own, where no page gives it any."""
    rules = (
        "text{font-family:sans-serif}.group{font-weight:700}.gone{fill:#d5d9de}"
        f".start{{fill:{COLOURS['start']};opacity:.45}}.recommended{{fill:{COLOURS['recommended']}}}"
    )
    return svg.replace(">", f"><style>{rules}</style>", 1)


def _chosen(rows: Sequence[AxisRow]) -> tuple[list[AxisRow], int]:
    if len(rows) <= MOST_ROWS:
        return list(rows), 0
    lost = sorted(rows, key=lambda a: (a.recommended or 0) - a.start)[:MOST_ROWS]
    return [a for a in rows if a in lost], len(rows) - MOST_ROWS


def _row(axis: AxisRow, y: float, scale: float) -> str:
    after = axis.recommended or 0
    unit = "channels" if axis.kind == "width" else "blocks"
    words = f"{axis.name}: {axis.start} → {after} {unit} ({share(after, axis.start)})"
    text = _text(0, y, words, "row")
    if axis.kind == "width":
        return (
            text
            + _bar(y + 5, axis.start * scale, "start")
            + _bar(y + 5 + BAR + 1, after * scale, "recommended")
        )
    # As many squares as fit: depths of residual networks stay below that.
    step = min(BLOCK + 3, WIDTH / max(axis.start, 1))
    squares = [
        f'<rect class="{"recommended" if i < after else "gone"}" x="{i * step:.1f}" y="{y + 6:g}" '
        f'width="{step - 3:.1f}" height="{BLOCK:g}"/>'
        for i in range(axis.start)
    ]
    return text + "".join(squares)


def _bar(y: float, width: float, kind: str) -> str:
    # What is there is seen, however narrow.
    return f'<rect class="{kind}" x="0" y="{y:g}" width="{max(width, 0.8):.1f}" height="{BAR:g}"/>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{TEXT:g}">{escape(words)}</text>'
