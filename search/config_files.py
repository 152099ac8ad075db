"""The settings files: those that come with the program, and how a user's own is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ckrm_tf.data.limits import brief, size
from ckrm_tf.errors import CKRMError

_HERE = Path(__file__).resolve().parent

# The longest of the program's own is 3 kB.
MAX_BYTES = 1_000_000


def config_text(name: str) -> str:
    """The text of one file of `configs/`.

    It is read by its place, never by the name `configs`, which a user's own folder or module may
    have: installed it lies below this package, in a clone beside it.
    """
    installed = _HERE / "configs" / name
    return (installed if installed.is_file() else _HERE.parent / "configs" / name).read_text()


class _Text(yaml.BaseLoader):
    """Reads every value as the text that was written, and no value as None.

    YAML's own types are guesses: `1e-3` is a text to it, `2024_11_25` a number.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As in YAML, without aliases: they make a few bytes endless."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*), which a settings file does not need")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As in YAML, where a key must not stand twice; PyYAML would take the last."""
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                where = f"lines {lines[key.value]} and {line}"
                raise yaml.YAMLError(f"the key {brief(key.value, 60)} twice, in {where}")
            lines[key.value] = line
        return super().construct_mapping(node, deep)


_NULL = "tag:yaml.org,2002:null"
_Text.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Text.add_constructor(_NULL, lambda loader, node: None)


def read_yaml(text: str | bytes, name: str) -> dict[str, Any]:
    """Keys and their values: texts, lists of texts, None.

    Raises:
        CKRMError: no YAML, or no keys and values.
    """
    try:
        data = yaml.load(text, Loader=_Text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        told = "lists in lists without end" if isinstance(error, RecursionError) else error
        raise CKRMError(f"config {name}", expected="YAML", received=brief(told)) from error
    if not isinstance(data, dict):
        raise CKRMError(f"config {name}", expected="keys and values", received=type(data).__name__)
    return {str(key): value for key, value in data.items()}


def read_config(config: str) -> tuple[str, dict[str, Any]]:
    """The name and the keys of a user's settings file.

    Raises:
        CKRMError: no such file, one that cannot be read, or see `read_yaml`.
    """
    path = Path(config).expanduser()
    try:
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            return path.name, read_yaml(path.read_bytes(), path.name)
        found = f"{size(path.stat().st_size)}" if path.is_file() else brief(config)
    except (OSError, RuntimeError) as error:  # RuntimeError: "~" of nobody
        found = f"{brief(config)} ({brief(error, 60)})"
    raise CKRMError("--config", expected="a YAML file", received=found)


def explained(text: str) -> dict[str, str]:
    """What the comment beside each key of a settings file says, for --help."""
    found: dict[str, str] = {}
    key = None
    for line in text.splitlines():
        head, mark, comment = line.partition("#")
        name = re.match(r"(\w+):", head)
        if name:
            key = name[1]
            found[key] = comment.strip()
        elif key and mark and head.isspace():
            found[key] += f" {comment.strip()}"
        else:
            key = None
    return found
