"""The formats of an export, as a user lists them, and what is told of files that round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.registry import FORMATS, formats_named
from ckrm_tf.export.write import BASE
from search.narrow_inputs import listed


def export_formats(text: str) -> list[str]:
    """The formats of a search's export.

    Args:
        text: names with commas.

    Raises:
        CKRMError: an unknown one, a package that is missing, or one of the two lacks that the
            commands read back.
    """
    names = [one.name for one in formats_named(listed(text))]
    if not BASE.issubset(names):
        raise CKRMError(
            "--formats", expected=f"{' and '.join(sorted(BASE))} among them", received=text
        )
    return names


def without_examples(names: list[str]) -> list[str]:
    """Those of these formats that can be written where no images are at hand."""
    return [name for name in names if FORMATS[name].exact]


def judged_lines(judged: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line about each file that rounds."""
    for name, told in judged.items():
        where = f"{told['images']} {told['split']} images"
        if "why" in told:
            yield f"{name}: not judged on {where}: {told['why']}"
            continue
        file, model = (
            f"{told[k]['value']:.3f} [{told[k]['low']:.3f}, {told[k]['high']:.3f}]"
            for k in ("file", "model")
        )
        yield (
            f"{name}: AUC {file}, {model} in float32, difference {told['difference']:+.3f} "
            f"[{told['low']:+.3f}, {told['high']:+.3f}] on {where}"
        )
