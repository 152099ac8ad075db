"""The search on a tree laid out as EGD-CXR, from its films and gaze to the export."""

from __future__ import annotations

import json

import pytest
from egd_tree import make_tree

from ckrm_tf.data.decode_cache import CACHE_VARIABLE
from search.run import run

# KerasTuner's locks ask for the thread's name the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


def test_films_and_gaze_end_in_an_export(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    tree = make_tree(tmp_path / "physionet", suffix=".dcm", patients=6)
    run(
        data=f"egd-cxr:{tree.release}",
        out=str(tmp_path / "run"),
        trials=2,
        filters=8,
        growth=1.0,
        blocks=[1, 1],
        image_size=32,
        epochs=1,
        batch_size=8,
        margin=0.99,
        confirm=0,
        ggcam=True,
        conv="slim",
        # An AUC of six images is chance: with this seed the smaller network is not below the start.
        seed=3,
    )
    said = capsys.readouterr().out
    assert "Normal" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["trials"] == 2
    assert summary["recommended"]["params"] < summary["start"]["params"]
    export = tmp_path / "run" / summary["export"]
    assert (export / "saved_model" / "saved_model.pb").is_file()
    assert any((tmp_path / "cache").iterdir())
