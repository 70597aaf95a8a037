"""WS-DAN's start and its config files: pretrained weights, published values, wrong keys."""

from pathlib import Path

import pytest
import torch
from efficientnet_pytorch.utils import url_map
from fill import fill
from scripts import run_script
from wsdan_runs import script

from models import WSDAN, xception
from utils.core.config import dead_keys, load_config
from utils.core.errors import WeightsError
from utils.training.config import WSDANConfig
from utils.weights.checkpoint import read_state_dict, save_checkpoint, save_weights

ROOT = Path(__file__).resolve().parents[2]


def test_pretrained_xception_becomes_the_features(tmp_path):
    """Wrapper prefixes and the classifier of the file don't matter; another network does."""
    source = fill(xception(num_classes=2))
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    save_checkpoint({"epoch": 3, "state_dict": state}, tmp_path / "best.pth")
    conf = WSDANConfig(datapath="faces", pretrained=str(tmp_path / "best.pth"))
    model = script.build_model(conf, torch.device("cpu"), start=True)
    assert torch.equal(model.features.conv3.pointwise.weight, source.conv3.pointwise.weight)
    assert torch.equal(model.features.bn4.running_var, source.bn4.running_var)
    # a WS-DAN checkpoint is taken over as a whole
    save_weights(model, tmp_path / "wsdan.safetensors", dtype=torch.float32)
    second = WSDANConfig(datapath="faces", pretrained=str(tmp_path / "wsdan.safetensors"))
    again = script.build_model(second, torch.device("cpu"), start=True)
    assert torch.equal(again.fc.weight, model.fc.weight)
    save_checkpoint({"conv1.weight": source.conv1.weight}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="part.pth.*bn1"):
        script.start_from(model, str(tmp_path / "part.pth"))


def test_imagenet_weights_of_b3(tmp_path, monkeypatch):
    """A file of them, the downloaded one, or one line that says how to do without the download."""
    from models.efficientnet import efficientnet_b3

    source = efficientnet_b3()
    save_checkpoint(source.state_dict(), tmp_path / "b3.pth")
    model = WSDAN(2, 8, "efficientnet-b3")
    script.start_from(model, str(tmp_path / "b3.pth"))
    assert torch.equal(model.EFN._blocks[3]._bn1.weight, source._blocks[3]._bn1.weight)
    assert torch.equal(model.EFN._conv_head.weight, source._conv_head.weight)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setitem(url_map, "efficientnet-b3", (tmp_path / "absent.pth").as_uri())
    with pytest.raises(WeightsError, match="pretrained = 'yes'.*can't be downloaded.*pretrained=FILE"):
        script.start_from(model, "yes")
    monkeypatch.setitem(url_map, "efficientnet-b3", (tmp_path / "b3.pth").as_uri())
    again = WSDAN(2, 8, "efficientnet-b3")
    script.start_from(again, "yes")
    assert torch.equal(again.EFN._conv_head.weight, source._conv_head.weight)
    assert read_state_dict(tmp_path / "hub" / "checkpoints" / "b3.pth")


@pytest.mark.parametrize("name, size, net, pretrained, save_dir", [
    ("xception", 320, "xception", str(ROOT / "output/dfdc-xception/best.pth"), "output/dfdc-wsdan-xception"),
    ("efb3", 300, "efficientnet-b3", "yes", "output/dfdc-wsdan-efb3"),
])  # fmt: skip
def test_published_configs_are_unchanged(name, size, net, pretrained, save_dir):
    conf = load_config(ROOT / "wsdan-conf" / f"{name}.py", WSDANConfig)
    assert (conf.workers, conf.epochs, conf.batch_size, conf.learning_rate) == (6, 60, 10, 1e-3)
    assert (conf.image_size, conf.net, conf.num_attentions, conf.beta) == ((size, size), net, 8, 5e-2)
    assert (conf.pretrained, conf.save_dir) == (pretrained, str(ROOT / save_dir))
    assert (conf.log_name, conf.ckpt, conf.datapath) == ("train.log", False, "/mnt/ssd0/dfdc")
    assert dead_keys(conf) == ["GPU", "tag", "model_name"]
    assert (conf.optimizer, conf.momentum, conf.weight_decay) == ("sgd", 0.9, 1e-5)
    assert (conf.schedule, conf.step_epochs, conf.step_factor) == ("step", 1, 0.95)
    assert (conf.train_sets, conf.valid_set) == (("train", "valid"), "test")
    assert (conf.mean, conf.std) == ((0.4479, 0.3744, 0.3473), (0.2537, 0.2502, 0.2424))
    assert conf.augmentation == "published-wsdan" and conf.preprocess.size == size


@pytest.mark.parametrize("override, said", [
    ("image_size=(320,300)", "image_size must be square"),
    ("pretrained=yes", "trained Xception"),
    ("ckpt=True", "ckpt must be False"),
    ("log_name=a/b.log", "log_name"),
    ("valid_set=train", "valid_set 'train' must not be among train_sets"),
    ("num_attentions=4", "num_attentions must be 8"),
    ("attentions=3", "did you mean 'num_attentions'"),
])  # fmt: skip
def test_config_errors_name_the_key(override, said, capsys):
    assert run_script(script, WSDANConfig, str(ROOT / "wsdan-conf/xception.py"), override) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
