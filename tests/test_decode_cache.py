"""The cache of decoded films: whole, current, rebuilt when damaged."""

import os

import numpy as np
import pytest
from dicom_files import write_dicom
from egd_tree import make_tree

from ckrm_tf.data.decode_cache import CACHE_VARIABLE, default_cache_dir
from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.errors import CKRMError

SIZE = (24, 20)
SIGMA = 6.0


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "physionet")


@pytest.fixture
def load(tmp_path):
    """The loader with a cache of its own and a blur that suits small films."""

    def call(path, **options):
        options = {"image_size": SIZE, "sigma": SIGMA, "cache_dir": tmp_path / "cache"} | options
        return load_egd_cxr(path, **options)

    return call


def every(data):
    """id -> (image (h, w), label, gaze map) over all splits."""
    return {
        name: (split.images[i, :, :, 0], split.labels[i], split.gaze[i])
        for split in data.splits().values()
        for i, name in enumerate(split.ids)
    }


class TestCache:
    def test_second_load_decodes_nothing(self, tree, load):
        steps = []
        first = every(load(tree.release, progress=lambda done, of: steps.append((done, of))))
        assert steps == [(i, 24) for i in range(1, 25)]
        for film in tree.films:
            file = tree.mimic / film.path
            stat = file.stat()
            # Same name, size and time: what cannot be decoded is not looked at.
            file.write_bytes(bytes(stat.st_size))
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        second = every(load(tree.release))
        for name, (image, _, gaze) in first.items():
            np.testing.assert_array_equal(second[name][0], image)
            np.testing.assert_array_equal(second[name][2], gaze)

    def test_a_changed_film_is_read_again(self, tree, load):
        first = every(load(tree.release))
        film = tree.films[0]
        write_dicom(tree.mimic / film.path, film.pixels[::-1].copy())
        second = every(load(tree.release))
        changed = [name for name in first if not np.array_equal(first[name][0], second[name][0])]
        assert changed == [film.dicom_id]

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other shape", "text"])
    def test_a_damaged_cache_is_rebuilt(self, tree, load, tmp_path, damage):
        first = every(load(tree.release))
        entries = sorted((tmp_path / "cache").iterdir())
        assert len(entries) == 24
        whole = entries[0].read_bytes()
        for entry in entries:
            content = bytearray(entry.read_bytes())
            if damage == "empty":
                content = b""
            elif damage == "cut":
                content = content[: len(content) // 2]
            elif damage == "text":
                content = b"not an archive"
            elif damage == "flipped":
                # A pixel in the middle of the image.
                content[300] ^= 0xFF
            if damage == "other shape":
                with np.load(entry) as held:
                    parts = dict(held)
                np.savez(entry, **parts | {"image": parts["image"][:-1]})
            else:
                entry.write_bytes(content)
        second = every(load(tree.release))
        for name, (image, _, _) in first.items():
            np.testing.assert_array_equal(second[name][0], image)
        assert sorted((tmp_path / "cache").iterdir()) == entries
        assert len(entries[0].read_bytes()) == len(whole)

    def test_no_damage_reaches_an_image(self, tree, load, tmp_path):
        first = every(load(tree.release))
        rng = np.random.default_rng(0)
        for _ in range(8):
            for entry in (tmp_path / "cache").iterdir():
                content = bytearray(entry.read_bytes())
                at = int(rng.integers(len(content)))
                content[at : at + 4] = rng.bytes(4)
                entry.write_bytes(content)
            for name, (image, _, _) in every(load(tree.release)).items():
                np.testing.assert_array_equal(first[name][0], image)

    def test_foreign_files_stay(self, tree, load, tmp_path):
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / "notes.txt").write_text("mine")
        (cache / "other.tmp").write_text("another process is writing this")
        load(tree.release)
        load(tree.release, image_size=(12, 10))
        assert (cache / "notes.txt").read_text() == "mine"
        assert (cache / "other.tmp").exists()
        assert len(list(cache.iterdir())) == 2 + 2 * 24

    def test_a_stopped_run_goes_on(self, tree, load, tmp_path):
        def stop(done, _):
            if done == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            load(tree.release, progress=stop)
        held = {entry: entry.stat().st_mtime_ns for entry in (tmp_path / "cache").iterdir()}
        assert len(held) == 7
        load(tree.release)
        assert all(entry.stat().st_mtime_ns == time for entry, time in held.items())

    def test_a_folder_that_cannot_be_written(self, tree, load, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(CKRMError, match=f"cannot be written.*{CACHE_VARIABLE}"):
            load(tree.release, cache_dir=tmp_path / "file" / "cache")

    def test_default_folder(self, tree, tmp_path, monkeypatch):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "named"))
        load_egd_cxr(tree.release, image_size=SIZE, gaze=None)
        assert len(list((tmp_path / "named").iterdir())) == 24
        monkeypatch.delenv(CACHE_VARIABLE)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert default_cache_dir() == tmp_path / "xdg" / "ckrm-tf"
