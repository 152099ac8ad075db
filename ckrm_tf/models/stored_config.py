"""What the configuration in a saved model tells of its layers."""

from __future__ import annotations

import json
from typing import Any

# Settings that depend on where the layer stands.
BY_PLACE = ("shared_object_id", "build_config", "inbound_nodes")
WRAPPED = ("layer", "forward_layer", "backward_layer")
FORWARD = "forward_"


def signature(layer: dict[str, Any]) -> str:
    """What tells a layer from others, wherever it stands."""
    own = [layer.get("class_name"), name_of(layer), _settings(config_of(layer))]
    return json.dumps(own, sort_keys=True, default=str)


def _settings(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _settings(v) for k, v in value.items() if k not in BY_PLACE}
    return [_settings(v) for v in value] if isinstance(value, list) else value


def config_of(layer: Any) -> dict[str, Any]:
    """The settings of a layer, empty where there are none."""
    config = layer.get("config") if isinstance(layer, dict) else None
    return config if isinstance(config, dict) else {}


def name_of(layer: dict[str, Any]) -> str:
    """The name of a layer, that of its class where it has none."""
    name = layer.get("name") or config_of(layer).get("name") or layer.get("class_name")
    return str(name)


def wrapped_in(kind: str, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The layers inside a wrapper by the attributes that hold them."""
    found = {key: config[key] for key in WRAPPED if isinstance(config.get(key), dict)}
    if kind == "Bidirectional" and "layer" in found:
        # Keras 2 tells of one layer and makes two of it, of other names.
        first = found.pop("layer")
        bare = name_of(first).removeprefix(FORWARD)
        found.setdefault("forward_layer", _renamed(first, f"{FORWARD}{bare}"))
        found.setdefault("backward_layer", _renamed(first, f"backward_{bare}"))
    return dict(sorted(found.items(), reverse=True))


def _renamed(layer: dict[str, Any], name: str) -> dict[str, Any]:
    own = {key: value for key, value in layer.items() if key != "name"}
    return own | {"config": config_of(layer) | {"name": name}}


def layers_in(config: Any) -> list[dict[str, Any]] | None:
    """The layers of a model's configuration, None where it is none."""
    if not isinstance(config, dict):
        return None
    inside = config.get("config") if isinstance(config.get("config"), list) else None
    # Keras 2.0 wrote a Sequential as a bare list.
    inside = inside or config_of(config).get("layers")
    if not isinstance(inside, list) or not all(isinstance(layer, dict) for layer in inside):
        return None
    return inside
