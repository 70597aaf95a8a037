"""Folders of crops: their names, whose they are, and that nothing half-written is left in them."""

import json
import os
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from utils.core.errors import DataError
from utils.data import crops
from utils.data.crops import Job, Settings, crop_landmarks, plan_jobs, write_faces_csv
from utils.data.extraction import PNG
from utils.faces.align import TEMPLATE
from utils.faces.detector import Face


def test_a_png_holds_the_crop_as_it_is_with_one_filter_for_all_lines():
    crop = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    crop[:, :160] = 90
    ok, data = cv2.imencode(".png", crop, PNG)
    assert ok and np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR), crop)
    parts = list(re.finditer(rb"IDAT", data.tobytes()))
    packed = b"".join(data.tobytes()[at.end() : at.end() + length_before(data, at.start())] for at in parts)
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(320, 1 + 320 * 3)
    assert set(lines[:, 0]) == {2}  # "up"


def length_before(data, place):
    return int.from_bytes(data[place - 4 : place].tobytes(), "big")


class TestPlan:
    def names(self, *paths):
        root = Path(__file__).parent
        jobs = plan_jobs(root, [root / path for path in paths], Path("out"))
        assert [job.path for job in jobs] == [root / path for path in paths]
        return [job.folder.name for job in jobs]

    def test_stems_and_clashes(self):
        assert self.names("a.mp4", "s/b.mp4") == ["a", "b"]
        assert self.names("a.mp4", "s/a.mp4", "s/t/a.mp4", "b.mov") == ["a", "s__a", "s__t__a", "b"]
        assert self.names("s/a.mp4", "s/a.avi", "a.mp4") == ["s__a.mp4", "s__a.avi", "a"]
        contrived = self.names("s__a.mp4", "s/a.mp4", "a.avi")
        assert len(set(contrived)) == 3 and contrived[2] == "a"

    def test_long_names_are_cut_and_stay_apart(self):
        long = "/".join(["ü" * 100] * 4)
        names = self.names(f"{long}/x.mp4", f"{long}/y/x.mp4")
        assert len(set(names)) == 2 and all(len(os.fsencode(name)) <= 255 for name in names)

    def test_two_files_never_share_a_folder(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / f"{name}.mp4").write_bytes(b"x")
        jobs = [Job(tmp_path / f"{name}.mp4", tmp_path / "same") for name in "ab"]
        missing, complete, refused = crops.split_jobs(jobs, Settings())
        assert missing == jobs[:1] and complete == [] and refused[0][0] == jobs[1].path

    def test_a_damaged_note(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"x")
        for text in ("", "[1]", "{}", json.dumps({"every": 0})):
            (tmp_path / ".source.json").write_text(text)
            _, complete, refused = crops.split_jobs([Job(tmp_path / "a.mp4", tmp_path)], Settings())
            assert complete == [] and len(refused) == 1 and "\n" not in refused[0][1]

    def test_a_crop_that_could_not_be_written_leaves_no_trace(self, tmp_path):
        with pytest.raises(OSError):
            crops.write_crop_file(tmp_path / "gone", 9, np.zeros(5, np.uint8))
        (tmp_path / "009.png").mkdir()  # can't be replaced by a file
        with pytest.raises(OSError) as caught:
            crops.write_crop_file(tmp_path, 9, np.zeros(5, np.uint8))
        assert "009.png" in str(caught.value.filename)
        assert [path.name for path in tmp_path.iterdir()] == ["009.png"]


def test_a_finished_folder_holds_no_crop_that_its_table_lacks(tmp_path):
    """As when a run with every frame was killed and one with every tenth followed."""
    (tmp_path / "a.mp4").write_bytes(b"x")
    job = Job(tmp_path / "a.mp4", tmp_path / "a")
    crops.begin_folder(job, Settings())
    for frame in (8, 9, 19):
        crops.write_crop_file(job.folder, frame, np.zeros(5, np.uint8))
    (job.folder / "notes.png").touch()  # somebody's own
    crops.begin_folder(job, Settings(every=10))
    crops.finish_folder(job, ((frame, Face(0.9, np.zeros(4), TEMPLATE)) for frame in (9, 19)))
    there = sorted(path.name for path in job.folder.iterdir())
    assert there == [".source.json", "009.png", "019.png", "faces.csv", "notes.png"]
    assert crops.is_complete(job, Settings(every=10))
    with pytest.raises(DataError, match="turn=False"):
        crops.is_complete(job, Settings(every=10, turn=True))


def test_crops_are_on_the_disk_before_the_table_that_names_them(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"x")
    job, synced, unsynced = Job(tmp_path / "a.mp4", tmp_path / "a"), [], []
    fsync, replace = os.fsync, os.replace

    def note(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check(aside, path):
        replace(aside, path)
        if Path(path).name == "faces.csv":
            unsynced.extend(file for file in job.folder.iterdir() if file.stat().st_ino not in synced)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", check)
    crops.begin_folder(job, Settings())
    crops.write_crop_file(job.folder, 9, np.zeros(5, np.uint8))
    crops.finish_folder(job, [(9, Face(0.9, np.zeros(4), TEMPLATE))])
    assert len(synced) == 3 and not unsynced


def test_a_stride_is_of_animations_too(tmp_path):
    pictures = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 200, 50)]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "still.gif")
    for name, makes_others in (("moving", False), ("still", True)):
        job = Job(tmp_path / f"{name}.gif", tmp_path / name)
        crops.begin_folder(job, Settings(every=2))
        crops.finish_folder(job, [])
        assert crops.is_complete(job, Settings(every=2))
        assert crops.is_complete(job, Settings()) is makes_others


def test_landmarks_of_a_crop_come_from_its_faces_csv_or_the_template(tmp_path):
    landmarks = TEMPLATE * 0.5 + (30, 12) + np.array([(0, 0), (0, 6), (-3, 0), (0, 0), (2, 0)])
    others = [(frame, Face(0.9, np.zeros(4), TEMPLATE)) for frame in (6, 70, 71)]
    write_faces_csv(tmp_path / "faces.csv", [*others, (7, Face(0.9, np.zeros(4), landmarks))])
    found = crop_landmarks(tmp_path / "007.png")
    assert 0.5 < np.abs(found - TEMPLATE).max() < 12 and np.abs(found - TEMPLATE).mean() < 5
    assert np.array_equal(crop_landmarks(tmp_path / "009.png"), TEMPLATE)  # not in the table
    assert np.array_equal(crop_landmarks(tmp_path / "none" / "007.png"), TEMPLATE)
    header = (tmp_path / "faces.csv").read_text().splitlines()[0]
    for text in ("", "a,b\n", f"{header}\n\n", f"{header}\n7\n", f"{header}\n7,{'9' * 200_000}\n"):
        (tmp_path / "faces.csv").write_text(text)
        assert np.array_equal(crop_landmarks(tmp_path / "007.png"), TEMPLATE)


def test_the_landmarks_of_a_folders_crops_are_read_at_once(tmp_path, monkeypatch):
    faces = [Face(0.9, np.zeros(4), TEMPLATE + (number, 0)) for number in range(3)]
    write_faces_csv(tmp_path / "faces.csv", enumerate(faces))
    paths = [tmp_path / f"{number:03d}.png" for number in (2, 7, 0)]
    alone = [crop_landmarks(paths[0]), None, crop_landmarks(paths[2])]
    read, times = crops.read_faces_csv, []
    monkeypatch.setattr("utils.data.crops.read_faces_csv", lambda path: times.append(path) or read(path))
    together = crops.landmarks_of_crops(paths)
    assert len(times) == 1 and together[1] is None
    assert all(np.array_equal(alone[k], together[k]) for k in (0, 2))
