"""Weights files: every published layout loads, nothing else does, and nothing is left half-written."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from utils.core.errors import WeightsError
from utils.weights.checkpoint import (
    load_checkpoint,
    load_pretrained,
    load_weights,
    read_state_dict,
    save_checkpoint,
    save_state_dict,
    save_weights,
)


class Net(nn.Module):
    def __init__(self, classes: int = 2):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.last_linear = nn.Linear(4, classes)


def trained(classes: int = 2) -> Net:
    net = Net(classes)
    for index, value in enumerate(net.state_dict().values()):
        value.fill_(index + 0.1)
    return net


def assert_same(net: nn.Module, other: nn.Module) -> None:
    for name, value in other.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def error_of(function, *arguments) -> str:
    with pytest.raises(WeightsError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "model.module."])
@pytest.mark.parametrize("key", [None, "state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_published_layouts(tmp_path, prefix, key, zipped):
    state = {prefix + name: value for name, value in trained().state_dict().items()}
    path = tmp_path / "w.pth"
    content = state if key is None else {"epoch": 3, key: state}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    net = Net()
    assert load_weights(net, path) == {}
    assert_same(net, trained())


def published_logs() -> dict:
    """What the reference's training leaves in a checkpoint beside the weights."""
    logs = {"lr": np.float64(1e-3), "loss": np.float32(0.5), "n": np.int64(3), "acc": np.array([0.5, 0.9])}
    return {
        "logs": logs,
        "feature_center": torch.zeros(2, 8),
        "state_dict": trained().state_dict(),
    }


@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"])
def test_numpy_numbers_of_either_numpy_are_read(tmp_path, core):
    path = tmp_path / "ckpt_x.pth"
    torch.save(published_logs(), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in data or b"cnumpy.core.multiarray\n" in data
    for name in (b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"):
        data = data.replace(b"c" + name, b"c" + core + b".multiarray\n")
    path.write_bytes(data)
    net = Net()
    load_weights(net, path)
    assert_same(net, trained())
    logs = load_checkpoint(path)["logs"]
    assert logs["lr"] == 1e-3 and logs["n"] == 3 and logs["acc"].tolist() == [0.5, 0.9]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("extra", [Harmful(), np.array([Harmful()], dtype=object), Net()])
def test_what_is_not_plain_data_is_refused_unexecuted(tmp_path, monkeypatch, zipped, extra):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({**trained().state_dict(), "x": extra}, path, _use_new_zipfile_serialization=zipped)
    for function in (read_state_dict, load_checkpoint):
        assert f"{path}: refused: it holds " in error_of(function, path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("hidden", [True, False])
def test_code_is_refused_and_named_under_any_suffix(tmp_path, monkeypatch, suffix, protocol, hidden):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(pickle.dumps({"x": Harmful(), "a": torch.zeros(2)} if hidden else Harmful(), protocol))
    said = error_of(read_state_dict, path)
    assert str(path) in said and "refused" in said and "mkdir" in said
    assert not (tmp_path / "harm").exists()


def test_weights_are_read_by_their_content(tmp_path):
    path = tmp_path / "w.safetensors"
    torch.save(trained().state_dict(), path)
    net = Net()
    load_weights(net, path)
    assert_same(net, trained())


def test_safetensors_half_precision_and_metadata(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(trained(), path, {"preprocess": "{}"})
    state, metadata = read_state_dict(path)
    assert metadata == {"preprocess": "{}"}
    assert state["conv.weight"].dtype == torch.float16
    assert state["bn.num_batches_tracked"].dtype == torch.int64
    net = Net()
    assert load_weights(net, path) == {"preprocess": "{}"}
    assert net.conv.weight.dtype == torch.float32
    torch.testing.assert_close(net.conv.weight, trained().conv.weight, rtol=1e-3, atol=0)
    save_weights(trained(), path, dtype=torch.float32)
    load_weights(net, path)
    assert_same(net, trained())
    save_weights(trained().to(memory_format=torch.channels_last), path, dtype=torch.float32)
    load_weights(net, path)
    assert_same(net, trained())


def test_values_that_half_precision_cannot_hold_are_not_written(tmp_path):
    path = tmp_path / "w.safetensors"
    net = trained()
    net.bn.running_var.fill_(1e6)
    assert "bn.running_var holds values that are not finite" in error_of(save_weights, net, path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_says_where_to_get_it(tmp_path):
    message = error_of(load_weights, Net(), tmp_path / "ckpt_x.pth", "ensemble")
    assert "ckpt_x.pth (config key 'ensemble'): no such weights file" in message
    assert "external/README.md says where to get it" in message


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("conv.bias"), "it lacks conv.bias"),
        (lambda state: [state.pop("conv.bias"), state.pop("conv.weight")], "lacks conv.weight and 1 more"),
        (lambda state: state.update(more=torch.zeros(1)), "it has more in excess"),
        (lambda state: state.update({"conv.bias": torch.zeros(5)}), "conv.bias has another shape: (5,) in"),
        (lambda state: state.update({"conv.bias": torch.full((4,), torch.nan)}), "conv.bias holds values"),
        (lambda state: state.update({"conv.bias": 3}), "the entry 'conv.bias' is a int"),
        (lambda state: state.clear(), "holds no weights"),
    ],
)
def test_strict(tmp_path, change, words):
    state = trained().state_dict()
    change(state)
    path = tmp_path / "w.pth"
    torch.save({"state_dict": state}, path)
    net = trained()
    message = error_of(load_weights, net, path)
    assert message.startswith(str(path)) and words in message
    assert_same(net, trained())


def test_batch_counters_may_be_absent_only_throughout(tmp_path):
    net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "old.pth")
    load_weights(net, tmp_path / "old.pth")
    torch.save({**state, "0.num_batches_tracked": torch.tensor(1)}, tmp_path / "half.pth")
    assert "it lacks 1.num_batches_tracked" in error_of(load_weights, net, tmp_path / "half.pth")


def test_pretrained_replaces_all_but_the_classifier(tmp_path):
    path = tmp_path / "imagenet.pth"
    for state in (
        trained(1000).state_dict(),
        {name: value for name, value in trained().state_dict().items() if "linear" not in name},
        {name.replace("last_linear", "fc"): value for name, value in trained(1000).state_dict().items()},
    ):
        torch.save(state, path)
        net = Net()
        own = net.last_linear.weight.clone()
        load_pretrained(net, path)
        assert torch.equal(net.conv.weight, trained().conv.weight)
        assert torch.equal(net.last_linear.weight, own)
    del state["conv.bias"]
    torch.save(state, path)
    assert "lacks conv.bias" in error_of(load_pretrained, Net(), path)


def test_damaged_files(tmp_path):
    good = tmp_path / "good.pth"
    torch.save(trained().state_dict(), good)
    save_weights(trained(), tmp_path / "good.safetensors")
    legacy = tmp_path / "legacy.pth"
    torch.save(trained().state_dict(), legacy, _use_new_zipfile_serialization=False)
    for source in (good, legacy, tmp_path / "good.safetensors"):
        data = source.read_bytes()
        for length in (0, 1, 10, 100, len(data) // 2, len(data) - 1):
            path = tmp_path / f"cut{source.suffix}"
            path.write_bytes(data[:length])
            assert str(path) in error_of(load_weights, Net(), path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_something_else(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    for content in (b"hello, I am text\n" * 50, bytes(range(256)) * 40, b"<!DOCTYPE html>quota exceeded"):
        path.write_bytes(content)
        assert str(path) in error_of(read_state_dict, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert str(path) in error_of(read_state_dict, path)
    assert "a folder, not a weights file" in error_of(read_state_dict, tmp_path)
    torch.save({"epoch": 1}, path.with_suffix(".safetensors"))
    assert "no state dict" in error_of(read_state_dict, path.with_suffix(".safetensors"))


def test_objects_that_hold_no_weights(tmp_path):
    path = tmp_path / "w.pth"
    for content in ([1, 2], {}, {"epoch": 3}, torch.zeros(2), "text", {1: torch.zeros(2)}):
        torch.save(content, path)
        assert str(path) in error_of(read_state_dict, path)
    torch.save([1, 2], path)
    assert "it holds a list, not a dict" in error_of(load_checkpoint, path)


def test_checkpoint_round_trip(tmp_path):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net.last_linear(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    path = tmp_path / "out" / "ckpt-0.pth"
    saved = {"epoch": 0, "state_dict": net.state_dict(), "config": {"a": [1]}}
    saved["optimizer"] = optimizer.state_dict()
    save_checkpoint(saved, path)
    read = load_checkpoint(path)
    assert read["epoch"] == 0 and read["config"] == {"a": [1]}
    torch.testing.assert_close(read["optimizer"]["state"], saved["optimizer"]["state"])
    other = Net()
    load_weights(other, path)
    assert_same(other, net)
    assert os.listdir(path.parent) == ["ckpt-0.pth"]


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64])
def test_numbers_of_another_kind_are_refused(tmp_path, dtype):
    net = torch.nn.Linear(2, 2)
    path = tmp_path / "w.pth"
    torch.save({name: value.to(dtype) for name, value in net.state_dict().items()}, path)
    with pytest.raises(WeightsError, match="w.pth: weight holds numbers of another kind"):
        load_weights(net, path)


@pytest.mark.parametrize("failing", ["replace", "open"])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing):
    path = tmp_path / "ckpt.pth"
    save_checkpoint({"epoch": 1}, path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.core.files.os.replace" if failing == "replace" else "builtins.open", fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint({"epoch": 2}, path)
    with pytest.raises(OSError, match="No space left"):
        save_state_dict({"a": torch.zeros(2)}, path)
    monkeypatch.undo()
    assert load_checkpoint(path) == {"epoch": 1} and os.listdir(tmp_path) == ["ckpt.pth"]
