"""The tables of EGD-CXR: which image is whose, its label, and where the reader looked."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ckrm_tf.data.limits import brief, named, reading, size
from ckrm_tf.errors import CKRMError, unknown_name

MASTER = "master_sheet.csv"
# Label 0, 1, 2: the columns of the master sheet of which exactly one is 1.
CLASS_NAMES = ("Normal", "CHF", "pneumonia")
GAZE_FILES = {"fixations": "fixations.csv", "eye_gaze": "eye_gaze.csv"}
# eye_gaze.csv holds 1.5 million rows of 37 columns: three are read, this many rows at a time.
CHUNK_ROWS = 200_000
# A calibration screen carries the id of an image without its last five characters.
CALIBRATION_CUT = 5
# A table is of text; eye_gaze.csv takes 0.5 GB.
MAX_TABLE_BYTES = 2**32
# Of a name that becomes part of a file's name.
MAX_NAME = 128
# No bad byte in a free text that nobody reads stops the reading, and no comma too many at the end
# of a row moves its columns: pandas would take the first one for row names.
_READING: dict[str, Any] = {
    "encoding": "utf-8-sig",
    "encoding_errors": "replace",
    "index_col": False,
}


@dataclass(frozen=True)
class Master:
    """The images of the data set, in the order of the table.

    Attributes:
        ids: (n,) the dicom_id of each image.
        files: each image's path below the MIMIC-CXR folder, "files/p10/...".
        patients: each image's patient.
        labels: (n,) int64: 0 Normal, 1 CHF, 2 pneumonia.
    """

    ids: np.ndarray
    files: tuple[str, ...]
    patients: tuple[str, ...]
    labels: np.ndarray


def read_master(path: Path) -> Master:
    """Read `master_sheet.csv`; its last column holds line breaks inside quotes.

    Raises:
        CKRMError: when the file or a column is missing, an image stands there twice, or not
            exactly one of the three labels of an image is 1.
    """
    names = ("dicom_id", "path", "patient_id", *CLASS_NAMES)
    with _table(path) as read:
        columns = _columns(path, read, names)
        table = read(usecols=list(columns.values()), dtype=str)
        table = table.rename(columns={found: name for name, found in columns.items()})
        table = table.dropna(subset=["dicom_id"])
        marks = _numbers(table[list(CLASS_NAMES)])
    if table.empty:
        raise CKRMError(f"{path}: images", expected="at least one", received="none")
    for name in ("path", "patient_id"):
        blank = table.loc[table[name].isna(), "dicom_id"]
        if len(blank):
            raise CKRMError(f"{path}: column {name!r} is blank", received=brief(blank.iloc[0]))
    twice = table.loc[table["dicom_id"].duplicated(), "dicom_id"]
    if len(twice):
        raise CKRMError(f"{path}: one row an image", received=f"two of {brief(twice.iloc[0])}")
    for name in ("dicom_id", "path"):
        odd = [value for value in table[name] if not _is_name(value)]
        if odd:
            raise CKRMError(
                f"{path}: column {name!r}",
                expected="names of files, below the folder of the images",
                received=named(odd, 3),
            )
    wrong = ~(np.isin(marks, (0, 1)).all(axis=1) & (marks.sum(axis=1) == 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise CKRMError(
            f"{path}: label of image {brief(table['dicom_id'].iloc[first])}",
            expected=f"1 in one of {', '.join(CLASS_NAMES)}, 0 in the others",
            received=", ".join(f"{mark:g}" for mark in marks[first]),
        )
    return Master(
        table["dicom_id"].to_numpy(str),
        tuple(table["path"]),
        tuple(table["patient_id"]),
        marks.argmax(axis=1).astype(np.int64),
    )


@dataclass(frozen=True)
class Gaze:
    """Gaze points, by image.

    Attributes:
        points: dicom_id -> (m, 2) float64, x and y in pixels of the full-size film, as they stand
            in the table: those beside the film too. Images without a row are absent.
        unknown: ids that are neither an image of the master sheet nor a calibration screen.
    """

    points: dict[str, np.ndarray]
    unknown: tuple[str, ...]


def read_gaze(release: Path, kind: str, ids: Collection[str]) -> Gaze:
    """Read `fixations.csv` or `eye_gaze.csv`, X_ORIGINAL and Y_ORIGINAL only.

    FPOGX and FPOGY are not used: they are fractions of the screen, and the published mapping to
    the film takes a canvas height that is not the one shown. Nor is the time, which starts again
    with each image. Rows of calibration screens are dropped.

    Raises:
        CKRMError: when `kind` is unknown, or the file or a column is missing.
    """
    if kind not in GAZE_FILES:
        raise unknown_name("gaze source", kind, GAZE_FILES)
    path = release / GAZE_FILES[kind]
    names = ("DICOM_ID", "X_ORIGINAL", "Y_ORIGINAL")
    known, calibration = set(ids), {name[:-CALIBRATION_CUT] for name in ids}
    found: dict[str, list[np.ndarray]] = {}
    unknown: set[str] = set()
    with _table(path) as read:
        columns = _columns(path, read, names)
        place = [columns["X_ORIGINAL"], columns["Y_ORIGINAL"]]
        types = {columns["DICOM_ID"]: str}
        for chunk in read(usecols=list(columns.values()), dtype=types, chunksize=CHUNK_ROWS):
            for name, rows in chunk.groupby(columns["DICOM_ID"], sort=False):
                if name in known:
                    found.setdefault(str(name), []).append(_numbers(rows[place]))
                elif name not in calibration:
                    unknown.add(str(name))
    points = {name: np.concatenate(parts) for name, parts in found.items()}
    return Gaze(points, tuple(sorted(unknown)))


def read_boxes(path: Path) -> dict[str, dict[str, tuple[float, float, float, float]]]:
    """Read `bounding_boxes.csv`: dicom_id -> region -> (x1, y1, x2, y2) in full-size pixels.

    The file's own order is x1, x2, y1, y2; here it is the usual one.

    Raises:
        CKRMError: when the file or a column is missing.
    """
    names = ("dicom_id", "bbox_name", "x1", "y1", "x2", "y2")
    boxes: dict[str, dict[str, tuple[float, float, float, float]]] = {}
    with _table(path) as read:
        columns = _columns(path, read, names)
        table = read(usecols=list(columns.values()), dtype=str)
        corners = _numbers(table[[columns[name] for name in names[2:]]])
    if not np.isfinite(corners).all():
        first = int(np.argmin(np.isfinite(corners).all(axis=1)))
        raise CKRMError(
            f"{path}: box of image {brief(table[columns['dicom_id']].iloc[first])}",
            expected="four numbers",
            received=", ".join(f"{corner:g}" for corner in corners[first]),
        )
    owners = zip(table[columns["dicom_id"]], table[columns["bbox_name"]], strict=True)
    for (name, region), (x1, y1, x2, y2) in zip(owners, corners.tolist(), strict=True):
        boxes.setdefault(str(name), {})[str(region)] = x1, y1, x2, y2
    return boxes


def _is_name(value: str) -> bool:
    """Whether a cell can be a file's name, or a path of such names that leads only downwards."""
    parts = PurePosixPath(value).parts
    return (
        value.isprintable()
        and not value.startswith("/")
        and bool(parts)
        and all(part != ".." and len(part) <= MAX_NAME for part in parts)
        and len(parts) <= 16
        and not set(value) & set('\\:*?"<>|')
    )


def _numbers(table: Any) -> np.ndarray:
    """Cells as float64; NaN where a cell is no number."""
    pandas = importlib.import_module("pandas")
    return np.asarray(table.apply(pandas.to_numeric, errors="coerce").to_numpy(np.float64))


def _columns(path: Path, read: Any, names: Sequence[str]) -> dict[str, str]:
    """Each wanted column as the file spells it: DICOM_ID in one table is dicom_id in another."""
    header = [str(column) for column in read(nrows=0).columns]
    spelling = {column.strip().lower(): column for column in header}
    missing = [name for name in names if name.lower() not in spelling]
    if missing:
        raise CKRMError(
            f"{path}: column {', '.join(missing)} is missing", received=named(header, 8)
        )
    return {name: spelling[name.lower()] for name in names}


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    """`pandas.read_csv` of one file; whatever it raises becomes the error that names the file.

    The import stands here since it takes longer than everything else in this package.
    """
    pandas = importlib.import_module("pandas")
    if not path.is_file():
        raise CKRMError("EGD-CXR file not found", received=str(path))
    found = path.stat().st_size
    if found > MAX_TABLE_BYTES:
        raise CKRMError(
            f"{path}: size", expected=f"at most {size(MAX_TABLE_BYTES)}", received=size(found)
        )
    # The commas too many that `index_col` is for are warned of.
    with reading(f"table {path}", quiet=(pandas.errors.ParserWarning,)):
        yield partial(pandas.read_csv, path, **_READING)
