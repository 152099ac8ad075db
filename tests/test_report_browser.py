"""The page of a report in a real browser, where there is one: nothing cut off, nothing fetched."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from report_records import HELD, compared_rows, full_record, make_comparison, make_folder

from ckrm_tf.reporting import render
from ckrm_tf.reporting.charts.page import plotly_script
from ckrm_tf.reporting.charts.registry import charts_of
from ckrm_tf.reporting.checks.registry import answers
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.registry import SECTIONS

sync_api = pytest.importorskip("playwright.sync_api")

SIZES, SCHEMES = (1280, 400), ("light", "dark")
# Without a browser of Playwright's own.
INSTALLED = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
COMPARED = "compared"
OF_SEARCH = [section for section in SECTIONS if "search" in section.kinds]

CUT_OFF = """() => [...document.querySelectorAll("main *, header *, nav *, footer *")]
  .filter((e) => !e.closest(".scroll") || e.classList.contains("scroll"))
  .filter((e) => !e.closest(".skip, .hidden") && e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => `${e.tagName} ${e.id} ${e.getBoundingClientRect().right}`)"""
# Two blocks of the page that share a place.
OVERLAP = """() => {
  const found = [];
  for (const part of document.querySelectorAll("main > section")) {
    const boxes = [...part.children].map((e) => [e, e.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i++) for (let k = i + 1; k < boxes.length; k++) {
      const [a, b] = [boxes[i][1], boxes[k][1]];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 1) found.push(`${part.id}: ${i} and ${k}`);
    }
  }
  return found;
}"""
# Text of a figure that its frame cuts.
CUT_TEXT = """() => [...document.querySelectorAll(".chart")].flatMap((chart) => {
  const frame = chart.getBoundingClientRect();
  return [...chart.querySelectorAll("text")].filter((t) => t.textContent).filter((t) => {
    const box = t.getBoundingClientRect();
    return box.width && (box.right > frame.right + 2 || box.left < frame.left - 2
      || box.bottom > frame.bottom + 2 || box.top < frame.top - 2);
  }).map((t) => `${chart.id}: ${t.textContent}`);
})"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        own = Path(play.chromium.executable_path)
        found = str(own) if own.exists() else next(filter(None, map(shutil.which, INSTALLED)), None)
        if found is None:
            pytest.skip("no Chromium is installed")
        # Chromium refuses its sandbox to root, as tests in a container run.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        open_one = play.chromium.launch(executable_path=found, args=options)
        yield open_one
        open_one.close()


def many_strategies(folder: Path) -> Path:
    """The recorded comparison under the names of all ten strategies."""
    names = (
        "ckrm", "noise", "random", "scores", "signals", "uniform", "random_linear", "bayesian",
        "hyperband", "screening",
    )  # fmt: skip
    runs, held = list(compared_rows().values()), list(HELD.values())
    rows = {
        name: [[replace(row, strategy=name) for row in each] for each in runs[i % len(runs)]]
        for i, name in enumerate(names)
    }
    told = {name: held[i % len(held)] for i, name in enumerate(names)}
    return make_comparison(folder, rows, held=told)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of 3, 20 and 500 trials, that of 20 with everything that a report can hold.

    And one of a comparison of ten strategies.
    """
    folder = tmp_path_factory.mktemp("pages")
    plotly = plotly_script()
    found = {}
    for trials in (3, 20, 500, COMPARED):
        if trials == COMPARED:
            record = collect(many_strategies(folder / trials))
        else:
            run = make_folder(folder / str(trials), trials, ended=trials == 20)
            record = full_record(run) if trials == 20 else collect(run)
        page = Page(replace(record, made="now"), charts_of(record), answers(record))
        found[trials] = folder / f"{trials}.html"
        found[trials].write_text(render.html(page, plotly=plotly, images={}))
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("trials", [3, 20, 500, COMPARED])
def test_a_page_is_whole_and_quiet(browser, pages, trials, width, scheme):
    said, asked = [], []
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme
    ) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[trials].as_uri())
        page.wait_for_function(
            "document.documentElement.dataset.drawn === 'yes'", timeout=1000 * SECONDS
        )
        wide, cut, overlap, text = (
            page.evaluate("document.scrollingElement.scrollWidth"),
            page.evaluate(CUT_OFF),
            page.evaluate(OVERLAP),
            page.evaluate(CUT_TEXT),
        )
        drawn = page.locator(".chart .main-svg").count()
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    assert wide <= width
    assert (cut, overlap, text) == ([], [], [])
    # Of AUC, widths, all networks and lambda; ROC curves only with predictions; of a comparison
    # trainings, time and AUC.
    assert drawn >= {20: 5, COMPARED: 3}.get(trials, 4)
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_looks_see_what_is_wrong(browser, pages, tmp_path):
    text = pages[3].read_text()
    bad = tmp_path / "bad.html"
    extra = (
        '<p style="width:1500px">wide</p><p style="margin-top:-40px">over</p>'
        '<img src="https://example.org/x.png" alt="x"><script>nothing()</script>'
    )
    bad.write_text(text.replace("</section>", f"{extra}</section>", 1))
    said = []
    with browser.new_context(viewport={"width": 400, "height": 900}) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(bad.as_uri())
        assert page.evaluate("document.scrollingElement.scrollWidth") > 400
        assert page.evaluate(CUT_OFF)
        assert page.evaluate(OVERLAP)
    # The page's own policy refuses the image; the script is an error.
    assert any("Content Security Policy" in line for line in said)
    assert any("nothing is not defined" in line for line in said)


def test_the_keyboard_goes_through_the_page_in_its_order(browser, pages):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(pages[20].as_uri())
        page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
        places = []
        for _ in range(len(OF_SEARCH) + 12):
            page.keyboard.press("Tab")
            places.append(
                page.evaluate(
                    "[document.activeElement.tagName, document.activeElement.className,"
                    " document.activeElement.getBoundingClientRect().top + scrollY]"
                )
            )
    assert places[0][:2] == ["A", "skip"]
    assert [tag for tag, _, _ in places[1 : len(OF_SEARCH) + 1]] == ["A"] * len(OF_SEARCH)
    tops = [top for tag, kind, top in places if "scroll" in kind]
    assert len(tops) > 5
    assert tops == sorted(tops)
