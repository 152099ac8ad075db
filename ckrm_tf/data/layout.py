"""Which file of a folder is a film, of which class and of which split.

People keep films in many ways. What a layout says beyond doubt is read and told in a note; the
rest is refused with the names of the folders at fault. A split or a copy never becomes a class, a
mask never becomes a film, and no class is left out without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ckrm_tf.data import names
from ckrm_tf.data.classes import (
    Classes,
    check_one_level,
    leave_out_copy,
    no_images,
    read_classes,
    strange_files,
)
from ckrm_tf.data.limits import named
from ckrm_tf.data.names import SPLITS
from ckrm_tf.data.tree import Folder, read_tree
from ckrm_tf.errors import CKRMError

VAL_SHARE, TEST_SHARE = 0.1, 0.2
# Of the training images, where there are folders for training and test alone: 10% of 80%.
VAL_OF_TRAIN = 0.125

Listing = dict[str, list[tuple[Path, int]]]


@dataclass
class Layout:
    """The films of a folder.

    Attributes:
        class_names: in alphabetical order.
        listing: split -> (file, label) of each film.
        notes: what was assumed or left out, a sentence each.
    """

    class_names: tuple[str, ...] = ()
    listing: Listing = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_layout(root: Path, seed: int = 1) -> Layout:
    """Find the splits, classes and films below `root`.

    Raises:
        CKRMError: when the folders leave a doubt, with the names of those at fault.
        OSError: when a folder cannot be listed.
    """
    layout = Layout()
    tree = read_tree(root)
    if not tree.holds_images:
        raise no_images(tree)
    top = _below_images(_unwrapped(tree, layout), layout)
    if any(names.split_of(name) for name in top.holding()):
        _read_splits(top, seed, layout)
    else:
        check_one_level(top)
        _split(read_classes(top, layout.notes), top.path, seed, layout)
    return layout


def _unwrapped(tree: Folder, layout: Layout) -> Folder:
    """The folder of the splits or of the classes: `tree`, or below folders that hold it alone."""
    while not tree.images:
        children = tree.holding()
        if len(children) != 1:
            break
        name, child = next(iter(children.items()))
        inner = child.holding()
        # A split, a class with its films, or a class whose films lie beside their masks.
        beside = any(
            (names.is_helper(n) or names.is_image_folder(n)) and f.images for n, f in inner.items()
        )
        one_class = beside and not names.is_image_folder(name)
        if names.split_of(name) or child.images or not inner or one_class:
            break
        tree = _below(name, child, layout)
    return tree


def _below(name: str, child: Folder, layout: Layout) -> Folder:
    layout.notes.append(f"read below {name}/, the only folder with images")
    return child


def _below_images(tree: Folder, layout: Layout) -> Folder:
    """Below `images/`, where classes or splits stand in it and masks beside it.

    Also below `train/train/`, as some archives of one split are packed.
    """
    holding = tree.holding()
    helpers = [name for name in holding if names.is_helper(name)]
    others = [name for name in holding if name not in helpers]
    if tree.images or len(others) != 1:
        return tree
    name, child = others[0], holding[others[0]]
    split = names.split_of(name)
    again = split is not None and split == names.split_of(tree.path.name)
    if not (again or names.is_image_folder(name)) or not child.holding():
        return tree
    if helpers:
        layout.notes.append(f"{named(helpers)} beside {name}/ left out, not films")
    return _below(f"{tree.path.name}/{name}", child, layout)


def _read_splits(top: Folder, seed: int, layout: Layout) -> None:
    """Take splits as the folders give them."""
    by_split = _split_folders(top)
    for name, folder in top.holding().items():
        if names.split_of(name) is None:
            leave_out_copy(name, folder, top, layout.notes, f"beside {_found(by_split)}")
    if not {"train", "test"} <= set(by_split):
        raise CKRMError(
            f"folders in {top.path}",
            expected="train, val and test, or one folder per class",
            received=_found(by_split),
        )
    if top.images:
        layout.notes.append(f"{len(top.images)} images beside the split folders left out")
    layout.notes.append(
        "splits from the folders: "
        + ", ".join(f"{s} from {by_split[s].path.name}/" for s in SPLITS if s in by_split)
    )
    found = {s: read_classes(_below_images(f, layout), layout.notes) for s, f in by_split.items()}
    layout.class_names = tuple(sorted(found["train"]))
    labels = {names.same_class(name): i for i, name in enumerate(layout.class_names)}
    for split in (split for split in SPLITS if split in found):
        unknown = [name for name in found[split] if names.same_class(name) not in labels]
        if unknown:
            raise CKRMError(
                f"class folders in {by_split[split].path.name}",
                expected=f"those of train ({named(layout.class_names)})",
                received=f"also {named(unknown)}",
            )
        entries = [
            (file, labels[names.same_class(name)])
            for name, files in found[split].items()
            for file in files
        ]
        layout.listing[split] = sorted(entries, key=lambda entry: entry[1])
    if "val" not in found:
        _take_val(seed, layout)


def _split_folders(top: Folder) -> dict[str, Folder]:
    found: dict[str, Folder] = {}
    for name, folder in top.folders.items():
        split = names.split_of(name)
        if split is None:
            continue
        if not folder.holds_images:
            if folder.all_strange:
                raise strange_files(f"split folder {name}", folder.all_strange)
            continue
        if split in found:
            raise CKRMError(
                f"folders in {top.path}",
                expected=f"one folder of the {split} split",
                received=f"{found[split].path.name} and {name}",
            )
        found[split] = folder
    return found


def _found(by_split: dict[str, Folder]) -> str:
    return ", ".join(by_split[split].path.name for split in SPLITS if split in by_split)


def _take_val(seed: int, layout: Layout) -> None:
    """Move some training images of each class into a validation split."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[Path, int]] = []
    taken: list[tuple[Path, int]] = []
    for label, name in enumerate(layout.class_names):
        own = [entry for entry in layout.listing["train"] if entry[1] == label]
        if len(own) < 2:
            raise CKRMError(
                f"class {name!r}: training images to take a validation split from",
                expected="at least 2",
                received=len(own),
            )
        chosen = set(rng.permutation(len(own))[: max(1, round(VAL_OF_TRAIN * len(own)))].tolist())
        taken += [entry for i, entry in enumerate(own) if i in chosen]
        kept += [entry for i, entry in enumerate(own) if i not in chosen]
    layout.listing = {"train": kept, "val": taken, "test": layout.listing["test"]}
    layout.notes.append(
        f"no folder for validation: {VAL_OF_TRAIN:.1%} of the training images of each class taken, "
        "by image"
    )


def _split(classes: Classes, root: Path, seed: int, layout: Layout) -> None:
    """Cut each class 70/10/20."""
    rng = np.random.default_rng(seed)
    layout.class_names = tuple(classes)
    layout.listing = {split: [] for split in SPLITS}
    for label, (name, files) in enumerate(classes.items()):
        if len(files) < len(SPLITS):
            raise CKRMError(
                f"class {name!r} in {root}",
                expected="at least 3 images: one each for train, val and test",
                received=len(files),
            )
        order = rng.permutation(len(files))
        val = max(1, round(VAL_SHARE * len(files)))
        test = max(1, round(TEST_SHARE * len(files)))
        for split, chosen in zip(
            SPLITS, (order[val + test :], order[:val], order[val : val + test]), strict=True
        ):
            layout.listing[split] += [(files[i], label) for i in sorted(chosen)]
    layout.notes.append(
        "no split folders: 70/10/20 of each class, by image; give split folders where a patient "
        "has several images"
    )
