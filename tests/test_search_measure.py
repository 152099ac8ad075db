"""`python -m search.measure`: what it prints, and one line for every mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import pandas as pd
import pytest
from keras import layers

from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.measures.table import measure
from search.cli import main
from search.measure import report

# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 12, 1))
    x = layers.Conv2D(16, 3, name="stem")(image)
    x = layers.Conv2D(16, 1, name="point")(x)
    x = layers.Conv2D(16, 3, name="a_layer_with_a_name_much_longer_than_any_column")(x)
    x = SlimConv2D(name="slim")(x)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    dead = model.layers[3]
    kernel, bias = dead.get_weights()
    kernel[..., :8] *= 1e-3
    dead.set_weights([kernel, bias])
    path = tmp_path_factory.mktemp("model") / "small.keras"
    model.save(path)
    return path


def test_the_table(saved, capsys, tmp_path):
    main(report, [str(saved), "--csv", str(tmp_path / "table.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert "threshold 0.6" in lines[0]
    assert "a quarter of each layer's own energy" in lines[0]
    assert keras.backend.backend() in lines[0]
    assert lines[1].split()[:4] == ["convolution", "shape", "lambda", "null"]
    table = measure(keras.models.load_model(saved, compile=False))
    rows = {line.split()[0]: line.split() for line in lines[2:]}
    stem = table.set_index("name").loc["stem"]
    assert rows["stem"][1:4] == [
        "3x3x1x16",
        f"{stem['lambda']:.3f}",
        f"{stem['null']:.3f}±{stem['null_sd']:.3f}",
    ]
    assert "slim/conv_top" in rows
    assert max(map(len, lines[1:6])) <= 100
    assert "Skipped" in "\n".join(lines)
    assert "2 of 4 are measured together with the batch norm" in "\n".join(lines)
    assert "1 of 4 layers are above their null" in lines[-1]
    assert "a_layer_with" in lines[-1]
    written = pd.read_csv(tmp_path / "table.csv")
    assert list(written["name"]) == list(table["name"])
    assert written["lambda"].to_numpy() == pytest.approx(table["lambda"].astype(float), nan_ok=True)


def test_sampled_pairs_and_absolute_epsilon(saved, capsys):
    main(report, [str(saved), "--pairs=30", "--epsilon=1e-6", "--pointwise"])
    out = capsys.readouterr().out
    assert "epsilon 1e-06" in out
    line = next(row for row in out.splitlines() if row.startswith("point"))
    assert line.split()[-3:] == ["30", "-", "1.0e-06"]
    assert "-" in line.split()[3]  # the interval


def test_criteria_side_by_side(saved, capsys):
    main(report, [str(saved), "--criteria", "--weight", "0.0011"])
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if "criterion by criterion" in line)
    header = lines[start + 1].split()
    assert header == [
        "convolution", "weight", "det", "min_eig", "min_real", "radius", "radius_real", "norm"
    ]  # fmt: skip
    dead = next(line for line in lines[start:] if "longer_than" in line).split()
    assert float(dead[1]) == pytest.approx(0.5)  # half of the kernels were scaled down
    assert max(map(len, lines[start:-1])) <= 100


@pytest.mark.parametrize("make", ["one", "mobilenet"])
def test_random_kernels_are_not_called_redundant(make, tmp_path, capsys):
    if make == "one":
        model = keras.Sequential([keras.Input((8, 8, 16)), layers.Conv2D(16, 3)])
    else:
        keras.utils.set_random_seed(1)
        model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    model.save(tmp_path / "random.keras")
    main(report, [str(tmp_path / "random.keras")])
    last = capsys.readouterr().out.splitlines()[-1]
    assert "None of" in last
    assert "proves nothing" in last


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.keras"], "No file"),
        (["{text}"], "Keras says"),
        (["{dense}"], "dense.keras: expected at least one convolution"),
        (["{model}", "--threshold=7"], "in [0, 1]"),
        (["{model}", "--epsilon=-1"], "epsilon"),
        (["{model}", "--treshold=0.5"], "Did you mean 'threshold'"),
        (["{model}", "--csv={folder}/no/such/table.csv"], "can be written"),
    ],
)
def test_mistakes_are_one_line(arguments, expected, saved, tmp_path, capsys):
    (tmp_path / "text.keras").write_text("not a model")
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(tmp_path / "dense.keras")
    files = {
        "model": saved,
        "text": tmp_path / "text.keras",
        "dense": tmp_path / "dense.keras",
        "folder": tmp_path,
    }
    with pytest.raises(SystemExit) as stop:
        main(report, [argument.format(**files) for argument in arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_as_a_command(saved):
    done = subprocess.run(
        [sys.executable, "-m", "search.measure", str(saved)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "slim/conv_top" in done.stdout
    assert "Traceback" not in done.stderr
