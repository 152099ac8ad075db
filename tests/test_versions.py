"""One place tells versions, whatever the distribution of a package is called."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from ckrm_tf.versions import difference, library_version, versions


@pytest.mark.parametrize(
    "distribution",
    ["tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"],
)
def test_tensorflow_is_found_by_each_of_its_names(distribution):
    def version_of(name):
        if name != distribution:
            raise PackageNotFoundError(name)
        return "9.9"

    assert library_version("tensorflow", version_of) == "9.9"


def test_a_distribution_of_a_name_that_nobody_knows_is_found_by_what_it_holds():
    # PyYAML holds `yaml`, which no list here names.
    import yaml  # noqa: PLC0415 - what is asked for is told without it

    assert library_version("yaml") == yaml.__version__
    assert library_version("pyyaml_of_nobody") is None


def test_the_versions_are_those_that_the_modules_tell():
    import keras  # noqa: PLC0415 - seconds
    import keras_tuner  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    found = versions("keras_tuner")
    assert found["keras"] == keras.__version__
    assert found["keras_tuner"] == keras_tuner.__version__
    assert found["numpy"] == np.__version__
    assert found["tensorflow"] == tf.__version__
    assert found["backend"] == keras.backend.backend()
    assert "keras_tuner" not in versions()


def test_nothing_is_imported_for_it():
    code = (
        "import sys; from ckrm_tf.versions import versions; found = versions(); "
        "print(sorted(found), 'keras' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "['ckrm-tf', 'keras', 'numpy', 'python', 'tensorflow']"
    assert done.stdout.strip() == f"{names} False False"


def test_machines_differ_by_any_version_but_the_last_number_of_python():
    here = {"python": "3.12.1", "keras": "3.15.1"}
    assert difference(here, {**here, "python": "3.12.4"}) is None
    assert difference(here, {**here, "python": "3.11.1"}) == ("python", "3.12", "3.11")
    assert difference(here, {**here, "keras": "3.15.0"}) == ("keras", "3.15.1", "3.15.0")
    assert difference(here, {"python": "3.12.1"}) == ("keras", "3.15.1", "none")
    assert difference(here, {**here, "jax": "1"}) == ("jax", "none", "1")
