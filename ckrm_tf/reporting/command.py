"""The command that made a run, from the settings that its run.json keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of run.json, beside the settings.
PIXELS = "pixels"
# Settings that run.json has under another name than their flag.
FLAGS = {"pixel_range": "pixels"}


def command_of(name: str, settings: Mapping[str, Any]) -> str:
    """The command that begins this run again.

    Example:
        >>> command_of("run", {"data": "my films.npz", "blocks": [1, 2], "depth": True})
        "ckrm-tf run --data 'my films.npz' --blocks 1,2 --depth true"
    """
    words = [f"ckrm-tf {name}"]
    for key, value in settings.items():
        if key in (PIXELS, "model_file") or value is None:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        text = str(value).lower() if isinstance(value, bool) else str(text)
        quoted = text if text and not set(text) & set(" '\"$\\;&|<>()[]*?") else repr(text)
        flag = FLAGS.get(key, key).replace("_", "-")
        words.append(f"--{flag} {quoted}")
    return " ".join(words)
