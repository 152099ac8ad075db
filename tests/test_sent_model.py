"""A given model, and the family of its slices, in another process."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from given_models import given_family

from ckrm_tf import CKRMError
from ckrm_tf.train.trainer import predict

READ = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    family, images = pickle.load(file)
design = family.start.replace({family.axes[0].name: 3})
model = family.build(design)
np.save(sys.argv[2], np.asarray(model(images, training=False)))
print(family.start.to_json())
"""


@pytest.fixture(scope="module")
def family(tmp_path_factory, tiny_data):
    return given_family(tmp_path_factory.mktemp("given"), tiny_data)


def sliced(family):
    return family.build(family.start.replace({family.axes[0].name: 3}))


def test_another_process_makes_the_same_slices(family, tiny_data, tmp_path):
    images = tiny_data.val.images.astype(np.float32) / tiny_data.scale
    (tmp_path / "sent").write_bytes(pickle.dumps((family, images)))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "sent"), str(tmp_path / "found.npy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == family.start.to_json()
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, sliced(family)(images, training=False), atol=1e-5)
    whole = family.build(family.start)(images, training=False)
    assert np.abs(found - whole).max() > 1e-3


def test_the_channels_that_stay_are_those_that_were_chosen_here(family, tiny_data):
    """An order that no measurement gives comes out as it went in."""
    own = dict(family.narrower.order())
    before = predict(sliced(family), tiny_data.val, tiny_data.scale)
    try:
        family.narrower.take_order({name: order[::-1] for name, order in own.items()})
        other = pickle.loads(pickle.dumps(family))
        expected = predict(sliced(family), tiny_data.val, tiny_data.scale)
    finally:
        family.narrower.take_order(own)
    found = predict(sliced(other), tiny_data.val, tiny_data.scale)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - before).max() > 1e-4


def test_a_model_whose_file_is_not_known_stays_here(family, tiny_data):
    known, family.sent = family.sent, None
    try:
        with pytest.raises(CKRMError, match="model given: expected one whose file is known"):
            pickle.dumps(family)
    finally:
        family.sent = known
