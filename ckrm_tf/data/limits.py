"""What reading may cost, and the one edge at which a library's errors become ours.

A file says how large its content is before the content is read. Every reader asks here first, so
that a small damaged or hostile file costs no more memory than a small honest one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ckrm_tf.errors import CKRMError

# The largest picture: a film of 8000 x 8000, several times the largest detector of chest films.
MAX_PIXELS = 64_000_000
# The largest file that is one film.
MAX_FILM_BYTES = 2**29
# What any input may unpack to; beyond it, at most EXPANSION bytes for each byte of the file.
# Compressed films shrink two- to twentyfold.
FREE_BYTES = 2**28
EXPANSION = 100
# The largest data set in memory.
MAX_DATASET_BYTES = 2**35
# Pixels that are decoded at one time, over all threads: at most some 16 bytes of memory each.
PIXELS_IN_FLIGHT = MAX_PIXELS
# Of a message that quotes a file or a library.
MAX_QUOTE = 160


def brief(text: object, length: int = MAX_QUOTE) -> str:
    """`text` on one line of printable characters, its middle cut out where it is long.

    >>> brief("a" * 50, 20)
    'aaaaaaa ... aaaaaaaa'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(line) <= length:
        return line
    head = (length - 5) // 2
    return f"{line[:head]} ... {line[len(line) - (length - 5 - head) :]}"


def named(names: Iterable[object], most: int = 5) -> str:
    """The first few of `names`, and how many more there are."""
    every = [brief(name, 60) for name in names]
    more = f", ... ({len(every)} in all)" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def size(count: int) -> str:
    """Bytes as people say them: 512 bytes, 3.1 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"


def check_unpacked(what: str, unpacked: int, stored: int) -> None:
    """Refuse content that unpacks to far more than films can have been packed by.

    Args:
        what: the file and its part, for the message.
        unpacked: bytes that the content takes in memory.
        stored: bytes of the file.

    Raises:
        CKRMError: when `unpacked` is over `FREE_BYTES` and over `EXPANSION` times `stored`.
    """
    allowed = max(FREE_BYTES, EXPANSION * stored)
    if unpacked > allowed:
        raise CKRMError(
            f"{what}: size",
            expected=f"at most {size(allowed)} from a file of {size(stored)}",
            received=size(unpacked),
            hint="The file is damaged, or it was made to fill the memory.",
        )


def check_pixels(what: str, height: int, width: int) -> None:
    """Refuse a picture of no or of too many pixels, before it is decoded."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise CKRMError(
            f"{what}: height x width",
            expected=f"1 to {MAX_PIXELS} pixels",
            received=f"{brief(height, 30)} x {brief(width, 30)}",
        )


def check_film_file(file: Path) -> None:
    """Refuse a file that is too large to be one film.

    Raises:
        OSError: when there is no such file.
    """
    found = file.stat().st_size
    if found > MAX_FILM_BYTES:
        raise CKRMError(
            f"{file}: size", expected=f"at most {size(MAX_FILM_BYTES)}", received=size(found)
        )


def check_dataset_bytes(what: str, count: int) -> None:
    """Refuse a data set that no usual machine holds in memory, before it is allocated."""
    if count > MAX_DATASET_BYTES:
        raise CKRMError(
            f"{what}: memory for all images",
            expected=f"at most {size(MAX_DATASET_BYTES)}",
            received=size(count),
            hint="Give a smaller image_size.",
        )


@contextmanager
def reading(
    what: str, sentence: str | None = None, *, quiet: tuple[type[Warning], ...] = ()
) -> Iterator[None]:
    """The edge of a reader: whatever its library raises becomes one error that names the file.

    The libraries behind the readers are other people's C and Python; a damaged file can raise
    anything in them. Errors of our own pass through.

    Args:
        what: the kind of file and its name.
        sentence: the start of the message; "WHAT cannot be read" by default.
        quiet: warnings of the library that tell nothing which the error or the result does not.
            Not for threads: Python's filters are those of the whole process.
    """
    try:
        if not quiet:
            yield
        else:
            with warnings.catch_warnings():
                for category in quiet:
                    warnings.simplefilter("ignore", category)
                yield
    except CKRMError:
        raise
    except FileNotFoundError as error:
        raise CKRMError(f"{what} not found") from error
    except Exception as error:
        raise CKRMError(
            sentence or f"{what} cannot be read", received=f"{type(error).__name__}: {brief(error)}"
        ) from error
