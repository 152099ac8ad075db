"""The house itself: what is imported when, what is named how, what is installed where."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from processes import python

import ckrm_tf
from ckrm_tf.registration import FORMER, MODULES, OF_FORMER, PACKAGE, register
from search.commands import COMMANDS, usage

ROOT = Path(__file__).parent.parent
HEAVY = {"tensorflow", "keras", "keras_tuner", "numpy", "pandas", "scipy", "matplotlib", "fire"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{n.partition('.')[0] for n in sys.modules}})"
    done = python(code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import ckrm_tf",
        "import ckrm_tf.tuning.propose",
        "from ckrm_tf import Widths; Widths.standard().params()",
        "from ckrm_tf.families.registry import FAMILIES",
        "from ckrm_tf.families.vgg import VGGFamily as F; f = F((4,), (1,)); f.cost(f.start)",
        "import ckrm_tf.store.journal, ckrm_tf.judge.select, ckrm_tf.tuning.registry",
        "import search.commands; search.commands.main(['--help'])",
    ],
)
def test_what_needs_no_array_loads_none(statement):
    found = loaded_by(statement)
    assert {"ckrm_tf", "search"} & found
    assert not found & HEAVY


def test_the_look_at_what_is_loaded_sees_it():
    assert "numpy" in loaded_by("import ckrm_tf.criteria.eigenvalues")


@pytest.mark.parametrize(
    ("statement", "quick"),
    [
        ("import ckrm_tf", True),
        # A module with a second's work, so that the clock is seen to run.
        ("import ckrm_tf, time\nwhile time.process_time() < 1: pass", False),
    ],
)
def test_the_package_is_imported_within_a_second_of_processor_time(statement, quick):
    done = python(f"{statement}\nimport time; print(time.process_time())")
    assert (float(done.stdout) < 1) is quick


@pytest.mark.parametrize("name", ckrm_tf.__all__)
def test_every_public_name_is_there(name):
    home = ckrm_tf._PUBLIC[name]
    place = ROOT.joinpath(*home.split("."))
    if not place.is_dir() and not place.with_suffix(".py").is_file():
        pytest.skip(f"{home} is not there yet")
    found = getattr(ckrm_tf, name)
    assert found is getattr(importlib.import_module(home), name)
    assert found.__doc__
    assert name in dir(ckrm_tf)


def test_type_checkers_are_told_the_same_places():
    tree = ast.parse((ROOT / "ckrm_tf" / "__init__.py").read_text())
    (told,) = [node for node in tree.body if isinstance(node, ast.If)]
    places = {name.name: node.module for node in told.body for name in node.names}
    assert places == ckrm_tf._PUBLIC


def test_no_module_has_the_name_of_something_public():
    """A module of that name would take the place of the function once it is imported."""
    modules = {path.stem for path in (ROOT / "ckrm_tf").iterdir() if path.stem != "__init__"}
    assert {"measures", "families", "errors"} <= modules
    assert not modules & set(ckrm_tf.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'meassure'"):
        _ = ckrm_tf.meassure
    with pytest.raises(ImportError):
        from ckrm_tf import nothing_of_this_name  # noqa: F401, PLC0415


def test_the_library_never_imports_the_commands():
    for path in (ROOT / "ckrm_tf").rglob("*.py"):
        lines = path.read_text().splitlines()
        assert not [n for n in lines if n.lstrip().startswith(("from search", "import search"))]


# Where an architecture may be named outside its family, and why.
KNOWN = {
    "ckrm_tf/__init__.py",  # public names
    "ckrm_tf/design/design.py",  # an example
    "ckrm_tf/export/write.py",  # takes the widths and layout of a ResNet, as ever
}
ARCHITECTURE = re.compile(
    r"families\.(resnet|resnet_model|resnet_cost|vgg|widths|layout)\b|stem/filters|/blocks\b"
)


def test_only_families_know_an_architecture():
    found = set()
    for top in ("ckrm_tf", "search"):
        for path in (ROOT / top).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("ckrm_tf/families/") and ARCHITECTURE.search(path.read_text()):
                found.add(name)
    # What is known is found: the search sees.
    assert found == KNOWN


def test_every_class_that_keras_must_know_is_registered():
    marked = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "ckrm_tf").rglob("*.py")
        if "\n@saved_class\n" in path.read_text()
    }
    assert marked == set(MODULES)


@pytest.mark.parametrize("former", OF_FORMER)
def test_a_class_is_found_under_the_name_of_older_files(former):
    import keras  # noqa: PLC0415 - other tests of this file need it not

    register()
    kind = keras.saving.get_registered_object(f"{FORMER}>{former}")
    assert kind is not None
    # It is written under the one name space alone.
    assert keras.saving.get_registered_name(kind) == f"{PACKAGE}>{former}"


def test_a_file_of_the_former_name_space_is_read(saved, tmp_path):
    import keras  # noqa: PLC0415 - as above

    old = tmp_path / "old.keras"
    with zipfile.ZipFile(saved) as given, zipfile.ZipFile(old, "w") as made:
        for name in given.namelist():
            text = given.read(name)
            if name == "config.json":
                assert text.count(b"ckrm_tf>SlimConv2D") == 1
                text = text.replace(b"ckrm_tf>SlimConv2D", b"ckrm>SlimConv2D")
            made.writestr(name, text)
    done = python(LOAD, str(old), "ckrm_tf,keras")
    assert done.stdout.strip() == "SlimConv2D", done.stderr
    # Without the package Keras knows neither name.
    assert "SlimConv2D" not in python(LOAD, str(old), "keras").stdout
    image = np.random.default_rng(1).random((2, 8, 8, 8))
    first, second = (keras.models.load_model(path)(image) for path in (saved, old))
    np.testing.assert_array_equal(first, second)


def test_nothing_is_registered_past_the_one_name_space():
    assert [p for p in (ROOT / "ckrm_tf").rglob("*.py") if "@keras.saving" in p.read_text()] == []


LOAD = """
import sys
for name in sys.argv[2].split(","):
    __import__(name)
import keras
print(type(keras.models.load_model(sys.argv[1]).layers[1]).__name__)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import keras  # noqa: PLC0415 - other tests of this file need it not

    path = tmp_path_factory.mktemp("saved") / "slim.keras"
    image = keras.Input((8, 8, 8))
    keras.Model(image, ckrm_tf.SlimConv2D(4 / 3)(image)).save(path)
    return str(path)


@pytest.mark.parametrize("order", ["ckrm_tf,keras", "keras,ckrm_tf"])
def test_a_saved_layer_is_found_whichever_is_imported_first(saved, order):
    done = python(LOAD, saved, order)
    assert done.stdout.strip() == "SlimConv2D", done.stderr


def test_a_saved_layer_is_not_found_without_the_package(saved):
    done = python(LOAD, saved, "keras")
    assert done.returncode
    assert "SlimConv2D" in done.stderr


def test_the_list_of_packages_is_that_of_the_folders():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        ".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("ckrm_tf/**/__init__.py")
    }
    folders |= {
        ".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("search/**/__init__.py")
    }
    folders.add("search.configs")
    assert set(settings["packages"]) == folders
    assert settings["package-dir"] == {"search.configs": "configs"}


CONFIG = "from search.config_files import config_text; print(config_text('default.yaml'))"


@pytest.mark.parametrize("own", ["configs/__init__.py", "configs/default.yaml", "configs.py"])
def test_a_users_own_configs_hide_nothing(tmp_path, own):
    file = tmp_path / own
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    done = python(CONFIG, cwd=tmp_path)
    assert "epochs: 12" in done.stdout, done.stderr


def test_the_commands_are_where_the_table_says():
    for name, command in COMMANDS.items():
        assert callable(getattr(importlib.import_module(command.module), command.function))
        assert name in usage()


COMMAND = "import sys; from search.commands import main; main(sys.argv[1:])"


def test_a_command_ends_as_a_module_does():
    done = python(COMMAND, "run", "--trials", "0")
    assert (done.returncode, done.stdout) == (2, "")
    # TensorFlow may have said something before it.
    assert done.stderr.endswith("error: --trials: expected at least 1, received 0\n")


def test_a_misspelt_command_names_the_nearest():
    done = python(COMMAND, "mesure")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown command")
    assert "Did you mean 'measure'?" in done.stderr
