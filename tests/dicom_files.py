"""Writes DICOM files for the tests; the pictures are arithmetic."""

import base64
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}
# `CODED`, 12 bits a pixel, without loss, as GDCM encodes it.
FRAMES = {
    "jpeg lossless": (
        JPEGLosslessSV1,
        "/9j/wwALEAAQABABAREA/8QAGwAAAgMBAQEAAAAAAAAAAAAACAkABwoGDBD/2gAIAQEAAQAA+kkkkkkkk6Xpel6Xpel6X"
        "pel6Xpel6XpelllWVZVlWVZVlWVZVlWVZVlWVZUu+77vu/3Ifimrvu+77vu+77vu+74ShKEoShKEoShKEoShKEoShKEpC"
        "5LkuS5LkuS5LkuS5LkuS5LkuYbxvG8bxvG8bxvG8bxvG8bxvG9GBsDYGwNgbA2BsDYGwNgbA2BsDYHGUMoZQyhlDKGUMo"
        "ZQyhlDKGUeEnZRGmtNaa01prTWmtNaa01prTfCmNNabG5Nybk3JuTcm5Nybk3JuXhcW5NyblHLuXcu5dy7l3LuXcu5fwy"
        "zl3LuXcvHeO8d47x3jvHeO8d54bt3jvHeO8d5HwvhfC+F8L4Xwvh8PA+F8L4XwvhfDNA2gbQNoG0DaBtA3iBdA2gbQNoG"
        "0DaBtA00V6K9FeivRXor0V+Iq0V6K9FeivRXor8RV//2Q==",
    ),
    "jpeg-ls": (
        JPEGLSLossless,
        "/9j/9wALEAAQABABAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAP9MSYkxJiPIsh0GfxJiPIsh0Gfz2AESpKSUklSFH"
        "UZipKSSpCjqMxUlIARKkpN6bgABQQGyY2JrQ4I3o3JtTYmtN6AIkSSmpSgDG1vKOUao9RyjWMYtilJoAkakJnUWq9rmta"
        "xrmtaxq2qalt0AkSjrCwrUua5jlua5jluU5LkO2gFCoytr+0bjvW9T2PW9T0vQ87/oBQMVVV5Z1wXlISQshRCSEEHAAH5"
        "xKgBEqSk3qTbd23/JG01pjSylAFZqBWmoAiRJK0sa2LqvyR0pJbS2BoxO8WtuKAJGpCxkOVZnnmJcopaQzKm3MaYxyqAS"
        "JR26QJSmSdokSghohNqa81xrXcoBQqM132T5hnOIsNVp2DDmrOec57qAUDFaL1JkvThO11/CvGCNMco9wgKAT7EZjwJQu"
        "EgmJSaFYL4aA4h6AADtQP/Z",
    ),
    "jpeg 2000": (
        JPEG2000Lossless,
        "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1IADAAAAAEAAwQEAAH/XAANQICIiJCIi"
        "JCIiJD/ZAAqAAFDcmVhdGVkIGJ5IEdEQ00vT3BlbkpQRUcgdmVyc2lvbiAyLjMuMP+QAAoAAAAAAO0AAf+Tz/wwIAiCIIP"
        "Dt2q0wA/AFgB+ANAf4CADmTIGnQqQRJtIHxCFUR9euRY/wP8BeB/gXgP8CwAjFS9c5k8iu2UiNecsE69kcAvjNAivNx+8S"
        "PhaPwERyTUu6H7waj4Lok6BPMbfGiuNn58AgfsULjXnXLx6KHmepmljP8B/JFAfyRwH+BdNdkfF1XRgRylNst+7iWRJCvd"
        "joN7LqvMaBheattRh2v9bOIr9/0lHfdYmJHF/e3ECj0mgSDSvJ8xpEIHN0OsN3yZLNj8bxxalMXxsk91qslR+t0KRTcfOf"
        "lGhnv/ZAA==",
    ),
}
CODED = (np.arange(16)[:, None] * np.arange(16)[None, :] * 37 % 4096).astype(np.uint16)
CODED[3, 5] = 4095


def write_dicom(
    path: Path,
    pixels: np.ndarray,
    syntax: str = "explicit",
    *,
    photometric: str = "MONOCHROME2",
    bits: int = 12,
    **elements: object,
) -> Path:
    """One grey frame (H, W) of uint8, uint16 or int16; `elements` by DICOM keyword."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = UID("2.25.1")
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, photometric
    image.BitsAllocated = pixels.dtype.itemsize * 8
    image.BitsStored = min(bits, image.BitsAllocated)
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax in FRAMES:
        np.testing.assert_array_equal(pixels, CODED)
        uid, frame = FRAMES[syntax]
        image.PixelData = encapsulate([base64.b64decode(frame)])
        image.file_meta.TransferSyntaxUID = uid
    elif syntax == "rle":
        image.PixelData = pixels.tobytes()
        image.compress(RLELossless, generate_instance_uid=False)
    else:
        order = ">" if syntax == "big endian" else "<"
        image.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        image.file_meta.TransferSyntaxUID = NATIVE[syntax]
    image["PixelData"].VR = "OW" if image.BitsAllocated > 8 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def add_overlay(path: Path) -> None:
    """Paint a full overlay plane over a written file."""
    image = pydicom.dcmread(path)
    shape = image.Rows, image.Columns
    ones = np.packbits(np.ones(shape, np.uint8)).tobytes()
    for tag, kind, value in (
        (0x60000010, "US", shape[0]),
        (0x60000011, "US", shape[1]),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 1),
        (0x60000102, "US", 0),
        (0x60003000, "OW", ones),
    ):
        image.add_new(tag, kind, value)
    image.save_as(path)
