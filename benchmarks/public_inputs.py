"""What goes into the published networks of `public_models.py`: one function a kind of input.

Each takes the folder that holds the unpacked packages and returns the inputs, first axis the cases,
or one array for each input of the network. None has labels. Faces, scenes and boards are pictures
that come in packages; genes, peptides, alignments and gestures are drawn here, with a fixed seed,
by the rules that real ones follow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Arrays = np.ndarray[Any, Any] | list[np.ndarray[Any, Any]]

RESIDUES = "KRPTNAQVSGILCMHFYWED"  # DeepLC's order
# Atoms of each residue in a chain, in DeepLC's order: C, H, N, O, S, P.
ATOMS = {
    "G": (2, 3, 1, 1, 0, 0), "A": (3, 5, 1, 1, 0, 0), "S": (3, 5, 1, 2, 0, 0),
    "P": (5, 7, 1, 1, 0, 0), "V": (5, 9, 1, 1, 0, 0), "T": (4, 7, 1, 2, 0, 0),
    "C": (3, 5, 1, 1, 1, 0), "L": (6, 11, 1, 1, 0, 0), "I": (6, 11, 1, 1, 0, 0),
    "N": (4, 6, 2, 2, 0, 0), "D": (4, 5, 1, 3, 0, 0), "Q": (5, 8, 2, 2, 0, 0),
    "K": (6, 12, 2, 1, 0, 0), "E": (5, 7, 1, 3, 0, 0), "M": (5, 9, 1, 1, 1, 0),
    "H": (6, 7, 3, 1, 0, 0), "F": (9, 9, 1, 1, 0, 0), "R": (6, 12, 4, 1, 0, 0),
    "Y": (9, 9, 1, 2, 0, 0), "W": (11, 10, 2, 1, 0, 0),
}  # fmt: skip
BGR_MEAN = (104.00699, 116.66877, 122.67892)


def faces(folder: Path) -> Arrays:
    """The 100 faces of scikit-image's `lfw_subset`, (100, 64, 64, 1) in [-1, 1]."""
    (path,) = folder.glob("scikit_image*/skimage/data/lfw_subset.npy")
    small = np.load(path)[:100].astype(np.float32)
    large = [np.asarray(Image.fromarray(face).resize((64, 64), Image.BICUBIC)) for face in small]
    return np.clip(np.stack(large)[..., None] * 2 - 1, -1, 1)


def scenes(folder: Path, size: int = 256) -> Arrays:
    """Squares cut from scikit-image's photographs, (n, size, size, 3) BGR less the mean."""
    tiles = []
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "ihc.png"):
        (path,) = folder.glob(f"scikit_image*/skimage/data/{name}")
        picture = np.asarray(Image.open(path).convert("RGB"), np.float32)[..., ::-1]
        for top in range(0, picture.shape[0] - size + 1, size // 2):
            for left in range(0, picture.shape[1] - size + 1, size // 2):
                tiles.append(picture[top : top + size, left : left + size] - BGR_MEAN)
    order = np.random.default_rng(0).permutation(len(tiles))
    return np.stack(tiles)[order].astype(np.float32)


def chess_squares(folder: Path) -> Arrays:
    """The squares of the package's three boards, also shifted: (960, 50, 50, 3), 0-255."""
    squares = []
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("board_to_fen*/**/test_image*.*")):
        board = Image.open(path).convert("RGB").resize((400, 400), Image.NEAREST)
        for repeat in range(5):
            x, y = (0, 0) if repeat == 0 else rng.integers(-3, 4, size=2)
            moved = board.transform(board.size, Image.AFFINE, (1, 0, x, 0, 1, y))
            tiles = np.asarray(moved, np.float32).reshape(8, 50, 8, 50, 3)
            squares.append(tiles.transpose(0, 2, 1, 3, 4).reshape(64, 50, 50, 3))
    order = rng.permutation(64 * len(squares))
    return np.concatenate(squares)[order]


def genes(folder: Path, length: int = 10_400, cases: int = 16) -> Arrays:
    """Drawn genes, one-hot (cases, length, 4): exons of 150 between introns with splice signals."""
    del folder
    rng = np.random.default_rng(0)

    def bases(n: int, acgt: tuple[float, ...]) -> str:
        return "".join(rng.choice(list("ACGT"), size=n, p=acgt))

    def gene() -> str:
        text = ""
        while len(text) < length:
            exon = bases(int(rng.integers(90, 200)), (0.27, 0.25, 0.28, 0.20))
            intron = bases(int(rng.integers(200, 900)), (0.28, 0.21, 0.21, 0.30))
            branch = "TACTAAC" + bases(18, (0.20, 0.25, 0.20, 0.35))
            tract = bases(16, (0.02, 0.30, 0.02, 0.66))
            text += "G" + exon + "CAG" + "GTAAGT" + intron + branch + tract + "CAG"
        start = int(rng.integers(0, len(text) - length + 1))
        return text[start : start + length]

    codes = np.array([["ACGT".index(base) for base in gene()] for _ in range(cases)])
    return np.eye(4, dtype=np.float32)[codes]


def introns(folder: Path) -> Arrays:
    """Windows of drawn genes, one-hot (480, 100, 4)."""
    whole = np.asarray(genes(folder))[:, :3000]
    return whole.reshape(-1, 100, 4)


def donors(folder: Path) -> Arrays:
    """Windows of drawn genes, one-hot (480, 18, 4)."""
    return np.asarray(introns(folder))[:, :18]


def peptides(folder: Path, cases: int = 1000) -> Arrays:
    """Drawn tryptic peptides as DeepLC's four inputs: atoms, pairs, summary, residues."""
    del folder
    rng = np.random.default_rng(0)
    atoms = np.zeros((cases, 60, 6), np.float32)
    residues = np.zeros((cases, 60, 20), np.float32)
    ends = np.zeros((cases, 8, 6), np.float32)
    lengths = rng.integers(7, 31, size=cases)
    for case, length in enumerate(lengths):
        inner = rng.choice(list(RESIDUES[2:]), size=length - 1)
        text = "".join(inner) + str(rng.choice(["K", "R"]))
        for place, residue in enumerate(text):
            atoms[case, place] = ATOMS[residue]
            residues[case, place, RESIDUES.index(residue)] = 1
        for place in (0, 1, 2, 3, -1, -2, -3, -4):
            ends[case, place] = ATOMS[text[place]]
    pairs = atoms[:, 0::2] + atoms[:, 1::2]
    summary = np.concatenate(
        [atoms.sum(axis=1), lengths[:, None], ends.reshape(cases, -1)], axis=1
    ).astype(np.float32)
    return [atoms, pairs, summary, residues]


def alignments(folder: Path, length: int = 256, cases: int = 4) -> Arrays:
    """Covariances (cases, length, length, 441) of drawn alignments whose columns are coupled."""
    del folder
    rng = np.random.default_rng(0)
    out = np.empty((cases, length, length, 441), np.float32)
    for case in range(cases):
        families = rng.dirichlet(np.full(21, 0.2), size=(6, length))  # six branches of a tree
        codes = np.stack(
            [
                [rng.choice(21, p=families[rng.integers(6), column]) for column in range(length)]
                for _ in range(120)
            ]
        )
        partners = rng.permutation(length).reshape(-1, 2)
        codes[:, partners[:, 1]] = (codes[:, partners[:, 0]] + partners[:, 0]) % 21
        hot = np.eye(21, dtype=np.float32)[codes].reshape(len(codes), -1)
        mean = (hot.sum(axis=0) + 1) / (len(codes) + 21)
        pair = (hot.T @ hot + 1 / 21) / (len(codes) + 21)
        covariance = (pair - np.outer(mean, mean)).reshape(length, 21, length, 21)
        out[case] = covariance.transpose(0, 2, 1, 3).reshape(length, length, 441)
    return out


def gestures(folder: Path, cases: int = 400) -> Arrays:
    """Drawn movements of 23 body points, (cases, 25 frames, 92): x, y, z and visibility."""
    del folder
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 0.5, size=(cases, 1, 23, 3))
    speed = np.exp(rng.uniform(-9, -2, size=(cases, 1, 1, 1)))
    points = rest + speed * np.cumsum(rng.normal(size=(cases, 25, 23, 3)), axis=1)
    seen = rng.uniform(0.7, 1.0, size=(cases, 25, 23, 1))
    return np.concatenate([points, seen], axis=-1).reshape(cases, 25, 92).astype(np.float32)
