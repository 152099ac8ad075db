"""A folder as it lies on the disk: what it holds, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ckrm_tf.data.images import SUFFIXES
from ckrm_tf.data.limits import named
from ckrm_tf.data.names import is_junk, word_set
from ckrm_tf.errors import CKRMError

MAX_DEPTH = 16
# Files that may lie beside films and are none.
_PAPERS = word_set(
    ".csv .tsv .txt .md .rst .json .jsonl .xml .html .htm .yaml .yml .log .db .ini .pdf .doc .docx "
    ".xls .xlsx .py .ipynb .sh .bat .md5 .sha256 .lnk .url .toml .bib .cff .license .in .cfg"
)


@dataclass
class Folder:
    """One folder.

    Attributes:
        path: where it lies.
        folders: its sub-folders by name, sorted; hidden ones are not there.
        images: its own picture files, sorted.
        strange: its own files that may be films of a kind that is not read: .dcm, .webp, .npy,
            .zip, names without an ending.
    """

    path: Path
    folders: dict[str, Folder] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    strange: list[Path] = field(default_factory=list)

    def below(self) -> Iterator[Folder]:
        """This folder and all below."""
        yield self
        for folder in self.folders.values():
            yield from folder.below()

    @property
    def holds_images(self) -> bool:
        """Whether a picture file lies in it or below."""
        return any(folder.images for folder in self.below())

    @property
    def all_strange(self) -> list[Path]:
        """The `strange` files in it and below."""
        return [file for folder in self.below() for file in folder.strange]

    def holding(self) -> dict[str, Folder]:
        """Its sub-folders that hold pictures, at any depth."""
        return {name: folder for name, folder in self.folders.items() if folder.holds_images}

    def files(self) -> dict[str, int]:
        """Every picture file in it or below, by its path from here, with its size."""
        return {
            file.relative_to(self.path).as_posix(): file.stat().st_size
            for folder in self.below()
            for file in folder.images
        }


def _is_text(name: str) -> bool:
    """Whether a name can be printed and written: no line breaks, no bytes that are not UTF-8."""
    return all(c >= " " and c != "\x7f" and not "\ud800" <= c <= "\udfff" for c in name)


def read_tree(path: Path, depth: int = 0) -> Folder:
    """Everything below `path`, in an order that does not depend on the file system.

    Raises:
        CKRMError: when folders are nested deeper than `MAX_DEPTH`, as a link to a folder above
            makes them, or a link names a file or folder that is not there.
        OSError: when a folder cannot be listed.
    """
    if depth > MAX_DEPTH:
        raise CKRMError(
            f"folder {path}", expected=f"at most {MAX_DEPTH} folders deep", received="more"
        )
    found = Folder(path)
    lost: list[str] = []
    for entry in sorted(path.iterdir()):
        if is_junk(entry.name):
            continue
        if not _is_text(entry.name):
            raise CKRMError(
                f"folder {path}", expected="names that are texts", received=ascii(entry.name)
            )
        if entry.is_dir():
            found.folders[entry.name] = read_tree(entry, depth + 1)
        elif entry.is_file():
            suffix = entry.suffix.lower()
            if suffix in SUFFIXES:
                found.images.append(entry)
            elif suffix not in _PAPERS and entry.name.lower() not in ("license", "readme"):
                found.strange.append(entry)
        elif entry.is_symlink() and entry.suffix.lower() not in _PAPERS:
            lost.append(entry.name)
    if lost:
        raise CKRMError(
            f"folder {path}",
            expected="links to files and folders that are there",
            received=f"{len(lost)} links to nothing: {named(lost, 3)}",
            hint="Remove them, or bring back what they name.",
        )
    return found
