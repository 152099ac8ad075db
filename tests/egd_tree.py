"""Makes a tree laid out as EGD-CXR and MIMIC-CXR come from PhysioNet; every row is invented."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dicom_files import write_dicom
from PIL import Image


def _words(text: str) -> list[str]:
    return text.split("|" if "|" in text else None)


CLASSES = ("Normal", "CHF", "pneumonia")
FINDINGS = _words(
    "consolidation enlarged_cardiac_silhouette linear__patchy_atelectasis "
    "lobar__segmental_collapse "
    "not_otherwise_specified_opacity___pleural__parenchymal_opacity__ "
    "pleural_effusion_or_thickening pulmonary_edema__hazy_opacity normal_anatomically "
    "elevated_hemidiaphragm hyperaeration vascular_redistribution"
)
CHEXPERT = _words(
    "atelectasis cardiomegaly consolidation edema enlarged_cardiomediastinum fracture "
    "lung_lesion lung_opacity no_finding pleural_effusion pleural_other pneumonia pneumothorax "
    "support_devices"
)
MASTER_COLUMNS = [
    *("dicom_id", "path", "study_id", "patient_id", "stay_id", "gender", "anchor_age"),
    *(f"image_{side}_pad" for side in ("top", "bottom", "left", "right")),
    *(f"dx{i}{end}" for i in range(1, 10) for end in ("", "_icd")),
    "normal_reports",
    *CLASSES,
    *FINDINGS,
    *(f"{name}__chx" for name in CHEXPERT),
    "cxr_exam_indication",
]
GAZE_COLUMNS = _words(
    "SESSION_ID|MEDIA_ID|DICOM_ID|CNT|Time (in secs)|TIMETICK(f=10000000)|FPOGX|FPOGY|FPOGS|FPOGD|"
    "FPOGID|FPOGV|BPOGX|BPOGY|BPOGV|LPCX|LPCY|LPD|LPS|LPV|RPCX|RPCY|RPD|RPS|RPV|BKID|BKDUR|BKPMIN|"
    "LPMM|LPMMV|RPMM|RPMMV|SACCADE_MAG|SACCADE_DIR|VID_FRAME|X_ORIGINAL|Y_ORIGINAL"
)
MASKS = ("left_lung", "right_lung", "mediastanum", "aortic_knob")


@dataclass
class Film:
    """One image as the tree holds it: `pixels` (H, W) uint16, `points` (x, y) inside the film."""

    dicom_id: str
    patient: str
    label: int
    folder: str
    pixels: np.ndarray
    points: list[tuple[int, int]]
    photometric: str = "MONOCHROME2"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.dicom_id}.dcm"


@dataclass
class Tree:
    root: Path
    films: list[Film] = field(default_factory=list)

    @property
    def release(self) -> Path:
        return self.root / "egd-cxr" / "1.0.0"

    @property
    def mimic(self) -> Path:
        return self.root / "mimic-cxr" / "2.0.0"

    def film(self, dicom_id: str) -> Film:
        return next(film for film in self.films if film.dicom_id == dicom_id)

    def edit(self, table: str, change) -> None:
        """Rewrite a table of the release: `change` gets its rows as lists and returns them."""
        path = self.release / table
        with path.open(newline="") as file:
            rows = change(list(csv.reader(file)))
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def make_tree(
    root: Path, *, patients: int = 4, images: int = 2, suffix: str = ".dcm", masks: bool = False
) -> Tree:
    """`patients` a class with `images` films each; one film of odd sides, one landscape."""
    rng = np.random.default_rng(0)
    tree = Tree(root)
    for label in range(len(CLASSES)):
        for person in range(patients):
            number = 10_000_000 + 100 * label + person
            for image in range(images):
                size = {(0, 0, 0): (121, 101), (1, 0, 1): (100, 120)}.get(
                    (label, person, image), (120, 100)
                )
                tree.films.append(_film(rng, number, label, image, size))
    # The classes are mixed in the released table.
    rng.shuffle(tree.films)
    tree.release.mkdir(parents=True)
    for film in tree.films:
        _write_image(tree.mimic / film.path, film, suffix)
        if masks:
            _write_masks(tree.release / "audio_segmentation_transcripts" / film.dicom_id, film)
    _write_master(tree)
    for table in ("fixations.csv", "eye_gaze.csv"):
        _write_gaze(tree, table)
    _write_boxes(tree)
    return tree


def _film(rng, patient: int, label: int, image: int, size: tuple[int, int]) -> Film:
    dicom_id = "-".join(f"{part:08x}" for part in rng.integers(0, 2**32, 5))
    pixels = rng.integers(100, 4000, size).astype(np.uint16)
    points = [(int(rng.integers(size[1])), int(rng.integers(size[0]))) for _ in range(5)]
    folder = f"files/p10/p{patient}/s5{patient % 1000:06d}{image}"
    # Both kinds occur in MIMIC-CXR.
    photometric = "MONOCHROME1" if image else "MONOCHROME2"
    return Film(dicom_id, str(patient), label, folder, pixels, points, photometric)


def _write_image(path: Path, film: Film, suffix: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "index.html").write_text("as a recursive download leaves it")
    if suffix == ".dcm":
        write_dicom(path, film.pixels, photometric=film.photometric)
    else:
        Image.fromarray((film.pixels // 16).astype(np.uint8)).save(path.with_suffix(suffix))


def _write_masks(folder: Path, film: Film) -> None:
    """Bands of the film's height: a quarter each, from the top."""
    folder.mkdir(parents=True)
    height = film.pixels.shape[0]
    for i, name in enumerate(MASKS):
        mask = np.zeros(film.pixels.shape, np.uint8)
        mask[height * i // 4 : height * (i + 1) // 4] = 255
        Image.fromarray(mask).save(folder / f"{name}.png")


def _write_master(tree: Tree) -> None:
    with (tree.release / "master_sheet.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, MASTER_COLUMNS, restval="")
        out.writeheader()
        for film in tree.films:
            row = {"dicom_id": film.dicom_id, "path": film.path, "patient_id": film.patient}
            row |= {name: int(film.label == i) for i, name in enumerate(CLASSES)}
            row |= {"anchor_age": "20 - 30", "edema__chx": "-1"}
            # A line of this text looks like a row of the table to who splits lines.
            row["cxr_exam_indication"] = 'Cough.\nNo "fever", x,1,0,0\nRule out pneumonia.'
            out.writerow(row)


def _write_gaze(tree: Tree, table: str) -> None:
    with (tree.release / table).open("w", newline="") as file:
        out = csv.DictWriter(file, GAZE_COLUMNS, restval="0")
        out.writeheader()
        for film in tree.films:
            height, width = film.pixels.shape
            beside = [(-3, 10), (10, -250), (width, 5), (5, height)]
            rows = [("cut", 1, 1)] if film is tree.films[0] else []
            rows += [("", x, y) for x, y in (*film.points, *beside)]
            for i, (cut, x, y) in enumerate(rows):
                out.writerow(
                    {
                        "DICOM_ID": film.dicom_id[:-5] if cut else film.dicom_id,
                        # From zero again in each image.
                        "Time (in secs)": 0.5 * i,
                        "X_ORIGINAL": x,
                        "Y_ORIGINAL": y,
                    }
                )


def _write_boxes(tree: Tree) -> None:
    with (tree.release / "bounding_boxes.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["dicom_id", "bbox_name", "x1", "x2", "y1", "y2"])
        for film in tree.films:
            out.writerow([film.dicom_id, "cardiac silhouette", 10.5, 60.0, 40.0, 90.25])
