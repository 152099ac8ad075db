"""Whether a command wants equal bits from equal seeds: settled before NumPy is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

# Flags that name folders of other searches.
OTHERS = ("--reuse", "-r", "--baselines")
FLAG = "--deterministic"
# How a setting is told no.
NO = ("false", "no", "off", "0")
# Bytes of a run.json that is looked into.
LARGEST = 1_000_000


def wants_equal_bits(words: Iterable[str]) -> bool:
    """Whether the words of a command line ask for it, or name the folder of a search that did.

    Args:
        words: of the command line.
    """
    given = list(words)
    # The value of a flag that names other searches says nothing of this one.
    own = [
        word
        for before, word in zip(["", *given], given, strict=False)
        if before not in OTHERS and word.partition("=")[0] not in OTHERS
    ]
    asked = any(
        word.partition("=")[0] == FLAG and (word.partition("=")[2] or after).lower() not in NO
        for word, after in zip(given, [*given[1:], ""], strict=False)
    )
    return asked or any(map(_has_them, own))


def _has_them(word: str) -> bool:
    place = Path(os.path.expanduser(word.partition("=")[2] or word), "run.json")
    try:
        if not place.is_file() or place.stat().st_size > LARGEST:
            return False
        found = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError):
        # The command itself will say what is wrong with it.
        return False
    return isinstance(found, dict) and found.get("deterministic") is True
