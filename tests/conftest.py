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
