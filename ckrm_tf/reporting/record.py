"""The plain record of a run: everything a report says, as frozen values ready for JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ckrm_tf.reporting.comparison import Comparison
from ckrm_tf.train.way import PLAIN_NAME

# Of report.json: a reader of it can tell what it holds.
SCHEMA = 1

Kind = Literal["search", "compare", "narrow"]
Status = Literal["equivalent", "non-inferior", "not shown", "no verdict"]


@dataclass(frozen=True)
class Estimate:
    """A number with its bounds, where they are known.

    Attributes:
        low, high: None where nothing shows how the number varies.
        over: what the bounds are about, such as "lowest and highest of 3 trainings".
    """

    value: float
    low: float | None = None
    high: float | None = None
    over: str = ""

    @classmethod
    def of_trainings(cls, values: Sequence[float]) -> Estimate:
        """The mean over trainings, and the range of several.

        Example:
            >>> Estimate.of_trainings([0.5, 0.75])
            Estimate(value=0.625, low=0.5, high=0.75, over='lowest and highest of 2 trainings')
        """
        mean = sum(values) / len(values)
        if len(values) == 1:
            return cls(mean, over="one training")
        over = f"lowest and highest of {len(values)} trainings"
        return cls(mean, min(values), max(values), over)


@dataclass(frozen=True)
class FileSize:
    """A file or folder and its bytes on disk."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Network:
    """One of the two networks that a report is about.

    Attributes:
        text: its numbers in a few words.
        design: each width or depth by name.
        params: trainable parameters.
        macs: multiply-accumulates for one image.
        val_auc, test_auc: mean macro AUC of its trainings; None where it was not measured.
        trained_auc: macro AUC of the first trained network on unseen images.
        trainings: finished ones, of the epochs of the search.
        weights_bytes: of the file with its weights, as the search keeps it; None without one.
        lam: lambda by layer, averaged over its trainings.
        null: lambda of random kernels by layer, where the record has it.
    """

    text: str
    design: Mapping[str, int]
    params: int
    macs: int
    val_auc: Estimate | None = None
    test_auc: Estimate | None = None
    trained_auc: Estimate | None = None
    trainings: int = 0
    weights_bytes: int | None = None
    lam: Mapping[str, float] = field(default_factory=dict)
    null: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AxisRow:
    """One width or depth before and after.

    Attributes:
        kind: "width", in channels, or "depth", in blocks or layers.
        group: the stage.
        least: the smallest number that the search may try.
        recommended: None while nothing is recommended.
    """

    name: str
    kind: str
    group: str
    least: int
    start: int
    recommended: int | None


@dataclass(frozen=True)
class TrainingRow:
    """One training, in the order in which it was recorded.

    Attributes:
        network: index of its network in `Record.tried`.
        fold: whose images it validated on, in a search by folds; None without.
        part: the cross-validation of `search.final` that it belongs to, such as "folds3/fold2",
            which judges by itself; "" for a training of the search.
        lam: mean lambda over the measured layers.
        redundancy: the largest that the criterion told of a width; None without signals.
        seconds, cpu_seconds: wall time, processor time of all threads.
        reason: why it failed.
        how: what it took over from the start (`ckrm_tf.train.way`).
    """

    number: int
    network: int
    text: str
    seed: int
    fold: int | None
    epochs: int
    status: str
    params: int
    macs: int
    val_auc: float | None
    lam: float | None
    seconds: float
    cpu_seconds: float
    reason: str | None
    finished: str
    part: str = ""
    redundancy: float | None = None
    how: str = PLAIN_NAME


@dataclass(frozen=True)
class Tried:
    """One network of the search over all its trainings.

    Attributes:
        role: "start", "recommended" or "".
        aucs: validation AUC of each finished training of the full number of epochs.
        front: no other network is at least as small with a higher mean AUC.
        holds: its mean AUC is within the margin of the start's; None when it has none.
    """

    number: int
    text: str
    design: Mapping[str, int]
    params: int
    macs: int
    aucs: tuple[float, ...]
    role: str
    front: bool
    holds: bool | None

    @property
    def auc(self) -> float | None:
        """Mean validation AUC."""
        return sum(self.aucs) / len(self.aucs) if self.aucs else None


@dataclass(frozen=True)
class Baseline:
    """One network of an unguided search with the same data and recipe.

    Attributes:
        aucs: validation AUC of each finished training of the full number of epochs.
    """

    strategy: str
    text: str
    params: int
    macs: int
    aucs: tuple[float, ...]

    @property
    def auc(self) -> float:
        """Mean validation AUC."""
        return sum(self.aucs) / len(self.aucs)


@dataclass(frozen=True)
class Verdict:
    """What one comparison on unseen images found, recommended minus start.

    Attributes:
        source: the file that it stands in.
        split: the images, in words.
        about: "networks" (other trainings, other images) or "trained models" (other images).
        low, high: 95% interval; None without a verdict.
        images: None where the file does not tell.
        trainings: of each network.
        ours: it is about the recommended network, not about another candidate.
        unseen: the images have chosen nothing.
    """

    source: str
    split: str
    about: str
    candidate: str
    difference: float
    low: float | None
    high: float | None
    margin: float
    status: Status
    confidence: float
    images: int | None
    trainings: tuple[int, int] | None
    folds: int
    ours: bool
    unseen: bool


@dataclass(frozen=True)
class ClassRow:
    """One class on one set of images, both networks."""

    source: str
    split: str
    name: str
    images: int | None
    auc: tuple[Estimate, Estimate]
    sensitivity: tuple[Estimate, Estimate]


@dataclass(frozen=True)
class Curve:
    """A ROC curve of one class against the rest, of one trained network."""

    label: str
    network: str
    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]


@dataclass(frozen=True)
class Disagreement:
    """An image for which the two trained networks name different classes.

    Attributes:
        picture: the image, and the class activation map of each network over it where they have
            one, as a data URI.
    """

    image: int
    label: str
    start: str
    recommended: str
    picture: str | None = None


@dataclass(frozen=True)
class Latency:
    """Measured time of one batch: the median of several calls, with the fastest and slowest.

    Attributes:
        bytes: of the file or folder that was called, on disk.
    """

    network: str
    runtime: str
    batch: int
    seconds: float
    low: float
    high: float
    calls: int
    bytes: int


@dataclass(frozen=True)
class JudgedFile:
    """A file that rounds, on labelled images beside the model in it.

    Attributes:
        name: its format.
        split: the images, in words.
        model, file: macro AUC with its interval over images; None where the labels allow none.
        difference: file minus model.
        why: nothing could be told; "" otherwise.
    """

    name: str
    split: str
    images: int
    model: Estimate | None
    file: Estimate | None
    difference: Estimate | None
    why: str = ""


@dataclass(frozen=True)
class Export:
    """The export folder: its files, and how far their outputs are from the trained model's.

    Attributes:
        differences: of each format.
        tolerances: of those that are bounded.
        judged: the files that round.
    """

    folder: str
    files: tuple[FileSize, ...]
    differences: Mapping[str, float]
    tolerances: Mapping[str, float]
    images: int | None
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    scale: float | None = None
    judged: tuple[JudgedFile, ...] = ()


@dataclass(frozen=True)
class Record:
    """Everything a report says.

    Attributes:
        kind: a search, a comparison of searches, or the narrowing of one model.
        folder: its name, without the way to it.
        finished: a search that has written its summary, a comparison with all its repeats.
        settings: of run.json or narrow.json, as they stand there.
        counts: images of each class by split, where a file tells.
        baselines: networks of unguided searches, where a comparison was named.
        comparison: what each search of a comparison found.
        cases: the images of `curves` and `disagreements`, in words.
        notes: what was assumed, or could not be read, in sentences.
    """

    kind: Kind
    folder: str
    finished: bool
    made: str
    settings: Mapping[str, Any]
    margin: float | None
    start: Network | None
    recommended: Network | None
    axes: tuple[AxisRow, ...] = ()
    trainings: tuple[TrainingRow, ...] = ()
    tried: tuple[Tried, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    disagreements: tuple[Disagreement, ...] | None = None
    cases: str = "test split"
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    export: Export | None = None
    latency: tuple[Latency, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str | None = None
    command: str | None = None
    notes: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    comparison: Comparison | None = None
    schema: int = SCHEMA

    @property
    def title(self) -> str:
        """What was done, in a word."""
        return {"search": "Search", "compare": "Comparison", "narrow": "Narrowing"}[self.kind]

    @property
    def verdict(self) -> Verdict | None:
        """The first about the recommended network that says more than "no verdict"."""
        own = [v for v in self.verdicts if v.ours and v.unseen]
        return next((v for v in own if v.status != "no verdict"), own[0] if own else None)

    @property
    def failed(self) -> tuple[TrainingRow, ...]:
        """Trainings without an AUC."""
        return tuple(t for t in self.trainings if t.val_auc is None)

    @property
    def smaller(self) -> bool:
        """Something smaller than the start is recommended."""
        if self.start is None or self.recommended is None:
            return False
        return dict(self.recommended.design) != dict(self.start.design)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
