"""The settings files that come with the program."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def config_text(name: str) -> str:
    """The text of one file of `configs/`.

    It is read by its place, never by the name `configs`, which a user's own folder or module may
    have: installed it lies below this package, in a clone beside it.
    """
    installed = _HERE / "configs" / name
    return (installed if installed.is_file() else _HERE.parent / "configs" / name).read_text()
