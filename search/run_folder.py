"""What a finished search left in its folder, for `search.final`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError
from ckrm_tf.store.folder import LATER, MARKER, read_marker
from search.given import Given
from search.model_file import model_digest, model_path
from search.settings import RECORDED, Settings, make_settings


def read_run(
    place: Path, options: Mapping[str, Any], given: Given | None = None
) -> tuple[Settings, str]:
    """The settings of a finished search, and the hash of its data.

    Args:
        place: its folder.
        options: of the data; those that change them must be as the search had them.
        given: the model that was searched, for a command that can do with one.

    Raises:
        CKRMError: no folder of a search, a damaged one, the search over a given model and none
            given, or options that change the data.
    """
    marker = place / MARKER
    if not marker.is_file():
        raise CKRMError("run folder", expected="a folder of search.run", received=brief(place))
    identity, free = read_marker(marker)
    own: dict[str, Any] = {}
    if "model_file" in identity and given is not None:
        own = _given(identity, given)
    elif "model_file" in identity:
        raise CKRMError(
            brief(place),
            expected="a search over a family of networks",
            received="one over a given model",
            hint="It may have seen any image and is not trained anew: no folds, no fresh seeds.",
        )
    pixels = identity.pop("pixels", None)
    kept = {*identity}
    names = {there: name for name, there in RECORDED.items()}
    known = {names.get(name, name): value for name, value in identity.items()}
    settings = make_settings([(marker.name, known | free), (None, own)])
    # Version 0.1 did not have those of LATER.
    lost = sorted({*settings.fingerprint()} - {*kept, *LATER})
    if lost or not isinstance(pixels, str):
        raise _damaged(marker, f"a file without {(lost or ['pixels'])[0]}")
    said = replace(settings, options={**settings.options, **options})
    before = settings.fingerprint()
    for name, value in said.fingerprint().items():
        if value != before.get(name):
            expected = f"{before.get(name)}, as the search had it"
            raise CKRMError(f"--{name}", expected=expected, received=value)
    return said, pixels


def _given(identity: dict[str, Any], given: Given) -> dict[str, Any]:
    """The settings that name the model of a search; its hash is taken out of the others."""
    digest = identity.pop("model_file")
    if given.model is None:
        raise CKRMError(
            "--model",
            expected="the file of the model that was searched",
            received="none",
            hint="A run folder knows its content and not its place.",
        )
    found = model_digest(model_path(given.model))
    if found != digest:
        raise CKRMError(
            f"--model {given.model}", expected="the model that was searched", received="another"
        )
    own: dict[str, Any] = {"model": given.model, "unsafe": given.unsafe or identity["unsafe"]}
    return own | ({} if given.custom is None else {"custom": given.custom})


def _damaged(marker: Path, received: str) -> CKRMError:
    return CKRMError(brief(marker), expected="the settings of a search", received=received)
