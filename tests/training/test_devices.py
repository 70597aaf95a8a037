"""What a training asks of its device: how images lie in memory, planned shapes, waits."""

import pytest
import torch
import training_runs
import wsdan_runs
from counting import WAITING, Operations
from torch import Tensor

from utils.core import device as devices
from utils.training.trainer import Trainer, begin

XCEPTION, WSDAN = training_runs.script, wsdan_runs.script


@pytest.fixture(scope="module")
def wsdan_data(tmp_path_factory, clip):
    return wsdan_runs.write_faces(tmp_path_factory.mktemp("data"), clip)


@pytest.fixture
def tiny_wsdan(monkeypatch):
    monkeypatch.setattr(WSDAN, "build_network", lambda name, maps: wsdan_runs.TinyWSDAN(M=maps))
    with training_runs.one_thread():
        yield


@pytest.fixture
def seen(monkeypatch):
    """Of each batch: "step" or "predict", the images, and whether cuDNN tries out ways for them."""
    noted = []

    def noting(script, function: str, what: str):
        plain = getattr(script, function)

        def call(*given):
            images = next(value for value in given if isinstance(value, Tensor))
            noted.append((what, images, torch.backends.cudnn.benchmark))
            return plain(*given)

        monkeypatch.setattr(script, function, call)

    for script in (XCEPTION, WSDAN):
        noting(script, "take_step", "step")
        noting(script, "predict", "predict")
    return noted


@pytest.mark.parametrize("gpu, precision, asked, by_pixel", [
    (False, "fp32", True, True), (False, "bf16", True, True), (False, "fp32", False, False),
    (True, "fp32", True, False), (True, "bf16", True, True), (True, "fp16", True, True),
    (True, "bf16", False, False)])  # fmt: skip
def test_images_lie_in_memory_as_their_device_likes(
    data, tmp_path, tiny, seen, monkeypatch, gpu, precision, asked, by_pixel
):
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"} if gpu else set())
    changes = {"precision": precision, "channels_last": asked, "n_epoches": 1, "max_train_videos": 2}
    assert XCEPTION.train(training_runs.config(data, tmp_path, **changes)) == 0
    assert {what for what, _, _ in seen} == {"step", "predict"}
    for _, images, _ in seen:
        assert images.is_contiguous(memory_format=torch.channels_last) == by_pixel
        assert images.is_contiguous() != by_pixel


def test_ways_are_tried_out_for_the_first_size_of_a_batch_alone(wsdan_data, tmp_path, tiny_wsdan, seen):
    """WS-DAN's last batch is smaller, as published, and would cost as much as all others' plans."""
    assert WSDAN.train(wsdan_runs.config(wsdan_data, tmp_path, epochs=2)) == 0
    steps = [(len(images), tries) for what, images, tries in seen if what == "step"]
    assert {size for size, _ in steps} == {4, 2}
    assert all(tries == (size == 4) for size, tries in steps)
    predicted = [tries for what, _, tries in seen if what == "predict"]
    assert predicted and all(predicted)


def test_few_ways_are_tried_out(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark_limit", 10)  # torch's own
    begin(training_runs.config(data, tmp_path))
    assert torch.backends.cudnn.benchmark and 0 < torch.backends.cudnn.benchmark_limit < 10  # 0 = all


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_step_of_wsdan_waits_for_the_device_once(wsdan_data, tmp_path, tiny_wsdan, monkeypatch, ema):
    """From the batch's way to the device to the moved weights."""
    asked, steps, to_device, heed = [], [], Trainer.to_device, Trainer.heed

    def counted(name: str) -> None:
        plain = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda *given: asked.append(name) or plain(*given))

    def begin_step(*given):
        asked.clear()
        operations = Operations()
        operations.__enter__()
        steps.append(operations)
        return to_device(*given)

    def end_step(*given):
        steps[-1].__exit__(None, None, None)
        steps[-1] = list(asked), steps[-1].counts
        heed(*given)

    for name in ("tolist", "item", "cpu", "numpy"):
        counted(name)
    monkeypatch.setattr(Trainer, "to_device", begin_step)
    monkeypatch.setattr(Trainer, "heed", end_step)
    given = wsdan_runs.config(wsdan_data, tmp_path, epochs=1, ema=ema)
    assert WSDAN.train(given) == 0
    assert len(steps) == 5
    for python, operations in steps:
        assert python == ["tolist"] and not WAITING & operations.keys()
        assert operations["convolution"] == 6  # of features and maps, thrice
