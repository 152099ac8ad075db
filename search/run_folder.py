"""What a finished search left in its folder, for `search.final`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError
from ckrm_tf.store.folder import LATER, MARKER, read_marker
from search.settings import Settings, make_settings


def read_run(place: Path, options: Mapping[str, Any]) -> tuple[Settings, str]:
    """The settings of a finished search, and the hash of its data.

    Args:
        place: its folder.
        options: of the data; those that change them must be as the search had them.

    Raises:
        CKRMError: no folder of a search, a damaged one, the search over a given model, or options
            that change the data.
    """
    marker = place / MARKER
    if not marker.is_file():
        raise CKRMError("run folder", expected="a folder of search.run", received=brief(place))
    identity, free = read_marker(marker)
    if "model_file" in identity:
        raise CKRMError(
            brief(place),
            expected="a search over a family of networks",
            received="one over a given model",
            hint="It may have seen any image and is not trained anew: no folds, no fresh seeds.",
        )
    pixels = identity.pop("pixels", None)
    settings = make_settings([(marker.name, identity | free)])
    # Version 0.1 did not have those of LATER.
    lost = sorted({*settings.fingerprint()} - {*identity, *LATER})
    if lost or not isinstance(pixels, str):
        raise _damaged(marker, f"a file without {(lost or ['pixels'])[0]}")
    said = replace(settings, options={**settings.options, **options})
    before = settings.fingerprint()
    for name, value in said.fingerprint().items():
        if value != before.get(name):
            expected = f"{before.get(name)}, as the search had it"
            raise CKRMError(f"--{name}", expected=expected, received=value)
    return said, pixels


def _damaged(marker: Path, received: str) -> CKRMError:
    return CKRMError(brief(marker), expected="the settings of a search", received=received)
