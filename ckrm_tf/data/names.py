"""What the names of folders and files say: splits, masks beside films, copies."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

SPLITS = ("train", "val", "test")


def word_set(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


_SPELLINGS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validating": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
# Words that may stand beside it: train_set, "Test images", 01-training-data.
_FILLERS = word_set("set data dataset image images img imgs split folder samples xray xrays")
_IMAGE_WORDS = word_set(
    "image images img imgs film films picture pictures xray xrays scan scans photo photos png jpg "
    "jpeg jpegs pngs"
)
_HELPERS = word_set(
    "mask masks segmentation segmentations seg segs segmented annotation annotations annot label "
    "labels gt groundtruth truth heatmap heatmaps overlay overlays contour contours bbox bboxes "
    "boxes roi rois saliency edges thumbnails thumbs"
)
# Left by operating systems and tools; nobody keeps films in them.
_JUNK = word_set("__macosx __pycache__ @eadir $recycle.bin lost+found")
_COPY = re.compile(
    r"(?i)^(?:copy of )?(?P<name>.+?)(?:[ _-]*\(?copy\)?(?: ?\(?\d+\)?)?| ?\(\d+\))?$", re.DOTALL
)
_HELPS = (
    r"(?:masks?|seg|segmentation|labels?|gt|groundtruth|annotation|overlay|heatmap|contour|roi)"
)
_HELPER_FILE = re.compile(rf"(?i)^(?P<name>.+?)[ _.-]+{_HELPS}(?:[ _-]?\d+)?$", re.DOTALL)
_HELPER_BEFORE = re.compile(rf"(?i)^{_HELPS}[ _.-]+(?P<name>.+)$", re.DOTALL)
_LAST_WORD = re.compile(r"[ _.-]+[^\W\d_]+$")


def split_of(name: str) -> str | None:
    """The split that a folder's name means, in any spelling.

    >>> [split_of(n) for n in ("TeSt", "Validation", "test-set", "01 Training Data", "COVID-19")]
    ['test', 'val', 'test', 'train', None]
    """
    # TeSt is one word, TestImages are two.
    return _one_split(_words(name.lower())) or _one_split(_words(name))


def _one_split(words: list[str]) -> str | None:
    found = [word for word in words if word not in _FILLERS]
    if len(found) != 1:
        return None
    word = found[0]
    for filler in ("set", "data"):
        # In one word: trainset, testdata.
        if word.removesuffix(filler) in _SPELLINGS:
            word = word.removesuffix(filler)
    return _SPELLINGS.get(word)


def mentions_split(name: str) -> str | None:
    """The split, or the fold, that is one of the words of a name: "covid_train", "fold_2"."""
    words = _words(name)
    if words in (["fold"], ["split"], ["cv"]):
        return name
    found = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
    return found.pop() if len(found) == 1 else None


def is_helper(name: str) -> bool:
    """Whether a folder's name says that it holds something about films, not films."""
    return bool(_HELPERS & set(_words(name)))


def is_image_folder(name: str) -> bool:
    """Whether a folder's name says "the images" and nothing else."""
    words = _words(name)
    return bool(words) and set(words) <= _IMAGE_WORDS


def is_junk(name: str) -> bool:
    """Hidden, or left by an operating system."""
    return name.startswith(".") or name.lower() in _JUNK


def copied_from(name: str, others: Collection[str]) -> str | None:
    """Which of `others` a name is a copy of, by the way file managers name copies.

    >>> copied_from("Normal - Copy", ["Normal"]), copied_from("a (1)", ["a"])
    ('Normal', 'a')
    """
    match = _COPY.match(name)
    origin = match["name"] if match else name
    return origin if origin != name and origin in others else None


def helps(stem: str, others: Collection[str]) -> str | None:
    """Which film a file belongs to as its mask, by its name.

    >>> [helps(n, ["a"]) for n in ("a_mask", "a_mask_1", "mask-a", "a_left_lung_mask", "a_left")]
    ['a', 'a', 'a', 'a', None]
    """
    before, after = _HELPER_BEFORE.match(stem), _HELPER_FILE.match(stem)
    if before and before["name"] in others:
        return before["name"]
    name = after["name"] if after else ""
    while name and name not in others:
        # What the mask is of may stand between: a_left_lung_mask.
        shorter = _LAST_WORD.sub("", name)
        name = shorter if shorter != name else ""
    return name or None


def named_after(stem: str, other: str) -> bool:
    """Whether two pictures have names as a film and its mask: of one number, or one in the other.

    >>> named_after("001m", "001"), named_after("img_7", "lung_7"), named_after("11", "1")
    (True, True, False)
    """
    figures = figures_of(stem)
    alike = stem.startswith(other) or stem.endswith(other)
    return figures == figures_of(other) and (bool(figures) or alike)


def figures_of(stem: str) -> tuple[str, ...]:
    """The numbers in a name, which a film and its mask have in common.

    >>> figures_of("p12_img_007")
    ('12', '007')
    """
    return tuple(re.findall(r"\d+", stem))


def same_class(name: str) -> str:
    """A key that is equal for one class in two spellings: NORMAL, "Normal ", normal.

    >>> same_class("COVID-19") == same_class("covid_19"), same_class("HER2+") == same_class("HER2-")
    (True, False)
    """
    # An accent is one character or two, as the file system has it.
    plain = unicodedata.normalize("NFC", name.casefold())
    return re.sub(r"[\s_-]+(?=\w)", " ", plain).strip()


def _words(name: str) -> list[str]:
    """Lower-case words of a name, also those of CamelCase; figures are no words."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z]+", parted.lower()) if word]
