"""`--reuse FOLDER`: which of an earlier run's trainings are the same as those of this run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckrm_tf.data import Dataset
from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.folder import LATER, MARKER, place_of, read_marker
from ckrm_tf.store.journal import Journal
from ckrm_tf.tuning.registry import STRATEGIES
from ckrm_tf.tuning.reuse import Earlier, earlier_places
from search.model_file import model_digest, model_path
from search.settings import Settings, option_flags

# Settings that say which networks are trained, not how: equal trainings may differ in them. What a
# network took over from its start is told by its record.
STEERING = {
    *("trials", "seeds", "strategy", "margin", "penalty", "bold", "floor", "depth", "level"),
    *("confirm", "no_test", "filters", "growth", "multiple", "data", "from", "distill"),
}
# Settings of the data, which the pixels tell, as long as nobody is dealt into parts.
OF_DATA = {"image_size", "split", "frame"}
# What the pixels never tell: by what they are divided.
NOT_IN_PIXELS = {"scale"}
# Settings that an error names.
MOST_NAMED = 4


def earlier(
    settings: Settings,
    data: Dataset,
    pixels: str,
    folder: Path,
    family: Family,
    note: Callable[[str], None],
) -> Earlier | None:
    """The earlier trainings that this run may take over; None where it asks for none.

    A line tells of each folder how many there are, or what is different.

    Args:
        settings: of this run.
        data: what networks are trained and validated on, as the folds are cut from it.
        pixels: the hash of the whole data.
        folder: of this run.
        family: reads the journals.
        note: told those lines.

    Raises:
        CKRMError: a folder that is not that of an earlier run.
    """
    if not settings.reuse:
        return None
    identity = settings.fingerprint() | {"pixels": pixels, "folds": settings.fold_count(data)}
    if settings.model:
        identity["model_file"] = model_digest(model_path(settings.model))
    # A comparison leaves the number of folds to the data.
    usual = replace(settings, folds=None).fold_count(data)
    mine = _settled(identity, usual)
    journals = []
    for given in settings.reuse:
        place = _checked(given, folder)
        found, different = _fitting(place, mine, usual, family)
        journals += found
        count = len(Earlier(found))
        if count:
            note(f"reuse     {given}: {count} training(s) fit, and are not done again")
        else:
            note(f"reuse     nothing of {given} can be taken over: {different}")
    return Earlier(journals)


def _checked(given: str, folder: Path) -> Path:
    """The folder of an earlier run.

    Raises:
        CKRMError: something else, or this run's own.
    """
    place = place_of(given)
    if (place / MARKER).is_file() and place.resolve() != folder.resolve():
        return place
    own = "this run's own folder" if place.is_dir() else "no folder"
    what = own if (place / MARKER).is_file() or not place.is_dir() else f"no {MARKER} in it"
    raise CKRMError(
        "--reuse", expected="the folder of an earlier run", received=f"{brief(given)}: {what}"
    )


def _fitting(
    place: Path, mine: Mapping[str, Any], usual: int, family: Family
) -> tuple[list[Journal], str]:
    """The journals of a run folder that fit, and what is different where none does."""
    whole, _ = read_marker(place / MARKER)
    found, reasons = [], []
    for one in earlier_places(place):
        theirs = dict(whole)
        if one != place and (one / MARKER).is_file():
            # All images but those of the fold are trained on.
            own, _ = read_marker(one / MARKER)
            theirs |= {"score_share": 0.0, "folds": 0, "pixels": own.get("pixels")}
        reason = _difference(mine, _settled(theirs, usual))
        if reason:
            reasons.append(reason)
            continue
        found.append(Journal(one / "trials.jsonl", family))
    nothing = "no training has ended there"
    return found, nothing if found or not reasons else reasons[0]


def difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What the trainings of two run folders differ in, in words; nothing if they are equal.

    Args:
        mine, theirs: what each folder holds fast (`ckrm_tf.store.folder.read_marker`).
    """
    # How many folds the data would be dealt into is not known here.
    return _difference(_settled(mine, 0), _settled(theirs, 0))


def _settled(identity: Mapping[str, Any], usual: int) -> dict[str, Any]:
    """What a run folder holds fast, as plain values in one form.

    Args:
        identity: those.
        usual: the folds where the settings name none.
    """
    found = json.loads(json.dumps({**LATER, **identity}, default=str))
    if found["folds"] is None:
        found["folds"] = usual
    kind = STRATEGIES.get(str(found.get("strategy")))
    if kind is None or not kind.scored:
        found["score_share"] = 0.0
    # The networks of as many stages have the same names.
    if isinstance(found.get("blocks"), list):
        found["blocks"] = len(found["blocks"])
    return found


def _difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What two trainings with these settings differ in, in words; nothing if they are equal."""
    loose = set(STEERING)
    if "model_file" in mine or "model_file" in theirs:
        # No record tells what a network took over from a given model.
        loose -= {"from", "distill"}
    parts = [(s["score_share"], s["folds"]) for s in (mine, theirs)]
    dealt = parts[0] == parts[1] and any(parts[0])
    # Gaze maps are none of the pixels.
    if not dealt and not (mine.get("ggcam") or theirs.get("ggcam")):
        # Where nobody is dealt into parts, neither the seed nor whose an image is says anything.
        loose |= {"seed", *OF_DATA, *option_flags()} - NOT_IN_PIXELS
    names = sorted(n for n in {*mine, *theirs} - loose if mine.get(n) != theirs.get(n))
    if not names:
        return ""
    if "pixels" in names:
        # Settings of other data are of no interest.
        return "it has other data"
    told = [f"{n} {brief(theirs.get(n), 40)}, not {brief(mine.get(n), 40)}" for n in names]
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return "it has another " + "; ".join(told[:MOST_NAMED]) + more
