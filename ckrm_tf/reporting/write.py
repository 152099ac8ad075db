"""One call writes everything that a report consists of into the run folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.charts.registry import charts_of
from ckrm_tf.reporting.checks.registry import answers
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.drawing import drawing, for_paper
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.tables import data_files

REPORT, FIGURES, CARD = "report.html", "figures", "MODEL_CARD.md"


def write_report(folder: str | Path) -> Path:
    """Summarise a run folder, and write its report there.

    Writes report.html (which needs no other file), report.md, report.json, trials.csv (of a
    comparison strategies.csv), table.tex and figures/, each anew; MODEL_CARD.md beside the export
    only where there is none. No other file of the folder is touched.

    Args:
        folder: the --out of `search.run`, `search.compare` or `search.narrow`.

    Returns:
        The path of report.html; without Jinja, which the page needs, that of report.json.

    Raises:
        CKRMError: another folder, or a damaged file in it.
    """
    place = Path(folder).expanduser()
    return write_record(place, collect(place))


def write_record(place: Path, record: Record) -> Path:
    """Write the report of a record into a folder; see `write_report`."""
    page = Page(record, charts_of(record), answers(record))
    write_atomically(
        place / "report.json", json.dumps(record.to_dict(), indent=1, default=str) + "\n"
    )
    for name, make in data_files(record).items():
        write_atomically(place / name, make(record))
    figures = _figures(place / FIGURES, page)
    if find_spec("jinja2") is None:
        return place / "report.json"
    _pages(place, page, figures)
    return place / REPORT


def _figures(folder: Path, page: Page) -> dict[str, Path]:
    from ckrm_tf.reporting.charts.paper import write_figure  # noqa: PLC0415 - matplotlib takes a second

    found = {name: write_figure(chart, folder)[0] for name, chart in page.charts.items()}
    drawn = drawing(page.record)
    if drawn is not None:
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "network.svg", for_paper(drawn[0]))
    return found


def _pages(place: Path, page: Page, figures: dict[str, Path]) -> None:
    from ckrm_tf.reporting import render  # noqa: PLC0415 - needs Jinja
    from ckrm_tf.reporting.charts.page import images, plotly_script  # noqa: PLC0415 - as above

    plotly = plotly_script()
    drawn = {} if plotly else images(figures)
    write_atomically(place / REPORT, render.html(page, plotly=plotly, images=drawn))
    write_atomically(place / "report.md", render.markdown(page))
    card, export = render.model_card(page), page.record.export
    if card is not None and export is not None and not (place / export.folder / CARD).exists():
        write_atomically(place / export.folder / CARD, card)
