"""Every source declares its options once: loader, `load_dataset` and flags agree."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import get_args

import pytest

from ckrm_tf.data import SOURCES, Option, Source, load_dataset, options, source_of
from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.data.folder import load_folder
from ckrm_tf.data.npz import load_npz
from ckrm_tf.data.phantom import phantom
from ckrm_tf.errors import CKRMError

LOADERS = {f.__name__: f for f in (phantom, load_npz, load_folder, load_egd_cxr)}
COMMON = {"path", "image_size", "seed", "progress"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
class TestEverySource:
    def test_its_options_are_those_of_its_loader(self, source: Source) -> None:
        parameters = inspect.signature(LOADERS[source.name]).parameters
        declared = {option.name: option for option in source.options}
        assert set(declared) == set(parameters) - COMMON
        for name, option in declared.items():
            assert option.default == parameters[name].default

    def test_its_options_can_be_flags(self, source: Source) -> None:
        for option in source.options:
            assert option.name.isidentifier()
            assert option.help
            assert not option.help.endswith(".")
            assert option.help[0].islower() or option.help[0].isdigit()
            kinds = get_args(option.type) if isinstance(option.type, UnionType) else [option.type]
            names = {getattr(kind, "__name__", str(kind)) for kind in kinds}
            assert names <= {"int", "float", "str", "bool", "tuple", "NoneType"}
            if option.choices and option.default is not None:
                assert option.default in option.choices

    def test_an_unknown_option_names_the_nearest(self, source: Source) -> None:
        known = source.options[0].name
        with pytest.raises(CKRMError, match=rf"unknown option of {source.name}.*one of .*{known}"):
            source.check({"no_such": 1})
        if len(known) > 3:
            with pytest.raises(CKRMError, match=f"Did you mean '{known}'"):
                source.check({known[:-1]: 1})
        source.check({option.name: option.default for option in source.options})

    def test_a_value_of_another_type(self, source: Source) -> None:
        for option in source.options:
            with pytest.raises(CKRMError, match=f"^{option.name}: expected .* received"):
                source.check({option.name: {"a": "mapping"}})
            with pytest.raises(CKRMError, match=f"^{option.name}: "):
                source.check({option.name: b"bytes" if option.type is bool else True})


def test_options_of_one_name_are_one_option() -> None:
    by_name: dict[str, set[Option]] = {}
    for source in SOURCES:
        for option in source.options:
            by_name.setdefault(option.name, set()).add(option)
    assert {name for name, found in by_name.items() if len(found) > 1} == set()
    assert set(options()) == set(by_name) >= {"scale", "channels", "split", "reader"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("phantom", "phantom"),
        ("some/where/x.NPZ", "load_npz"),
        ("egd-cxr:", "load_egd_cxr"),
        ("egd-cxr:/data/physionet", "load_egd_cxr"),
        (".", "load_folder"),
        ("..", "load_folder"),
    ],
)
def test_which_source_a_text_names(text: str, name: str) -> None:
    assert source_of(text).name == name


@pytest.mark.parametrize("text", ["a\0b", "x" * 5000, "\n", "Phantom", "data.zip"])
def test_no_source(text: str) -> None:
    with pytest.raises(CKRMError, match="unknown data source") as caught:
        load_dataset(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x.npz", "x" * 300 + ".npz", "egd-cxr:\0"])
def test_paths_that_cannot_be(text: str) -> None:
    with pytest.raises(CKRMError) as caught:
        load_dataset(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_that_is_none(seed: object) -> None:
    for source in ("phantom", "."):
        with pytest.raises(CKRMError, match=r"^seed: expected a whole number of at least 0"):
            load_dataset(source, seed=seed)


@pytest.mark.parametrize("n", [3, 3.5, "9,3,3", (9, 3), (9, 3, 2.0), None])
def test_phantoms_of_no_number(n: object) -> None:
    with pytest.raises(CKRMError, match=r"^n: expected"):
        load_dataset("phantom", n=n)


def test_a_path_is_a_source(tmp_path: Path) -> None:
    assert source_of(tmp_path).name == "load_folder"


def test_every_source_tells_how_pixels_are_scaled() -> None:
    data = load_dataset(n=(9, 3, 3), image_size=16)
    assert data.notes == ("pixels 0 to 255, uint8: divided by 255",)
