"""Averaged weights: the numbers of the formula, and what a checkpoint holds of them."""

import copy

import pytest
import torch
from torch import nn

from utils.core.errors import ConfigError
from utils.training.config import XceptionConfig
from utils.training.optim import AveragedWeights, decay_at


def net(value: float) -> nn.Module:
    """A batch norm whose every number is `value`."""
    norm = nn.BatchNorm1d(2)
    for tensor in norm.state_dict().values():
        tensor.fill_(value)
    return norm


def test_the_decay_rises_to_what_was_asked_for():
    assert [decay_at(0.9, step) for step in (0, 2, 80, 10**6)] == [0.1, 0.25, 0.9, 0.9]


def test_the_average_is_the_one_computed_by_hand():
    model = net(1.0)
    averaged = AveragedWeights(model, decay=0.3)
    expected = None
    for step, value in enumerate((1.0, 3.0, -2.0, 8.0, 5.0)):
        for tensor in model.state_dict().values():
            tensor.fill_(value)
        averaged.update()
        decay = decay_at(0.3, step)
        expected = value if step == 0 else decay * expected + (1 - decay) * value
    for name, tensor in averaged.model.state_dict().items():
        if name == "num_batches_tracked":
            assert tensor == 5
        else:
            assert tensor.tolist() == pytest.approx([expected] * 2, rel=1e-6)
    assert set(model.weight.tolist()) == {5.0}


def test_without_decay_there_is_the_model_alone():
    model = net(2.0)
    averaged = AveragedWeights(model, 0.0)
    averaged.update()
    assert averaged.model is model and averaged.state().keys() == {"state_dict"}


def test_a_checkpoint_brings_both_back():
    averaged = AveragedWeights(net(1.0), 0.9)
    averaged.update()
    averaged.trained.load_state_dict(net(4.0).state_dict())
    averaged.update()
    state = copy.deepcopy(averaged.state())
    other = AveragedWeights(net(0.0), 0.9)
    other.trained.load_state_dict(state["state_dict"])  # as runs.restore does
    other.load(state)
    for one in (averaged, other):
        one.trained.load_state_dict(net(7.0).state_dict())
        one.update()
    assert torch.equal(averaged.model.weight, other.model.weight)
    assert state["n_averaged"] == 2

    plain = AveragedWeights(net(0.0), 0.0)  # goes on without averaging, from the weights in training
    plain.load(state)
    assert plain.model.weight.tolist() == [4.0, 4.0]
    late = AveragedWeights(net(3.0), 0.9)  # starts averaging in the middle of a run
    late.load({"state_dict": late.trained.state_dict()})
    late.update()
    assert late.model.weight.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("key, value", [("ema", 1.0), ("ema", -0.1), ("self_blended", 1.5)])
def test_a_key_out_of_range_is_named(key, value):
    with pytest.raises(ConfigError, match=f"^{key} must be"):
        XceptionConfig(data_root="faces", **{key: value})
