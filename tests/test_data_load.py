from __future__ import annotations

from pathlib import Path

import pytest

from ckrm_tf.data import load_dataset
from ckrm_tf.errors import CKRMError


@pytest.mark.parametrize("source", ["mnist", "", "data.zip", "no/such/folder"])
def test_unknown_source_says_what_is_accepted(source: str) -> None:
    with pytest.raises(CKRMError, match=r'unknown data source: expected "phantom", a \.npz file'):
        load_dataset(source)


def test_a_misspelt_phantom() -> None:
    with pytest.raises(CKRMError, match="Did you mean 'phantom'"):
        load_dataset("phantoms")


def test_a_misspelt_option_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CKRMError, match=r"unknown option of phantom: .*Did you mean 'separation'"):
        load_dataset("phantom", seperation=1)
    with pytest.raises(CKRMError, match=r"unknown option of load_folder: .*'chanels'"):
        load_dataset(tmp_path, chanels=3)
    with pytest.raises(CKRMError, match="unknown option of load_npz"):
        load_dataset(tmp_path / "x.npz", channels=3)


def test_egd_cxr_reaches_its_own_reader(tmp_path: Path) -> None:
    with pytest.raises(CKRMError, match="unknown option of load_egd_cxr"):
        load_dataset(f"egd-cxr:{tmp_path}", no_such_option=1)
    # An empty folder is refused by the reader itself, not taken for an unknown source.
    with pytest.raises(CKRMError) as caught:
        load_dataset(f"egd-cxr:{tmp_path}")
    assert "unknown data source" not in str(caught.value)
