"""The arithmetic that tells the readings of equation 5 apart, and the evidence that is drawn from trained nets."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.experiments.logit_squeezing_mnist import BATCH, EXAMPLE, EXPERIMENTS, READINGS, SQUARED, name
from tfadv.losses import LogitSqueezing
from tfadv.reproduction.studies import logit_squeezing_readings as readings

B, K = 50, 10
SHARE = {"accuracy": 0.5, "interval": [0.4, 0.6]}


def net(test, white_box=0.3, step=100_000):
    share = {"accuracy": test, "interval": [test, test]}
    white = {"accuracy": white_box, "interval": [white_box, white_box]}
    return {
        "step": step,
        "network": "madry_mnist",
        "train": share,
        "test": share,
        "attacks": {"X-ent": white, "CW": white, "FGSM": white},
        "black_box": {},
        "logit_norm": 1.0,
    }


def results(**tests):
    """Test accuracies by beta of each reading."""
    return {
        readings.reading_key(reading, beta): net(test)
        for reading, values in tests.items()
        for beta, test in zip(readings.DECIDING, values, strict=True)
    }


def gain(reading, beta, size=1e-3):
    """How far a small step from z = 0 up the slope of the cross-entropy lowers the loss of a batch of 50."""
    y = np.arange(B) % K
    direction = np.eye(K)[y] - 1 / K
    loss = LogitSqueezing(beta, *READINGS[reading])
    at = [float(loss(y, tf.constant(t * direction, tf.float32))) for t in (0.0, size)]
    return (at[0] - at[1]) / size


@pytest.mark.parametrize(
    ("reading", "collapses", "learns"),
    [
        # The slope at z = 0 has 2-norm sqrt(0.9) for an example, and sqrt(50 x 0.9) for the sum over a batch.
        (EXAMPLE, 1.05 * 0.9**0.5, 0.95 * 0.9**0.5),
        (BATCH, 1.05 * 45**0.5, 0.95 * 45**0.5),
        (SQUARED, None, 100.0),
    ],
)
def test_zero_logits_are_the_minimum_from_a_known_beta_on(reading, collapses, learns):
    assert gain(reading, learns) > 0
    if collapses is not None:
        assert gain(reading, collapses) < 0


def test_that_separates_the_printed_betas_for_the_norm_of_the_batch_alone():
    learns = {reading: [gain(reading, beta) > 0 for beta in readings.DECIDING] for reading in READINGS}
    assert learns[BATCH] == [True, True, True, False]
    assert learns[EXAMPLE] == [True, False, False, False]
    assert learns[SQUARED] == [True] * 4


def test_each_reading_of_each_beta_is_an_experiment_with_that_loss():
    for reading, (power, extent) in READINGS.items():
        for beta in readings.DECIDING:
            loss = EXPERIMENTS[name(0, beta, 0.5, reading)].loss
            assert (loss.weight, loss.power, loss.extent) == (beta, power, extent)


def test_the_printed_rows_that_decide():
    """57.57, 67.93, 65.53 and 3.15 under PGD; 99.06, 99.05, 99.02 and 75.76 clean."""
    rows = [readings.printed_at(beta).printed for beta in readings.DECIDING]
    assert [row["white-box X-ent"] for row in rows] == [57.57, 67.93, 65.53, 3.15]
    assert [row["Test"] >= readings.LEARNED for row in rows] == [True, True, True, False]


def test_the_reading_that_fails_where_the_paper_does_is_named():
    found = results(batch=(0.99, 0.98, 0.97, 0.7), example=(0.99, 0.4, 0.3, 0.1), squared=(0.99,) * 4)
    assert readings.pattern(found, BATCH) == [True, True, True, False]
    *_, last, over_time = readings.decision(found)
    assert "in print, 75.8% at 100,000 steps, 12.9% at 400,000 steps; " in over_time
    assert f"{readings.MEANT[BATCH]}, 70.0% at 100,000 steps; {readings.MEANT[SQUARED]}, 99.0% at" in over_time
    assert f"Of the readings {readings.MEANT[BATCH]} does so" in last
    *_, last, _ = readings.decision(results(squared=(0.99,) * 4))
    assert "none does so" in last


def test_nothing_is_said_of_a_reading_of_which_a_net_is_missing():
    found = results(batch=(0.99, 0.98, 0.97, 0.7))
    del found[readings.reading_key(BATCH, 5)]
    assert readings.pattern(found, BATCH) is None
    assert readings.decision(found) == []
    assert readings.figures(found) == {}
    assert len(readings.compared(found)) == 3 * 5


def test_the_figures_hold_printed_and_measured_shares():
    figures = readings.figures(results(batch=(0.99, 0.98, 0.97, 0.7)))
    assert set(figures) == {"a", "b"}
    printed, ours = figures["a"].series.values()
    assert printed.y == pytest.approx((0.9906, 0.9905, 0.9902, 0.7576))
    assert ours.y == (0.99, 0.98, 0.97, 0.7)


def test_jobs_of_the_scales():
    short = readings.jobs("short")
    assert len(short) == 12 + 1
    steps = {job.key: job.settings["changes"]["steps"] for job in short}
    assert steps.pop(readings.LONGER) == 10_000
    assert set(steps.values()) == {3_000}
    assert {job.settings["standard"] for job in short} == {0}
    assert {job.settings["changes"]["steps"] for job in readings.jobs("paper")} == {100_000, 400_000}
    assert len(readings.jobs("smoke")) == 4


def test_longer_training_of_the_squared_penalty_is_told_beside_the_shorter():
    found = results(squared=(0.9, 0.5, 0.2, 0.1)) | {readings.LONGER: net(0.25, step=400_000)}
    *_, over_time = readings.decision(found)
    assert "10.0% at 100,000 steps, 25.0% at 400,000 steps. A net" in over_time
