"""The segmented anatomy of EGD-CXR, as the diseased region of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ckrm_tf.data.egd_files import read_film
from ckrm_tf.data.frame import Frame
from ckrm_tf.errors import CKRMError

# The release spells it so; the right spelling is accepted too.
FILES = {
    "left_lung": ("left_lung.png",),
    "right_lung": ("right_lung.png",),
    "mediastinum": ("mediastanum.png", "mediastinum.png"),
    "aortic_knob": ("aortic_knob.png",),
}
REGION_FOLDER = "audio_segmentation_transcripts"
# Where GG-CAM (arXiv 2202.07107) expects the disease: by label, Normal, CHF, pneumonia.
DISEASED = ((), ("mediastinum",), ("left_lung", "right_lung"))


def read_mask(release: Path, dicom_id: str, region: str) -> np.ndarray:
    """One region of one film, (H, W) bool.

    Raises:
        CKRMError: when its file is missing or cannot be decoded.
    """
    folder = release / REGION_FOLDER / dicom_id
    for name in FILES[region]:
        if (folder / name).is_file():
            return read_film(folder / name) > 0
    raise CKRMError("EGD-CXR file not found", received=str(folder / FILES[region][0]))


def diseased_region(release: Path, dicom_id: str, label: int, frame: Frame) -> np.ndarray:
    """Where the disease of an image shows, on its training grid: (h, w) bool, none if normal.

    The mediastinum for CHF, both lungs for pneumonia: GG-CAM's measure of interpretability. A
    pixel belongs to the region when at least half of it does.

    Raises:
        CKRMError: when a mask is missing or cannot be decoded.
    """
    inside = np.zeros(frame.target, bool)
    for region in DISEASED[label]:
        mask = read_mask(release, dicom_id, region)
        own = Frame((mask.shape[0], mask.shape[1]), frame.target, frame.recipe)
        inside |= own.apply(mask.astype(np.uint8) * 255) >= 128
    return inside
