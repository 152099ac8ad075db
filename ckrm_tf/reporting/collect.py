"""A run folder summarised: every file that is there, read once, as one plain record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.judge import select
from ckrm_tf.reporting import collect_export, collect_verdicts
from ckrm_tf.reporting.baselines import read_baselines
from ckrm_tf.reporting.collect_compare import STRATEGIES, collect_comparison
from ckrm_tf.reporting.collect_narrow import collect_narrowing
from ckrm_tf.reporting.collect_rows import JOURNAL, fold_rows, training_rows
from ckrm_tf.reporting.collect_verdicts import MODELS, NETWORKS, Judgement
from ckrm_tf.reporting.command import PIXELS, command_of
from ckrm_tf.reporting.evidence import Evidence, read_evidence
from ckrm_tf.reporting.files import read_json
from ckrm_tf.reporting.record import AxisRow, Baseline, Estimate, Latency, Network, Record
from ckrm_tf.reporting.recorded import family_of, way_of
from ckrm_tf.reporting.tried import mean_by_layer, tried_networks
from ckrm_tf.store.folder import LATER
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.store.weights import WEIGHTS, weights_file
from ckrm_tf.train.way import Way
from ckrm_tf.tuning.history import Outcome, outcomes, speaking

T = TypeVar("T")


def collect(folder: Path) -> Record:
    """The record of a run folder, of `search.run`, `search.compare` or `search.narrow`.

    Raises:
        CKRMError: another folder, or a damaged file in it.
    """
    made = datetime.now(UTC).isoformat(timespec="seconds")
    settings = read_json(folder / "run.json") if folder.is_dir() else None
    if settings is not None:
        known = LATER | _flat(settings)
        summary = read_json(folder / "summary.json")
        if summary is not None and STRATEGIES in summary:
            return collect_comparison(folder, known, summary, made)
        return _search(folder, known, summary, made)
    narrowing = read_json(folder / "narrow.json") if folder.is_dir() else None
    if narrowing is not None:
        return collect_narrowing(folder, narrowing, made)
    raise CKRMError(
        "run folder",
        expected="the --out of a search, a comparison or a narrowing",
        received=str(folder),
        hint="It holds a run.json or a narrow.json.",
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of run.json, those that may change beside those that may not."""
    free = settings.get("free")
    own = {k: v for k, v in settings.items() if k not in ("schema", "free")}
    given = free if isinstance(free, dict) else {}
    # Where the folder lies is not for others to read.
    return own | {k: v for k, v in given.items() if k != "out"}


def _search(
    folder: Path, settings: Mapping[str, Any], summary: Mapping[str, Any] | None, made: str
) -> Record:
    family = family_of(settings, folder / JOURNAL)
    export, versions = collect_export.read_export(
        folder / str(summary["export"]) if summary and summary.get("export") else None
    )
    versions |= {str(k): str(v) for k, v in ((summary or {}).get("versions") or {}).items()}
    margin = settings.get("margin")
    untimed: tuple[Latency, ...] = ()
    latency, unread = _optional(lambda: collect_export.read_latency(folder), untimed)
    common: dict[str, Any] = {
        "kind": "search",
        "folder": folder.resolve().name,
        "finished": summary is not None,
        "made": made,
        "settings": {k: v for k, v in settings.items() if k != PIXELS},
        "margin": margin,
        "export": export,
        "latency": latency,
        "versions": versions,
        "machine": (summary or {}).get("machine"),
    }
    if family is None:
        return Record(**common, start=None, recommended=None, notes=("No training is recorded.",))
    journal = Journal(folder / JOURNAL, family)
    trainings = journal.read()
    # Of a training that was tried again the last success counts, where the journal tells.
    current = getattr(journal, "current", journal.read)()
    way = way_of(settings)
    most = max((t.epochs for t in current), default=1)
    whole = speaking(current, int(settings.get("epochs", most)), way)
    history = outcomes(whole)
    start, best, notes = _pair(family, summary, history, margin)
    if way.inherits:
        notes.append(_told(way))
    notes += unread
    judgements: list[Judgement] = []
    evidence, unread = _optional(lambda: read_evidence(folder), None)
    notes += unread
    unnamed: tuple[Baseline, ...] = ()
    baselines, unread = _optional(lambda: read_baselines(folder), unnamed)
    notes += unread
    if best is not None:
        judgements, unread = collect_verdicts.of_final(folder, family, best)
        notes += unread
        judgements += collect_verdicts.of_summary(summary or {}, family.describe(best))
        judgements.sort(key=lambda one: not one.verdict.unseen)
    if evidence is not None and evidence.designs != (start.to_dict(), best and best.to_dict()):
        notes.append("evidence.json is about other networks and is not shown.")
        evidence = None
    kept = select.CONFIRMED_SHARE * margin if margin is not None else None
    roles = {start: "start"} | ({best: "recommended"} if best not in (None, start) else {})
    tried = tried_networks(family, history, {t.design: t.macs for t in trainings}, roles, kept)
    networks = [
        None if design is None else _network(folder, family, design, whole, summary, arm)
        for arm, design in enumerate((start, best))
    ]
    return Record(
        **common,
        start=_judged(networks[0], 0, judgements, evidence),
        recommended=_judged(networks[1], 1, judgements, evidence),
        axes=_axes(family, start, best, int(settings.get("floor", 1))),
        trainings=(
            *training_rows(trainings, tried, family),
            *fold_rows(folder, tried, family, len(trainings)),
        ),
        tried=tried,
        baselines=baselines,
        verdicts=tuple(j.verdict for j in judgements),
        classes=(
            *(row for j in judgements if j.verdict.ours for row in j.classes),
            *(evidence.classes if evidence else ()),
        ),
        curves=evidence.curves if evidence else (),
        disagreements=evidence.disagreements if evidence else None,
        counts=evidence.counts if evidence else {},
        command=command_of("run", settings),
        notes=tuple(notes),
    )


def _told(way: Way) -> str:
    """That the trainings of a search are not all plain ones."""
    return (
        f"The search trained its networks as {way.how!r}; what is recommended was trained again "
        "plainly, and a network's plain trainings alone count where it has any."
    )


def _optional(read: Callable[[], T], without: T) -> tuple[T, list[str]]:
    """What a file beside the run tells; where it cannot be read, nothing, and a sentence."""
    try:
        return read(), []
    except CKRMError as error:
        return without, [f"Not shown: {error}."]


def _pair(
    family: Family,
    summary: Mapping[str, Any] | None,
    history: Sequence[Outcome],
    margin: float | None,
) -> tuple[Design, Design | None, list[str]]:
    """The two networks: as the summary has them, or as the rule would choose now."""
    if summary is not None:
        return (
            family.from_record(summary["start"]),
            family.from_record(summary["recommended"]),
            [],
        )
    notes = ["The search has not ended: what is recommended may change, and no test was opened."]
    try:
        start, best = select.recommend(history, margin or 0.0)
    except CKRMError:
        return family.start, None, [*notes, "The starting network has no finished training."]
    return start.design, best.design, notes


def _network(
    folder: Path,
    family: Family,
    design: Design,
    trainings: Sequence[Training],
    summary: Mapping[str, Any] | None,
    arm: int,
) -> Network:
    own = [t for t in trainings if t.design == design]
    done = [t for t in own if t.status == COMPLETED and t.val_auc is not None]
    told = (summary or {}).get(("start", "recommended")[arm], {})
    aucs = [t.val_auc for t in done if t.val_auc is not None]
    return Network(
        text=family.describe(design),
        design=design.to_dict(),
        params=int(own[0].params if own else told.get("params", 0)),
        macs=int(own[0].macs if own else told.get("macs", 0)),
        val_auc=Estimate.of_trainings(aucs) if aucs else _told_auc(told),
        trainings=len(done),
        weights_bytes=_weights(folder, design, done),
        lam=mean_by_layer(done, "lam"),
        null=mean_by_layer(done, "null"),
    )


def _told_auc(told: Mapping[str, Any]) -> Estimate | None:
    auc = told.get("val_auc")
    return None if auc is None else Estimate(float(auc))


def _weights(folder: Path, design: Design, done: Sequence[Training]) -> int | None:
    """Bytes of the weights of the first plain training, where the folder keeps them."""
    if not done:
        return None
    path = weights_file(folder / WEIGHTS, design, min(t.seed for t in done))
    return path.stat().st_size if path.is_file() else None


def _judged(
    network: Network | None,
    arm: int,
    judgements: Sequence[Judgement],
    evidence: Evidence | None,
) -> Network | None:
    """The network with its AUC on unseen images, over trainings and of the trained one."""
    if network is None:
        return None
    found: dict[str, Estimate | None] = {}
    for about, name in ((NETWORKS, "test_auc"), (MODELS, "trained_auc")):
        own = [j for j in judgements if j.verdict.about == about and j.verdict.unseen]
        first = next((j for j in own if j.verdict.ours), None)
        found[name] = None if first is None else (first.start, first.candidate)[arm]
    if evidence is not None:
        found["trained_auc"] = evidence.aucs[arm]
    return Network(**vars(network) | found)


def _axes(family: Family, start: Design, best: Design | None, floor: int) -> tuple[AxisRow, ...]:
    return tuple(
        AxisRow(
            name=axis.name,
            kind=axis.kind,
            group=axis.group,
            least=axis.least(floor),
            start=start[axis.name],
            recommended=None if best is None else best[axis.name],
        )
        for axis in family.axes
    )
