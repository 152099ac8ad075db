"""The half of `narrow_speed.py` that runs Torch-Pruning, with its own interpreter.

    python3 -m venv torch
    torch/bin/pip install torch==2.14.1 torchvision==0.29.1 torch-pruning==1.6.1
    torch/bin/python benchmarks/narrow_speed_torch.py resnet50 vgg16 > torch.json

Nothing of this project is imported, and torch is no dependency of it. Every architecture is pruned
once, L1, half of every group, the classifier left alone. Seconds are CPU seconds of the process;
one small network goes first, untimed, so that none pays for what torch loads once.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
import torchvision
from torch import nn

CLASSES = 1000
SIZES = {"inception_v3": 299}
NO_AUXILIARY_HEAD = ("googlenet", "inception_v3")
WARM_UP = "squeezenet1_1"
WEIGHTED = (nn.Conv2d, nn.Linear)


def build(name: str) -> nn.Module:
    """Torchvision's architecture `name`, freshly initialised, without auxiliary heads."""
    options: dict[str, Any] = {}
    if name in NO_AUXILIARY_HEAD:
        options = {"aux_logits": False, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **options).eval()


def classifier(model: nn.Module) -> list[nn.Module]:
    """What must keep its width: all that Torch-Pruning has to be told of these networks."""
    return [
        module
        for module in model.modules()
        if isinstance(module, WEIGHTED)
        and getattr(module, "out_features", getattr(module, "out_channels", 0)) == CLASSES
    ]


def macs(model: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of convolutions, dense layers and attention, as `ckrm_tf.cost` counts them."""
    total = 0

    def count(module: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        nonlocal total
        if isinstance(module, nn.MultiheadAttention):  # its weights are no layers that are called
            tokens, width = inputs[0].shape[-2:]
            weights = module.in_proj_weight.numel() + module.out_proj.weight.numel()
            total += tokens * weights + 2 * tokens**2 * width
            return
        channels = -1 if isinstance(module, nn.Linear) else 1
        total += module.weight.numel() * (output.numel() // output.shape[channels])

    hooks = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, (*WEIGHTED, nn.MultiheadAttention))
    ]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return total


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return round(time.process_time() - start, 3), result


def narrow(name: str, row: dict[str, Any]) -> None:
    """Fills `row` with counts and CPU seconds, before and after half of every group."""
    size = SIZES.get(name, 224)
    image = torch.randn(1, 3, size, size)
    row["size"] = size
    row["build_seconds"], model = timed(lambda: build(name))
    row["params"], row["macs"] = parameters(model), macs(model, image)

    def group() -> list[Any]:
        graph = tp.DependencyGraph().build_dependency(model, example_inputs=image)
        return list(graph.get_all_groups(ignored_layers=classifier(model)))

    row["group_seconds"], groups = timed(group)
    row["groups"] = len(groups)
    row["pruner_seconds"], pruner = timed(
        lambda: tp.pruner.MetaPruner(
            model,
            image,
            importance=tp.importance.MagnitudeImportance(p=1),
            pruning_ratio=0.5,
            ignored_layers=classifier(model),
        )
    )
    row["step_seconds"], _ = timed(pruner.step)
    row["narrow_seconds"] = round(row["pruner_seconds"] + row["step_seconds"], 3)
    if hasattr(model, "hidden_dim"):  # torchvision's ViT keeps its width in an attribute
        model.hidden_dim = model.conv_proj.out_channels
    row["params_after"], row["macs_after"] = parameters(model), macs(model, image)
    with torch.no_grad():
        output = model(image)
    if tuple(output.shape) != (1, CLASSES):
        raise ValueError(f"the narrowed network answers {tuple(output.shape)}, not (1, {CLASSES})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="torchvision's names of architectures")
    narrow(WARM_UP, {})
    rows = []
    for name in parser.parse_args().names:
        row: dict[str, Any] = {"name": name}
        try:
            narrow(name, row)
        except Exception as error:  # a failure is a result here: it is kept with its reason
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}:{where.lineno}"
            row["failure"] = f"{type(error).__name__}: {error} ({place})"
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    versions = {
        package: importlib.metadata.version(package)
        for package in ("torch", "torchvision", "torch-pruning")
    }
    json.dump({"versions": versions, "threads": torch.get_num_threads(), "rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
