"""What a figure is, before it is drawn: marks on two axes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# A mark's role decides its colour and its symbol, on the page and on paper alike.
Role = Literal[
    "start", "recommended", "front", "other", "lost", "random", "training", "limit", "series"
]  # fmt: skip

COLOURS: dict[str, str] = {
    "start": "#0072B2",
    "recommended": "#C04A00",
    "front": "#007A55",
    "other": "#767676",
    "lost": "#B0B0B0",
    "random": "#9A6A8C",
    "training": "#B0B0B0",
    "limit": "#767676",
}

# On a dark page the same hues, lighter.
DARK: dict[str, str] = {
    "start": "#56B4E9",
    "recommended": "#FF9E57",
    "front": "#3DCF9C",
    "other": "#A8A8A8",
    "lost": "#6E6E6E",
    "random": "#D6A3C4",
    "training": "#6E6E6E",
    "limit": "#A8A8A8",
}

SYMBOLS: dict[str, str] = {
    "start": "square",
    "recommended": "star",
    "front": "diamond",
    "other": "circle",
    "lost": "x",
    "random": "triangle-up",
    "training": "circle-open",
}

# Of lines that stand beside each other: readable on a light and on a dark page.
SERIES = (
    "#0072B2", "#C04A00", "#008F66", "#A05A8C", "#7A7A00", "#4E79A7", "#B5566B", "#5E8C31",
    "#8C6D1F", "#7272C0",
)  # fmt: skip
# Points of the same kinds, which colour alone need not tell apart.
SERIES_SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "pentagon",
    "triangle-left", "star", "triangle-right",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """Points, a line, or a band of one kind.

    Attributes:
        name: in the legend.
        x, y: numbers, or names of places on the axis; None breaks a line.
        role: see `COLOURS`; "series" takes the next of `SERIES`.
        low, high: ends of the bar through each point, or edges of a band; () for none.
        text: what is shown of a point when it is pointed at; () for none.
        dashed: of a line.
        listed: stands in the legend.
        thin: of a line that is one of many.
        step: of a line or band that keeps its height until its next place.
        tone: its place in `SERIES`; None: the next.
    """

    kind: Literal["points", "line", "band"]
    name: str
    x: tuple[float | str | None, ...]
    y: tuple[float | str | None, ...]
    role: Role = "other"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    text: tuple[str, ...] = ()
    dashed: bool = False
    listed: bool = True
    tone: int | None = None
    thin: bool = False
    step: bool = False


@dataclass(frozen=True)
class Scale:
    """One axis of a figure.

    Attributes:
        title: with the unit.
        kind: "linear", "log", "count" for whole numbers, or "names" for the places `names`.
        limits: from, to; None: what the marks need.
    """

    title: str
    kind: Literal["linear", "log", "count", "names"] = "linear"
    names: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: of its files.
        title: what it shows, in a few words.
        caption: how to read it, and what the bars are.
        height: on the page, in pixels.
    """

    name: str
    title: str
    caption: str
    x: Scale
    y: Scale
    marks: tuple[Mark, ...]
    height: int = 420

    def to_dict(self) -> Mapping[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
