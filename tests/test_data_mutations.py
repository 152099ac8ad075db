"""Damaged and hostile files: every reader answers with data or with one line, in bounded memory.

pytest tests/test_data_mutations.py                      some hundred mutants
pytest tests/test_data_mutations.py -m long -s           20,000 and more, with the figures
"""

from __future__ import annotations

import io
import resource
import sys
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import CODED, FRAMES, NATIVE, write_dicom
from egd_tree import make_tree
from PIL import Image

from ckrm_tf.data.dicom import read_dicom
from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.data.egd_tables import read_boxes, read_gaze, read_master
from ckrm_tf.data.folder import load_folder
from ckrm_tf.data.npz import load_npz
from ckrm_tf.errors import CKRMError

# All mutants are of files of a few kB; `limits.FREE_BYTES` and what a reader holds twice.
MOST_MEMORY = 700 * 2**20
MOST_SECONDS = 20.0
MOST_MESSAGE = 1000
SHORT, LONG = 30, 1000
TYPES = tuple(
    f"{order}{kind}"
    for order, kinds in (
        ("|", "u1 b1 O S0 V8"),
        ("<", "u2 f8 f2 c8 U9 U99999999 m8"),
        (">", "f4 i8"),
    )
    for kind in kinds.split()
)
NASTY = (
    b"nan inf -1 0 1e999 99999999999999999999 -2147483648 65536 true null \xff\xfe %s%n ../../x "
    b'" \xe2\x80\xae , "" {} [] =1+1 0x10 1_000 1,5 -0 NaN'.split(b" ")
)


@dataclass(frozen=True)
class Reader:
    """One kind of file: `make` writes a sound one and names it, `read` reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    mutate: Callable[[np.random.Generator, bytes], bytes]


# --- mutations: (rng, content) -> content


def any_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Flips, cuts, insertions, repeats, and numbers that are too large."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(max(1, len(data))))
        length = int(rng.integers(1, 9))
        kind = rng.integers(7)
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + length] = rng.bytes(length)
        elif kind == 2:
            data[at:at] = rng.bytes(length)
        elif kind == 3:
            del data[at : at + length * 8]
        elif kind == 4:
            data[at:at] = data[max(0, at - 64) : at]
        elif kind == 5:
            huge = rng.choice([2**31 - 1, 2**32 - 1, 2**16, 0, 2**24])
            data[at : at + 4] = int(huge).to_bytes(4, rng.choice(["big", "little"]))
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def inside_zip(rng: np.random.Generator, content: bytes) -> bytes:
    """Mutate a member and pack it anew, so that the archive itself is sound."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        members = old.namelist()
        chosen = members[int(rng.integers(len(members)))]
        for name in members:
            data = old.read(name)
            if name == chosen and rng.random() < 0.5:
                # The header alone: the text that says type and shape.
                data = any_bytes(rng, data[:128]) + data[128:]
            elif name == chosen:
                data = any_bytes(rng, data)
            new.writestr(name, data)
    return out.getvalue()


def shape_and_type(rng: np.random.Generator, content: bytes) -> bytes:
    """Another shape or type in the header of a member, well formed."""
    shapes = ("(%d,)", "(%d, 12, 10)", "(%d, 12, 10, 3)", "(12, %d, 10)", "()", "(-%d, 2)")
    shape = rng.choice(shapes).replace("%d", str(rng.choice([0, 1, 6, 9, 2**31, 2**62, 10**30])))
    kind = rng.choice(
        [
            "|u1",
            "<u2",
            ">f4",
            "<f8",
            "<f2",
            "|b1",
            "<c8",
            "|O",
            "<U9",
            "<U99999999",
            "|S0",
            "|V8",
            "<m8",
            ">i8",
        ]
    )
    text = f"{{'descr': '{kind}', 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}"
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.encode().ljust(117) + b"\n"
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        members = old.namelist()
        chosen = members[int(rng.integers(len(members)))]
        for name in members:
            data = old.read(name)
            new.writestr(name, header + data[128:] if name == chosen else data)
    return out.getvalue()


def inside_png(rng: np.random.Generator, content: bytes) -> bytes:
    """Mutate a chunk and give it a right checksum."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = int(rng.integers(len(chunks)))
    kind, data = chunks[chosen]
    chunks[chosen] = kind, any_bytes(rng, data)
    return content[:8] + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )


def header_field(rng: np.random.Generator, content: bytes) -> bytes:
    """Take a DICOM element away, or give it a value that cannot be."""
    image = pydicom.dcmread(io.BytesIO(content))
    elements = [element for element in image if element.tag.group in (0x28, 0x7FE0)]
    element = elements[int(rng.integers(len(elements)))]
    if rng.random() < 0.2:
        del image[element.tag]
    elif element.VR == "US":
        image[element.tag].value = int(rng.choice([0, 1, 2, 7, 13, 255, 4095, 65535]))
    elif element.VR in ("OB", "OW"):
        image[element.tag].value = any_bytes(rng, element.value)
    else:
        words = ("MONOCHROME1", "RGB", "", "-1", "1e400", "nan", "\\", "2\\3", "0", "-0.5")
        image[element.tag]._value = str(rng.choice(words))
    out = io.BytesIO()
    try:
        image.save_as(out)
    # What pydicom itself does not write.
    except Exception:
        return any_bytes(rng, content)
    return out.getvalue()


def cells(rng: np.random.Generator, content: bytes) -> bytes:
    """Another text in some cells or in a column's name, rows and commas too many or too few."""
    rows = [row.split(b",") for row in content.split(b"\n")]
    for _ in range(int(rng.integers(1, 4))):
        row = rows[int(rng.integers(1 if rng.random() < 0.3 else len(rows)))]
        at = int(rng.integers(len(row)))
        kind = rng.integers(5)
        if kind == 0:
            row[at:at] = [b""] * int(rng.integers(1, 4))
        elif kind == 1:
            del row[at:]
            row.append(b"")
        elif kind == 2:
            row[at] = row[at] * int(rng.choice([0, 2, 1000]))
        else:
            row[at] = NASTY[int(rng.integers(len(NASTY)))]
    return b"\n".join(b",".join(row) for row in rows)


# --- sound files


def make_npz(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {"class_names": np.array(["a", "b", "c"])}
    for split, count in (("train", 9), ("val", 3), ("test", 6)):
        made[f"{split}_images"] = rng.integers(0, 256, (count, 12, 10)).astype(np.uint8)
        made[f"{split}_labels"] = np.arange(count) % 3
    np.savez_compressed(folder / "toy.npz", **made)
    return folder / "toy.npz"


def make_picture(suffix: str, deep: bool = False, **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        ramp = np.arange(120).reshape(12, 10)
        pixels = (ramp * 500).astype(np.uint16) if deep else (ramp * 2).astype(np.uint8)
        for name in "ab":
            (folder / name).mkdir()
            for i in range(3):
                Image.fromarray(pixels).save(folder / name / f"{i}{suffix}", **options)
        return folder / "a" / f"1{suffix}"

    return make


def make_dicom(syntax: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        more = {"RescaleSlope": "2", "RescaleIntercept": "-100", "PixelPaddingValue": 0}
        return write_dicom(folder / "a.dcm", CODED, syntax, **more)

    return make


def make_table(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tree = make_tree(folder / "tree", patients=1, images=1)
        if name == "fixations.csv":
            read_ids[:] = [film.dicom_id for film in tree.films]
        return tree.release / name

    return make


def make_release(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tree = make_tree(folder / "tree", patients=3, images=1)
        film = tree.films[0]
        return tree.mimic / film.path if name == "film" else tree.release / name

    return make


def read_release(file: Path) -> object:
    root = next(folder for folder in file.parents if folder.name == "tree")
    return load_egd_cxr(root, image_size=16, sigma=6.0, cache_dir=root.parent / "cache")


# The gaze table is read for these images.
read_ids: list[str] = []


def folder_of(file: Path) -> object:
    return load_folder(file.parents[1])


PNG, TIFF = make_picture(".png"), make_picture(".tif", compression="tiff_lzw")
READERS = {
    "npz, bytes": Reader(make_npz, load_npz, any_bytes),
    "npz, members": Reader(make_npz, load_npz, inside_zip),
    "npz, shapes": Reader(make_npz, load_npz, shape_and_type),
    "png, bytes": Reader(PNG, folder_of, any_bytes),
    "png, chunks": Reader(PNG, folder_of, inside_png),
    "16-bit png": Reader(make_picture(".png", deep=True), folder_of, inside_png),
    "jpeg": Reader(make_picture(".jpg"), folder_of, any_bytes),
    "tiff": Reader(make_picture(".tif"), folder_of, any_bytes),
    "packed tiff": Reader(TIFF, folder_of, any_bytes),
    "bmp": Reader(make_picture(".bmp"), folder_of, any_bytes),
    **{
        f"dicom, {syntax}": Reader(make_dicom(syntax), read_dicom, any_bytes)
        for syntax in (*NATIVE, *FRAMES)
    },
    "dicom, fields": Reader(make_dicom("explicit"), read_dicom, header_field),
    "master_sheet.csv": Reader(make_table("master_sheet.csv"), read_master, cells),
    "bounding_boxes.csv": Reader(make_table("bounding_boxes.csv"), read_boxes, cells),
    "fixations.csv": Reader(
        make_table("fixations.csv"),
        lambda path: read_gaze(path.parent, "fixations", read_ids),
        cells,
    ),
    "whole egd-cxr, master": Reader(make_release("master_sheet.csv"), read_release, cells),
    "whole egd-cxr, gaze": Reader(make_release("fixations.csv"), read_release, cells),
    "whole egd-cxr, film": Reader(make_release("film"), read_release, any_bytes),
    "tables, bytes": Reader(make_table("master_sheet.csv"), read_master, any_bytes),
}


def tally(reader: Reader, folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Read `count` mutants: how many gave data, one line, or anything else (which fails)."""
    folder.mkdir(exist_ok=True)
    file = reader.make(folder)
    sound = file.read_bytes()
    reader.read(file)
    found: Counter[str] = Counter()
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        file.write_bytes(reader.mutate(rng, sound))
        started = time.perf_counter()
        try:
            reader.read(file)
            found["data"] += 1
        except CKRMError as error:
            found["one line"] += 1
            if "\n" in str(error) or len(str(error)) > MOST_MESSAGE:
                found["long message"] += 1
        # The very thing that is looked for.
        except Exception as error:
            found[f"traceback of {type(error).__name__} in mutant {number}"] += 1
        if time.perf_counter() - started > MOST_SECONDS:
            found["slow"] += 1
    return found


def peak() -> int:
    """Bytes of memory that this process held at most."""
    factor = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor


def check(reader: Reader, folder: Path, count: int) -> Counter[str]:
    before = peak()
    with warnings.catch_warnings():
        # A user sees them; here only what is raised counts.
        warnings.simplefilter("ignore")
        found = tally(reader, folder, count)
    assert set(found) <= {"data", "one line"}, found
    assert peak() - before < MOST_MEMORY
    return found


@pytest.mark.parametrize("name", READERS)
def test_some_mutants(tmp_path: Path, name: str) -> None:
    found = check(READERS[name], tmp_path, SHORT)
    # A reader that refused everything, or nothing, would pass the rest.
    assert found["one line"]


@pytest.mark.long
def test_twenty_thousand_mutants(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "long" not in request.config.option.markexpr:
        pytest.skip("takes minutes: pytest -m long")
    total: Counter[str] = Counter()
    for i, name in enumerate(READERS):
        started, before = time.perf_counter(), peak()
        found = check(READERS[name], tmp_path / str(i), LONG)
        total += found
        print(
            f"{name:<22} {found['data']:>5} data {found['one line']:>5} one line "
            f"{time.perf_counter() - started:5.0f} s, peak +{(peak() - before) >> 20} MB"
        )
    print(f"{sum(total.values())} mutants: {dict(total)}")
    assert sum(total.values()) >= 20_000
    assert total["data"] > 1000


def test_a_traceback_is_noticed(tmp_path: Path) -> None:
    """The figures above mean something: a reader without an edge fails at once."""
    sound = make_npz(tmp_path).read_bytes()

    def fragile(path: Path) -> None:
        with path.open("rb") as file, np.load(file) as arrays:
            for name in arrays.files:
                arrays[name].nonzero()

    found = tally(Reader(lambda _: tmp_path / "toy.npz", fragile, any_bytes), tmp_path, 60)
    assert any(kind.startswith("traceback") for kind in found)
    assert (tmp_path / "toy.npz").read_bytes() != sound
