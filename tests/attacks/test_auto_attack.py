"""AutoAttack is the published list of attacks, and on small models it does what the list says."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Apgd, AutoAttack, Cascade, Fab, Square, compiled
from tfadv.validation import UserError


def described(config):
    """Name, objective or targets, restarts, EOT of each stage."""
    stages = []
    for stage in config.stages():
        if isinstance(stage, Apgd):
            kind = (stage.objective, stage.targets if stage.objective == "targeted_dlr" else None, stage.eot)
        elif isinstance(stage, Fab):
            kind = (stage.targets,)
        else:
            kind = (stage.queries,)
        stages.append((type(stage), *kind, stage.restarts))
    return stages


def test_standard_is_the_published_list():
    assert described(AutoAttack()) == [
        (Apgd, "cross_entropy", None, 1, 1),
        (Apgd, "targeted_dlr", 9, 1, 1),
        (Fab, 9, 1),
        (Square, 5_000, 1),
    ]


def test_plus_is_the_published_list():
    assert described(AutoAttack(version="plus")) == [
        (Apgd, "cross_entropy", None, 1, 5),
        (Apgd, "dlr", None, 1, 5),
        (Fab, None, 5),
        (Apgd, "targeted_dlr", 9, 1, 1),
        (Fab, 9, 1),
        (Square, 5_000, 1),
    ]


def test_rand_averages_twenty_gradients_and_asks_for_no_margin():
    assert described(AutoAttack(version="rand")) == [(Apgd, "cross_entropy", None, 20, 1), (Apgd, "dlr", None, 20, 1)]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_stage_has_the_threat_model_and_a_hundred_steps(norm):
    for version in ("standard", "plus", "rand"):
        for stage in AutoAttack(0.2, norm, version, seed=4, bounds=(-1.0, 1.0)).stages():
            assert (stage.epsilon, stage.norm, stage.seed, stage.bounds) == (0.2, norm, 4, (-1.0, 1.0))
            assert getattr(stage, "steps", 100) == 100


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l1"}, r"norm must be one of \['l2', 'linf'\], got 'l1'"),
        ({"version": "strong"}, r"version must be one of \['plus', 'rand', 'standard'\], got 'strong'"),
        ({"epsilon": -0.1}, "epsilon must be >= 0 in input units, got -0.1"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(UserError, match=message):
        AutoAttack(**fields)


RNG = np.random.default_rng(0)
X = RNG.random((24, 4, 4, 1), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_runs_on_few_classes_and_finds_what_can_be_found_on_a_linear_model(classes):
    """With K classes an image falls if z_k - z_y < epsilon |w_k - w_y|_1 for some k, where the box leaves room."""
    weights = RNG.normal(size=(16, classes)).astype(np.float32)

    def model(x):
        return (tf.reshape(x, [-1, 16]) - 0.5) @ weights

    x = 0.3 + 0.4 * X
    logits = model(x).numpy()
    y = logits.argmax(axis=1).astype(np.int32)
    gaps = np.take_along_axis(logits, y[:, None], 1) - logits
    needed = gaps / np.maximum(np.abs(weights[:, y].T[:, :, None] - weights[None]).sum(axis=1), 1e-9)
    needed[np.arange(len(y)), y] = np.inf
    needed = needed.min(axis=1)
    epsilon = float(np.median(needed))
    assert epsilon < 0.3  # The balls lie in the box.
    sure = np.abs(needed / epsilon - 1) > 0.02
    attack = compiled(model, AutoAttack(epsilon), jit="off", precision="float32")
    assert isinstance(attack, Cascade)
    outcome = attack.run(x, y)
    np.testing.assert_array_equal(outcome.adversarial[sure], needed[sure] < epsilon)
    assert 0 < outcome.adversarial.mean() < 1
