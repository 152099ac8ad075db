"""The site of the documentation: it builds strictly, holds every public name, fetches nothing."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ckrm_tf
import ckrm_tf.stats

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parent.parent
# What a browser loads by itself: scripts, style sheets, fonts, pictures and frames.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(https?:[^"'\s>]+)"""
    r"""|<link(?=[^>]*rel=["']?(?:stylesheet|preconnect|preload|icon))[^>]*href=["']?(https?:[^"'\s>]+)"""
)


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The site of a checkout, as `mkdocs build --strict` makes it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks():
    return runpy.run_path(str(ROOT / "docs" / "site" / "hooks.py"))


@pytest.mark.parametrize("name", [*ckrm_tf.__all__, *ckrm_tf.stats.__all__])
def test_every_public_name_has_a_heading(site, name):
    pages = "".join(page.read_text() for page in site.glob("api/*/index.html"))
    assert re.search(rf'<h[23] id="ckrm_tf\.(\w+\.)*{name}"', pages)


def test_the_build_looks_for_all_of_them(hooks):
    assert hooks["public_names"]() == {*ckrm_tf.__all__, *ckrm_tf.stats.__all__}


@pytest.mark.parametrize("name", ["narrow", "non_inferiority"])
def test_the_build_fails_when_one_has_no_page(tmp_path, name):
    for part in ("docs", "ckrm_tf"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / part, tmp_path)
    for page in (tmp_path / "docs" / "api").glob("*.md"):
        text = page.read_text()
        page.write_text(re.sub(rf"^::: ckrm_tf\.(\w+\.)*{name}$", "", text, flags=re.MULTILINE))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode
    assert f"without a page of the API: {name}\n" in done.stderr


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert not {page.name: found for page in pages if (found := LOADED.findall(page.read_text()))}
    sheets = "".join(sheet.read_text() for sheet in site.rglob("*.css"))
    assert not re.search(r"url\(.?https?:|@import", sheets)


def test_what_a_page_would_load_is_seen():
    assert LOADED.search('<script src="https://cdn.example/x.js">')
    assert LOADED.search('<link href="https://cdn.example/x.css" rel="stylesheet">')
    assert not LOADED.search('<a href="https://arxiv.org/abs/2212.00272">')


def test_examples_are_code(site):
    page = (site / "api" / "measuring" / "index.html").read_text()
    assert "&gt;&gt;&gt;" in page
    assert "<blockquote>" not in page


def test_links_out_of_the_folder_lead_to_copies(site, hooks):
    rewritten = hooks["rewritten"]
    assert rewritten("[a](../configs/cxr.yaml)", "data.md") == "[a](repository/configs/cxr.yaml)"
    assert rewritten("[a](../../CHANGELOG.md#x)", "api/a.md") == "[a](../changelog.md#x)"
    assert rewritten("[a](notebooks/a.ipynb)", "index.md") == "[a](notebooks/a.md)"
    # What is not there stays, and the strict build refuses it.
    assert rewritten("[a](../configs/none.yaml)", "data.md") == "[a](../configs/none.yaml)"
    copy = site / "repository" / "configs" / "default.yaml"
    assert copy.read_text() == (ROOT / "configs" / "default.yaml").read_text()


def test_a_notebook_is_a_page_with_its_outputs(site, hooks):
    notebook = json.loads((ROOT / "docs" / "notebooks" / "narrow.ipynb").read_text())
    text = hooks["as_markdown"](notebook)
    assert text.startswith("# Narrow a model\n")
    assert "```text\ngroup   width" in text
    page = (site / "notebooks" / "narrow" / "index.html").read_text()
    assert '<h1 id="narrow-a-model">' in page
    assert "<img" in (site / "notebooks" / "search" / "index.html").read_text()
