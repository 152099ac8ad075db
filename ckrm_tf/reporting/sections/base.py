"""What a part of a report is made of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ckrm_tf.reporting.charts.base import Chart
from ckrm_tf.reporting.checks.base import Answer, Check
from ckrm_tf.reporting.record import Kind, Record


@dataclass(frozen=True)
class Page:
    """What every part is made from.

    Attributes:
        charts: the figures that there are, by name.
        answers: of every check.
    """

    record: Record
    charts: Mapping[str, Chart] = field(default_factory=dict)
    answers: tuple[tuple[Check, Answer], ...] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph; "lead" is the one to be read first, "note" an aside."""

    text: str
    kind: Literal["plain", "lead", "note"] = "plain"
    block: str = "text"


@dataclass(frozen=True)
class Items:
    """A list of short sentences."""

    items: tuple[str, ...]
    block: str = "items"


@dataclass(frozen=True)
class Code:
    """Lines to be typed or copied."""

    text: str
    block: str = "code"


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        name: of the table, for links and labels: letters and hyphens.
        numeric: columns that hold numbers, by their place.
        prose: columns that hold sentences or the widths of a network.
        stacked: on a narrow screen the cells of a row stand below each other.
        states: a word for each row that decides how it is marked, or ().
    """

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    prose: tuple[int, ...] = ()
    stacked: bool = False
    states: tuple[str, ...] = ()
    block: str = "table"


@dataclass(frozen=True)
class Figure:
    """One of the figures of `ckrm_tf.reporting.charts`, by name."""

    chart: Chart
    block: str = "figure"


@dataclass(frozen=True)
class Drawing:
    """An inline SVG that is its own description."""

    svg: str
    caption: str
    block: str = "drawing"


@dataclass(frozen=True)
class Pictures:
    """Pictures with a line each."""

    pictures: tuple[tuple[str, str], ...]
    block: str = "pictures"


Block = Text | Items | Code | Table | Figure | Drawing | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        name: its anchor.
        title: its heading.
        make: the blocks; an empty list leaves the part out.
        kinds: of records that it is a part of.
    """

    name: str
    title: str
    make: Callable[[Page], Sequence[Block]]
    kinds: tuple[Kind, ...] = ("search", "narrow")
