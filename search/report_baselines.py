"""What a report of a search takes from a comparison: the networks of its unguided searches."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting.baselines import baselines_of, write_baselines
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.words import plural
from ckrm_tf.store.folder import MARKER, place_of, read_marker
from search.reuse import difference


def add_baselines(console: Console, place: Path, given: str) -> None:
    """Keep the networks of a comparison's unguided searches in the folder of a search.

    Args:
        console: what is taken is shown there.
        place: the folder of the search.
        given: the folder of the comparison.

    Raises:
        CKRMError: another kind of folder, or a comparison with other data, folds or recipe.
    """
    there = place_of(given)
    compared = collect(there).comparison if (there / MARKER).is_file() else None
    if compared is None:
        raise CKRMError("--baselines", expected="the folder of a comparison", received=brief(given))
    if not (place / MARKER).is_file() or collect(place).kind != "search":
        raise CKRMError("--baselines", expected="the report of a search", received=brief(place))
    mine, theirs = (read_marker(folder / MARKER)[0] for folder in (place, there))
    reason = difference(mine, theirs)
    if reason:
        raise CKRMError(
            f"--baselines {brief(given)}",
            expected="trainings like those of the search",
            received=f"others: {reason}",
        )
    networks = baselines_of(compared)
    path = write_baselines(place, networks)
    names = ", ".join(dict.fromkeys(n.strategy for n in networks)) or "no unguided search"
    console.print(
        f"baselines {path.name}: {plural(len(networks), 'network')} of {names}", highlight=False
    )
