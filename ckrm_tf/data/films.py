"""All picture files of a folder, decoded with what they have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ckrm_tf.data.images import Header, Picture, has_colour, read_header, read_picture
from ckrm_tf.data.layout import Layout
from ckrm_tf.data.limits import PIXELS_IN_FLIGHT, check_dataset_bytes, check_unpacked, named
from ckrm_tf.errors import CKRMError

# Used when the files differ in size and the user named none.
COMMON_SIZE = (224, 224)
# Files in which colour is looked for.
COLOUR_FILES = 32


class Films:
    """The picture files of a layout, in its order."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.files = [file for entries in layout.listing.values() for file, _ in entries]
        self.notes: list[str] = []
        with ThreadPoolExecutor() as pool:
            # Headers only: films of several thousand pixels a side never all stand in memory.
            found = list(pool.map(partial(_tried, read_header), self.files))
        # A file without a header is told with those that cannot be decoded.
        pairs = zip(self.files, found, strict=True)
        self.headers = {file: header for file, header in pairs if isinstance(header, Header)}
        if not self.headers:
            self._refuse(found)

    def channels(self) -> int:
        """3 if most files have colour, else 1; told where files could be read in colour."""
        coloured = [file for file, header in self.headers.items() if header.colour]
        some = coloured[:: max(1, len(coloured) // COLOUR_FILES)][:COLOUR_FILES]
        # What cannot be decoded is told with all others later.
        seen = sum(_tried(has_colour, file) is True for file in some)
        if not seen:
            return 1
        share = seen / len(some) * len(coloured) / len(self.files)
        told = f"about {share:.0%} of the images have colour"
        if share > 0.5:
            self.notes.append(f"{told}: read in colour (channels=1, --channels 1, reads grey)")
            return 3
        self.notes.append(f"{told}: read as grey (channels=3, --channels 3, keeps the colours)")
        return 1

    def read(
        self,
        wanted: tuple[int, int] | None,
        channels: int,
        progress: Callable[[int, int], None] | None,
    ) -> list[Picture]:
        """Every picture; one error for all that cannot be decoded."""
        headers = self.headers.values()
        sizes = {header.size for header in headers}
        if wanted is None and len(sizes) > 1:
            self.notes.append(f"files of {len(sizes)} sizes: brought to 224 x 224 (image_size)")
        own = sizes.pop() if len(sizes) == 1 else None
        size = wanted or own or COMMON_SIZE
        deep = any(header.deep for header in headers)
        total = len(self.files) * size[0] * size[1] * channels * (4 if deep else 1)
        check_dataset_bytes(self.root.name, total)
        if size == own:
            # Small films that are brought to another size may well grow.
            check_unpacked(self.root.name, total, sum(f.stat().st_size for f in self.files))
        largest = max(header.size[0] * header.size[1] for header in headers)
        workers = max(1, min(os.cpu_count() or 1, PIXELS_IN_FLIGHT // largest))
        decode = partial(_tried, partial(read_picture, size=size, channels=channels))
        found = []
        # Decoding releases the interpreter's lock, so threads use all cores.
        with ThreadPoolExecutor(workers) as pool:
            for done, picture in enumerate(pool.map(decode, self.files), 1):
                found.append(picture)
                if progress is not None:
                    progress(done, len(self.files))
        self._refuse(found)
        return [picture for picture in found if isinstance(picture, Picture)]

    def _refuse(self, found: Sequence[object]) -> None:
        pairs = zip(self.files, found, strict=True)
        bad = [(file, error) for file, error in pairs if isinstance(error, CKRMError)]
        if not bad:
            return
        names = named((file.relative_to(self.root).as_posix() for file, _ in bad), 3)
        first = bad[0][1]
        raise CKRMError(
            f"{len(bad)} of {len(self.files)} images cannot be decoded",
            expected=first.expected,
            received=f"{names}; the first: {first.received}",
            hint="Replace or remove them.",
        )


def _tried(read: Callable[[Path], Any], file: Path) -> Any:
    """What `read` gives, or its error: one bad file must not hide the others."""
    try:
        return read(file)
    except CKRMError as error:
        return error
