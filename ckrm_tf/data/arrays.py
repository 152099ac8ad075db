"""Named arrays out of an .npz file, each weighed before it is read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy

from ckrm_tf.data.limits import brief, check_dataset_bytes, check_unpacked, named, reading
from ckrm_tf.errors import CKRMError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# Of a .npy header: those of plain arrays take some hundred bytes.
_MAX_HEADER = 10_000
# Of an array of texts, which takes fifty times as much once it is a list.
MAX_TEXT = 2**20
_PLAIN_KINDS = "biufcSU"


def read_arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """The arrays `keys`, and those of `optional` that the file has. No pickled object is loaded.

    Raises:
        CKRMError: when the file is missing, damaged, lacks a key, holds anything but plain
            arrays, or unpacks to more than `limits` allows.
    """
    if not os.path.isfile(path):
        raise CKRMError("data file not found", received=brief(path))
    with reading(path.name, f"cannot read {path.name}"):
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                    # A lone array under the name .npz has no keys.
                    raise _lacks(path, keys, keys, ())
            raise CKRMError(
                f"cannot read {path.name}",
                expected="an undamaged .npz file (a zip of arrays)",
                received="another kind of file",
            )
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            missing = [key for key in keys if key not in members]
            if missing:
                raise _lacks(path, missing, keys, sorted(members))
            wanted = [*keys, *(key for key in optional if key in members)]
            stored = path.stat().st_size
            total = 0
            for key in wanted:
                # The headers first: none of the arrays is read if one of them, or all together,
                # are too large.
                with archive.open(members[key]) as member:
                    total += _weigh(f"{path.name}, {key}", member, members[key].file_size)
            check_unpacked(path.name, total, stored)
            check_dataset_bytes(path.name, total)
            found = {}
            for key in wanted:
                with archive.open(members[key]) as member, reading(key, f"cannot read {path.name}"):
                    array = npy.read_array(member, allow_pickle=False)
                    # Texts are decoded when they are looked at: here, so that it fails here.
                    if array.dtype.kind in "SU":
                        array.astype(str).tolist()
                    found[key] = array
            return found


def _lacks(
    path: Path, missing: Sequence[str], keys: Sequence[str], found: Sequence[str]
) -> CKRMError:
    return CKRMError(
        f"{path.name} lacks {', '.join(missing)}",
        expected=f"the keys {', '.join(keys)}",
        received=named(found, 8) or "none",
    )


def _weigh(where: str, member: IO[bytes], unpacked: int) -> int:
    """The bytes of one array, from its header alone; checked to be in the member."""
    with reading(where, f"cannot read {where}"):
        version = npy.read_magic(member)
        if version not in _HEADERS:
            raise CKRMError(where, expected="an .npy array of version 1 or 2", received=version)
        shape, _, dtype = _HEADERS[version](member, max_header_size=_MAX_HEADER)
    # Elements of no bytes weigh nothing, however many a header says there are.
    if dtype.kind not in _PLAIN_KINDS or dtype.hasobject or not dtype.itemsize:
        raise CKRMError(
            f"cannot read {where}",
            expected="plain numbers or text (no pickled objects)",
            received=f"dtype {str(dtype)[:40]}",
        )
    if any(side < 0 for side in shape):
        raise CKRMError(f"{where}: shape", expected="no negative side", received=shape)
    needed = prod(int(side) for side in shape) * dtype.itemsize
    if needed > unpacked:
        raise CKRMError(
            f"cannot read {where}: the array is cut short",
            expected=f"{needed} bytes, as its header says",
            received=f"{unpacked}",
        )
    if dtype.kind in "SU" and needed > MAX_TEXT:
        raise CKRMError(
            f"cannot read {where}", expected=f"texts of at most {MAX_TEXT} bytes", received=needed
        )
    # An array of no elements may still have sides that overflow.
    if len(shape) > 8 or max(shape, default=0) > 2**40:
        raise CKRMError(f"{where}: shape", expected="at most 8 usual sides", received="more")
    return needed
