"""CleverHans for PyTorch beside tfadv, on a linear model."""

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.crosscheck import cleverhans_torch
from tfadv.crosscheck.peers import NotShared
from tfadv.crosscheck.torch_models import classifier

pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
pytest.importorskip("cleverhans.torch", reason="CleverHans is an extra")

pytestmark = pytest.mark.slow

PGD = {"epsilon": 0.05, "step_size": 0.02, "steps": 5, "keep": "last"}
PGD_L2 = {"epsilon": 0.3, "step_size": 0.1, "steps": 5, "norm": "l2", "keep": "last"}


def run(model, examples, config, start=None, batch_size=15):
    attack = cleverhans_torch.PEER.attack(config)
    return attack(classifier(model), examples.x, examples.y, config, start, batch_size)


@pytest.mark.parametrize(
    "config",
    [Fgm(epsilon=0.05), Fgm(epsilon=0.3, norm="l2"), Pgd(**PGD, random_start=False), Pgd(**PGD_L2, random_start=False)],
    ids=repr,
)
def test_from_the_image_it_makes_the_same_images(linear_net, examples, config):
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y)
    np.testing.assert_allclose(run(linear_net, examples, config), expected, atol=1e-5)


@pytest.mark.parametrize("config", [Pgd(**PGD), Pgd(**PGD_L2)], ids=repr)
def test_from_a_given_start_it_makes_the_same_images(linear_net, examples, config):
    direction = np.random.default_rng(0).uniform(-1, 1, examples.x.shape).astype(np.float32)
    start = examples.x + direction * (0.05 if config.norm == "linf" else 0.03)
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y, start)
    found = run(linear_net, examples, config, start)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - run(linear_net, examples, config, examples.x)).max() > 1e-3


def test_a_random_start_is_seeded(linear_net, examples):
    first, again, other = (run(linear_net, examples, Pgd(**PGD, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_start_outside_the_ball_is_noticed(linear_net, examples):
    with pytest.raises(RuntimeError, match="CleverHans did not begin at the given start"):
        run(linear_net, examples, Pgd(**PGD), examples.x + 0.1)


@pytest.mark.parametrize(
    "config",
    [
        Fgm(norm="l1"),
        Fgm(targeted=True),
        Pgd(objective="margin"),
        Pgd(bounds=(-1.0, 1.0)),
        Pgd(epsilon=0.1, step_size=0.2),
    ],
    ids=repr,
)
def test_what_it_does_not_have_is_refused(linear_net, examples, config):
    with pytest.raises(NotShared):
        run(linear_net, examples, config)
