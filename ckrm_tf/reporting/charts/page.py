"""Figures for the page: Plotly's script where it is installed, the drawing for paper elsewhere."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckrm_tf.reporting.charts.base import COLOURS, DARK, SERIES, SERIES_SYMBOLS, SYMBOLS, Chart


def plotly_script() -> str | None:
    """The whole of plotly.js, to stand in the page; None where Plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - a second, and it may be missing
    except ImportError:
        return None
    return str(get_plotlyjs())


def as_script_data(charts: Iterable[Chart]) -> str:
    """The figures' data as JSON that may stand inside a script element."""
    found = {
        "charts": [chart.to_dict() for chart in charts],
        "colours": {"light": COLOURS, "dark": DARK},
        "series": SERIES,
        "series_symbols": SERIES_SYMBOLS,
        "symbols": SYMBOLS,
    }
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c")


def as_image(svg: Path) -> str:
    """An SVG file as a data URI."""
    return f"data:image/svg+xml;base64,{b64encode(svg.read_bytes()).decode()}"


def images(figures: Mapping[str, Path]) -> dict[str, str]:
    """Data URIs by the name of the figure."""
    return {name: as_image(path) for name, path in figures.items()}
