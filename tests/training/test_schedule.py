"""The learning rate, step by step."""

import pytest

from utils.training.optim import END_DIVISOR, START_DIVISOR, learning_rate


def test_published_steps():
    """0.01, a fifth of it every two epochs: 1.6e-5 in the ninth epoch."""
    rate = learning_rate("step", 0.01, steps_per_epoch=10, n_epochs=50)
    assert [rate(step) for step in (0, 19, 20, 40)] == pytest.approx([0.01, 0.01, 0.002, 0.0004])
    assert rate(80) == pytest.approx(1.6e-5)


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing():
    rates = [learning_rate("onecycle", 3e-4, 50, 2, warmup=0.1)(step) for step in range(100)]
    assert rates[0] == pytest.approx(3e-4 / START_DIVISOR)
    assert rates[10] == max(rates) == pytest.approx(3e-4)
    assert rates[-1] == pytest.approx(3e-4 / START_DIVISOR / END_DIVISOR)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_one_cycle_without_warmup_starts_at_the_peak_and_past_the_end_stays_down():
    rate = learning_rate("onecycle", 1.0, 5, 1, warmup=0.0)
    assert rate(0) == 1.0
    assert rate(50) == rate(4)


def test_unknown_schedule():
    with pytest.raises(ValueError, match="linear"):
        learning_rate("linear", 1.0, 5, 1)
