"""The settings of a search: configs/default.yaml, then --config, then flags."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ckrm_tf.criteria.registry import criterion
from ckrm_tf.data import EGD_PREFIX
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.families.base import Family, StartOptions
from ckrm_tf.families.registry import family
from ckrm_tf.judge.select import CONFIRMED_SHARE
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.tuning.registry import strategy
from ckrm_tf.tuning.rule import Rule
from search.config_files import config_text

CHOICES = {
    "split": ("patient", "image"),
    "frame": ("whole", "paper"),
    "from_": ("slices", "scratch"),
    "unseen": ("test", "none"),
}

# Settings that may change between a run and its continuation: none changes a training's result.
FREE = ("trials", "out", "tensorboard")

# Settings that only a search over a given model has.
OF_MODEL = (
    *("model", "from_", "select", "multiple"),
    *("pixels", "output", "unseen", "custom", "unsafe"),
)

# Any input will do to see whether the starting network's own numbers are possible.
ANY_INPUT = (1024, 1024, 1)


@dataclass(frozen=True)
class Settings:
    """One value per key of `configs/default.yaml`, where each is explained."""

    data: str
    image_size: int | None
    split: str
    frame: str
    trials: int
    seeds: int
    seed: int
    strategy: str
    criterion: str
    margin: float
    penalty: float
    bold: float
    floor: int
    depth: bool
    level: bool
    confirm: int
    family: str
    filters: int
    growth: float
    blocks: tuple[int, ...]
    conv: str
    ratio: float
    ggcam: bool
    ggcam_a: float
    ggcam_e: float
    epochs: int
    batch_size: int
    learning_rate: float
    l1: float
    shift: int
    out: str
    tensorboard: bool
    model: str | None
    from_: str
    select: str | None
    multiple: int
    pixels: str | None
    output: str | None
    unseen: str
    custom: str | None
    unsafe: bool

    def __post_init__(self) -> None:
        strategy(self.strategy, self.seed)
        criterion(self.criterion)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"--{name.rstrip('_')}", getattr(self, name), known)
        for name in ("trials", "seeds", "filters", "multiple"):
            if getattr(self, name) < 1:
                raise CKRMError(f"--{name}", expected="at least 1", received=getattr(self, name))
        if self.seed < 1:
            # KerasTuner takes 0 for "no seed".
            raise CKRMError("--seed", expected="at least 1", received=self.seed)
        if not 0 < self.margin < 1:
            # The test of non-inferiority at the end of the search takes no other.
            raise CKRMError("--margin", expected="between 0 and 1", received=self.margin)
        if self.confirm < 0:
            raise CKRMError("--confirm", expected="0 or more", received=self.confirm)
        # Built here so that a bad value is refused before any data are read.
        self.rule, self.recipe, self.network(ANY_INPUT, 2).start

    @property
    def rule(self) -> Rule:
        """The settings of the proposal."""
        return Rule(
            margin=CONFIRMED_SHARE * self.margin,
            bold=self.bold,
            floor=self.floor,
            depth=self.depth,
            level=self.level,
            repeats=max(1, self.confirm),
        )

    @property
    def most_seeds(self) -> int:
        """Seeds that one network may be trained with in a search."""
        return self.seeds * max(1, -(-self.confirm // self.seeds))

    @property
    def recipe(self) -> Recipe:
        """The training recipe."""
        return Recipe(self.epochs, self.batch_size, self.learning_rate, self.l1, self.shift)

    def network(self, input_shape: tuple[int, int, int], classes: int) -> Family:
        """The family searched, for images of this shape and so many classes.

        Raises:
            CKRMError: an unknown family, a starting network that is none, options it has not.
        """
        options = StartOptions(self.filters, self.growth, self.blocks, self.conv, self.ratio)
        return family(self.family, options, input_shape, classes)

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds each network is trained with."""
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def data_options(self) -> dict[str, Any]:
        """What the data source takes beside image size and seed."""
        if not self.data.startswith(EGD_PREFIX):
            return {}
        gaze = "eye_gaze" if self.ggcam else None
        return {"split": self.split, "recipe": self.frame, "gaze": gaze}

    def fingerprint(self) -> dict[str, Any]:
        """The settings a continued run must share with its beginning."""
        values = asdict(self) | {"blocks": list(self.blocks)}
        unused: tuple[str, ...] = () if self.ggcam else ("ggcam_a", "ggcam_e")
        unused += () if self.data.startswith(EGD_PREFIX) else ("split", "frame")
        # The file is known by its content, wherever it lies.
        unused += ("model",) if self.model else OF_MODEL
        return {k.rstrip("_"): v for k, v in values.items() if k not in (*FREE, *unused)}


def load_settings(config: str | None, flags: Mapping[str, Any]) -> Settings:
    """The settings in force.

    Raises:
        CKRMError: an unknown key or flag, with the nearest known one; a value of the wrong type.
    """
    values = _read(config_text("default.yaml"), "defaults")
    if config is not None:
        path = Path(config).expanduser()
        if not path.is_file():
            raise CKRMError("--config", expected="a YAML file", received=str(config))
        values |= _checked(_read(path.read_bytes(), path.name), f"key in {path.name}")
    values |= _checked({k.replace("-", "_"): v for k, v in flags.items()}, "flag")
    types_ = typing.get_type_hints(Settings)
    fields_ = {_field(k): v for k, v in values.items()}
    return Settings(**{k: _typed(k.rstrip("_"), v, types_[k]) for k, v in fields_.items()})


def _field(key: str) -> str:
    """The name of a key's field: `from` is a word of Python."""
    return "from_" if key == "from" else key


def _read(text: str | bytes, name: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise CKRMError(f"config {name}", expected="YAML", received=str(error)) from error
    if not isinstance(data, dict):
        raise CKRMError(f"config {name}", expected="keys and values", received=type(data).__name__)
    return data


def _checked(values: dict[str, Any], kind: str) -> dict[str, Any]:
    known = [field.name.rstrip("_") for field in fields(Settings)]
    for key in values:
        if key not in known:
            raise unknown_name(kind, str(key), known)
    return values


def _typed(name: str, value: Any, kind: Any) -> Any:
    """`value` as the field's type, or an error that names both."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and value and all(type(v) is int for v in value):
            return tuple(value)
        raise CKRMError(f"--{name}", expected="a list of whole numbers", received=repr(value))
    if kind is str:
        if value is None or isinstance(value, bool):
            raise CKRMError(f"--{name}", expected="a text", received=repr(value))
        # Fire reads --out=1e3 as a number; the user meant a name.
        return str(value)
    right = type(value) is kind or (kind is float and type(value) is int)
    if not right:
        words = {int: "a whole number", float: "a number", bool: "true or false"}
        raise CKRMError(f"--{name}", expected=words[kind], received=repr(value))
    return kind(value)
