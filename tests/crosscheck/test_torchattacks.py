"""torchattacks beside tfadv, on a linear model whose closest adversarial examples are known."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.attacks.apgd import Apgd
from tfadv.attacks.carlini_wagner import CarliniWagner
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.fab import Fab
from tfadv.attacks.jsma import Jsma
from tfadv.attacks.mim import Mim
from tfadv.attacks.spsa import Spsa
from tfadv.attacks.square import Square
from tfadv.crosscheck import PEERS, torchattacks
from tfadv.crosscheck.comparison import compare
from tfadv.crosscheck.peers import NotShared
from tfadv.crosscheck.torch_models import Classifier, classifier

pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
pytest.importorskip("torchattacks", reason="torchattacks is optional: it needs PyTorch")

pytestmark = pytest.mark.slow

PGD = {"epsilon": 0.01, "step_size": 0.004, "steps": 5}
PGD_L2 = {"epsilon": 0.06, "step_size": 0.02, "steps": 5, "norm": "l2"}


def compared(model, examples, *configs):
    peers = {"torchattacks": PEERS["torchattacks"]}
    strength = compare(model, examples.x, examples.y, configs, peers, report=lambda _: None)
    assert strength.not_compared == ()
    return strength.rows


def test_first_order_attacks_repeat_ours(linear_net, examples):
    fgm, bim, bim_l2, mim, pgd, pgd_l2 = compared(
        linear_net,
        examples,
        Fgm(epsilon=0.01),
        Pgd(**PGD, random_start=False),
        Pgd(**PGD_L2, random_start=False),
        Mim(**PGD),
        Pgd(**PGD),
        Pgd(**PGD_L2),
    )
    for row in (fgm, bim, bim_l2, pgd, pgd_l2):
        assert (row.verdict, row.share_of_equal_flags) == ("passes", 1.0), row
    assert mim.share_of_equal_flags is None
    assert mim.peer_success <= mim.success + 0.1
    assert all(0 < row.peer_success < 1 for row in (fgm, bim, bim_l2, mim, pgd, pgd_l2))


@pytest.mark.parametrize("settings", [PGD, PGD_L2], ids=["linf", "l2"])
def test_it_begins_where_it_is_told_to(linear_net, examples, settings):
    """Far from the box both orders of ball and box are the same."""
    config = Pgd(**settings, keep="last")
    direction = np.random.default_rng(0).uniform(-1, 1, examples.x.shape).astype(np.float32)
    start = examples.x + direction * (0.01 if config.norm == "linf" else 0.006)
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y, start)
    model = classifier(linear_net)
    found = torchattacks.pgd(model, examples.x, examples.y, config, start, 15)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - torchattacks.pgd(model, examples.x, examples.y, config, examples.x - 0.001, 15)).max() > 1e-3


def test_a_random_start_is_seeded(linear_net, examples):
    model, config = classifier(linear_net), Pgd(**PGD, keep="last")
    first, again = (torchattacks.pgd(model, examples.x, examples.y, config, None, 40) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_attacks_with_random_numbers_are_about_as_strong(linear_net, examples):
    rows = compared(
        linear_net,
        examples,
        Apgd(epsilon=0.01, steps=20),
        Apgd(epsilon=0.01, steps=20, objective="targeted_dlr", targets=9),
        Apgd(epsilon=0.06, steps=20, norm="l2"),
        Fab(epsilon=0.01, steps=10, targets=9),
        Square(epsilon=0.03, queries=100),
        Spsa(epsilon=0.01, steps=10, samples=32),
    )
    for row in rows:
        assert row.share_of_equal_flags is None
        assert 0 < row.peer_success <= row.success + 0.1, row


def test_the_closest_examples_are_found(linear_net, examples):
    fab, fab_targeted, deep_fool = compared(
        linear_net,
        examples,
        Fab(steps=20, norm="l2"),
        Fab(steps=20, targets=3),
        DeepFool(overshoot=0.01),
    )
    for row, nearest in ((fab, examples.l2), (fab_targeted, examples.linf), (deep_fool, examples.l2)):
        assert (row.verdict, row.peer_success) == ("passes", 1.0), row
        assert row.peer_distance >= np.median(nearest)
    assert fab.peer_distance == pytest.approx(np.median(examples.l2), rel=0.02)


def test_carlini_and_wagner_and_saliency_maps(linear_net, examples):
    carlini, jsma = compared(linear_net, examples, CarliniWagner(steps=50, binary_searches=5), Jsma(gamma=0.5))
    assert (carlini.verdict, jsma.verdict) == ("passes", "passes")
    assert jsma.peer_success > 0.5
    assert "binary search" in carlini.differs


def test_a_gradient_of_0_still_ends_its_momentum():
    """Why its MIM is not asked to repeat ours; when this fails, it may be.

    The score of the wrong class rises up to 0.52 and from 0.7 on. A step of 0.1 from 0.5 ends between the two, where
    the gradient is 0; ours goes on with what it accumulated, to 0.9 after four steps.
    """
    import torch

    def score(library, x):
        rising = library.minimum(x, 0.52 + 0.0 * x) + library.maximum(x - 0.7, 0.0 * x)
        return library.stack([0.0 * rising, rising], -1)

    class Rising(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return score(torch, x.sum(dim=(1, 2, 3)))

    config = Mim(epsilon=0.45, step_size=0.1, steps=4, keep="last")
    x, y = np.full([1, 1, 1, 1], 0.5, np.float32), np.zeros(1, np.int32)
    theirs = torchattacks.mim(Classifier(Rising(), (1, 1, 1), 2), x, y, config, None, 1)
    ours = compiled(lambda x: score(tf, tf.reduce_sum(x, [1, 2, 3])), config, precision="float32")(x, y)
    np.testing.assert_allclose(theirs.ravel(), [0.6], atol=1e-6)
    np.testing.assert_allclose(ours.numpy().ravel(), [0.9], atol=1e-6)


@pytest.mark.parametrize(
    ("attack", "config"),
    [
        (torchattacks.fgm, Fgm(norm="l2")),
        (torchattacks.pgd, Pgd(objective="margin")),
        (torchattacks.apgd, Apgd(objective="targeted_dlr", targets=2)),
        (torchattacks.apgd, Apgd(objective="margin")),
        (torchattacks.fab, Fab(restarts=2)),
        (torchattacks.carlini_wagner, CarliniWagner(epsilon=1.0)),
    ],
)
def test_what_it_does_not_have_is_refused(linear_net, examples, attack, config):
    with pytest.raises(NotShared):
        attack(PEERS["torchattacks"].load(linear_net), examples.x, examples.y, config, None, 40)
