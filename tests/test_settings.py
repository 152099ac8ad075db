from __future__ import annotations

import json
import random
from dataclasses import fields, replace

import pytest
import yaml

from ckrm_tf import CKRMError, Layout, Widths
from ckrm_tf.data import options
from ckrm_tf.train.recipe import Recipe
from search.config_files import config_text
from search.data_flags import RENAMED, data_flags
from search.settings import (
    FREE,
    KEYS,
    WHERE,
    Settings,
    load_settings,
    make_settings,
    option_flags,
    run_flags,
)


def defaults() -> dict:
    return yaml.safe_load(config_text("default.yaml"))


def test_the_defaults_have_every_key_and_make_the_standard_network():
    assert set(defaults()) == {f.name.rstrip("_") for f in fields(Settings)} - {"options"}
    settings = load_settings(None, {})
    network = settings.network((48, 48, 1), 3)
    assert network.start == Widths.standard().to_design()
    assert replace(network.layout, ratio=4 / 3) == Layout()
    assert settings.ratio == pytest.approx(4 / 3, abs=1e-6)
    assert settings.recipe == Recipe(
        settings.epochs, settings.batch_size, settings.learning_rate, settings.l1, settings.shift
    )
    assert settings.rule.margin == settings.margin / 2
    assert settings.rule.repeats == settings.confirm
    assert (settings.rule.repeats, replace(settings, seeds=2).rule.repeats) == (3, 3)
    assert replace(settings, seeds=2).most_seeds == 4


def test_flags_win_over_the_file_which_wins_over_the_defaults(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("epochs: 3\ntrials: 7\nblocks: [1, 2]\nl1: 1\n")
    settings = load_settings(str(config), {"trials": 9, "image-size": 24})
    assert (settings.epochs, settings.trials, settings.image_size) == (3, 9, 24)
    assert settings.blocks == (1, 2)
    assert settings.l1 == 1.0
    assert type(settings.l1) is float
    assert settings.seed == defaults()["seed"]


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(str(tmp_path / "empty.yaml"), {}) == load_settings(None, {})


def test_seeds_follow_the_first():
    assert load_settings(None, {"seed": 4, "seeds": 3}).seed_list == (4, 5, 6)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"trails": 3}, ["unknown flag", "'trails'", "Did you mean 'trials'?"]),
        ({"image-sise": 3}, ["Did you mean 'image_size'?"]),
        ({"strategy": "uniformly"}, ["strategy", "Did you mean 'uniform'?"]),
        ({"criterion": "min_eigs"}, ["criterion", "Did you mean 'min_eig'?"]),
        ({"trials": "many"}, ["--trials", "a whole number", "'many'"]),
        ({"trials": 2.5}, ["--trials", "a whole number", "2.5"]),
        ({"trials": True}, ["--trials", "a whole number", "True"]),
        ({"trials": None}, ["--trials", "a whole number", "None"]),
        ({"trials": 0}, ["--trials", "at least 1", "0"]),
        ({"seeds": 0}, ["--seeds", "at least 1"]),
        ({"seed": 0}, ["--seed", "at least 1"]),
        ({"confirm": -1}, ["--confirm", "0 or more"]),
        ({"depth": 1}, ["--depth", "true or false"]),
        ({"margin": "0,02"}, ["--margin", "a number"]),
        ({"margin": -0.1}, ["--margin", "between 0 and 1"]),
        ({"margin": 0}, ["--margin", "between 0 and 1"]),
        ({"margin": 1.0}, ["--margin", "between 0 and 1"]),
        ({"bold": 1.0}, ["between 0 and 1"]),
        ({"learning_rate": 0}, ["learning_rate", "positive"]),
        ({"l1": -1.0}, ["l1"]),
        ({"blocks": 3}, ["--blocks", "a list of whole numbers"]),
        ({"blocks": []}, ["--blocks", "a list of whole numbers"]),
        ({"blocks": [1, 0]}, ["blocks", "at least 1"]),
        ({"growth": -2.0}, ["growth"]),
        ({"filters": 0}, ["--filters", "at least 1"]),
        ({"conv": "slimm"}, ["conv"]),
        ({"trials": "1e3"}, ["--trials", "a whole number", "'1e3'"]),
        ({"trials": 10**20}, ["--trials", "at most 1,000,000"]),
        ({"trials": "9" * 5000}, ["--trials", "a whole number", "9 ... 9"]),
        ({"epochs": -3}, ["--epochs", "at least 1"]),
        ({"batch_size": 0}, ["--batch-size", "at least 1"]),
        ({"image_size": -1}, ["--image-size", "at least 1"]),
        ({"image_size": [48, 0]}, ["--image-size", "at least 1"]),
        ({"image_size": [48]}, ["--image-size", "a side, or height and width"]),
        ({"image_size": 2.5}, ["--image-size", "a whole number or a list of whole numbers"]),
        ({"penalty": float("nan")}, ["--penalty", "a finite number", "nan"]),
        ({"penalty": "nan"}, ["--penalty", "a finite number", "nan"]),
        ({"penalty": -0.1}, ["--penalty", "0 or more"]),
        ({"learning_rate": "inf"}, ["--learning-rate", "a finite number", "inf"]),
        ({"learning_rate": "1e400"}, ["--learning-rate", "a finite number"]),
        ({"l1": 10**400}, ["--l1", "a number"]),
        ({"ggcam_a": "-inf"}, ["--ggcam-a", "a finite number"]),
        ({"blocks": [10**9]}, ["--blocks", "at most 1,000"]),
        ({"blocks": [1] * 65}, ["--blocks", "at most 64 stages", "65"]),
        ({"blocks": "1,,2"}, ["--blocks", "a list of whole numbers"]),
        ({"blocks": {"a": 1}}, ["--blocks", "a list of whole numbers"]),
        ({"level": "maybe"}, ["--level", "true or false", "'maybe'"]),
        ({"level": "null"}, ["--level", "true or false"]),
        ({"out": "a\0b"}, ["--out", "a text"]),
        ({"scale": 4095}, ["unknown option of the data phantom", "'scale'"]),
        ({"n": "9,3"} | {"separation": "wide"}, ["--separation", "a number"]),
        ({"data": "egd-cxr:x", "reader": "pydicm"}, ["--reader", "Did you mean 'pydicom'?"]),
        ({"out": None}, ["--out", "a text", "None"]),
        ({"data": True}, ["--data", "a text", "True"]),
    ],
)
def test_a_bad_value_is_named_before_any_work(flags, words):
    with pytest.raises(CKRMError) as caught:
        load_settings(None, flags)
    for word in words:
        assert word in str(caught.value)


def test_a_number_of_python_may_be_a_name():
    assert load_settings(None, {"out": 2024}).out == "2024"


# As it is typed, and what it means; the same after a flag and in a file.
TYPED = [
    ("level", "false", False),
    ("level", "False", False),
    ("level", "no", False),
    ("tensorboard", "1", True),
    ("depth", "true", True),
    ("epochs", "3", 3),
    ("learning_rate", "1e-3", 0.001),
    ("learning_rate", "5E-4", 0.0005),
    ("penalty", "0", 0.0),
    ("blocks", "[3, 4, 6, 2]", (3, 4, 6, 2)),
    ("blocks", "[3,4]", (3, 4)),
    ("image_size", "null", None),
    ("image_size", "32", 32),
    ("image_size", "[48, 64]", (48, 64)),
    ("model", "null", None),
    ("model", "None", "None"),
    ("out", "run#1", "run#1"),
    ("out", "2024_11_25", "2024_11_25"),
    ("out", "2024-11-25", "2024-11-25"),
    ("out", "1e3", "1e3"),
    ("out", "12.50", "12.50"),
    ("out", "0x10", "0x10"),
    ("out", "yes", "yes"),
    ("out", "None", "None"),
]


@pytest.mark.parametrize(("key", "text", "value"), TYPED)
def test_what_is_typed_is_what_is_meant(tmp_path, key, text, value):
    config = tmp_path / "mine.yaml"
    config.write_text(f"{key}: {text}\n")
    for settings in (load_settings(None, {key: text}), load_settings(str(config), {})):
        found = getattr(settings, key)
        assert (found, type(found)) == (value, type(value))


def test_lists_need_no_brackets_and_only_null_is_null():
    assert load_settings(None, {"blocks": "3,4,6,3"}).blocks == (3, 4, 6, 3)
    assert load_settings(None, {"blocks": "(3, 4)"}).blocks == (3, 4)
    assert load_settings(None, {"image_size": "None"}).image_size is None
    assert load_settings(None, {"data": "chest, v2"}).data == "chest, v2"
    assert load_settings(None, {"out": "[a]"}).out == "[a]"


def test_an_empty_value_in_a_file_is_null(tmp_path):
    (tmp_path / "a.yaml").write_text("image_size:\nmodel: ~\n")
    settings = load_settings(str(tmp_path / "a.yaml"), {})
    assert (settings.image_size, settings.model) == (None, None)


def test_options_of_the_data_are_settings_too(tmp_path):
    (tmp_path / "a.yaml").write_text("data: x.npz\nscale: 4095\n")
    from_file = load_settings(str(tmp_path / "a.yaml"), {})
    from_flag = load_settings(None, {"data": "x.npz", "scale": "4095"})
    assert from_file == from_flag
    assert from_flag.data_options == {"scale": 4095.0}
    egd = {"data": "egd-cxr:x", "split": "image", "frame": "paper", "ggcam": True}
    assert load_settings(None, egd).data_options == {
        "split": "image", "recipe": "paper", "gaze": "eye_gaze"
    }  # fmt: skip
    given = load_settings(None, egd | {"gaze": "fixations", "cache-dir": "c", "region": "yes"})
    assert given.data_options == {
        "split": "image", "recipe": "paper", "gaze": "fixations", "cache_dir": "c", "region": True
    }  # fmt: skip
    assert load_settings(None, {"n": "9,3,3"}).data_options == {"n": (9, 3, 3)}


def test_every_option_of_every_source_is_a_flag():
    names = {RENAMED.get(name, name) for name in options()}
    assert names == set(data_flags()) <= set(run_flags())
    assert set(run_flags()) == set(KEYS) | names
    assert all(flag.help for flag in run_flags().values())
    # A flag of one name has one type, in the settings and in the source.
    assert set(option_flags()) == names - {"split", "frame"}


def test_options_that_change_the_data_belong_to_the_run():
    flags = {"data": "egd-cxr:x"}
    base = load_settings(None, flags).fingerprint()
    assert load_settings(None, flags | {"sigma": 3}).fingerprint() == base | {"sigma": 3.0}
    # Where the files lie does not.
    assert load_settings(None, flags | {"images": "a", "cache_dir": "b"}).fingerprint() == base
    drawn = load_settings(None, {"n": (9, 3, 3), "image_size": (48, 64)})
    told = json.loads(json.dumps(drawn.fingerprint()))
    assert told == drawn.fingerprint()
    assert make_settings([("run.json", told)]) == drawn


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epoch: 3\n", ["unknown key in bad.yaml", "Did you mean 'epochs'?"]),
        (b"- 3\n", ["keys and values", "list"]),
        (b"epochs: [3\n", ["bad.yaml", "YAML"]),
        (b"\xff\xfe\x00", ["bad.yaml", "YAML"]),
        (b"12: 3\n", ["unknown key in bad.yaml", "'12'"]),
        (b"epochs: many\n", ["epochs in bad.yaml", "a whole number", "'many'"]),
        (b"epochs: 2.5\n", ["epochs in bad.yaml", "a whole number", "'2.5'"]),
        (b"epochs: [3]\n", ["epochs in bad.yaml", "a whole number"]),
        (b"penalty: .nan\n", ["penalty in bad.yaml", "a number", "'.nan'"]),
        (b"a: &x [1]\nb: *x\n", ["bad.yaml", "an alias"]),
        (b"epochs: 3\nseed: 2\nepochs: 4\n", ["bad.yaml", "key epochs twice", "lines 1 and 3"]),
        (b'scale: 1\n"scale": 255\n', ["bad.yaml", "key scale twice"]),
        (b"[" * 3000, ["bad.yaml", "YAML"]),
        (b"? [1]\n: 2\n", ["bad.yaml", "YAML"]),
        (b"epochs: !!python/object/apply:os.getcwd []\n", ["epochs in bad.yaml"]),
        (b"a: 1\0\n", ["bad.yaml", "YAML"]),
        (b"#" * 1_000_001, ["--config", "a YAML file", "1 MB"]),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(CKRMError) as caught:
        load_settings(str(path), {})
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 1000


SPOILT = [
    b"null", b"nan", b".inf", b"-1", b"1e400", b"9" * 6000, b"[1,2", b"[[1]]", b"{a: 1}", b"*x",
    b"&x 1", b"!!int x", b"!!python/name:os.system", b'"\\0"', b"2024-99-99", b"\xc3\x28", b"0x",
    b"@", b"- 1",
]  # fmt: skip


def test_a_spoilt_file_is_refused_or_read_and_nothing_else(tmp_path):
    """1,000 seeded mutants of the program's own files."""
    rng, path, refused = random.Random(1), tmp_path / "spoilt.yaml", 0
    texts = [config_text(f"{name}.yaml").encode() for name in ("default", "paper", "cxr")]
    for number in range(1000):
        text = bytearray(rng.choice(texts))
        if number % 2:
            for _ in range(rng.randrange(1, 5)):
                text[rng.randrange(len(text))] = rng.randrange(256)
        else:
            lines = bytes(text).splitlines()
            at = rng.choice([i for i, n in enumerate(lines) if n[:1].isalpha()])
            lines[at] = lines[at].partition(b":")[0] + b": " + rng.choice(SPOILT)
            text = b"\n".join(lines)
        path.write_bytes(text)
        try:
            load_settings(str(path), {})
        except CKRMError:
            refused += 1
    assert 400 < refused < 1000


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CKRMError, match=r"--config: expected a YAML file.*nowhere\.yaml"):
        load_settings(str(tmp_path / "nowhere.yaml"), {})


def test_the_fingerprint_changes_with_everything_that_changes_a_result_and_nothing_else():
    base = load_settings(None, {}).fingerprint()
    assert load_settings(None, {"epochs": 3}).fingerprint() != base
    assert load_settings(None, {"blocks": [3, 4, 6, 2]}).fingerprint() != base
    free = {"trials": 3, "out": "elsewhere", "tensorboard": True, "penalty": 1.0}
    free |= {"training_timeout": 9.0, "no_test": True, "reuse": ("a",)}
    free |= {"optuna_storage": "sqlite:///a.db", "formats": "keras"}
    assert set(free) == set(FREE)
    assert load_settings(None, free).fingerprint() == base
    where = {"workers": 4, "cluster": "auto", "gpus_per_training": 0.5}
    assert set(where) == set(WHERE)
    assert load_settings(None, where).fingerprint() == base
    assert load_settings(None, where).free == load_settings(None, {}).free


def test_multiples_are_part_of_every_search_and_the_pixels_of_a_given_model():
    plain = load_settings(None, {"filters": 24, "blocks": [1, 1]})
    narrowed = load_settings(None, {"filters": 24, "blocks": [1, 1], "multiple": 8})
    assert narrowed.fingerprint() == plain.fingerprint() | {"multiple": 8}
    for settings, multiple in ((plain, 1), (narrowed, 8)):
        axes = settings.network((32, 32, 1), 3).axes
        assert {axis.multiple for axis in axes if axis.kind == "width"} == {multiple}
    # The key `pixels` of run.json is the hash of the data.
    given = load_settings(None, {"model": "a.keras", "pixels": "0,1"}).fingerprint()
    assert given["pixel_range"] == "0,1"
    assert "pixels" not in given
    assert "pixel_range" not in load_settings(None, {"pixels": "0,1"}).fingerprint()
