"""Videos whose index or texts would take gigabytes or hours are refused, or read in little of both."""

import json
import subprocess
import sys

import av
import numpy as np
import pytest
from bombs import mkvs, mp4s, others
from clips import picture, write_clip

from utils.core.config import ROOT
from utils.core.errors import MediaError
from utils.faces import container, decoder, guard, indexes, mp4
from utils.faces.video import FrameReader

ADDRESSES, MEMORY, SECONDS = 3 << 30, 700 << 20, 100
# Opens each file and looks for frames as scoring does, then reads it through.
READ = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESSES}, {ADDRESSES}))
from utils.core.errors import MediaError
from utils.faces import guard
from utils.faces.video import FrameReader
guard.MOST_SECONDS = 1
for path in sys.argv[1:]:
    said = []
    for read in (lambda reader: reader.at([(reader.duration or 1) * part / 25 for part in range(25)]), list):
        try:
            reader = FrameReader(path, threads=1)
            said.append(len(list(read(reader))))
            reader.key_times
        except MediaError as error:
            said.append(str(error))
    status = open("/proc/self/status").read()  # the peak of getrusage begins with that of who started this
    peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
    print(json.dumps([said, peak]), flush=True)
"""


@pytest.mark.parametrize("made", [mp4s, mkvs, others])
def test_a_small_file_takes_little_time_and_memory(tmp_path, made):
    files = made(tmp_path)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", READ, *(str(tmp_path / name) for name in files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(files), done.stderr
    for name, (said, peak) in zip(files, lines, strict=True):
        assert peak < MEMORY, name
        if name.startswith("good"):
            assert said == [12, 12], name
        else:
            assert all(isinstance(word, str) for word in said), (name, said)


def test_an_ordinary_file_passes_every_check(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 12)
    monkeypatch.setattr(mp4, "MOST_FRAMES", 12)
    assert len(list(FrameReader(path))) == 12
    monkeypatch.setattr(mp4, "MOST_FRAMES", 11)
    with pytest.raises(MediaError, match="^an index of 12 entries"):
        list(FrameReader(path))


def test_bare_sound_counts_by_the_thousand(tmp_path, monkeypatch):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("mpeg4", rate=25), file.add_stream("pcm_s16le", rate=8000)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 30_000), np.int16), "s16", "mono")
        samples.sample_rate = 8000
        file.mux(sound.encode(samples))
        file.mux(video.encode(av.VideoFrame.from_ndarray(picture(1), "bgr24").reformat(format="yuv420p")))
        file.mux(video.encode(None))
    monkeypatch.setattr(mp4, "MOST_FRAMES", 100)
    assert len(list(FrameReader(path))) == 1


def test_frames_without_end_are_ended(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mpg", 12, "mpeg2video")
    monkeypatch.setattr(decoder, "MOST_FRAMES", 5)
    with pytest.raises(MediaError, match="^more than 5 frames"):
        list(FrameReader(path))
    with pytest.raises(MediaError, match="^more than 5 frames"):
        FrameReader(path).frame_times  # noqa: B018


def test_frames_that_do_not_decode_without_end_are_ended(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 12, "mpeg4")
    data = bytearray(path.read_bytes())
    place = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[place:end] = b"\xff" * (end - place)
    path.write_bytes(data)
    monkeypatch.setattr(decoder, "MOST_FAILURES", 5)
    with pytest.raises(MediaError, match="^more than 5 frames"):
        list(FrameReader(path))


@pytest.mark.parametrize("is_hidden", [True, False])
def test_frames_are_found_without_a_search_where_many_are_hidden(tmp_path, monkeypatch, is_hidden):
    """An edit shows half a second of four, of which a search through the index would pass over the rest."""

    def setup(stream):
        stream.codec_context.gop_size = 200  # what follows a key frame behind the edit isn't in the index

    path = write_clip(tmp_path / "a.mp4", 100, "mpeg4", setup=setup)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    data[at : at + 4] = (500).to_bytes(4, "big")
    path.write_bytes(data)
    expected = [seconds for seconds, _ in FrameReader(path).at([0, 0.2, 0.4])]
    monkeypatch.setattr(container, "SAMPLED", 1)
    monkeypatch.setattr(container, "MOST_HIDDEN", 20 if is_hidden else 1000)
    reader = FrameReader(path)
    assert [seconds for seconds, _ in reader.at([0, 0.2, 0.4])] == expected and len(expected) == 3
    assert bool(reader.key_times) != is_hidden


def test_what_is_read_again_and_again_or_for_ever_is_refused(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4")
    for name in ("SMALL", "MOST_READ"):
        monkeypatch.setattr(guard, name, 0)
    with pytest.raises(MediaError, match="again and again"):
        list(FrameReader(path))
    monkeypatch.undo()
    monkeypatch.setattr(guard, "MOST_SECONDS", 0)
    monkeypatch.setattr(guard, "SLOWEST", 1)  # a large file may take long
    assert len(list(FrameReader(path))) == 12
    monkeypatch.setattr(guard, "SLOWEST", 10**15)
    with pytest.raises(MediaError, match="more than 0 s"):
        list(FrameReader(path))


def test_more_parts_than_a_header_has_are_refused(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv")
    monkeypatch.setattr(indexes, "MOST_PARTS", 2)
    with pytest.raises(MediaError, match="more parts"):
        list(FrameReader(path))
    path = write_clip(tmp_path / "a.mp4")
    monkeypatch.setattr(mp4, "MOST_BOXES", 2)
    with pytest.raises(MediaError, match="more parts"):
        list(FrameReader(path))
