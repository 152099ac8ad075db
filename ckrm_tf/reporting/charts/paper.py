"""Figures as SVG and PNG, drawn by matplotlib on white paper."""

from __future__ import annotations

import io
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.charts.base import (
    COLOURS,
    SERIES,
    SERIES_SYMBOLS,
    Chart,
    Mark,
    Scale,
)

_MARKERS = {
    "start": "s",
    "recommended": "*",
    "front": "D",
    "other": "o",
    "lost": "x",
    "random": "^",
    "training": ".",
}
_SERIES_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "triangle-down": "v",
    "pentagon": "p",
    "triangle-left": "<",
    "star": "*",
    "triangle-right": ">",
}
_SIZES = {"recommended": 11.0, "start": 7.0, "training": 3.0, "series": 4.0}
PIXELS_AN_INCH = 160
# SVG files of equal figures are equal: no date, and names that no random number makes.
_FIXED: dict[Any, Any] = {"svg.hashsalt": "ckrm-tf", "svg.fonttype": "none"}


def write_figure(chart: Chart, folder: Path) -> tuple[Path, Path]:
    """Write NAME.svg and NAME.png; those of an earlier report are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = (folder / f"{chart.name}.{kind}" for kind in ("svg", "png"))
    # A Figure of its own rather than pyplot: no global state, no display needed.
    with mpl.rc_context(_FIXED):
        figure = draw(chart)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        write_atomically(svg, text.getvalue())
        figure.savefig(png, dpi=PIXELS_AN_INCH)
    return svg, png


def draw(chart: Chart) -> Figure:
    """The figure on white paper, its legend below it."""
    figure = Figure(figsize=(7, max(3.5, chart.height / 95)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    colours = cycle(SERIES)
    for mark in chart.marks:
        colour = COLOURS.get(mark.role) or (
            next(colours) if mark.tone is None else SERIES[mark.tone % len(SERIES)]
        )
        _draw(axes, chart, mark, colour)
    for scale, name in ((chart.x, "x"), (chart.y, "y")):
        _scale(axes, scale, name)
    axes.set_title(chart.title)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw(axes: Any, chart: Chart, mark: Mark, colour: str) -> None:
    label = mark.name if mark.listed else "_nolegend_"
    x, y = _values(chart.x, mark.x), _values(chart.y, mark.y)
    if mark.kind == "line":
        style = "--" if mark.dashed else "-"
        held = {"drawstyle": "steps-post"} if mark.step else {}
        wide = 0.5 if mark.thin else 1.4
        axes.plot(x, y, style, color=colour, label=label, linewidth=wide, **held)
        return
    if mark.kind == "band":
        held = {"step": "post"} if mark.step else {}
        axes.fill_between(x, mark.low, mark.high, color=colour, alpha=0.15, linewidth=0, **held)
        return
    if mark.low:
        # Bars of no length, of networks trained once, would draw their caps.
        rows = [i for i in range(len(y)) if mark.high[i] > mark.low[i]]
        below = [y[i] - mark.low[i] for i in rows]
        above = [mark.high[i] - y[i] for i in rows]
        axes.errorbar(
            [x[i] for i in rows],
            [y[i] for i in rows],
            yerr=[below, above],
            fmt="none",
            ecolor=colour,
            alpha=0.6,
            capsize=2,
        )
    marker = (
        _MARKERS.get(mark.role)
        or _SERIES_MARKERS[SERIES_SYMBOLS[(mark.tone or 0) % len(SERIES_SYMBOLS)]]
    )
    axes.plot(
        x, y, marker, color=colour, label=label, markersize=_SIZES.get(mark.role, 5.0), alpha=0.9
    )


def _values(scale: Scale, values: tuple[Any, ...]) -> list[float]:
    """Positions: a name's is its place on the axis, a gap's NaN."""
    places = {name: float(i) for i, name in enumerate(scale.names)}
    return [float("nan") if v is None else places.get(v, v) for v in values]


def _scale(axes: Any, scale: Scale, name: str) -> None:
    axes.set(**{f"{name}label": scale.title})
    if scale.kind == "log":
        axes.set(**{f"{name}scale": "log"})
    if scale.kind == "count":
        getattr(axes, f"{name}axis").set_major_locator(MaxNLocator(integer=True))
    if scale.kind == "names":
        labels = [label.replace("<br>", "\n") for label in scale.names]
        # Many names side by side need room.
        turned = {"rotation": 45, "ha": "right"} if name == "x" else {}
        ticks = axes.set_xticks if name == "x" else axes.set_yticks
        ticks(range(len(labels)), labels, fontsize=8, **turned)
    if scale.limits is not None:
        axes.set(**{f"{name}lim": scale.limits})
