"""Fixtures that many tests share: data and networks as small as they can be."""

from __future__ import annotations

import os

import numpy as np
import pytest

# Read by TensorFlow when it is imported, which is after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def tiny_data():
    """48 + 32 + 32 phantoms of 16x16 pixels."""
    from ckrm_tf.data.phantom import phantom  # noqa: PLC0415 - seconds that other tests need not

    return phantom(n=(48, 32, 32), image_size=16)


@pytest.fixture(scope="session")
def tiny_widths():
    """Two stages of one block: the smallest network with everything in it."""
    from ckrm_tf.families.widths import Stage, Widths  # noqa: PLC0415 - as above

    return Widths(8, (Stage(1, 8, 8), Stage(1, 8, 8)))


@pytest.fixture(scope="session")
def npz(tmp_path_factory, tiny_data):
    """The tiny data in MedMNIST's layout."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(
        path,
        **{f"{n}_images": s.images[..., 0] for n, s in tiny_data.splits().items()},
        **{f"{n}_labels": s.labels[:, None] for n, s in tiny_data.splits().items()},
    )
    return path


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a search of 20 trials that has ended; a module may write into its own."""
    from report_records import make_folder  # noqa: PLC0415 - as above

    return make_folder(tmp_path_factory.mktemp("run") / "ended", 20, ended=True)


@pytest.fixture(scope="module")
def full(ended):
    """The record of such a search, with everything that it can hold."""
    from report_records import full_record  # noqa: PLC0415 - as above

    return full_record(ended)


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The record of a search that goes on, with failed trainings and no test split."""
    from report_records import make_folder  # noqa: PLC0415 - as above

    from ckrm_tf.reporting.collect import collect  # noqa: PLC0415 - as above

    return collect(make_folder(tmp_path_factory.mktemp("run") / "failed", 100))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The folder of a comparison, with what holds over new seeds."""
    from report_records import HELD, compared_rows, make_comparison  # noqa: PLC0415 - as above

    folder = tmp_path_factory.mktemp("run") / "compared"
    return make_comparison(folder, compared_rows(), held=HELD)
