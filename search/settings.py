"""The settings of a search: configs/default.yaml, then --config, then flags."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ckrm_tf.cluster.share import check_gpus
from ckrm_tf.criteria.registry import signal_rule
from ckrm_tf.data import EGD_PREFIX, Dataset
from ckrm_tf.data.folds import most_folds
from ckrm_tf.data.limits import brief
from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.families.base import Family, StartOptions
from ckrm_tf.families.registry import family
from ckrm_tf.judge.select import CONFIRMED_SHARE
from ckrm_tf.train.precision import FLOAT32, precision_of
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import Way
from ckrm_tf.tuning.registry import kind, strategy
from ckrm_tf.tuning.rule import Rule
from search.config_files import config_text, explained, read_config, read_yaml
from search.data_flags import PLACES, check_data_flags, data_flags, loader_options
from search.ranges import MOST_STAGES, RANGES, check_ranges
from search.values import read_option, typed

CHOICES = {
    "split": ("patient", "image"),
    "frame": ("whole", "paper"),
    "from_": ("slices", "scratch"),
    "unseen": ("test", "none"),
}

# What networks start from where nothing is said depends on whether a model is given.
BY_MODEL = "auto"

# Settings that may change between a run and its continuation: none changes a training's result.
FREE = (
    *("trials", "out", "formats", "tensorboard", "penalty", "no_test", "training_timeout"),
    *("optuna_storage", "reuse"),
)
# Of these, what says where things lie and is not kept: a URL may hold a password.
UNKEPT = ("out", "optuna_storage", "reuse")

# Where trainings run. No result says it, so it may change at any time and is not recorded.
WHERE = ("workers", "cluster", "gpus_per_training")

# Settings that only a search over a given model has.
OF_MODEL = (
    *("model", "select"),
    *("pixels", "output", "unseen", "custom", "unsafe"),
)

# Settings that run.json has under another name: `pixels` is the hash of the data there.
RECORDED = {"pixels": "pixel_range"}

# Of a search on data whose patients are known.
FOLDS = 5

# Any input will do to see whether the starting network's own numbers are possible.
ANY_INPUT = (1024, 1024, 1)


@dataclass(frozen=True)
class Settings:
    """One value per key of `configs/default.yaml`, where each is explained."""

    data: str
    image_size: int | tuple[int, ...] | None
    split: str
    frame: str
    trials: int
    seeds: int
    seed: int
    folds: int | None
    strategy: str
    criterion: str
    margin: float
    penalty: float
    score_share: float
    bold: float
    floor: int
    depth: bool
    level: bool
    confirm: int
    no_test: bool
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
    precision: str
    deterministic: bool
    distill: bool
    training_timeout: float | None
    workers: int | None
    cluster: str | None
    gpus_per_training: float | None
    out: str
    formats: str
    tensorboard: bool
    optuna_storage: str | None
    reuse: tuple[str, ...] | None
    model: str | None
    from_: str
    select: str | None
    multiple: int
    pixels: str | None
    output: str | None
    unseen: str
    custom: str | None
    unsafe: bool
    # Options of the data source, by flag; only those that were given.
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges({name: getattr(self, name) for name in RANGES})
        strategy(self.strategy, self.seed)
        signal_rule(self.criterion)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"--{name.rstrip('_')}", getattr(self, name), known)
        if isinstance(self.image_size, tuple) and len(self.image_size) != 2:
            raise CKRMError(
                "--image-size", expected="a side, or height and width", received=self.image_size
            )
        if not 0 < self.margin < 1:
            # The test of non-inferiority at the end of the search takes no other.
            raise CKRMError("--margin", expected="between 0 and 1", received=self.margin)
        if self.folds == 1:
            raise CKRMError("--folds", expected="0, or at least 2", received=1)
        if self.folds and self.model:
            raise CKRMError(
                "--folds",
                expected="a starting network that is trained anew",
                received=self.model,
                hint="A given model may have seen any image.",
            )
        if len(self.blocks) > MOST_STAGES:
            raise CKRMError(
                "--blocks", expected=f"at most {MOST_STAGES} stages", received=len(self.blocks)
            )
        plain = self.recipe.precision == FLOAT32
        if not plain and (self.ggcam or self.model):
            raise CKRMError(
                "--precision",
                expected="float32 with --ggcam, and with --model, whose layers keep their own",
                received=self.precision,
            )
        if self.ggcam and self.way.inherits:
            raise CKRMError(
                "--ggcam",
                expected="networks that take nothing over from the start",
                received="--distill" if self.distill else "--from slices",
            )
        check_data_flags(self.data, self.options)
        check_gpus(self.gpus_per_training)
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
            penalty=self.penalty,
        )

    @property
    def held_out(self) -> float:
        """The share of the training images on which slices are scored; 0 where none are."""
        return self.score_share if kind(self.strategy).scored else 0.0

    def fold_count(self, data: Dataset) -> int:
        """Folds of a search; 0: the validation split that the data bring."""
        if self.folds is not None:
            return self.folds
        if data.train.patients is None or data.val.patients is None or self.model:
            return 0
        return most_folds(data, FOLDS)

    @property
    def most_seeds(self) -> int:
        """Seeds that one network may be trained with in a search."""
        return self.seeds * max(1, -(-self.confirm // self.seeds))

    @property
    def recipe(self) -> Recipe:
        """The training recipe."""
        precision = precision_of(self.precision)
        return Recipe(
            self.epochs, self.batch_size, self.learning_rate, self.l1, self.shift, precision
        )

    @property
    def way(self) -> Way:
        """What the networks of a search take over from the trained start."""
        return Way.of(self.distill, self.from_, given=bool(self.model))

    def network(self, input_shape: tuple[int, int, int], classes: int) -> Family:
        """The family searched, for images of this shape and so many classes.

        Raises:
            CKRMError: an unknown family, a starting network that is none, options it has not.
        """
        options = StartOptions(
            self.filters, self.growth, self.blocks, self.conv, self.ratio, self.multiple
        )
        return family(self.family, options, input_shape, classes)

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds each network is trained with."""
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def data_options(self) -> dict[str, Any]:
        """What the data source takes beside image size and seed, by the loader's keywords."""
        given = loader_options(self.options)
        if not self.data.startswith(EGD_PREFIX):
            return given
        gaze = "eye_gaze" if self.ggcam else None
        return {"split": self.split, "recipe": self.frame, "gaze": gaze} | given

    def fingerprint(self) -> dict[str, Any]:
        """The settings a continued run must share with its beginning."""
        values = {k: v for k, v in asdict(self).items() if k != "options"}
        # The pixels tell which data they are, wherever the files lie.
        values |= {k: v for k, v in self.options.items() if k not in PLACES}
        values["precision"] = self.recipe.precision
        unused: tuple[str, ...] = () if self.ggcam else ("ggcam_a", "ggcam_e")
        unused += () if self.data.startswith(EGD_PREFIX) else ("split", "frame")
        # The file is known by its content, wherever it lies.
        unused += ("model",) if self.model else OF_MODEL
        return {
            RECORDED.get(k, k.rstrip("_")): list(v) if isinstance(v, tuple) else v
            for k, v in values.items()
            if k not in (*FREE, *WHERE, *unused)
        }

    @property
    def free(self) -> dict[str, Any]:
        """The settings that may change when a run goes on; changes are logged in its folder."""
        return {name: getattr(self, name) for name in FREE if name not in UNKEPT}


KEYS = tuple(f.name.rstrip("_") for f in fields(Settings) if f.name != "options")
"""The keys of `configs/default.yaml`."""


def option_flags() -> dict[str, Option]:
    """The flags of the data sources that no setting speaks for."""
    return {name: option for name, option in data_flags().items() if name not in KEYS}


def setting_flags(*files: str) -> dict[str, Option]:
    """Every setting as a flag, with the default and the explanation of the settings file.

    Args:
        files: of `configs/`; a later one wins. By default default.yaml.
    """
    kinds = typing.get_type_hints(Settings)
    found: dict[str, Option] = {}
    for file in files or ("default.yaml",):
        text = config_text(file)
        told = explained(text)
        for key, value in read_yaml(text, file).items():
            if key in KEYS:
                kind = kinds[_field(key)]
                words = told[key] or (found[key].help if key in found else "")
                found[key] = Option(key, kind, typed(key, value, kind), words)
    return found


def run_flags() -> dict[str, Option]:
    """The flags of a search."""
    return {**setting_flags(), **option_flags()}


Layer = tuple[str | None, Mapping[str, Any]]
"""The file that values come from, None for flags, and the values by key."""


def load_settings(config: str | None, flags: Mapping[str, Any]) -> Settings:
    """The settings in force.

    Args:
        config: a YAML file, or None.
        flags: values by flag: of Python, or texts, which are read by the setting's type.

    Raises:
        CKRMError: an unknown key or flag, with the nearest known one; a value of the wrong type, or
            one that cannot work.
    """
    return make_settings([*([] if config is None else [read_config(config)]), (None, flags)])


def make_settings(layers: Iterable[Layer]) -> Settings:
    """The settings of default.yaml and of these layers, of which a later one wins."""
    known = (*KEYS, *option_flags())
    return settings_of(gather([default_layer("default.yaml"), *layers], known))


def default_layer(file: str) -> Layer:
    """One file of `configs/`."""
    return file, read_yaml(config_text(file), file)


def gather(layers: Iterable[Layer], known: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """By key, where its value stands and the value; a later layer wins.

    Raises:
        CKRMError: a key that is not known, with the nearest one.
    """
    known = list(known)
    found: dict[str, tuple[str, Any]] = {}
    for file, values in layers:
        for key, value in values.items():
            name = str(key) if file else str(key).replace("-", "_")
            if name not in known:
                raise unknown_name(f"key in {file}" if file else "flag", brief(name, 60), known)
            where = f"{name} in {file}" if file else f"--{name.replace('_', '-')}"
            found[name] = where, value
    return found


def settings_of(found: Mapping[str, tuple[str, Any]]) -> Settings:
    """The settings of the values that `gather` found.

    Raises:
        CKRMError: a value of the wrong type, or one that cannot work.
    """
    kinds, sources = typing.get_type_hints(Settings), option_flags()
    own: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, (where, value) in found.items():
        if name in sources:
            options[name] = read_option(where, value, sources[name])
        else:
            own[_field(name)] = typed(where, value, kinds[_field(name)])
    if own["from_"] == BY_MODEL:
        own["from_"] = "slices" if own["model"] else "scratch"
    return Settings(**own, options=options)


def _field(key: str) -> str:
    """The name of a key's field: `from` is a word of Python."""
    return "from_" if key == "from" else key
