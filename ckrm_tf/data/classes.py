"""Folders of classes: which are classes, and which of their files are films."""

from __future__ import annotations

from pathlib import Path

from ckrm_tf.data import names
from ckrm_tf.data.images import SUFFIXES, is_mask
from ckrm_tf.data.limits import named
from ckrm_tf.data.tree import Folder
from ckrm_tf.errors import CKRMError

Classes = dict[str, list[Path]]


def read_classes(top: Folder, notes: list[str]) -> Classes:
    """class name -> its films, from one folder per class.

    Args:
        top: the folder of the class folders.
        notes: what was left out is added to them.

    Raises:
        CKRMError: when a folder may be something else than a class, or may hold other than films.
    """
    _check_class_folders(top)
    found: Classes = {}
    for name, folder in top.folders.items():
        if not folder.holds_images:
            notes.append(f"{name}/ left out: no images in it")
            continue
        shared = sorted(set(folder.holding()) & set(top.holding()))
        if shared:
            leave_out_copy(name, folder, top, notes, f"beside {named(shared)}, which it holds too")
        elif names.is_helper(name) and _all_masks(folder):
            notes.append(f"{name}/ left out: masks")
        else:
            found[name] = sorted(_films(folder, notes))
    if not found:
        raise no_images(top)
    if top.images:
        notes.append(f"{len(top.images)} images beside the class folders left out")
    return found


def _check_class_folders(top: Folder) -> None:
    """Refuse what cannot be one folder per class."""
    holding = top.holding()
    for name, folder in top.folders.items():
        strange = folder.all_strange
        if strange and not folder.holds_images:
            raise strange_files(f"class folder {name}", strange)
        origin = names.copied_from(name, holding)
        if name in holding and origin is not None:
            raise _no_class(top, name, f"a copy of {origin}")
        splits = [inner for inner in folder.holding() if names.split_of(inner)]
        if splits:
            raise _no_class(top, name, f"a folder that holds the splits {named(splits)}")
        if names.split_of(name) and name in holding:
            raise _no_class(top, name, "a split inside a split")
    spelt: dict[str, str] = {}
    for name in holding:
        first = spelt.setdefault(names.same_class(name), name)
        if first != name:
            raise _no_class(top, name, f"another spelling of {first}")
    images = [name for name in holding if names.is_image_folder(name)]
    if images:
        raise _no_class(top, images[0], f"a folder of images among {named(holding)}")
    parts = [name for name in holding if names.mentions_split(name)]
    if len({names.mentions_split(name) for name in parts}) > 1:
        raise _no_class(top, named(parts), "which name splits")


def check_one_level(top: Folder) -> None:
    """Refuse classes that all hold the same folders: either level may be that of the classes.

    So do splits whose names are not known as such, sites, and kinds of picture.
    """
    holding = top.holding()
    inner = [set(folder.holding()) for folder in holding.values()]
    shared = sorted(inner[0]) if inner else []
    if len(inner) < 2 or len(shared) < 2 or any(held != inner[0] for held in inner):
        return
    if any(folder.images for folder in holding.values()):
        return
    parts = [folder.folders[name] for folder in holding.values() for name in shared]
    # Films beside what belongs to them are told as such.
    odd = any(names.is_helper(name) or names.is_image_folder(name) for name in shared)
    if odd or any(_all_masks(part) for part in parts):
        return
    raise CKRMError(
        f"folders in {top.path}",
        expected="train, val and test, or one folder per class",
        received=f"{named(holding)}, which all hold {named(shared)}",
        hint="Name the splits train, val and test; or give one folder of these; or put the films "
        "of each class into one folder.",
    )


def _films(folder: Folder, notes: list[str]) -> list[Path]:
    """The films of a class at any depth, without masks and copies beside them."""
    if folder.strange:
        raise strange_files(f"folder {folder.path.name}", folder.strange)
    holding = folder.holding()
    helpers = [name for name in holding if names.is_helper(name)]
    others = [name for name in holding if name not in helpers]
    if helpers and not others and not folder.images:
        raise CKRMError(
            f"folder {folder.path}",
            expected="films",
            received=f"only the folders {named(helpers)}",
        )
    images = [name for name in others if names.is_image_folder(name)]
    if images and len(others) > len(images):
        odd = [name for name in others if name not in images]
        raise CKRMError(
            f"folder {folder.path}",
            expected="films in one place",
            received=f"the folders {named([*images, *odd])}",
            hint=f"Move {named(odd)} elsewhere if it holds no films of this class.",
        )
    if helpers:
        notes.append(f"{folder.path.name}/: {named(helpers)} left out, not films")
    found = _own_films(folder, notes)
    for name, inner in folder.folders.items():
        if name not in helpers:
            found += _films(inner, notes)
    return found


def _own_films(folder: Folder, notes: list[str]) -> list[Path]:
    stems = {file.stem for file in folder.images}
    masks = [file for file in folder.images if names.helps(file.stem, stems)]
    copies = [
        file
        for file in folder.images
        if (origin := names.copied_from(file.stem, stems)) is not None
        and _same(file, file.with_name(origin + file.suffix))
    ]
    for what, files in (("masks beside their films", masks), ("copies of others", copies)):
        if files:
            shown = named(file.name for file in files)
            notes.append(f"{folder.path.name}/: {what} left out: {shown}")
    return [file for file in folder.images if file not in {*masks, *copies}]


def _same(first: Path, second: Path) -> bool:
    return (
        second.is_file()
        and first.stat().st_size == second.stat().st_size
        and first.read_bytes() == second.read_bytes()
    )


def _all_masks(folder: Folder) -> bool:
    """Whether a few files, evenly taken, all look like masks."""
    files = [file for inner in folder.below() for file in inner.images]
    return all(is_mask(file) for file in files[:: max(1, len(files) // 5)])


def leave_out_copy(name: str, folder: Folder, top: Folder, notes: list[str], where: str) -> None:
    """Pass over a folder of which every file stands in `top` too, else refuse it."""
    # Its own files are in `top` under its own name.
    rest = {file: size for file, size in top.files().items() if not file.startswith(f"{name}/")}
    copied = folder.files()
    some = list(copied)[:: max(1, len(copied) // 5)]
    if copied.items() <= rest.items() and all(
        _same(folder.path / file, top.path / file) for file in some
    ):
        notes.append(f"{name}/ left out: a copy of what lies beside it")
        return
    raise CKRMError(
        f"folders in {top.path}",
        expected="train, val and test, or one folder per class",
        received=f"{name}, {where}",
        hint=f"Move {name} elsewhere, or give the folder that is meant.",
    )


def _no_class(top: Folder, name: str, what: str) -> CKRMError:
    return CKRMError(
        f"folders in {top.path}",
        expected="train, val and test, or one folder per class",
        received=f"{name}, {what}",
        hint="Move it elsewhere, or give the folder that is meant.",
    )


def strange_files(where: str, files: list[Path]) -> CKRMError:
    """The error for films that are there and cannot be read."""
    return CKRMError(
        f"{where}: files of a kind that is not read",
        expected=", ".join(SUFFIXES),
        received=f"{len(files)} others: {named((file.name for file in files), 3)}",
        hint="Convert them, or move them elsewhere.",
    )


def no_images(tree: Folder) -> CKRMError:
    """The error for a folder without a film."""
    strange = tree.all_strange
    if strange:
        return strange_files(f"no images under {tree.path}", strange)
    held = sorted(entry.name for entry in tree.path.iterdir())
    return CKRMError(
        f"no images under {tree.path}",
        expected=f"CLASS/*{' or CLASS/*'.join(SUFFIXES)}, or the same in train, val and test",
        received=named(held) or "an empty folder",
    )
