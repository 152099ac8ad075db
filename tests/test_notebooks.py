"""The notebooks run, and show what they showed when they were committed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Cells of this tag give the same on every machine.
SAME = "same"
# A path from the root, as it stands in a message or in quotes.
PATH = re.compile(
    r"""(?:^|[\s"'(=])/(?:\w[\w.-]*/)+[\w.-]+|[A-Z]:\\\\|site-packages""", re.MULTILINE
)


def text_of(cell: dict) -> str:
    """What a cell printed and returned, without pictures and messages of libraries."""
    parts = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            parts.append(output["text"] if output["name"] == "stdout" else "")
        else:
            parts.append(output["data"]["text/plain"])
    return "".join("".join(part) for part in parts)


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def pair(request, tmp_path_factory):
    """A notebook as committed, and run from its beginning in a fresh kernel and an empty folder."""
    committed = nbformat.read(request.param, as_version=4)
    again = nbformat.read(request.param, as_version=4)
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = str(tmp_path_factory.mktemp(request.param.stem))
    client = nbclient.NotebookClient(again, timeout=1800, resources={"metadata": {"path": folder}})
    # An error in a cell is raised here, with its traceback.
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    return committed, again


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["measure", "narrow", "search"]


def test_a_notebook_runs_and_gives_the_same(pair):
    committed, again = (
        [cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in pair
    )
    same = [i for i, cell in enumerate(committed) if SAME in cell.metadata.get("tags", ())]
    assert same
    for number in same:
        assert text_of(again[number]) == text_of(committed[number])
    # Every cell that showed something shows something.
    assert [bool(text_of(cell)) for cell in again] == [bool(text_of(cell)) for cell in committed]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_has_clean_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells[-1].outputs
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not PATH.search("\n".join(text_of(cell) for cell in cells))
    assert "execution" not in json.dumps([cell.metadata for cell in cells])
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("load('/home/a/run/x')", True),
        ("in /tmp/x/y.py", True),
        ("./runs/a/b", False),
        ("a/b", False),
    ],
)
def test_a_path_of_a_machine_is_seen(text, found):
    assert bool(PATH.search(text)) is found
