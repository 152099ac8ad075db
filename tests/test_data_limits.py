"""Small inputs do not cost gigabytes; no decoder runs but the documented ones."""

from __future__ import annotations

import io
import os
import re
import resource
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ckrm_tf.data import load_dataset
from ckrm_tf.data.limits import (
    FREE_BYTES,
    MAX_PIXELS,
    PIXELS_IN_FLIGHT,
    brief,
    check_dataset_bytes,
    check_pixels,
    check_unpacked,
    named,
    reading,
    size,
)
from ckrm_tf.errors import CKRMError

MB = 2**20


def memory() -> int:
    """Bytes that this process held at most."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # What getrusage tells on Linux may be the peak of the process that started this one.
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found is not None
    return int(found.group(1)) * 1024


# In a process of its own: the peak of this one depends on the tests before.
GROWN = """
import os, sys
from ckrm_tf.data import films, load_dataset
from test_data_limits import memory

os.cpu_count = lambda: 6
films.PIXELS_IN_FLIGHT = int(sys.argv[2])
before = memory()
# Black as they are, the files themselves are sound.
data = load_dataset(sys.argv[1], image_size=16, channels=3, scale=255)
assert data.input_shape == (16, 16, 3)
print(memory() - before)
"""


def grown(folder: Path, pixels: int) -> int:
    """Bytes that a process of six cores takes to read a folder, so many pixels at a time."""
    command = [sys.executable, "-c", GROWN, str(folder), str(pixels)]
    paths = [str(Path(__file__).parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture
def few_bytes() -> Iterator[None]:
    """Fails a test that allocates more than 100 MB, in Python, NumPy or C."""
    before = memory()
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * MB
    assert memory() - before < 100 * MB


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    made = {}
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        made[f"{split}_images"] = np.arange(count * 64).reshape(count, 8, 8).astype(np.uint8)
        made[f"{split}_labels"] = np.arange(count) % 2
    return made | changes


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def png(height: int, width: int, colour: int = 0) -> bytes:
    """A black PNG whose pixels are packed a thousandfold."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width * (3 if colour == 2 else 1))
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    size_ = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = ((b"IHDR", size_ + bytes([8, colour, 0, 0, 0])), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    )


@pytest.mark.usefixtures("few_bytes")
class TestArrays:
    @pytest.mark.parametrize("label", [3 * 10**7, 2**62])
    def test_one_large_label(self, tmp_path: Path, label: int) -> None:
        labels = np.arange(8) % 2
        labels[3] = label
        np.savez_compressed(tmp_path / "a.npz", **arrays(train_labels=labels))
        assert (tmp_path / "a.npz").stat().st_size < 4000
        with pytest.raises(CKRMError, match=f"labels: expected class indices.*up to {label}") as e:
            load_dataset(tmp_path / "a.npz")
        assert len(str(e.value)) < 300

    def test_names_of_many_classes(self, tmp_path: Path) -> None:
        names = np.array([f"class {i}" for i in range(20_000)])
        np.savez_compressed(tmp_path / "a.npz", **arrays(class_names=names))
        with pytest.raises(CKRMError, match=r"none of .*\(19998 in all\)") as caught:
            load_dataset(tmp_path / "a.npz")
        assert len(str(caught.value)) < 300

    def test_a_zip_bomb(self, tmp_path: Path) -> None:
        members = {f"{k}.npy": npy(v) for k, v in arrays().items()}
        del members["train_images.npy"]
        path = write_zip(tmp_path / "a.npz", members)
        shape = {"descr": "|u1", "fortran_order": False, "shape": (400, 1024, 1024)}
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open("train_images.npy", "w") as member,
        ):
            np.lib.format.write_array_header_1_0(member, shape)
            for _ in range(400):
                member.write(bytes(MB))
        assert path.stat().st_size < MB
        with pytest.raises(CKRMError, match=r"a\.npz: size: expected at most 268 MB.*419 MB"):
            load_dataset(path)

    def test_a_header_that_says_too_much(self, tmp_path: Path) -> None:
        members = {f"{k}.npy": npy(v) for k, v in arrays().items()}
        whole = members["train_images.npy"]
        members["train_images.npy"] = whole.replace(b"(8, 8, 8)", b"(8, 8, 9000000)", 1)[:-8]
        with pytest.raises(CKRMError, match=r"cannot read a\.npz.*cut short|cannot be read"):
            load_dataset(write_zip(tmp_path / "a.npz", members))

    def test_pickles_are_not_loaded(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple:
                return os.mkdir, (str(tmp_path / "sprung"),)

        trap = np.array([Trap()] * 8, dtype=object)
        np.savez(tmp_path / "a.npz", **arrays(train_labels=trap))
        with pytest.raises(CKRMError, match="no pickled objects"):
            load_dataset(tmp_path / "a.npz")
        assert not (tmp_path / "sprung").exists()
        with np.load(tmp_path / "a.npz", allow_pickle=True) as opened:
            opened["train_labels"]
        assert (tmp_path / "sprung").exists()


class TestPictures:
    def fill(self, folder: Path, content: bytes) -> Path:
        for name in "ab":
            (folder / name).mkdir()
            for i in range(3):
                (folder / name / f"{i}.png").write_bytes(content)
        return folder

    @pytest.mark.usefixtures("few_bytes")
    @pytest.mark.parametrize("sides", [(16_000, 16_000), (70_000, 1000), (9000, 9000)])
    def test_bombs(self, tmp_path: Path, sides: tuple[int, int]) -> None:
        # The header says it all: the pixels may be anything.
        content = png(2, sides[1]).replace((2).to_bytes(4, "big"), sides[0].to_bytes(4, "big"), 1)
        head = content[12:29]
        content = content[:29] + zlib.crc32(head).to_bytes(4, "big") + content[33:]
        with pytest.raises(CKRMError, match=rf"6 of 6 images.*({MAX_PIXELS}|178956970) pixels"):
            load_dataset(self.fill(tmp_path, content), image_size=16)

    @pytest.mark.usefixtures("few_bytes")
    def test_many_large_ones_without_a_size(self, tmp_path: Path) -> None:
        folder = self.fill(tmp_path, png(7900, 7900))
        with pytest.raises(CKRMError, match=r"size: expected at most 268 MB.*received 374 MB"):
            load_dataset(folder)

    def test_small_ones_may_grow_to_one_size(self, tmp_path: Path) -> None:
        folder = self.fill(tmp_path, png(8, 8))
        Image.new("L", (9, 9), 200).save(folder / "a" / "0.png")
        data = load_dataset(folder, scale=255)
        assert data.input_shape == (224, 224, 1)
        assert "files of 2 sizes: brought to 224 x 224 (image_size)" in data.notes

    def test_large_ones_are_decoded_few_at_a_time(self, tmp_path: Path) -> None:
        folder = self.fill(tmp_path, png(5000, 5000, colour=2))
        # 75 MB each, 25 in grey, and what the resizing holds: two at a time, not six.
        two, six = (grown(folder, pixels) for pixels in (PIXELS_IN_FLIGHT, 6 * 5000 * 5000))
        assert two < 700 * MB
        assert six > 900 * MB

    def test_a_size_that_no_machine_holds(self, tmp_path: Path) -> None:
        Image.new("L", (8, 8), 200).save(tmp_path / "x.png")
        folder = self.fill(tmp_path, (tmp_path / "x.png").read_bytes())
        for source in (folder, "phantom"):
            with pytest.raises(CKRMError, match=r"memory for all images.*smaller image_size"):
                load_dataset(source, image_size=200_000)

    def test_a_stack_is_not_a_film(self, tmp_path: Path) -> None:
        folder = self.fill(tmp_path, png(8, 8))
        frames = [Image.new("L", (8, 8), 50 * i) for i in range(4)]
        (folder / "a" / "0.png").unlink()
        frames[0].save(folder / "a" / "0.tif", save_all=True, append_images=frames[1:])
        with pytest.raises(CKRMError, match=r"1 of 6.*a/0\.tif; the first: a stack of 4"):
            load_dataset(folder)


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
showpage
%%EOF
"""
READ = "import sys; from pathlib import Path; from ckrm_tf.data.images import read_picture; {}"
OURS = READ.format("read_picture(Path(sys.argv[1]), (8, 8), 1)")
ANY = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Ghostscript is a script")
def test_no_other_program_is_started(tmp_path: Path) -> None:
    """EPS inside a .png: Pillow would start Ghostscript on it."""
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o755)
    (tmp_path / "film.png").write_bytes(EPS)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    root = Path(__file__).parent.parent
    for code, expected in ((OURS, False), (ANY, True)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "film.png")],
            env=os.environ | {"PATH": path, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert started.exists() == expected, done.stderr
    assert "CKRMError" not in done.stderr


class TestRules:
    def test_what_may_be_unpacked(self) -> None:
        check_unpacked("a", FREE_BYTES, 1)
        check_unpacked("a", 10**10, 10**8)
        for unpacked, stored in ((FREE_BYTES + 1, 1000), (10**10 + 1, 10**8)):
            with pytest.raises(CKRMError, match="a: size"):
                check_unpacked("a", unpacked, stored)

    def test_pixels_of_a_picture(self) -> None:
        check_pixels("a", 8000, 8000)
        for sides in ((8000, 8001), (0, 5), (5, -1)):
            with pytest.raises(CKRMError, match="height x width"):
                check_pixels("a", *sides)

    def test_bytes_of_a_data_set(self) -> None:
        check_dataset_bytes("a", 2**35)
        with pytest.raises(CKRMError, match="memory for all images"):
            check_dataset_bytes("a", 2**35 + 1)

    def test_messages(self) -> None:
        assert brief("a\nb\tc\x00d") == "a b c d"
        cut = brief("x" * 10_000 + "end")
        assert len(cut) == 160
        assert cut.endswith("end")
        assert named("abc") == "a, b, c"
        assert named(range(9), 2) == "0, 1, ... (9 in all)"
        assert [size(n) for n in (5, 2**20, 3 * 10**9)] == ["5 bytes", "1.05 MB", "3 GB"]

    def test_the_edge(self) -> None:
        said = r"^film a cannot be read: received KeyError: 'x'$"
        with pytest.raises(CKRMError, match=said), reading("film a"):
            raise KeyError("x")
        with pytest.raises(CKRMError, match=r"^film a not found$"), reading("film a"):
            raise FileNotFoundError(2, "no such file")
        own = CKRMError("ours")
        with pytest.raises(CKRMError) as caught, reading("film a"):
            raise own
        assert caught.value is own
        with pytest.raises(KeyboardInterrupt), reading("film a"):
            raise KeyboardInterrupt
