"""The commands as they are typed: what was typed is what is meant, and a mistake is one line."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from search.cli import main
from search.compare import compare
from search.console import read_data
from search.cost import cost_of
from search.final import final
from search.measure import report
from search.narrow import narrow_model
from search.run import run
from search.session import check_fit
from search.settings import load_settings

ROOT = Path(__file__).parents[1]
TINY = [
    "--trials", "2", "--filters", "8", "--growth", "1", "--blocks", "1,1", "--epochs", "1",
    "--batch-size", "8", "--confirm", "2", "--floor", "2", "--margin", "0.99", "--level", "false",
]  # fmt: skip


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    """Films of 12 bits in 16, of which no maximum tells the range: case 19."""
    place, rng, arrays = tmp_path_factory.mktemp("ct"), np.random.default_rng(0), {}
    for split, n in (("train", 24), ("val", 16), ("test", 16)):
        arrays[f"{split}_images"] = rng.integers(0, 3000, (n, 32, 32)).astype("i2")
        arrays[f"{split}_labels"] = np.arange(n) % 2
    np.savez(place / "ct.npz", **arrays)
    return place / "ct.npz"


def refused(capsys, command, *words: str) -> str:
    """The one line on stderr of a command that ends with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command, list(words))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


@pytest.fixture(scope="module")
def searched(tmp_path_factory, ct):
    """A finished search with an option of the data, a list, a text and a false (01, 14, 19, 24)."""
    place = tmp_path_factory.mktemp("search")
    words = ["--data", str(ct), "--scale", "4095", "--out", "run#1", "--image-size", "[16,24]"]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(place)
        main(run, [*words, *TINY])
    return place / "run#1", said.getvalue()


def test_what_was_typed_is_what_the_run_did(searched):
    folder, _ = searched
    assert [p.name for p in folder.parent.iterdir()] == ["run#1"]
    told = json.loads((folder / "run.json").read_text())
    assert told["level"] is False
    assert (told["scale"], told["blocks"], told["image_size"]) == (4095.0, [1, 1], [16, 24])
    facts = json.loads((folder / "export1" / "widths.json").read_text())
    assert facts["input_shape"][:2] == [16, 24]


def test_what_was_assumed_of_the_data_is_told(searched):
    _, said = searched
    assert "4095" in said.split("start ")[0]


def test_no_count_is_beyond_its_total(searched):
    _, said = searched
    assert "2/2 seed 1" in said
    assert "confirming seed 2" in said
    counts = [
        tuple(map(int, found)) for found in re.findall(r"^ *(\d+)/(\d+) ", said, re.MULTILINE)
    ]
    assert counts
    assert all(count <= total for count, total in counts), said
    assert " left" not in said.split("2/2 seed")[1]


def test_the_same_command_goes_on_and_another_scale_does_not(searched, ct, capsys, monkeypatch):
    folder, _ = searched
    monkeypatch.chdir(folder.parent)
    words = ["--data", str(ct), "--out", "run#1", "--image-size", "16,24", *TINY]
    assert "scale" in refused(capsys, run, *words)
    assert "scale = 4095.0" in refused(capsys, run, *words, "--scale", "5000")


def test_final_reads_the_options_of_the_run(searched, capsys):
    folder, _ = searched
    assert "--scale: expected 4095.0" in refused(capsys, final, str(folder), "--scale", "255")
    assert "unknown option of the data" in refused(capsys, final, str(folder), "--channels", "3")
    main(final, [str(folder), "--folds", "0", "--seeds", "2", "--scale", "4095"])
    said = capsys.readouterr().out
    assert "4095" in said
    assert "confirming seed 1" in said
    assert "2/2 seed 2" in said
    assert (folder / "final.json").is_file()


WRONG = [
    (run, ["--level", "maybe"], "--level: expected true or false"),
    (run, ["--trials", "0"], "--trials: expected at least 1, received 0"),
    (run, ["--trials", "1e20"], "--trials: expected a whole number"),
    (run, ["--penalty", "nan"], "--penalty: expected a finite number"),
    (run, ["--scal", "3"], "Did you mean 'scale'?"),
    (run, ["--chanels", "3"], "Did you mean 'channels'?"),
    (run, ["--channels", "3"], "unknown option of the data phantom"),
    (run, ["--data", "nowhere.npz", "--channels", "3"], "unknown option of the data"),
    (run, ["--data", "nowhere.npz", "--scale", "wide"], "--scale: expected a number"),
    (run, ["--data", "nowhere.npz", "--level", "false"], "nowhere.npz"),
    (run, ["--config", "nowhere.yaml"], "--config"),
    (run, ["a", "b"], "no further one"),
    (compare, ["--strategies", "ckrm,randm"], "Did you mean 'random'"),
    (compare, ["--trainings", "many"], "--trainings: expected a whole number"),
    (compare, ["--seed", "99999"], "--seed: expected at most 42"),
    (compare, ["--hold", "-1"], "--hold: expected 0 or more"),
    (compare, ["--model", "m.keras"], "--model: expected a starting network"),
    (compare, ["--scal", "3"], "Did you mean 'scale'?"),
    (final, [], "folder: expected a value"),
    (final, ["nowhere"], "a folder of search.run"),
    (final, ["nowhere", "--seeds", "0"], "--seeds: expected at least 1"),
    (final, ["nowhere", "--folds", "two"], "--folds: expected a whole number"),
    (measure := report, ["m.keras", "--pairs", "1e3"], "--pairs: expected a whole number"),
    (measure, ["m.keras", "--threshold", "nan"], "--threshold: expected a finite number"),
    (measure, ["m.keras", "--criteria", "maybe"], "--criteria: expected true or false"),
    (measure, ["run#1.h5"], "run#1.h5"),
    (narrow_model, [], "model: expected a value"),
    (narrow_model, ["m.keras", "--macs", "half"], "--macs: expected a number"),
    (narrow_model, ["m.keras", "--margin", "2"], "--margin: expected between 0 and 1"),
    (narrow_model, ["m.keras", "--floor", "0"], "--floor: expected at least 1"),
    (narrow_model, ["m.keras", "--epochs", "-1"], "--epochs: expected 0 or more"),
    (narrow_model, ["m.keras", "--share", ".5", "--scale", "9"], "--scale: expected --data"),
    (narrow_model, ["m.keras", "--share", ".5", "--formats", "kers"], "export formats"),
    (
        narrow_model,
        ["m.keras", "--share", ".5", "--data", "x.npz", "--n", "3"],
        "unknown option of the data x.npz",
    ),
    (narrow_model, ["m.keras", "--scal", "9"], "Did you mean"),
    (cost_of, ["m.keras", "--input-shape", "a,b"], "--input-shape: expected a list"),
    (cost_of, ["m.keras", "--groups=perhaps"], "--groups: expected true or false"),
    (cost_of, ["nowhere.keras"], "nowhere.keras"),
]


@pytest.mark.parametrize(("command", "words", "part"), WRONG)
def test_a_mistake_is_one_line_in_every_command(
    command, words, part, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, command, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [run, report, narrow_model, cost_of, compare, final])
def test_every_command_explains_its_arguments(command, capsys):
    main(command, ["--help"])
    said = capsys.readouterr().out
    flags = {
        run: ["--trials", "--from", "--scale", "--channels", "[20]"],
        report: ["--threshold", "--pairs"],
        narrow_model: ["--macs", "--unseen", "--scale"],
        cost_of: ["--input_shape"],
        compare: ["--strategies", "--random-trainings", "--epochs", "[16]", "--scale"],
        final: ["--seeds", "--cache-dir"],
    }
    assert all(flag in said for flag in flags[command]), said


def test_a_search_over_a_given_model_has_no_final(searched, tmp_path, capsys):
    folder, _ = searched
    told = json.loads((folder / "run.json").read_text()) | {"model_file": "0123"}
    (tmp_path / "run.json").write_text(json.dumps(told))
    for words in ([], ["--folds", "2"], ["--seeds", "1"]):
        assert "one over a given model" in refused(capsys, final, str(tmp_path), *words)


def damaged(text: bytes) -> list[bytes]:
    """Seeded damage of every kind: bytes, values, keys, the ends."""
    rng, found = random.Random(1), [b"", b"null", b"[]", b"3", b"[" * 99999, b"\xff\xfe", b"{}"]
    for _ in range(40):
        at = rng.randrange(len(text))
        found.append(text[:at])
        found.append(text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :])
    told = json.loads(text)
    for key in told:
        found.append(json.dumps({k: v for k, v in told.items() if k != key}).encode())
        for value in (None, -1, 1e400, "x", [], {}, True, "9" * 5000, [[]], "a\0b"):
            found.append(json.dumps(told | {key: value}).encode())
    return found


def test_a_damaged_run_json_is_one_line(searched, tmp_path, capsys):
    folder, _ = searched
    # Data that are nowhere: what is still a run of other settings ends there.
    told = json.loads((folder / "run.json").read_text()) | {"data": str(tmp_path / "nowhere.npz")}
    text = json.dumps(told).encode()
    marker = tmp_path / "run.json"
    marker.write_bytes(text)
    assert "nowhere.npz" in refused(capsys, final, str(tmp_path))
    mutants = damaged(text)
    assert len(mutants) > 350
    told_so = 0
    for mutant in mutants:
        marker.write_bytes(mutant)
        error = refused(capsys, final, str(tmp_path))
        assert len(error) < 1500
        told_so += "run.json" in error
    assert told_so > len(mutants) / 2


def test_options_reach_the_reader(tmp_path):
    """Case 19: colours of equal brightness, a range that a flag settles; and any size (24)."""
    for name, colour in (("red", (200, 0, 0)), ("green", (0, 102, 0))):
        (tmp_path / name).mkdir()
        for i in range(10):
            Image.new("RGB", (32, 32), colour).save(tmp_path / name / f"{i}.png")
    console = Console(quiet=True)
    flags = {"data": str(tmp_path), "image_size": "null", "blocks": "1", "filters": "8"}
    shapes = {}
    for channels in ("null", "1", "3"):
        settings = load_settings(None, flags | {"channels": channels})
        data = read_data(console, settings)
        check_fit(settings, data)
        shapes[channels] = data.input_shape[2], len(np.unique(data.train.images))
    assert shapes == {"null": (3, 3), "3": (3, 3), "1": (1, 1)}


def test_a_file_of_any_name_is_measured(tmp_path, monkeypatch, capsys):
    """Cases 07, 14 and 22: names as typed, false is false, a folder is no missing file."""
    import keras  # noqa: PLC0415

    image = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 1, name="point")(keras.layers.Conv2D(8, 3, name="conv")(image))
    monkeypatch.chdir(tmp_path)
    model = keras.Model(image, x)
    model.save("run#1.keras")
    model.export("saved_model", verbose=False)
    main(report, ["run#1.keras", "--pointwise=false", "--criteria", "false"])
    said = capsys.readouterr().out
    assert "conv " in said
    assert "\npoint " not in said
    assert "Share of slices" not in said
    main(report, ["--pointwise", "run#1.keras", "--criteria=yes"])
    said = capsys.readouterr().out
    assert "\npoint " in said
    assert "Share of slices" in said
    main(cost_of, ["run#1.keras", "--input-shape", "8,8,4"])
    assert "conv" in capsys.readouterr().out
    error = refused(capsys, cost_of, "saved_model")
    assert "a SavedModel folder" in error
    assert "run#1.keras" in error
    main(report, ["saved_model"])
    assert "\nconv " in capsys.readouterr().out
    for command in (report, cost_of):
        assert "received a folder" in refused(capsys, command, ".")
    Path("run#1.keras").rename("model.keras")
    main(cost_of, ["."])
    assert "conv" in capsys.readouterr().out
    Path("model.keras").unlink()
    assert "the .keras file beside it" in refused(capsys, cost_of, "saved_model")


SCRIPT = "import sys\nfrom search.commands import main\nsys.exit(main())\n"


def test_what_lies_in_the_users_folder_is_not_in_the_way(tmp_path):
    """Case 17: the console script, which looks beside itself and not in the user's folder."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "ckrm-tf"
    script.write_text(SCRIPT)
    here = tmp_path / "here"
    (here / "configs").mkdir(parents=True)
    for name in ("search.py", "configs.py", "keras.py", "configs/__init__.py"):
        (here / name).write_text("raise SystemExit('the wrong file')\n")
    done = subprocess.run(
        [sys.executable, str(script), "run", "--trials", "0"],
        cwd=here, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("error: --trials: expected at least 1, received 0\n")


def test_ctrl_c_says_how_to_go_on(tmp_path):
    """Case 16: a real training, a real signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "search.run", "--n", "48,24,24", "--out", "r", "--image-size", "16",
         *TINY, "--epochs", "500"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ends = time.monotonic() + 300
    try:
        while not (tmp_path / "r" / "keras_tuner").exists() and time.monotonic() < ends:
            assert process.poll() is None, process.communicate()
            time.sleep(0.5)
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    # TensorFlow may have said something when it started.
    lines = [line for line in error.splitlines() if "absl" not in line and line[:2] != "I0"]
    assert lines == ["stopped; the same command goes on where it stopped"]
    assert json.loads((tmp_path / "r" / "run.json").read_text())["n"] == [48, 24, 24]
