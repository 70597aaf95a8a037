"""A small config of scoring, the script that takes it, and files to be judged."""

import shutil

import pytest
from scripts import load_script
from small_config import write_config, write_weights
from submissions import SCRIPT


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def config(tmp_path, weights):
    return write_config(tmp_path / "conf.py", weights)


@pytest.fixture
def main(capsys):
    """The script's main in this process, faster than `run`: (exit code, stdout, stderr)."""

    def call(*arguments):
        code = load_script(SCRIPT).main([*map(str, arguments), "--device", "cpu"])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err

    return call


@pytest.fixture
def folder(tmp_path, clip, no_face_clip):
    """A face, no face, a text called .mp4, a truncated clip, and a file of another kind."""
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(clip, folder / "deep" / "Face.MP4")
    shutil.copy(no_face_clip, folder / "nobody.mp4")
    (folder / "text.mp4").write_text("this is no video")
    (folder / "notes.txt").write_text("left out")
    whole = (clip.parent / "WolfgangLanger_Pexels.mp4").read_bytes()  # its index comes before its frames
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 5])
    return folder
