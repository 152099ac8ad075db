"""The folder of `search.compare` as a record: its tables, and what of them holds."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import collect_verdicts
from ckrm_tf.reporting.collect_rows import JOURNAL
from ckrm_tf.reporting.command import PIXELS, command_of
from ckrm_tf.reporting.comparison import Comparison, Held, Smallest, Spread, Step, Strategy
from ckrm_tf.reporting.files import numbered, read_json
from ckrm_tf.reporting.record import Estimate, Network, Record
from ckrm_tf.reporting.recorded import family_of

# The key of summary.json that a comparison has and a search has not.
STRATEGIES = "strategies"
TRAININGS = "trainings.csv"
# Settings that a comparison gives to its searches by itself.
OWN = ("strategy", "trials")


def collect_comparison(
    folder: Path, settings: Mapping[str, Any], summary: Mapping[str, Any], made: str
) -> Record:
    """The record of a comparison.

    Args:
        folder: that holds run.json, summary.json and trainings.csv.
        settings: that all searches share.
        summary: what summary.json holds.
        made: when the report is made, ISO 8601.

    Raises:
        CKRMError: a summary.json, trainings.csv or confirmed.json that lacks something.
    """
    notes: list[str] = []
    try:
        options = dict(summary["options"])
        steps = _steps(folder / TRAININGS)
        held, seeds = _held(folder, summary)
        found = Comparison(
            budget=int(options["trainings"]),
            repeats=max((s.repeat for s in steps), default=0),
            asked=int(options["repeats"]),
            epochs=int(settings["epochs"]),
            target=options.get("target"),
            strategies=tuple(
                _strategy(name, told, summary, options, steps, held.get(name, ()))
                for name, told in summary[STRATEGIES].items()
            ),
            steps=steps,
            seeds=seeds,
            final=_final(folder),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CKRMError(
            f"{folder.name}: summary.json, {TRAININGS} or confirmed.json",
            expected="what search.compare writes",
            received=f"no {error}"[:80],
        ) from error
    if found.strategies and not seeds:
        notes.append(
            "No network was trained again with new seeds (--hold): the smallest network at intact "
            "AUC may owe its place to luck."
        )
    judgements, unread = _judgements(folder, settings)
    start = _start(steps)
    shared = {k: v for k, v in settings.items() if k not in (PIXELS, *OWN)}
    asked = {k: v for k, v in options.items() if v is not None}
    return Record(
        kind="compare",
        folder=folder.resolve().name,
        finished=0 < found.asked <= found.repeats,
        made=made,
        settings=asked | shared,
        margin=settings.get("margin"),
        start=start,
        recommended=None,
        verdicts=tuple(j.verdict for j in judgements),
        versions={str(k): str(v) for k, v in (summary.get("versions") or {}).items()},
        machine=summary.get("machine"),
        command=command_of("compare", asked | shared),
        notes=(*notes, *unread),
        comparison=found,
    )


def _spread(told: Mapping[str, Any]) -> Spread:
    """As `search.compare_tables` writes it; its median and range follow from the repeats."""
    return Spread.of(told["repeats"])


def _strategy(
    name: str,
    told: Mapping[str, Any],
    summary: Mapping[str, Any],
    options: Mapping[str, Any],
    steps: Sequence[Step],
    held: Sequence[Held],
) -> Strategy:
    guided = summary["guided_after_10"].get("trainings", {})
    target = options.get("target")
    last = {s.repeat: s.cpu_seconds for s in steps if s.strategy == name}
    return Strategy(
        name=name,
        budget=int((options.get("random_trainings") if name == "random" else None) or 0)
        or int(options["trainings"]),
        trainings=tuple(told["trainings"]),
        full=tuple(told["full_trainings"]),
        after={int(n): _spread(one) for n, one in told["best_params_after"].items()},
        smallest=tuple(
            Smallest(
                number, one["widths"], one["params"], one["macs"], one["val_auc"], one["training"]
            )
            for number, one in enumerate(told["smallest"], start=1)
        ),
        to_target=_spread(told["trainings_to"][str(target)])
        if str(target) in told["trainings_to"]
        else None,
        to_guided=_spread(guided[name]) if name in guided else None,
        cpu_early=_spread(told["cpu_seconds_of_first_10"]),
        cpu=Spread.of(last.values()) if last else None,
        held=tuple(held),
    )


def _held(
    folder: Path, summary: Mapping[str, Any]
) -> tuple[dict[str, list[Held]], tuple[int, ...]]:
    """What the newest confirmed.json tells of these repeats, and its seeds; nothing of others."""
    told = next((read_json(p) or {} for p in numbered(folder, "confirmed")), None)
    if told is None:
        return {}, ()
    found = {
        name: [
            Held(int(n), _spread(one["params"]), _spread(one["macs"])) for n, one in budgets.items()
        ]
        for name, budgets in told[STRATEGIES].items()
    }
    repeats = {name: len(one["trainings"]) for name, one in summary[STRATEGIES].items()}
    counted = {name: {len(h.params.each) for h in held} for name, held in found.items()}
    if counted != {name: {number} for name, number in repeats.items()}:
        return {}, ()
    return found, tuple(told["seeds"])


def _steps(path: Path) -> tuple[Step, ...]:
    """The rows of trainings.csv; none where no repeat has ended."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    starts = {(r["strategy"], r["repeat"]): r["val_auc"] for r in rows if int(r["number"]) == 1}
    return tuple(
        Step(
            strategy=row["strategy"],
            repeat=int(row["repeat"]),
            number=int(row["number"]),
            seed=int(row["seed"]),
            epochs=int(row["epochs"]),
            status=row["status"],
            text=row["widths"],
            params=int(row["params"]),
            macs=int(row["macs"]),
            val_auc=_number(row["val_auc"]),
            start_auc=_number(starts[row["strategy"], row["repeat"]]),
            acceptable=row["acceptable"] == "True",
            best_params=int(row["best_params"]),
            cpu_seconds=float(row["cumulative_cpu_seconds"]),
        )
        for row in rows
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _start(steps: Sequence[Step]) -> Network | None:
    """The starting network over the repeats, whose first trainings all strategies share."""
    firsts = [s for s in steps if s.number == 1]
    if not firsts:
        return None
    aucs = {s.seed: s.val_auc for s in firsts if s.val_auc is not None}
    return Network(
        text=firsts[0].text,
        design={},
        params=firsts[0].params,
        macs=firsts[0].macs,
        val_auc=Estimate.of_trainings(list(aucs.values())) if aucs else None,
        trainings=len(aucs),
    )


def _final(folder: Path) -> str | None:
    """The network that --final trained again, in words."""
    for path in numbered(folder, "final"):
        one = (read_json(path) or {})["candidate"]
        return f"{one['widths_text']}, {int(one['params']):,} parameters"
    return None


def _judgements(
    folder: Path, settings: Mapping[str, Any]
) -> tuple[list[collect_verdicts.Judgement], list[str]]:
    """The verdicts about the network that --final trained again."""
    newest = next(iter(numbered(folder, "final")), None)
    family = None if newest is None else family_of(settings, folder / JOURNAL)
    if newest is None or family is None:
        return [], []
    best = family.from_record((read_json(newest) or {})["candidate"])
    found, unread = collect_verdicts.of_final(folder, family, best)
    return sorted(found, key=lambda one: not one.verdict.unseen), unread
