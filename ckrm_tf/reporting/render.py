"""The record through the templates: page, Markdown twin, model card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ckrm_tf.reporting import words
from ckrm_tf.reporting.charts.page import as_script_data
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.overview import headline
from ckrm_tf.reporting.sections.paper import methods
from ckrm_tf.reporting.sections.registry import SECTIONS
from ckrm_tf.reporting.tables import data_files


def html(page: Page, *, plotly: str | None, images: Mapping[str, str]) -> str:
    """The self-contained page.

    Args:
        page: the record with its figures and answers.
        plotly: the whole of plotly.js, or None to show the drawings for paper instead.
        images: these drawings as data URIs, by name.
    """
    return _environment(html=True).get_template("report.html.j2").render(
        record=page.record,
        parts=parts(page),
        data=", ".join(data_files(page.record)),
        plotly=plotly,
        images=images,
        chart_data=as_script_data(page.charts.values()),
    )  # fmt: skip


def markdown(page: Page) -> str:
    """The same in Markdown; its figures are those of the folder figures/."""
    text = _environment().get_template("report.md.j2").render(
        record=page.record, parts=parts(page)
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text)


def model_card(page: Page) -> str | None:
    """The card of the exported network; None without an export."""
    record = page.record
    if record.export is None or record.start is None or record.recommended is None:
        return None
    return _environment().get_template("MODEL_CARD.md.j2").render(
        record=record,
        start=record.start,
        best=record.recommended,
        export=record.export,
        words=words,
        headline=headline(record),
        methods=methods(record),
        warning=[one for one in page.answers if one[1].state == "warns"],
    )  # fmt: skip


def parts(page: Page) -> list[dict[str, Any]]:
    """Every part that has something to show, with its blocks."""
    ours = [section for section in SECTIONS if page.record.kind in section.kinds]
    found = [(section, section.make(page)) for section in ours]
    return [{"name": s.name, "title": s.title, "blocks": blocks} for s, blocks in found if blocks]


def _environment(*, html: bool = False) -> Environment:
    found = Environment(
        loader=PackageLoader("ckrm_tf.reporting"),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters |= {"line": _line, "cell": _cell}
    return found


def _line(text: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([<>*`\[\]])", r"\\\1", " ".join(str(text).split()))


def _cell(text: Any) -> str:
    return _line(text).replace("|", "\\|")
